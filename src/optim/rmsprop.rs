//! RMSprop.

use super::adam::{decayed, decayed_square};
use super::lists::{TensorList, TensorListMut};
use super::step::{ClipOptions, Rule, StepReport, Tensors, step};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::simd::Simd;

/// Options of [`clip_rmsprop_f32`]. The default is PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmspropOptions {
    /// Learning rate, at least 0.
    pub lr: f64,
    /// α, how much of the mean of squares is kept, in [0, 1).
    pub alpha: f64,
    /// ε, at least 0.
    pub eps: f64,
    /// λ of the L2 penalty, at least 0.
    pub weight_decay: f64,
    /// μ, at least 0; 0 is none.
    pub momentum: f64,
    /// Whether the mean of squares is taken about the mean gradient.
    pub centered: bool,
}

impl Default for RmspropOptions {
    fn default() -> Self {
        RmspropOptions { lr: 0.01, alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0, centered: false }
    }
}

/// Clips the gradients and makes a step of RMSprop.
///
/// g := g·factor/loss_scale (see [`ClipOptions`]), then PyTorch's rule: g := g + λ·w; s := α·s + (1 − α)·g²;
/// d := √s + ε, or, `centered`, a := α·a + (1 − α)·g and d := √(s − a²) + ε; w := w − lr·g/d, or with a momentum
/// b := μ·b + g/d and w := w − lr·b. Where d is 0, g/d counts as 0. Whitepaper §17.
///
/// All lists hold tensors of the same sizes, of any shape, states zeros at the start: `square_avg` is s, `momentum` is b,
/// `grad_avg` is a. The last two are needed only where their option asks for them, else not touched. Gradients are not
/// written.
///
/// Accuracy: f32 arithmetic on gradients scaled in f64 and rounded once; the same bits for any number of threads. A
/// negative s − a², which only rounding can make, counts as 0.
///
/// # Errors
/// `InvalidArgument` for an option out of its range or a state that is missing; `InvalidSize` where the lists differ;
/// `OutOfMemory`. Nothing is then written.
#[allow(clippy::too_many_arguments)]
pub fn clip_rmsprop_f32(
    ctx: &Context,
    clip: &ClipOptions,
    rmsprop: &RmspropOptions,
    params: &mut [&mut [f32]],
    grads: &[&[f32]],
    square_avg: &mut [&mut [f32]],
    momentum: Option<&mut [&mut [f32]]>,
    grad_avg: Option<&mut [&mut [f32]]>,
) -> Result<StepReport> {
    let (momentum, grad_avg) = (momentum.map(Into::into), grad_avg.map(Into::into));
    clip_rmsprop(ctx, clip, rmsprop, params.into(), grads.into(), square_avg.into(), momentum, grad_avg, true)
}

#[allow(clippy::too_many_arguments)]
pub(crate) fn clip_rmsprop(
    ctx: &Context,
    clip: &ClipOptions,
    o: &RmspropOptions,
    params: TensorListMut<'_>,
    grads: TensorList<'_>,
    square_avg: TensorListMut<'_>,
    momentum: Option<TensorListMut<'_>>,
    grad_avg: Option<TensorListMut<'_>>,
    report: bool,
) -> Result<StepReport> {
    let function = "clip_rmsprop_f32";
    let values = [("lr", o.lr), ("eps", o.eps), ("weight_decay", o.weight_decay), ("momentum", o.momentum)];
    super::check_not_negative(function, &values)?;
    super::check_decay(function, &[("alpha", o.alpha)])?;
    let missing = |detail: String| Err(Error::invalid_argument(function, detail));
    let momentum = match momentum.filter(|_| o.momentum != 0.0) {
        None if o.momentum != 0.0 => {
            return missing(format!("momentum is {} but no momentum tensors are given", o.momentum));
        }
        momentum => momentum,
    };
    let grad_avg = match grad_avg.filter(|_| o.centered) {
        None if o.centered => return missing("centered is true but no grad_avg tensors are given".into()),
        grad_avg => grad_avg,
    };
    let rule = Rmsprop {
        lr: o.lr as f32,
        eps: o.eps as f32,
        penalty: o.weight_decay as f32,
        take: (1.0 - o.alpha) as f32,
        keep: o.momentum as f32,
    };
    let square = ("square_avg", square_avg);
    match (momentum, grad_avg) {
        (None, None) => step(function, ctx, clip, rule, Tensors { params, grads, states: [square] }, report),
        (Some(b), None) => {
            let states = [square, ("momentum", b)];
            step(function, ctx, clip, WithMomentum(rule), Tensors { params, grads, states }, report)
        }
        (None, Some(a)) => {
            let states = [square, ("grad_avg", a)];
            step(function, ctx, clip, Centered(rule), Tensors { params, grads, states }, report)
        }
        (Some(b), Some(a)) => {
            let states = [square, ("momentum", b), ("grad_avg", a)];
            step(function, ctx, clip, CenteredWithMomentum(rule), Tensors { params, grads, states }, report)
        }
    }
}

#[derive(Clone, Copy)]
struct Rmsprop {
    lr: f32,
    eps: f32,
    penalty: f32,
    take: f32,
    keep: f32,
}

impl Rmsprop {
    /// The gradient with its penalty, and the new mean of squares.
    #[inline(always)]
    fn square<S: Simd>(self, s: S, w: S::F, g: S::F, square: S::F) -> (S::F, S::F) {
        let g = s.fma(s.splat(self.penalty), w, g);
        (g, decayed_square(s, square, g, self.take))
    }

    /// The new mean gradient, and the variance about it.
    #[inline(always)]
    fn center<S: Simd>(self, s: S, g: S::F, square: S::F, mean: S::F) -> (S::F, S::F) {
        let mean = decayed(s, mean, g, self.take);
        // max gives its second operand where that is NaN.
        (mean, s.max(s.zero(), s.fnma(mean, mean, square)))
    }

    /// g / (√variance + ε).
    #[inline(always)]
    fn ratio<S: Simd>(self, s: S, g: S::F, variance: S::F) -> S::F {
        let denominator = s.add(s.sqrt(variance), s.splat(self.eps));
        s.select(s.eq(denominator, s.zero()), s.zero(), s.div(g, denominator))
    }

    /// w − lr·direction
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, w: S::F, direction: S::F) -> S::F {
        s.fnma(s.splat(self.lr), direction, w)
    }
}

impl Rule<1> for Rmsprop {
    const NS: f64 = 1.0;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [square]: [S::F; 1]) -> (S::F, [S::F; 1]) {
        let (g, square) = self.square(s, w, g, square);
        (self.apply(s, w, self.ratio(s, g, square)), [square])
    }
}

#[derive(Clone, Copy)]
struct WithMomentum(Rmsprop);

impl Rule<2> for WithMomentum {
    const NS: f64 = 1.2;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [square, b]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let (g, square) = self.0.square(s, w, g, square);
        let b = s.fma(s.splat(self.0.keep), b, self.0.ratio(s, g, square));
        (self.0.apply(s, w, b), [square, b])
    }
}

#[derive(Clone, Copy)]
struct Centered(Rmsprop);

impl Rule<2> for Centered {
    const NS: f64 = 1.2;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [square, mean]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let (g, square) = self.0.square(s, w, g, square);
        let (mean, variance) = self.0.center(s, g, square, mean);
        (self.0.apply(s, w, self.0.ratio(s, g, variance)), [square, mean])
    }
}

#[derive(Clone, Copy)]
struct CenteredWithMomentum(Rmsprop);

impl Rule<3> for CenteredWithMomentum {
    const NS: f64 = 1.5;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [square, b, mean]: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let (g, square) = self.0.square(s, w, g, square);
        let (mean, variance) = self.0.center(s, g, square, mean);
        let b = s.fma(s.splat(self.0.keep), b, self.0.ratio(s, g, variance));
        (self.0.apply(s, w, b), [square, b, mean])
    }
}
