//! The highway gate: its bits, its truth where it saturates, and bad arguments.

use crate::common::{Rng, assert_same_bits, context, exact_contexts, isas, specification, ulp_error};
use evenkeel::gate::{highway_backward_f32, highway_forward_f32};
use evenkeel::{Activation, Context, activation::activation_derivative_f32, activation::activation_forward_f32};

fn all(ctx: &Context, [z, h, x, dy]: [&[f32]; 4]) -> [Vec<f32>; 4] {
    let n = z.len();
    let [mut y, mut dz, mut dh, mut dx] = [const { Vec::new() }; 4].map(|_: Vec<f32>| vec![f32::NAN; n]);
    highway_forward_f32(ctx, z, h, x, &mut y).unwrap();
    highway_backward_f32(ctx, z, h, x, dy, &mut dz, &mut dh, &mut dx).unwrap();
    [y, dz, dh, dx]
}

#[test]
fn every_instruction_set_has_the_specified_bits() {
    let spec = specification();
    for n in [0, 1, 7, 15, 16, 17, 33, 100, 20_000] {
        let mut rng = Rng::new(n as u64);
        let z = rng.vec(n, |r| r.uniform(-90.0, 90.0));
        let [h, x, dy] = [1, 2, 3].map(|_| rng.vec(n, |r| r.binades(-20, 20)));
        let args = [&z[..], &h, &x, &dy];
        let want = all(&spec, args);
        let (mut gate, mut carry, mut slope) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let negative: Vec<f32> = z.iter().map(|z| -z).collect();
        activation_forward_f32(&spec, Activation::Sigmoid, 0.0, &z, &mut gate).unwrap();
        activation_forward_f32(&spec, Activation::Sigmoid, 0.0, &negative, &mut carry).unwrap();
        activation_derivative_f32(&spec, Activation::Sigmoid, 0.0, &z, &mut slope).unwrap();
        for i in 0..n {
            assert_eq!(want[0][i], gate[i].mul_add(h[i], carry[i] * x[i]));
            assert_eq!(want[1][i], dy[i] * (h[i] - x[i]) * slope[i]);
            assert_eq!((want[2][i], want[3][i]), (dy[i] * gate[i], dy[i] * carry[i]));
        }
        for ctx in exact_contexts() {
            for (got, want) in all(&ctx, args).iter().zip(&want) {
                assert_same_bits(&format!("{n} on {ctx:?}"), got, want);
            }
        }
    }
}

#[test]
fn a_saturated_gate_keeps_its_gradient() {
    for ctx in isas().map(|isa| context(isa, 1)) {
        for z in [-80.0f32, -40.0, -17.0, 0.0, 5.0, 17.0, 25.0, 40.0, 80.0] {
            let [y, dz, dh, dx] = all(&ctx, [&[z], &[0.0], &[1.0], &[2.0]]);
            let e = (-(z as f64).abs()).exp();
            let (gate, carry) =
                if z < 0.0 { (e / (1.0 + e), 1.0 / (1.0 + e)) } else { (1.0 / (1.0 + e), e / (1.0 + e)) };
            for (name, got, want) in [
                ("y", y, carry),
                ("dz", dz, -2.0 * e / (1.0 + e).powi(2)),
                ("dh", dh, 2.0 * gate),
                ("dx", dx, 2.0 * carry),
            ] {
                assert!(ulp_error(got[0], want) <= 2.0 && got[0] != 0.0, "{name} at {z}: {:e}, truth {want:e}", got[0]);
            }
        }
    }
}

#[test]
fn bad_arguments_are_named_and_change_nothing() {
    let (ctx, v) = (specification(), [0.5f32; 4]);
    let [mut a, mut b, mut c] = [[7.0f32; 4]; 3];
    let e = highway_forward_f32(&ctx, &v, &v[1..], &v, &mut a).unwrap_err();
    assert_eq!(e.to_string(), "highway_forward_f32: h holds 3 elements, expected 4");
    let e = highway_backward_f32(&ctx, &v, &v, &v, &v, &mut a, &mut b, &mut c[1..]).unwrap_err();
    assert_eq!(e.to_string(), "highway_backward_f32: dx holds 3 elements, expected 4");
    assert_eq!([a, b, c], [[7.0; 4]; 3]);
}
