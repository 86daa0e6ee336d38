//! Losses of one element at a time: mean squared error, binary cross-entropy.

use super::check_scale;
use crate::context::Context;
use crate::error::{Result, check_len};
use crate::parallel::Shared;
use crate::reduce;
use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath;

/// Mean squared error and its gradient: mean = (1/n)·Σ (p − t)², d = grad_scale·2·(p − t)/n.
///
/// Shapes: all of `prediction`'s length n. Differences and squares are f64, so no f32 input overflows or underflows,
/// and a gradient is rounded once. The sum's order is that of every long sum: 16 lanes inside chunks of 16384
/// elements, chunks in ascending order. Without elements the mean is 0.
/// Aliasing: none. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`; `InvalidArgument` for a `grad_scale` that is not finite; `OutOfMemory`.
pub fn mse_f32(
    ctx: &Context,
    grad_scale: f32,
    prediction: &[f32],
    target: &[f32],
    mean_loss: Option<&mut f64>,
    dprediction: Option<&mut [f32]>,
) -> Result {
    run("mse_f32", ["target", "dprediction"], ctx, 0.3, grad_scale, prediction, target, mean_loss, dprediction, Mse)
}

/// Binary cross-entropy of σ(x) with targets t in [0, 1], and its gradient:
/// mean = −(1/n)·Σ (t·ln σ(x) + (1 − t)·ln σ(−x)), d = grad_scale·(σ(x) − t)/n.
///
/// Shapes: all of the logits' length n. Computed with e = exp(−|x|), q = e/(1 + e) = σ(−|x|), and w = 1 − t for x ≥ 0,
/// else t: loss = |x|·w + log1p(e) and gradient ±(w − q). So t = 1 with x = 20 keeps its gradient −σ(−20), where
/// σ(x) − t would be 0. Targets are not checked; outside [0, 1] the formula still holds.
/// The sum's order is that of every long sum: 16 lanes inside chunks of 16384 elements, chunks in ascending order.
/// Without elements the mean is 0. Aliasing: none. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`; `InvalidArgument` for a `grad_scale` that is not finite; `OutOfMemory`.
pub fn bce_with_logits_f32(
    ctx: &Context,
    grad_scale: f32,
    logits: &[f32],
    target: &[f32],
    mean_loss: Option<&mut f64>,
    dlogits: Option<&mut [f32]>,
) -> Result {
    run("bce_with_logits_f32", ["target", "dlogits"], ctx, 1.0, grad_scale, logits, target, mean_loss, dlogits, Bce)
}

/// Loss and gradient of one vector.
trait Point: Copy + Sync {
    /// What the two share.
    type Parts<S: Simd>: Copy;
    fn parts<S: Simd>(self, s: S, x: S::F, t: S::F) -> Self::Parts<S>;
    /// The loss, in two halves; only called where it is wanted.
    fn loss<S: Simd>(self, s: S, parts: Self::Parts<S>) -> (S::D, S::D);
    /// The gradient times `scale`.
    fn gradient<S: Simd>(self, s: S, parts: Self::Parts<S>, scale: f64) -> S::F;
}

#[allow(clippy::too_many_arguments)]
fn run(
    function: &'static str,
    [target_name, gradient_name]: [&str; 2],
    ctx: &Context,
    ns: f64,
    grad_scale: f32,
    x: &[f32],
    t: &[f32],
    mean_loss: Option<&mut f64>,
    dx: Option<&mut [f32]>,
    point: impl Point,
) -> Result {
    check_scale(function, grad_scale)?;
    let n = x.len();
    check_len(function, target_name, t, n)?;
    if let Some(dx) = dx.as_deref() {
        check_len(function, gradient_name, dx, n)?;
    }
    let mut total = 0.0;
    if n > 0 && (mean_loss.is_some() || dx.is_some()) {
        let scale = grad_scale as f64 / n as f64;
        let (loss, dx) = (mean_loss.is_some(), dx.map(Shared::new));
        let chunk = |range: std::ops::Range<usize>| {
            // SAFETY: chunks have disjoint ranges.
            let dx = dx.as_ref().map(|dx| unsafe { dx.piece(range.clone()) });
            [ctx.dispatch(Run { x: &x[range.clone()], t: &t[range], dx, loss, scale, point })]
        };
        reduce::chunks(function, ctx, n, ns, chunk, |[sum]| total += sum)?;
    }
    if let Some(mean) = mean_loss {
        *mean = if n == 0 { 0.0 } else { total / n as f64 };
    }
    Ok(())
}

struct Run<'a, P> {
    x: &'a [f32],
    t: &'a [f32],
    dx: Option<&'a mut [f32]>,
    loss: bool,
    scale: f64,
    point: P,
}

impl<P: Point> Kernel for Run<'_, P> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let n = self.x.len();
        let (x, t) = (self.x.as_ptr(), self.t.as_ptr());
        let dx = self.dx.map(|dx| dx.as_mut_ptr());
        let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
        let mut i = 0;
        while i < n {
            let left = n - i;
            // SAFETY: x, t and dx hold n floats (run); loads and stores end there.
            unsafe {
                let parts = self.point.parts(s, s.load_up_to(x.add(i), left), s.load_up_to(t.add(i), left));
                if self.loss {
                    let (mut a, mut b) = self.point.loss(s, parts);
                    if left < LANES {
                        (a, b) = first_d(s, a, b, left);
                    }
                    (low, high) = (s.add_d(low, a), s.add_d(high, b));
                }
                if let Some(dx) = dx {
                    s.store_up_to(dx.add(i), self.point.gradient(s, parts, self.scale), left);
                }
            }
            i += LANES;
        }
        s.sum_dd(low, high)
    }
}

/// The first `n` lanes, and zero in the others.
#[inline(always)]
fn first_d<S: Simd>(s: S, a: S::D, b: S::D, n: usize) -> (S::D, S::D) {
    let mut v = [0.0; LANES];
    v[..8].copy_from_slice(&s.to_array_d(a));
    v[8..].copy_from_slice(&s.to_array_d(b));
    v[n..].fill(0.0);
    // SAFETY: v holds two halves of 8.
    unsafe { (s.load_d(v.as_ptr()), s.load_d(v.as_ptr().add(8))) }
}

/// x − t in f64.
#[derive(Clone, Copy)]
struct Mse;

impl Point for Mse {
    type Parts<S: Simd> = (S::D, S::D);

    #[inline(always)]
    fn parts<S: Simd>(self, s: S, x: S::F, t: S::F) -> (S::D, S::D) {
        let ((x_low, x_high), (t_low, t_high)) = (s.widen(x), s.widen(t));
        (s.sub_d(x_low, t_low), s.sub_d(x_high, t_high))
    }
    #[inline(always)]
    fn loss<S: Simd>(self, s: S, (a, b): (S::D, S::D)) -> (S::D, S::D) {
        (s.mul_d(a, a), s.mul_d(b, b))
    }
    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, (a, b): (S::D, S::D), scale: f64) -> S::F {
        let c = s.splat_d(2.0 * scale);
        s.narrow(s.mul_d(a, c), s.mul_d(b, c))
    }
}

/// x, e = exp(−|x|), and the weight w of |x| in the loss: 1 − t for x ≥ 0, else t.
#[derive(Clone, Copy)]
struct Bce;

impl Point for Bce {
    type Parts<S: Simd> = [S::F; 3];

    #[inline(always)]
    fn parts<S: Simd>(self, s: S, x: S::F, t: S::F) -> [S::F; 3] {
        let e = vecmath::exp(s, s.neg(s.abs(x)));
        [x, e, s.select(s.ge(x, s.zero()), s.sub(s.splat(1.0), t), t)]
    }
    #[inline(always)]
    fn loss<S: Simd>(self, s: S, [x, e, w]: [S::F; 3]) -> (S::D, S::D) {
        // An infinite logit on the right side costs nothing.
        let linear = s.select(s.eq(w, s.zero()), s.zero(), s.mul(s.abs(x), w));
        let ((a, b), (c, d)) = (s.widen(linear), s.widen(vecmath::log1p(s, e)));
        (s.add_d(a, c), s.add_d(b, d))
    }
    #[inline(always)]
    fn gradient<S: Simd>(self, s: S, [x, e, w]: [S::F; 3], scale: f64) -> S::F {
        let q = s.div(e, s.add(s.splat(1.0), e));
        let d = s.sub(w, q);
        let signed = s.select(s.ge(x, s.zero()), d, s.neg(d));
        s.mul(signed, s.splat(scale as f32))
    }
}
