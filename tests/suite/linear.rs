//! The linear layer: fused calls against the product and the activation taken apart, and gradients against f64.

use crate::common::{Rng, assert_close, assert_same_bits, exact_contexts, quick, specification};
use evenkeel::activation::{Activation, activation_derivative_f32, activation_forward_f32};
use evenkeel::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};
use evenkeel::matmul::{Transpose, matmul_f32};
use evenkeel::{Context, Isa};

const PARAM: f32 = 0.25;
const SHAPES: [(usize, usize, usize); 10] = [
    (1, 7, 9),
    (3, 20, 33),
    (4, 64, 5),
    (5, 17, 100),
    (16, 31, 47),
    (33, 64, 130),
    (2, 300, 3),
    (70, 5, 1),
    (20, 9, 272),
    (20, 272, 9),
];

fn vector(rng: &mut Rng, n: usize) -> Vec<f32> {
    rng.vec(n, |rng| rng.uniform(-2.0, 2.0))
}

fn all_contexts() -> impl Iterator<Item = Context> {
    exact_contexts().chain([specification()])
}

#[test]
fn forward_is_the_product_then_the_bias_then_the_activation() {
    let spec = specification();
    for (batch, input, out) in SHAPES {
        let mut rng = Rng::new(batch as u64 + out as u64);
        let (x, w) = (vector(&mut rng, batch * input), vector(&mut rng, out * input));
        let bias = vector(&mut rng, out);
        let mut product = vec![0.0; batch * out];
        let (no, yes) = (Transpose::No, Transpose::Yes);
        matmul_f32(&spec, no, yes, batch, out, input, 1.0, &x, input, &w, input, 0.0, &mut product, out).unwrap();
        for act in Activation::ALL {
            for bias in [None, Some(&bias[..])].into_iter().skip(quick() as usize) {
                let z_want: Vec<f32> =
                    product.iter().enumerate().map(|(at, z)| bias.map_or(*z, |b| z + b[at % out])).collect();
                let mut y_want = vec![0.0; batch * out];
                activation_forward_f32(&spec, act, PARAM, &z_want, &mut y_want).unwrap();
                for ctx in all_contexts() {
                    let what = format!("{act:?} {batch}x{input}x{out} on {ctx:?}");
                    let (mut z, mut y) = (vec![f32::NAN; batch * out], vec![f32::NAN; batch * out]);
                    linear_forward_f32(&ctx, act, PARAM, batch, input, out, &x, &w, bias, Some(&mut z), &mut y)
                        .unwrap();
                    assert_same_bits(&what, &z, &z_want);
                    assert_same_bits(&what, &y, &y_want);
                    y.fill(f32::NAN);
                    linear_forward_f32(&ctx, act, PARAM, batch, input, out, &x, &w, bias, None, &mut y).unwrap();
                    assert_same_bits(&what, &y, &y_want);
                }
            }
        }
    }
}

/// One column of C, whose rows are one element apart: exchanged or not, its strides are the same.
#[test]
fn few_outputs_have_their_own_bias_whatever_the_batch() {
    for isa in Isa::available() {
        let ctx = Context::builder().isa(isa).num_threads(1).batch_invariant(true).build().unwrap();
        for (batch, out) in (1..40).flat_map(|batch| (1..6).map(move |out| (batch, out))) {
            for input in [1, 3, 11, 40] {
                let mut rng = Rng::new((batch * 7 + out) as u64);
                let (x, w) = (vector(&mut rng, batch * input), vector(&mut rng, out * input));
                let bias = vector(&mut rng, out);
                // What lies behind the bias is no part of it.
                let mut behind = bias.clone();
                behind.resize(out + 64, f32::NAN);
                let mut y = vec![f32::NAN; batch * out];
                let act = Activation::Identity;
                linear_forward_f32(&ctx, act, 0.0, batch, input, out, &x, &w, Some(&behind[..out]), None, &mut y)
                    .unwrap();
                for (at, y) in y.iter().enumerate() {
                    let (row, col) = (at / out, at % out);
                    let dot: f64 = (0..input).map(|p| x[row * input + p] as f64 * w[col * input + p] as f64).sum();
                    let want = dot + bias[col] as f64;
                    assert!((*y as f64 - want).abs() < 1e-4, "{batch}x{input}x{out} on {ctx:?}: y[{at}] {y}, {want}");
                }
            }
        }
    }
}

#[test]
fn backward_input_is_the_product_times_the_derivative() {
    let spec = specification();
    for (batch, input, out) in SHAPES {
        let mut rng = Rng::new(3 + batch as u64 + out as u64);
        let (dz, w) = (vector(&mut rng, batch * out), vector(&mut rng, out * input));
        // Saturated pre-activations among them.
        let z: Vec<f32> = rng.vec(batch * input, |rng| 12.0 * rng.uniform(-1.0, 1.0));
        let mut product = vec![0.0; batch * input];
        let no = Transpose::No;
        matmul_f32(&spec, no, no, batch, input, out, 1.0, &dz, out, &w, input, 0.0, &mut product, input).unwrap();
        for ctx in all_contexts() {
            let mut dx = vec![f32::NAN; batch * input];
            linear_backward_input_f32(&ctx, Activation::Tanh, 0.0, batch, input, out, &dz, &w, None, &mut dx).unwrap();
            assert_same_bits("without z_prev", &dx, &product);
            for act in Activation::ALL {
                let mut want = vec![0.0; batch * input];
                activation_derivative_f32(&spec, act, PARAM, &z, &mut want).unwrap();
                want.iter_mut().zip(&product).for_each(|(d, p)| *d *= p);
                linear_backward_input_f32(&ctx, act, PARAM, batch, input, out, &dz, &w, Some(&z), &mut dx).unwrap();
                assert_same_bits(&format!("{act:?} {batch}x{input}x{out} on {ctx:?}"), &dx, &want);
            }
        }
    }
}

/// The order of dbias, stated: blocks of 256 rows in f32, joined in f64.
fn dbias_specified(batch: usize, out: usize, dz: &[f32], old: Option<&[f32]>) -> Vec<f32> {
    (0..out)
        .map(|j| {
            let blocks = (0..batch).step_by(256);
            let sums = blocks.map(|b| (b..batch.min(b + 256)).fold(0.0f32, |s, i| s + dz[i * out + j]));
            let total = sums.fold(0.0f64, |t, s| t + s as f64);
            (total + old.map_or(0.0, |o| o[j] as f64)) as f32
        })
        .collect()
}

/// The order of sum_sq, stated: 42 rows by 16 columns, each column ascending, columns by halves, blocks in order.
fn sum_sq_specified(rows: usize, cols: usize, dw: &[f32], dbias: Option<&[f32]>) -> f64 {
    fn fold(mut lanes: [f64; 16]) -> f64 {
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }
    let mut total = 0.0;
    for r in (0..rows).step_by(42) {
        for c in (0..cols).step_by(16) {
            let mut lanes = [0.0f64; 16];
            for i in r..rows.min(r + 42) {
                for j in c..cols.min(c + 16) {
                    lanes[j - c] += dw[i * cols + j] as f64 * dw[i * cols + j] as f64;
                }
            }
            total += fold(lanes);
        }
    }
    if let Some(dbias) = dbias {
        let mut lanes = [0.0f64; 16];
        for (i, v) in dbias.iter().enumerate() {
            lanes[i % 16] += *v as f64 * *v as f64;
        }
        total += fold(lanes);
    }
    total
}

#[test]
fn backward_weight_has_the_specified_bits() {
    let spec = specification();
    let shapes = [(1, 7, 9), (5, 40, 100), (300, 33, 45), (600, 17, 20), (9, 64, 130), (0, 3, 4), (7, 530, 1001)];
    // The last one's gradient is larger than second-level caches.
    for (batch, input, out) in shapes.into_iter().take(if quick() { 6 } else { 7 }) {
        let mut rng = Rng::new(9 + batch as u64 + out as u64);
        let (dz, x) = (vector(&mut rng, batch * out), vector(&mut rng, batch * input));
        let (old_w, old_b) = (vector(&mut rng, out * input), vector(&mut rng, out));
        for accumulate in [false, true] {
            let (yes, no) = (Transpose::Yes, Transpose::No);
            let mut dw_want = old_w.clone();
            let beta = if accumulate { 1.0 } else { 0.0 };
            matmul_f32(&spec, yes, no, out, input, batch, 1.0, &dz, out, &x, input, beta, &mut dw_want, input).unwrap();
            let db_want = dbias_specified(batch, out, &dz, accumulate.then_some(&old_b[..]));
            for ctx in all_contexts() {
                let what = format!("{batch}x{input}x{out} on {ctx:?}");
                let (mut dw, mut db, mut sum) = (old_w.clone(), old_b.clone(), f64::NAN);
                linear_backward_weight_f32(
                    &ctx,
                    batch,
                    input,
                    out,
                    &dz,
                    &x,
                    accumulate,
                    &mut dw,
                    Some(&mut db),
                    Some(&mut sum),
                )
                .unwrap();
                assert_same_bits(&what, &dw, &dw_want);
                assert_same_bits(&what, &db, &db_want);
                assert_same_bits(&what, &[sum], &[sum_sq_specified(out, input, &dw, Some(&db))]);

                let (mut dw, mut sum) = (old_w.clone(), f64::NAN);
                linear_backward_weight_f32(&ctx, batch, input, out, &dz, &x, accumulate, &mut dw, None, Some(&mut sum))
                    .unwrap();
                assert_same_bits(&what, &[sum], &[sum_sq_specified(out, input, &dw, None)]);
                let (mut dw, mut db) = (old_w.clone(), old_b.clone());
                linear_backward_weight_f32(&ctx, batch, input, out, &dz, &x, accumulate, &mut dw, Some(&mut db), None)
                    .unwrap();
                assert_same_bits(&what, &dw, &dw_want);
                assert_same_bits(&what, &db, &db_want);
            }
        }
    }
}

/// L = Σ y·r, whose gradients in f64 are what the three calls together must give.
#[test]
fn gradients_are_true() {
    let ctx = Context::builder().build().unwrap();
    let (batch, input, out) = (19, 23, 29);
    let mut rng = Rng::new(5);
    let (x0, w, r) = (vector(&mut rng, batch * input), vector(&mut rng, out * input), vector(&mut rng, batch * out));
    let x: Vec<f32> = x0.iter().map(|v| v.tanh()).collect();
    let mut dx = vec![0.0; batch * input];
    linear_backward_input_f32(&ctx, Activation::Tanh, 0.0, batch, input, out, &r, &w, Some(&x0), &mut dx).unwrap();
    let truth: Vec<f64> = (0..batch * input)
        .map(|at| {
            let (i, j) = (at / input, at % input);
            let sum: f64 = (0..out).map(|o| r[i * out + o] as f64 * w[o * input + j] as f64).sum();
            sum / (x0[at] as f64).cosh().powi(2)
        })
        .collect();
    let scale = 4.0 * out as f64 * f32::EPSILON as f64;
    assert_close("dx", &dx, &truth, |_| scale * out as f64);

    let (mut dw, mut db) = (vec![0.0; out * input], vec![0.0; out]);
    linear_backward_weight_f32(&ctx, batch, input, out, &r, &x, false, &mut dw, Some(&mut db), None).unwrap();
    let truth: Vec<f64> = (0..out * input)
        .map(|at| (0..batch).map(|b| r[b * out + at / input] as f64 * x[b * input + at % input] as f64).sum())
        .collect();
    assert_close("dw", &dw, &truth, |_| 2.0 * (batch * batch) as f64 * f32::EPSILON as f64);
    let truth: Vec<f64> = (0..out).map(|o| (0..batch).map(|b| r[b * out + o] as f64).sum()).collect();
    assert_close("dbias", &db, &truth, |_| 2.0 * (batch * batch) as f64 * f32::EPSILON as f64);
}

#[test]
fn sum_sq_holds_what_f32_cannot() {
    let ctx = Context::builder().build().unwrap();
    let mut sum = 0.0;
    let mut dw = [0.0; 2];
    linear_backward_weight_f32(&ctx, 1, 2, 1, &[1e19], &[1e19, 1e-25], false, &mut dw, None, Some(&mut sum)).unwrap();
    assert!((sum / 1e76 - 1.0).abs() < 1e-6, "{sum:e}");
    linear_backward_weight_f32(&ctx, 1, 2, 1, &[1e-20], &[1e-20, 0.0], false, &mut dw, None, Some(&mut sum)).unwrap();
    assert!((sum / 1e-80 - 1.0).abs() < 1e-4, "{sum:e}");
}

#[test]
fn bad_arguments_are_named_and_change_nothing() {
    let ctx = Context::builder().isa(Isa::Scalar).build().unwrap();
    let mut y = [7.0f32; 6];
    let e = linear_forward_f32(&ctx, Activation::Relu, 0.0, 2, 4, 3, &[0.0; 7], &[0.0; 12], None, None, &mut y);
    assert_eq!(e.unwrap_err().to_string(), "linear_forward_f32: x holds 7 elements, expected 8");
    let e =
        linear_forward_f32(&ctx, Activation::Relu, 0.0, 2, 4, 3, &[0.0; 8], &[0.0; 12], Some(&[0.0; 2]), None, &mut y);
    assert_eq!(e.unwrap_err().to_string(), "linear_forward_f32: bias holds 2 elements, expected 3");
    let e = linear_forward_f32(&ctx, Activation::Elu, f32::NAN, 2, 4, 3, &[0.0; 8], &[0.0; 12], None, None, &mut y);
    let text = e.unwrap_err().to_string();
    assert!(text.starts_with("linear_forward_f32: act_param is NaN"), "{text}");
    let e = linear_backward_input_f32(&ctx, Activation::Relu, 0.0, 2, 3, 4, &[0.0; 8], &[0.0; 11], None, &mut y);
    assert_eq!(e.unwrap_err().to_string(), "linear_backward_input_f32: w holds 11 elements, expected 12");
    let e = linear_backward_weight_f32(&ctx, 2, 3, 2, &[0.0; 4], &[0.0; 6], false, &mut y, Some(&mut [0.0; 3]), None);
    assert_eq!(e.unwrap_err().to_string(), "linear_backward_weight_f32: dbias holds 3 elements, expected 2");
    assert_eq!(y, [7.0; 6]);
}
