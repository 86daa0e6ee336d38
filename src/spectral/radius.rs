//! The spectral radius by the norms of repeated squares.

use super::{Spectral, check_matrix};
use crate::context::Context;
use crate::error::{Result, product};
use crate::fpenv::FpEnv;
use crate::matmul::{Args, Plain, Transpose, multiply};
use crate::scratch::Scratch;

/// The most squarings that are made.
pub const MOST_SQUARINGS: usize = 48;

/// How close the bound and the estimate must come, relative to the radius.
pub const RADIUS_TOLERANCE: f64 = 5e-5;

/// ρ(W) = max |λ|, the spectral radius of `w` `[n, n]` with rows `ldw` ≥ n apart: whether the gradient of a recurrence
/// vanishes or explodes over time (whitepaper §7).
///
/// ρ = lim ‖Wᴺ‖^(1/N) for N = 2ᵏ, by k squarings in f64, each rescaled by a power of two. ‖Wᴺ‖_F ~ C·N^m·ρᴺ, also for
/// complex pairs, Jordan blocks (of order m + 1) and matrices that are not normal: ‖Wᴺ‖^(1/N) bounds ρ from above, and the
/// second difference of log ‖Wᴺ‖ in k knows neither C nor m. It has converged when both agree within [`RADIUS_TOLERANCE`],
/// which takes 14 to 22 squarings; the value, the second estimate, is usually far closer. `max_squarings` 0 stands for
/// [`MOST_SQUARINGS`], which is also the limit of what is made. Rounding acts like a perturbation of W by 1e-16 of its norm:
/// an eigenvalue of multiplicity m without as many eigenvectors moves by 1e-16^(1/m) of that norm where the matrix is not
/// triangular. The product's order is that of [`matmul_f64`](crate::matmul::matmul_f64). Workspace: 16·n² bytes.
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
    let _fp = FpEnv::enter(false);
    let (mut power, mut square) = scratch.slice::<f64>(2 * len).split_at_mut(len);
    for (row, w) in power.chunks_exact_mut(n).zip(w.chunks(ldw)) {
        row.iter_mut().zip(w).for_each(|(x, w)| *x = *w as f64);
    }
    if n == 1 {
        let value = power[0].abs();
        let (value, converged) = if value.is_finite() { (value, true) } else { (f64::NAN, false) };
        return Ok(Spectral { value, converged, iterations: 0 });
    }
    let mut logs = Logs::default();
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
                a: power,
                lda: n,
                b: power,
                ldb: n,
                beta: 0.0,
                ldc: n,
                epilogue: &Plain,
            };
            multiply(ctx, &args, square)?;
            std::mem::swap(&mut power, &mut square);
        }
        let Some(exponent) = rescale(power) else {
            return Ok(Spectral { value: f64::NAN, converged: false, iterations: k });
        };
        if exponent == i32::MIN {
            // A power of W is 0.
            return Ok(Spectral { value: 0.0, converged: true, iterations: k });
        }
        logs.add(exponent, sum_of_squares(power).ln() / 2.0);
        if logs.converged() {
            return Ok(Spectral { value: logs.estimate().exp(), converged: true, iterations: k });
        }
    }
    Ok(Spectral { value: logs.estimate().exp(), converged: false, iterations: most })
}

/// log ‖Wᴺ‖/N for N = 2ᵏ, as far as it is needed, the latest first.
#[derive(Default)]
struct Logs {
    k: usize,
    /// What the rescalings add up to, divided by N.
    scales: [f64; 4],
    /// The logarithm of the norm of what is left.
    norms: [f64; 4],
}

impl Logs {
    fn add(&mut self, exponent: i32, norm: f64) {
        let n = 2f64.powi(self.k as i32);
        let scale = self.scales[0] + exponent as f64 * std::f64::consts::LN_2 / n;
        self.scales.copy_within(..3, 1);
        self.norms.copy_within(..3, 1);
        (self.scales[0], self.norms[0]) = (scale, norm);
        self.k += 1;
    }

    /// log ‖Wᴺ‖/N, which log ρ is not above.
    fn bound(&self) -> f64 {
        self.scales[0] + self.norms[0] / 2f64.powi(self.k as i32 - 1)
    }

    /// The second difference of log ‖Wᴺ‖ in k, divided by the N of its first: `back` squarings ago.
    fn second(&self, back: usize) -> f64 {
        let [a, b, c] = [0, 1, 2].map(|i| self.scales[back + i]);
        let [x, y, z] = [0, 1, 2].map(|i| self.norms[back + i]);
        4.0 * (a - b) + c + (x - 2.0 * y + z) / 2f64.powi((self.k - 3 - back) as i32)
    }

    fn estimate(&self) -> f64 {
        if self.k < 3 { self.bound() } else { self.second(0).min(self.bound()) }
    }

    /// The bound agrees with the estimate, and with the one before: those of a matrix whose norms swing, as complex pairs
    /// make them, might meet it by chance.
    fn converged(&self) -> bool {
        let near = |x: f64| (self.bound() - x).abs() <= RADIUS_TOLERANCE;
        self.k >= 4 && near(self.second(0)) && (self.second(0) - self.second(1)).abs() <= 2.0 * RADIUS_TOLERANCE
    }
}

/// Scales by a power of two so that the largest magnitude is from 1 to 2, and returns its exponent; `i32::MIN` where all is
/// 0, None where something is not finite.
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
    let largest = f64::from_bits(largest);
    if !largest.is_finite() {
        return None;
    }
    if largest == 0.0 {
        return Some(i32::MIN);
    }
    // Products of numbers up to 2 are normal or of no account, and those of f32 are normal.
    let exponent = (largest.to_bits() >> 52) as i32 - 1023;
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
