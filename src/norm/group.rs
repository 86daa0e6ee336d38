//! Group norm over `[batch, channels, spatial]`.

use super::backward::{self, Gradients};
use super::forward::{self, Call, Input};
use super::rows::Row;
use super::segments::{Apply, Dx, LONG, Measure, Moments, Slope, Sums};
use super::{check_eps, check_optional, streams};
use crate::context::Context;
use crate::error::{Error, Result, check_len, product};
use crate::fpenv::FpEnv;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::LANES;

/// Nanoseconds an element takes.
const NS: f64 = 0.4;

/// Elements of a task.
const PIECE: usize = 32 * 1024;

#[derive(Clone, Copy)]
struct Shape {
    channels: usize,
    spatial: usize,
    groups: usize,
    /// Elements of all.
    n: usize,
    /// Groups of all samples.
    rows: usize,
}

impl Shape {
    fn new(function: &'static str, [batch, channels, spatial, groups]: [usize; 4]) -> Result<Shape> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            let detail = format!("groups is {groups}, which does not divide channels = {channels}");
            return Err(Error::invalid_argument(function, detail));
        }
        let n = product(function, "x", &[batch, channels, spatial])?;
        let rows = product(function, "mean", &[batch, groups])?;
        Ok(Shape { channels, spatial, groups, n, rows })
    }

    /// Channels of a group.
    fn width(&self) -> usize {
        self.channels / self.groups
    }

    /// Elements of a group.
    fn cols(&self) -> usize {
        self.width() * self.spatial
    }

    /// Where channel `i` of the group of `row` lies.
    fn run(&self, row: usize, i: usize) -> std::ops::Range<usize> {
        let start = (row * self.width() + i) * self.spatial;
        start..start + self.spatial
    }

    /// The number of that channel.
    fn channel(&self, row: usize, i: usize) -> usize {
        row % self.groups * self.width() + i
    }

    /// Rows of a task.
    fn step(&self) -> usize {
        (PIECE / self.cols()).max(1)
    }
}

/// Group norm: y = x̂·gamma + beta, mean and variance of each sample's groups of channels (whitepaper §12, §13).
///
/// Shapes, row-major: `x`, `y` `[batch, channels, spatial]`; `gamma` (1 if None), `beta` (0 if None) `[channels]`; `mean`,
/// `rstd` `[batch, groups]`. `groups` divides `channels`: 1 is layer norm over all but the batch, `channels` is instance
/// norm. Source: Wu and He 2018.
///
/// Accuracy and threads: as layer norm.
///
/// # Errors
/// `InvalidArgument` for an eps that is negative or not finite, or groups that do not divide channels; `InvalidSize`,
/// `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn group_norm_forward_f32(
    ctx: &Context,
    eps: f32,
    batch: usize,
    channels: usize,
    spatial: usize,
    groups: usize,
    x: &[f32],
    gamma: Option<&[f32]>,
    beta: Option<&[f32]>,
    y: &mut [f32],
    mean: Option<&mut [f32]>,
    rstd: Option<&mut [f32]>,
) -> Result {
    const FUNCTION: &str = "group_norm_forward_f32";
    check_eps(FUNCTION, eps)?;
    let shape = Shape::new(FUNCTION, [batch, channels, spatial, groups])?;
    check_len(FUNCTION, "x", x, shape.n)?;
    check_optional(FUNCTION, "gamma", gamma, channels)?;
    check_optional(FUNCTION, "beta", beta, channels)?;
    check_len(FUNCTION, "y", y, shape.n)?;
    check_optional(FUNCTION, "mean", mean.as_deref(), shape.rows)?;
    check_optional(FUNCTION, "rstd", rstd.as_deref(), shape.rows)?;
    if shape.n == 0 {
        return Ok(());
    }
    if spatial < LONG {
        // Rows of a layer norm, each element of a group with a gamma and beta of its own.
        let row = channels * spatial;
        let mut scratch = Scratch::take::<f32>(FUNCTION, 2 * row)?;
        let (g, b) = scratch.slice::<f32>(2 * row).split_at_mut(row);
        spread(gamma, 1.0, spatial, g);
        spread(beta, 0.0, spatial, b);
        let input = Input::Given(x);
        let call = Call { eps, cols: shape.cols(), groups, input, gamma: g, beta: b, y, mean, rstd };
        return forward::run::<f32, true>(FUNCTION, ctx, NS, call);
    }
    let eps = eps as f64;
    let y = Shared::new(y);
    let [mean, rstd] = [mean, rstd].map(|v| v.map(Shared::new));
    let stream = streams::<f32>(shape.n, LANES);
    let step = shape.step();
    ctx.for_each(Work::elements(shape.n, NS), shape.rows.div_ceil(step), |task| {
        for row in task * step..shape.rows.min((task + 1) * step) {
            let cols = shape.cols();
            let m = ctx.dispatch(Measure { eps, x: &x[row * cols..(row + 1) * cols] });
            let stats = m.row(eps);
            for (saved, value) in [(&mean, stats.mean), (&rstd, stats.rstd)] {
                if let Some(saved) = saved {
                    // SAFETY: tasks have disjoint rows.
                    unsafe { saved.piece(row..row + 1) }.fill(value);
                }
            }
            for i in 0..shape.width() {
                let c = shape.channel(row, i);
                let (gamma, beta) = (gamma.map_or(1.0, |g| g[c]), beta.map_or(0.0, |b| b[c]));
                // SAFETY: tasks have disjoint rows.
                let (x, y) = (&x[shape.run(row, i)], unsafe { y.piece(shape.run(row, i)) });
                apply(ctx, m, stats, eps, [gamma, beta], x, y, stream);
            }
        }
    });
    Ok(())
}

/// One run, scaled and shifted.
#[allow(clippy::too_many_arguments)]
fn apply(
    ctx: &Context,
    m: Moments,
    row: Row,
    eps: f64,
    [gamma, beta]: [f32; 2],
    x: &[f32],
    y: &mut [f32],
    stream: bool,
) {
    if row.wide {
        let scale = m.scale(eps);
        x.iter().zip(y).for_each(|(x, y)| *y = (((*x as f64 - m.mean) * scale) as f32).mul_add(gamma, beta));
    } else {
        let a = gamma as f64 / (m.var + eps).sqrt();
        let b = beta as f64 + (row.mean as f64 - m.mean) * a;
        ctx.dispatch(Apply { x, y, mean: row.mean, a: a as f32, b: b as f32, stream });
    }
}

/// One number a channel, spatial times over.
fn spread(param: Option<&[f32]>, absent: f32, spatial: usize, out: &mut [f32]) {
    match param {
        None => out.fill(absent),
        Some(p) => out.chunks_exact_mut(spatial).zip(p).for_each(|(out, p)| out.fill(*p)),
    }
}

/// Group norm's gradients: those of layer norm along each sample's groups; dgamma and dbeta over batch and spatial.
///
/// Shapes, row-major: `dy`, `x`, `dx` `[batch, channels, spatial]`; `mean`, `rstd` `[batch, groups]` as the forward pass
/// saved them; `gamma` (1 if None), `dgamma`, `dbeta` `[channels]`, overwritten, or added to if `accumulate`. Each output
/// may be None.
///
/// Accuracy and threads: as layer norm's gradients.
///
/// # Errors
/// `InvalidArgument` where groups do not divide channels, `InvalidSize`, `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn group_norm_backward_f32(
    ctx: &Context,
    batch: usize,
    channels: usize,
    spatial: usize,
    groups: usize,
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gamma: Option<&[f32]>,
    accumulate: bool,
    dx: Option<&mut [f32]>,
    dgamma: Option<&mut [f32]>,
    dbeta: Option<&mut [f32]>,
) -> Result {
    const FUNCTION: &str = "group_norm_backward_f32";
    let shape = Shape::new(FUNCTION, [batch, channels, spatial, groups])?;
    check_len(FUNCTION, "dy", dy, shape.n)?;
    check_len(FUNCTION, "x", x, shape.n)?;
    check_len(FUNCTION, "mean", mean, shape.rows)?;
    check_len(FUNCTION, "rstd", rstd, shape.rows)?;
    check_optional(FUNCTION, "gamma", gamma, channels)?;
    check_optional(FUNCTION, "dx", dx.as_deref(), shape.n)?;
    check_optional(FUNCTION, "dgamma", dgamma.as_deref(), channels)?;
    check_optional(FUNCTION, "dbeta", dbeta.as_deref(), channels)?;
    let params = dgamma.is_some() || dbeta.is_some();
    let outs = [dgamma, dbeta];
    let write = |k: usize, c: usize, out: &mut f32, total: &dyn Fn(usize, usize) -> f64| {
        *out = (total(k, c) + if accumulate { *out as f64 } else { 0.0 }) as f32;
    };
    if shape.n == 0 {
        for (k, out) in outs.into_iter().enumerate() {
            out.into_iter().flatten().enumerate().for_each(|(c, out)| write(k, c, out, &|_, _| 0.0));
        }
        return Ok(());
    }
    if spatial < LONG {
        let row = channels * spatial;
        let mut scratch = Scratch::take::<f32>(FUNCTION, row)?;
        let g = scratch.slice::<f32>(row);
        spread(gamma, 1.0, spatial, g);
        let call = Gradients { cols: shape.cols(), groups, dy, dsum: None, x, mean, rstd, gamma: g, dx, params };
        let mut sums = backward::run::<f32, true>(FUNCTION, ctx, NS, call)?;
        let layout = sums.layout;
        let sums = sums.get();
        let _fp = FpEnv::enter(ctx.flush_subnormals());
        // Elements of a channel in ascending order, the tasks of each too.
        let total = |k: usize, c: usize| {
            let first = c / shape.width() * layout.padded + c % shape.width() * spatial;
            let of = |j: usize| {
                let at = |task: usize| sums[(2 * task + k) * layout.stride + first + j];
                (0..layout.tasks).map(at).fold(0.0, |a, b| a + b)
            };
            (0..spatial).map(of).fold(0.0, |a, b| a + b)
        };
        for (k, out) in outs.into_iter().enumerate() {
            out.into_iter().flatten().enumerate().for_each(|(c, out)| write(k, c, out, &total));
        }
        return Ok(());
    }
    // dgamma and dbeta of every sample.
    let mut scratch = Scratch::take::<f64>(FUNCTION, 3 * batch * channels)?;
    let parts = scratch.slice::<f64>(3 * batch * channels);
    {
        let (parts, dx) = (Shared::new(&mut *parts), dx.map(Shared::new));
        let stream = streams::<f32>(shape.n, LANES);
        let step = shape.step();
        ctx.for_each(Work::elements(shape.n, NS), shape.rows.div_ceil(step), |task| {
            for row in task * step..shape.rows.min((task + 1) * step) {
                let width = shape.width();
                let first = row * width;
                // SAFETY: tasks have disjoint rows.
                let parts = unsafe { parts.piece(3 * first..3 * (first + width)) };
                let gamma = |i: usize| gamma.map_or(1.0, |g| g[shape.channel(row, i)]) as f64;
                let call = OneGroup { shape, row, dy, x, mean: mean[row], rstd: rstd[row] };
                let slope = call.sums(ctx, gamma, parts);
                let Some(dx) = &dx else { continue };
                for i in 0..width {
                    let run = shape.run(row, i);
                    // SAFETY: as above.
                    let (dy, x, dx) = (&dy[run.clone()], &x[run.clone()], unsafe { dx.piece(run) });
                    match slope {
                        Ok([shift, a, b]) => {
                            let n = shape.cols() as f64;
                            let slope = Slope::new(n, [call.mean, call.rstd], shift, gamma(i), a, b);
                            ctx.dispatch(Dx { dy, x, dx, slope, stream });
                        }
                        Err([m, k, a, b]) => dx.iter_mut().zip(dy).zip(x).for_each(|((dx, dy), x)| {
                            let xhat = (*x as f64 - m) * k;
                            *dx = ((gamma(i) * *dy as f64 - a - xhat * b) * k) as f32;
                        }),
                    }
                }
            }
        });
    }
    let _fp = FpEnv::enter(ctx.flush_subnormals());
    let total = |k: usize, c: usize| {
        // Parts hold Σ dy first.
        (0..batch).map(|i| parts[3 * (i * channels + c) + 1 - k]).fold(0.0, |a, b| a + b)
    };
    for (k, out) in outs.into_iter().enumerate() {
        out.into_iter().flatten().enumerate().for_each(|(c, out)| write(k, c, out, &total));
    }
    Ok(())
}

/// One group of one sample.
struct OneGroup<'a> {
    shape: Shape,
    row: usize,
    dy: &'a [f32],
    x: &'a [f32],
    mean: f32,
    rstd: f32,
}

impl OneGroup<'_> {
    /// Puts Σ dy and Σ dy·x̂ of every channel into the first two of its parts. What dx takes: the shift of x̂ and the
    /// two averages, or in f64 mean, scale and the averages.
    fn sums(
        &self,
        ctx: &Context,
        gamma: impl Fn(usize) -> f64,
        parts: &mut [f64],
    ) -> std::result::Result<[f64; 3], [f64; 4]> {
        let n = self.shape.cols() as f64;
        let mut total = [0.0; 3];
        for (i, part) in parts.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let run = self.shape.run(self.row, i);
            let (dy, x) = (&self.dy[run.clone()], &self.x[run]);
            *part = ctx.dispatch(Sums { dy, x, mean: self.mean, rstd: self.rstd });
            let weighted = [gamma(i) * part[0], gamma(i) * part[1], part[2]];
            (0..3).for_each(|k| total[k] += weighted[k]);
        }
        if !(total[0] + total[1] + total[2]).is_finite() {
            return Err(self.sums_wide(gamma, parts));
        }
        let shift = -total[2] / n;
        parts.as_chunks_mut::<3>().0.iter_mut().for_each(|part| part[1] += shift * part[0]);
        Ok([shift, total[0] / n, (total[1] + shift * total[0]) / n])
    }

    fn sums_wide(&self, gamma: impl Fn(usize) -> f64, parts: &mut [f64]) -> [f64; 4] {
        let cols = self.shape.cols();
        let n = cols as f64;
        let x = &self.x[self.row * cols..(self.row + 1) * cols];
        let rough = self.mean as f64;
        let mean = rough + x.iter().map(|x| *x as f64 - rough).sum::<f64>() / n;
        let mut scale = self.rstd as f64;
        if scale == f64::INFINITY {
            let var = x.iter().map(|x| (*x as f64 - mean) * (*x as f64 - mean)).sum::<f64>() / n;
            scale = Moments { n, mean, var, wide: true }.scale(0.0);
        }
        let (mut a, mut b) = (0.0, 0.0);
        for (i, part) in parts.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let run = self.shape.run(self.row, i);
            let pairs = || self.dy[run.clone()].iter().zip(&self.x[run.clone()]);
            let dy = pairs().map(|(dy, _)| *dy as f64).sum::<f64>();
            let dy_xhat = pairs().map(|(dy, x)| *dy as f64 * ((*x as f64 - mean) * scale)).sum::<f64>();
            *part = [dy, dy_xhat, 0.0];
            (a, b) = (a + gamma(i) * dy, b + gamma(i) * dy_xhat);
        }
        [mean, scale, a / n, b / n]
    }
}
