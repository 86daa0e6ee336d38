//! log and log1p.

use super::dd::{horner, two_sum};
use super::exp::exp2_held;
use super::tables::{LN_2, LOG};
use crate::simd::Simd;

/// The bits of √½: mantissas are taken from √½ to √2.
const SQRT_HALF: i32 = 0x3f35_04f3;

/// k and f of a positive normal x = 2ᵏ·(1 + f), with √½ ≤ 1 + f < √2.
#[inline(always)]
fn split<S: Simd>(s: S, x: S::F) -> (S::I, S::F) {
    let shifted = s.sub_i(s.bits(x), s.splat_i(SQRT_HALF));
    let k = s.sra_i::<23>(shifted);
    let m = s.add_i(s.and_i(shifted, s.splat_i(0x007f_ffff)), s.splat_i(SQRT_HALF));
    (k, s.sub(s.from_bits(m), s.splat(1.0)))
}

/// k·ln 2 + log(1 + f) + lo.
#[inline(always)]
fn join<S: Simd>(s: S, k: S::F, f: S::F, lo: S::F) -> S::F {
    let f2 = s.mul(f, f);
    // log(1 + f) − f, from the small terms on.
    let tail = s.mul(f2, s.fms(f, horner(s, &LOG, f), s.splat(0.5)));
    let high = s.mul(k, s.splat(LN_2[0]));
    let sum = super::dd::fast_two_sum(s, high, f);
    s.add(sum.hi, s.add(sum.lo, s.fma(k, s.splat(LN_2[1]), s.add(tail, lo))))
}

/// y for positive finite x, and the limits and NaN elsewhere.
#[inline(always)]
fn finish<S: Simd>(s: S, x: S::F, y: S::F) -> S::F {
    let zero = s.zero();
    let y = s.select(s.lt(x, s.splat(f32::INFINITY)), y, x);
    let y = s.select(s.eq(x, zero), s.splat(f32::NEG_INFINITY), y);
    s.select(s.lt(x, zero), s.splat(f32::NAN), y)
}

shared! {
    /// The natural logarithm. Within 1 ULP, subnormal arguments included; −∞ at zero, NaN below.
    pub fn log(s, x: S::F) -> S::F {
        let subnormal = s.lt(x, s.splat(f32::MIN_POSITIVE));
        let (k, f) = split(s, s.select(subnormal, s.mul(x, s.splat(16_777_216.0)), x));
        let k = s.sub(s.from_int(k), s.select(subnormal, s.splat(24.0), s.zero()));
        finish(s, x, join(s, k, f, s.zero()))
    }
}

shared! {
    /// log(1 + x). Within 1 ULP; subnormal results and the sign of zero are kept. −∞ at −1, NaN below.
    pub fn log1p(s, x: S::F) -> S::F {
        let one = s.splat(1.0);
        let u = two_sum(s, one, x);
        let (k, f) = split(s, u.hi);
        // What 1 + x lost, in units of 2ᵏ, and its share of the logarithm: lo/(1 + f).
        let k = s.from_int(k);
        let lo = s.mul(u.lo, exp2_held(s, s.neg(k)));
        let lo = s.fnma(s.mul(lo, f), s.sub(one, f), lo);
        let y = s.copysign(join(s, k, f, lo), x);
        finish(s, u.hi, y)
    }
}
