//! Norms against f64: ordinary rows, and the rows where others lose gradients; bad arguments; ends of buffers.

use crate::common::*;
use evenkeel::element::{Storage, bf16, f16};
use evenkeel::norm::*;
use evenkeel::{Context, Error};

const EPS: f32 = 1e-5;

/// Everything a norm gives, in f64.
#[derive(Default)]
struct Truth {
    y: Vec<f64>,
    mean: Vec<f64>,
    rstd: Vec<f64>,
    dx: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
}

/// Layer norm of [rows, cols], or RMS norm.
fn truth(center: bool, eps: f32, cols: usize, [x, dy, gamma, beta]: [&[f32]; 4]) -> Truth {
    let mut t = Truth { dgamma: vec![0.0; cols], dbeta: vec![0.0; cols], ..Default::default() };
    let n = cols as f64;
    for (x, dy) in x.chunks(cols).zip(dy.chunks(cols)) {
        // The shift is exact, so an offset costs f64 nothing either.
        let shift = if center { x[0] as f64 } else { 0.0 };
        let moved = if center { x.iter().map(|v| *v as f64 - shift).sum::<f64>() / n } else { 0.0 };
        let d: Vec<f64> = x.iter().map(|v| *v as f64 - shift - moved).collect();
        let rstd = 1.0 / (d.iter().map(|d| d * d).sum::<f64>() / n + eps as f64).sqrt();
        let xhat: Vec<f64> = d.iter().map(|d| d * rstd).collect();
        let g: Vec<f64> = dy.iter().zip(gamma).map(|(dy, g)| *dy as f64 * *g as f64).collect();
        let a = if center { g.iter().sum::<f64>() / n } else { 0.0 };
        let b = g.iter().zip(&xhat).map(|(g, x)| g * x).sum::<f64>() / n;
        for j in 0..cols {
            let beta = if center { beta[j] as f64 } else { 0.0 };
            t.y.push(xhat[j] * gamma[j] as f64 + beta);
            t.dx.push(rstd * (g[j] - a - xhat[j] * b));
            t.dgamma[j] += dy[j] as f64 * xhat[j];
            t.dbeta[j] += dy[j] as f64;
        }
        t.mean.push(shift + moved);
        t.rstd.push(rstd);
    }
    t
}

/// The same, of a kernel.
#[derive(Default)]
struct Got {
    y: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
    dx: Vec<f32>,
    dgamma: Vec<f32>,
    dbeta: Vec<f32>,
}

fn layer(ctx: &Context, eps: f32, cols: usize, [x, dy, gamma, beta]: [&[f32]; 4]) -> Got {
    let rows = x.len() / cols;
    let nan = |n: usize| vec![f32::NAN; n];
    let mut g = Got {
        y: nan(x.len()),
        mean: nan(rows),
        rstd: nan(rows),
        dx: nan(x.len()),
        dgamma: nan(cols),
        dbeta: nan(cols),
    };
    let Got { y, mean, rstd, dx, dgamma, dbeta } = &mut g;
    let (ga, be) = (Some(gamma), Some(beta));
    layer_norm_forward_f32(ctx, eps, rows, cols, x, ga, be, y, Some(mean), Some(rstd)).expect("forward");
    let (dx, dg, db) = (Some(&mut dx[..]), Some(&mut dgamma[..]), Some(&mut dbeta[..]));
    layer_norm_backward_f32(ctx, rows, cols, dy, x, mean, rstd, ga, false, dx, dg, db).expect("backward");
    g
}

fn rms(ctx: &Context, eps: f32, cols: usize, [x, dy, gamma, _]: [&[f32]; 4]) -> Got {
    let rows = x.len() / cols;
    let nan = |n: usize| vec![f32::NAN; n];
    let mut g = Got { y: nan(x.len()), rstd: nan(rows), dx: nan(x.len()), dgamma: nan(cols), ..Default::default() };
    let Got { y, rstd, dx, dgamma, .. } = &mut g;
    rms_norm_forward_f32(ctx, eps, rows, cols, x, Some(gamma), y, Some(rstd)).expect("forward");
    let (dx, dg) = (Some(&mut dx[..]), Some(&mut dgamma[..]));
    rms_norm_backward_f32(ctx, rows, cols, dy, x, rstd, Some(gamma), false, dx, dg).expect("backward");
    g
}

/// Batch norm of the transpose, whose channels are the rows: `spatial` 1, or all of a row in one sample.
fn batch(ctx: &Context, eps: f32, cols: usize, long: bool, [x, dy]: [&[f32]; 2]) -> Got {
    let rows = x.len() / cols;
    let turn = |v: &[f32]| -> Vec<f32> {
        if long { v.to_vec() } else { (0..v.len()).map(|i| v[i % rows * cols + i / rows]).collect() }
    };
    let back = |v: Vec<f32>| -> Vec<f32> {
        if long { v } else { (0..v.len()).map(|i| v[i % cols * rows + i / cols]).collect() }
    };
    let (batch, spatial) = if long { (1, cols) } else { (cols, 1) };
    let (x, dy) = (turn(x), turn(dy));
    let nan = |n: usize| vec![f32::NAN; n];
    let (mut y, mut mean, mut rstd, mut dx) = (nan(x.len()), nan(rows), nan(rows), nan(x.len()));
    batch_norm_forward_train_f32(
        ctx, eps, 0.1, batch, rows, spatial, &x, None, None, None, None, &mut y, &mut mean, &mut rstd,
    )
    .expect("forward");
    batch_norm_backward_f32(ctx, batch, rows, spatial, &dy, &x, &mean, &rstd, None, false, Some(&mut dx), None, None)
        .expect("backward");
    Got { y: back(y), mean, rstd, dx: back(dx), ..Default::default() }
}

/// The largest error relative to the largest true entry.
fn error(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let off = got
        .iter()
        .zip(want)
        .fold(0.0f64, |m, (g, w)| if g.is_nan() { f64::INFINITY } else { m.max((*g as f64 - w).abs()) });
    if off == 0.0 { 0.0 } else { off / size }
}

#[track_caller]
fn within(what: &str, got: &[f32], want: &[f64], limit: f64) {
    let e = error(got, want);
    assert!(e <= limit, "{what}: error {e:.2e} of the largest entry, at most {limit:.1e}");
}

/// 64 rows of 768 as the field's measurements have them: x = offset + spread·N(0, 1).
fn measured(offset: f32, spread: f32, seed: u64) -> [Vec<f32>; 4] {
    let mut rng = Rng::new(seed);
    let n = 64 * 768;
    let x = rng.vec(n, |rng| offset + spread * rng.normal());
    [x, rng.vec(n, Rng::normal), rng.vec(768, |rng| 1.0 + 0.1 * rng.normal()), rng.vec(768, |rng| 0.1 * rng.normal())]
}

fn views(v: &[Vec<f32>; 4]) -> [&[f32]; 4] {
    v.each_ref().map(|v| &v[..])
}

/// NUMERICS: what a careful kernel reaches, where frameworks are off by 1e-5 to 1e5.
#[test]
fn offsets_and_scales_cost_no_accuracy() {
    let cases: [(f32, f32, f64); 13] = [
        (0.0, 1.0, 3e-7),
        (1e2, 1.0, 3e-7),
        (1e3, 1.0, 3e-7),
        (1e4, 1.0, 3e-7),
        (1e6, 1.0, 4e-7),
        (1000.0, 1e-3, 3e-7),
        (0.0, 1e18, 3e-7),
        (0.0, 1e19, 3e-7),
        (0.0, 1e20, 3e-7),
        (0.0, 1e30, 3e-7),
        (0.0, 4e37, 3e-7),
        (0.0, 1e-18, 3e-7),
        (0.0, 1e-40, 3e-7),
    ];
    for ctx in contexts() {
        for (k, (offset, spread, limit)) in cases.into_iter().enumerate() {
            if quick() && ![1, 4, 7, 10, 12].contains(&k) {
                continue;
            }
            let data = measured(offset, spread, k as u64);
            let v = views(&data);
            let what = |name: &str| format!("{name} of {offset:e} ± {spread:e}, {ctx:?}");
            let (t, g) = (truth(true, EPS, 768, v), layer(&ctx, EPS, 768, v));
            within(&what("layer y"), &g.y, &t.y, limit);
            within(&what("layer dx"), &g.dx, &t.dx, limit);
            within(&what("layer dgamma"), &g.dgamma, &t.dgamma, limit);
            within(&what("layer dbeta"), &g.dbeta, &t.dbeta, limit);
            let (ones, zeros) = (vec![1.0; 768], vec![0.0; 768]);
            let plain = truth(true, EPS, 768, [v[0], v[1], &ones, &zeros]);
            for long in [false, true] {
                let g = batch(&ctx, EPS, 768, long, [v[0], v[1]]);
                within(&what("batch y"), &g.y, &plain.y, limit);
                within(&what("batch dx"), &g.dx, &plain.dx, limit);
                // A mean near zero is the rest of values of both signs: its error is in units of theirs.
                assert_close(&what("batch mean"), &g.mean, &plain.mean, |c| {
                    1.2e-7 * plain.mean[c].abs().max(spread as f64) + 2f64.powi(-150)
                });
                within(&what("batch rstd"), &g.rstd, &plain.rstd, 2e-7);
            }
            let (t, g) = (truth(false, EPS, 768, v), rms(&ctx, EPS, 768, v));
            within(&what("rms y"), &g.y, &t.y, limit);
            within(&what("rms dx"), &g.dx, &t.dx, 1e-6);
            within(&what("rms dgamma"), &g.dgamma, &t.dgamma, limit);
        }
    }
}

#[test]
fn statistics_are_within_two_units_in_the_last_place() {
    let mut rng = Rng::new(3);
    for ctx in contexts() {
        for cols in [1, 2, 7, 16, 100, 768, 4099, 100_000].into_iter().take(if quick() { 7 } else { 8 }) {
            for (offset, spread) in [(0.3, 1.0), (-7.0, 2.0), (1e4, 1.0), (1e-3, 1e-6)] {
                let x = rng.vec(2 * cols, |rng| offset + spread * rng.normal());
                let [dy, ones, zeros] = [vec![1.0; 2 * cols], vec![1.0; cols], vec![0.0; cols]];
                let v = [&x[..], &dy, &ones, &zeros];
                for eps in [EPS, 1e-20] {
                    let (t, g) = (truth(true, eps, cols, v), layer(&ctx, eps, cols, v));
                    for r in 0..2 {
                        // The mean of values of both signs is small beside them.
                        let size = t.mean[r].abs().max(spread as f64 / (cols as f64).sqrt());
                        let off = (g.mean[r] as f64 - t.mean[r]).abs() / size;
                        assert!(off <= 2.0 * 2f64.powi(-23), "mean of {cols}, {offset} ± {spread}: {off:e}");
                        let ulp = ulp_error(g.rstd[r], t.rstd[r]);
                        let fine = ulp <= 2.0 || cols <= 2 && spread < 1e-3;
                        assert!(fine, "rstd of {cols}, {offset} ± {spread}, eps {eps}: {ulp} ULP");
                    }
                }
            }
        }
    }
}

#[test]
fn constant_rows_and_single_columns() {
    for ctx in contexts() {
        for cols in [1, 2, 3, 15, 16, 17, 768, 1000] {
            let x = vec![10000.1; 3 * cols];
            let mut rng = Rng::new(4);
            let (dy, gamma, beta) =
                (rng.vec(3 * cols, Rng::normal), rng.vec(cols, Rng::normal), rng.vec(cols, Rng::normal));
            for eps in [EPS, 0.0] {
                let g = layer(&ctx, eps, cols, [&x, &dy, &gamma, &beta]);
                assert_same_bits("y is beta", &g.y, &beta.repeat(3));
                assert_eq!(g.mean, vec![10000.1; 3]);
                assert!(g.dgamma.iter().all(|&v| v == 0.0), "dgamma of {cols}");
                if eps == 0.0 {
                    assert_eq!(g.rstd, vec![f32::INFINITY; 3]);
                    assert!(g.dx.iter().all(|&v| v == 0.0));
                } else {
                    let t = truth(true, eps, cols, [&x, &dy, &gamma, &beta]);
                    within("dx", &g.dx, &t.dx, 3e-7);
                }
                if cols == 1 {
                    assert!(g.dx.iter().all(|&v| v == 0.0));
                }
            }
        }
        let x = rng_row();
        let g = layer(&ctx, EPS, 1, [&x, &x, &[2.0], &[0.5]]);
        assert!(g.y.iter().all(|&v| v == 0.5) && g.dx.iter().chain(&g.dgamma).all(|&v| v == 0.0));
        let g = rms(&ctx, 0.0, 4, [&[0.0; 4], &[1.0; 4], &[1.0; 4], &[]]);
        assert!(g.y.iter().chain(&g.dx).chain(&g.dgamma).all(|&v| v == 0.0) && g.rstd == [f32::INFINITY]);
    }
}

fn rng_row() -> Vec<f32> {
    Rng::new(5).vec(9, |rng| rng.binades(-20, 20))
}

/// Without ε, rows at both ends of the range still have their shape.
#[test]
fn rows_at_the_ends_of_the_range() {
    let mut rng = Rng::new(6);
    for ctx in contexts() {
        for scale in [1e-44, 1e-40, 1e-37, 1e-30, 1e-20, 1e20, 1e30, 3e37] {
            let x = rng.vec(3 * 100, |rng| scale * rng.normal());
            let (dy, gamma, beta) = (rng.vec(300, Rng::normal), rng.vec(100, Rng::normal), rng.vec(100, Rng::normal));
            let v = [&x[..], &dy, &gamma, &beta];
            let (t, g) = (truth(true, 0.0, 100, v), layer(&ctx, 0.0, 100, v));
            within(&format!("y at {scale:e}"), &g.y, &t.y, 5e-7);
            within(&format!("dgamma at {scale:e}"), &g.dgamma, &t.dgamma, 1e-6);
            if t.dx.iter().all(|v| v.abs() < f32::MAX as f64) {
                within(&format!("dx at {scale:e}"), &g.dx, &t.dx, 1e-6);
            }
            let (t, g) = (truth(false, 0.0, 100, v), rms(&ctx, 0.0, 100, v));
            within(&format!("rms y at {scale:e}"), &g.y, &t.y, 5e-7);
            within(&format!("rms dgamma at {scale:e}"), &g.dgamma, &t.dgamma, 1e-6);
        }
        let x = [f32::MAX, -f32::MAX, f32::MAX, -f32::MAX];
        let g = layer(&ctx, EPS, 4, [&x, &[1.0, 2.0, 3.0, 4.0], &[1.0; 4], &[0.0; 4]]);
        assert_eq!(g.y, [1.0, -1.0, 1.0, -1.0]);
    }
}

#[test]
fn gradients_match_finite_differences() {
    let mut rng = Rng::new(7);
    let ctx = specification();
    let cols = 6;
    let [x, dy, gamma, beta]: [Vec<f32>; 4] = rng.array(|rng| rng.vec(cols, Rng::normal));
    for center in [true, false] {
        let v = [&x[..], &dy, &gamma, &beta];
        let g = if center { layer(&ctx, EPS, cols, v) } else { rms(&ctx, EPS, cols, v) };
        let loss = |x: &[f64]| -> f64 {
            let m = if center { x.iter().sum::<f64>() / cols as f64 } else { 0.0 };
            let var = x.iter().map(|v| (v - m) * (v - m)).sum::<f64>() / cols as f64;
            (0..cols).map(|j| (x[j] - m) / (var + EPS as f64).sqrt() * gamma[j] as f64 * dy[j] as f64).sum()
        };
        let wide: Vec<f64> = x.iter().map(|&v| v as f64).collect();
        for j in 0..cols {
            let moved = |h: f64| {
                let mut x = wide.clone();
                x[j] += h;
                loss(&x)
            };
            let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((g.dx[j] as f64 - want).abs() < 2e-6, "dx[{j}] is {}, not {want}", g.dx[j]);
        }
    }
}

/// NUMERICS: a million rows of one sign, where f32 sums drift by 4e-5 and bf16 sums stop at 64.
#[test]
fn a_million_rows_do_not_drift() {
    let rows = if quick() { 60_000 } else { 1_000_000 };
    let cols = 2;
    let mut rng = Rng::new(8);
    let x = rng.vec(rows * cols, Rng::normal);
    let dy = rng.vec(rows * cols, |rng| 0.1 + 1e-3 * rng.normal());
    let sum = |j: usize| (0..rows).map(|r| dy[r * cols + j] as f64).sum::<f64>();
    let mut first: Option<[Vec<f32>; 2]> = None;
    for threads in [1, 2, 3] {
        let ctx = context(isas().next().expect("one"), threads);
        let g = layer(&ctx, EPS, cols, [&x, &dy, &[1.0; 2], &[0.0; 2]]);
        within("dbeta", &g.dbeta, &[sum(0), sum(1)], 1e-7);
        let got = [g.dbeta, g.dgamma];
        let first = first.get_or_insert(got.clone());
        assert_same_bits("dbeta", &got[0], &first[0]);
        assert_same_bits("dgamma", &got[1], &first[1]);
        let (mean, rstd) = (vec![0.0; cols], vec![1.0; cols]);
        let mut dbeta = [f32::NAN; 2];
        batch_norm_backward_f32(&ctx, rows, cols, 1, &dy, &x, &mean, &rstd, None, false, None, None, Some(&mut dbeta))
            .expect("backward");
        within("batch dbeta", &dbeta, &[sum(0), sum(1)], 1e-7);
    }
    let ctx = context(isas().next().expect("one"), 2);
    let mut coherent = |rows: usize| {
        let x = rng.vec(rows * cols, |rng| bf16::from_f32(rng.normal()));
        let dy = vec![bf16::from_f32(0.1); rows * cols];
        let (mean, rstd) = (vec![0.0; rows], vec![1.0; rows]);
        let mut dbeta = [f32::NAN; 2];
        let db = Some(&mut dbeta[..]);
        layer_norm_backward_bf16(&ctx, rows, cols, &dy, &x, &mean, &rstd, None, false, None, None, db)
            .expect("backward");
        let want = rows as f64 * dy[0].to_f32() as f64;
        within(&format!("bf16 dbeta of {rows}"), &dbeta, &[want; 2], 1e-7);
    };
    [2048, 8192, rows].into_iter().for_each(&mut coherent);
}

#[test]
fn nan_and_infinity_stay_in_their_row() {
    let mut rng = Rng::new(9);
    for ctx in contexts() {
        for cols in [3, 16, 50, 700] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = rng.vec(3 * cols, Rng::normal);
                x[cols + rng.below(cols)] = bad;
                let (dy, ones, zeros) = (rng.vec(3 * cols, Rng::normal), vec![1.0; cols], vec![0.0; cols]);
                for g in
                    [layer(&ctx, EPS, cols, [&x, &dy, &ones, &zeros]), rms(&ctx, EPS, cols, [&x, &dy, &ones, &zeros])]
                {
                    let finite = |v: &[f32]| v.iter().all(|v| v.is_finite());
                    for v in [&g.y, &g.dx] {
                        assert!(finite(&v[..cols]) && finite(&v[2 * cols..]), "{cols} {bad} {ctx:?}");
                        assert!(v[cols..2 * cols].iter().any(|v| v.is_nan()), "{cols} {bad} {ctx:?}");
                    }
                }
                let g = layer(&ctx, EPS, cols, [&x, &dy, &ones, &zeros]);
                assert!(g.y[cols..2 * cols].iter().all(|v| v.is_nan()));
            }
        }
    }
}

/// bf16 and f16 are f32 between an exact load and one rounding.
#[test]
fn half_wide_storage_is_f32_rounded_once() {
    let mut rng = Rng::new(10);
    for ctx in contexts() {
        for [rows, cols] in [[1, 1], [3, 7], [5, 16], [4, 33], [9, 300]] {
            half::<bf16>(
                &ctx,
                &mut rng,
                [rows, cols],
                add_layer_norm_forward_bf16,
                layer_norm_forward_bf16,
                add_layer_norm_backward_bf16,
                layer_norm_backward_bf16,
                rms_norm_forward_bf16,
                rms_norm_backward_bf16,
            );
            half::<f16>(
                &ctx,
                &mut rng,
                [rows, cols],
                add_layer_norm_forward_f16,
                layer_norm_forward_f16,
                add_layer_norm_backward_f16,
                layer_norm_backward_f16,
                rms_norm_forward_f16,
                rms_norm_backward_f16,
            );
        }
    }
}

type AddForward<T> = fn(
    &Context,
    f32,
    usize,
    usize,
    &[T],
    &[T],
    Option<&[T]>,
    Option<&[T]>,
    &mut [T],
    &mut [T],
    Option<&mut [f32]>,
    Option<&mut [f32]>,
) -> evenkeel::Result;
type LayerForward<T> = fn(
    &Context,
    f32,
    usize,
    usize,
    &[T],
    Option<&[T]>,
    Option<&[T]>,
    &mut [T],
    Option<&mut [f32]>,
    Option<&mut [f32]>,
) -> evenkeel::Result;
type AddBackward<T> = fn(
    &Context,
    usize,
    usize,
    &[T],
    Option<&[T]>,
    &[T],
    &[f32],
    &[f32],
    Option<&[T]>,
    bool,
    &mut [T],
    Option<&mut [f32]>,
    Option<&mut [f32]>,
) -> evenkeel::Result;
type LayerBackward<T> = fn(
    &Context,
    usize,
    usize,
    &[T],
    &[T],
    &[f32],
    &[f32],
    Option<&[T]>,
    bool,
    Option<&mut [T]>,
    Option<&mut [f32]>,
    Option<&mut [f32]>,
) -> evenkeel::Result;
type RmsForward<T> =
    fn(&Context, f32, usize, usize, &[T], Option<&[T]>, &mut [T], Option<&mut [f32]>) -> evenkeel::Result;
type RmsBackward<T> = fn(
    &Context,
    usize,
    usize,
    &[T],
    &[T],
    &[f32],
    Option<&[T]>,
    bool,
    Option<&mut [T]>,
    Option<&mut [f32]>,
) -> evenkeel::Result;

#[allow(clippy::too_many_arguments)]
fn half<T: Storage>(
    ctx: &Context,
    rng: &mut Rng,
    [rows, cols]: [usize; 2],
    add_forward: AddForward<T>,
    layer_forward: LayerForward<T>,
    add_backward: AddBackward<T>,
    layer_backward: LayerBackward<T>,
    rms_forward: RmsForward<T>,
    rms_backward: RmsBackward<T>,
) {
    let n = rows * cols;
    let mut draw = |n: usize| rng.vec(n, |rng| T::from_f32(rng.normal()));
    let [x, residual, dy, dsum] = [draw(n), draw(n), draw(n), draw(n)];
    let [gamma, beta] = [draw(cols), draw(cols)];
    let wide = |v: &[T]| v.iter().map(|v| v.to_f32()).collect::<Vec<f32>>();
    let rounds = |got: &[T], v: &[f32]| {
        assert_eq!(to_even(v, got), v.iter().map(|v| T::from_f32(*v)).collect::<Vec<T>>());
    };
    let zero = || vec![T::default(); n];
    let [wx, wdy, wdsum, wgamma, wbeta] = [&x, &dy, &dsum, &gamma, &beta].map(|v| wide(v));
    let (ga, be, wga) = (Some(&gamma[..]), Some(&beta[..]), Some(&wgamma[..]));

    let mut stats = [vec![0.0; rows], vec![0.0; rows]];
    let [m, k] = &mut stats;
    let (mut sum, mut y) = (zero(), zero());
    add_forward(ctx, EPS, rows, cols, &x, &residual, ga, be, &mut sum, &mut y, Some(m), Some(k)).unwrap();
    let sums: Vec<f32> = x.iter().zip(&residual).map(|(a, b)| a.to_f32() + b.to_f32()).collect();
    rounds(&sum, &sums);
    let wsum = wide(&sum);
    let want = layer(ctx, EPS, cols, [&wsum, &wdy, &wgamma, &wbeta]);
    rounds(&y, &want.y);
    assert_same_bits("mean", m, &want.mean);
    assert_same_bits("rstd", k, &want.rstd);
    let (mut dx, mut dg, mut db) = (zero(), vec![1.0; cols], vec![2.0; cols]);
    let mut wdx = vec![0.0; n];
    let mut wparams = [vec![1.0; cols], vec![2.0; cols]];
    let [wdg, wdb] = &mut wparams;
    add_backward(ctx, rows, cols, &dy, Some(&dsum), &sum, m, k, ga, true, &mut dx, Some(&mut dg), Some(&mut db))
        .unwrap();
    let d = Some(&wdsum[..]);
    add_layer_norm_backward_f32(ctx, rows, cols, &wdy, d, &wsum, m, k, wga, true, &mut wdx, Some(wdg), Some(wdb))
        .unwrap();
    rounds(&dx, &wdx);
    assert_same_bits("dgamma", &dg, wdg);
    assert_same_bits("dbeta", &db, wdb);

    let want = layer(ctx, EPS, cols, [&wx, &wdy, &wgamma, &wbeta]);
    layer_forward(ctx, EPS, rows, cols, &x, ga, be, &mut y, Some(m), Some(k)).unwrap();
    rounds(&y, &want.y);
    layer_backward(ctx, rows, cols, &dy, &x, m, k, ga, false, Some(&mut dx), Some(&mut dg), None).unwrap();
    rounds(&dx, &want.dx);
    assert_same_bits("dgamma", &dg, &want.dgamma);

    let want = rms(ctx, EPS, cols, [&wx, &wdy, &wgamma, &[]]);
    rms_forward(ctx, EPS, rows, cols, &x, ga, &mut y, Some(k)).unwrap();
    rounds(&y, &want.y);
    rms_backward(ctx, rows, cols, &dy, &x, k, ga, false, Some(&mut dx), Some(&mut dg)).unwrap();
    rounds(&dx, &want.dx);
    assert_same_bits("rms dgamma", &dg, &want.dgamma);
}

/// add + layer norm is the sum, then layer norm; its gradient is layer norm's plus dsum; each output alone is the same.
#[test]
fn compositions_and_absent_arguments() {
    let mut rng = Rng::new(11);
    for ctx in contexts() {
        for [rows, cols] in [[3, 5], [70, 48], [2, 2000]] {
            let n = rows * cols;
            let [x, residual, dy, dsum]: [Vec<f32>; 4] = rng.array(|rng| rng.vec(n, Rng::normal));
            let (ones, zeros) = (vec![1.0; cols], vec![0.0; cols]);
            let sums: Vec<f32> = x.iter().zip(&residual).map(|(a, b)| a + b).collect();
            let want = layer(&ctx, EPS, cols, [&sums, &dy, &ones, &zeros]);
            let (mut sum, mut y) = (vec![f32::NAN; n], vec![f32::NAN; n]);
            add_layer_norm_forward_f32(&ctx, EPS, rows, cols, &x, &residual, None, None, &mut sum, &mut y, None, None)
                .unwrap();
            assert_same_bits("sum", &sum, &sums);
            assert_same_bits("y", &y, &want.y);
            let (m, k) = (&want.mean, &want.rstd);
            let mut dx = vec![f32::NAN; n];
            add_layer_norm_backward_f32(&ctx, rows, cols, &dy, None, &sum, m, k, None, false, &mut dx, None, None)
                .unwrap();
            assert_same_bits("dx without dsum", &dx, &want.dx);
            let d = Some(&dsum[..]);
            add_layer_norm_backward_f32(&ctx, rows, cols, &dy, d, &sum, m, k, None, false, &mut dx, None, None)
                .unwrap();
            let both: Vec<f32> = want.dx.iter().zip(&dsum).map(|(a, b)| a + b).collect();
            assert_same_bits("dx", &dx, &both);
            let (mut dg, mut db) = (vec![f32::NAN; cols], vec![f32::NAN; cols]);
            layer_norm_backward_f32(&ctx, rows, cols, &dy, &sum, m, k, None, false, None, Some(&mut dg), None).unwrap();
            layer_norm_backward_f32(&ctx, rows, cols, &dy, &sum, m, k, None, false, None, None, Some(&mut db)).unwrap();
            assert_same_bits("dgamma alone", &dg, &want.dgamma);
            assert_same_bits("dbeta alone", &db, &want.dbeta);
        }
    }
}

#[test]
fn batch_norm_running_statistics_and_inference() {
    let mut rng = Rng::new(12);
    for ctx in contexts() {
        for [batch, channels, spatial] in [[6, 3, 1], [5, 2, 4], [3, 4, 40]] {
            let n = batch * channels * spatial;
            let x = rng.vec(n, |rng| 1e3 + rng.normal());
            let (mut rm, mut rv) = (vec![2.0; channels], vec![3.0; channels]);
            let (mut y, mut mean, mut rstd) = (vec![f32::NAN; n], vec![0.0; channels], vec![0.0; channels]);
            let (a, b) = (Some(&mut rm[..]), Some(&mut rv[..]));
            batch_norm_forward_train_f32(
                &ctx, EPS, 0.25, batch, channels, spatial, &x, None, None, a, b, &mut y, &mut mean, &mut rstd,
            )
            .unwrap();
            let count = (batch * spatial) as f64;
            let gamma: Vec<f32> = rng.vec(channels, Rng::normal);
            let beta: Vec<f32> = rng.vec(channels, Rng::normal);
            // Running statistics of this data: an offset of a thousand spreads must not cost digits.
            let (mut own_mean, mut own_var) = (vec![0.0; channels], vec![0.0; channels]);
            for c in 0..channels {
                let values: Vec<f64> = (0..n).filter(|i| i / spatial % channels == c).map(|i| x[i] as f64).collect();
                let m = values.iter().sum::<f64>() / count;
                let var = values.iter().map(|v| (v - m) * (v - m)).sum::<f64>() / (count - 1.0);
                assert!((rm[c] as f64 - (1.5 + 0.25 * m)).abs() < 1e-4);
                assert!((rv[c] as f64 - (2.25 + 0.25 * var)).abs() < 1e-6);
                (own_mean[c], own_var[c]) = (m as f32, var as f32);
            }
            let mut y = vec![f32::NAN; n];
            let (g, b) = (Some(&gamma[..]), Some(&beta[..]));
            batch_norm_forward_infer_f32(&ctx, EPS, batch, channels, spatial, &x, g, b, &own_mean, &own_var, &mut y)
                .unwrap();
            let parts = |i: usize| {
                let c = i / spatial % channels;
                let a = gamma[c] as f64 / (own_var[c] as f64 + EPS as f64).sqrt();
                ((x[i] as f64 - own_mean[c] as f64) * a, beta[c] as f64)
            };
            let want: Vec<f64> = (0..n).map(|i| parts(i).0 + parts(i).1).collect();
            assert_close("infer", &y, &want, |i| 1.5 * 2f64.powi(-23) * (parts(i).0.abs() + parts(i).1.abs()));
        }
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_touched_beyond_the_ends() {
    let mut rng = Rng::new(13);
    for ctx in contexts() {
        for [rows, cols] in [[1, 1], [3, 5], [2, 31], [3, 80], [1, 300]] {
            let [x, dy]: [Vec<f32>; 2] = rng.array(|rng| rng.vec(rows * cols, Rng::normal));
            let [gamma, beta]: [Vec<f32>; 2] = rng.array(|rng| rng.vec(cols, Rng::normal));
            let want = layer(&ctx, EPS, cols, [&x, &dy, &gamma, &beta]);
            let short = batch_all(&ctx, [rows + 1, cols, 1], &rng.vec((rows + 1) * cols, Rng::normal));
            let long = batch_all(&ctx, [rows, cols, 17], &rng.vec(rows * cols * 17, Rng::normal));
            assert!(short && long);
            for place in [Guarded::at_end, Guarded::at_start] {
                let [gx, gdy, gg, gb] = [&x, &dy, &gamma, &beta].map(|v| place(v));
                let nan = |n: usize| place(&vec![f32::NAN; n]);
                let (mut y, mut m, mut k, mut dx) = (nan(x.len()), nan(rows), nan(rows), nan(x.len()));
                let (mut dg, mut db) = (nan(cols), nan(cols));
                let (ga, be) = (Some(&gg[..]), Some(&gb[..]));
                layer_norm_forward_f32(&ctx, EPS, rows, cols, &gx, ga, be, &mut y, Some(&mut m), Some(&mut k)).unwrap();
                assert_same_bits("y", &y, &want.y);
                let (d, a, b) = (Some(&mut dx[..]), Some(&mut dg[..]), Some(&mut db[..]));
                layer_norm_backward_f32(&ctx, rows, cols, &gdy, &gx, &m, &k, ga, false, d, a, b).unwrap();
                assert_same_bits("dx", &dx, &want.dx);
                assert_same_bits("dgamma", &dg, &want.dgamma);
                let [hx, hg] = [&x, &gamma].map(|v| v.iter().map(|v| bf16::from_f32(*v)).collect::<Vec<bf16>>());
                let (hx, hg, mut hy) = (Guarded::at_end(&hx), Guarded::at_end(&hg), Guarded::at_end(&hx));
                rms_norm_forward_bf16(&ctx, EPS, rows, cols, &hx, Some(&hg), &mut hy, None).unwrap();
            }
        }
    }
}

/// Batch and group norm forward and backward in guarded buffers.
#[cfg(unix)]
fn batch_all(ctx: &Context, [batch, channels, spatial]: [usize; 3], x: &[f32]) -> bool {
    for place in [Guarded::at_end, Guarded::at_start] {
        let (x, mut y, mut dx) = (place(x), place(x), place(x));
        let c = || place(&vec![1.0; channels]);
        let (gamma, beta, mut m, mut k, mut dg, mut db) = (c(), c(), c(), c(), c(), c());
        let (g, b) = (Some(&gamma[..]), Some(&beta[..]));
        batch_norm_forward_train_f32(
            ctx, EPS, 0.1, batch, channels, spatial, &x, g, b, None, None, &mut y, &mut m, &mut k,
        )
        .unwrap();
        let (d, a, e) = (Some(&mut dx[..]), Some(&mut dg[..]), Some(&mut db[..]));
        batch_norm_backward_f32(ctx, batch, channels, spatial, &y, &x, &m, &k, g, true, d, a, e).unwrap();
        batch_norm_forward_infer_f32(ctx, EPS, batch, channels, spatial, &x, g, b, &m, &k, &mut y).unwrap();
        let (mut m, mut k) = (place(&vec![0.0; batch]), place(&vec![0.0; batch]));
        group_norm_forward_f32(ctx, EPS, batch, channels, spatial, 1, &x, g, b, &mut y, Some(&mut m), Some(&mut k))
            .unwrap();
        let (d, a, e) = (Some(&mut dx[..]), Some(&mut dg[..]), Some(&mut db[..]));
        group_norm_backward_f32(ctx, batch, channels, spatial, 1, &y, &x, &m, &k, g, false, d, a, e).unwrap();
    }
    true
}

#[test]
fn bad_arguments_are_named_and_nothing_is_written() {
    let ctx = specification();
    let x = [1.0; 12];
    let mut y = [7.0; 12];
    let mut small = [7.0; 3];
    let says = |e: evenkeel::Result, text: &str| {
        let e = e.expect_err(text);
        assert!(matches!(e, Error::InvalidArgument { .. } | Error::InvalidSize { .. }), "{e}");
        assert_eq!(e.to_string(), text);
    };
    says(
        layer_norm_forward_f32(&ctx, -1.0, 3, 4, &x, None, None, &mut y, None, None),
        "layer_norm_forward_f32: eps is -1, expected a finite number, at least 0",
    );
    says(
        layer_norm_forward_f32(&ctx, EPS, 3, 4, &x, Some(&x), None, &mut y, None, None),
        "layer_norm_forward_f32: gamma holds 12 elements, expected 4",
    );
    says(
        add_layer_norm_backward_f32(
            &ctx,
            3,
            4,
            &x,
            Some(&x[..3]),
            &x,
            &x[..3],
            &x[..3],
            None,
            false,
            &mut y,
            None,
            None,
        ),
        "add_layer_norm_backward_f32: dsum holds 3 elements, expected 12",
    );
    says(
        rms_norm_backward_f32(&ctx, 3, 4, &x, &x, &x, None, false, Some(&mut y), None),
        "rms_norm_backward_f32: rstd holds 12 elements, expected 3",
    );
    says(
        group_norm_forward_f32(&ctx, EPS, 1, 4, 3, 3, &x, None, None, &mut y, None, None),
        "group_norm_forward_f32: groups is 3, which does not divide channels = 4",
    );
    says(
        batch_norm_forward_train_f32(
            &ctx,
            EPS,
            f32::NAN,
            4,
            3,
            1,
            &x,
            None,
            None,
            None,
            None,
            &mut y,
            &mut small,
            &mut [0.0; 3],
        ),
        "batch_norm_forward_train_f32: momentum is NaN, expected a finite number",
    );
    says(
        batch_norm_forward_train_f32(
            &ctx,
            EPS,
            0.1,
            1,
            3,
            1,
            &x[..3],
            None,
            None,
            None,
            Some(&mut small),
            &mut y[..3],
            &mut [0.0; 3],
            &mut [0.0; 3],
        ),
        "batch_norm_forward_train_f32: running_var needs more than one value a channel, batch and spatial are 1",
    );
    assert!(y == [7.0; 12] && small == [7.0; 3]);
}
