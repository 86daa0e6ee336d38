//! Every activation over all 2³² arguments, against a reference in f64 that is fast enough for that.
//!
//! The reference has formulas of its own, which LLVM turns into vectors: it is held against `std` and `libm` on a
//! sample of every binade in the ordinary tests and once more before each sweep, so that nothing rests on it alone.

use super::activation::*;
use crate::common::*;
use evenkeel::{Activation, Context};
use std::f64::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E, PI};
use std::io::Write;

/// Arguments that pass through the reference at once.
const BLOCK: usize = 1024;
/// The relative error that the reference may have against `libm`: 2⁻¹⁹ of an ULP.
const TRUST: f64 = 1e-13;

/// x, held between two numbers; NaN stays.
#[inline(always)]
fn held(x: f64, low: f64, high: f64) -> f64 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[inline(always)]
fn series<const N: usize>(c: &[f64; N], x: f64) -> f64 {
    let mut sum = c[N - 1];
    for i in (0..N - 1).rev() {
        sum = sum.mul_add(x, c[i]);
    }
    sum
}

/// 1/1!, 1/2!, … 1/14!
const FACTORIALS: [f64; 14] = {
    let mut c = [1.0; 14];
    let mut i = 1;
    while i < 14 {
        c[i] = c[i - 1] / (i + 1) as f64;
        i += 1;
    }
    c
};
/// 1, 1/3, 1/5, …: past them (1/9)¹⁸.
const ODD: [f64; 18] = {
    let mut c = [1.0; 18];
    let mut i = 1;
    while i < 18 {
        c[i] = 1.0 / (2 * i + 1) as f64;
        i += 1;
    }
    c
};

/// 2ⁿ and eʳ − 1 with x = n·ln 2 + r, for |x| ≤ 700.
#[inline(always)]
fn exp_parts(x: f64) -> (f64, f64) {
    const LN_2_HIGH: f64 = f64::from_bits(LN_2.to_bits() & !0xfff_ffff);
    const LN_2_LOW: f64 = {
        // ln 2 = LN_2 + 2.3190468138462996e-17
        (LN_2 - LN_2_HIGH) + 2.319_046_813_846_3e-17
    };
    const ROUNDER: f64 = 6_755_399_441_055_744.0; // 1.5·2⁵²
    let x = held(x, -700.0, 700.0);
    let shifted = x * LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (-n).mul_add(LN_2_LOW, (-n).mul_add(LN_2_HIGH, x));
    (f64::from_bits((shifted.to_bits().wrapping_add(1023)) << 52), r * series(&FACTORIALS, r))
}

#[inline(always)]
fn exp(x: f64) -> f64 {
    let (power, m) = exp_parts(x);
    power.mul_add(m, power)
}

#[inline(always)]
fn expm1(x: f64) -> f64 {
    let (power, m) = exp_parts(x);
    power.mul_add(m, power - 1.0)
}

/// log(1 + e) for 0 ≤ e ≤ 1, by atanh's series.
#[inline(always)]
fn log1p(e: f64) -> f64 {
    let s = e / (2.0 + e);
    2.0 * s * series(&ODD, s * s)
}

#[inline(always)]
fn sigmoid(x: f64) -> f64 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// e/(1 + e)² with e = exp(−|x|).
#[inline(always)]
fn bump(x: f64) -> f64 {
    let e = exp(-x.abs());
    e / ((1.0 + e) * (1.0 + e))
}

const TERMS: usize = 34;

/// exp(t²/2)·Φ(−t) for 0 ≤ t ≤ 16 as (1/(t + 2))·Σ cᵢ·wⁱ, w = (t − 2)/(t + 2), past all that f32 holds.
struct Mills([f64; TERMS]);

/// Where [`Mills`] ends: a normal tail of 16 is 6e-58.
const TAIL: f64 = 16.0;

impl Mills {
    /// Interpolates `libm::erfc` at Chebyshev's points of w from −1 to (16 − 2)/(16 + 2).
    fn new() -> Mills {
        let high = (TAIL - 2.0) / (TAIL + 2.0);
        let (center, half) = ((high - 1.0) / 2.0, (high + 1.0) / 2.0);
        let value = |angle: f64| {
            let w = center + half * angle.cos();
            let t = 2.0 * (1.0 + w) / (1.0 - w);
            let a = t * FRAC_1_SQRT_2;
            let square = a * a;
            let lost = a.mul_add(a, -square);
            0.5 * libm::erfc(a) * square.exp() * (1.0 + lost) * (t + 2.0)
        };
        let angle = |i: usize| PI * (i as f64 + 0.5) / TERMS as f64;
        let values: Vec<f64> = (0..TERMS).map(|i| value(angle(i))).collect();
        // Chebyshev's coefficients, then powers of (w − center)/half.
        let mut powers = [0.0; TERMS];
        let (mut before, mut chebyshev) = ([0.0; TERMS], [0.0; TERMS]);
        chebyshev[0] = 1.0;
        for k in 0..TERMS {
            let sum: f64 = (0..TERMS).map(|i| values[i] * (k as f64 * angle(i)).cos()).sum();
            let c = sum * if k == 0 { 1.0 } else { 2.0 } / TERMS as f64;
            for (p, t) in powers.iter_mut().zip(&chebyshev) {
                *p += c * t;
            }
            let mut next = [0.0; TERMS];
            for i in 1..TERMS {
                next[i] = if k == 0 { 1.0 } else { 2.0 } * chebyshev[i - 1];
            }
            for (n, b) in next.iter_mut().zip(&before) {
                *n -= b;
            }
            (before, chebyshev) = (chebyshev, next);
        }
        Mills(powers)
    }

    /// For |x| of a block, held at the end. Lanes inside, coefficients outside, or LLVM makes no vectors of it.
    #[inline(always)]
    fn fill(&self, x: &[f32; BLOCK], out: &mut [f64; BLOCK]) {
        const HIGH: f64 = (TAIL - 2.0) / (TAIL + 2.0);
        const CENTER: f64 = (HIGH - 1.0) / 2.0;
        const HALF: f64 = (HIGH + 1.0) / 2.0;
        const LANES: usize = 16;
        for start in (0..BLOCK).step_by(LANES) {
            let (mut r, mut w, mut sum) = ([0.0; LANES], [0.0; LANES], [self.0[TERMS - 1]; LANES]);
            for l in 0..LANES {
                let t = held(x[start + l].abs() as f64, 0.0, TAIL);
                r[l] = 1.0 / (t + 2.0);
                w[l] = ((t - 2.0) * r[l] - CENTER) / HALF;
            }
            for i in (0..TERMS - 1).rev() {
                for l in 0..LANES {
                    sum[l] = sum[l].mul_add(w[l], self.0[i]);
                }
            }
            for l in 0..LANES {
                out[start + l] = sum[l] * r[l];
            }
        }
    }
}

/// z·f where f is 0 below and 1 above; infinities stay.
#[inline(always)]
fn gated(x: f64, f: f64) -> f64 {
    held(x, -300.0, f64::INFINITY) * f
}

const GELU_K: f64 = 1.595_769_121_605_730_7;

/// 2u of GELU's tanh form, and its derivative.
#[inline(always)]
fn gelu_tanh_z(x: f64) -> (f64, f64) {
    (GELU_K * x * (0.044715 * x).mul_add(x, 1.0), GELU_K * (3.0 * 0.044715 * x).mul_add(x, 1.0))
}

#[inline(always)]
fn fill(x: &[f32; BLOCK], out: &mut [f64; BLOCK], f: impl Fn(f64) -> f64) {
    for i in 0..BLOCK {
        out[i] = f(x[i] as f64);
    }
}

/// φ of a block.
#[inline(always)]
fn forwards(mills: &Mills, act: Activation, p: f64, x: &[f32; BLOCK], out: &mut [f64; BLOCK]) {
    use Activation::*;
    match act {
        Elu => fill(x, out, |x| if x > 0.0 { x } else { p * expm1(x) }),
        Selu => fill(x, out, |x| if x > 0.0 { SELU_SCALE * x } else { SELU_SCALE * SELU_ALPHA * expm1(x) }),
        Celu => fill(x, out, |x| if x > 0.0 { x } else { p * expm1(x / p) }),
        Gelu => {
            mills.fill(x, out);
            for i in 0..BLOCK {
                let x = x[i] as f64;
                let t = held(x.abs(), 0.0, TAIL);
                let tail = exp(-0.5 * t * t) * out[i];
                out[i] = gated(x, if x < 0.0 { tail } else { 1.0 - tail });
            }
        }
        GeluTanh => fill(x, out, |x| gated(x, sigmoid(gelu_tanh_z(held(x, -40.0, 40.0)).0))),
        Silu => fill(x, out, |x| gated(x, sigmoid(x))),
        Mish => fill(x, out, |x| {
            let e = exp(-x.abs());
            // tanh(log(1 + eˣ)), numerator and denominator times e² where x > 0.
            let (a, b) = if x < 0.0 { (e * (2.0 + e), 2.0) } else { (1.0 + 2.0 * e, 2.0 * e * e) };
            gated(x, a / (a + b))
        }),
        Sigmoid => fill(x, out, sigmoid),
        Tanh => fill(x, out, |x| {
            let m = expm1(-2.0 * x.abs());
            (-m / (2.0 + m)).copysign(x)
        }),
        Softplus => fill(x, out, |x| (if x < 0.0 { 0.0 } else { x }) + log1p(exp(-x.abs()))),
        LogSigmoid => fill(x, out, |x| (if x > 0.0 { 0.0 } else { x }) - log1p(exp(-x.abs()))),
        _ => plainly(act, x, out, |act, x| forward(act, p, x)),
    }
}

/// φ' of a block.
#[inline(always)]
fn derivatives(mills: &Mills, act: Activation, p: f64, x: &[f32; BLOCK], out: &mut [f64; BLOCK]) {
    use Activation::*;
    match act {
        Elu => fill(x, out, |x| if x > 0.0 { 1.0 } else { p * exp(x) }),
        Selu => fill(x, out, |x| SELU_SCALE * if x > 0.0 { 1.0 } else { SELU_ALPHA * exp(x) }),
        Celu => fill(x, out, |x| if x > 0.0 { 1.0 } else { exp(x / p) }),
        Gelu => {
            mills.fill(x, out);
            let density = 1.0 / (2.0 * PI).sqrt();
            for i in 0..BLOCK {
                let x = x[i] as f64;
                let t = held(x.abs(), 0.0, TAIL);
                let below = exp(-0.5 * t * t) * (out[i] - density * t);
                let value = if x < 0.0 { below } else { 1.0 - below };
                out[i] = if x.is_nan() { x } else { value };
            }
        }
        GeluTanh => fill(x, out, |x| {
            let x = held(x, -40.0, 40.0);
            let (z, slope) = gelu_tanh_z(x);
            gate_derivative(z, x * slope)
        }),
        Silu => fill(x, out, |x| {
            let x = held(x, -300.0, 300.0);
            gate_derivative(x, x)
        }),
        Mish => fill(x, out, |x| {
            let x = held(x, -300.0, 300.0);
            let e = exp(-x.abs());
            // t = n/d; t' = 4·f·(1 + e)/d² with f = e below zero, e² above.
            let negative = x < 0.0;
            let (n, d) = if negative {
                (e * (2.0 + e), 2.0 + e * (2.0 + e))
            } else {
                (1.0 + 2.0 * e, 1.0 + 2.0 * e * (1.0 + e))
            };
            let f = if negative { e } else { e * e };
            (n * d + 4.0 * x * f * (1.0 + e)) / (d * d)
        }),
        Sigmoid => fill(x, out, bump),
        Tanh => fill(x, out, |x| 4.0 * bump(2.0 * x)),
        Softplus => fill(x, out, sigmoid),
        LogSigmoid => fill(x, out, |x| sigmoid(-x)),
        _ => plainly(act, x, out, |act, x| derivative(act, p, x)),
    }
}

/// The others, a few exact or correctly rounded operations in f64; each is a constant where `f` meets it.
#[inline(always)]
fn plainly(act: Activation, x: &[f32; BLOCK], out: &mut [f64; BLOCK], f: impl Fn(Activation, f64) -> f64) {
    macro_rules! each {
        ($($one:ident)*) => {
            match act {
                $(Activation::$one => fill(x, out, |x| f(Activation::$one, x)),)*
                _ => unreachable!("{act:?} has its own reference"),
            }
        };
    }
    each!(Identity Relu LeakyRelu Softsign HardSigmoid HardSwish HardTanh)
}

/// (x·σ(z))' = σ(z)·(1 + g·σ(−z)) with g = x·z'.
#[inline(always)]
fn gate_derivative(z: f64, g: f64) -> f64 {
    let e = exp(-z.abs());
    let (f, h) = if z < 0.0 { (e, g) } else { (1.0, g * e) };
    f * (1.0 + e + h) / ((1.0 + e) * (1.0 + e))
}

/// What errors of a block are counted: relative ones in ULP, and absolute ones beside a zero of φ'.
#[derive(Clone, Copy, Default)]
struct Largest {
    ulp: f64,
    absolute: f64,
}

/// [`ulp_error`] of a block, the largest one; between the two ends of `beside` an absolute error is enough.
#[inline(always)]
fn largest(x: &[f32; BLOCK], got: &[f32; BLOCK], truth: &[f64; BLOCK], beside: (f64, f64)) -> Largest {
    const LANES: usize = 16;
    let (mut most, mut most_absolute) = ([0.0f64; LANES], [0.0f64; LANES]);
    for start in (0..BLOCK).step_by(LANES) {
        for l in 0..LANES {
            let (got, truth, x) = (got[start + l], truth[start + l], x[start + l] as f64);
            let nearest = truth as f32;
            let exponent = (nearest.to_bits() >> 23) & 0xff;
            let exponent = if exponent == 0 { 1 } else { exponent };
            // 2^(150 − exponent)
            let units = f64::from_bits(((1023 + 150 - exponent) as u64) << 52);
            let difference = (got as f64 - truth).abs();
            let same = (got.to_bits() == nearest.to_bits()) | (got.is_nan() & nearest.is_nan());
            let finite = (got.abs() < f32::INFINITY) & (nearest.abs() < f32::INFINITY);
            let strange = if same { 0.0 } else { f64::INFINITY };
            let error = if finite { difference * units } else { strange };
            let inside = (x > beside.0) & (x < beside.1);
            let absolute = if inside { difference } else { 0.0 };
            let error = if inside & (difference <= ABSOLUTE) { 0.0 } else { error };
            most[l] = if error > most[l] { error } else { most[l] };
            most_absolute[l] = if absolute > most_absolute[l] { absolute } else { most_absolute[l] };
        }
    }
    let fold = |lanes: [f64; LANES]| lanes.into_iter().fold(0.0, f64::max);
    Largest { ulp: fold(most), absolute: fold(most_absolute) }
}

/// A block of arguments, what the kernels made of them, and the largest errors of φ and φ'.
#[inline(always)]
fn check(
    mills: &Mills,
    act: Activation,
    p: f64,
    x: &[f32; BLOCK],
    got: [&[f32; BLOCK]; 2],
    truth: &mut [[f64; BLOCK]; 2],
) -> [Largest; 2] {
    forwards(mills, act, p, x, &mut truth[0]);
    derivatives(mills, act, p, x, &mut truth[1]);
    let nowhere = (f64::INFINITY, f64::INFINITY);
    let beside = zero_of_derivative(act).map_or(nowhere, |zero| (zero - BESIDE, zero + BESIDE));
    [largest(x, got[0], &truth[0], nowhere), largest(x, got[1], &truth[1], beside)]
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn check_avx2(
    mills: &Mills,
    act: Activation,
    p: f64,
    x: &[f32; BLOCK],
    got: [&[f32; BLOCK]; 2],
    truth: &mut [[f64; BLOCK]; 2],
) -> [Largest; 2] {
    check(mills, act, p, x, got, truth)
}

/// [`check`] in the widest vectors there are.
fn checked(
    mills: &Mills,
    act: Activation,
    p: f64,
    x: &[f32; BLOCK],
    got: [&[f32; BLOCK]; 2],
    truth: &mut [[f64; BLOCK]; 2],
) -> [Largest; 2] {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: both features were detected.
        return unsafe { check_avx2(mills, act, p, x, got, truth) };
    }
    check(mills, act, p, x, got, truth)
}

fn block(v: &[f32], start: usize) -> &[f32; BLOCK] {
    v[start..start + BLOCK].try_into().expect("a block")
}

/// Holds the reference against `std` and `libm`, at arguments of every binade.
fn trust(mills: &Mills, act: Activation, p: f32) {
    let mut x = sample();
    x.resize(x.len().next_multiple_of(BLOCK), 1.0);
    let mut truth = Box::new([[0.0; BLOCK]; 2]);
    for start in (0..x.len()).step_by(BLOCK) {
        let x = block(&x, start);
        checked(mills, act, p as f64, x, [x, x], &mut truth);
        for (i, &x) in x.iter().enumerate() {
            let wide = x as f64;
            let want = [forward(act, p as f64, wide), derivative(act, p as f64, wide)];
            for (got, want) in [truth[0][i], truth[1][i]].into_iter().zip(want) {
                // Below the smallest float by far, and above the largest, floats do not care.
                let gone = got.abs() < 1e-50 && want.abs() < 1e-50 || got.abs() > 1e39 && got.signum() == want.signum();
                let beside = zero_of_derivative(act).is_some_and(|zero| (wide - zero).abs() < BESIDE);
                let allowed = TRUST * if beside { 1.0 } else { want.abs() };
                let agree = gone || got.is_nan() && want.is_nan() || (got - want).abs() <= allowed;
                assert!(agree, "{act:?}({p}) at {x:e}: {got:e}, libm says {want:e}");
            }
        }
    }
}

#[test]
fn the_fast_reference_is_that_of_libm() {
    let mills = Mills::new();
    for (act, p) in cases() {
        trust(&mills, act, p);
    }
}

/// The largest errors over all 2³² arguments, printed and held against the bound.
///
/// `EVENKEEL_STRIDE` thins the arguments out, `EVENKEEL_ONLY` names one activation, as in `Gelu`, and `EVENKEEL_PART`, as
/// in `3/16`, takes one part of the arguments. Runs on the fastest instruction set; one argument in 64 must have the
/// specification's bits too (`EVENKEEL_SPEC` names another number, 0 for none).
#[test]
#[ignore = "exhaustive: all 2^32 arguments of every activation, some ten minutes"]
fn exhaustive() {
    const CHUNK: u32 = 1 << 18;
    let var = |name: &str| std::env::var(name).ok();
    let stride: u32 = var("EVENKEEL_STRIDE").map_or(1, |s| s.parse().expect("a number"));
    let spec_every: usize = var("EVENKEEL_SPEC").map_or(64, |s| s.parse().expect("a number"));
    let only = var("EVENKEEL_ONLY");
    let part = var("EVENKEEL_PART").map(|p| p.split('/').map(|n| n.parse().expect("k/n")).collect::<Vec<u32>>());
    let (part, parts) = part.map_or((0, 1), |p| (p[0], p[1]));
    let ctx = Context::builder().num_threads(1).build().expect("a context");
    let spec = specification();
    let threads = var("EVENKEEL_THREADS").map_or_else(
        || std::thread::available_parallelism().map_or(1, |n| n.get()) as u32,
        |t| t.parse().expect("a number"),
    );
    let progress = |text: String| {
        // Not print!, which the test harness would capture.
        write!(std::io::stderr(), "{text}").expect("stderr");
    };
    let mills = Mills::new();
    let mut failed = Vec::new();
    for (act, p) in cases().into_iter().filter(|(act, _)| only.as_ref().is_none_or(|o| *o == format!("{act:?}"))) {
        trust(&mills, act, p);
        let chunks = u32::MAX / CHUNK + 1;
        let work = |t: u32| {
            let mut most = [(0.0, 0.0); 2];
            let mut absolute = 0.0;
            let n = ((CHUNK / stride) as usize).next_multiple_of(BLOCK);
            let (mut x, mut y, mut d) = (vec![0f32; n], vec![0f32; n], vec![0f32; n]);
            let mut truth = Box::new([[0.0; BLOCK]; 2]);
            for chunk in (t * parts + part..chunks).step_by((threads * parts) as usize) {
                if t == 0 && chunk % (chunks / 8) < threads * parts {
                    progress(format!("\r{act:?}({p}) {:3} %", chunk as u64 * 100 / chunks as u64));
                }
                for (i, x) in x.iter_mut().enumerate() {
                    *x = f32::from_bits((chunk * CHUNK).wrapping_add(i as u32 * stride + chunk % stride));
                }
                evenkeel::activation::activation_forward_f32(&ctx, act, p, &x, &mut y).expect("valid arguments");
                evenkeel::activation::activation_derivative_f32(&ctx, act, p, &x, &mut d).expect("valid arguments");
                for start in (0..n).step_by(BLOCK) {
                    let (x, y, d) = (block(&x, start), block(&y, start), block(&d, start));
                    let found = checked(&mills, act, p as f64, x, [y, d], &mut truth);
                    absolute = f64::max(absolute, found[1].absolute);
                    for (i, got) in [y, d].into_iter().enumerate() {
                        if found[i].ulp > most[i].0 {
                            let at = (0..BLOCK).max_by(|&a, &b| {
                                ulp_error(got[a], truth[i][a]).total_cmp(&ulp_error(got[b], truth[i][b]))
                            });
                            most[i] = (found[i].ulp, x[at.expect("a block has elements")]);
                        }
                    }
                }
                if ctx.isa().is_fused() && spec_every > 0 {
                    let few = |v: &[f32]| {
                        v.iter().copied().skip(chunk as usize % spec_every).step_by(spec_every).collect::<Vec<_>>()
                    };
                    let x = few(&x);
                    assert_same_bits(&format!("{act:?}({p})"), &few(&y), &run_forward(&spec, act, p, &x));
                    assert_same_bits(&format!("{act:?}'({p})"), &few(&d), &run_derivative(&spec, act, p, &x));
                }
            }
            (most, absolute)
        };
        let found: Vec<_> = std::thread::scope(|scope| {
            let work = &work;
            let workers: Vec<_> = (0..threads).map(|t| scope.spawn(move || work(t))).collect();
            workers.into_iter().map(|w| w.join().expect("a worker")).collect()
        });
        let most = |i: usize| found.iter().map(|f| f.0[i]).fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
        let (y, d) = (most(0), most(1));
        let absolute = found.iter().map(|f| f.1).fold(0.0, f64::max);
        let beside = if absolute > 0.0 { format!(", 2^{:.1} beside its zero", absolute.log2()) } else { String::new() };
        progress(format!("\r{act:?}({p}): {:.4} ULP at {:e}, derivative {:.4} at {:e}{beside}\n", y.0, y.1, d.0, d.1));
        if !(y.0 <= BOUND && d.0 <= derivative_bound(act) && absolute <= ABSOLUTE) {
            failed.push(format!("{act:?}({p})"));
        }
    }
    assert!(failed.is_empty(), "beyond the bound: {failed:?}");
}
