//! Softmax and log-softmax against their specification, f64, and the rows where others lose gradients.

use crate::common::*;
use evenkeel::softmax::*;
use evenkeel::{Context, Error};

type Forward = fn(&Context, usize, usize, &[f32], &mut [f32]) -> evenkeel::Result;
type Backward = fn(&Context, usize, usize, &[f32], &[f32], &mut [f32]) -> evenkeel::Result;

const FORWARD: [(&str, Forward); 2] = [("softmax", softmax_forward_f32), ("log_softmax", log_softmax_forward_f32)];
const BACKWARD: [(&str, Backward); 2] = [("softmax", softmax_backward_f32), ("log_softmax", log_softmax_backward_f32)];

/// Accuracy of softmax, in units in the last place of each entry, beside the rounding of x − max: one unit for each
/// unit of distance.
const SOFTMAX_ULP: f64 = 4.0;

/// Vector tails, one column, many short rows, sixteen of which go together, chunk borders, and rows shared out by chunks.
const SHAPES: [[usize; 2]; 22] = [
    [0, 5],
    [5, 0],
    [1, 1],
    [1000, 1],
    [3, 2],
    [7, 15],
    [4, 16],
    [130, 17],
    [35, 8],
    [50, 31],
    [32, 63],
    [37, 64],
    [16, 65],
    [300, 5],
    [33, 97],
    [9, 1000],
    [5, 4099],
    [3, 16384],
    [3, 16385],
    [2, 40_001],
    [33, 16_400],
    [1, 131_072],
];

fn forward(f: Forward, ctx: &Context, [rows, cols]: [usize; 2], x: &[f32]) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len()];
    f(ctx, rows, cols, x, &mut y).expect("forward");
    y
}

fn backward(f: Backward, ctx: &Context, [rows, cols]: [usize; 2], y: &[f32], dy: &[f32]) -> Vec<f32> {
    let mut dx = vec![f32::NAN; y.len()];
    f(ctx, rows, cols, y, dy, &mut dx).expect("backward");
    dx
}

/// Logits of several kinds, a row each: ordinary, wide, tied, masked, large.
fn logits(rng: &mut Rng, [rows, cols]: [usize; 2]) -> Vec<f32> {
    let mut x = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        let kind = row % 6;
        x.extend(rng.vec(cols, |rng| match kind {
            0 => 3.0 * rng.normal(),
            1 => rng.uniform(-100.0, 100.0),
            2 => rng.below(3) as f32,
            3 if rng.bool() => f32::NEG_INFINITY,
            3 => rng.normal(),
            4 => rng.uniform(-1e4, 1e4),
            _ => 1e6 + rng.normal(),
        }));
    }
    x
}

/// ln softmax of one row in f64, without cancellation at the largest; and how far rounding each x − max and each
/// exponential to f32 may move the logarithm of the sum.
fn log_softmax_f64(x: &[f32]) -> (Vec<f64>, f64) {
    let max = x.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(v as f64));
    let at = x.iter().position(|&v| v as f64 == max).expect("a finite maximum");
    let rest: f64 = x.iter().enumerate().filter(|(j, _)| *j != at).map(|(_, &v)| (v as f64 - max).exp()).sum();
    let moved = |v: f64| v.exp() * (SOFTMAX_ULP - v) * 2f64.powi(-24) + 2f64.powi(-149);
    let moved: f64 =
        x.iter().enumerate().filter(|(j, _)| *j != at).map(|(_, &v)| moved((v as f64 - max).max(-1e3))).sum();
    (x.iter().map(|&v| (v as f64 - max) - rest.ln_1p()).collect(), moved / (1.0 + rest))
}

#[test]
fn every_instruction_set_and_thread_count_gives_the_specifications_bits() {
    let mut rng = Rng::new(1);
    let random = (0..samples(16)).map(|i| [1 + Rng::new(i as u64).below(60), 1 + Rng::new(i as u64 + 99).below(300)]);
    let spec = specification();
    let contexts: Vec<Context> = exact_contexts().collect();
    for [rows, cols] in SHAPES.into_iter().chain(random) {
        let shape = [if quick() { rows.min((20_000 / cols.max(1)).max(1)) } else { rows }, cols];
        let x = logits(&mut rng, shape);
        let dy = rng.vec(x.len(), Rng::normal);
        for ((name, f), (_, b)) in FORWARD.into_iter().zip(BACKWARD) {
            let y = forward(f, &spec, shape, &x);
            let dx = backward(b, &spec, shape, &y, &dy);
            for ctx in &contexts {
                assert_same_bits(&format!("{name} {shape:?} {ctx:?}"), &forward(f, ctx, shape, &x), &y);
                assert_same_bits(&format!("{name} backward {shape:?} {ctx:?}"), &backward(b, ctx, shape, &y, &dy), &dx);
            }
        }
    }
}

#[test]
fn a_row_shared_out_by_chunks_has_the_bits_of_a_row_in_a_batch() {
    // 1 row is cut by chunks, 40 rows are cut by rows.
    let cols = 40_000;
    let mut rng = Rng::new(2);
    let x = logits(&mut rng, [40, cols]);
    for (name, f) in FORWARD {
        let ctx = context(isas().next().expect("one"), 2);
        let together = forward(f, &ctx, [40, cols], &x);
        for row in 0..6 {
            let range = row * cols..(row + 1) * cols;
            assert_same_bits(name, &forward(f, &ctx, [1, cols], &x[range.clone()]), &together[range]);
        }
    }
}

#[test]
fn forward_is_as_accurate_as_promised() {
    let mut rng = Rng::new(3);
    for ctx in contexts() {
        let shapes = [[60, 3], [60, 10], [60, 64], [24, 777], [6, 20_000], [40, 16_500]];
        for [rows, cols] in
            if quick() { [[20, 3], [20, 10], [20, 64], [6, 777], [1, 20_000], [1, 16_500]] } else { shapes }
        {
            let x = logits(&mut rng, [rows, cols]);
            let y = forward(softmax_forward_f32, &ctx, [rows, cols], &x);
            let log_y = forward(log_softmax_forward_f32, &ctx, [rows, cols], &x);
            for (row, x) in x.chunks(cols).enumerate().filter(|(_, x)| x.iter().any(|v| v.is_finite())) {
                let max = x.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v)) as f64;
                let (truths, moved) = log_softmax_f64(x);
                for (j, truth) in truths.into_iter().enumerate() {
                    let i = row * cols + j;
                    let ulp = ulp_error(y[i], truth.exp());
                    // Where the probability vanishes there is nothing to be relative to.
                    let distance = (max - x[j] as f64).min(110.0);
                    assert!(
                        ulp <= SOFTMAX_ULP + distance,
                        "{ctx:?} row {row} of [{rows}, {cols}]: softmax is off by {ulp} ULP"
                    );
                    let scale = truth.abs().max((x[j] as f64 - max).abs());
                    let off = (log_y[i] as f64 - truth).abs();
                    let fine = log_y[i] as f64 == truth || off <= 3.0 * 2f64.powi(-24) * scale + moved;
                    assert!(fine, "{ctx:?} row {row} of [{rows}, {cols}]: log_softmax is {}, not {truth}", log_y[i]);
                }
            }
        }
    }
}

#[test]
fn masked_rows_give_zeros_and_zero_gradients() {
    let low = f32::NEG_INFINITY;
    for ctx in contexts() {
        for cols in [1, 7, 16, 40, 20_000] {
            let x = vec![low; cols];
            let y = forward(softmax_forward_f32, &ctx, [1, cols], &x);
            assert_same_bits("softmax", &y, &vec![0.0; cols]);
            let log_y = forward(log_softmax_forward_f32, &ctx, [1, cols], &x);
            assert_same_bits("log_softmax", &log_y, &x);
            let dy: Vec<f32> = (0..cols).map(|j| 1.0 + j as f32).collect();
            let zero = |d: Vec<f32>| assert!(d.iter().all(|&v| v == 0.0), "{cols} columns");
            zero(backward(softmax_backward_f32, &ctx, [1, cols], &y, &dy));
            zero(backward(log_softmax_backward_f32, &ctx, [1, cols], &log_y, &dy));
        }
        let y = forward(softmax_forward_f32, &ctx, [1, 4], &[low, 1.0, low, 1.0]);
        assert_eq!(y, [0.0, 0.5, 0.0, 0.5]);
        let y = forward(log_softmax_forward_f32, &ctx, [1, 2], &[low, 1.0]);
        assert_eq!(y, [low, 0.0]);
    }
}

#[test]
fn logits_of_any_size() {
    for ctx in contexts() {
        let y = forward(softmax_forward_f32, &ctx, [1, 3], &[1e4, -1e4, 1e4]);
        assert_eq!(y, [0.5, 0.0, 0.5]);
        assert_eq!(forward(softmax_forward_f32, &ctx, [1, 4], &[-3e38; 4]), [0.25; 4]);
        assert_eq!(forward(softmax_forward_f32, &ctx, [1, 2], &[f32::MAX, f32::MIN]), [1.0, 0.0]);
        assert_eq!(forward(softmax_forward_f32, &ctx, [2, 1], &[1e30, -7.0]), [1.0; 2]);
        assert_eq!(forward(log_softmax_forward_f32, &ctx, [2, 1], &[1e30, -7.0]), [0.0; 2]);
        assert_eq!(forward(log_softmax_forward_f32, &ctx, [1, 2], &[1e4, -1e4])[1], -2e4);
    }
}

#[test]
fn rows_of_one_column_and_of_128k() {
    let mut rng = Rng::new(11);
    for ctx in contexts() {
        for x in [0.0, -1e4, 1e4, -3e38] {
            assert_eq!(forward(softmax_forward_f32, &ctx, [1, 1], &[x]), [1.0]);
            assert_eq!(forward(log_softmax_forward_f32, &ctx, [1, 1], &[x]), [0.0]);
        }
        assert_eq!(backward(softmax_backward_f32, &ctx, [2, 1], &[1.0, 1.0], &[7.0, -1e30]), [0.0, 0.0]);
        assert_eq!(backward(log_softmax_backward_f32, &ctx, [2, 1], &[0.0, 0.0], &[7.0, -1e30]), [0.0, 0.0]);
        if quick() {
            continue;
        }
        let cols = 128 << 10;
        let x = rng.vec(cols, |rng| rng.uniform(-1e4, 1e4));
        let y = forward(softmax_forward_f32, &ctx, [1, cols], &x);
        let (want, _) = log_softmax_f64(&x);
        assert_close("softmax", &y, &want.iter().map(|w| w.exp()).collect::<Vec<_>>(), |j| {
            (4.0 - want[j].max(-200.0)) * 2f64.powi(-24) * want[j].exp() + 2f64.powi(-149)
        });
        assert!((y.iter().map(|&y| y as f64).sum::<f64>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn nan_and_infinity_make_their_row_nan_and_no_other() {
    for ctx in contexts() {
        for cols in [2, 20, 17_000] {
            for at in [0, cols / 2, cols - 1] {
                for bad in [f32::NAN, f32::INFINITY] {
                    for other in [1.0, f32::NEG_INFINITY] {
                        // Enough for sixteen short rows at once.
                        let rows = if cols < 64 { 18 } else { 2 };
                        let mut x = vec![other; rows * cols];
                        x[at] = bad;
                        x[cols..].fill(1.0);
                        for (name, f) in FORWARD {
                            let y = forward(f, &ctx, [rows, cols], &x);
                            // log-softmax of −Inf beside +Inf or NaN is NaN too: there is no distribution.
                            assert!(y[..cols].iter().all(|v| v.is_nan()), "{name} {cols} {at} {bad} {other} {ctx:?}");
                            assert!(y[cols..].iter().all(|v| v.is_finite()), "{name}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_of_a_row_of_nan_are_nan_and_of_no_other() {
    for ctx in contexts() {
        for cols in [1, 2, 8, 16, 20, 64, 100, 17_000] {
            // Sixteen short rows at once, and some more.
            let rows = if cols <= 256 { 35 } else { 3 };
            for bad in [0, 1, rows - 1] {
                for (name, f) in BACKWARD {
                    let x: Vec<f32> = (0..rows * cols).map(|i| (i % 7) as f32 * 0.5).collect();
                    let y_of = if name == "softmax" { softmax_forward_f32 } else { log_softmax_forward_f32 };
                    let mut y = forward(y_of, &ctx, [rows, cols], &x);
                    y[bad * cols..][..cols].fill(f32::NAN);
                    let dx = backward(f, &ctx, [rows, cols], &y, &x);
                    for (row, dx) in dx.chunks_exact(cols).enumerate() {
                        let what = format!("{name} {cols} columns, row {row} of {rows}, {bad} is bad, {ctx:?}");
                        assert!(dx.iter().all(|v| if row == bad { v.is_nan() } else { v.is_finite() }), "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn backward_is_as_accurate_as_promised() {
    let mut rng = Rng::new(4);
    for ctx in contexts() {
        for [rows, cols] in [[60, 1], [60, 5], [60, 64], [24, 333], [6, 20_000]] {
            let x = logits(&mut rng, [rows, cols]);
            let dy = rng.vec(x.len(), Rng::normal);
            let y = forward(softmax_forward_f32, &ctx, [rows, cols], &x);
            let log_y = forward(log_softmax_forward_f32, &ctx, [rows, cols], &x);
            let dx = backward(softmax_backward_f32, &ctx, [rows, cols], &y, &dy);
            let log_dx = backward(log_softmax_backward_f32, &ctx, [rows, cols], &log_y, &dy);
            for row in 0..rows {
                let range = row * cols..(row + 1) * cols;
                let of = |v: &[f32]| v[range.clone()].iter().map(|&v| v as f64).collect::<Vec<f64>>();
                let (y, log_y, dy) = (of(&y), of(&log_y), of(&dy));
                let at = (0..cols).rev().max_by(|&a, &b| y[a].total_cmp(&y[b])).expect("a column");
                let d: Vec<f64> = dy.iter().map(|v| v - dy[at]).collect();
                let sum: f64 = y.iter().zip(&d).map(|(y, d)| y * d).sum();
                let spread = d.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                let want: Vec<f64> = (0..cols).map(|j| y[j] * (d[j] - sum)).collect();
                let tiny = 2f64.powi(-149);
                assert_close("softmax", &dx[range.clone()], &want, |j| 4.0 * 2f64.powi(-23) * y[j] * spread + tiny);
                if log_y.iter().all(|v| *v == f64::NEG_INFINITY) {
                    continue;
                }
                let (sum, size) = (dy.iter().sum::<f64>(), dy.iter().map(|v| v.abs()).sum::<f64>());
                let want: Vec<f64> = (0..cols).map(|j| dy[j] - log_y[j].exp() * sum).collect();
                assert_close("log_softmax", &log_dx[range.clone()], &want, |j| {
                    4.0 * 2f64.powi(-24) * (dy[j].abs() + log_y[j].exp() * size) + tiny
                });
            }
        }
    }
}

#[test]
fn gradients_match_finite_differences() {
    let mut rng = Rng::new(5);
    let ctx = specification();
    let cols = 7;
    let x = rng.vec(cols, Rng::normal);
    let dy = rng.vec(cols, Rng::normal);
    let loss = |x: &[f64], log: bool| -> f64 {
        let sum: f64 = x.iter().map(|v| v.exp()).sum();
        let y = x.iter().map(|v| if log { v - sum.ln() } else { v.exp() / sum });
        y.zip(&dy).map(|(y, &d)| y * d as f64).sum()
    };
    for (log, ((_, f), (name, b))) in FORWARD.into_iter().zip(BACKWARD).enumerate() {
        let dx = backward(b, &ctx, [1, cols], &forward(f, &ctx, [1, cols], &x), &dy);
        let want: Vec<f64> = (0..cols)
            .map(|j| {
                let moved = |h: f64| {
                    let mut x: Vec<f64> = x.iter().map(|&v| v as f64).collect();
                    x[j] += h;
                    loss(&x, log == 1)
                };
                (moved(1e-5) - moved(-1e-5)) / 2e-5
            })
            .collect();
        assert_close(name, &dx, &want, |_| 1e-6);
    }
}

#[test]
fn a_common_offset_of_dy_has_no_effect() {
    let mut rng = Rng::new(6);
    let cols = 1000;
    for ctx in contexts() {
        let x = rng.vec(cols, |rng| 2.0 * rng.normal());
        let y = forward(softmax_forward_f32, &ctx, [1, cols], &x);
        // Multiples of 1/8, so that the offset adds exactly.
        let dy = rng.vec(cols, |rng| (8.0 * rng.normal()).round() / 8.0);
        let dx = backward(softmax_backward_f32, &ctx, [1, cols], &y, &dy);
        for offset in [1e4, 1e6] {
            let shifted: Vec<f32> = dy.iter().map(|v| v + offset).collect();
            assert_same_bits("shifted", &backward(softmax_backward_f32, &ctx, [1, cols], &y, &shifted), &dx);
        }
    }
}

#[test]
fn a_probability_of_one_keeps_its_gradient() {
    for ctx in contexts() {
        for margin in [15.0f32, 20.0, 22.0, 24.0, 30.0, 60.0, 90.0] {
            let mut x = vec![0.0; 1000];
            x[3] = margin;
            let rest = 999.0 * (-margin as f64).exp();
            // At 90 the exponentials are subnormal: each is rounded to a multiple of 2⁻¹⁴⁹.
            let close = |got: f32, want: f64| {
                let allowed = 4.0 * 2f64.powi(-24) * want.abs() + 999.0 * 2f64.powi(-150);
                assert!((got as f64 - want).abs() <= allowed, "margin {margin}: {got:e}, not {want:e} {ctx:?}");
            };
            let log_y = forward(log_softmax_forward_f32, &ctx, [1, 1000], &x);
            close(log_y[3], -rest.ln_1p());
            // Negative log-likelihood of column 3 by hand: dx = p − t.
            let mut dy = vec![0.0; 1000];
            dy[3] = -1.0;
            let dx = backward(log_softmax_backward_f32, &ctx, [1, 1000], &log_y, &dy);
            close(dx[3], -rest / (1.0 + rest));
            // Softmax: y[3] is 1, and its gradient is what the others say.
            let y = forward(softmax_forward_f32, &ctx, [1, 1000], &x);
            let mut dy = vec![1.0; 1000];
            dy[3] = 2.0;
            let dx = backward(softmax_backward_f32, &ctx, [1, 1000], &y, &dy);
            close(dx[3], rest / (1.0 + rest) / (1.0 + rest));
        }
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_touched_beyond_the_ends() {
    let mut rng = Rng::new(7);
    for ctx in contexts() {
        for shape in [[1, 1], [3, 5], [2, 31], [16, 13], [17, 8], [16, 64], [4, 80], [1, 16_389]] {
            let x = logits(&mut rng, shape);
            for ((name, f), (_, b)) in FORWARD.into_iter().zip(BACKWARD) {
                let y = forward(f, &ctx, shape, &x);
                let dx = backward(b, &ctx, shape, &y, &x);
                for place in [Guarded::at_end, Guarded::at_start] {
                    let (gx, mut gy) = (place(&x), place(&vec![f32::NAN; x.len()]));
                    f(&ctx, shape[0], shape[1], &gx, &mut gy).expect("forward");
                    assert_same_bits(name, &gy, &y);
                    let mut gd = place(&vec![f32::NAN; x.len()]);
                    b(&ctx, shape[0], shape[1], &gy, &gx, &mut gd).expect("backward");
                    assert_same_bits(name, &gd, &dx);
                }
            }
        }
    }
}

#[test]
fn wrong_lengths_are_refused_before_anything_is_written() {
    let ctx = specification();
    for (_, f) in FORWARD {
        for (x, y) in [(6, 5), (5, 6), (7, 6), (0, 6)] {
            let mut out = vec![7.0; y];
            let error = f(&ctx, 2, 3, &vec![0.0; x], &mut out).expect_err("a length is wrong");
            assert!(matches!(error, Error::InvalidSize { .. }) && error.to_string().contains("expected 6"), "{error}");
            assert_eq!(out, vec![7.0; y]);
        }
        assert!(matches!(f(&ctx, usize::MAX, 2, &[], &mut []), Err(Error::InvalidSize { .. })));
    }
    for (_, b) in BACKWARD {
        for (y, dy, dx) in [(5, 6, 6), (6, 5, 6), (6, 6, 5)] {
            let mut out = vec![7.0; dx];
            let error = b(&ctx, 2, 3, &vec![0.0; y], &vec![0.0; dy], &mut out).expect_err("a length is wrong");
            assert!(error.to_string().contains("holds 5 elements, expected 6"), "{error}");
            assert_eq!(out, vec![7.0; dx]);
        }
    }
}
