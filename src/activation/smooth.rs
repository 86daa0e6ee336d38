//! The activations that need an exponential on both sides: GELU, SiLU, Mish, sigmoid, tanh, softplus, log-sigmoid.
//!
//! Each is written in e = exp(−|…|), so that the two tails have a formula of their own: a negative argument takes its
//! factor e as 2ⁿ·p and is scaled at the end, rounded once even where the result is subnormal; a positive one uses e
//! only beside a 1. Nothing subtracts from a value that has rounded to 1.

use super::{FromOutput, Phi};
use crate::simd::Simd;
use crate::vecmath::dd::{self, Dd, fast_add, mul, mul_f, rest, square, two_prod};
use crate::vecmath::tables::{GELU_3KC, GELU_K, GELU_KC, INV_SQRT_2PI};
use crate::vecmath::{self, DOWN, Decay, EXP_END, Fall, Parts, decay, fall_abs, parts};

/// A constant of the tables in two floats.
#[inline(always)]
pub(super) fn constant<S: Simd>(s: S, c: [f32; 2]) -> Dd<S::F> {
    Dd { hi: s.splat(c[0]), lo: s.splat(c[1]) }
}

#[inline(always)]
pub(super) fn exactly<S: Simd>(s: S, x: S::F) -> Dd<S::F> {
    Dd { hi: x, lo: s.zero() }
}

/// x cut off at ±limit. NaN stays NaN.
#[inline(always)]
fn cut<S: Simd>(s: S, x: S::F, limit: f32) -> S::F {
    s.min(s.splat(limit), s.max(s.splat(-limit), x))
}

/// x·f, where f is 1 at +∞ and the result 0 at −∞, and f is scaled by 2⁶⁴ below zero; |x| matters up to `limit`, below
/// zero.
#[inline(always)]
fn gated<S: Simd>(s: S, x: S::F, f: Dd<S::F>, negative: S::M, limit: f32) -> S::F {
    let x = s.max(s.splat(-limit), x);
    // Infinity times the low part, 0, would be NaN.
    let finite = s.min(s.splat(limit), x);
    s.mul(s.fma(x, f.hi, s.mul(finite, f.lo)), s.select(negative, s.splat(DOWN), s.splat(1.0)))
}

/// e, scaled by 2⁶⁴, below zero, else 1.
#[inline(always)]
fn below_or_one<S: Simd>(s: S, d: Decay<S::F>, negative: S::M) -> Dd<S::F> {
    dd::select(s, negative, d.up, exactly(s, s.splat(1.0)))
}

/// y, which has the sign of x but where it is zero: there −0 may have met +0.
#[inline(always)]
fn signed<S: Simd>(s: S, y: S::F, x: S::F) -> S::F {
    s.or(y, s.and(x, s.splat(-0.0)))
}

/// x·σ(±u), given e = exp(−u) and the sign.
#[inline(always)]
fn gate<S: Simd>(s: S, x: S::F, e: Parts<S::F>, negative: S::M) -> S::F {
    let numerator = below_or_one(s, e.decay, negative);
    gated(s, x, dd::div(s, numerator, e.one_e), negative, EXP_END)
}

/// A quotient in two floats, and a factor of it, scaled by 2⁶⁴.
#[derive(Clone, Copy)]
pub(crate) struct Slope<F> {
    numerator: Dd<F>,
    denominator: Dd<F>,
    factor: Dd<F>,
}

/// (x·σ(u))' = σ(u)·(1 + g·σ(−u)) with g = x·u': e·(1 + e + g)/(1 + e)² below zero, (1 + e + g·e)/(1 + e)² above.
#[inline(always)]
fn gate_slope<S: Simd>(s: S, g: Dd<S::F>, e: Parts<S::F>, negative: S::M) -> Slope<S::F> {
    let Parts { decay, one_e } = e;
    // g or g·e: the factor of e in (1 + e) + …
    let f = dd::select(s, negative, exactly(s, s.splat(1.0)), vecmath::held(s, decay));
    Slope {
        numerator: dd::add(s, one_e, mul(s, g, f)),
        denominator: square(s, one_e),
        factor: vecmath::sigmoid_numerator(s, decay, negative),
    }
}

#[inline(always)]
fn slope_end<S: Simd>(s: S, slope: Slope<S::F>) -> S::F {
    let q = dd::div(s, slope.numerator, slope.denominator);
    vecmath::finish(s, dd::round(s, mul(s, q, slope.factor)))
}

/// Where Φ(−t)·t rounds to zero.
const GELU_END: f32 = 14.6;

/// GELU: x·Φ(x).
#[derive(Clone, Copy)]
pub(crate) struct Gelu;

/// −|x|, as far as it matters.
#[inline(always)]
fn gelu_below<S: Simd>(s: S, x: S::F) -> S::F {
    s.max(s.splat(-GELU_END), s.or(x, s.splat(-0.0)))
}

impl Phi for Gelu {
    const NS: f64 = 0.6;
    const STAGED: bool = true;
    type Mid<S: Simd> = vecmath::Tail<S::F>;
    /// Of −|x|, scaled by 2⁶⁴: Φ.
    type Forward<S: Simd> = Dd<S::F>;
    /// The derivative.
    type Derivative<S: Simd> = Dd<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> vecmath::Tail<S::F> {
        vecmath::tail_start(s, gelu_below(s, x))
    }
    #[inline(always)]
    fn forward_middle<S: Simd>(self, s: S, _: S::F, tail: vecmath::Tail<S::F>) -> Dd<S::F> {
        let (d, m) = vecmath::tail_parts(s, tail);
        mul(s, d.up, m)
    }
    /// −|x|·Φ(−|x|), which is at most half of x, is added to a positive x; −0 stays.
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, q: Dd<S::F>) -> S::F {
        let (u, down) = (gelu_below(s, x), s.splat(DOWN));
        let v = s.mul(u, q.hi);
        let rest = s.fnma(u, q.lo, rest(s, u, q.hi, v));
        let below = s.mul(s.sub(v, rest), down);
        let hi = s.fma(v, down, x);
        let lo = s.fma(rest, down, s.fnma(v, down, s.sub(hi, x)));
        // It is NaN at infinity.
        let above = s.sub(hi, s.min(lo, s.splat(1.0)));
        s.select(s.lt(x, s.zero()), below, above)
    }
    /// Φ(x) + x·φ(x), which is 1 − the same of −x.
    #[inline(always)]
    fn derivative_middle<S: Simd>(self, s: S, x: S::F, tail: vecmath::Tail<S::F>) -> Dd<S::F> {
        let (d, m) = vecmath::tail_parts(s, tail);
        let slope = mul_f(s, gelu_below(s, x), constant(s, INV_SQRT_2PI));
        mul(s, d.up, dd::add(s, m, slope))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, q: Dd<S::F>) -> S::F {
        let (one, down) = (s.splat(1.0), s.splat(DOWN));
        let below = vecmath::finish(s, dd::round(s, q));
        let hi = s.fnma(q.hi, down, one);
        let lo = s.fnma(q.lo, down, s.fnma(q.hi, down, s.sub(one, hi)));
        s.select(s.lt(x, s.zero()), below, s.add(hi, lo))
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
fn gelu_fall<S: Simd>(s: S, t: S::F, t2: Dd<S::F>) -> vecmath::FallDd<S::F> {
    // k + k·c·t²: the first is the larger up to t = 4.7, and beyond both are of one size.
    let kc = mul(s, t2, constant(s, GELU_KC));
    let b = dd::add(s, constant(s, GELU_K), kc);
    vecmath::fall_dd(s, mul_f(s, s.neg(t), b))
}

impl Phi for GeluTanh {
    const NS: f64 = 0.6;
    const STAGED: bool = true;
    type Mid<S: Simd> = vecmath::FallDd<S::F>;
    type Forward<S: Simd> = Parts<S::F>;
    type Derivative<S: Simd> = Slope<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> vecmath::FallDd<S::F> {
        let (t, t2) = gelu_square(s, x);
        gelu_fall(s, t, t2)
    }
    #[inline(always)]
    fn forward_middle<S: Simd>(self, s: S, _: S::F, mid: vecmath::FallDd<S::F>) -> Parts<S::F> {
        parts(s, vecmath::decay_dd(s, mid))
    }
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, e: Parts<S::F>) -> S::F {
        gate(s, x, e, s.lt(x, s.zero()))
    }
    #[inline(always)]
    fn derivative_middle<S: Simd>(self, s: S, x: S::F, mid: vecmath::FallDd<S::F>) -> Slope<S::F> {
        let (t, t2) = gelu_square(s, x);
        let b = dd::add(s, constant(s, GELU_K), mul(s, t2, constant(s, GELU_3KC)));
        let g = mul_f(s, s.copysign(t, x), b);
        gate_slope(s, g, parts(s, vecmath::decay_dd(s, mid)), s.lt(x, s.zero()))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, _: S::F, slope: Slope<S::F>) -> S::F {
        slope_end(s, slope)
    }
}

/// SiLU: x·σ(x).
#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Phi for Silu {
    const NS: f64 = 0.4;
    const STAGED: bool = true;
    type Mid<S: Simd> = Fall<S::F>;
    type Forward<S: Simd> = Parts<S::F>;
    type Derivative<S: Simd> = Slope<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Fall<S::F> {
        fall_abs(s, x)
    }
    #[inline(always)]
    fn forward_middle<S: Simd>(self, s: S, _: S::F, mid: Fall<S::F>) -> Parts<S::F> {
        parts(s, decay(s, mid))
    }
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, e: Parts<S::F>) -> S::F {
        gate(s, x, e, s.lt(x, s.zero()))
    }
    #[inline(always)]
    fn derivative_middle<S: Simd>(self, s: S, x: S::F, mid: Fall<S::F>) -> Slope<S::F> {
        gate_slope(s, exactly(s, cut(s, x, EXP_END)), parts(s, decay(s, mid)), s.lt(x, s.zero()))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, _: S::F, slope: Slope<S::F>) -> S::F {
        slope_end(s, slope)
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
    let e = vecmath::held(s, decay);
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

/// M·f and D.
#[derive(Clone, Copy)]
pub(crate) struct MishRatio<F> {
    m: Dd<F>,
    d: Dd<F>,
}

impl Phi for Mish {
    const NS: f64 = 0.6;
    const STAGED: bool = true;
    type Mid<S: Simd> = Fall<S::F>;
    type Forward<S: Simd> = MishRatio<S::F>;
    type Derivative<S: Simd> = Slope<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Fall<S::F> {
        fall_abs(s, x)
    }
    #[inline(always)]
    fn forward_middle<S: Simd>(self, s: S, x: S::F, mid: Fall<S::F>) -> MishRatio<S::F> {
        let decay = decay(s, mid);
        let negative = s.lt(x, s.zero());
        let MishParts { m, d, .. } = mish_parts(s, decay, negative);
        MishRatio { m: mul(s, below_or_one(s, decay, negative), m), d }
    }
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, MishRatio { m, d }: MishRatio<S::F>) -> S::F {
        signed(s, gated(s, x, dd::div(s, m, d), s.lt(x, s.zero()), EXP_END), x)
    }
    /// f·(M·D + 4x·G·(1 + e))/D², where G is 1 below zero and e² above.
    #[inline(always)]
    fn derivative_middle<S: Simd>(self, s: S, x: S::F, mid: Fall<S::F>) -> Slope<S::F> {
        let decay = decay(s, mid);
        let negative = s.lt(x, s.zero());
        let MishParts { e, m, d } = mish_parts(s, decay, negative);
        let x4 = s.mul(s.splat(4.0), cut(s, x, EXP_END));
        let g = dd::select(s, negative, exactly(s, s.splat(1.0)), square(s, e));
        let bump = mul(s, mul_f(s, x4, g), fast_add(s, s.splat(1.0), e));
        let factor = vecmath::sigmoid_numerator(s, decay, negative);
        Slope { numerator: dd::add(s, mul(s, m, d), bump), denominator: square(s, d), factor }
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, _: S::F, slope: Slope<S::F>) -> S::F {
        slope_end(s, slope)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Phi for Sigmoid {
    const NS: f64 = 0.4;
    const STAGED: bool = true;
    type Mid<S: Simd> = Fall<S::F>;
    type Forward<S: Simd> = Parts<S::F>;
    type Derivative<S: Simd> = Parts<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Fall<S::F> {
        fall_abs(s, x)
    }
    #[inline(always)]
    fn forward_middle<S: Simd>(self, s: S, _: S::F, mid: Fall<S::F>) -> Parts<S::F> {
        parts(s, decay(s, mid))
    }
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, e: Parts<S::F>) -> S::F {
        vecmath::sigmoid_end(s, x, e)
    }
    #[inline(always)]
    fn derivative_middle<S: Simd>(self, s: S, _: S::F, mid: Fall<S::F>) -> Parts<S::F> {
        parts(s, decay(s, mid))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, _: S::F, e: Parts<S::F>) -> S::F {
        vecmath::sigmoid_derivative_end(s, e)
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
    type Mid<S: Simd> = Fall<S::F>;
    type Forward<S: Simd> = Dd<S::F>;
    type Derivative<S: Simd> = Parts<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Fall<S::F> {
        vecmath::tanh_fall(s, x)
    }
    #[inline(always)]
    fn forward_middle<S: Simd>(self, s: S, _: S::F, mid: Fall<S::F>) -> Dd<S::F> {
        vecmath::fall_m1(s, mid)
    }
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, m: Dd<S::F>) -> S::F {
        vecmath::tanh_end(s, x, m)
    }
    #[inline(always)]
    fn derivative_middle<S: Simd>(self, s: S, _: S::F, mid: Fall<S::F>) -> Parts<S::F> {
        parts(s, decay(s, mid))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, _: S::F, e: Parts<S::F>) -> S::F {
        vecmath::sech2_end(s, e)
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
    type Mid<S: Simd> = Fall<S::F>;
    type Forward<S: Simd> = vecmath::Log1p<S::F>;
    type Derivative<S: Simd> = Parts<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Fall<S::F> {
        fall_abs(s, x)
    }
    #[inline(always)]
    fn forward_middle<S: Simd>(self, s: S, _: S::F, mid: Fall<S::F>) -> vecmath::Log1p<S::F> {
        vecmath::softplus_middle(s, decay(s, mid))
    }
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, l: vecmath::Log1p<S::F>) -> S::F {
        vecmath::softplus_end(s, x, l)
    }
    #[inline(always)]
    fn derivative_middle<S: Simd>(self, s: S, _: S::F, mid: Fall<S::F>) -> Parts<S::F> {
        parts(s, decay(s, mid))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, e: Parts<S::F>) -> S::F {
        vecmath::sigmoid_end(s, x, e)
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
    type Mid<S: Simd> = Fall<S::F>;
    type Forward<S: Simd> = vecmath::Log1p<S::F>;
    type Derivative<S: Simd> = Parts<S::F>;
    #[inline(always)]
    fn start<S: Simd>(self, s: S, x: S::F) -> Fall<S::F> {
        fall_abs(s, x)
    }
    #[inline(always)]
    fn forward_middle<S: Simd>(self, s: S, _: S::F, mid: Fall<S::F>) -> vecmath::Log1p<S::F> {
        vecmath::softplus_middle(s, decay(s, mid))
    }
    #[inline(always)]
    fn forward_end<S: Simd>(self, s: S, x: S::F, l: vecmath::Log1p<S::F>) -> S::F {
        s.neg(vecmath::softplus_end(s, s.neg(x), l))
    }
    #[inline(always)]
    fn derivative_middle<S: Simd>(self, s: S, _: S::F, mid: Fall<S::F>) -> Parts<S::F> {
        parts(s, decay(s, mid))
    }
    #[inline(always)]
    fn derivative_end<S: Simd>(self, s: S, x: S::F, e: Parts<S::F>) -> S::F {
        vecmath::sigmoid_end(s, s.neg(x), e)
    }
}

impl FromOutput for LogSigmoid {
    #[inline(always)]
    fn derivative_from_output<S: Simd>(self, s: S, y: S::F) -> S::F {
        s.neg(vecmath::expm1(s, y))
    }
}
