//! Activations: truth in f64, bits across instruction sets, lost gradients of other frameworks, limits, arguments.

use crate::common::*;
use evenkeel::activation::*;
use evenkeel::{Activation, Context, Error};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

pub const SELU_SCALE: f64 = 1.0507009873554804934193349852946;
pub const SELU_ALPHA: f64 = 1.6732632423543772848170429916717;

/// The documented bound on the error of φ, in ULP.
pub const BOUND: f64 = 1.0;
/// That of φ'.
pub fn derivative_bound(act: Activation) -> f64 {
    if act == Activation::Gelu { 1.5 } else { 1.0 }
}
/// Within [`BESIDE`] of a zero of φ' the error may be this large instead.
pub const ABSOLUTE: f64 = 1.0 / (1u64 << 25) as f64;
pub const BESIDE: f64 = 0.05;

/// Every activation, those with a parameter for several.
pub fn cases() -> Vec<(Activation, f32)> {
    let mut cases: Vec<_> = Activation::ALL.into_iter().map(|act| (act, 1.0)).collect();
    cases.extend([0.01, 0.0, -0.5].map(|slope| (Activation::LeakyRelu, slope)));
    cases.extend([0.3, 2.5, -1.5, 1e30].map(|alpha| (Activation::Elu, alpha)));
    cases.extend([0.3, 2.5, 100.0].map(|alpha| (Activation::Celu, alpha)));
    cases
}

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn gelu_tanh_z(x: f64) -> (f64, f64) {
    let k = 2.0 * (2.0 / PI).sqrt();
    (k * (x + 0.044715 * x * x * x), k * (1.0 + 3.0 * 0.044715 * x * x))
}

/// φ(x) without cancellation; the limits at ±∞.
#[inline(always)]
pub fn forward(act: Activation, p: f64, x: f64) -> f64 {
    use Activation::*;
    let gated = matches!(act, Gelu | GeluTanh | Silu | Mish | HardSwish);
    if gated && x.abs() > 1000.0 {
        return if x > 0.0 { x } else { -0.0 };
    }
    let positive = x > 0.0;
    match act {
        Identity => x,
        Relu => {
            if positive || x.is_nan() {
                x
            } else {
                0.0
            }
        }
        LeakyRelu => {
            if positive {
                x
            } else {
                p * x
            }
        }
        Elu => {
            if positive {
                x
            } else {
                p * x.exp_m1()
            }
        }
        Selu => SELU_SCALE * if positive { x } else { SELU_ALPHA * x.exp_m1() },
        Celu => {
            if positive {
                x
            } else {
                p * (x / p).exp_m1()
            }
        }
        Gelu => x * 0.5 * libm::erfc(-x * FRAC_1_SQRT_2),
        GeluTanh => x * sigmoid(gelu_tanh_z(x).0),
        Silu => x * sigmoid(x),
        Mish if positive => {
            let e = (-x).exp();
            x * (1.0 + 2.0 * e) / (1.0 + 2.0 * e + 2.0 * e * e)
        }
        Mish => {
            let n = x.exp() * (x.exp() + 2.0);
            x * n / (n + 2.0)
        }
        Sigmoid => sigmoid(x),
        Tanh => x.tanh(),
        Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Softsign if x.is_infinite() => x.signum(),
        Softsign => x / (1.0 + x.abs()),
        HardSigmoid => ((x + 3.0) / 6.0).clamp(0.0, 1.0),
        HardSwish => x * ((x + 3.0) / 6.0).clamp(0.0, 1.0),
        HardTanh => x.clamp(-1.0, 1.0),
        LogSigmoid => x.min(0.0) - (-x.abs()).exp().ln_1p(),
    }
}

/// φ'(x) without cancellation; the limits at ±∞.
#[inline(always)]
pub fn derivative(act: Activation, p: f64, x: f64) -> f64 {
    use Activation::*;
    if act == Identity {
        return 1.0;
    }
    if x.is_nan() {
        return x;
    }
    let positive = x > 0.0;
    let choose = |yes: bool, a: f64, b: f64| if yes { a } else { b };
    // Past these the gated ones are at their limits, and infinities would meet zeros.
    let g = x.clamp(-1000.0, 1000.0);
    match act {
        Identity => 1.0,
        Relu => choose(positive, 1.0, 0.0),
        LeakyRelu => choose(positive, 1.0, p),
        Elu => choose(positive, 1.0, p * x.exp()),
        Selu => SELU_SCALE * choose(positive, 1.0, SELU_ALPHA * x.exp()),
        Celu => choose(positive, 1.0, (x / p).exp()),
        Gelu => 0.5 * libm::erfc(-g * FRAC_1_SQRT_2) + g * (-g * g / 2.0).exp() / (2.0 * PI).sqrt(),
        GeluTanh => {
            let (z, slope) = gelu_tanh_z(g);
            sigmoid(z) * (1.0 + g * sigmoid(-z) * slope)
        }
        Silu => sigmoid(g) * (1.0 + g * sigmoid(-g)),
        Mish => {
            let e = (-g.abs()).exp();
            if positive {
                let d = 1.0 + 2.0 * e + 2.0 * e * e;
                ((1.0 + 2.0 * e) * d + 4.0 * g * e * e * (1.0 + e)) / (d * d)
            } else {
                let d = 2.0 + 2.0 * e + e * e;
                e * ((2.0 + e) * d + 4.0 * g * (1.0 + e)) / (d * d)
            }
        }
        Sigmoid => sigmoid(x) * sigmoid(-x),
        Tanh => 4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x),
        Softplus => sigmoid(x),
        Softsign => 1.0 / ((1.0 + x.abs()) * (1.0 + x.abs())),
        HardSigmoid => choose(x.abs() < 3.0, 1.0 / 6.0, 0.0),
        HardSwish => choose(x <= -3.0, 0.0, choose(x >= 3.0, 1.0, (2.0 * x + 3.0) / 6.0)),
        HardTanh => choose(x.abs() < 1.0, 1.0, 0.0),
        LogSigmoid => sigmoid(-x),
    }
}

/// The zero of φ', for those that have one.
pub fn zero_of_derivative(act: Activation) -> Option<f64> {
    match act {
        Activation::Gelu => Some(-0.7517916),
        Activation::GeluTanh => Some(-0.7524614),
        Activation::Silu => Some(-1.2784645),
        Activation::Mish => Some(-1.1924519),
        _ => None,
    }
}

/// Every binade of both signs, subnormals, zeros, infinities and NaN, and the edges where results change their nature.
pub fn sample() -> Vec<f32> {
    let stride = if quick() { 1_048_583 } else { 16_411 };
    let mut x: Vec<f32> = (0..=u32::MAX).step_by(stride).map(f32::from_bits).collect();
    let ends = [0.0, f32::from_bits(1), f32::MIN_POSITIVE, 0.5, 1.0, 3.0, 1.84e19, f32::MAX, f32::INFINITY, f32::NAN];
    x.extend(ends.iter().flat_map(|&v| [v, -v]));
    let edges = [
        0.7518f32, 1.1924, 1.2785, 1.5, 3.0, 5.06, 9.01, 10.2, 11.4, 13.2, 14.4, 16.64, 17.33, 44.4, 52.0, 87.3, 88.72,
        91.8, 103.97,
    ];
    for edge in edges {
        let step = if quick() { 13 } else { 1 };
        x.extend((0..200).step_by(step).map(|i| f32::from_bits(edge.to_bits() - 100 + i)).flat_map(|v| [v, -v]));
    }
    x
}

pub fn run_forward(ctx: &Context, act: Activation, p: f32, x: &[f32]) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len()];
    activation_forward_f32(ctx, act, p, x, &mut y).expect("valid arguments");
    y
}

pub fn run_derivative(ctx: &Context, act: Activation, p: f32, x: &[f32]) -> Vec<f32> {
    let mut d = vec![f32::NAN; x.len()];
    activation_derivative_f32(ctx, act, p, x, &mut d).expect("valid arguments");
    d
}

/// The worst error in ULP of each, and where; beside a zero of φ' only what exceeds the absolute bound counts.
fn worst(act: Activation, p: f32, x: &[f32], y: &[f32], d: &[f32]) -> [(f64, f32); 2] {
    let mut worst = [(0.0, 0.0); 2];
    for ((&x, &y), &d) in x.iter().zip(y).zip(d) {
        let error = ulp_error(y, forward(act, p as f64, x as f64));
        if error > worst[0].0 {
            worst[0] = (error, x);
        }
        let truth = derivative(act, p as f64, x as f64);
        let error = ulp_error(d, truth);
        let beside = zero_of_derivative(act).is_some_and(|zero| (x as f64 - zero).abs() < BESIDE);
        if error > worst[1].0 && !(beside && (d as f64 - truth).abs() <= ABSOLUTE) {
            worst[1] = (error, x);
        }
    }
    worst
}

#[test]
fn forward_and_derivative_are_true() {
    let x = sample();
    let ctx = specification();
    for (act, p) in cases() {
        let (y, d) = (run_forward(&ctx, act, p, &x), run_derivative(&ctx, act, p, &x));
        let bounds = [("forward", BOUND), ("derivative", derivative_bound(act))];
        for ((error, at), (what, bound)) in worst(act, p, &x, &y, &d).into_iter().zip(bounds) {
            assert!(error <= bound, "{act:?}({p}) {what} errs by {error} ULP at {at:e}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let x = sample();
    let dy: Vec<f32> = x.iter().rev().copied().collect();
    let run = |ctx: &Context, act: Activation, p: f32| {
        let mut dz = vec![f32::NAN; x.len()];
        activation_backward_f32(ctx, act, p, &x, &dy, &mut dz).expect("valid arguments");
        let mut from_output = vec![f32::NAN; x.len()];
        if act.has_derivative_from_output(p) {
            activation_backward_from_output_f32(ctx, act, p, &x, &dy, &mut from_output).expect("valid arguments");
        }
        [run_forward(ctx, act, p, &x), run_derivative(ctx, act, p, &x), dz, from_output]
    };
    for (act, p) in cases() {
        let want = run(&specification(), act, p);
        for ctx in exact_contexts() {
            for (i, (got, want)) in run(&ctx, act, p).iter().zip(&want).enumerate() {
                let what = ["forward", "derivative", "backward", "backward from output"][i];
                let name = format!("{act:?}({p}) {what}, {} with {} threads", ctx.isa().name(), ctx.num_threads());
                assert_same_bits(&name, got, want);
            }
        }
    }
}

#[test]
fn unfused_vectors_are_nearly_as_good() {
    let x = sample();
    for ctx in contexts().filter(|ctx| !ctx.isa().is_fused()) {
        for (act, p) in cases() {
            let (y, d) = (run_forward(&ctx, act, p, &x), run_derivative(&ctx, act, p, &x));
            for ((error, at), what) in worst(act, p, &x, &y, &d).into_iter().zip(["forward", "derivative"]) {
                assert!(error <= 4.0, "{act:?}({p}) {what} errs by {error} ULP at {at:e}");
            }
        }
    }
}

/// Where the frameworks of today return 0, NaN or the wrong sign.
#[test]
fn derivatives_survive_saturation() {
    use Activation::*;
    let span = |from: f32, to: f32| (0..=200).map(move |i| from + (to - from) * i as f32 / 200.0);
    let rows: [(Activation, f32, f32); 11] = [
        (Sigmoid, 16.64, 87.3),
        (Tanh, 9.01, 44.36),
        (Tanh, -44.36, -9.01),
        (Gelu, -13.34, -6.15),
        (GeluTanh, -10.4, -4.84),
        (Silu, -91.0, -87.3),
        (Mish, -91.8, -87.3),
        (Elu, -87.3, -10.43),
        (Selu, -87.3, -10.43),
        (LogSigmoid, 16.64, 87.3),
        (Softplus, -87.3, -16.64),
    ];
    for ctx in contexts().filter(|ctx| ctx.isa().is_fused()) {
        for (act, from, to) in rows {
            let x: Vec<f32> = span(from, to).collect();
            for (&x, d) in x.iter().zip(run_derivative(&ctx, act, 1.0, &x)) {
                let truth = derivative(act, 1.0, x as f64);
                assert!(d != 0.0 && (d as f64).signum() == truth.signum(), "{act:?}'({x}) is {d:e}, not {truth:e}");
                assert!(ulp_error(d, truth) <= BOUND, "{act:?}'({x}) is {d:e}, not {truth:e}");
            }
        }
        // GELU's forward has a hole of its own, and its tanh form overflows.
        let x: Vec<f32> = span(-13.0, -5.54).collect();
        assert!(run_forward(&ctx, Gelu, 0.0, &x).iter().all(|&y| y < 0.0));
        let huge = [1.07e19, 1.84e19, 1e30, f32::MAX, f32::INFINITY].map(|x| [x, -x]).concat();
        for act in [Gelu, GeluTanh, Silu, Mish] {
            for (&x, d) in huge.iter().zip(run_derivative(&ctx, act, 0.0, &huge)) {
                assert_eq!(d, if x > 0.0 { 1.0 } else { 0.0 }, "{act:?}'({x:e})");
            }
            for (&x, y) in huge.iter().zip(run_forward(&ctx, act, 0.0, &huge)) {
                assert_eq!(y, if x > 0.0 { x } else { 0.0 }, "{act:?}({x:e})");
            }
        }
        // Subnormal numbers are delivered, not flushed.
        let x = [1.1e-38f32, -1.1e-38, 1e-45];
        assert_same_bits("SELU", &run_forward(&ctx, Selu, 0.0, &x), &x.map(|x| forward(Selu, 0.0, x as f64) as f32));
        assert!(run_derivative(&ctx, Sigmoid, 0.0, &[103.0, -103.0]).iter().all(|&d| d.is_subnormal()));
    }
}

#[test]
fn special_values() {
    use Activation::*;
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    // φ(−∞), φ(∞), φ'(−∞), φ'(∞).
    let limits = |act| match act {
        Identity => [-inf, inf, 1.0, 1.0],
        Relu => [0.0, inf, 0.0, 1.0],
        LeakyRelu => [-inf, inf, 0.5, 1.0],
        Elu | Celu => [-0.5, inf, 0.0, 1.0],
        Selu => [-1.758_099_3, inf, 0.0, 1.050_701],
        Gelu | GeluTanh | Silu | Mish | HardSwish => [0.0, inf, 0.0, 1.0],
        Sigmoid => [0.0, 1.0, 0.0, 0.0],
        Tanh | Softsign | HardTanh => [-1.0, 1.0, 0.0, 0.0],
        Softplus => [0.0, inf, 0.0, 1.0],
        HardSigmoid => [0.0, 1.0, 0.0, 0.0],
        LogSigmoid => [-inf, 0.0, 1.0, 0.0],
    };
    for ctx in contexts() {
        for act in Activation::ALL {
            let y = run_forward(&ctx, act, 0.5, &[-inf, inf, nan]);
            let d = run_derivative(&ctx, act, 0.5, &[-inf, inf, nan]);
            assert_eq!([y[0], y[1], d[0], d[1]], limits(act), "{act:?} at infinity");
            assert!(y[2].is_nan() && (d[2].is_nan() || act == Identity), "{act:?} of NaN");
        }
        // Corners.
        assert_eq!(run_derivative(&ctx, Relu, 0.0, &[0.0, -0.0]), [0.0, 0.0]);
        assert_eq!(run_derivative(&ctx, HardTanh, 0.0, &[-1.0, 1.0, 0.999]), [0.0, 0.0, 1.0]);
        assert_eq!(run_derivative(&ctx, HardSwish, 0.0, &[-3.0, 3.0, -1.5]), [0.0, 1.0, 0.0]);
        assert_eq!(run_derivative(&ctx, Tanh, 0.0, &[0.0]), [1.0]);
        assert_eq!(run_derivative(&ctx, Elu, 0.7, &[0.0]), [0.7]);
        // Odd functions keep the sign of zero.
        for act in [Identity, Tanh, Softsign, HardTanh, Gelu, GeluTanh, Silu, Mish, Elu, Celu, Selu, HardSwish] {
            assert_same_bits(&format!("{act:?} of zero"), &run_forward(&ctx, act, 1.0, &[0.0, -0.0]), &[0.0, -0.0]);
        }
    }
}

#[test]
fn output_derivatives_agree_where_nothing_is_lost() {
    let mut rng = Rng::new(5);
    let z = rng.vec(1000, |rng| rng.uniform(-4.0, 4.0));
    let ones = vec![1.0; z.len()];
    let ctx = specification();
    let mut tested = 0;
    for (act, p) in cases().into_iter().filter(|&(_, p)| p != 1e30) {
        let y = run_forward(&ctx, act, p, &z);
        let mut got = vec![f32::NAN; z.len()];
        let result = activation_backward_from_output_f32(&ctx, act, p, &y, &ones, &mut got);
        if !act.has_derivative_from_output(p) {
            assert!(matches!(result, Err(Error::Unsupported { .. })), "{act:?}({p})");
            assert!(got.iter().all(|d| d.is_nan()), "{act:?}({p}) wrote");
            continue;
        }
        result.expect("supported");
        tested += 1;
        let want: Vec<f64> = z.iter().map(|&z| derivative(act, p as f64, z as f64)).collect();
        // φ'(y) moves by at most 2 for every rounding of y, whose unit is at most 2⁻²³·max(1, α).
        let unit = f32::EPSILON as f64 * p.abs().max(1.0) as f64;
        assert_close(&format!("{act:?}({p})"), &got, &want, |_| 3.0 * unit);
    }
    assert!(tested > 15);
}

#[test]
fn backward_multiplies_and_works_in_place() {
    let mut rng = Rng::new(6);
    for n in [0, 1, 15, 16, 17, 33, 1009, if quick() { 4_009 } else { 40_009 }] {
        let z = rng.vec(n, |rng| rng.uniform(-6.0, 6.0));
        let dy = rng.vec(n, Rng::normal);
        for ctx in contexts() {
            for act in Activation::ALL {
                let p = 0.5;
                let (y, d) = (run_forward(&ctx, act, p, &z), run_derivative(&ctx, act, p, &z));
                let want: Vec<f32> = dy.iter().zip(&d).map(|(dy, d)| dy * d).collect();
                let name = |what: &str| format!("{act:?} {what}, n = {n}, {}", ctx.isa().name());

                let mut dz = vec![f32::NAN; n];
                activation_backward_f32(&ctx, act, p, &z, &dy, &mut dz).expect("valid");
                assert_same_bits(&name("backward"), &dz, &want);
                let mut over = dy.clone();
                activation_backward_in_place_f32(&ctx, act, p, &z, &mut over).expect("valid");
                assert_same_bits(&name("backward over dy"), &over, &want);
                let mut over = z.clone();
                activation_backward_over_z_f32(&ctx, act, p, &mut over, &dy).expect("valid");
                assert_same_bits(&name("backward over z"), &over, &want);
                let mut over = z.clone();
                activation_forward_in_place_f32(&ctx, act, p, &mut over).expect("valid");
                assert_same_bits(&name("forward over z"), &over, &y);
                let mut over = z.clone();
                activation_derivative_in_place_f32(&ctx, act, p, &mut over).expect("valid");
                assert_same_bits(&name("derivative over z"), &over, &d);
                if act.has_derivative_from_output(p) {
                    activation_backward_from_output_f32(&ctx, act, p, &y, &dy, &mut dz).expect("valid");
                    let mut over = dy.clone();
                    activation_backward_from_output_in_place_f32(&ctx, act, p, &y, &mut over).expect("valid");
                    assert_same_bits(&name("from output over dy"), &over, &dz);
                }
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn nothing_outside_the_slices_is_touched() {
    for n in [1, 15, 16, 17, 33, 47] {
        let values = Rng::new(7).vec(n, Rng::normal);
        for make in [Guarded::at_end, Guarded::at_start] {
            let (z, dy, mut dz) = (make(&values), make(&values), make(&values));
            for ctx in contexts() {
                for act in [Activation::Relu, Activation::Gelu] {
                    activation_forward_f32(&ctx, act, 0.0, &z, &mut dz).expect("valid");
                    activation_backward_f32(&ctx, act, 0.0, &z, &dy, &mut dz).expect("valid");
                }
            }
        }
    }
}

#[test]
fn bad_arguments_are_named_and_write_nothing() {
    let ctx = specification();
    let z = [1.0f32; 4];
    let mut y = [7.0f32; 4];
    let message = |r: Result<(), Error>| r.expect_err("an error").to_string();
    for (act, p, text) in [
        (Activation::Celu, 0.0, "activation_forward_f32: act_param is 0, CELU needs alpha > 0"),
        (Activation::Celu, -1.0, "activation_forward_f32: act_param is -1, CELU needs alpha > 0"),
        (Activation::Elu, f32::NAN, "activation_forward_f32: act_param is NaN, Elu needs a number"),
        (Activation::LeakyRelu, f32::INFINITY, "activation_forward_f32: act_param is inf, LeakyRelu needs a number"),
    ] {
        assert_eq!(message(activation_forward_f32(&ctx, act, p, &z, &mut y)), text);
        assert!(activation_derivative_f32(&ctx, act, p, &z, &mut y).is_err());
        assert!(activation_backward_f32(&ctx, act, p, &z, &z, &mut y).is_err());
        assert!(activation_backward_from_output_f32(&ctx, act, p, &z, &z, &mut y).is_err());
    }
    let short = activation_backward_f32(&ctx, Activation::Relu, 0.0, &z, &z[..3], &mut y);
    assert_eq!(message(short), "activation_backward_f32: dy holds 3 elements, expected 4");
    assert!(activation_forward_f32(&ctx, Activation::Relu, 0.0, &z[..3], &mut y).is_err());
    assert_eq!(y, [7.0; 4]);
    // The parameter of the others is ignored.
    activation_forward_f32(&ctx, Activation::Relu, f32::NAN, &z, &mut y).expect("ignored");
    assert_eq!(y, z);
}

#[test]
fn numbers_name_activations() {
    for (i, act) in Activation::ALL.into_iter().enumerate() {
        assert_eq!(act as usize, i);
        assert_eq!(Activation::from_i32(i as i32), Some(act));
    }
    assert_eq!(Activation::from_i32(18), None);
    assert_eq!(Activation::from_i32(-1), None);
}
