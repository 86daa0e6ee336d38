//! The specification of the norms' bits as small scalar programs: every sum in its order.

const CHUNK: usize = 256;
const BLOCK: usize = 32;
const TINY: f64 = 1.0 / (1u128 << 96) as f64;

/// Lanes joined by halves.
fn fold<const N: usize, T: Copy + std::ops::Add<Output = T>>(mut lanes: [T; N]) -> T {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = lanes[i] + lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// A sum along a row: `add(i, sum)` adds element i.
pub fn along(n: usize, add: impl Fn(usize, f32) -> f32) -> f64 {
    let mut total = 0.0;
    for start in (0..n).step_by(CHUNK) {
        let mut lanes = [0f32; 16];
        for i in start..n.min(start + CHUNK) {
            lanes[i % 16] = add(i, lanes[i % 16]);
        }
        total += fold(lanes) as f64;
    }
    total
}

/// The same in f64 throughout.
fn along_wide(n: usize, add: impl Fn(usize, f64) -> f64) -> f64 {
    let mut lanes = [0f64; 16];
    for i in 0..n {
        lanes[i % 16] = add(i, lanes[i % 16]);
    }
    fold(lanes)
}

fn positive(var: f64) -> f64 {
    if var < 0.0 { 0.0 } else { var }
}

pub fn pivot(x: &[f32]) -> f32 {
    let mut first = [0f32; 16];
    let n = x.len().min(16);
    first[..n].copy_from_slice(&x[..n]);
    fold(first) * (1.0 / n as f32)
}

/// Mean and variance in f64, or None where squares leave f32's range.
pub fn statistics(x: &[f32], center: bool, eps: f64) -> Option<(f64, f64)> {
    let n = x.len();
    let count = n as f64;
    let fits = |var: f64| var < f64::INFINITY && var + eps >= TINY;
    if !center {
        let var = along(n, |i, s| x[i].mul_add(x[i], s)) / count;
        return fits(var).then_some((0.0, var));
    }
    let sums = |p: f32| {
        let s1 = along(n, |i, s| s + (x[i] - p)) / count;
        (s1, along(n, |i, s| (x[i] - p).mul_add(x[i] - p, s)) / count)
    };
    let p = pivot(x);
    let (delta, square) = sums(p);
    let var = square - delta * delta;
    if delta * delta <= var && fits(var) {
        return Some((p as f64 + delta, var));
    }
    let p = (p as f64 + delta) as f32;
    let (delta, square) = sums(p);
    let var = positive(square - delta * delta);
    (fits(var) && square < f64::INFINITY).then_some((p as f64 + delta, var))
}

fn statistics_wide(x: &[f32], center: bool) -> (f64, f64) {
    let (n, count) = (x.len(), x.len() as f64);
    let mean = if center { along_wide(n, |i, s| s + x[i] as f64) / count } else { 0.0 };
    let r = along_wide(n, |i, s| s + (x[i] as f64 - mean)) / count;
    let q = along_wide(n, |i, s| (x[i] as f64 - mean).mul_add(x[i] as f64 - mean, s)) / count;
    if center { (mean + r, positive(q - r * r)) } else { (0.0, q) }
}

/// y, mean and rstd of one row.
pub fn forward(center: bool, eps: f32, x: &[f32], gamma: &[f32], beta: &[f32]) -> (Vec<f32>, f32, f32) {
    let eps = eps as f64;
    let affine = |xhat: f32, i: usize| if center { xhat.mul_add(gamma[i], beta[i]) } else { xhat * gamma[i] };
    if let Some((mean, var)) = statistics(x, center, eps) {
        let rstd = 1.0 / (var + eps).sqrt();
        let (m, k, shift) = (mean as f32, rstd as f32, ((mean as f32 as f64 - mean) * rstd) as f32);
        let xhat = |x: f32| if center { (x - m).mul_add(k, shift) } else { x * k };
        return (x.iter().enumerate().map(|(i, &x)| affine(xhat(x), i)).collect(), m, k);
    }
    let (mean, var) = statistics_wide(x, center);
    let rstd = 1.0 / (var + eps).sqrt();
    let scale = if var + eps == 0.0 { 0.0 } else { rstd };
    let y = x.iter().enumerate().map(|(i, &x)| affine(((x as f64 - mean) * scale) as f32, i)).collect();
    (y, mean as f32, rstd as f32)
}

/// dx of one row, and its x̂.
pub fn backward_row(center: bool, dy: &[f32], x: &[f32], mean: f32, rstd: f32, gamma: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (n, count) = (x.len(), x.len() as f64);
    let g: Vec<f32> = dy.iter().zip(gamma).map(|(dy, gamma)| dy * gamma).collect();
    let rough = |i: usize| if center { (x[i] - mean) * rstd } else { x[i] * rstd };
    let sum = |add: &dyn Fn(usize, f32) -> f32| if center { along(n, add) } else { 0.0 };
    let (sum_g, sum_x) = (sum(&|i, s| s + g[i]), sum(&|i, s| s + rough(i)));
    let sum_gx = along(n, |i, s| g[i].mul_add(rough(i), s));
    if (sum_g + sum_gx + sum_x).is_finite() {
        let shift = -sum_x / count;
        let (a, b) = ((sum_g / count) as f32, ((sum_gx + shift * sum_g) / count) as f32);
        let xhat: Vec<f32> =
            (0..n).map(|i| if center { (x[i] - mean).mul_add(rstd, shift as f32) } else { x[i] * rstd }).collect();
        let centered = |i: usize| if center { g[i] - a } else { g[i] };
        let dx = (0..n).map(|i| (-xhat[i]).mul_add(b, centered(i)) * rstd).collect();
        return (dx, xhat);
    }
    let (mut m, mut k) = (if center { mean as f64 } else { 0.0 }, rstd as f64);
    if k == f64::INFINITY {
        let (own, var) = statistics_wide(x, center);
        (m, k) = (own, if var == 0.0 { 0.0 } else { 1.0 / var.sqrt() });
    } else if center {
        m += along_wide(n, |i, s| s + (x[i] as f64 - m)) / count;
    }
    let g: Vec<f64> = dy.iter().zip(gamma).map(|(&dy, &gamma)| dy as f64 * gamma as f64).collect();
    let xhat: Vec<f64> = x.iter().map(|&x| (x as f64 - m) * k).collect();
    let a = if center { along_wide(n, |i, s| s + g[i]) / count } else { 0.0 };
    let b = along_wide(n, |i, s| g[i].mul_add(xhat[i], s)) / count;
    let dx = (0..n).map(|i| (((g[i] - a) - xhat[i] * b) * k) as f32).collect();
    (dx, xhat.iter().map(|&v| v as f32).collect())
}

/// dgamma and dbeta: columns down `rows` of `cols`, in tasks that depend on the shape alone; `start` is what they are
/// added to. `samples` are rows, or as many rows as there are groups.
pub fn down(rows: usize, cols: usize, term: impl Fn(usize, usize, f32) -> f32, start: &[f32]) -> Vec<f32> {
    let step = (128 * 1024 / cols.max(1)).max(16).max(rows.div_ceil(64));
    (0..cols)
        .map(|j| {
            let mut total = 0f64;
            for task in (0..rows).step_by(step) {
                let end = rows.min(task + step);
                let mut sum: Option<f64> = None;
                for block in (task..end).step_by(BLOCK) {
                    let block = (block..end.min(block + BLOCK)).fold(0f32, |s, r| term(r, j, s)) as f64;
                    sum = Some(sum.map_or(block, |s| s + block));
                }
                total += sum.unwrap_or(0.0);
            }
            if start.is_empty() { total as f32 } else { (total + start[j] as f64) as f32 }
        })
        .collect()
}

/// n, mean and variance of some of a channel's values, and whether they needed f64.
#[derive(Clone, Copy)]
pub struct Moments {
    n: f64,
    mean: f64,
    var: f64,
    wide: bool,
}

fn join(a: Moments, b: Moments) -> Moments {
    let (n, delta) = (a.n + b.n, b.mean - a.mean);
    let sum = a.n * a.var + b.n * b.var + delta * delta * (a.n * b.n / n);
    Moments { n, mean: a.mean + delta * (b.n / n), var: sum / n, wide: a.wide || b.wide }
}

/// Of a run of one channel.
pub fn run_moments(x: &[f32], eps: f64) -> Moments {
    let (wide, (mean, var)) = match statistics(x, true, eps) {
        Some(found) => (false, found),
        None => (true, statistics_wide(x, true)),
    };
    Moments { n: x.len() as f64, mean, var, wide }
}

/// Of a column: `rows` values that lie `cols` apart, x[0] the first.
fn column_moments(x: &[f32], rows: usize, cols: usize, eps: f64) -> Moments {
    let n = rows as f64;
    let value = |r: usize| x[r * cols];
    let first = rows.min(16);
    let p = (1..first).fold(value(0), |p, r| p + value(r)) * (1.0 / first as f32);
    let sums = |p: f32| {
        let s1 = one_down(rows, cols, |r, s| s + (value(r) - p));
        let s2 = one_down(rows, cols, |r, s| (value(r) - p).mul_add(value(r) - p, s));
        (s1 / n, s2)
    };
    let fits = |var: f64| var < f64::INFINITY && var + eps >= TINY;
    let (mut delta, mut square) = sums(p);
    let (mut pivot, mut var) = (p, positive(square / n - delta * delta));
    if !(delta * delta <= var && fits(var)) {
        pivot = (p as f64 + delta) as f32;
        (delta, square) = sums(pivot);
        var = positive(square / n - delta * delta);
        if !(fits(var) && square < f64::INFINITY) {
            let mean = (0..rows).map(|r| value(r) as f64).sum::<f64>() / n;
            let rest = (0..rows).map(|r| value(r) as f64 - mean).sum::<f64>() / n;
            let square = (0..rows).map(|r| value(r) as f64 - mean).map(|d| d * d).sum::<f64>() / n;
            return Moments { n, mean: mean + rest, var: positive(square - rest * rest), wide: true };
        }
    }
    Moments { n, mean: pivot as f64 + delta, var, wide: false }
}

/// One column of [`down`], in f64, in the tasks of a tensor of `cols`.
fn one_down(rows: usize, cols: usize, term: impl Fn(usize, f32) -> f32) -> f64 {
    let step = (128 * 1024 / cols).max(16).max(rows.div_ceil(64));
    let mut total = 0.0;
    for task in (0..rows).step_by(step) {
        let end = rows.min(task + step);
        let blocks = (task..end).step_by(BLOCK);
        let sums = blocks.map(|b| (b..end.min(b + BLOCK)).fold(0f32, |s, r| term(r, s)) as f64);
        total += sums.reduce(|a, b| a + b).unwrap_or(0.0);
    }
    total
}

/// [batch, channels, spatial].
pub type Shape = [usize; 3];

fn run([_, channels, spatial]: Shape, i: usize, c: usize) -> std::ops::Range<usize> {
    let start = (i * channels + c) * spatial;
    start..start + spatial
}

/// The moments of a channel of a batch: along runs if they are long, else down columns.
pub fn batch_moments(shape: Shape, x: &[f32], c: usize, eps: f64) -> Moments {
    let [batch, channels, spatial] = shape;
    if spatial >= 16 {
        return (0..batch).map(|i| run_moments(&x[run(shape, i, c)], eps)).reduce(join).expect("a batch");
    }
    let cols = channels * spatial;
    (0..spatial).map(|s| column_moments(&x[c * spatial + s..], batch, cols, eps)).reduce(join).expect("a column")
}

/// y of a run, and its channel's mean and rstd.
pub fn normalize(m: Moments, eps: f64, gamma: f32, beta: f32, x: &[f32]) -> (Vec<f32>, f32, f32) {
    let rstd = 1.0 / (m.var + eps).sqrt();
    let mean = m.mean as f32;
    let y = if m.wide || !(m.var < f64::INFINITY && m.var + eps >= TINY) {
        let scale = if m.var + eps == 0.0 { 0.0 } else { rstd };
        x.iter().map(|&x| (((x as f64 - m.mean) * scale) as f32).mul_add(gamma, beta)).collect()
    } else {
        let a = gamma as f64 / (m.var + eps).sqrt();
        let b = beta as f64 + (mean as f64 - m.mean) * a;
        x.iter().map(|&x| (x - mean).mul_add(a as f32, b as f32)).collect()
    };
    (y, mean, rstd as f32)
}

/// Σ dy, Σ dy·x̂ and Σ x̂ of a run, x̂ from the rounded mean.
fn run_sums(dy: &[f32], x: &[f32], mean: f32, rstd: f32) -> [f64; 3] {
    let xhat = |i: usize| (x[i] - mean) * rstd;
    let n = x.len();
    [along(n, |i, s| s + dy[i]), along(n, |i, s| dy[i].mul_add(xhat(i), s)), along(n, |i, s| s + xhat(i))]
}

/// dx of one element: dy·k + (x̂·c + d).
fn slope(n: f64, [mean, rstd]: [f32; 2], [gamma, shift, a, b]: [f64; 4]) -> impl Fn(f32, f32) -> f32 {
    let r = if n == 1.0 { 0.0 } else { rstd as f64 };
    let (k, c, d) = ((gamma * r) as f32, (-b * r) as f32, (-(a + shift * b) * r) as f32);
    move |dy, x| dy.mul_add(k, ((x - mean) * rstd).mul_add(c, d))
}

/// dx, dgamma and dbeta of a batch norm whose sums stay finite.
pub fn batch_backward(
    shape: Shape,
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gamma: &[f32],
) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
    let [batch, channels, spatial] = shape;
    let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; x.len()], vec![0.0; channels], vec![0.0; channels]);
    let n = batch as f64 * spatial as f64;
    for c in (0..channels).filter(|_| n > 0.0) {
        let mut sums = [0.0; 3];
        let mut add = |part: [f64; 3]| (0..3).for_each(|k| sums[k] += part[k]);
        if spatial >= 16 {
            (0..batch).for_each(|i| add(run_sums(&dy[run(shape, i, c)], &x[run(shape, i, c)], mean[c], rstd[c])));
        } else {
            let cols = channels * spatial;
            for j in c * spatial..(c + 1) * spatial {
                let xhat = |r: usize| (x[r * cols + j] - mean[c]) * rstd[c];
                add([
                    one_down(batch, cols, |r, s| s + dy[r * cols + j]),
                    one_down(batch, cols, |r, s| dy[r * cols + j].mul_add(xhat(r), s)),
                    one_down(batch, cols, |r, s| s + xhat(r)),
                ]);
            }
        }
        let shift = -sums[2] / n;
        (dbeta[c], dgamma[c]) = (sums[0], sums[1] + shift * sums[0]);
        let g = gamma[c] as f64;
        let map = slope(n, [mean[c], rstd[c]], [g, shift, g * dbeta[c] / n, g * dgamma[c] / n]);
        for i in (0..batch).flat_map(|i| run(shape, i, c)) {
            dx[i] = map(dy[i], x[i]);
        }
    }
    (dx, dgamma, dbeta)
}

/// The same of a group norm whose runs are long.
#[allow(clippy::too_many_arguments)]
pub fn group_backward(
    shape: Shape,
    groups: usize,
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gamma: &[f32],
) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
    let [batch, channels, spatial] = shape;
    let (mut dx, mut dgamma, mut dbeta) = (vec![0.0; x.len()], vec![0.0; channels], vec![0.0; channels]);
    let width = channels / groups;
    let n = (width * spatial) as f64;
    for (i, g) in (0..batch).flat_map(|i| (0..groups).map(move |g| (i, g))) {
        let stats = [mean[i * groups + g], rstd[i * groups + g]];
        let parts: Vec<[f64; 3]> = (g * width..(g + 1) * width)
            .map(|c| run_sums(&dy[run(shape, i, c)], &x[run(shape, i, c)], stats[0], stats[1]))
            .collect();
        let mut total = [0.0; 3];
        for (part, c) in parts.iter().zip(g * width..) {
            let weighted = [gamma[c] as f64 * part[0], gamma[c] as f64 * part[1], part[2]];
            (0..3).for_each(|k| total[k] += weighted[k]);
        }
        let shift = -total[2] / n;
        let (a, b) = (total[0] / n, (total[1] + shift * total[0]) / n);
        for (part, c) in parts.iter().zip(g * width..) {
            dbeta[c] += part[0];
            dgamma[c] += part[1] + shift * part[0];
            let map = slope(n, stats, [gamma[c] as f64, shift, a, b]);
            run(shape, i, c).for_each(|i| dx[i] = map(dy[i], x[i]));
        }
    }
    (dx, dgamma, dbeta)
}
