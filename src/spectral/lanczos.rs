//! The largest singular value by Lanczos' iteration on the Gram matrix, without reorthogonalization: lost orthogonality
//! repeats eigenvalues of the tridiagonal matrix and moves none.

use super::Spectral;
use super::gram::Gram;
use crate::error::Result;
use crate::fpenv::FpEnv;
use crate::init::init_normal_f32;
use crate::scratch::Scratch;

/// The most iterations that are made.
pub const MOST_ITERATIONS: usize = 4096;

/// √ of the largest eigenvalue of the Gram matrix.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn largest(gram: &Gram<'_>, max_iterations: usize, tolerance: f64) -> Result<Spectral> {
    if gram.rows == 0 || gram.cols == 0 {
        return Ok(Spectral { value: 0.0, converged: true, iterations: 0 });
    }
    let most = if max_iterations == 0 { MOST_ITERATIONS } else { max_iterations.min(MOST_ITERATIONS) };
    let (n, ctx) = (gram.padded(), gram.ctx);
    let mut scratch = Scratch::take::<f64>(gram.function, 3 * n + 2 * most)?;
    let mut product_scratch = gram.scratch()?;
    let mut start = Scratch::take::<f32>(gram.function, gram.cols)?;
    let _fp = FpEnv::enter(false);

    let (vectors, triangle) = scratch.slice::<f64>(3 * n + 2 * most).split_at_mut(3 * n);
    let (mut v, rest) = vectors.split_at_mut(n);
    let (mut old, mut z) = rest.split_at_mut(n);
    let (alpha, beta) = triangle.split_at_mut(most);

    // Nearly every vector has a part in every direction, and one of random numbers is not made to miss one.
    let start = start.slice::<f32>(gram.cols);
    init_normal_f32(ctx, 0x0065_7665_6e6b_6565, 0, 0.0, 1.0, start)?;
    v.fill(0.0);
    v.iter_mut().zip(&*start).for_each(|(v, x)| *v = *x as f64);
    let norm = dot(v, v).sqrt();
    v.iter_mut().for_each(|v| *v /= norm);
    old.fill(0.0);

    let mut seen = Checkpoints::default();
    let (mut value, mut size) = (0.0, 0.0f64);
    for k in 0..most {
        gram.times(v, z, &mut product_scratch);
        let a = dot(v, z);
        if !a.is_finite() {
            return Ok(Spectral { value: f64::NAN, converged: false, iterations: k + 1 });
        }
        let before = if k > 0 { beta[k - 1] } else { 0.0 };
        for ((z, v), old) in z.iter_mut().zip(&*v).zip(&*old) {
            *z = *z - a * v - before * old;
        }
        let b = dot(z, z).sqrt();
        (alpha[k], beta[k]) = (a, b);
        // What is left is rounding: the iteration has seen all that its first vector holds.
        size = size.max(a).max(before);
        let exhausted = b <= 1e-13 * size;
        let last = exhausted || k + 1 == most;
        if last || seen.wants(k + 1) {
            value = largest_eigenvalue(&alpha[..=k], &beta[..k]).max(0.0).sqrt();
            let settled = seen.settled(k + 1, value, tolerance);
            if last || settled {
                return Ok(Spectral { value, converged: exhausted || settled, iterations: k + 1 });
            }
        }
        std::mem::swap(&mut old, &mut v);
        std::mem::swap(&mut v, &mut z);
        v.iter_mut().for_each(|v| *v /= b);
    }
    Ok(Spectral { value, converged: false, iterations: most })
}

/// The estimates so far, at iterations an eighth apart.
struct Checkpoints {
    taken: [(usize, f64); 96],
    len: usize,
}

impl Default for Checkpoints {
    fn default() -> Checkpoints {
        Checkpoints { taken: [(0, 0.0); 96], len: 0 }
    }
}

impl Checkpoints {
    /// Whether iteration `k` is one to look at.
    fn wants(&self, k: usize) -> bool {
        let last = if self.len > 0 { self.taken[self.len - 1].0 } else { 0 };
        k >= last + 1 + last / 8
    }

    /// Remembers the estimate of iteration `k`; whether it grew by no more than half of the tolerance since two thirds of
    /// them. Where errors fall like 1/k², as in a dense spectrum, they are then below the tolerance.
    fn settled(&mut self, k: usize, value: f64, tolerance: f64) -> bool {
        let earlier = self.taken[..self.len].iter().rev().find(|(at, _)| 3 * at <= 2 * k);
        let settled = k >= 6 && earlier.is_some_and(|(_, was)| value - was <= tolerance / 2.0 * value);
        if self.len < self.taken.len() {
            self.taken[self.len] = (k, value);
            self.len += 1;
        }
        settled
    }
}

/// The largest eigenvalue of the symmetric tridiagonal matrix, by bisection on the signs of its pivots.
fn largest_eigenvalue(diagonal: &[f64], off: &[f64]) -> f64 {
    let k = diagonal.len();
    let radius = |i: usize| if i > 0 { off[i - 1] } else { 0.0 } + if i + 1 < k { off[i] } else { 0.0 };
    let mut low = diagonal.iter().fold(f64::NEG_INFINITY, |m, d| m.max(*d));
    let mut high = (0..k).map(|i| diagonal[i] + radius(i)).fold(low, f64::max);
    // Whether some eigenvalue is above x: a pivot of x·I − T is then not positive.
    let above = |x: f64| {
        let mut pivot = x - diagonal[0];
        for i in 1..k {
            if pivot <= 0.0 {
                return true;
            }
            pivot = x - diagonal[i] - off[i - 1] * off[i - 1] / pivot;
        }
        pivot <= 0.0
    };
    while high - low > 4.0 * f64::EPSILON * high.abs() {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if above(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Σ a·b: element i in sum i mod 8, which join in ascending order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum()
}
