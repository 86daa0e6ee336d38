//! exp and expm1, and the forms of them that other functions finish.

use super::dd::{self, Dd, estrin5, estrin6, fast_two_sum, horner, two_sum};
use super::tables::{EXP, EXP_SHORT, LN_2, LOG2_E};
use crate::simd::Simd;

/// 1.5·2²³ + 127: beside it a float has no fraction, and the low bits of its pattern are an exponent.
const ROUNDER: f32 = 12_583_039.0;

shared! {
    /// eˣ. Within 1 ULP, subnormal results included.
    pub fn exp(s, x: S::F) -> S::F {
        // exp is 0 below the first and infinite above the second; NaN passes.
        let x = s.min(s.splat(89.0), s.max(s.splat(-104.5), x));
        let biased = s.fma(x, s.splat(LOG2_E), s.splat(ROUNDER));
        let n = s.sub(biased, s.splat(ROUNDER));
        let r = s.fnma(n, s.splat(LN_2[1]), s.fnma(n, s.splat(LN_2[0]), x));
        let r2 = s.mul(r, r);
        let q = estrin6(s, &EXP, r, r2);
        let p = s.add(s.fma(r2, q, r), s.splat(1.0));
        s.ldexp(p, n)
    }
}

/// Bits of 1.5·2²³ + 127 + 64.
const DECAY_ROUNDER: f32 = 12_583_103.0;
/// 2⁶⁴.
pub const UP: f32 = 18_446_744_073_709_551_616.0;
/// 2⁻⁶⁴.
pub const DOWN: f32 = 1.0 / UP;

/// eˣ for −120 ≤ x ≤ 0 as 2ⁿ·(1 + t): 2ⁿ⁺⁶⁴, r, and q where t = r + r²·q.
#[derive(Clone, Copy)]
pub struct Fall<F> {
    pub up: F,
    pub r: F,
    pub q: F,
}

/// The same of an argument in two floats: 2ⁿ⁺⁶⁴, r, and what follows it in t.
#[derive(Clone, Copy)]
pub struct FallDd<F> {
    pub up: F,
    pub r: F,
    pub tail: F,
}

shared! {
    /// The bits of [`exp`] for x ≤ 0, by fewer operations; NaN passes.
    pub fn exp_fall(s, x: S::F) -> S::F {
        exp_fall_end(s, exp_fall_start(s, x))
    }
}

/// The first half of [`exp_fall`]: 2ⁿ⁺⁶⁴ and r. Loops take some vectors through one half, then through the other: chains of
/// operations are then short enough for the CPU to overlap several.
#[inline(always)]
pub fn exp_fall_start<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    // Zero from −104 on.
    let (up, n, high) = step(s, s.max(s.splat(-110.0), x));
    (up, s.fnma(n, s.splat(LN_2[1]), high))
}

#[inline(always)]
pub fn exp_fall_end<S: Simd>(s: S, (up, r): (S::F, S::F)) -> S::F {
    let r2 = s.mul(r, r);
    let p = s.add(s.fma(r2, estrin6(s, &EXP, r, r2), r), s.splat(1.0));
    s.mul(s.mul(p, up), s.splat(DOWN))
}

shared! {
    /// The domain is that of [`Fall`].
    pub fn fall(s, x: S::F) -> Fall<S::F> {
        let (up, n, high) = step(s, x);
        let r = s.fnma(n, s.splat(LN_2[1]), high);
        Fall { up, r, q: estrin6(s, &EXP, r, s.mul(r, r)) }
    }
}

shared! {
    /// [`fall`] to 2⁻²⁸ of eˣ, not of eˣ − 1.
    pub fn fall_short(s, x: S::F) -> Fall<S::F> {
        let (up, n, high) = step(s, x);
        let r = s.fnma(n, s.splat(LN_2[1]), high);
        Fall { up, r, q: estrin5(s, &EXP_SHORT, r, s.mul(r, r)) }
    }
}

/// 2ⁿ⁺⁶⁴, n, and x less the upper part of n·ln 2, exactly.
#[inline(always)]
fn step<S: Simd>(s: S, x: S::F) -> (S::F, S::F, S::F) {
    let biased = s.fma(x, s.splat(LOG2_E), s.splat(DECAY_ROUNDER));
    let n = s.sub(biased, s.splat(DECAY_ROUNDER));
    (s.from_bits(s.shl_i::<23>(s.bits(biased))), n, s.fnma(n, s.splat(LN_2[0]), x))
}

shared! {
    /// exp(x.hi + x.lo) in the domain of [`Fall`], to 2⁻²⁸.
    pub fn fall_dd(s, x: Dd<S::F>) -> FallDd<S::F> {
        let (up, n, high) = step(s, x.hi);
        let r = fast_two_sum(s, high, s.fnma(n, s.splat(LN_2[1]), x.lo));
        let r2 = s.mul(r.hi, r.hi);
        FallDd { up, r: r.hi, tail: s.fma(r2, estrin5(s, &EXP_SHORT, r.hi, r2), r.lo) }
    }
}

/// The reduced argument: x = n·ln 2 + r + lo, and exp(r + lo) − 1 − r.
#[derive(Clone, Copy)]
pub struct Reduced<F> {
    pub n: F,
    pub r: F,
    /// exp(r + lo) − 1 − r, of which |lo| ≤ 2⁻²⁶ is a part.
    pub tail: F,
}

shared! {
    /// The reduction of x.hi + x.lo, for |x| ≤ 180 and |x.lo| at most one unit in the last place of x.hi.
    pub fn reduce(s, x: Dd<S::F>) -> Reduced<S::F> {
        let n = s.round(s.mul(x.hi, s.splat(LOG2_E)));
        // The first step is exact, and leaves a multiple of x.hi's last place.
        let r = s.fnma(n, s.splat(LN_2[0]), x.hi);
        let r = fast_two_sum(s, r, s.fnma(n, s.splat(LN_2[1]), x.lo));
        let q = horner(s, &EXP, r.hi);
        let tail = s.fma(s.mul(r.hi, r.hi), q, s.fma(r.lo, r.hi, r.lo));
        Reduced { n, r: r.hi, tail }
    }
}

/// eˣ as 2ⁿ·p with p from √½ to √2 in two floats, to about 2⁻²⁹. The domain is [`reduce`]'s.
#[inline(always)]
pub fn exp_parts<S: Simd>(s: S, x: Dd<S::F>) -> (S::F, Dd<S::F>) {
    exp_of(s, reduce(s, x))
}

/// [`exp_parts`] of a reduced argument.
#[inline(always)]
pub fn exp_of<S: Simd>(s: S, Reduced { n, r, tail }: Reduced<S::F>) -> (S::F, Dd<S::F>) {
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
    expm1_of(s, reduce(s, x))
}

/// [`expm1_parts`] of a reduced argument.
#[inline(always)]
pub fn expm1_of<S: Simd>(s: S, Reduced { n, r, tail }: Reduced<S::F>) -> Dd<S::F> {
    let power = exp2_held(s, n);
    // 2ⁿ·(1 + r + tail) − 1 = (2ⁿ − 1) + 2ⁿ·r + 2ⁿ·tail; 2ⁿ − 1 = 0 where x is small.
    let minus_one = two_sum(s, power, s.splat(-1.0));
    let sum = fast_two_sum(s, minus_one.hi, s.mul(power, r));
    fast_two_sum(s, sum.hi, s.fma(power, tail, s.add(sum.lo, minus_one.lo)))
}

shared! {
    /// eˣ − 1. Within 1 ULP; subnormal results and the sign of zero are kept.
    pub fn expm1(s, x: S::F) -> S::F {
        let inner = s.min(s.splat(88.0), s.max(s.splat(-20.0), x));
        let y = dd::round(s, expm1_parts(s, Dd { hi: inner, lo: s.zero() }));
        // The 1 is far below the last place here, and exp knows where infinity begins.
        let y = s.select(s.gt(x, s.splat(80.0)), exp(s, x), y);
        s.copysign(y, x)
    }
}
