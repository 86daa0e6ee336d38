//! Adam and AdamW.

use super::lists::{TensorList, TensorListMut};
use super::step::{ClipOptions, StepReport, step};
use super::tensors::{Copies, Grads, Tensors};
use super::update::Rule;
use crate::context::Context;
use crate::element::{bf16, f16};
use crate::error::Result;
use crate::simd::Simd;
use crate::stochastic::Dice;

/// What the state of squared gradients holds, in Adam, RMSprop and Adagrad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(i32)]
pub enum SecondMoment {
    /// v, the mean or sum of squares, as PyTorch keeps it. It is right for gradients from 1e-16 to 1e19: beyond, its square
    /// leaves f32, and a parameter freezes for good or moves without bounds.
    #[default]
    Square = 0,
    /// √v, updated as a hypotenuse: right for gradients from 1e-38 to 1e38.
    Root = 1,
}

/// Options of [`clip_adam_f32`], [`clip_adam_bf16`] and [`clip_adam_f16`]. The default is PyTorch's Adam at its first step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamOptions {
    /// Learning rate, at least 0.
    pub lr: f64,
    /// β₁, in [0, 1).
    pub beta1: f64,
    /// β₂, in [0, 1).
    pub beta2: f64,
    /// ε, at least 0.
    pub eps: f64,
    /// λ, at least 0.
    pub weight_decay: f64,
    /// Whether λ shrinks the parameters directly (AdamW) instead of entering the gradient.
    pub decoupled: bool,
    /// t, which is 1 at the first update.
    pub step: u64,
    pub second_moment: SecondMoment,
    /// Rounds the copies in half the width by chance, from this seed and `step`. None, the default, rounds them to nearest
    /// even.
    pub stochastic_seed: Option<u64>,
}

impl Default for AdamOptions {
    fn default() -> Self {
        AdamOptions {
            lr: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            step: 1,
            second_moment: SecondMoment::Square,
            stochastic_seed: None,
        }
    }
}

/// Clips the gradients and makes a step of Adam, or of AdamW with `decoupled`.
///
/// g := g·factor/loss_scale (see [`ClipOptions`]), then PyTorch's rule:
/// w := w − lr·λ·w if `decoupled`, else g := g + λ·w;
/// m := β₁·m + (1 − β₁)·g; v := β₂·v + (1 − β₂)·g²;
/// w := w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε). Where that denominator is 0, the parameter stays.
/// Whitepaper §17; Kingma and Ba 2015; Loshchilov and Hutter 2019.
///
/// `params`, `grads`, `m` and `v` hold tensors of the same sizes, of any shape; `m` and `v` are zeros at the start. With
/// [`SecondMoment::Root`], `v` holds √v. Gradients are not written.
///
/// Accuracy: f32 arithmetic on gradients scaled within 0.5001 ULP; the hypotenuse is taken in f64. Moments decay by
/// 1 − β, not by β, which f32 could not hold as well: their mean of constant gradients is exact. Same bits for any
/// number of threads.
///
/// # Errors
/// `InvalidArgument` for an option out of its range; `InvalidSize` where the lists differ; `OutOfMemory`. Nothing is
/// then written.
pub fn clip_adam_f32(
    ctx: &Context,
    clip: &ClipOptions,
    adam: &AdamOptions,
    params: &mut [&mut [f32]],
    grads: &[&[f32]],
    m: &mut [&mut [f32]],
    v: &mut [&mut [f32]],
) -> Result<StepReport> {
    let grads = TensorList::from(grads).into();
    clip_adam("clip_adam_f32", ctx, clip, adam, params.into(), grads, m.into(), v.into(), None)
}

/// [`clip_adam_f32`] on gradients in bf16.
///
/// `params` are the f32 parameters that training keeps; `params_bf16`, if given, receives the new ones rounded, in the same
/// pass: to nearest even, or by chance (`stochastic_seed`). Moments are f32. All else is as in [`clip_adam_f32`].
///
/// # Errors
/// Those of [`clip_adam_f32`].
#[allow(clippy::too_many_arguments)]
pub fn clip_adam_bf16(
    ctx: &Context,
    clip: &ClipOptions,
    adam: &AdamOptions,
    params: &mut [&mut [f32]],
    grads: &[&[bf16]],
    m: &mut [&mut [f32]],
    v: &mut [&mut [f32]],
    params_bf16: Option<&mut [&mut [bf16]]>,
) -> Result<StepReport> {
    let copies = params_bf16.map(|list| TensorListMut::from(list).into());
    let grads = TensorList::from(grads).into();
    clip_adam("clip_adam_bf16", ctx, clip, adam, params.into(), grads, m.into(), v.into(), copies)
}

/// [`clip_adam_bf16`] in f16.
///
/// # Errors
/// Those of [`clip_adam_f32`].
#[allow(clippy::too_many_arguments)]
pub fn clip_adam_f16(
    ctx: &Context,
    clip: &ClipOptions,
    adam: &AdamOptions,
    params: &mut [&mut [f32]],
    grads: &[&[f16]],
    m: &mut [&mut [f32]],
    v: &mut [&mut [f32]],
    params_f16: Option<&mut [&mut [f16]]>,
) -> Result<StepReport> {
    let copies = params_f16.map(|list| TensorListMut::from(list).into());
    let grads = TensorList::from(grads).into();
    clip_adam("clip_adam_f16", ctx, clip, adam, params.into(), grads, m.into(), v.into(), copies)
}

#[allow(clippy::too_many_arguments)]
pub(crate) fn clip_adam(
    function: &'static str,
    ctx: &Context,
    clip: &ClipOptions,
    adam: &AdamOptions,
    params: TensorListMut<'_>,
    grads: Grads<'_>,
    m: TensorListMut<'_>,
    v: TensorListMut<'_>,
    copies: Option<Copies<'_>>,
) -> Result<StepReport> {
    super::check_not_negative(function, &[("lr", adam.lr), ("eps", adam.eps), ("weight_decay", adam.weight_decay)])?;
    super::check_decay(function, &[("beta1", adam.beta1), ("beta2", adam.beta2)])?;
    super::check_step(function, adam.step)?;
    let correction1 = 1.0 - adam.beta1.powf(adam.step as f64);
    let correction2 = (1.0 - adam.beta2.powf(adam.step as f64)).sqrt();
    let moments = Moments {
        // Multiplied through by √(1 − β₂ᵗ): the rule divides once, and its denominator is no larger than the gradients.
        rate: (adam.lr * correction2 / correction1) as f32,
        eps: (adam.eps * correction2) as f32,
        take1: (1.0 - adam.beta1) as f32,
        penalty: if adam.decoupled { 0.0 } else { adam.weight_decay as f32 },
        shrink: if adam.decoupled { (adam.lr * adam.weight_decay) as f32 } else { 0.0 },
        none: 0.0,
    };
    let dice = adam.stochastic_seed.map(|seed| Dice { seed, stream: adam.step });
    let tensors = Tensors { params, grads, states: &[("m", m), ("v", v)], copies, dice };
    match adam.second_moment {
        SecondMoment::Square => {
            let rule = Square { moments, take2: (1.0 - adam.beta2) as f32 };
            step(function, ctx, clip, rule, tensors)
        }
        SecondMoment::Root => {
            let rule = Root { moments, roots: Roots::mean(adam.beta2) };
            step(function, ctx, clip, rule, tensors)
        }
    }
}

#[derive(Clone, Copy)]
struct Moments {
    rate: f32,
    eps: f32,
    take1: f32,
    penalty: f32,
    shrink: f32,
    /// Zero, unknown to the compiler, which would make three operations of a selection of zeros instead of two.
    none: f32,
}

impl Moments {
    /// The gradient with its penalty, and the new m.
    #[inline(always)]
    fn first<S: Simd>(self, s: S, w: S::F, g: S::F, m: S::F) -> (S::F, S::F) {
        let g = s.fma(s.splat(self.penalty), w, g);
        (g, decayed(s, m, g, self.take1))
    }

    /// The new w.
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, w: S::F, m: S::F, root: S::F) -> S::F {
        let denominator = s.add(root, s.splat(self.eps));
        let ratio = s.div(m, denominator);
        let none = s.splat(self.none);
        let ratio = s.select(s.eq(denominator, none), none, ratio);
        s.fnma(s.splat(self.rate), ratio, s.fnma(s.splat(self.shrink), w, w))
    }
}

#[derive(Clone, Copy)]
struct Square {
    moments: Moments,
    take2: f32,
}

impl Rule<2> for Square {
    const NS: f64 = 1.2;
    const HALVES: bool = true;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [m, v]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let (g, m) = self.moments.first(s, w, g, m);
        let v = decayed_square(s, v, g, self.take2);
        (self.moments.apply(s, w, m, s.sqrt(v)), [m, v])
    }
}

/// m·(1 − take) + take·g.
#[inline(always)]
pub(super) fn decayed<S: Simd>(s: S, m: S::F, g: S::F, take: f32) -> S::F {
    let take = s.splat(take);
    s.fma(take, g, s.fnma(take, m, m))
}

/// v·(1 − take) + take·g².
#[inline(always)]
pub(super) fn decayed_square<S: Simd>(s: S, v: S::F, g: S::F, take: f32) -> S::F {
    let take = s.splat(take);
    // The minimum changes nothing but an infinite v, whose decay would be NaN, and which stays infinite.
    let decayed = s.min(s.fnma(take, v, v), v);
    s.fma(take, s.mul(g, g), decayed)
}

#[derive(Clone, Copy)]
struct Root {
    moments: Moments,
    roots: Roots,
}

impl Rule<2> for Root {
    const NS: f64 = 1.8;
    const HALVES: bool = true;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [m, r]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let (g, m) = self.moments.first(s, w, g, m);
        let (low, high) = self.roots.squares(s, r, g);
        let r = s.narrow(s.sqrt_d(low), s.sqrt_d(high));
        (self.moments.apply(s, w, m, r), [m, r])
    }
}

/// How a root of squares goes on: r² := keep·r² + take·g².
#[derive(Clone, Copy)]
pub(super) struct Roots {
    keep: f64,
    take: f64,
}

impl Roots {
    /// Of a mean that keeps `beta` of what it was.
    pub(super) fn mean(beta: f64) -> Roots {
        Roots { keep: beta, take: 1.0 - beta }
    }

    /// Of a sum.
    pub(super) fn sum() -> Roots {
        Roots { keep: 1.0, take: 1.0 }
    }

    /// The new r², whose terms fit f64 exactly.
    #[inline(always)]
    pub(super) fn squares<S: Simd>(self, s: S, r: S::F, g: S::F) -> (S::D, S::D) {
        let (keep, take) = (s.splat_d(self.keep), s.splat_d(self.take));
        let ((r_low, r_high), (g_low, g_high)) = (s.widen(r), s.widen(g));
        let low = s.fma_d(keep, s.mul_d(r_low, r_low), s.mul_d(take, s.mul_d(g_low, g_low)));
        let high = s.fma_d(keep, s.mul_d(r_high, r_high), s.mul_d(take, s.mul_d(g_high, g_high)));
        (low, high)
    }
}
