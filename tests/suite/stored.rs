//! Tensors in bf16 and f16: what a function computes in f32 from the widened inputs, rounded once. Residual connections.

use crate::common::*;
use evenkeel::activation::*;
use evenkeel::element::Storage;
use evenkeel::residual::*;
use evenkeel::softmax::*;
use evenkeel::{Activation, Context, bf16, f16};

/// A family's functions in one storage.
#[allow(clippy::type_complexity, reason = "a table of signatures")]
struct Functions<T> {
    forward: [fn(&Context, Activation, f32, &[T], &mut [T]) -> evenkeel::Result; 2],
    forward_in_place: [fn(&Context, Activation, f32, &mut [T]) -> evenkeel::Result; 2],
    backward: [fn(&Context, Activation, f32, &[T], &[T], &mut [T]) -> evenkeel::Result; 2],
    over_dy: [fn(&Context, Activation, f32, &[T], &mut [T]) -> evenkeel::Result; 2],
    over_z: fn(&Context, Activation, f32, &mut [T], &[T]) -> evenkeel::Result,
    residual: fn(&Context, f32, &[T], &[T], &mut [T]) -> evenkeel::Result,
    residual_over_x: fn(&Context, f32, &[T], &mut [T]) -> evenkeel::Result,
    residual_over_fx: fn(&Context, f32, &mut [T], &[T]) -> evenkeel::Result,
    softmax: [fn(&Context, usize, usize, &[T], &mut [T]) -> evenkeel::Result; 2],
    softmax_backward: [fn(&Context, usize, usize, &[T], &[T], &mut [T]) -> evenkeel::Result; 2],
}

const F32: Functions<f32> = Functions {
    forward: [activation_forward_f32, activation_derivative_f32],
    forward_in_place: [activation_forward_in_place_f32, activation_derivative_in_place_f32],
    backward: [activation_backward_f32, activation_backward_from_output_f32],
    over_dy: [activation_backward_in_place_f32, activation_backward_from_output_in_place_f32],
    over_z: activation_backward_over_z_f32,
    residual: residual_add_f32,
    residual_over_x: residual_add_in_place_f32,
    residual_over_fx: residual_add_over_fx_f32,
    softmax: [softmax_forward_f32, log_softmax_forward_f32],
    softmax_backward: [softmax_backward_f32, log_softmax_backward_f32],
};
const BF16: Functions<bf16> = Functions {
    forward: [activation_forward_bf16, activation_derivative_bf16],
    forward_in_place: [activation_forward_in_place_bf16, activation_derivative_in_place_bf16],
    backward: [activation_backward_bf16, activation_backward_from_output_bf16],
    over_dy: [activation_backward_in_place_bf16, activation_backward_from_output_in_place_bf16],
    over_z: activation_backward_over_z_bf16,
    residual: residual_add_bf16,
    residual_over_x: residual_add_in_place_bf16,
    residual_over_fx: residual_add_over_fx_bf16,
    softmax: [softmax_forward_bf16, log_softmax_forward_bf16],
    softmax_backward: [softmax_backward_bf16, log_softmax_backward_bf16],
};
const F16: Functions<f16> = Functions {
    forward: [activation_forward_f16, activation_derivative_f16],
    forward_in_place: [activation_forward_in_place_f16, activation_derivative_in_place_f16],
    backward: [activation_backward_f16, activation_backward_from_output_f16],
    over_dy: [activation_backward_in_place_f16, activation_backward_from_output_in_place_f16],
    over_z: activation_backward_over_z_f16,
    residual: residual_add_f16,
    residual_over_x: residual_add_in_place_f16,
    residual_over_fx: residual_add_over_fx_f16,
    softmax: [softmax_forward_f16, log_softmax_forward_f16],
    softmax_backward: [softmax_backward_f16, log_softmax_backward_f16],
};

fn widened<T: Storage>(x: &[T]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}

/// Fails unless `got` is `want` rounded; a NaN of one is a NaN of the other.
#[track_caller]
fn assert_rounded<T: Storage>(what: &str, got: &[T], want: &[f32]) {
    let got = to_even(want, got);
    let want: Vec<f32> = want.iter().map(|&w| T::from_f32(w).to_f32()).collect();
    assert_same_bits(what, &widened(&got), &want);
}

/// Every pattern of 16 bits as a T, and an odd few more; some of them when [`quick`].
fn every<T: Storage>(of_bits: fn(u16) -> T) -> Vec<T> {
    (0..=0xffff).step_by(if quick() { 61 } else { 1 }).chain(0..13).map(of_bits).collect()
}

/// A parameter that suits all of them.
const PARAM: f32 = 0.75;

fn activations_are_f32_rounded_once<T: Storage>(f: &Functions<T>, of_bits: fn(u16) -> T) {
    let z = every(of_bits);
    let n = z.len();
    let dy: Vec<T> = Rng::new(1).vec(n, |rng| T::from_f32(rng.normal()));
    let (z32, dy32) = (widened(&z), widened(&dy));
    let spec = context(exact_isas().next().unwrap_or(evenkeel::Isa::Scalar), 1);
    let (mut want, mut got) = (vec![0.0; n], vec![T::default(); n]);
    for act in Activation::ALL {
        for (k, name) in ["forward", "derivative"].into_iter().enumerate() {
            F32.forward[k](&spec, act, PARAM, &z32, &mut want).expect("valid");
            for ctx in exact_contexts() {
                let what = format!("{act:?} {name} {ctx:?}");
                f.forward[k](&ctx, act, PARAM, &z, &mut got).expect("valid");
                assert_rounded(&what, &got, &want);
                got.copy_from_slice(&z);
                f.forward_in_place[k](&ctx, act, PARAM, &mut got).expect("valid");
                assert_rounded(&what, &got, &want);
            }
        }
        for (k, name) in ["backward", "from output"].into_iter().enumerate() {
            if k == 1 && !act.has_derivative_from_output(PARAM) {
                assert!(f.backward[k](&spec, act, PARAM, &z, &dy, &mut got).is_err());
                continue;
            }
            F32.backward[k](&spec, act, PARAM, &z32, &dy32, &mut want).expect("valid");
            for ctx in exact_contexts() {
                let what = format!("{act:?} {name} {ctx:?}");
                f.backward[k](&ctx, act, PARAM, &z, &dy, &mut got).expect("valid");
                assert_rounded(&what, &got, &want);
                got.copy_from_slice(&dy);
                f.over_dy[k](&ctx, act, PARAM, &z, &mut got).expect("valid");
                assert_rounded(&what, &got, &want);
                if k == 0 {
                    got.copy_from_slice(&z);
                    (f.over_z)(&ctx, act, PARAM, &mut got, &dy).expect("valid");
                    assert_rounded(&what, &got, &want);
                }
            }
        }
    }
}

#[test]
fn bf16_activations_are_f32_rounded_once() {
    activations_are_f32_rounded_once(&BF16, bf16::from_bits);
}

#[test]
fn f16_activations_are_f32_rounded_once() {
    activations_are_f32_rounded_once(&F16, f16::from_bits);
}

/// Where frameworks return 0 or NaN once tensors are in bf16: what is left is one rounding of the true value.
#[test]
fn derivatives_survive_bf16_storage() {
    use Activation::*;
    let all: Vec<bf16> = (0..=0xffff).map(bf16::from_bits).filter(|z| !z.is_nan()).collect();
    let sigma = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
    let k = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
    let u = move |x: f64| k * (x + 0.044715 * x * x * x);
    let slope = move |x: f64| k * (1.0 + 3.0 * 0.044715 * x * x);
    type Truth<'a> = Box<dyn Fn(f64) -> f64 + 'a>;
    let rows: [(Activation, bool, Truth<'_>); 6] = [
        (Tanh, true, Box::new(|x| 4.0 * sigma(2.0 * x) * sigma(-2.0 * x))),
        (Sigmoid, true, Box::new(|x| sigma(x) * sigma(-x))),
        (
            GeluTanh,
            true,
            Box::new(move |x| {
                let x = x.clamp(-100.0, 100.0);
                sigma(u(x)) * (1.0 + x * sigma(-u(x)) * slope(x))
            }),
        ),
        (GeluTanh, false, Box::new(move |x| if x.abs() > 100.0 { x.max(0.0) } else { x * sigma(u(x)) })),
        (Elu, true, Box::new(|x| if x > 0.0 { 1.0 } else { x.exp() })),
        (
            Selu,
            true,
            Box::new(|x| 1.050_700_987_355_480_5 * if x > 0.0 { 1.0 } else { 1.673_263_242_354_377_2 * x.exp() }),
        ),
    ];
    let ctx = context(exact_isas().next().unwrap_or(evenkeel::Isa::Scalar), 1);
    for (act, derivative, truth) in rows {
        let mut got = vec![bf16::default(); all.len()];
        BF16.forward[derivative as usize](&ctx, act, 1.0, &all, &mut got).expect("valid");
        for (z, got) in all.iter().zip(&got) {
            let truth = truth(Storage::to_f32(*z) as f64);
            if truth.is_infinite() {
                continue;
            }
            // Half a unit of bf16, and one of f32 before it; GELU's derivative is right to 2⁻²⁵ beside its zero.
            let unit = 2f64.powi((truth.abs().log2().floor() as i32).max(-126) - 7);
            let allowed =
                (0.5 + 2f64.powi(-15)) * unit + if act == GeluTanh { 2f64.powi(-25) * unit.min(1.0) } else { 0.0 };
            let error = (Storage::to_f32(*got) as f64 - truth).abs();
            assert!(error <= allowed, "{act:?} of {z:e} is {got:e}, not {truth:e}");
            assert!(truth.abs() < 1e-40 || got.to_f32() != 0.0, "{act:?} of {z:e} is lost");
        }
    }
}

fn softmax_is_f32_rounded_once<T: Storage>(f: &Functions<T>) {
    let mut rng = Rng::new(2);
    for [rows, cols] in [[1, 1], [7, 5], [300, 33], [3, 1000], [70, 300], [2, 20_011]] {
        let n = rows * cols;
        let mut x: Vec<T> = rng.vec(n, |rng| T::from_f32(8.0 * rng.normal()));
        x[n / 2] = T::from_f32(f32::NEG_INFINITY);
        x[..cols].fill(T::from_f32(if rows > 1 { f32::NEG_INFINITY } else { 3.0 }));
        let dy: Vec<T> = rng.vec(n, |rng| T::from_f32(rng.normal()));
        let spec = specification();
        for k in 0..2 {
            let mut want = vec![0.0; n];
            F32.softmax[k](&spec, rows, cols, &widened(&x), &mut want).expect("valid");
            let y: Vec<T> = want.iter().map(|&w| T::from_f32(w)).collect();
            let mut dx = vec![0.0; n];
            F32.softmax_backward[k](&spec, rows, cols, &widened(&y), &widened(&dy), &mut dx).expect("valid");
            for ctx in exact_contexts() {
                let mut got = vec![T::default(); n];
                f.softmax[k](&ctx, rows, cols, &x, &mut got).expect("valid");
                assert_rounded(&format!("{rows}x{cols} {ctx:?}"), &got, &want);
                f.softmax_backward[k](&ctx, rows, cols, &y, &dy, &mut got).expect("valid");
                assert_rounded(&format!("backward {rows}x{cols} {ctx:?}"), &got, &dx);
            }
        }
    }
}

#[test]
fn softmax_in_halves_is_f32_rounded_once() {
    softmax_is_f32_rounded_once(&BF16);
    softmax_is_f32_rounded_once(&F16);
}

fn residual_is_one_fused_operation<T: Storage>(f: &Functions<T>) {
    let mut rng = Rng::new(3);
    for n in [0, 1, 15, 16, 17, 1023, 1024, 1031, 40_009] {
        let (fx, x): (Vec<T>, Vec<T>) =
            (rng.vec(n, |rng| T::from_f32(rng.any_f32())), rng.vec(n, |rng| T::from_f32(rng.normal())));
        for scale in [1.0f32, 0.1, -2.5] {
            let want: Vec<f32> = fx.iter().zip(&x).map(|(f, x)| scale.mul_add(f.to_f32(), x.to_f32())).collect();
            for ctx in exact_contexts() {
                let mut y = vec![T::default(); n];
                (f.residual)(&ctx, scale, &fx, &x, &mut y).expect("valid");
                assert_rounded("residual", &y, &want);
                y.copy_from_slice(&x);
                (f.residual_over_x)(&ctx, scale, &fx, &mut y).expect("valid");
                assert_rounded("residual over x", &y, &want);
                y.copy_from_slice(&fx);
                (f.residual_over_fx)(&ctx, scale, &mut y, &x).expect("valid");
                assert_rounded("residual over fx", &y, &want);
            }
        }
    }
}

#[test]
fn residual_connections_are_one_fused_operation() {
    residual_is_one_fused_operation(&F32);
    residual_is_one_fused_operation(&BF16);
    residual_is_one_fused_operation(&F16);
}

#[test]
fn bad_lengths_are_named_and_write_nothing() {
    let ctx = specification();
    let (x, mut y) = ([bf16::from_f32(1.0); 4], [bf16::from_f32(7.0); 4]);
    let message = |r: evenkeel::Result| r.expect_err("a length is wrong").to_string();
    let short = &x[..3];
    let tanh = Activation::Tanh;
    assert_eq!(
        message(activation_forward_bf16(&ctx, tanh, 0.0, short, &mut y)),
        "activation_forward_bf16: y holds 4 elements, expected 3"
    );
    assert_eq!(
        message(activation_backward_bf16(&ctx, tanh, 0.0, &x, short, &mut y)),
        "activation_backward_bf16: dy holds 3 elements, expected 4"
    );
    assert_eq!(
        message(activation_backward_in_place_bf16(&ctx, tanh, 0.0, short, &mut y)),
        "activation_backward_bf16: dy holds 4 elements, expected 3"
    );
    assert_eq!(
        message(residual_add_bf16(&ctx, 1.0, &x, short, &mut y)),
        "residual_add_bf16: x holds 3 elements, expected 4"
    );
    assert_eq!(
        message(softmax_forward_bf16(&ctx, 2, 2, short, &mut y)),
        "softmax_forward_bf16: x holds 3 elements, expected 4"
    );
    assert!(y.iter().all(|y| y.to_f32() == 7.0));
}

#[cfg(unix)]
#[test]
fn nothing_outside_the_slices_is_touched() {
    fn check<T: Storage>(f: &Functions<T>, ctx: &Context) {
        for n in [1, 15, 17, 33, 1025] {
            let values = Rng::new(4).vec(n, |rng| T::from_f32(rng.normal()));
            for make in [Guarded::at_end, Guarded::at_start] {
                let (z, dy, mut y) = (make(&values), make(&values), make(&values));
                f.forward[0](ctx, Activation::Silu, 0.0, &z, &mut y).expect("valid");
                f.backward[0](ctx, Activation::Silu, 0.0, &z, &dy, &mut y).expect("valid");
                f.softmax[0](ctx, 1, n, &z, &mut y).expect("valid");
                f.softmax_backward[1](ctx, n, 1, &z, &dy, &mut y).expect("valid");
                (f.residual)(ctx, 2.0, &z, &dy, &mut y).expect("valid");
            }
        }
    }
    for ctx in contexts() {
        check(&F32, &ctx);
        check(&BF16, &ctx);
        check(&F16, &ctx);
    }
}

/// Outputs that are written past the caches have the bits of those that are not, wherever they begin.
#[test]
fn large_outputs_have_the_bits_of_small_ones() {
    fn check<T: Storage>(f: &Functions<T>, n: usize) {
        let mut rng = Rng::new(5);
        let pattern: Vec<T> = rng.vec(4099, |rng| T::from_f32(3.0 * rng.normal()));
        let z: Vec<T> = pattern.iter().copied().cycle().take(n).collect();
        let isa = exact_isas().next().unwrap_or(evenkeel::Isa::Scalar);
        let mut y = vec![T::default(); n + 5];
        let what = |offset: usize| format!("offset {offset}");
        for (offset, threads) in [(0, 1), (1, 2), (5, 3)] {
            let ctx = context(isa, threads);
            let y = &mut y[offset..offset + n];
            for act in [Activation::LeakyRelu, Activation::Tanh] {
                let mut want = vec![T::default(); pattern.len()];
                f.forward[0](&ctx, act, 0.1, &pattern, &mut want).expect("valid");
                f.forward[0](&ctx, act, 0.1, &z, y).expect("valid");
                for y in y.chunks(pattern.len()) {
                    assert_same_bits(&what(offset), &widened(y), &widened(&want[..y.len()]));
                }
                f.backward[0](&ctx, act, 0.1, &pattern, &pattern, &mut want).expect("valid");
                f.backward[0](&ctx, act, 0.1, &z, &z, y).expect("valid");
                for y in y.chunks(pattern.len()) {
                    assert_same_bits(&what(offset), &widened(y), &widened(&want[..y.len()]));
                }
            }
        }
    }
    if quick() {
        return println!("outputs of 16 MiB are left to real machines");
    }
    check(&F32, (4 << 20) + 77);
    check(&BF16, (8 << 20) + 77);
}
