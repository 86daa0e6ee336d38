//! Batch and group norm against their specification and f64.

use crate::common::*;
use crate::norm_scalar as scalar;
use evenkeel::Context;
use evenkeel::norm::*;

/// Columns, short runs, long runs; one channel, one sample; several tasks and blocks.
const SHAPES: [[usize; 3]; 13] = [
    [0, 4, 5],
    [2, 4, 0],
    [2, 2, 1],
    [1, 2, 8],
    [7, 6, 1],
    [33, 18, 1],
    [300, 20, 1],
    [3000, 70, 1],
    [9, 4, 7],
    [4, 6, 16],
    [5, 4, 49],
    [3, 2, 700],
    [70, 12, 36],
];

/// More than 8 MiB of whole vectors, which is written past the caches; not where asked to be quick.
fn large() -> impl Iterator<Item = [usize; 3]> {
    [[33, 64, 1008], [33_300, 64, 1]].into_iter().filter(|_| !quick())
}

/// Channels of several kinds: ordinary, offset, constant, with samples in front that are unlike the rest, large, tiny.
fn channels(rng: &mut Rng, [batch, channels, spatial]: [usize; 3]) -> Vec<f32> {
    let mut x = rng.vec(batch * channels * spatial, Rng::normal);
    for i in 0..batch {
        for c in 0..channels {
            let run = &mut x[(i * channels + c) * spatial..][..spatial];
            match c % 8 {
                1 => run.iter_mut().for_each(|v| *v += 1e4),
                2 => run.fill(10000.1),
                3 if i < 16 => run.iter_mut().for_each(|v| *v += 100.0),
                4 => run.iter_mut().for_each(|v| *v *= 1e30),
                5 => run.iter_mut().for_each(|v| *v *= 1e-40),
                6 => run.iter_mut().for_each(|v| *v = 1e6 + (*v * 4.0).round() / 4.0),
                _ => {}
            }
        }
    }
    x
}

struct Forward {
    y: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
    running: [Vec<f32>; 2],
}

fn batch_forward(
    ctx: &Context,
    eps: f32,
    [batch, channels, spatial]: [usize; 3],
    x: &[f32],
    affine: [Option<&[f32]>; 2],
) -> Forward {
    let nan = || vec![f32::NAN; channels];
    let running = [vec![1.0; channels], vec![2.0; channels]];
    let mut out = Forward { y: vec![f32::NAN; x.len()], mean: nan(), rstd: nan(), running };
    let Forward { y, mean, rstd, running: [rm, rv] } = &mut out;
    let ([gamma, beta], rm, rv) = (affine, Some(&mut rm[..]), Some(&mut rv[..]));
    batch_norm_forward_train_f32(ctx, eps, 0.1, batch, channels, spatial, x, gamma, beta, rm, rv, y, mean, rstd)
        .expect("forward");
    out
}

fn group_forward(
    ctx: &Context,
    eps: f32,
    [batch, channels, spatial]: [usize; 3],
    groups: usize,
    x: &[f32],
    affine: [Option<&[f32]>; 2],
) -> Forward {
    let nan = || vec![f32::NAN; batch * groups];
    let mut out = Forward { y: vec![f32::NAN; x.len()], mean: nan(), rstd: nan(), running: [vec![], vec![]] };
    let Forward { y, mean, rstd, .. } = &mut out;
    let ([gamma, beta], mean, rstd) = (affine, Some(&mut mean[..]), Some(&mut rstd[..]));
    group_norm_forward_f32(ctx, eps, batch, channels, spatial, groups, x, gamma, beta, y, mean, rstd).expect("forward");
    out
}

struct Backward {
    dx: Vec<f32>,
    dgamma: Vec<f32>,
    dbeta: Vec<f32>,
}

/// Batch norm's gradients, or group norm's; added to `start` if given.
fn backward(
    ctx: &Context,
    [batch, channels, spatial]: [usize; 3],
    groups: Option<usize>,
    [dy, x]: [&[f32]; 2],
    f: &Forward,
    gamma: Option<&[f32]>,
    start: Option<f32>,
) -> Backward {
    let fill = || vec![start.unwrap_or(f32::NAN); channels];
    let mut out = Backward { dx: vec![f32::NAN; x.len()], dgamma: fill(), dbeta: fill() };
    let (dx, dg, db) = (Some(&mut out.dx[..]), Some(&mut out.dgamma[..]), Some(&mut out.dbeta[..]));
    let (m, k, accumulate) = (&f.mean, &f.rstd, start.is_some());
    match groups {
        None => batch_norm_backward_f32(ctx, batch, channels, spatial, dy, x, m, k, gamma, accumulate, dx, dg, db),
        Some(g) => {
            group_norm_backward_f32(ctx, batch, channels, spatial, g, dy, x, m, k, gamma, accumulate, dx, dg, db)
        }
    }
    .expect("backward");
    out
}

fn all_contexts() -> Vec<Context> {
    [specification()].into_iter().chain(exact_contexts()).collect()
}

#[test]
fn batch_norm_gives_the_scalar_programs_bits() {
    let mut rng = Rng::new(1);
    let contexts = all_contexts();
    for (k, shape) in SHAPES.into_iter().chain(large()).enumerate() {
        let [batch, channels, spatial] = shape;
        let x = self::channels(&mut rng, shape);
        let dy = rng.vec(x.len(), Rng::normal);
        let [gamma, beta]: [Vec<f32>; 2] = rng.array(|rng| rng.vec(channels, Rng::normal));
        let eps = [1e-5, 1e-12][k % 2];
        let (mut y, mut mean, mut rstd) = (vec![0.0; x.len()], vec![f32::NAN; channels], vec![f32::NAN; channels]);
        if !x.is_empty() {
            for c in 0..channels {
                let m = scalar::batch_moments(shape, &x, c, eps as f64);
                for i in 0..batch {
                    let at = (i * channels + c) * spatial;
                    let run;
                    (run, mean[c], rstd[c]) = scalar::normalize(m, eps as f64, gamma[c], beta[c], &x[at..at + spatial]);
                    y[at..at + spatial].copy_from_slice(&run);
                }
            }
        }
        let (dx, dgamma, dbeta) = scalar::batch_backward(shape, &dy, &x, &mean, &rstd, &gamma);
        let add = |v: &[f64], start: f64| v.iter().map(|v| (v + start) as f32).collect::<Vec<f32>>();
        for ctx in &contexts {
            let what = |name: &str| format!("{name} of {shape:?}, {ctx:?}");
            let f = batch_forward(ctx, eps, shape, &x, [Some(&gamma), Some(&beta)]);
            assert_same_bits(&what("y"), &f.y, &y);
            assert_same_bits(&what("mean"), &f.mean, &mean);
            assert_same_bits(&what("rstd"), &f.rstd, &rstd);
            for start in [None, Some(0.5)] {
                let b = backward(ctx, shape, None, [&dy, &x], &f, Some(&gamma), start);
                assert_same_bits(&what("dx"), &b.dx, &dx);
                assert_same_bits(&what("dgamma"), &b.dgamma, &add(&dgamma, start.unwrap_or(0.0) as f64));
                assert_same_bits(&what("dbeta"), &b.dbeta, &add(&dbeta, start.unwrap_or(0.0) as f64));
            }
        }
    }
}

#[test]
fn group_norm_gives_the_scalar_programs_bits() {
    let mut rng = Rng::new(2);
    let contexts = all_contexts();
    for shape in SHAPES.into_iter().chain(large()) {
        let [batch, channels, spatial] = shape;
        let groups = [1, 2, channels][rng.below(3)];
        let (width, eps) = (channels / groups, 1e-5);
        let x = self::channels(&mut rng, shape);
        let dy = rng.vec(x.len(), Rng::normal);
        let [gamma, beta]: [Vec<f32>; 2] = rng.array(|rng| rng.vec(channels, Rng::normal));
        let cols = width * spatial;
        let (mut y, mut mean, mut rstd) = (vec![], vec![f32::NAN; batch * groups], vec![f32::NAN; batch * groups]);
        for (row, x) in x.chunks(cols.max(1)).enumerate() {
            let first = row % groups * width;
            let m = scalar::run_moments(x, eps as f64);
            if spatial >= 16 {
                for (i, run) in x.chunks(spatial).enumerate() {
                    let (g, b) = (gamma[first + i], beta[first + i]);
                    let part;
                    (part, mean[row], rstd[row]) = scalar::normalize(m, eps as f64, g, b, run);
                    y.extend(part);
                }
            } else {
                let spread = |v: &[f32]| (0..cols).map(|j| v[first + j / spatial]).collect::<Vec<f32>>();
                let part;
                (part, mean[row], rstd[row]) = scalar::forward(true, eps, x, &spread(&gamma), &spread(&beta));
                y.extend(part);
            }
        }
        for (k, ctx) in contexts.iter().enumerate() {
            let what = |name: &str| format!("{name} of {shape:?} in {groups} groups, {ctx:?}");
            let f = group_forward(ctx, eps, shape, groups, &x, [Some(&gamma), Some(&beta)]);
            assert_same_bits(&what("y"), &f.y, &y);
            assert_same_bits(&what("mean"), &f.mean, &mean);
            assert_same_bits(&what("rstd"), &f.rstd, &rstd);
            let b = backward(ctx, shape, Some(groups), [&dy, &x], &f, Some(&gamma), None);
            if spatial >= 16 {
                let (dx, dgamma, dbeta) = scalar::group_backward(shape, groups, &dy, &x, &mean, &rstd, &gamma);
                let narrow = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<f32>>();
                assert_same_bits(&what("dx"), &b.dx, &dx);
                assert_same_bits(&what("dgamma"), &b.dgamma, &narrow(&dgamma));
                assert_same_bits(&what("dbeta"), &b.dbeta, &narrow(&dbeta));
            } else if k > 0 {
                // Rows of a layer norm, whose program norm.rs has; here all contexts agree.
                let want = backward(&contexts[0], shape, Some(groups), [&dy, &x], &f, Some(&gamma), None);
                assert_same_bits(&what("dx"), &b.dx, &want.dx);
                assert_same_bits(&what("dgamma"), &b.dgamma, &want.dgamma);
                assert_same_bits(&what("dbeta"), &b.dbeta, &want.dbeta);
            }
        }
    }
}
