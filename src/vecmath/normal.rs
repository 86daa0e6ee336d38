//! The normal distribution's family: Φ(−t)·exp(t²/2), erf, erfc.

use super::dd::{self, Dd, fast_two_sum, horner, mul_f, two_prod, two_sum};
use super::exp::{FallDd, exp_parts, exp2_held, fall_dd};
use super::logistic::{Decay, decay_dd};
use super::tables::{
    ERF, MILLS, MILLS_CENTER, MILLS_LOW, MILLS_SHIFT, SQRT_2, TAIL, TAIL_CENTER, TAIL_FOLLOW, TAIL_SHIFT,
    TWO_OVER_SQRT_PI,
};
use crate::simd::Simd;

/// Φ(−t)·exp(t²/2) for 0 ≤ t ≤ 14.6, to about 2⁻²⁸: Mills' ratio over √(2π). It falls from 0.5 as 1/t.
#[inline(always)]
pub fn mills<S: Simd>(s: S, t: Dd<S::F>) -> Dd<S::F> {
    let b = two_sum(s, t.hi, s.splat(MILLS_SHIFT));
    let r = s.div(s.splat(1.0), b.hi);
    // 1/b = r·(1 + miss).
    let miss = s.fnma(r, s.add(b.lo, t.lo), dd::rest(s, r, b.hi, s.splat(1.0)));
    let w = s.sub(r, s.splat(MILLS_CENTER));
    let w_lo = s.fma(r, miss, s.sub(s.sub(r, w), s.splat(MILLS_CENTER)));
    // The polynomial is nearly linear: two floats for c₀ + c₁·w, one for the rest.
    let slope = s.splat(MILLS[1]);
    let linear = two_prod(s, slope, w);
    let sum = fast_two_sum(s, s.splat(MILLS[0]), linear.hi);
    let curve = s.fma(w, horner(s, &MILLS[2..], w), s.splat(MILLS_LOW[1]));
    let lo = s.fma(w, curve, s.fma(slope, w_lo, s.add(linear.lo, s.splat(MILLS_LOW[0]))));
    let lo = s.add(sum.lo, lo);
    let p = fast_two_sum(s, sum.hi, lo);
    let y = mul_f(s, r, p);
    Dd { hi: y.hi, lo: s.fma(y.hi, miss, y.lo) }
}

/// Φ(−t) begun: exp(−t²/2), and Mills' ratio over √(2π) as r·(line + curve).
#[derive(Clone, Copy)]
pub struct Tail<F> {
    fall: FallDd<F>,
    r: F,
    line: F,
    curve: F,
}

/// Φ(−t) for 0 ≤ t ≤ 14.6 given u = −t, up to the polynomials' last steps.
#[inline(always)]
pub fn tail_start<S: Simd>(s: S, u: S::F) -> Tail<S::F> {
    // The sum is exact for any t here: both are multiples of its last place, and shift − b is no longer than b.
    let shift = s.splat(TAIL_SHIFT);
    let b = s.sub(shift, u);
    let b_lo = s.sub(s.sub(shift, b), u);
    let r = s.div(s.splat(1.0), b);
    // 1/(t + shift) = r·(1 + miss).
    let miss = s.fnma(r, b_lo, dd::rest(s, r, b, s.splat(1.0)));
    let fall = fall_dd(s, two_prod(s, s.mul(u, s.splat(-0.5)), u));
    let w = s.sub(r, s.splat(TAIL_CENTER));
    let w2 = s.mul(w, w);
    let (c0, c1) = (s.splat(TAIL[0]), s.splat(TAIL[1]));
    let line = s.fma(w, c1, c0);
    let line_lo = s.fma(w, c1, s.sub(c0, line));
    let c = TAIL[2..].try_into().expect("ten coefficients");
    let follow = s.fma(r, s.splat(TAIL_FOLLOW[1]), s.splat(TAIL_FOLLOW[0]));
    let curve = s.fma(w2, dd::estrin10(s, c, w, w2), line_lo);
    Tail { fall, r, line, curve: s.fma(follow, miss, curve) }
}

/// exp(−t²/2), scaled, and Mills' ratio over √(2π).
#[inline(always)]
pub fn tail_parts<S: Simd>(s: S, tail: Tail<S::F>) -> (Decay<S::F>, Dd<S::F>) {
    let p = fast_two_sum(s, tail.line, tail.curve);
    (decay_dd(s, tail.fall), mul_f(s, tail.r, p))
}

/// erfc(a)/2 for 0 ≤ a ≤ 10.3 as 2ⁿ·p.
#[inline(always)]
fn half_erfc<S: Simd>(s: S, a: S::F) -> (S::F, Dd<S::F>) {
    let square = two_prod(s, s.neg(a), a);
    let (n, p) = exp_parts(s, square);
    let t = mul_f(s, a, Dd { hi: s.splat(SQRT_2[0]), lo: s.splat(SQRT_2[1]) });
    (n, dd::mul(s, p, mills(s, t)))
}

/// 1 − erf(x). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn erfc<S: Simd>(s: S, x: S::F) -> S::F {
    // erfc rounds to zero from 10.06 on.
    let (n, p) = half_erfc(s, s.min(s.splat(10.3), s.abs(x)));
    let n = s.add(n, s.splat(1.0));
    let y = dd::scale(s, exp2_held(s, n), p);
    let two = fast_two_sum(s, s.splat(2.0), s.neg(y.hi));
    let left = s.add(two.hi, s.sub(two.lo, y.lo));
    s.select(s.lt(x, s.zero()), left, s.ldexp(dd::round(s, p), n))
}

/// The error function. Within 1 ULP; subnormal results and the sign of zero are kept.
#[inline(always)]
pub fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    let a = s.min(s.splat(4.0), s.abs(x));
    let (n, p) = half_erfc(s, a);
    let y = dd::scale(s, exp2_held(s, s.add(n, s.splat(1.0))), p);
    let one = fast_two_sum(s, s.splat(1.0), s.neg(y.hi));
    let far = s.add(one.hi, s.sub(one.lo, y.lo));
    let a2 = s.mul(a, a);
    let rest = s.fma(a2, horner(s, &ERF, a2), s.splat(TWO_OVER_SQRT_PI[1]));
    let near = s.fma(a, s.splat(TWO_OVER_SQRT_PI[0]), s.mul(a, rest));
    s.copysign(s.select(s.lt(a, s.splat(0.75)), near, far), x)
}
