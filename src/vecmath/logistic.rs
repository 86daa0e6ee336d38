//! The family of e = exp(−|x|): σ, tanh, their derivatives, softplus. Nothing subtracts from a value that rounds to 1.

use super::dd::{self, Dd, fast_add, fast_two_sum, horner, two_sum};
use super::exp::{DOWN, Fall, FallDd, UP, fall, fall_short};
use super::tables::ATANH;
use crate::simd::Simd;

/// Beyond it every e^−|x| rounds to zero, subnormal numbers included.
pub const EXP_END: f32 = 110.0;

/// 2⁶⁴·e for e = exp(−|x|): a factor of numerators, which [`finish`] scales back, rounding once more only where the
/// result is subnormal.
#[derive(Clone, Copy)]
pub struct Decay<F> {
    pub up: Dd<F>,
}

/// e, held at 2⁻¹²⁶: beside a 1 nothing below it matters.
#[inline(always)]
pub fn held<S: Simd>(s: S, d: Decay<S::F>) -> Dd<S::F> {
    let e = dd::scale(s, s.splat(DOWN), d.up);
    Dd { hi: s.max(e.hi, s.splat(f32::MIN_POSITIVE)), lo: e.lo }
}

shared! {
    /// The domain is that of [`Fall`].
    pub fn decay(s, f: Fall<S::F>) -> Decay<S::F> {
        let r2 = s.mul(f.r, f.r);
        let t = s.fma(r2, f.q, f.r);
        join(s, f.up, Dd { hi: t, lo: s.fma(r2, f.q, s.sub(f.r, t)) })
    }
}

/// The domain is that of [`Fall`].
#[inline(always)]
pub fn decay_dd<S: Simd>(s: S, f: FallDd<S::F>) -> Decay<S::F> {
    join(s, f.up, fast_two_sum(s, f.r, f.tail))
}

#[inline(always)]
fn join<S: Simd>(s: S, up: S::F, t: Dd<S::F>) -> Decay<S::F> {
    Decay { up: dd::scale(s, up, fast_add(s, s.splat(1.0), t)) }
}

/// exp(−|x|), begun, with |x| cut off where it is zero. NaN stays NaN.
#[inline(always)]
pub fn fall_abs<S: Simd>(s: S, x: S::F) -> Fall<S::F> {
    fall_short(s, s.max(s.splat(-EXP_END), s.or(x, s.splat(-0.0))))
}

/// exp(−|x|), with |x| cut off where it is zero. NaN stays NaN.
#[inline(always)]
pub fn decay_abs<S: Simd>(s: S, x: S::F) -> Decay<S::F> {
    decay(s, fall_abs(s, x))
}

/// e and 1 + e: what most functions here are quotients of.
#[derive(Clone, Copy)]
pub struct Parts<F> {
    pub decay: Decay<F>,
    pub one_e: Dd<F>,
}

#[inline(always)]
pub fn parts<S: Simd>(s: S, decay: Decay<S::F>) -> Parts<S::F> {
    Parts { decay, one_e: plus(s, decay, 1.0) }
}

shared! {
    /// c + e, for c ≥ 1.
    pub fn plus(s, d: Decay<S::F>, c: f32) -> Dd<S::F> {
        let (c, down) = (s.splat(c), s.splat(DOWN));
        let hi = s.fma(d.up.hi, down, c);
        let lo = s.fma(d.up.hi, down, s.sub(c, hi));
        Dd { hi, lo: s.fma(d.up.lo, down, lo) }
    }
}

/// The numerator of σ, for [`finish`]: e where the argument is negative, else 1.
#[inline(always)]
pub fn sigmoid_numerator<S: Simd>(s: S, d: Decay<S::F>, negative: S::M) -> Dd<S::F> {
    dd::select(s, negative, d.up, Dd { hi: s.splat(UP), lo: s.zero() })
}

/// What was computed from 2⁶⁴·e.
#[inline(always)]
pub fn finish<S: Simd>(s: S, y: S::F) -> S::F {
    s.mul(y, s.splat(DOWN))
}

/// 1/(1 + e^−x). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    sigmoid_from(s, x, decay_abs(s, x))
}

/// The same, given exp(−|x|).
#[inline(always)]
pub fn sigmoid_from<S: Simd>(s: S, x: S::F, d: Decay<S::F>) -> S::F {
    sigmoid_end(s, x, parts(s, d))
}

shared! {
    /// The same, given 1 + exp(−|x|) too.
    pub fn sigmoid_end(s, x: S::F, e: Parts<S::F>) -> S::F {
        let numerator = sigmoid_numerator(s, e.decay, s.lt(x, s.zero()));
        finish(s, dd::div_round(s, numerator, e.one_e))
    }
}

/// σ'(x) = e/(1 + e)² with e = exp(−|x|). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn sigmoid_derivative<S: Simd>(s: S, x: S::F) -> S::F {
    sigmoid_derivative_from(s, decay_abs(s, x))
}

/// The same, given exp(−|x|).
#[inline(always)]
pub fn sigmoid_derivative_from<S: Simd>(s: S, d: Decay<S::F>) -> S::F {
    sigmoid_derivative_end(s, parts(s, d))
}

/// The same, given 1 + exp(−|x|) too.
#[inline(always)]
pub fn sigmoid_derivative_end<S: Simd>(s: S, e: Parts<S::F>) -> S::F {
    finish(s, dd::div_round(s, e.decay.up, dd::square(s, e.one_e)))
}

/// tanh'(x) = sech²(x) = 4e/(1 + e)² with e = exp(−2|x|). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn sech2<S: Simd>(s: S, x: S::F) -> S::F {
    sech2_from(s, tanh_fall(s, x))
}

/// exp(−2|x|), with |x| cut off where the derivative of tanh is zero.
#[inline(always)]
pub fn tanh_fall<S: Simd>(s: S, x: S::F) -> Fall<S::F> {
    let x = s.or(x, s.splat(-0.0));
    fall(s, s.max(s.splat(-EXP_END), s.add(x, x)))
}

/// The same, given [`tanh_fall`].
#[inline(always)]
pub fn sech2_from<S: Simd>(s: S, f: Fall<S::F>) -> S::F {
    sech2_end(s, parts(s, decay(s, f)))
}

/// The same, given e and 1 + e.
#[inline(always)]
pub fn sech2_end<S: Simd>(s: S, e: Parts<S::F>) -> S::F {
    let y = dd::div_round(s, e.decay.up, dd::square(s, e.one_e));
    s.mul(y, s.splat(4.0 * DOWN))
}

/// tanh(x) = −m/(2 + m) with m = expm1(−2|x|). Within 1 ULP; subnormal results and the sign of zero are kept.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    tanh_from(s, x, tanh_fall(s, x))
}

/// The same, given [`tanh_fall`].
#[inline(always)]
pub fn tanh_from<S: Simd>(s: S, x: S::F, f: Fall<S::F>) -> S::F {
    tanh_end(s, x, fall_m1(s, f))
}

shared! {
    /// eˣ − 1 for x ≤ 0, relative to itself, however small x is.
    pub fn fall_m1(s, f: Fall<S::F>) -> Dd<S::F> {
        let Fall { up, r, q } = f;
        let power = s.mul(up, s.splat(DOWN));
        let r2 = s.mul(r, r);
        let t = s.fma(r2, q, r);
        let t_lo = s.fma(r2, q, s.sub(r, t));
        // (2ⁿ − 1) + 2ⁿ·t, where 2ⁿ − 1 is 0 or at least a half.
        let one = s.splat(1.0);
        let high = s.sub(power, one);
        let high_lo = s.sub(power, s.add(high, one));
        let m = s.fma(power, t, high);
        let lo = s.fma(power, t_lo, s.add(s.fma(power, t, s.sub(high, m)), high_lo));
        Dd { hi: m, lo }
    }
}

shared! {
    /// The same, given m.
    pub fn tanh_end(s, x: S::F, m: Dd<S::F>) -> S::F {
        let two = s.splat(2.0);
        let d = s.add(two, m.hi);
        let d_lo = s.add(s.add(s.sub(two, d), m.hi), m.lo);
        s.copysign(dd::div_round(s, m, Dd { hi: d, lo: d_lo }), x)
    }
}

/// log(1 + eˣ) = max(x, 0) + log1p(e). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn softplus<S: Simd>(s: S, x: S::F) -> S::F {
    softplus_from(s, x, decay_abs(s, x))
}

/// The same, given exp(−|x|).
#[inline(always)]
pub fn softplus_from<S: Simd>(s: S, x: S::F, d: Decay<S::F>) -> S::F {
    softplus_end(s, x, softplus_middle(s, d))
}

/// log1p(e) begun: 2⁶⁴·e/(2 + e).
#[derive(Clone, Copy)]
pub struct Log1p<F> {
    q: Dd<F>,
}

/// The quotient of [`softplus`].
#[inline(always)]
pub fn softplus_middle<S: Simd>(s: S, d: Decay<S::F>) -> Log1p<S::F> {
    Log1p { q: dd::div(s, d.up, plus(s, d, 2.0)) }
}

/// [`softplus`], given its quotient: log1p(e) = 2·atanh(e/(2 + e)).
#[inline(always)]
pub fn softplus_end<S: Simd>(s: S, x: S::F, Log1p { q }: Log1p<S::F>) -> S::F {
    let down = s.splat(DOWN);
    let t = s.mul(q.hi, down);
    let t2 = s.mul(t, t);
    let lo = s.fma(s.mul(q.hi, t2), horner(s, &ATANH, t2), s.add(q.lo, q.lo));
    let l = fast_two_sum(s, s.add(q.hi, q.hi), lo);
    let below = finish(s, l.hi);
    // x ≥ 0: both are at least 0, and x may be below log 2.
    let sum = two_sum(s, x, below);
    // At infinity the sum has no error to add; where x ≥ 25 neither has it one that matters.
    let rest = s.select(s.lt(x, s.splat(100.0)), s.fma(l.lo, down, sum.lo), s.zero());
    s.select(s.lt(x, s.zero()), below, s.add(sum.hi, rest))
}
