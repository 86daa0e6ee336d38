//! RMSprop.

use super::adam::{Roots, SecondMoment, decayed, decayed_square};
use super::lists::{TensorList, TensorListMut};
use super::step::{ClipOptions, StepReport, step};
use super::tensors::{Grads, Tensors};
use super::update::Rule;
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
    /// Whether `square_avg` holds s or √s.
    pub second_moment: SecondMoment,
}

impl Default for RmspropOptions {
    fn default() -> Self {
        RmspropOptions {
            lr: 0.01,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
            second_moment: SecondMoment::Square,
        }
    }
}

/// Clips the gradients and makes a step of RMSprop.
///
/// g := g·factor/loss_scale (see [`ClipOptions`]), then PyTorch's rule: g := g + λ·w; s := α·s + (1 − α)·g²;
/// d := √s + ε, or, `centered`, a := α·a + (1 − α)·g and d := √(s − a²) + ε; w := w − lr·g/d, or with a momentum
/// b := μ·b + g/d and w := w − lr·b. Where d is 0, g/d counts as 0. Whitepaper §17.
///
/// All lists hold tensors of the same sizes, of any shape, states zeros at the start: `square_avg` is s, or √s with
/// [`SecondMoment::Root`]; `momentum` is b, `grad_avg` is a. The last two are needed only where their option asks for them, else not touched. Gradients are not
/// written.
///
/// Accuracy: f32 arithmetic on gradients scaled within 0.5001 ULP; the same bits for any number of threads. A
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
    clip_rmsprop(
        ctx,
        clip,
        rmsprop,
        params.into(),
        TensorList::from(grads).into(),
        square_avg.into(),
        momentum,
        grad_avg,
    )
}

#[allow(clippy::too_many_arguments)]
pub(crate) fn clip_rmsprop(
    ctx: &Context,
    clip: &ClipOptions,
    o: &RmspropOptions,
    params: TensorListMut<'_>,
    grads: Grads<'_>,
    square_avg: TensorListMut<'_>,
    momentum: Option<TensorListMut<'_>>,
    grad_avg: Option<TensorListMut<'_>>,
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
        roots: (o.second_moment == SecondMoment::Root).then(|| Roots::mean(o.alpha)),
    };
    let square = ("square_avg", square_avg);
    let tensors = |states| Tensors { params, grads, states, copies: None, dice: None };
    match (momentum, grad_avg) {
        (None, None) => step(function, ctx, clip, rule, tensors(&[square])),
        (Some(b), None) => step(function, ctx, clip, WithMomentum(rule), tensors(&[square, ("momentum", b)])),
        (None, Some(a)) => step(function, ctx, clip, Centered(rule), tensors(&[square, ("grad_avg", a)])),
        (Some(b), Some(a)) => {
            let states = &[square, ("momentum", b), ("grad_avg", a)];
            step(function, ctx, clip, CenteredWithMomentum(rule), tensors(states))
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
    /// Where the state is a root.
    roots: Option<Roots>,
}

impl Rmsprop {
    /// The gradient with its penalty, the new state of squares, and its root.
    #[inline(always)]
    fn plain<S: Simd>(self, s: S, w: S::F, g: S::F, square: S::F) -> (S::F, S::F, S::F) {
        let g = s.fma(s.splat(self.penalty), w, g);
        if let Some(roots) = self.roots {
            let (low, high) = roots.squares(s, square, g);
            let root = s.narrow(s.sqrt_d(low), s.sqrt_d(high));
            return (g, root, root);
        }
        let square = decayed_square(s, square, g, self.take);
        (g, square, s.sqrt(square))
    }

    /// The gradient with its penalty, the new state of squares, the new mean gradient, and the deviation from it. A negative
    /// variance is 0.
    #[inline(always)]
    fn centered<S: Simd>(self, s: S, w: S::F, g: S::F, square: S::F, mean: S::F) -> (S::F, S::F, S::F, S::F) {
        let g = s.fma(s.splat(self.penalty), w, g);
        let mean = decayed(s, mean, g, self.take);
        if let Some(roots) = self.roots {
            let ((low, high), (mean_low, mean_high)) = (roots.squares(s, square, g), s.widen(mean));
            let root = s.narrow(s.sqrt_d(low), s.sqrt_d(high));
            let low = s.sub_d(low, s.mul_d(mean_low, mean_low));
            let high = s.sub_d(high, s.mul_d(mean_high, mean_high));
            let deviation = s.narrow(s.sqrt_d(low), s.sqrt_d(high));
            // The root of a negative number is NaN, in place of which max gives its second operand.
            return (g, root, mean, s.max(deviation, s.zero()));
        }
        let square = decayed_square(s, square, g, self.take);
        let variance = s.max(s.fnma(mean, mean, square), s.zero());
        (g, square, mean, s.sqrt(variance))
    }

    /// g / (deviation + ε), 0 where that is 0 / 0.
    #[inline(always)]
    fn ratio<S: Simd>(self, s: S, g: S::F, deviation: S::F) -> S::F {
        let denominator = s.add(deviation, s.splat(self.eps));
        s.select(s.eq(denominator, s.zero()), s.zero(), s.div(g, denominator))
    }

    /// w − lr·direction
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, w: S::F, direction: S::F) -> S::F {
        s.fnma(s.splat(self.lr), direction, w)
    }
}

impl Rule<1> for Rmsprop {
    const NS: f64 = 0.6;
    const WIDE: bool = false;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [square]: [S::F; 1]) -> (S::F, [S::F; 1]) {
        let (g, square, root) = self.plain(s, w, g, square);
        (self.apply(s, w, self.ratio(s, g, root)), [square])
    }
}

#[derive(Clone, Copy)]
struct WithMomentum(Rmsprop);

impl Rule<2> for WithMomentum {
    const NS: f64 = 0.9;
    const WIDE: bool = false;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [square, b]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let (g, square, root) = self.0.plain(s, w, g, square);
        let b = s.fma(s.splat(self.0.keep), b, self.0.ratio(s, g, root));
        (self.0.apply(s, w, b), [square, b])
    }
}

#[derive(Clone, Copy)]
struct Centered(Rmsprop);

impl Rule<2> for Centered {
    const NS: f64 = 0.9;
    const WIDE: bool = false;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [square, mean]: [S::F; 2]) -> (S::F, [S::F; 2]) {
        let (g, square, mean, deviation) = self.0.centered(s, w, g, square, mean);
        (self.0.apply(s, w, self.0.ratio(s, g, deviation)), [square, mean])
    }
}

#[derive(Clone, Copy)]
struct CenteredWithMomentum(Rmsprop);

impl Rule<3> for CenteredWithMomentum {
    const NS: f64 = 1.2;
    const WIDE: bool = false;
    #[inline(always)]
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, [square, b, mean]: [S::F; 3]) -> (S::F, [S::F; 3]) {
        let (g, square, mean, deviation) = self.0.centered(s, w, g, square, mean);
        let b = s.fma(s.splat(self.0.keep), b, self.0.ratio(s, g, deviation));
        (self.0.apply(s, w, b), [square, b, mean])
    }
}
