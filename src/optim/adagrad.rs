//! Adagrad.

use super::adam::{Roots, SecondMoment};
use super::lists::{TensorList, TensorListMut};
use super::step::{ClipOptions, StepReport, step};
use super::tensors::{Grads, Tensors};
use super::update::Rule;
use crate::context::Context;
use crate::error::Result;
use crate::simd::Simd;

/// Options of [`clip_adagrad_f32`]. The default is PyTorch's at its first step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdagradOptions {
    /// Learning rate, at least 0.
    pub lr: f64,
    /// At least 0.
    pub lr_decay: f64,
    /// ε, at least 0.
    pub eps: f64,
    /// λ of the L2 penalty, at least 0.
    pub weight_decay: f64,
    /// t, which is 1 at the first update.
    pub step: u64,
    /// Whether `sum` holds s or √s.
    pub second_moment: SecondMoment,
}

impl Default for AdagradOptions {
    fn default() -> Self {
        AdagradOptions {
            lr: 0.01,
            lr_decay: 0.0,
            eps: 1e-10,
            weight_decay: 0.0,
            step: 1,
            second_moment: SecondMoment::Square,
        }
    }
}

/// Clips the gradients and makes a step of Adagrad.
///
/// g := g·factor/loss_scale (see [`ClipOptions`]), then PyTorch's rule: g := g + λ·w; s := s + g²;
/// w := w − lr / (1 + (t − 1)·lr_decay) · g / (√s + ε). Where that denominator is 0, the parameter stays.
/// Whitepaper §17; Duchi et al. 2011.
///
/// `params`, `grads` and `sum` hold tensors of the same sizes, of any shape; `sum` is s, zeros or a positive number at
/// the start; with [`SecondMoment::Root`] it holds √s. Gradients are not written.
///
/// Accuracy: f32 arithmetic on gradients scaled within 0.5001 ULP; the same bits for any number of threads.
///
/// # Errors
/// `InvalidArgument` for an option out of its range; `InvalidSize` where the lists differ; `OutOfMemory`. Nothing is
/// then written.
pub fn clip_adagrad_f32(
    ctx: &Context,
    clip: &ClipOptions,
    adagrad: &AdagradOptions,
    params: &mut [&mut [f32]],
    grads: &[&[f32]],
    sum: &mut [&mut [f32]],
) -> Result<StepReport> {
    clip_adagrad(ctx, clip, adagrad, params.into(), TensorList::from(grads).into(), sum.into())
}

pub(crate) fn clip_adagrad(
    ctx: &Context,
    clip: &ClipOptions,
    o: &AdagradOptions,
    params: TensorListMut<'_>,
    grads: Grads<'_>,
    sum: TensorListMut<'_>,
) -> Result<StepReport> {
    let function = "clip_adagrad_f32";
    let values = [("lr", o.lr), ("lr_decay", o.lr_decay), ("eps", o.eps), ("weight_decay", o.weight_decay)];
    super::check_not_negative(function, &values)?;
    super::check_step(function, o.step)?;
    let rule = Adagrad {
        rate: (o.lr / (1.0 + (o.step - 1) as f64 * o.lr_decay)) as f32,
        eps: o.eps as f32,
        penalty: o.weight_decay as f32,
    };
    let tensors = Tensors { params, grads, states: &[("sum", sum)], copies: None, dice: None };
    match o.second_moment {
        SecondMoment::Square => step(function, ctx, clip, rule, tensors),
        SecondMoment::Root => step(function, ctx, clip, WithRoot(rule), tensors),
    }
}

#[derive(Clone, Copy)]
struct Adagrad {
    rate: f32,
    eps: f32,
    penalty: f32,
}

impl Adagrad {
    /// w − rate·g / (root + ε)
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, w: S::F, g: S::F, root: S::F) -> S::F {
        let denominator = s.add(root, s.splat(self.eps));
        let ratio = s.select(s.eq(denominator, s.zero()), s.zero(), s.div(g, denominator));
        s.fnma(s.splat(self.rate), ratio, w)
    }
}

impl Rule<1> for Adagrad {
    const NS: f64 = 0.6;
    const WIDE: bool = false;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [sum]: [S::F; 1]) -> (S::F, [S::F; 1]) {
        let g = s.fma(s.splat(self.penalty), w, g);
        let sum = s.fma(g, g, sum);
        (self.apply(s, w, g, s.sqrt(sum)), [sum])
    }
}

#[derive(Clone, Copy)]
struct WithRoot(Adagrad);

impl Rule<1> for WithRoot {
    const NS: f64 = 0.8;
    const WIDE: bool = false;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [root]: [S::F; 1]) -> (S::F, [S::F; 1]) {
        let g = s.fma(s.splat(self.0.penalty), w, g);
        let (low, high) = Roots::sum().squares(s, root, g);
        let root = s.narrow(s.sqrt_d(low), s.sqrt_d(high));
        (self.0.apply(s, w, g, root), [root])
    }
}
