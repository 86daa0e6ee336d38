//! Lion.

use super::adam::decayed;
use super::lists::{TensorList, TensorListMut};
use super::step::{ClipOptions, StepReport, step};
use super::tensors::{Grads, Tensors};
use super::update::Rule;
use crate::context::Context;
use crate::error::Result;
use crate::simd::Simd;

/// Options of [`clip_lion_f32`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LionOptions {
    /// Learning rate, at least 0. Default 1e-4.
    pub lr: f64,
    /// β₁, in [0, 1). Default 0.9.
    pub beta1: f64,
    /// β₂, in [0, 1). Default 0.99.
    pub beta2: f64,
    /// λ, which shrinks the parameters directly; at least 0.
    pub weight_decay: f64,
}

impl Default for LionOptions {
    fn default() -> Self {
        LionOptions { lr: 1e-4, beta1: 0.9, beta2: 0.99, weight_decay: 0.0 }
    }
}

/// Clips the gradients and makes a step of Lion.
///
/// g := g·factor/loss_scale (see [`ClipOptions`]), then w := w − lr·λ·w; w := w − lr·sign(β₁·m + (1 − β₁)·g);
/// m := β₂·m + (1 − β₂)·g. sign(0) = 0, sign(NaN) = NaN. Whitepaper §17; Chen et al. 2023.
///
/// `params`, `grads` and `m` hold tensors of the same sizes, of any shape; `m` is zeros at the start. Gradients are not
/// written.
///
/// Accuracy: f32 arithmetic on gradients scaled within 0.5001 ULP; the same bits for any number of threads.
///
/// # Errors
/// `InvalidArgument` for an option out of its range; `InvalidSize` where the lists differ; `OutOfMemory`. Nothing is
/// then written.
pub fn clip_lion_f32(
    ctx: &Context,
    clip: &ClipOptions,
    lion: &LionOptions,
    params: &mut [&mut [f32]],
    grads: &[&[f32]],
    m: &mut [&mut [f32]],
) -> Result<StepReport> {
    clip_lion(ctx, clip, lion, params.into(), TensorList::from(grads).into(), m.into())
}

pub(crate) fn clip_lion(
    ctx: &Context,
    clip: &ClipOptions,
    o: &LionOptions,
    params: TensorListMut<'_>,
    grads: Grads<'_>,
    m: TensorListMut<'_>,
) -> Result<StepReport> {
    let function = "clip_lion_f32";
    super::check_not_negative(function, &[("lr", o.lr), ("weight_decay", o.weight_decay)])?;
    super::check_decay(function, &[("beta1", o.beta1), ("beta2", o.beta2)])?;
    let rule = Lion {
        lr: o.lr as f32,
        shrink: (o.lr * o.weight_decay) as f32,
        take1: (1.0 - o.beta1) as f32,
        take2: (1.0 - o.beta2) as f32,
    };
    let tensors = Tensors { params, grads, states: &[("m", m)], copies: None, dice: None };
    step(function, ctx, clip, rule, tensors)
}

#[derive(Clone, Copy)]
struct Lion {
    lr: f32,
    shrink: f32,
    take1: f32,
    take2: f32,
}

impl Rule<1> for Lion {
    const NS: f64 = 0.8;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [m]: [S::F; 1]) -> (S::F, [S::F; 1]) {
        let direction = decayed(s, m, g, self.take1);
        let sign = s.copysign(s.splat(1.0), direction);
        // A zero or NaN is its own sign.
        let size = s.abs(direction);
        let sign = s.select(s.lt(s.zero(), size), sign, direction);
        let w = s.fnma(s.splat(self.shrink), w, w);
        (s.fnma(s.splat(self.lr), sign, w), [decayed(s, m, g, self.take2)])
    }
}
