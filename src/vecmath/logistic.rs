//! The family of e = exp(−|x|): σ, tanh, their derivatives, softplus. Nothing subtracts from a value that rounds to 1.

use super::dd::{self, Dd, fast_add, fast_two_sum, horner, scale, two_sum};
use super::exp::{exp_parts, exp2_held, expm1_parts};
use super::tables::ATANH;
use crate::simd::Simd;

/// Beyond it every e^−|x| rounds to zero, subnormal numbers included.
pub const EXP_END: f32 = 110.0;

/// e = exp(−|x|) in the two forms that a quotient needs: 2ⁿ·p for a numerator, which may be subnormal in the end, and
/// e itself for a denominator, to which nothing below 2⁻¹²⁶ matters.
#[derive(Clone, Copy)]
pub struct Decay<F> {
    pub n: F,
    pub p: Dd<F>,
    pub power: F,
    pub e: Dd<F>,
}

/// exp(x.hi + x.lo) for −180 ≤ x ≤ 0.
#[inline(always)]
pub fn decay<S: Simd>(s: S, x: Dd<S::F>) -> Decay<S::F> {
    let (n, p) = exp_parts(s, x);
    let power = exp2_held(s, n);
    Decay { n, p, power, e: scale(s, power, p) }
}

/// exp(−|x|), with |x| cut off where it is zero. NaN stays NaN.
#[inline(always)]
pub fn decay_abs<S: Simd>(s: S, x: S::F) -> Decay<S::F> {
    let x = s.neg(s.min(s.splat(EXP_END), s.abs(x)));
    decay(s, Dd { hi: x, lo: s.zero() })
}

/// The numerator of σ: e where the argument is negative, else 1. Its quotient with 1 + e is then to be scaled by 2ⁿ
/// or by 1: the second result is that n or zero.
#[inline(always)]
pub fn sigmoid_numerator<S: Simd>(s: S, d: Decay<S::F>, negative: S::M) -> (Dd<S::F>, S::F) {
    let one = Dd { hi: s.splat(1.0), lo: s.zero() };
    (dd::select(s, negative, d.p, one), s.select(negative, d.n, s.zero()))
}

/// 1/(1 + e^−x). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let d = decay_abs(s, x);
    let (numerator, n) = sigmoid_numerator(s, d, s.lt(x, s.zero()));
    let q = dd::div(s, numerator, fast_add(s, s.splat(1.0), d.e));
    s.ldexp(dd::round(s, q), n)
}

/// e/(1 + e)² as 2ⁿ times the result.
#[inline(always)]
fn bell<S: Simd>(s: S, d: Decay<S::F>) -> S::F {
    let denominator = dd::square(s, fast_add(s, s.splat(1.0), d.e));
    dd::round(s, dd::div(s, d.p, denominator))
}

/// σ'(x) = e/(1 + e)² with e = exp(−|x|). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn sigmoid_derivative<S: Simd>(s: S, x: S::F) -> S::F {
    let d = decay_abs(s, x);
    s.ldexp(bell(s, d), d.n)
}

/// tanh'(x) = sech²(x) = 4e/(1 + e)² with e = exp(−2|x|). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn sech2<S: Simd>(s: S, x: S::F) -> S::F {
    let d = decay_abs(s, s.add(x, x));
    s.ldexp(bell(s, d), s.add(d.n, s.splat(2.0)))
}

/// tanh(x) = −m/(2 + m) with m = expm1(−2|x|). Within 1 ULP; subnormal results and the sign of zero are kept.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    // tanh rounds to 1 from 9.02 on.
    let a = s.min(s.splat(10.0), s.abs(x));
    let m = expm1_parts(s, Dd { hi: s.mul(a, s.splat(-2.0)), lo: s.zero() });
    let q = dd::div(s, m, fast_add(s, s.splat(2.0), m));
    s.copysign(dd::round(s, q), x)
}

/// log(1 + eˣ) = max(x, 0) + log1p(e). Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn softplus<S: Simd>(s: S, x: S::F) -> S::F {
    let d = decay_abs(s, x);
    // log1p(e) = 2·atanh(e/(2 + e)) = 2ⁿ·(2q + lo).
    let q = dd::div(s, d.p, fast_add(s, s.splat(2.0), d.e));
    let t = s.mul(d.power, q.hi);
    let t2 = s.mul(t, t);
    let lo = s.fma(s.mul(q.hi, t2), horner(s, &ATANH, t2), s.add(q.lo, q.lo));
    let l = fast_two_sum(s, s.add(q.hi, q.hi), lo);
    let below = s.ldexp(l.hi, d.n);
    let sum = two_sum(s, x, s.mul(d.power, l.hi));
    // At infinity the sum has no error to add; where x ≥ 25 neither has it one that matters.
    let rest = s.select(s.lt(x, s.splat(100.0)), s.fma(d.power, l.lo, sum.lo), s.zero());
    s.select(s.lt(x, s.zero()), below, s.add(sum.hi, rest))
}
