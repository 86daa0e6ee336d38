//! The family of e = exp(−|x|): σ, tanh, their derivatives, softplus. Nothing subtracts from a value that rounds to 1.

use super::dd::{self, Dd, fast_add, fast_two_sum, horner, two_sum};
use super::exp::{DOWN, Fall, UP, fall, fall_dd};
use super::tables::ATANH;
use crate::simd::Simd;

/// Beyond it every e^−|x| rounds to zero, subnormal numbers included.
pub const EXP_END: f32 = 110.0;

/// e = exp(−|x|) = 2ⁿ·p.
#[derive(Clone, Copy)]
pub struct Decay<F> {
    /// 2ⁿ⁺⁶⁴: a factor of numerators, which may be subnormal in the end.
    pub up: F,
    pub p: Dd<F>,
}

/// 2ⁿ held at 2⁻¹²⁶, for denominators, to which nothing below matters.
#[inline(always)]
pub fn power<S: Simd>(s: S, d: Decay<S::F>) -> S::F {
    s.max(s.mul(d.up, s.splat(DOWN)), s.splat(f32::MIN_POSITIVE))
}

/// The domain is that of [`Fall`].
#[inline(always)]
pub fn decay<S: Simd>(s: S, f: Fall<S::F>) -> Decay<S::F> {
    let t = s.fma(f.r2, f.q, f.r);
    join(s, f.up, Dd { hi: t, lo: s.fma(f.r2, f.q, s.sub(f.r, t)) })
}

/// exp(x.hi + x.lo) in the domain of [`Fall`].
#[inline(always)]
pub fn decay_dd<S: Simd>(s: S, x: Dd<S::F>) -> Decay<S::F> {
    let (up, t) = fall_dd(s, x);
    join(s, up, t)
}

#[inline(always)]
fn join<S: Simd>(s: S, up: S::F, t: Dd<S::F>) -> Decay<S::F> {
    let p = fast_add(s, s.splat(1.0), t);
    Decay { up, p }
}

/// exp(−|x|), with |x| cut off where it is zero. NaN stays NaN.
#[inline(always)]
pub fn decay_abs<S: Simd>(s: S, x: S::F) -> Decay<S::F> {
    decay(s, fall(s, s.max(s.splat(-EXP_END), s.or(x, s.splat(-0.0)))))
}

/// 1 + e.
#[inline(always)]
pub fn one_plus<S: Simd>(s: S, d: Decay<S::F>) -> Dd<S::F> {
    let (one, power) = (s.splat(1.0), power(s, d));
    let hi = s.fma(power, d.p.hi, one);
    let lo = s.fma(power, d.p.hi, s.sub(one, hi));
    Dd { hi, lo: s.fma(power, d.p.lo, lo) }
}

/// The numerator of σ: e where the argument is negative, else 1. Its quotient with 1 + e is then to be scaled by the
/// second result and [`DOWN`].
#[inline(always)]
pub fn sigmoid_numerator<S: Simd>(s: S, d: Decay<S::F>, negative: S::M) -> (Dd<S::F>, S::F) {
    let one = Dd { hi: s.splat(1.0), lo: s.zero() };
    (dd::select(s, negative, d.p, one), s.select(negative, d.up, s.splat(UP)))
}

/// y·2ⁿ, given 2ⁿ⁺⁶⁴; rounds once more where the result is subnormal.
#[inline(always)]
pub fn finish<S: Simd>(s: S, y: S::F, up: S::F) -> S::F {
    s.mul(s.mul(y, up), s.splat(DOWN))
}

/// 1/(1 + e^−x). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    sigmoid_from(s, x, decay_abs(s, x))
}

/// The same, given exp(−|x|).
#[inline(always)]
pub fn sigmoid_from<S: Simd>(s: S, x: S::F, d: Decay<S::F>) -> S::F {
    let (numerator, up) = sigmoid_numerator(s, d, s.lt(x, s.zero()));
    finish(s, dd::div_round(s, numerator, one_plus(s, d)), up)
}

/// σ'(x) = e/(1 + e)² with e = exp(−|x|). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn sigmoid_derivative<S: Simd>(s: S, x: S::F) -> S::F {
    sigmoid_derivative_from(s, decay_abs(s, x))
}

/// The same, given exp(−|x|).
#[inline(always)]
pub fn sigmoid_derivative_from<S: Simd>(s: S, d: Decay<S::F>) -> S::F {
    finish(s, dd::div_round(s, d.p, dd::square(s, one_plus(s, d))), d.up)
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
    let d = decay(s, f);
    let y = dd::div_round(s, d.p, dd::square(s, one_plus(s, d)));
    s.mul(s.mul(y, d.up), s.splat(4.0 * DOWN))
}

/// tanh(x) = −m/(2 + m) with m = expm1(−2|x|). Within 1 ULP; subnormal results and the sign of zero are kept.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    tanh_from(s, x, tanh_fall(s, x))
}

/// The same, given [`tanh_fall`].
#[inline(always)]
pub fn tanh_from<S: Simd>(s: S, x: S::F, f: Fall<S::F>) -> S::F {
    let Fall { up, r, r2, q } = f;
    let power = s.mul(up, s.splat(DOWN));
    let t = s.fma(r2, q, r);
    let t_lo = s.fma(r2, q, s.sub(r, t));
    // (2ⁿ − 1) + 2ⁿ·t, where 2ⁿ − 1 is 0 or at least a half.
    let one = s.splat(1.0);
    let high = s.sub(power, one);
    let high_lo = s.sub(power, s.add(high, one));
    let m = s.fma(power, t, high);
    let m_lo = s.fma(power, t_lo, s.add(s.fma(power, t, s.sub(high, m)), high_lo));
    let two = s.splat(2.0);
    let d = s.add(two, m);
    let d_lo = s.add(s.add(s.sub(two, d), m), m_lo);
    s.copysign(dd::div_round(s, Dd { hi: m, lo: m_lo }, Dd { hi: d, lo: d_lo }), x)
}

/// log(1 + eˣ) = max(x, 0) + log1p(e). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn softplus<S: Simd>(s: S, x: S::F) -> S::F {
    softplus_from(s, x, decay_abs(s, x))
}

/// The same, given exp(−|x|).
#[inline(always)]
pub fn softplus_from<S: Simd>(s: S, x: S::F, d: Decay<S::F>) -> S::F {
    // log1p(e) = 2·atanh(e/(2 + e)) = 2ⁿ·(2q + lo).
    let (two, power) = (s.splat(2.0), power(s, d));
    let hi = s.fma(power, d.p.hi, two);
    let lo = s.fma(power, d.p.lo, s.fma(power, d.p.hi, s.sub(two, hi)));
    let q = dd::div(s, d.p, Dd { hi, lo });
    let t = s.mul(power, q.hi);
    let t2 = s.mul(t, t);
    let lo = s.fma(s.mul(q.hi, t2), horner(s, &ATANH, t2), s.add(q.lo, q.lo));
    let l = fast_two_sum(s, s.add(q.hi, q.hi), lo);
    let below = finish(s, l.hi, d.up);
    // x ≥ 0: both are at least 0, and x may be below log 2.
    let add = s.mul(power, l.hi);
    let sum = two_sum(s, x, add);
    // At infinity the sum has no error to add; where x ≥ 25 neither has it one that matters.
    let rest = s.select(s.lt(x, s.splat(100.0)), s.fma(power, l.lo, sum.lo), s.zero());
    s.select(s.lt(x, s.zero()), below, s.add(sum.hi, rest))
}
