//! Layer and RMS norm against their specification, f64, and the rows where others lose gradients.

use crate::common::*;
use crate::norm_scalar as scalar;
use evenkeel::Context;
use evenkeel::norm::*;

/// Vector tails, one column, one row, chunk and block borders, tiles, several tasks.
const SHAPES: [[usize; 2]; 17] = [
    [0, 5],
    [5, 0],
    [1, 1],
    [9, 1],
    [3, 2],
    [7, 15],
    [4, 16],
    [130, 17],
    [67, 64],
    [33, 97],
    [9, 255],
    [5, 257],
    [6, 768],
    [3, 4099],
    [2, 20_001],
    [400, 700],
    [5000, 3],
];

/// Rows of several kinds: ordinary, offset, constant, an outlier in front, large, tiny.
fn rows(rng: &mut Rng, [rows, cols]: [usize; 2]) -> Vec<f32> {
    let mut x = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        let mut v = rng.vec(cols, Rng::normal);
        match row % 11 {
            1 => v.iter_mut().for_each(|v| *v += 1e4),
            2 => v.fill(10000.1),
            3 if cols > 0 => v[0] = 1e6,
            4 => v.iter_mut().for_each(|v| *v *= 1e30),
            5 => v.iter_mut().for_each(|v| *v *= 1e-30),
            6 => v.iter_mut().for_each(|v| *v *= 1e-40),
            7 => v.iter_mut().for_each(|v| *v = v.signum() * f32::MAX),
            8 => v.iter_mut().for_each(|v| *v = 1e6 + (*v * 4.0).round() / 4.0),
            9 if cols > 16 => v[..16].iter_mut().for_each(|v| *v += 50.0),
            _ => {}
        }
        x.extend(v);
    }
    x
}

struct Forward {
    y: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
}

fn forward(
    ctx: &Context,
    center: bool,
    eps: f32,
    [rows, cols]: [usize; 2],
    x: &[f32],
    affine: [Option<&[f32]>; 2],
) -> Forward {
    let mut out = Forward { y: vec![f32::NAN; x.len()], mean: vec![f32::NAN; rows], rstd: vec![f32::NAN; rows] };
    let Forward { y, mean, rstd } = &mut out;
    let [gamma, beta] = affine;
    if center {
        layer_norm_forward_f32(ctx, eps, rows, cols, x, gamma, beta, y, Some(mean), Some(rstd)).expect("forward");
    } else {
        rms_norm_forward_f32(ctx, eps, rows, cols, x, gamma, y, Some(rstd)).expect("forward");
    }
    out
}

struct Backward {
    dx: Vec<f32>,
    dgamma: Vec<f32>,
    dbeta: Vec<f32>,
}

#[allow(clippy::too_many_arguments)]
fn backward(
    ctx: &Context,
    center: bool,
    [rows, cols]: [usize; 2],
    dy: &[f32],
    x: &[f32],
    f: &Forward,
    gamma: Option<&[f32]>,
    start: Option<[&[f32]; 2]>,
) -> Backward {
    let [dgamma, dbeta] = start.map_or([vec![f32::NAN; cols], vec![f32::NAN; cols]], |s| s.map(<[f32]>::to_vec));
    let mut out = Backward { dx: vec![f32::NAN; x.len()], dgamma, dbeta };
    let Backward { dx, dgamma, dbeta } = &mut out;
    let (dx, dgamma, accumulate) = (Some(&mut dx[..]), Some(&mut dgamma[..]), start.is_some());
    if center {
        let (mean, rstd, dbeta) = (&f.mean, &f.rstd, Some(&mut dbeta[..]));
        layer_norm_backward_f32(ctx, rows, cols, dy, x, mean, rstd, gamma, accumulate, dx, dgamma, dbeta)
    } else {
        rms_norm_backward_f32(ctx, rows, cols, dy, x, &f.rstd, gamma, accumulate, dx, dgamma)
    }
    .expect("backward");
    out
}

#[test]
fn every_instruction_set_and_thread_count_gives_the_scalar_programs_bits() {
    let mut rng = Rng::new(1);
    let random = (0..samples(16)).map(|i| [1 + Rng::new(i as u64).below(200), 1 + Rng::new(i as u64 + 99).below(300)]);
    let contexts: Vec<Context> = [specification()].into_iter().chain(exact_contexts()).collect();
    // More than 8 MiB in rows of whole vectors, which is written past the caches.
    let large = (!quick()).then_some([2100, 1008]);
    for (k, shape) in SHAPES.into_iter().chain(random).chain(large).enumerate() {
        let [n_rows, cols] = shape;
        let (x, dy) = (rows(&mut rng, shape), rng.vec(n_rows * cols, Rng::normal));
        let [gamma, beta, g0, b0]: [Vec<f32>; 4] = rng.array(|rng| rng.vec(cols, Rng::normal));
        let eps = [1e-5, 0.0, 1e-12][k % 3];
        for center in [true, false] {
            let (ones, zeros) = (vec![1.0; cols], vec![0.0; cols]);
            let given = k % 2 == 0;
            let affine = if given { [Some(&gamma[..]), Some(&beta[..])] } else { [None, None] };
            let (gamma, beta) = if given { (&gamma, &beta) } else { (&ones, &zeros) };
            let (mut y, mut mean, mut rstd, mut dx, mut xhat) = (vec![], vec![], vec![], vec![], vec![]);
            for r in 0..if cols == 0 { 0 } else { n_rows } {
                let range = r * cols..(r + 1) * cols;
                let (row, m, k) = scalar::forward(center, eps, &x[range.clone()], gamma, beta);
                let (row_dx, row_xhat) = scalar::backward_row(center, &dy[range.clone()], &x[range], m, k, gamma);
                y.extend(row);
                mean.push(m);
                rstd.push(k);
                dx.extend(row_dx);
                xhat.extend(row_xhat);
            }
            let start = (k % 3 == 0).then_some([&g0[..], &b0[..]]);
            let [g0, b0] = start.unwrap_or([&[], &[]]);
            let dgamma = scalar::down(n_rows, cols, |r, j, s| dy[r * cols + j].mul_add(xhat[r * cols + j], s), g0);
            let dbeta = scalar::down(n_rows, cols, |r, j, s| s + dy[r * cols + j], b0);
            for ctx in &contexts {
                let what = |name: &str| format!("{name} of {shape:?}, eps {eps:e}, center {center}, {ctx:?}");
                let f = forward(ctx, center, eps, shape, &x, affine);
                assert_same_bits(&what("y"), &f.y, &y);
                if cols > 0 {
                    assert_same_bits(&what("rstd"), &f.rstd, &rstd);
                }
                if cols > 0 && center {
                    assert_same_bits(&what("mean"), &f.mean, &mean);
                }
                let b = backward(ctx, center, shape, &dy, &x, &f, affine[0], start);
                assert_same_bits(&what("dx"), &b.dx, &dx);
                assert_same_bits(&what("dgamma"), &b.dgamma, &dgamma);
                if center {
                    assert_same_bits(&what("dbeta"), &b.dbeta, &dbeta);
                }
            }
        }
    }
}
