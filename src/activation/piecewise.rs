//! The activations made of straight lines and one quotient.

use super::{FromOutput, Phi};
use crate::simd::Simd;
use crate::vecmath::dd::{self, Dd, fast_two_sum};
use crate::vecmath::tables::SIXTH;

/// `inside` or `outside`, and NaN where x is.
#[inline(always)]
fn step<S: Simd>(s: S, x: S::F, m: S::M, inside: S::F, outside: S::F) -> S::F {
    s.select(s.is_nan(x), x, s.select(m, inside, outside))
}

#[derive(Clone, Copy)]
pub(crate) struct Identity;

impl Phi for Identity {
    const NS: f64 = 0.05;
    one_stage!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, _: S, x: S::F, (): ()) -> S::F {
        x
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, _: S::F, (): ()) -> S::F {
        s.splat(1.0)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl Phi for Relu {
    const NS: f64 = 0.05;
    one_stage!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        s.select(s.le(x, s.zero()), s.zero(), x)
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        step(s, x, s.gt(x, s.zero()), s.splat(1.0), s.zero())
    }
}

#[derive(Clone, Copy)]
pub(crate) struct LeakyRelu {
    pub slope: f32,
}

impl Phi for LeakyRelu {
    const NS: f64 = 0.05;
    one_stage!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        s.select(s.gt(x, s.zero()), x, s.mul(x, s.splat(self.slope)))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        step(s, x, s.gt(x, s.zero()), s.splat(1.0), s.splat(self.slope))
    }
}

/// x cut off at ±1.
#[derive(Clone, Copy)]
pub(crate) struct HardTanh;

impl Phi for HardTanh {
    const NS: f64 = 0.05;
    one_stage!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        s.min(s.splat(1.0), s.max(s.splat(-1.0), x))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        step(s, x, s.lt(s.abs(x), s.splat(1.0)), s.splat(1.0), s.zero())
    }
}

/// (x + 3)/6 cut off at 0 and 1.
#[derive(Clone, Copy)]
pub(crate) struct HardSigmoid;

/// (a + x)/6 in two floats, for |x| ≤ a.
#[inline(always)]
fn sixth<S: Simd>(s: S, a: f32, x: S::F) -> Dd<S::F> {
    let sum = fast_two_sum(s, s.splat(a), x);
    dd::mul(s, sum, Dd { hi: s.splat(SIXTH[0]), lo: s.splat(SIXTH[1]) })
}

#[inline(always)]
fn within_3<S: Simd>(s: S, x: S::F) -> S::F {
    s.min(s.splat(3.0), s.max(s.splat(-3.0), x))
}

impl Phi for HardSigmoid {
    const NS: f64 = 0.07;
    one_stage!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        dd::round(s, sixth(s, 3.0, within_3(s, x)))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        step(s, x, s.lt(s.abs(x), s.splat(3.0)), s.splat(SIXTH[0]), s.zero())
    }
}

impl FromOutput for HardSigmoid {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        let inside = s.and_m(s.gt(y, s.zero()), s.lt(y, s.splat(1.0)));
        step(s, y, inside, s.splat(SIXTH[0]), s.zero())
    }
}

/// x·HardSigmoid(x).
#[derive(Clone, Copy)]
pub(crate) struct HardSwish;

impl Phi for HardSwish {
    const NS: f64 = 0.07;
    one_stage!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        let inner = within_3(s, x);
        let h = sixth(s, 3.0, inner);
        let y = s.fma(inner, h.hi, s.mul(inner, h.lo));
        // The factor is positive, but −0 may have met +0.
        s.select(s.ge(x, s.splat(3.0)), x, s.or(y, s.and(x, s.splat(-0.0))))
    }
    /// (2x + 3)/6 between −3 and 3, 0 and 1 from there on.
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        let inner = within_3(s, x);
        let twice = s.add(inner, inner);
        let sum = dd::two_sum(s, s.splat(3.0), twice);
        let line = dd::mul(s, sum, Dd { hi: s.splat(SIXTH[0]), lo: s.splat(SIXTH[1]) });
        let y = s.select(s.le(x, s.splat(-3.0)), s.zero(), dd::round(s, line));
        s.select(s.ge(x, s.splat(3.0)), s.splat(1.0), y)
    }
}

/// x/(1 + |x|).
#[derive(Clone, Copy)]
pub(crate) struct Softsign;

/// |x| as far as 1/(1 + |x|)² is not zero, and its sum with 1.
#[inline(always)]
fn one_plus<S: Simd>(s: S, x: S::F) -> Dd<S::F> {
    let t = s.min(s.splat(f32::from_bits(0x7180_0000)), s.abs(x)); // 2¹⁰⁰
    dd::two_sum(s, s.splat(1.0), t)
}

impl Phi for Softsign {
    const NS: f64 = 0.15;
    one_stage!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        let end = f32::from_bits(0x7180_0000);
        let inner = s.min(s.splat(end), s.max(s.splat(-end), x));
        let q = dd::div(s, Dd { hi: inner, lo: s.zero() }, one_plus(s, x));
        s.copysign(dd::round(s, q), x)
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        let r = dd::div(s, Dd { hi: s.splat(1.0), lo: s.zero() }, one_plus(s, x));
        s.fma(r.hi, r.hi, s.mul(s.add(r.hi, r.hi), r.lo))
    }
}

impl FromOutput for Softsign {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        let r = s.sub(s.splat(1.0), s.abs(y));
        s.mul(r, r)
    }
}
