//! Stochastic gradient descent, with momentum.

use super::lists::{TensorList, TensorListMut};
use super::step::{ClipOptions, StepReport, step};
use super::tensors::{Copies, Grads, Tensors};
use super::update::Rule;
use crate::context::Context;
use crate::element::{bf16, f16};
use crate::error::{Error, Result};
use crate::simd::Simd;
use crate::stochastic::Dice;

/// Options of [`clip_sgd_f32`], [`clip_sgd_bf16`] and [`clip_sgd_f16`]. The default is plain descent at `lr` 1e-3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdOptions {
    /// Learning rate, at least 0.
    pub lr: f64,
    /// μ, at least 0; 0 is none.
    pub momentum: f64,
    /// Damps what a gradient adds to the momentum.
    pub dampening: f64,
    /// λ of the L2 penalty, at least 0.
    pub weight_decay: f64,
    /// Needs a momentum, and no dampening.
    pub nesterov: bool,
    /// Momentum starts as the first gradient, undamped, and its old content is not used: what PyTorch does at its first
    /// step. Without dampening a momentum of zeros does the same.
    pub first_step: bool,
    /// Rounds the copies in half the width by chance, from this seed, which must change from step to step. None, the
    /// default, rounds them to nearest even.
    pub stochastic_seed: Option<u64>,
}

impl Default for SgdOptions {
    fn default() -> Self {
        SgdOptions {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            first_step: false,
            stochastic_seed: None,
        }
    }
}

/// Clips the gradients and descends, with optional momentum.
///
/// g := g·factor/loss_scale (see [`ClipOptions`]), then PyTorch's rule:
/// g := g + λ·w; b := μ·b + (1 − dampening)·g; g := b, or g + μ·b with `nesterov`; w := w − lr·g.
/// Whitepaper §1, §11, §17.
///
/// `params`, `grads` and `momentum` hold tensors of the same sizes, of any shape. `momentum` is b, zeros at the start;
/// without a momentum of its own (μ = 0) it is neither needed nor touched. Gradients are not written.
///
/// Accuracy: f32 arithmetic on gradients scaled within 0.5001 ULP; the same bits for any number of threads.
///
/// # Errors
/// `InvalidArgument` for an option out of its range, or μ > 0 without `momentum`; `InvalidSize` where the lists
/// differ; `OutOfMemory`. Nothing is then written.
///
/// ```
/// use evenkeel::{Context, optim::{ClipMode, ClipOptions, SgdOptions, clip_sgd_f32}};
/// let clip = ClipOptions { mode: ClipMode::GlobalNorm, threshold: 1.0, ..Default::default() };
/// let sgd = SgdOptions { lr: 0.5, ..Default::default() };
/// let mut w = [1.0f32, 1.0];
/// let report = clip_sgd_f32(Context::global()?, &clip, &sgd, &mut [&mut w], &[&[3.0, 4.0]], None)?;
/// assert_eq!(report.grad_norm, 5.0);
/// assert_eq!(w, [0.7, 0.6]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn clip_sgd_f32(
    ctx: &Context,
    clip: &ClipOptions,
    sgd: &SgdOptions,
    params: &mut [&mut [f32]],
    grads: &[&[f32]],
    momentum: Option<&mut [&mut [f32]]>,
) -> Result<StepReport> {
    let momentum = momentum.map(Into::into);
    clip_sgd("clip_sgd_f32", ctx, clip, sgd, params.into(), TensorList::from(grads).into(), momentum, None)
}

/// [`clip_sgd_f32`] on gradients in bf16.
///
/// `params` are the f32 parameters that training keeps; `params_bf16`, if given, receives the new ones rounded, in the same
/// pass: to nearest even, or by chance (`stochastic_seed`). All else is as in [`clip_sgd_f32`].
///
/// # Errors
/// Those of [`clip_sgd_f32`].
pub fn clip_sgd_bf16(
    ctx: &Context,
    clip: &ClipOptions,
    sgd: &SgdOptions,
    params: &mut [&mut [f32]],
    grads: &[&[bf16]],
    momentum: Option<&mut [&mut [f32]]>,
    params_bf16: Option<&mut [&mut [bf16]]>,
) -> Result<StepReport> {
    let copies = params_bf16.map(|list| TensorListMut::from(list).into());
    let momentum = momentum.map(Into::into);
    clip_sgd("clip_sgd_bf16", ctx, clip, sgd, params.into(), TensorList::from(grads).into(), momentum, copies)
}

/// [`clip_sgd_bf16`] in f16.
///
/// # Errors
/// Those of [`clip_sgd_f32`].
pub fn clip_sgd_f16(
    ctx: &Context,
    clip: &ClipOptions,
    sgd: &SgdOptions,
    params: &mut [&mut [f32]],
    grads: &[&[f16]],
    momentum: Option<&mut [&mut [f32]]>,
    params_f16: Option<&mut [&mut [f16]]>,
) -> Result<StepReport> {
    let copies = params_f16.map(|list| TensorListMut::from(list).into());
    let momentum = momentum.map(Into::into);
    clip_sgd("clip_sgd_f16", ctx, clip, sgd, params.into(), TensorList::from(grads).into(), momentum, copies)
}

#[allow(clippy::too_many_arguments)]
pub(crate) fn clip_sgd(
    function: &'static str,
    ctx: &Context,
    clip: &ClipOptions,
    sgd: &SgdOptions,
    params: TensorListMut<'_>,
    grads: Grads<'_>,
    momentum: Option<TensorListMut<'_>>,
    copies: Option<Copies<'_>>,
) -> Result<StepReport> {
    super::check_not_negative(
        function,
        &[("lr", sgd.lr), ("momentum", sgd.momentum), ("weight_decay", sgd.weight_decay)],
    )?;
    if !sgd.dampening.is_finite() {
        let detail = format!("dampening is {}, expected a finite number", sgd.dampening);
        return Err(Error::invalid_argument(function, detail));
    }
    if sgd.nesterov && (sgd.momentum == 0.0 || sgd.dampening != 0.0) {
        let detail = format!(
            "nesterov needs a momentum and no dampening, but momentum is {} and dampening {}",
            sgd.momentum, sgd.dampening
        );
        return Err(Error::invalid_argument(function, detail));
    }
    let descend = Descend { lr: sgd.lr as f32, decay: sgd.weight_decay as f32 };
    let dice = sgd.stochastic_seed.map(|seed| Dice { seed, stream: 0 });
    if sgd.momentum == 0.0 {
        return step(function, ctx, clip, descend, Tensors { params, grads, states: &[], copies, dice });
    }
    let Some(momentum) = momentum else {
        let detail = format!("momentum is {} but no momentum tensors are given", sgd.momentum);
        return Err(Error::invalid_argument(function, detail));
    };
    let rule = Momentum {
        descend,
        keep: sgd.momentum as f32,
        take: if sgd.first_step { 1.0 } else { (1.0 - sgd.dampening) as f32 },
        nesterov: sgd.nesterov,
        first: sgd.first_step,
    };
    let tensors = Tensors { params, grads, states: &[("momentum", momentum)], copies, dice };
    step(function, ctx, clip, rule, tensors)
}

#[derive(Clone, Copy)]
struct Descend {
    lr: f32,
    decay: f32,
}

impl Rule<0> for Descend {
    const NS: f64 = 0.5;
    const HALVES: bool = true;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, _: [S::F; 0]) -> (S::F, [S::F; 0]) {
        let g = s.fma(s.splat(self.decay), w, g);
        (s.fnma(s.splat(self.lr), g, w), [])
    }
}

#[derive(Clone, Copy)]
struct Momentum {
    descend: Descend,
    keep: f32,
    take: f32,
    nesterov: bool,
    first: bool,
}

impl Rule<1> for Momentum {
    const NS: f64 = 0.8;
    const HALVES: bool = true;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [b]: [S::F; 1]) -> (S::F, [S::F; 1]) {
        let g = s.fma(s.splat(self.descend.decay), w, g);
        // The old content of a first step may be anything, NaN included.
        let b = if self.first { s.zero() } else { b };
        let keep = s.splat(self.keep);
        let b = s.fma(keep, b, s.mul(s.splat(self.take), g));
        let direction = if self.nesterov { s.fma(keep, b, g) } else { b };
        (s.fnma(s.splat(self.descend.lr), direction, w), [b])
    }
}
