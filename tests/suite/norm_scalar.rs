//! The specification of the norms' bits as small scalar programs: every sum in its order.

const CHUNK: usize = 256;
const BLOCK: usize = 64;
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
pub fn backward_row(
    center: bool,
    dy: &[f32],
    x: &[f32],
    mean: f32,
    rstd: f32,
    gamma: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (n, count) = (x.len(), x.len() as f64);
    let g: Vec<f32> = dy.iter().zip(gamma).map(|(dy, gamma)| dy * gamma).collect();
    let rough = |i: usize| if center { (x[i] - mean) * rstd } else { x[i] * rstd };
    let sum = |add: &dyn Fn(usize, f32) -> f32| if center { along(n, add) } else { 0.0 };
    let (sum_g, sum_x) = (sum(&|i, s| s + g[i]), sum(&|i, s| s + rough(i)));
    let sum_gx = along(n, |i, s| g[i].mul_add(rough(i), s));
    if (sum_g + sum_gx + sum_x).is_finite() {
        let shift = -sum_x / count;
        let (a, b) = ((sum_g / count) as f32, ((sum_gx + shift * sum_g) / count) as f32);
        let xhat: Vec<f32> = (0..n)
            .map(|i| if center { (x[i] - mean).mul_add(rstd, shift as f32) } else { x[i] * rstd })
            .collect();
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
