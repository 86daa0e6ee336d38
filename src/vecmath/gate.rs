//! σ and tanh with their derivatives, as the gates of a recurrence take them: all of one argument by one division, in two
//! stages, so that a loop can keep what is between them.
//!
//! σ is within 2 ULP, tanh within 2.5, their derivatives within 3.5 and 4.5, also where they saturate: everything comes from
//! e = exp(−|x|), nothing from a value that has rounded to 1. The functions of `logistic` are closer, and take twice the time.

use super::exp::{DOWN, Fall, fall};
use super::logistic::{EXP_END, finish, tanh_fall};
use crate::simd::Simd;

/// σ on both sides, and its derivative.
#[derive(Clone, Copy)]
pub struct Gate<F> {
    /// σ(x).
    pub open: F,
    /// σ(−x).
    pub shut: F,
    /// σ'(x).
    pub slope: F,
}

shared! {
    /// First stage: e = exp(−|x|). NaN stays NaN.
    pub fn gate_start(s, x: S::F) -> S::F {
        let Fall { up, r, q } = fall(s, s.max(s.splat(-EXP_END), s.or(x, s.splat(-0.0))));
        let p = s.add(s.fma(s.mul(r, r), q, r), s.splat(1.0));
        finish(s, s.mul(p, up))
    }
}

shared! {
    /// Second stage: 1/(1 + e) on the side of x, e/(1 + e) on the other, and their product.
    pub fn gate_finish(s, x: S::F, e: S::F) -> Gate<S::F> {
        let large = inverse(s, s.splat(1.0), e);
        let small = s.mul(e, large);
        let negative = s.lt(x, s.zero());
        Gate { open: s.select(negative, small, large), shut: s.select(negative, large, small), slope: s.mul(small, large) }
    }
}

shared! {
    /// First stage: e − 1 and 4e with e = exp(−2|x|). NaN stays NaN.
    pub fn squash_start(s, x: S::F) -> [S::F; 2] {
        let Fall { up, r, q } = tanh_fall(s, x);
        let one = s.splat(1.0);
        let t = s.fma(s.mul(r, r), q, r);
        // (2ⁿ − 1) + 2ⁿ·t, where 2ⁿ − 1 is 0 or at least a half.
        let power = s.mul(up, s.splat(DOWN));
        let m = s.fma(power, t, s.sub(power, one));
        [m, s.mul(s.mul(s.add(t, one), up), s.splat(4.0 * DOWN))]
    }
}

shared! {
    /// Second stage: tanh(x) = (1 − e)/(1 + e) and tanh'(x) = 4e/(1 + e)². The sign of zero is kept.
    pub fn squash_finish(s, x: S::F, middle: [S::F; 2]) -> (S::F, S::F) {
        let [m, e4] = middle;
        let r = inverse(s, s.splat(2.0), m);
        (s.copysign(s.mul(m, r), x), s.mul(s.mul(e4, r), r))
    }
}

/// 1/(a + b) for |a| ≥ |b|, with what rounding took from the sum and from the quotient.
#[inline(always)]
fn inverse<S: Simd>(s: S, a: S::F, b: S::F) -> S::F {
    let one = s.splat(1.0);
    let sum = s.add(a, b);
    let lost = s.sub(b, s.sub(sum, a));
    let r = s.div(one, sum);
    s.fma(s.fnma(r, lost, s.fnma(r, sum, one)), r, r)
}
