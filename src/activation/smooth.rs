//! The activations that need an exponential: GELU, SiLU, Mish, sigmoid, tanh, softplus, log-sigmoid, ELU, SELU, CELU.
//!
//! Each is written in e = exp(−|…|), so that the two tails have a formula of their own: a negative argument takes its
//! factor e as 2ⁿ·p and is scaled at the end, rounded once even where the result is subnormal; a positive one uses e
//! only beside a 1. Nothing subtracts from a value that has rounded to 1.

use super::{FromOutput, Phi};
use crate::simd::Simd;
use crate::vecmath::dd::{self, Dd, fast_add, mul, mul_f, rest, square, two_prod};
use crate::vecmath::tables::{GELU_3KC, GELU_K, GELU_KC, INV_SQRT_2PI, SELU_SCALE, SELU_SCALE_ALPHA};
use crate::vecmath::{self, DOWN, Decay, EXP_END, UP, decay_abs, decay_dd, exp_parts, expm1_parts, mills_light};

/// A constant of the tables in two floats.
#[inline(always)]
fn constant<S: Simd>(s: S, c: [f32; 2]) -> Dd<S::F> {
    Dd { hi: s.splat(c[0]), lo: s.splat(c[1]) }
}

#[inline(always)]
fn exactly<S: Simd>(s: S, x: S::F) -> Dd<S::F> {
    Dd { hi: x, lo: s.zero() }
}

#[inline(always)]
fn negated<S: Simd>(s: S, x: Dd<S::F>) -> Dd<S::F> {
    Dd { hi: s.neg(x.hi), lo: s.neg(x.lo) }
}

/// x cut off at ±limit. NaN stays NaN.
#[inline(always)]
fn cut<S: Simd>(s: S, x: S::F, limit: f32) -> S::F {
    s.min(s.splat(limit), s.max(s.splat(-limit), x))
}

/// x·f, scaled by 2ⁿ below zero, where f is 1 at +∞ and the result 0 at −∞; |x| matters up to `limit`, below zero.
#[inline(always)]
fn gated<S: Simd>(s: S, x: S::F, f: Dd<S::F>, d: Decay<S::F>, negative: S::M, limit: f32) -> S::F {
    let x = s.max(s.splat(-limit), x);
    // Infinity times the low part, 0, would be NaN.
    let finite = s.min(s.splat(limit), x);
    let one = s.splat(1.0);
    let (up, down) = (s.select(negative, d.up, one), s.select(negative, s.splat(DOWN), one));
    s.mul(s.mul(s.fma(x, f.hi, s.mul(finite, f.lo)), up), down)
}

/// y, which has the sign of x but where it is zero: there −0 may have met +0.
#[inline(always)]
fn signed<S: Simd>(s: S, y: S::F, x: S::F) -> S::F {
    s.or(y, s.and(x, s.splat(-0.0)))
}

/// x·σ(±u), given e = exp(−u) and the sign.
#[inline(always)]
fn gate<S: Simd>(s: S, x: S::F, d: Decay<S::F>, negative: S::M) -> S::F {
    let (numerator, _) = vecmath::sigmoid_numerator(s, d, negative);
    gated(s, x, dd::div(s, numerator, vecmath::one_plus(s, d)), d, negative, EXP_END)
}

/// (x·σ(u))' = σ(u)·(1 + g·σ(−u)) with g = x·u': e·(1 + e + g)/(1 + e)² below zero, (1 + e + g·e)/(1 + e)² above.
#[inline(always)]
fn gate_derivative<S: Simd>(s: S, g: Dd<S::F>, d: Decay<S::F>, negative: S::M) -> S::F {
    let one_e = vecmath::one_plus(s, d);
    // g or g·e: the factor of e in (1 + e) + …
    let (factor, up) = vecmath::sigmoid_numerator(s, d, negative);
    let k = s.select(negative, s.splat(1.0), vecmath::power(s, d));
    let f = dd::select(s, negative, exactly(s, s.splat(1.0)), d.p);
    let ge = dd::scale(s, k, mul(s, g, f));
    let numerator = dd::add(s, one_e, ge);
    let q = dd::div(s, numerator, square(s, one_e));
    vecmath::finish(s, dd::round(s, mul(s, q, factor)), up)
}

/// 2ⁿ·q below zero, 1 − 2ⁿ·q above: the factor, and 2ⁿ⁺⁶⁴ of the exponent that is still to be applied.
#[inline(always)]
fn reflect<S: Simd>(s: S, d: Decay<S::F>, q: Dd<S::F>, negative: S::M) -> (Dd<S::F>, S::F) {
    let (one, power) = (s.splat(1.0), vecmath::power(s, d));
    let hi = s.fnma(power, q.hi, one);
    let lo = s.fnma(power, q.lo, s.fnma(power, q.hi, s.sub(one, hi)));
    (dd::select(s, negative, q, Dd { hi, lo }), s.select(negative, d.up, s.splat(UP)))
}

/// Where Φ(−t)·t rounds to zero.
const GELU_END: f32 = 14.6;

/// GELU: x·Φ(x).
#[derive(Clone, Copy)]
pub(crate) struct Gelu;

/// exp(−t²/2), with t² in two floats.
#[inline(always)]
fn bell<S: Simd>(s: S, t: S::F) -> Decay<S::F> {
    decay_dd(s, two_prod(s, s.mul(t, s.splat(-0.5)), t))
}

impl Phi for Gelu {
    const NS: f64 = 0.6;
    const STAGED: bool = true;
    type Mid<S: Simd> = (Decay<S::F>, Dd<S::F>);
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> (Decay<S::F>, Dd<S::F>) {
        let t = s.min(s.splat(GELU_END), s.abs(x));
        (bell(s, t), mills_light(s, t))
    }
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, (d, m): (Decay<S::F>, Dd<S::F>)) -> S::F {
        let negative = s.lt(x, s.zero());
        let (factor, _) = reflect(s, d, mul(s, d.p, m), negative);
        signed(s, gated(s, x, factor, d, negative, GELU_END), x)
    }
    /// Φ(x) + x·φ(x), which is 1 − the same of −x.
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, x: S::F, (d, m): (Decay<S::F>, Dd<S::F>)) -> S::F {
        let t = s.min(s.splat(GELU_END), s.abs(x));
        let slope = mul_f(s, t, negated(s, constant(s, INV_SQRT_2PI)));
        let q = mul(s, d.p, dd::add(s, m, slope));
        let (factor, up) = reflect(s, d, q, s.lt(x, s.zero()));
        vecmath::finish(s, dd::round(s, factor), up)
    }
}

/// Where the tanh form of GELU rounds to zero.
const GELU_TANH_END: f32 = 11.5;

/// GELU's tanh form: x·σ(2u) with 2u = x·(k + k·c·x²), k = 2·√(2/π), c = 0.044715.
#[derive(Clone, Copy)]
pub(crate) struct GeluTanh;

/// t = |x| as far as it matters, and t².
#[inline(always)]
fn gelu_square<S: Simd>(s: S, x: S::F) -> (S::F, Dd<S::F>) {
    let t = s.min(s.splat(GELU_TANH_END), s.abs(x));
    (t, two_prod(s, t, t))
}

/// exp(−2|u|).
#[inline(always)]
fn gelu_decay<S: Simd>(s: S, t: S::F, t2: Dd<S::F>) -> Decay<S::F> {
    // k + k·c·t²: the first is the larger up to t = 4.7, and beyond both are of one size.
    let kc = mul(s, t2, constant(s, GELU_KC));
    let b = dd::add(s, constant(s, GELU_K), kc);
    decay_dd(s, mul_f(s, s.neg(t), b))
}

impl Phi for GeluTanh {
    const NS: f64 = 0.6;
    const STAGED: bool = true;
    type Mid<S: Simd> = Decay<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Decay<S::F> {
        let (t, t2) = gelu_square(s, x);
        gelu_decay(s, t, t2)
    }
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        gate(s, x, mid, s.lt(x, s.zero()))
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        let (t, t2) = gelu_square(s, x);
        let b = dd::add(s, constant(s, GELU_K), mul(s, t2, constant(s, GELU_3KC)));
        let g = mul_f(s, s.copysign(t, x), b);
        gate_derivative(s, g, mid, s.lt(x, s.zero()))
    }
}

/// SiLU: x·σ(x).
#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Phi for Silu {
    const NS: f64 = 0.4;
    const STAGED: bool = true;
    type Mid<S: Simd> = Decay<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Decay<S::F> {
        decay_abs(s, x)
    }
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        gate(s, x, mid, s.lt(x, s.zero()))
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        gate_derivative(s, exactly(s, cut(s, x, EXP_END)), mid, s.lt(x, s.zero()))
    }
}

/// Mish: x·tanh(softplus(x)) = x·f·M/D with e = exp(−|x|), M = a + b·e, D = a + 2e + b·e², where f, a, b are e, 2, 1
/// below zero and 1, 1, 2 above.
#[derive(Clone, Copy)]
pub(crate) struct Mish;

struct MishParts<F> {
    e: Dd<F>,
    m: Dd<F>,
    d: Dd<F>,
}

#[inline(always)]
fn mish_parts<S: Simd>(s: S, decay: Decay<S::F>, negative: S::M) -> MishParts<S::F> {
    let e = dd::scale(s, vecmath::power(s, decay), decay.p);
    let (one, two) = (s.splat(1.0), s.splat(2.0));
    let (a, b) = (s.select(negative, two, one), s.select(negative, one, two));
    let m = s.fma(b, e.hi, a);
    let m_lo = s.fma(b, e.lo, s.fma(b, e.hi, s.sub(a, m)));
    let twice = s.fma(two, e.hi, a);
    let twice_lo = s.fma(two, e.hi, s.sub(a, twice));
    let be = s.mul(b, e.hi);
    let square = two_prod(s, be, e.hi);
    let d = dd::fast_two_sum(s, twice, square.hi);
    // The derivative of D times what e lacks.
    let lo = s.fma(s.fma(two, be, two), e.lo, s.add(square.lo, twice_lo));
    MishParts { e, m: Dd { hi: m, lo: m_lo }, d: Dd { hi: d.hi, lo: s.add(d.lo, lo) } }
}

impl Phi for Mish {
    const NS: f64 = 0.6;
    const STAGED: bool = true;
    type Mid<S: Simd> = Decay<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Decay<S::F> {
        decay_abs(s, x)
    }
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        let decay = mid;
        let negative = s.lt(x, s.zero());
        let MishParts { m, d, .. } = mish_parts(s, decay, negative);
        let (factor, _) = vecmath::sigmoid_numerator(s, decay, negative);
        signed(s, gated(s, x, dd::div(s, mul(s, factor, m), d), decay, negative, EXP_END), x)
    }
    /// f·(M·D + 4x·G·(1 + e))/D², where G is 1 below zero and e² above.
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        let decay = mid;
        let negative = s.lt(x, s.zero());
        let MishParts { e, m, d } = mish_parts(s, decay, negative);
        let x4 = s.mul(s.splat(4.0), cut(s, x, EXP_END));
        let g = dd::select(s, negative, exactly(s, s.splat(1.0)), square(s, e));
        let bump = mul(s, mul_f(s, x4, g), fast_add(s, s.splat(1.0), e));
        let q = dd::div(s, dd::add(s, mul(s, m, d), bump), square(s, d));
        let (factor, up) = vecmath::sigmoid_numerator(s, decay, negative);
        vecmath::finish(s, dd::round(s, mul(s, q, factor)), up)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Phi for Sigmoid {
    const NS: f64 = 0.4;
    const STAGED: bool = true;
    type Mid<S: Simd> = Decay<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Decay<S::F> {
        decay_abs(s, x)
    }
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        vecmath::sigmoid_from(s, x, mid)
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, _: S::F, mid: Decay<S::F>) -> S::F {
        vecmath::sigmoid_derivative_from(s, mid)
    }
}

impl FromOutput for Sigmoid {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        s.mul(y, s.sub(s.splat(1.0), y))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Phi for Tanh {
    const NS: f64 = 0.4;
    const STAGED: bool = true;
    type Mid<S: Simd> = vecmath::Fall<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> vecmath::Fall<S::F> {
        vecmath::tanh_fall(s, x)
    }
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, mid: vecmath::Fall<S::F>) -> S::F {
        vecmath::tanh_from(s, x, mid)
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, _: S::F, mid: vecmath::Fall<S::F>) -> S::F {
        vecmath::sech2_from(s, mid)
    }
}

impl FromOutput for Tanh {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        let one = s.splat(1.0);
        s.mul(s.sub(one, y), s.add(one, y))
    }
}

/// log(1 + eˣ).
#[derive(Clone, Copy)]
pub(crate) struct Softplus;

impl Phi for Softplus {
    const NS: f64 = 0.5;
    const STAGED: bool = true;
    type Mid<S: Simd> = Decay<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Decay<S::F> {
        decay_abs(s, x)
    }
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        vecmath::softplus_from(s, x, mid)
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        vecmath::sigmoid_from(s, x, mid)
    }
}

impl FromOutput for Softplus {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        s.neg(vecmath::expm1(s, s.neg(y)))
    }
}

/// log σ(x) = −log(1 + e⁻ˣ).
#[derive(Clone, Copy)]
pub(crate) struct LogSigmoid;

impl Phi for LogSigmoid {
    const NS: f64 = 0.5;
    const STAGED: bool = true;
    type Mid<S: Simd> = Decay<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Decay<S::F> {
        decay_abs(s, x)
    }
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        s.neg(vecmath::softplus_from(s, s.neg(x), mid))
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, x: S::F, mid: Decay<S::F>) -> S::F {
        vecmath::sigmoid_from(s, s.neg(x), mid)
    }
}

impl FromOutput for LogSigmoid {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        s.neg(vecmath::expm1(s, y))
    }
}

/// expm1 of a negative x in two floats; it is −1 from −20 on, whatever follows.
#[inline(always)]
fn expm1_below<S: Simd>(s: S, x: Dd<S::F>) -> Dd<S::F> {
    let hi = s.min(s.zero(), s.max(s.splat(-20.0), x.hi));
    expm1_parts(s, Dd { hi, lo: x.lo })
}

/// x > 0: x, else α·(eˣ − 1).
#[derive(Clone, Copy)]
pub(crate) struct Elu {
    pub alpha: f32,
}

impl Phi for Elu {
    const NS: f64 = 0.4;
    const STAGED: bool = false;
    type Mid<S: Simd> = ();
    #[inline(always)]
    fn start<S: Simd>(self, _: S, _: S::F) {}
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, _: ()) -> S::F {
        let alpha = s.splat(self.alpha);
        let m = expm1_below(s, exactly(s, x));
        s.select(s.lt(x, s.zero()), s.fma(alpha, m.hi, s.mul(alpha, m.lo)), x)
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, x: S::F, _: ()) -> S::F {
        let alpha = s.splat(self.alpha);
        // α may be large: the exponential goes on below the subnormal numbers, and is applied in two halves.
        let low = s.splat(-174.0);
        let (n, p) = exp_parts(s, exactly(s, s.min(s.zero(), s.max(low, x))));
        let half = s.round(s.mul(n, s.splat(0.5)));
        let y = s.mul(s.fma(alpha, p.hi, s.mul(alpha, p.lo)), s.exp2i(half));
        let y = s.mul(y, s.exp2i(s.sub(n, half)));
        let y = s.select(s.lt(x, low), s.zero(), y);
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

impl Phi for Selu {
    const NS: f64 = 0.4;
    const STAGED: bool = false;
    type Mid<S: Simd> = ();
    #[inline(always)]
    fn start<S: Simd>(self, _: S, _: S::F) {}
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, _: ()) -> S::F {
        let (scale, below) = (constant(s, SELU_SCALE), constant(s, SELU_SCALE_ALPHA));
        let m = expm1_below(s, exactly(s, x));
        let negative = s.fma(m.hi, below.hi, s.fma(m.hi, below.lo, s.mul(m.lo, below.hi)));
        // Infinity times the low part must not meet infinity times the high one.
        let positive = s.fma(x, scale.hi, s.mul(s.min(s.splat(f32::MAX), x), scale.lo));
        let y = s.select(s.lt(x, s.zero()), negative, positive);
        s.select(s.eq(x, s.zero()), x, y)
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, x: S::F, _: ()) -> S::F {
        let (n, p) = exp_parts(s, exactly(s, s.min(s.zero(), s.max(s.splat(-EXP_END), x))));
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
    fn ratio<S: Simd>(self, s: S, x: S::F) -> Dd<S::F> {
        let alpha = s.splat(self.alpha);
        let x = s.min(s.zero(), x);
        let hi = s.div(x, alpha);
        let lo = s.div(rest(s, hi, alpha, x), alpha);
        let end = s.splat(-EXP_END);
        Dd { hi: s.max(end, hi), lo: s.select(s.gt(hi, end), lo, s.zero()) }
    }
}

impl Phi for Celu {
    const NS: f64 = 0.5;
    const STAGED: bool = false;
    type Mid<S: Simd> = ();
    #[inline(always)]
    fn start<S: Simd>(self, _: S, _: S::F) {}
    #[inline(always)]
    fn forward_from<S: Simd>(self, s: S, x: S::F, _: ()) -> S::F {
        let alpha = s.splat(self.alpha);
        let ratio = self.ratio(s, x);
        let m = expm1_below(s, ratio);
        // φ(x) is x above zero, and rounds to x from here on.
        let end = s.splat(-1.0 / (1 << 26) as f32);
        s.select(s.lt(ratio.hi, end), s.fma(alpha, m.hi, s.mul(alpha, m.lo)), x)
    }
    #[inline(always)]
    fn derivative_from<S: Simd>(self, s: S, x: S::F, _: ()) -> S::F {
        let (n, p) = exp_parts(s, self.ratio(s, x));
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
