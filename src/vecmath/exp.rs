//! exp and expm1, and the forms of them that other functions finish.

use super::dd::{self, Dd, fast_two_sum, horner, two_sum};
use super::tables::{EXP, LN_2, LOG2_E};
use crate::simd::Simd;

/// eˣ. Within 1 ULP, subnormal results included.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // exp is 0 below the first and infinite above the second; NaN passes.
    let x = s.min(s.splat(89.0), s.max(s.splat(-104.5), x));
    let n = s.round(s.mul(x, s.splat(LOG2_E)));
    let r = s.fnma(n, s.splat(LN_2[1]), s.fnma(n, s.splat(LN_2[0]), x));
    let q = horner(s, &EXP, r);
    let p = s.add(s.fma(s.mul(r, r), q, r), s.splat(1.0));
    s.ldexp(p, n)
}

/// The reduced argument: x = n·ln 2 + r + lo, and exp(r + lo) − 1 − r.
#[derive(Clone, Copy)]
pub struct Reduced<F> {
    pub n: F,
    pub r: F,
    /// exp(r + lo) − 1 − r, of which |lo| ≤ 2⁻²⁶ is a part.
    pub tail: F,
}

/// The reduction of x.hi + x.lo, for |x| ≤ 180 and |x.lo| at most one unit in the last place of x.hi.
#[inline(always)]
pub fn reduce<S: Simd>(s: S, x: Dd<S::F>) -> Reduced<S::F> {
    let n = s.round(s.mul(x.hi, s.splat(LOG2_E)));
    // The first step is exact, and leaves a multiple of x.hi's last place.
    let r = s.fnma(n, s.splat(LN_2[0]), x.hi);
    let r = fast_two_sum(s, r, s.fnma(n, s.splat(LN_2[1]), x.lo));
    let q = horner(s, &EXP, r.hi);
    let tail = s.fma(s.mul(r.hi, r.hi), q, s.fma(r.lo, r.hi, r.lo));
    Reduced { n, r: r.hi, tail }
}

/// eˣ as 2ⁿ·p with p from √½ to √2 in two floats, to about 2⁻²⁹. The domain is [`reduce`]'s.
#[inline(always)]
pub fn exp_parts<S: Simd>(s: S, x: Dd<S::F>) -> (S::F, Dd<S::F>) {
    let Reduced { n, r, tail } = reduce(s, x);
    let one_plus_r = fast_two_sum(s, s.splat(1.0), r);
    (n, fast_two_sum(s, one_plus_r.hi, s.add(one_plus_r.lo, tail)))
}

/// 2ⁿ for n ≤ 127, held at 2⁻¹²⁶ where it would be less.
#[inline(always)]
pub fn exp2_held<S: Simd>(s: S, n: S::F) -> S::F {
    s.exp2i(s.max(n, s.splat(-126.0)))
}

/// eˣ − 1 in two floats, for −180 ≤ x ≤ 88; the last bits are relative to the result, however small x is.
#[inline(always)]
pub fn expm1_parts<S: Simd>(s: S, x: Dd<S::F>) -> Dd<S::F> {
    let Reduced { n, r, tail } = reduce(s, x);
    let power = exp2_held(s, n);
    // 2ⁿ·(1 + r + tail) − 1 = (2ⁿ − 1) + 2ⁿ·r + 2ⁿ·tail; 2ⁿ − 1 = 0 where x is small.
    let minus_one = two_sum(s, power, s.splat(-1.0));
    let sum = fast_two_sum(s, minus_one.hi, s.mul(power, r));
    fast_two_sum(s, sum.hi, s.fma(power, tail, s.add(sum.lo, minus_one.lo)))
}

/// eˣ − 1. Within 1 ULP; subnormal results and the sign of zero are kept.
#[inline(always)]
pub fn expm1<S: Simd>(s: S, x: S::F) -> S::F {
    let inner = s.min(s.splat(88.0), s.max(s.splat(-20.0), x));
    let y = dd::round(s, expm1_parts(s, Dd { hi: inner, lo: s.zero() }));
    // The 1 is far below the last place here, and exp knows where infinity begins.
    let y = s.select(s.gt(x, s.splat(80.0)), exp(s, x), y);
    s.copysign(y, x)
}
