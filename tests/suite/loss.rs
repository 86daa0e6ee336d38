//! Losses against their specification, f64, and the margins where others lose gradients.

use crate::common::*;
use evenkeel::loss::*;
use evenkeel::{Context, Error};

const IGNORE: i64 = -100;

/// Everything that a cross-entropy call writes.
struct Ce {
    losses: Vec<f32>,
    mean: f64,
    d: Vec<f32>,
}

fn ce(ctx: &Context, smoothing: f32, scale: f32, classes: usize, x: &[f32], t: &[i64]) -> Ce {
    let mut out = Ce { losses: vec![f32::NAN; t.len()], mean: f64::NAN, d: vec![f32::NAN; x.len()] };
    let Ce { losses, mean, d } = &mut out;
    cross_entropy_f32(ctx, smoothing, IGNORE, scale, t.len(), classes, x, t, Some(losses), Some(mean), Some(d))
        .expect("cross-entropy");
    out
}

fn problem(rng: &mut Rng, rows: usize, classes: usize) -> (Vec<f32>, Vec<i64>) {
    let x = rng.vec(rows * classes, |rng| 4.0 * rng.normal());
    let mut t = rng.vec(rows, |rng| if rng.below(5) == 0 { IGNORE } else { rng.below(classes) as i64 });
    // Sixteen short rows that all count go another way.
    t.iter_mut().skip(3).take(32).for_each(|t| *t = (*t).max(0));
    (x, t)
}

const SHAPES: [[usize; 2]; 14] = [
    [0, 3],
    [1, 1],
    [500, 2],
    [40, 10],
    [7, 15],
    [33, 16],
    [130, 17],
    [70, 8],
    [60, 64],
    [9, 1000],
    [40, 16_401],
    [3, 16_384],
    [3, 40_001],
    [1, 131_072],
];

#[test]
fn every_instruction_set_and_thread_count_gives_the_specifications_bits() {
    let mut rng = Rng::new(1);
    let contexts: Vec<Context> = exact_contexts().collect();
    for [rows, classes] in SHAPES {
        let rows = if quick() && classes > 10_000 { 1 } else { rows };
        let (x, t) = problem(&mut rng, rows, classes);
        for smoothing in [0.0, 0.1] {
            let want = ce(&specification(), smoothing, 3.0, classes, &x, &t);
            for ctx in &contexts {
                let what = format!("[{rows}, {classes}] ε = {smoothing} {ctx:?}");
                let got = ce(ctx, smoothing, 3.0, classes, &x, &t);
                assert_same_bits(&what, &got.losses, &want.losses);
                assert_same_bits(&what, &got.d, &want.d);
                assert_same_bits(&what, &[got.mean], &[want.mean]);
                // In place, and each output alone.
                let (mut d, mut mean) = (x.clone(), f64::NAN);
                let m = Some(&mut mean);
                cross_entropy_in_place_f32(ctx, smoothing, IGNORE, 3.0, rows, classes, &mut d, &t, None, m)
                    .expect("in place");
                assert_same_bits(&what, &d, &want.d);
                assert_same_bits(&what, &[mean], &[want.mean]);
                let mut losses = vec![f32::NAN; rows];
                let l = Some(&mut losses[..]);
                cross_entropy_f32(ctx, smoothing, IGNORE, 3.0, rows, classes, &x, &t, l, None, None).expect("losses");
                assert_same_bits(&what, &losses, &want.losses);
            }
        }
    }
    for n in [0, 1, 15, 16, 17, 1000, 16_384, 50_001] {
        let x = rng.vec(n, |rng| 20.0 * rng.normal());
        let t = rng.vec(n, |rng| [0.0, 1.0, rng.unit() as f32][rng.below(3)]);
        for f in POINTWISE {
            let want = pointwise(f, &specification(), 2.0, &x, &t);
            for ctx in &contexts {
                let got = pointwise(f, ctx, 2.0, &x, &t);
                assert_same_bits(&format!("{n} {ctx:?}"), &got.1, &want.1);
                assert_same_bits(&format!("{n} {ctx:?}"), &[got.0], &[want.0]);
            }
        }
    }
}

/// Losses, mean and gradient in f64, and the largest |logit − max| of each row.
fn ce_f64(smoothing: f32, scale: f32, classes: usize, x: &[f32], t: &[i64]) -> (Vec<f64>, f64, Vec<f64>, Vec<f64>) {
    let e = smoothing as f64;
    let counted = t.iter().filter(|&&t| t != IGNORE).count() as f64;
    let (mut losses, mut d, mut spans) = (vec![], vec![], vec![]);
    for (x, &t) in x.chunks(classes).zip(t) {
        if t == IGNORE {
            losses.push(0.0);
            d.extend(vec![0.0; classes]);
            spans.push(0.0);
            continue;
        }
        let max = x.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(v as f64));
        let sum: f64 = x.iter().map(|&v| (v as f64 - max).exp()).sum();
        let log_p: Vec<f64> = x.iter().map(|&v| v as f64 - max - sum.ln()).collect();
        let q = |j: usize| e / classes as f64 + if j as i64 == t { 1.0 - e } else { 0.0 };
        losses.push(-(0..classes).map(|j| q(j) * log_p[j]).sum::<f64>());
        d.extend((0..classes).map(|j| scale as f64 / counted * (log_p[j].exp() - q(j))));
        spans.push(x.iter().map(|&v| max - v as f64).fold(0.0, f64::max));
    }
    let mean = if counted == 0.0 { 0.0 } else { losses.iter().sum::<f64>() / counted };
    (losses, mean, d, spans)
}

#[test]
fn cross_entropy_matches_f64() {
    let mut rng = Rng::new(2);
    for ctx in contexts() {
        let shapes: [[usize; 2]; 5] = [[60, 2], [60, 10], [24, 1000], [3, 20_000], [40, 16_500]];
        for [rows, classes] in shapes.into_iter().map(|[r, c]| [if quick() { r.div_ceil(20) } else { r }, c]) {
            let (x, t) = problem(&mut rng, rows, classes);
            for smoothing in [0.0, 0.1, 1.0] {
                let got = ce(&ctx, smoothing, 2.0, classes, &x, &t);
                let (losses, mean, d, spans) = ce_f64(smoothing, 2.0, classes, &x, &t);
                let counted = t.iter().filter(|&&t| t != IGNORE).count().max(1) as f64;
                let eps = 2f64.powi(-24);
                assert_close("losses", &got.losses, &losses, |row| 4.0 * eps * (losses[row].abs() + spans[row]));
                let span = spans.iter().fold(0.0f64, |m, v| m.max(*v));
                assert!((got.mean - mean).abs() <= 4.0 * eps * (mean + span), "mean {} {mean}", got.mean);
                // p has softmax's accuracy; p − q adds its own rounding.
                assert_close("gradient", &got.d, &d, |i| {
                    let q = 2.0 / counted * (smoothing as f64 / classes as f64 + 1.0);
                    let p = d[i].abs() + if t[i / classes] == (i % classes) as i64 { q } else { q - 2.0 / counted };
                    (5.0 + spans[i / classes]) * eps * p + 2f64.powi(-149)
                });
            }
        }
    }
}

#[test]
fn a_probability_of_one_keeps_loss_and_gradient() {
    for ctx in contexts() {
        for margin in [15.0f32, 20.0, 22.0, 24.0, 30.0, 60.0, 90.0] {
            for target in [0usize, 17, 999] {
                let mut x = vec![0.0; 1000];
                x[target] = margin;
                let got = ce(&ctx, 0.0, 1.0, 1000, &x, &[target as i64]);
                let rest = 999.0 * (-margin as f64).exp();
                // At 90 the exponentials are subnormal: each is rounded to a multiple of 2⁻¹⁴⁹.
                let close = |what: &str, got: f64, want: f64| {
                    let allowed = 4.0 * 2f64.powi(-24) * want.abs() + 999.0 * 2f64.powi(-150);
                    assert!((got - want).abs() <= allowed, "{what} at margin {margin}: {got:e}, not {want:e} {ctx:?}");
                };
                close("loss", got.losses[0] as f64, rest.ln_1p());
                close("mean", got.mean, rest.ln_1p());
                close("target gradient", got.d[target] as f64, -rest / (1.0 + rest));
                let sum: f64 = got.d.iter().map(|&v| v as f64).sum();
                // Each of the others has one rounding of its own.
                let allowed = 4.0 * 2f64.powi(-24) * rest + 2.0 * 999.0 * 2f64.powi(-150);
                assert!(sum.abs() <= allowed, "the row's gradient sums to {sum:e} at margin {margin} {ctx:?}");
            }
        }
    }
}

#[test]
fn a_common_offset_of_the_logits_costs_nothing() {
    for ctx in contexts() {
        // Logits that survive the offset exactly.
        for offset in [1e6f32, -1e6] {
            let x = [1.0f32, 2.0, 0.5, -1.0];
            let plain = ce(&ctx, 0.0, 1.0, 4, &x, &[1]);
            let moved = ce(&ctx, 0.0, 1.0, 4, &x.map(|v| v + offset), &[1]);
            assert_same_bits("loss", &moved.losses, &plain.losses);
            assert_same_bits("gradient", &moved.d, &plain.d);
        }
        // 1000 equal logits, however large: ln 1000.
        for level in [1e30f32, -3e38, 3e38] {
            let got = ce(&ctx, 0.0, 1.0, 1000, &vec![level; 1000], &[400]);
            assert!((got.mean - 1000f64.ln()).abs() < 1e-6, "{}", got.mean);
            assert!((got.d[400] as f64 + 0.999).abs() < 1e-7 && (got.d[0] as f64 - 0.001).abs() < 1e-10);
        }
        // The wrong class by 1e4.
        let got = ce(&ctx, 0.0, 1.0, 2, &[1e4, -1e4], &[1]);
        assert_eq!((got.losses[0], &got.d[..]), (2e4, &[1.0, -1.0][..]));
    }
}

#[test]
fn masked_classes_and_rows() {
    let low = f32::NEG_INFINITY;
    for ctx in contexts() {
        for pad in [0, 30, 20_000] {
            let row = |x: &[f32]| x.iter().copied().chain(std::iter::repeat_n(low, pad)).collect::<Vec<f32>>();
            let classes = 3 + pad;
            let got = ce(&ctx, 0.0, 1.0, classes, &row(&[0.0, low, 0.0]), &[0]);
            assert_eq!((got.losses[0], &got.d[..3]), (2f32.ln(), &[-0.5, 0.0, 0.5][..]));
            let got = ce(&ctx, 0.0, 1.0, classes, &row(&[0.0, low, 0.0]), &[1]);
            assert_eq!((got.losses[0], &got.d[..3]), (f32::INFINITY, &[0.5, -1.0, 0.5][..]));
            for smoothing in [0.0, 0.1] {
                let got = ce(&ctx, smoothing, 1.0, classes, &row(&[low; 3]), &[2]);
                assert_eq!(got.losses[0], f32::INFINITY);
                assert!(got.d.iter().all(|&v| v == 0.0));
                for bad in [f32::NAN, f32::INFINITY] {
                    let got = ce(&ctx, smoothing, 1.0, classes, &row(&[0.0, bad, low]), &[0]);
                    assert!(got.losses[0].is_nan() && got.d.iter().all(|v| v.is_nan()), "{bad} {classes} {ctx:?}");
                }
            }
        }
    }
}

#[test]
fn ignored_rows_contribute_nothing() {
    let mut rng = Rng::new(3);
    for ctx in contexts() {
        for classes in [5, 20_000] {
            let (mut x, _) = problem(&mut rng, 4, classes);
            x[classes..2 * classes].fill(f32::NAN);
            let got = ce(&ctx, 0.1, 1.0, classes, &x, &[2, IGNORE, 4, IGNORE]);
            let kept = [&x[..classes], &x[2 * classes..3 * classes]].concat();
            let want = ce(&ctx, 0.1, 1.0, classes, &kept, &[2, 4]);
            assert_same_bits("losses", &got.losses, &[want.losses[0], 0.0, want.losses[1], 0.0]);
            assert!((got.mean - want.mean).abs() <= 1e-15 * want.mean);
            for (row, d) in got.d.chunks(classes).enumerate() {
                let zeros = vec![0.0; classes];
                let kept = [&want.d[..classes], &zeros, &want.d[classes..], &zeros][row];
                assert_same_bits("gradient", d, kept);
            }
            let none = ce(&ctx, 0.0, 1.0, classes, &x, &[IGNORE; 4]);
            assert!(none.mean == 0.0 && none.losses == [0.0; 4] && none.d.iter().all(|&v| v == 0.0));
        }
    }
}

type Pointwise = fn(&Context, f32, &[f32], &[f32], Option<&mut f64>, Option<&mut [f32]>) -> evenkeel::Result;

const POINTWISE: [Pointwise; 2] = [mse_f32, bce_with_logits_f32];

fn pointwise(f: Pointwise, ctx: &Context, scale: f32, x: &[f32], t: &[f32]) -> (f64, Vec<f32>) {
    let (mut mean, mut d) = (f64::NAN, vec![f32::NAN; x.len()]);
    f(ctx, scale, x, t, Some(&mut mean), Some(&mut d)).expect("loss");
    // Each output alone has the same bits.
    let (mut mean2, mut d2) = (f64::NAN, vec![f32::NAN; x.len()]);
    f(ctx, scale, x, t, Some(&mut mean2), None).expect("mean");
    f(ctx, scale, x, t, None, Some(&mut d2)).expect("gradient");
    assert_same_bits("gradient alone", &d2, &d);
    assert_same_bits("mean alone", &[mean2], &[mean]);
    (mean, d)
}

#[test]
fn mse_matches_f64() {
    let mut rng = Rng::new(4);
    for ctx in contexts() {
        for n in [1, 7, 16, 33, 1000, 40_003] {
            for size in [1.0f32, 1e-30, 1e30] {
                let x = rng.vec(n, |rng| size * rng.normal());
                let t = rng.vec(n, |rng| size * rng.normal());
                let (mean, d) = pointwise(mse_f32, &ctx, 8.0, &x, &t);
                let diff: Vec<f64> = x.iter().zip(&t).map(|(&x, &t)| x as f64 - t as f64).collect();
                let want = diff.iter().map(|d| d * d).sum::<f64>() / n as f64;
                assert!((mean / want - 1.0).abs() < 1e-12, "{mean} {want}");
                let want: Vec<f64> = diff.iter().map(|d| 16.0 * d / n as f64).collect();
                for (got, want) in d.iter().zip(want) {
                    assert!(ulp_error(*got, want) <= 0.51, "{got:e} {want:e}");
                }
            }
        }
        assert_eq!(pointwise(mse_f32, &ctx, 1.0, &[], &[]).0, 0.0);
        let (mean, d) = pointwise(mse_f32, &ctx, 1e-3, &[f32::MAX], &[f32::MIN]);
        let reach = 2.0 * f32::MAX as f64;
        assert!((mean / (reach * reach) - 1.0).abs() < 1e-12 && ulp_error(d[0], 1e-3f32 as f64 * 2.0 * reach) <= 0.51);
    }
}

#[test]
fn bce_matches_f64_and_keeps_its_gradient() {
    let mut rng = Rng::new(5);
    for ctx in contexts() {
        let n = 3001;
        let x = rng.vec(n, |rng| rng.uniform(-40.0, 40.0));
        let t = rng.vec(n, |rng| [0.0, 1.0, rng.unit() as f32][rng.below(3)]);
        let (mean, d) = pointwise(bce_with_logits_f32, &ctx, n as f32, &x, &t);
        let mut sum = 0.0;
        for ((&x, &t), d) in x.iter().zip(&t).zip(d) {
            let (x, t) = (x as f64, t as f64);
            let e = (-x.abs()).exp();
            let w = if x >= 0.0 { 1.0 - t } else { t };
            sum += x.abs() * w + e.ln_1p();
            let q = e / (1.0 + e);
            let want = (w - q) * x.signum();
            let off = (d as f64 - want).abs();
            assert!(off <= 4.0 * 2f64.powi(-24) * (w + q), "x = {x}, t = {t}: {d:e}, not {want:e}");
        }
        assert!((mean * n as f64 / sum - 1.0).abs() < 1e-7, "{mean}");
        for x in [8.0f32, 15.0, 16.0, 17.0, 20.0, 50.0, 88.0] {
            let q = 1.0 / (1.0 + (x as f64).exp());
            for (x, t, want) in [(x, 1.0, -q), (-x, 0.0, q)] {
                let (mean, d) = pointwise(bce_with_logits_f32, &ctx, 1.0, &[x], &[t]);
                let off = (d[0] as f64 / want - 1.0).abs();
                assert!(off < 1e-6, "x = {x}, t = {t}: {:e}, not {want:e}", d[0]);
                let want = (-x.abs() as f64).exp().ln_1p();
                assert!((mean / want - 1.0).abs() < 1e-6, "x = {x}, t = {t}: loss {mean:e}, not {want:e}");
            }
        }
        let inf = f32::INFINITY;
        let (mean, d) = pointwise(bce_with_logits_f32, &ctx, 2.0, &[inf, -inf], &[1.0, 0.0]);
        assert!(mean == 0.0 && d.iter().all(|&v| v == 0.0), "{mean} {d:?}");
        let (mean, d) = pointwise(bce_with_logits_f32, &ctx, 2.0, &[inf, -inf], &[0.0, 1.0]);
        assert_eq!((mean, &d[..]), (f64::INFINITY, &[1.0, -1.0][..]));
        let (mean, d) = pointwise(bce_with_logits_f32, &ctx, 1.0, &[f32::NAN], &[1.0]);
        assert!(mean.is_nan() && d[0].is_nan());
    }
}

#[test]
fn gradients_match_finite_differences() {
    let mut rng = Rng::new(6);
    let ctx = specification();
    let (x, t) = problem(&mut rng, 3, 5);
    let t = t.iter().map(|t| (*t).max(0)).collect::<Vec<i64>>();
    let got = ce(&ctx, 0.2, 1.0, 5, &x, &t);
    // The f64 loss of logits that are f64: the spread of h is far below f32.
    let loss = |x: &[f64]| -> f64 {
        x.chunks(5)
            .zip(&t)
            .map(|(x, &t)| {
                let log_sum = x.iter().map(|v| v.exp()).sum::<f64>().ln();
                let e = 0.2f32 as f64;
                (0..5).map(|j| -(e / 5.0 + if j as i64 == t { 1.0 - e } else { 0.0 }) * (x[j] - log_sum)).sum::<f64>()
            })
            .sum::<f64>()
            / 3.0
    };
    let want: Vec<f64> = (0..x.len())
        .map(|j| {
            let moved = |h: f64| {
                let mut x: Vec<f64> = x.iter().map(|&v| v as f64).collect();
                x[j] += h;
                loss(&x)
            };
            (moved(1e-5) - moved(-1e-5)) / 2e-5
        })
        .collect();
    assert_close("cross-entropy", &got.d, &want, |_| 1e-6);
}

#[cfg(unix)]
#[test]
fn nothing_is_touched_beyond_the_ends() {
    let mut rng = Rng::new(7);
    for ctx in contexts() {
        for [rows, classes] in [[1, 1], [3, 5], [2, 31], [16, 13], [40, 8], [4, 80], [2, 16_389]] {
            let (x, t) = problem(&mut rng, rows, classes);
            for smoothing in [0.0, 0.3] {
                let want = ce(&ctx, smoothing, 1.0, classes, &x, &t);
                let (gx, gt) = (Guarded::at_end(&x), Guarded::at_end(&t));
                let got = ce(&ctx, smoothing, 1.0, classes, &gx, &gt);
                assert_same_bits("inputs", &got.d, &want.d);
                let (mut losses, mut d) = (Guarded::at_end(&want.losses), Guarded::at_end(&x));
                let l = Some(&mut losses[..]);
                cross_entropy_in_place_f32(&ctx, smoothing, IGNORE, 1.0, rows, classes, &mut d, &gt, l, None)
                    .expect("in place");
                assert_same_bits("in place", &d, &want.d);
            }
        }
        for n in [1, 5, 16, 31, 100] {
            let (x, t) = (rng.vec(n, Rng::normal), vec![0.5; n]);
            for f in POINTWISE {
                let want = pointwise(f, &ctx, 1.0, &x, &t);
                let got = pointwise(f, &ctx, 1.0, &Guarded::at_end(&x), &Guarded::at_end(&t));
                assert_same_bits("pointwise", &got.1, &want.1);
                let mut d = Guarded::at_end(&x);
                f(&ctx, 1.0, &x, &t, None, Some(&mut d)).expect("loss");
                assert_same_bits("pointwise", &d, &want.1);
            }
        }
    }
}

#[test]
fn bad_arguments_are_refused_before_anything_is_written() {
    let ctx = specification();
    let refuse = |want: &str, smoothing: f32, scale: f32, x: usize, t: &[i64], losses: usize, d: usize| {
        let (mut l, mut dl, mut mean) = (vec![7.0; losses], vec![7.0; d], 7.0);
        let (x, m) = (vec![0.0; x], Some(&mut mean));
        let error = cross_entropy_f32(&ctx, smoothing, IGNORE, scale, 2, 3, &x, t, Some(&mut l), m, Some(&mut dl))
            .expect_err(want);
        assert!(error.to_string().contains(want), "{error}");
        assert!(matches!(error, Error::InvalidArgument { .. } | Error::InvalidSize { .. }));
        assert!(mean == 7.0 && l.iter().chain(&dl).all(|&v| v == 7.0));
    };
    refuse("targets[1] is 3", 0.0, 1.0, 6, &[0, 3], 2, 6);
    refuse("targets[0] is -1", 0.0, 1.0, 6, &[-1, 0], 2, 6);
    refuse("targets[1] is 9223372036854775807", 0.0, 1.0, 6, &[0, i64::MAX], 2, 6);
    refuse("targets holds 1 elements, expected 2", 0.0, 1.0, 6, &[0], 2, 6);
    refuse("logits holds 5 elements, expected 6", 0.0, 1.0, 5, &[0, 1], 2, 6);
    refuse("losses holds 3 elements, expected 2", 0.0, 1.0, 6, &[0, 1], 3, 6);
    refuse("dlogits holds 7 elements, expected 6", 0.0, 1.0, 6, &[0, 1], 2, 7);
    refuse("label_smoothing is -0.1", -0.1, 1.0, 6, &[0, 1], 2, 6);
    refuse("label_smoothing is 1.5", 1.5, 1.0, 6, &[0, 1], 2, 6);
    refuse("label_smoothing is NaN", f32::NAN, 1.0, 6, &[0, 1], 2, 6);
    refuse("grad_scale is inf", 0.0, f32::INFINITY, 6, &[0, 1], 2, 6);
    let mut x = [7.0; 6];
    let error = cross_entropy_in_place_f32(&ctx, 0.0, IGNORE, 1.0, 2, 3, &mut x, &[0, 5], None, None);
    assert!(error.is_err() && x == [7.0; 6]);

    for f in POINTWISE {
        let (mut mean, mut d) = (7.0, [7.0; 4]);
        for (scale, t, len) in [(f32::NAN, 4, 4), (1.0, 3, 4), (1.0, 4, 3)] {
            let error = f(&ctx, scale, &[0.0; 4], &vec![0.0; t], Some(&mut mean), Some(&mut d[..len]));
            assert!(matches!(error, Err(Error::InvalidArgument { .. } | Error::InvalidSize { .. })));
        }
        assert!(mean == 7.0 && d == [7.0; 4]);
    }
}
