//! The spectral radius by the norms of repeated squares.

use super::{Spectral, check_matrix};
use crate::context::Context;
use crate::error::{Result, product};
use crate::fpenv::FpEnv;
use crate::matmul::{Args, Numbers, Transpose, multiply};
use crate::scratch::Scratch;

/// The most squarings that are made.
pub const MOST_SQUARINGS: usize = 48;

/// How close the bounds must come, relative to the radius.
pub const RADIUS_TOLERANCE: f64 = 5e-5;

/// ρ(W) = max |λ|, the spectral radius of `w` `[n, n]` with rows `ldw` ≥ n apart: whether the gradient of a recurrence
/// vanishes or explodes over time (whitepaper §7).
///
/// ρ = lim ‖Wᴺ‖^(1/N) for N = 2ᵏ, by k squarings in f64, each rescaled by a power of two. ‖Wᴺ‖_F ~ C·N^m·ρᴺ, also for
/// complex pairs, Jordan blocks (of order m + 1) and matrices that are not normal; the second difference of log ‖Wᴺ‖ in k
/// knows neither C nor m and is the estimate. ‖Wᴺ‖^(1/N) bounds ρ from above and (|tr Wᴺ|/n)^(1/N) from below: it has
/// converged when these two are within [`RADIUS_TOLERANCE`], or, where traces vanish, when the estimate has stayed where it
/// is, and as close to the upper bound, for three squarings. That takes 16 to 22 of them; the value is usually far closer.
/// `max_squarings` 0 stands for
/// [`MOST_SQUARINGS`], which is also the limit of what is made. Where zeros make W block triangular in some order of its rows
/// the diagonal blocks are taken one by one, so that a triangular matrix costs no product and is exact. Rounding acts like a perturbation of W by 1e-16 of its norm:
/// an eigenvalue of multiplicity m without as many eigenvectors moves by 1e-16^(1/m) of that norm where the matrix is not
/// triangular in some order. The product's order is that of [`matmul_f64`](crate::matmul::matmul_f64). Workspace: 16·n² bytes.
///
/// # Errors
/// `InvalidSize`; `OutOfMemory`.
///
/// ```
/// let ctx = evenkeel::Context::global()?;
/// // A rotation by a right angle, times 0.9: its eigenvalues are ±0.9i.
/// let rho = evenkeel::spectral::spectral_radius_f32(ctx, 2, &[0.0, -0.9, 0.9, 0.0], 2, 0)?;
/// assert!(rho.converged && (rho.value - 0.9).abs() < 1e-6);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn spectral_radius_f32(ctx: &Context, n: usize, w: &[f32], ldw: usize, max_squarings: usize) -> Result<Spectral> {
    let f = "spectral_radius_f32";
    check_matrix(f, n, n, w, ldw)?;
    if n == 0 {
        return Ok(Spectral { value: 0.0, converged: true, iterations: 0 });
    }
    let len = product(f, "w", &[n, n])?;
    let most = if max_squarings == 0 { MOST_SQUARINGS } else { max_squarings.min(MOST_SQUARINGS) };
    let mut scratch = Scratch::take::<f64>(f, 2 * len)?;
    let mut graph = Scratch::take::<usize>(f, 5 * n)?;
    let _fp = FpEnv::enter(false);
    let (power, square) = scratch.slice::<f64>(2 * len).split_at_mut(len);
    let row = |i: usize| &w[i * ldw..i * ldw + n];
    if (0..n).any(|i| row(i).iter().any(|x| !x.is_finite())) {
        return Ok(Spectral { value: f64::NAN, converged: false, iterations: 0 });
    }
    let mut all = Spectral { value: 0.0, converged: true, iterations: 0 };
    each_component(
        n,
        |i, j| row(i)[j] != 0.0,
        graph.slice::<usize>(5 * n),
        |members| {
            let m = members.len();
            let (power, square) = (&mut power[..m * m], &mut square[..m * m]);
            for (to, i) in power.chunks_exact_mut(m).zip(members) {
                to.iter_mut().zip(members).for_each(|(x, j)| *x = row(*i)[*j] as f64);
            }
            let found = of_component(f, ctx, m, power, square, most)?;
            all.value = all.value.max(found.value);
            all.converged &= found.converged;
            all.iterations = all.iterations.max(found.iterations);
            Ok(())
        },
    )?;
    Ok(all)
}

/// Calls `visit` with the members, ascending, of every set of rows that reach each other: the diagonal blocks of the block
/// triangular form, whose eigenvalues are the matrix's. Tarjan's algorithm; `work` holds 5·n numbers.
fn each_component(
    n: usize,
    edge: impl Fn(usize, usize) -> bool,
    work: &mut [usize],
    mut visit: impl FnMut(&[usize]) -> Result,
) -> Result {
    const DONE: usize = usize::MAX;
    let (found, rest) = work.split_at_mut(n);
    let (low, rest) = rest.split_at_mut(n);
    let (next, rest) = rest.split_at_mut(n);
    let (stack, path) = rest.split_at_mut(n);
    // When a row was found, from 1 on; then the earliest that it reaches, and the column to look at next.
    found.fill(0);
    let (mut count, mut top, mut depth) = (0, 0, 0);
    for root in 0..n {
        let mut enter = (found[root] == 0).then_some(root);
        while depth > 0 || enter.is_some() {
            if let Some(i) = enter.take() {
                count += 1;
                (found[i], low[i], next[i]) = (count, count, 0);
                (stack[top], path[depth]) = (i, i);
                (top, depth) = (top + 1, depth + 1);
            }
            let i = path[depth - 1];
            if next[i] < n {
                let j = next[i];
                next[i] += 1;
                if edge(i, j) {
                    match found[j] {
                        0 => enter = Some(j),
                        DONE => {}
                        at => low[i] = low[i].min(at),
                    }
                }
                continue;
            }
            depth -= 1;
            if depth > 0 {
                let parent = path[depth - 1];
                low[parent] = low[parent].min(low[i]);
            }
            if low[i] == found[i] {
                let mut start = top;
                while start == top || stack[start] != i {
                    start -= 1;
                    found[stack[start]] = DONE;
                }
                stack[start..top].sort_unstable();
                visit(&stack[start..top])?;
                top = start;
            }
        }
    }
    Ok(())
}

/// The radius of `power` `[n, n]`, whose rows all reach each other.
fn of_component<'a>(
    f: &'static str,
    ctx: &Context,
    n: usize,
    mut power: &'a mut [f64],
    mut square: &'a mut [f64],
    most: usize,
) -> Result<Spectral> {
    if n == 1 {
        return Ok(Spectral { value: power[0].abs(), converged: true, iterations: 0 });
    }
    let mut logs = Logs::new();
    for k in 0..=most {
        if k > 0 {
            let args = Args {
                function: f,
                trans_a: Transpose::No,
                trans_b: Transpose::No,
                m: n,
                n,
                k: n,
                alpha: 1.0,
                a: Numbers::Direct(power),
                lda: n,
                b: Numbers::Direct(power),
                ldb: n,
                beta: 0.0,
                ldc: n,
                epilogue: None,
            };
            multiply(ctx, &args, square)?;
            std::mem::swap(&mut power, &mut square);
        }
        let Some(exponent) = rescale(power) else {
            // A power that is 0 from the n-th at the latest: else what is left has underflown.
            let nilpotent = (n - 1) >> k.saturating_sub(1) != 0;
            let value = if nilpotent { 0.0 } else { logs.estimate().exp() };
            return Ok(Spectral { value, converged: nilpotent, iterations: k });
        };
        let trace: f64 = (0..n).map(|i| power[i * n + i]).sum();
        logs.add(exponent, sum_of_squares(power).ln() / 2.0, (trace.abs() / n as f64).ln());
        if logs.converged() {
            return Ok(Spectral { value: logs.estimate().exp(), converged: true, iterations: k });
        }
    }
    Ok(Spectral { value: logs.estimate().exp(), converged: false, iterations: most })
}

/// log ‖Wᴺ‖/N for N = 2ᵏ, as far as it is needed, the latest first.
struct Logs {
    k: usize,
    /// What the rescalings add up to, divided by N.
    scales: [f64; 3],
    /// The logarithm of the norm of what is left.
    norms: [f64; 3],
    /// Bounds of log ρ.
    lower: f64,
    upper: f64,
    /// The last second difference, and how many squarings it has stayed.
    second: f64,
    stayed: usize,
}

impl Logs {
    fn new() -> Logs {
        let (lower, upper) = (f64::NEG_INFINITY, f64::INFINITY);
        Logs { k: 0, scales: [0.0; 3], norms: [0.0; 3], lower, upper, second: f64::INFINITY, stayed: 0 }
    }

    /// The next power: what it was rescaled by, the logarithms of the norm and of the mean eigenvalue of what is left.
    fn add(&mut self, exponent: i32, norm: f64, mean: f64) {
        let n = 2f64.powi(self.k as i32);
        let scale = self.scales[0] + exponent as f64 * std::f64::consts::LN_2 / n;
        self.scales.copy_within(..2, 1);
        self.norms.copy_within(..2, 1);
        (self.scales[0], self.norms[0]) = (scale, norm);
        self.lower = self.lower.max(scale + mean / n);
        self.upper = self.upper.min(scale + norm / n);
        if self.k >= 2 {
            // The second difference of log ‖Wᴺ‖ in k, divided by the N of its first.
            let ([a, b, c], [x, y, z]) = (self.scales, self.norms);
            let second = 4.0 * (a - b) + c + (x - 2.0 * y + z) * 4.0 / n;
            let near = |x: f64| (second - x).abs() <= RADIUS_TOLERANCE;
            self.stayed = if near(self.second) && near(self.upper) { self.stayed + 1 } else { 0 };
            self.second = second;
        }
        self.k += 1;
    }

    fn estimate(&self) -> f64 {
        self.second.max(self.lower).min(self.upper)
    }

    fn converged(&self) -> bool {
        self.upper - self.lower <= RADIUS_TOLERANCE || self.stayed >= 3
    }
}

/// Scales by a power of two so that the largest magnitude is from 1 to 2, and returns its exponent; None where all is 0.
fn rescale(x: &mut [f64]) -> Option<i32> {
    let mut bits = [0u64; 8];
    let magnitude = |x: f64| x.to_bits() & (u64::MAX >> 1);
    let (chunks, rest) = x.as_chunks::<8>();
    for chunk in chunks {
        for i in 0..8 {
            bits[i] = bits[i].max(magnitude(chunk[i]));
        }
    }
    let largest = rest.iter().map(|x| magnitude(*x)).chain(bits).max().unwrap_or(0);
    if largest == 0 {
        return None;
    }
    // Entries of f32, and products of entries up to 2, are finite; a largest one that is subnormal is scaled less far.
    let exponent = (largest >> 52) as i32 - 1023;
    let factor = f64::from_bits(((1023 - exponent) as u64) << 52);
    x.iter_mut().for_each(|x| *x *= factor);
    Some(exponent)
}

/// Element i in sum i mod 8, which join in ascending order, in chunks that do likewise.
fn sum_of_squares(x: &[f64]) -> f64 {
    let chunk = |x: &[f64]| {
        let mut sums = [0.0; 8];
        let (whole, rest) = x.as_chunks::<8>();
        for x in whole {
            for i in 0..8 {
                sums[i] += x[i] * x[i];
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|x| x * x).sum::<f64>()
    };
    x.chunks(16 * 1024).map(chunk).sum()
}
