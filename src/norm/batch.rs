//! Batch norm over `[batch, channels, spatial]`.

use super::columns::{self, Map, Products, Spread};
use super::rows::Row;
use super::segments::{Apply, Dx, LONG, Measure, Moments, Slope, Sums};
use super::{check_eps, check_optional, streams};
use crate::context::Context;
use crate::error::{Error, Result, check_len, product};
use crate::fpenv::FpEnv;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::LANES;
use std::ops::Range;

/// Nanoseconds an element takes.
const NS: f64 = 0.4;

/// Elements of a task that maps runs.
const PIECE: usize = 32 * 1024;

/// `[batch, channels, spatial]`.
#[derive(Clone, Copy)]
struct Shape {
    batch: usize,
    channels: usize,
    spatial: usize,
}

impl Shape {
    fn new(function: &'static str, [batch, channels, spatial]: [usize; 3]) -> Result<(Shape, usize)> {
        let n = product(function, "x", &[batch, channels, spatial])?;
        Ok((Shape { batch, channels, spatial }, n))
    }

    /// Where the run of `channel` in sample `i` lies.
    fn run(&self, i: usize, channel: usize) -> Range<usize> {
        let start = (i * self.channels + channel) * self.spatial;
        start..start + self.spatial
    }

    /// Values of a channel.
    fn count(&self) -> f64 {
        self.batch as f64 * self.spatial as f64
    }

    /// Columns, where a row is a sample.
    fn cols(&self) -> usize {
        self.channels * self.spatial
    }

    fn long(&self) -> bool {
        self.spatial >= LONG
    }
}

/// Batch norm in training: y = x̂·gamma + beta, x̂ = (x − mean)·rstd, rstd = 1/√(variance + eps), mean and variance
/// of each channel over batch and spatial (whitepaper §12).
///
/// Shapes, row-major: `x`, `y` `[batch, channels, spatial]`; all others `[channels]`. spatial = 1 serves `[N, C]` and
/// channels-last data. `gamma` is 1 and `beta` 0 if None. `mean` and `rstd` are for the backward pass; running =
/// (1 − momentum)·running + momentum·(batch value), running_var from the variance divided by n − 1. Source: Ioffe and
/// Szegedy 2015.
///
/// Accuracy: as layer norm's: a few roundings of f32 relative to the channel's spread, whatever its offset and scale. A
/// constant channel gives beta, in f32's rounding. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidArgument` for an eps that is negative or not finite, or a momentum that is not finite; `InvalidSize`, also
/// where `running_var` is given and a channel has one value only; `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_forward_train_f32(
    ctx: &Context,
    eps: f32,
    momentum: f32,
    batch: usize,
    channels: usize,
    spatial: usize,
    x: &[f32],
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    running_mean: Option<&mut [f32]>,
    running_var: Option<&mut [f32]>,
    y: &mut [f32],
    mean: &mut [f32],
    rstd: &mut [f32],
) -> Result {
    const FUNCTION: &str = "batch_norm_forward_train_f32";
    check_eps(FUNCTION, eps)?;
    if !momentum.is_finite() {
        return Err(Error::invalid_argument(FUNCTION, format!("momentum is {momentum}, expected a finite number")));
    }
    let (shape, n) = Shape::new(FUNCTION, [batch, channels, spatial])?;
    check_len(FUNCTION, "x", x, n)?;
    check_optional(FUNCTION, "gamma", gamma, channels)?;
    check_optional(FUNCTION, "beta", beta, channels)?;
    check_optional(FUNCTION, "running_mean", running_mean.as_deref(), channels)?;
    check_optional(FUNCTION, "running_var", running_var.as_deref(), channels)?;
    check_len(FUNCTION, "y", y, n)?;
    check_len(FUNCTION, "mean", mean, channels)?;
    check_len(FUNCTION, "rstd", rstd, channels)?;
    if n == 0 {
        return Ok(());
    }
    if running_var.is_some() && shape.count() == 1.0 {
        let detail = "running_var needs more than one value a channel, batch and spatial are 1";
        return Err(Error::invalid_size(FUNCTION, detail));
    }
    let eps = eps as f64;
    let mut scratch = Scratch::take::<f64>(FUNCTION, 3 * channels)?;
    let moments = scratch.slice::<f64>(3 * channels);
    let affine = |c: usize| [gamma.map_or(1.0, |g| g[c]), beta.map_or(0.0, |b| b[c])];
    if shape.long() {
        let (y, saved) = (Shared::new(y), Shared::new(&mut *moments));
        let stream = streams::<f32>(n, LANES);
        ctx.for_each(Work::elements(n, NS), channels, |c| {
            let runs = (0..batch).map(|i| ctx.dispatch(Measure { eps, x: &x[shape.run(i, c)] }));
            let m = runs.reduce(Moments::join).expect("a batch");
            // SAFETY: tasks have disjoint channels.
            unsafe { saved.piece(3 * c..3 * c + 3) }.copy_from_slice(&[m.mean, m.var, m.wide as u8 as f64]);
            let [gamma, beta] = affine(c);
            let (row, [a, b]) = line(m, eps, gamma, beta);
            for i in 0..batch {
                // SAFETY: as above.
                let (x, y) = (&x[shape.run(i, c)], unsafe { y.piece(shape.run(i, c)) });
                if row.wide {
                    x.iter().zip(y).for_each(|(x, y)| *y = wide(m, eps, *x, gamma, beta));
                } else {
                    ctx.dispatch(Apply { x, y, mean: row.mean, a, b, stream });
                }
            }
        });
    } else {
        short_forward(FUNCTION, ctx, shape, eps, x, y, moments, affine)?;
    }
    let _fp = FpEnv::enter(ctx.flush_subnormals());
    let count = shape.count();
    let saved = |c: usize| Moments { n: count, mean: moments[3 * c], var: moments[3 * c + 1], wide: false };
    for c in 0..channels {
        let row = saved(c).row(eps);
        (mean[c], rstd[c]) = (row.mean, row.rstd);
    }
    let momentum = momentum as f64;
    let blend = |old: f32, new: f64| ((1.0 - momentum) * old as f64 + momentum * new) as f32;
    if let Some(running) = running_mean {
        running.iter_mut().enumerate().for_each(|(c, r)| *r = blend(*r, saved(c).mean));
    }
    if let Some(running) = running_var {
        running.iter_mut().enumerate().for_each(|(c, r)| *r = blend(*r, saved(c).var * (count / (count - 1.0))));
    }
    Ok(())
}

/// y = (x − mean)·a + b of a channel.
fn line(m: Moments, eps: f64, gamma: f32, beta: f32) -> (Row, [f32; 2]) {
    let row = m.row(eps);
    let a = gamma as f64 / (m.var + eps).sqrt();
    (row, [a as f32, (beta as f64 + (row.mean as f64 - m.mean) * a) as f32])
}

/// y of one element in f64.
fn wide(m: Moments, eps: f64, x: f32, gamma: f32, beta: f32) -> f32 {
    (((x as f64 - m.mean) * m.scale(eps)) as f32).mul_add(gamma, beta)
}

/// Across channels, a sample a row.
#[allow(clippy::too_many_arguments)]
fn short_forward(
    function: &'static str,
    ctx: &Context,
    shape: Shape,
    eps: f64,
    x: &[f32],
    y: &mut [f32],
    moments: &mut [f64],
    affine: impl Fn(usize) -> [f32; 2],
) -> Result {
    let (rows, cols) = (shape.batch, shape.cols());
    let mut vectors = Scratch::take::<f32>(function, 3 * cols)?;
    let mut sums = Scratch::take::<f64>(function, 4 * cols)?;
    let (pivots, lines) = vectors.slice::<f32>(3 * cols).split_at_mut(cols);
    let (sums, again) = sums.slice::<f64>(4 * cols).split_at_mut(2 * cols);
    let first = rows.min(LANES);
    {
        let _fp = FpEnv::enter(ctx.flush_subnormals());
        pivots.copy_from_slice(&x[..cols]);
        for row in x[cols..first * cols].chunks_exact(cols) {
            pivots.iter_mut().zip(row).for_each(|(p, x)| *p += x);
        }
        pivots.iter_mut().for_each(|p| *p *= 1.0 / first as f32);
    }
    columns::sum(function, ctx, [rows, cols], &Spread { x, pivots }, sums)?;
    let _fp = FpEnv::enter(ctx.flush_subnormals());
    let count = rows as f64;
    let of = |sums: &[f64], j: usize, p: f32| {
        let delta = sums[j] / count;
        let var = sums[cols + j] / count - delta * delta;
        (delta, Moments { n: count, mean: p as f64 + delta, var: if var < 0.0 { 0.0 } else { var }, wide: false })
    };
    // A pivot was good where it was nearer to the mean than the values are.
    let good = |(delta, m): (f64, Moments)| delta * delta <= m.var && super::rows::fits(m.var, eps);
    if !(0..cols).all(|j| good(of(sums, j, pivots[j]))) {
        for j in 0..cols {
            let (_, m) = of(sums, j, pivots[j]);
            // The first sums of good columns stay; the others begin again from their mean.
            (again[j], again[cols + j]) = (pivots[j] as f64, f64::from(good(of(sums, j, pivots[j])) as u8));
            pivots[j] = m.mean as f32;
        }
        let mut second = Scratch::take::<f64>(function, 2 * cols)?;
        let second = second.slice::<f64>(2 * cols);
        columns::sum(function, ctx, [rows, cols], &Spread { x, pivots }, second)?;
        for j in 0..cols {
            if again[cols + j] == 1.0 {
                pivots[j] = again[j] as f32;
            } else {
                (sums[j], sums[cols + j]) = (second[j], second[cols + j]);
            }
        }
    }
    let column = |j: usize| {
        let m = of(sums, j, pivots[j]).1;
        if super::rows::fits(m.var, eps) && sums[cols + j] < f64::INFINITY { m } else { wide_column(x, rows, cols, j) }
    };
    for c in 0..shape.channels {
        let m = (0..shape.spatial).map(|s| column(c * shape.spatial + s)).reduce(Moments::join).expect("a column");
        moments[3 * c..3 * c + 3].copy_from_slice(&[m.mean, m.var, f64::from(m.wide as u8)]);
    }
    let channel = |c: usize| {
        let n = shape.count();
        Moments { n, mean: moments[3 * c], var: moments[3 * c + 1], wide: moments[3 * c + 2] == 1.0 }
    };
    let (a, b) = lines.split_at_mut(cols);
    for j in 0..cols {
        let c = j / shape.spatial;
        let [gamma, beta] = affine(c);
        let (row, line) = line(channel(c), eps, gamma, beta);
        (pivots[j], [a[j], b[j]]) = (row.mean, line);
    }
    columns::map(ctx, cols, Map::Forward { x, mean: pivots, a, b }, y);
    for j in 0..cols {
        let m = channel(j / shape.spatial);
        if m.row(eps).wide {
            let [gamma, beta] = affine(j / shape.spatial);
            (0..rows).for_each(|r| y[r * cols + j] = wide(m, eps, x[r * cols + j], gamma, beta));
        }
    }
    Ok(())
}

/// The moments of a column in f64, rows in ascending order.
fn wide_column(x: &[f32], rows: usize, cols: usize, j: usize) -> Moments {
    let n = rows as f64;
    let values = || (0..rows).map(|r| x[r * cols + j] as f64);
    let mean = values().sum::<f64>() / n;
    let rest = values().map(|x| x - mean).sum::<f64>() / n;
    let var = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n - rest * rest;
    Moments { n, mean: mean + rest, var: if var < 0.0 { 0.0 } else { var }, wide: true }
}

/// Batch norm with given statistics: y = (x − running_mean)·a + beta, a = gamma/√(running_var + eps) (whitepaper §12).
///
/// Shapes as in training. Scale and root are folded into one factor a channel; the mean is still subtracted first, since
/// x·a + (beta − mean·a) would lose digits to a mean that is large beside the spread.
///
/// Accuracy: 3 roundings of f32 relative to |x − running_mean|·a + |beta|. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidArgument` for an eps that is negative or not finite, `InvalidSize`, `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_forward_infer_f32(
    ctx: &Context,
    eps: f32,
    batch: usize,
    channels: usize,
    spatial: usize,
    x: &[f32],
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    running_mean: &[f32],
    running_var: &[f32],
    y: &mut [f32],
) -> Result {
    const FUNCTION: &str = "batch_norm_forward_infer_f32";
    check_eps(FUNCTION, eps)?;
    let (shape, n) = Shape::new(FUNCTION, [batch, channels, spatial])?;
    check_len(FUNCTION, "x", x, n)?;
    check_optional(FUNCTION, "gamma", gamma, channels)?;
    check_optional(FUNCTION, "beta", beta, channels)?;
    check_len(FUNCTION, "running_mean", running_mean, channels)?;
    check_len(FUNCTION, "running_var", running_var, channels)?;
    check_len(FUNCTION, "y", y, n)?;
    if n == 0 {
        return Ok(());
    }
    let line = |c: usize| {
        let a = gamma.map_or(1.0, |g| g[c]) as f64 / (running_var[c] as f64 + eps as f64).sqrt();
        [running_mean[c], a as f32, beta.map_or(0.0, |b| b[c])]
    };
    if shape.long() {
        let y = Shared::new(y);
        let stream = streams::<f32>(n, LANES);
        let (runs, step) = (batch * channels, (PIECE / spatial).max(1));
        ctx.for_each(Work::elements(n, 0.2), runs.div_ceil(step), |task| {
            for run in task * step..runs.min((task + 1) * step) {
                let [mean, a, b] = line(run % channels);
                let range = run * spatial..(run + 1) * spatial;
                // SAFETY: tasks have disjoint runs.
                let (x, y) = (&x[range.clone()], unsafe { y.piece(range) });
                ctx.dispatch(Apply { x, y, mean, a, b, stream });
            }
        });
        return Ok(());
    }
    let cols = shape.cols();
    let mut scratch = Scratch::take::<f32>(FUNCTION, 3 * cols)?;
    let (mean, rest) = scratch.slice::<f32>(3 * cols).split_at_mut(cols);
    let (a, b) = rest.split_at_mut(cols);
    for j in 0..cols {
        [mean[j], a[j], b[j]] = line(j / spatial);
    }
    columns::map(ctx, cols, Map::Forward { x, mean, a, b }, y);
    Ok(())
}

/// Batch norm's gradients in training (whitepaper §12): dbeta = Σ dy, dgamma = Σ dy·x̂ over batch and spatial, and
/// dx = gamma·rstd·(dy − dbeta/n − x̂·dgamma/n), n the values of a channel.
///
/// Shapes, row-major: `dy`, `x`, `dx` `[batch, channels, spatial]`; all others `[channels]`. `mean` and `rstd` as the
/// forward pass saved them; `gamma` is 1 if None; `dgamma` and `dbeta` are overwritten, or added to if `accumulate`.
/// Each output may be None.
///
/// Accuracy: a few roundings of f32 relative to |gamma·dy|·rstd, whatever the offset of x: the mean's rounding is taken
/// back out. The sums do not drift with the size of the batch. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`, `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_backward_f32(
    ctx: &Context,
    batch: usize,
    channels: usize,
    spatial: usize,
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gamma: Option<&[f32]>,
    accumulate: bool,
    mut dx: Option<&mut [f32]>,
    dgamma: Option<&mut [f32]>,
    dbeta: Option<&mut [f32]>,
) -> Result {
    const FUNCTION: &str = "batch_norm_backward_f32";
    let (shape, n) = Shape::new(FUNCTION, [batch, channels, spatial])?;
    check_len(FUNCTION, "dy", dy, n)?;
    check_len(FUNCTION, "x", x, n)?;
    check_len(FUNCTION, "mean", mean, channels)?;
    check_len(FUNCTION, "rstd", rstd, channels)?;
    check_optional(FUNCTION, "gamma", gamma, channels)?;
    check_optional(FUNCTION, "dx", dx.as_deref(), n)?;
    check_optional(FUNCTION, "dgamma", dgamma.as_deref(), channels)?;
    check_optional(FUNCTION, "dbeta", dbeta.as_deref(), channels)?;
    let mut scratch = Scratch::take::<f64>(FUNCTION, 2 * channels)?;
    // dbeta and dgamma of every channel.
    let totals = scratch.slice::<f64>(2 * channels);
    totals.fill(0.0);
    let call = Channels { shape, dy, x, mean, rstd, gamma };
    if n > 0 && shape.long() {
        let (totals, dx) = (Shared::new(&mut *totals), dx.as_deref_mut().map(Shared::new));
        let stream = streams::<f32>(n, LANES);
        ctx.for_each(Work::elements(n, NS), channels, |c| {
            let (mean, rstd) = (mean[c], rstd[c]);
            let mut sums = [0.0; 3];
            for i in 0..batch {
                let run = shape.run(i, c);
                let part = ctx.dispatch(Sums { dy: &dy[run.clone()], x: &x[run], mean, rstd });
                sums = [sums[0] + part[0], sums[1] + part[1], sums[2] + part[2]];
            }
            // SAFETY: tasks have disjoint channels.
            let piece = |i: usize| dx.as_ref().map(|dx| unsafe { dx.piece(shape.run(i, c)) });
            let (total, slope) = call.totals(c, sums);
            // SAFETY: as above.
            unsafe { totals.piece(2 * c..2 * c + 2) }.copy_from_slice(&total.sums);
            for i in 0..batch {
                let Some(dx) = piece(i) else { break };
                let run = shape.run(i, c);
                let (dy, x) = (&dy[run.clone()], &x[run]);
                if total.wide {
                    dx.iter_mut().zip(dy).zip(x).for_each(|((dx, dy), x)| *dx = call.wide(c, &total, *dy, *x));
                } else {
                    ctx.dispatch(Dx { dy, x, dx, slope, stream });
                }
            }
        });
    } else if n > 0 {
        short_backward(FUNCTION, ctx, &call, dx, totals)?;
    }
    let _fp = FpEnv::enter(ctx.flush_subnormals());
    for (k, out) in [dbeta, dgamma].into_iter().enumerate() {
        for (c, out) in out.into_iter().flatten().enumerate() {
            *out = (totals[2 * c + k] + if accumulate { *out as f64 } else { 0.0 }) as f32;
        }
    }
    Ok(())
}

struct Channels<'a> {
    shape: Shape,
    dy: &'a [f32],
    x: &'a [f32],
    mean: &'a [f32],
    rstd: &'a [f32],
    gamma: Option<&'a [f32]>,
}

/// Σ dy and Σ dy·x̂ of a channel, and its statistics in f64 where it is computed in f64.
struct Total {
    sums: [f64; 2],
    wide: bool,
    mean: f64,
    scale: f64,
}

impl Channels<'_> {
    fn gamma(&self, c: usize) -> f64 {
        self.gamma.map_or(1.0, |g| g[c]) as f64
    }

    /// What Σ dy, Σ dy·x̂ and Σ x̂ from the rounded mean make.
    fn totals(&self, c: usize, [dy, dy_xhat, xhat]: [f64; 3]) -> (Total, Slope) {
        let n = self.shape.count();
        if !(dy + dy_xhat + xhat).is_finite() {
            return (self.total_wide(c), Slope::default());
        }
        let shift = -xhat / n;
        let sums = [dy, dy_xhat + shift * dy];
        let slope = Slope::new(
            n,
            [self.mean[c], self.rstd[c]],
            shift,
            self.gamma(c),
            self.gamma(c) * sums[0] / n,
            self.gamma(c) * sums[1] / n,
        );
        (Total { sums, wide: false, mean: 0.0, scale: 0.0 }, slope)
    }

    /// The same in f64, samples in ascending order; where rstd left f32's range (then ε was 0), from x itself.
    fn total_wide(&self, c: usize) -> Total {
        let n = self.shape.count();
        let runs = || (0..self.shape.batch).flat_map(|i| self.shape.run(i, c));
        let rough = self.mean[c] as f64;
        let mean = rough + runs().map(|i| self.x[i] as f64 - rough).sum::<f64>() / n;
        let mut scale = self.rstd[c] as f64;
        if scale == f64::INFINITY {
            let var = runs().map(|i| self.x[i] as f64 - mean).map(|d| d * d).sum::<f64>() / n;
            scale = Moments { n, mean, var, wide: true }.scale(0.0);
        }
        let dy = runs().map(|i| self.dy[i] as f64).sum::<f64>();
        let dy_xhat = runs().map(|i| self.dy[i] as f64 * ((self.x[i] as f64 - mean) * scale)).sum::<f64>();
        Total { sums: [dy, dy_xhat], wide: true, mean, scale }
    }

    fn wide(&self, c: usize, t: &Total, dy: f32, x: f32) -> f32 {
        let n = self.shape.count();
        let xhat = (x as f64 - t.mean) * t.scale;
        (self.gamma(c) * t.scale * (dy as f64 - t.sums[0] / n - xhat * (t.sums[1] / n))) as f32
    }
}

/// Across channels, a sample a row.
fn short_backward(
    function: &'static str,
    ctx: &Context,
    call: &Channels<'_>,
    dx: Option<&mut [f32]>,
    totals: &mut [f64],
) -> Result {
    let shape = call.shape;
    let (rows, cols) = (shape.batch, shape.cols());
    let mut vectors = Scratch::take::<f32>(function, 5 * cols)?;
    let mut sums = Scratch::take::<f64>(function, 3 * cols)?;
    let (mean, rest) = vectors.slice::<f32>(5 * cols).split_at_mut(cols);
    let (rstd, rest) = rest.split_at_mut(cols);
    for j in 0..cols {
        (mean[j], rstd[j]) = (call.mean[j / shape.spatial], call.rstd[j / shape.spatial]);
    }
    let sums = sums.slice::<f64>(3 * cols);
    columns::sum(function, ctx, [rows, cols], &Products { dy: call.dy, x: call.x, mean, rstd }, sums)?;
    let _fp = FpEnv::enter(ctx.flush_subnormals());
    let (k, rest) = rest.split_at_mut(cols);
    let (c, d) = rest.split_at_mut(cols);
    let mut any = false;
    for channel in 0..shape.channels {
        let mut three = [0.0; 3];
        for j in channel * shape.spatial..(channel + 1) * shape.spatial {
            (0..3).for_each(|i| three[i] += sums[i * cols + j]);
        }
        let (total, slope) = call.totals(channel, three);
        any |= total.wide;
        totals[2 * channel..2 * channel + 2].copy_from_slice(&total.sums);
        for j in channel * shape.spatial..(channel + 1) * shape.spatial {
            (mean[j], rstd[j]) = (slope.mean, slope.rstd);
            (k[j], c[j], d[j]) = (slope.k, slope.c, slope.d);
            // Marks the columns that are done in f64 below.
            sums[j] = f64::from(total.wide as u8);
        }
    }
    let Some(dx) = dx else { return Ok(()) };
    columns::map(ctx, cols, Map::Backward { x: call.x, dy: call.dy, slope: [mean, rstd, k, c, d] }, dx);
    for channel in (0..shape.channels).filter(|c| any && sums[c * shape.spatial] == 1.0) {
        let total = call.total_wide(channel);
        for i in (0..rows).flat_map(|i| shape.run(i, channel)) {
            dx[i] = call.wide(channel, &total, call.dy[i], call.x[i]);
        }
    }
    Ok(())
}
