//! ELU, SELU, CELU: an exponential less 1 below zero.

use super::smooth::{constant, exactly};
use super::{FromOutput, Phi};
use crate::simd::Simd;
use crate::vecmath::dd::{self, Dd, mul, rest};
use crate::vecmath::tables::{SELU_SCALE, SELU_SCALE_ALPHA};
use crate::vecmath::{EXP_END, Reduced, exp_of, expm1_of, reduce};

/// The reduced argument of the exponential of a negative x, held where it is zero.
#[inline(always)]
fn below<S: Simd>(s: S, x: S::F, end: f32) -> Reduced<S::F> {
    reduce(s, exactly(s, s.min(s.zero(), s.max(s.splat(end), x))))
}

/// Stages of the exponential below zero.
macro_rules! elu_stages {
    () => {
        const STAGED: bool = true;
        type Mid<S: Simd> = Reduced<S::F>;
        type Forward<S: Simd> = Dd<S::F>;
        type Derivative<S: Simd> = (S::F, Dd<S::F>);
        #[inline(always)]
        fn start<S: Simd>(self, s: S, x: S::F) -> Reduced<S::F> {
            self.reduced(s, x)
        }
        #[inline(always)]
        fn forward_middle<S: Simd>(self, s: S, _: S::F, mid: Reduced<S::F>) -> Dd<S::F> {
            expm1_of(s, mid)
        }
        #[inline(always)]
        fn derivative_middle<S: Simd>(self, s: S, _: S::F, mid: Reduced<S::F>) -> (S::F, Dd<S::F>) {
            exp_of(s, mid)
        }
    };
}

/// x > 0: x, else α·(eˣ − 1).
#[derive(Clone, Copy)]
pub(crate) struct Elu {
    pub alpha: f32,
}

/// α may be large: the exponential goes on below the subnormal numbers.
const ELU_END: f32 = -174.0;

impl Elu {
    #[inline(always)]
    fn reduced<S: Simd>(self, s: S, x: S::F) -> Reduced<S::F> {
        below(s, x, ELU_END)
    }
}

impl Phi for Elu {
    const NS: f64 = 0.4;
    elu_stages!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, m: Dd<S::F>) -> S::F {
        let alpha = s.splat(self.alpha);
        s.select(s.lt(x, s.zero()), s.fma(alpha, m.hi, s.mul(alpha, m.lo)), x)
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, (n, p): (S::F, Dd<S::F>)) -> S::F {
        let alpha = s.splat(self.alpha);
        // In two halves.
        let half = s.round(s.mul(n, s.splat(0.5)));
        let y = s.mul(s.fma(alpha, p.hi, s.mul(alpha, p.lo)), s.exp2i(half));
        let y = s.mul(y, s.exp2i(s.sub(n, half)));
        let y = s.select(s.lt(x, s.splat(ELU_END)), s.zero(), y);
        s.select(s.gt(x, s.zero()), s.splat(1.0), y)
    }
}

impl FromOutput for Elu {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        s.select(s.gt(y, s.zero()), s.splat(1.0), s.add(y, s.splat(self.alpha)))
    }
}

/// λ·x above zero, λ·α·(eˣ − 1) below.
#[derive(Clone, Copy)]
pub(crate) struct Selu;

impl Selu {
    #[inline(always)]
    fn reduced<S: Simd>(self, s: S, x: S::F) -> Reduced<S::F> {
        below(s, x, -EXP_END)
    }
}

impl Phi for Selu {
    const NS: f64 = 0.4;
    elu_stages!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, m: Dd<S::F>) -> S::F {
        let (scale, below) = (constant(s, SELU_SCALE), constant(s, SELU_SCALE_ALPHA));
        let negative = s.fma(m.hi, below.hi, s.fma(m.hi, below.lo, s.mul(m.lo, below.hi)));
        // Infinity times the low part must not meet infinity times the high one.
        let positive = s.fma(x, scale.hi, s.mul(s.min(s.splat(f32::MAX), x), scale.lo));
        let y = s.select(s.lt(x, s.zero()), negative, positive);
        s.select(s.eq(x, s.zero()), x, y)
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, (n, p): (S::F, Dd<S::F>)) -> S::F {
        let y = s.ldexp(dd::round(s, mul(s, p, constant(s, SELU_SCALE_ALPHA))), n);
        s.select(s.gt(x, s.zero()), s.splat(SELU_SCALE[0]), y)
    }
}

impl FromOutput for Selu {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        let below = s.add(y, s.splat(SELU_SCALE_ALPHA[0]));
        s.select(s.gt(y, s.zero()), s.splat(SELU_SCALE[0]), below)
    }
}

/// x > 0: x, else α·(e^(x/α) − 1), for α > 0.
#[derive(Clone, Copy)]
pub(crate) struct Celu {
    pub alpha: f32,
}

impl Celu {
    /// x/α where x < 0, held at −EXP_END; 0 above.
    #[inline(always)]
    fn reduced<S: Simd>(self, s: S, x: S::F) -> Reduced<S::F> {
        let alpha = s.splat(self.alpha);
        let x = s.min(s.zero(), x);
        let hi = s.div(x, alpha);
        let lo = s.div(rest(s, hi, alpha, x), alpha);
        let end = s.splat(-EXP_END);
        reduce(s, Dd { hi: s.max(end, hi), lo: s.select(s.gt(hi, end), lo, s.zero()) })
    }
}

impl Phi for Celu {
    const NS: f64 = 0.5;
    elu_stages!();
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, m: Dd<S::F>) -> S::F {
        let alpha = s.splat(self.alpha);
        // φ(x) is x above zero, and rounds to x as far as −2⁻²⁶·α.
        let end = s.splat(-1.0 / (1 << 26) as f32);
        s.select(s.lt(m.hi, end), s.fma(alpha, m.hi, s.mul(alpha, m.lo)), x)
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, (n, p): (S::F, Dd<S::F>)) -> S::F {
        s.select(s.gt(x, s.zero()), s.splat(1.0), s.ldexp(dd::round(s, p), n))
    }
}

impl FromOutput for Celu {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        let one = s.splat(1.0);
        s.select(s.gt(y, s.zero()), one, s.add(s.div(y, s.splat(self.alpha)), one))
    }
}
