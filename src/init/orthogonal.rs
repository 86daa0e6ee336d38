//! Orthogonal matrices, uniform over the group: the Householder reflectors that the QR factorization of a normal matrix has.
//!
//! The first reflector H₁ of such a matrix follows from its first column alone, and leaves below and to the right of it a
//! matrix that is normal again and independent of H₁ (Stewart 1980). So the reflectors are drawn one by one and nothing is
//! factorized, which is half of the work. Q = H₁·H₂ ⋯ Hₙ·D, with D the signs that make the diagonal of R positive: without
//! them Q would not be uniform (Mezzadri 2007). Blocks of reflectors act at once, I − V·T·Vᵀ (Schreiber and Van Loan 1989),
//! by matrix products in f64: the result is rounded to f32 once, and QᵀQ − I is what that rounding leaves.

use super::{finite, normal::Normal};
use crate::context::Context;
use crate::error::{Result, check_len, product};
use crate::matmul::{Args, Numbers, Transpose, multiply};
use crate::parallel::{Shared, Work};
use crate::random::{WORDS, Words};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};

/// Reflectors that act at once: enough of them for the products, few enough that their triangle T costs nothing.
const BLOCK: usize = 64;

/// Fills `w` `[rows, cols]` with gain·Q, where the shorter side's vectors are orthonormal: QᵀQ = I for rows ≥ cols, else
/// QQᵀ = I (whitepaper §10.3; Saxe, McClelland and Ganguli 2014).
///
/// Q is uniform over the orthogonal matrices (over those with orthonormal columns where rows ≠ cols). Reflector k, of
/// length m − k with m = max(rows, cols), comes from the elements of [`init_normal_f32`](super::init_normal_f32) under
/// (seed, stream) that begin at k·m', m' being m rounded up to a multiple of 256. Unlike in the other tensors every element
/// depends on all of them; the bits are still the same for any number of threads.
///
/// Accuracy: f64 inside, one rounding, and QᵀQ − I is what that leaves: at 1024 × 1024 entries up to 1.1e-8, sums of a
/// row's magnitudes up to 1.0e-6. Workspace: 8 bytes for each element.
///
/// # Errors
/// `InvalidArgument` unless gain is finite; `InvalidSize`; `OutOfMemory`.
///
/// ```
/// let ctx = evenkeel::Context::global()?;
/// let mut w = [0.0; 3];
/// evenkeel::init::init_orthogonal_f32(ctx, 7, 0, 2.0, 1, 3, &mut w)?;
/// let norm = w.iter().map(|x| x * x).sum::<f32>().sqrt();
/// assert!((norm - 2.0).abs() < 1e-6);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn init_orthogonal_f32(
    ctx: &Context,
    seed: u64,
    stream: u64,
    gain: f32,
    rows: usize,
    cols: usize,
    w: &mut [f32],
) -> Result {
    let f = "init_orthogonal_f32";
    check_len(f, "w", w, product(f, "w", &[rows, cols])?)?;
    finite(f, "gain", gain)?;
    if w.is_empty() {
        return Ok(());
    }
    let (m, n) = (rows.max(cols), rows.min(cols));
    let block = BLOCK.min(n);
    let sizes = [m * n, block * m, block * n, block * n, 2 * block * block, n];
    let mut scratch = Scratch::take::<f64>(f, sizes.iter().sum())?;
    let mut rest = scratch.slice::<f64>(sizes.iter().sum());
    let [q, v, vq, tvq, triangles, factors] = sizes.map(|len| {
        let (piece, after) = std::mem::take(&mut rest).split_at_mut(len);
        rest = after;
        piece
    });
    q.fill(0.0);
    for j in 0..n {
        q[j * n + j] = 1.0;
    }
    let mut reflectors = Reflectors { ctx, function: f, seed, stream, m, stride: m.next_multiple_of(WORDS) };
    // The last block first: then only rows and columns from its first on are not those of the unit matrix.
    for first in (0..n).step_by(block).rev() {
        let (k, len, width) = (block.min(n - first), m - first, n - first);
        let v = &mut v[..k * len];
        let (vv, t) = triangles.split_at_mut(block * block);
        let (vv, t) = (&mut vv[..k * k], &mut t[..k * k]);
        let factors = &mut factors[first..first + k];
        reflectors.draw(first, v, factors, t)?;
        let times = |a: [usize; 3], trans_a, trans_b, x: &[f64], ldx, y: &[f64], ldy, add, c: &mut [f64], ldc| {
            let ([m, n, k], (alpha, beta)) = (a, if add { (-1.0, 1.0) } else { (1.0, 0.0) });
            let (a, lda, b, ldb) = (x, ldx, y, ldy);
            let (a, b) = (Numbers::Direct(a), Numbers::Direct(b));
            let args =
                Args { function: f, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, ldc, epilogue: None };
            multiply(ctx, &args, c)
        };
        use Transpose::{No, Yes};
        times([k, k, len], No, Yes, v, len, v, len, false, vv, k)?;
        join_triangle(k, vv, t);
        // Vᵀ·Q, whose first columns are still the unit matrix's.
        let vq = &mut vq[..k * width];
        for i in 0..k {
            vq[i * width..i * width + k].copy_from_slice(&v[i * len..i * len + k]);
        }
        let corner = first * n + first;
        if width > k {
            times([k, width - k, len], No, No, v, len, &q[corner + k..], n, false, &mut vq[k..], width)?;
        }
        let tvq = &mut tvq[..k * width];
        times([k, width, k], No, No, t, k, vq, width, false, tvq, width)?;
        times([len, width, k], Yes, No, v, len, tvq, width, true, &mut q[corner..], n)?;
    }
    for factor in factors.iter_mut() {
        *factor *= gain as f64;
    }
    deliver(ctx, rows >= cols, q, factors, w);
    Ok(())
}

struct Reflectors<'a> {
    ctx: &'a Context,
    function: &'static str,
    seed: u64,
    stream: u64,
    m: usize,
    stride: usize,
}

impl Reflectors<'_> {
    /// The reflectors I − τ·v·vᵀ from the `first` on: row i of `v` holds vector i behind i zeros, the diagonal of `t` its τ,
    /// `signs` the sign of its entry on R's diagonal.
    fn draw(&mut self, first: usize, v: &mut [f64], signs: &mut [f64], t: &mut [f64]) -> Result {
        let (k, len) = (signs.len(), self.m - first);
        let work = Work::elements(v.len(), 1.5);
        let workers = self.ctx.workers(work, k);
        let mut scratch = Scratch::take::<f32>(self.function, workers * self.stride)?;
        let normals = Shared::new(scratch.slice::<f32>(workers * self.stride));
        t.fill(0.0);
        let (v, signs, t) = (Shared::new(v), Shared::new(signs), Shared::new(t));
        self.ctx.for_each_worker(workers, k, |worker, i| {
            // SAFETY: tasks have disjoint rows, signs and places on the diagonal, workers disjoint normals.
            let (row, sign, tau, x) = unsafe {
                let diagonal = i * k + i;
                let x = normals.piece(worker * self.stride..worker * self.stride + len - i);
                (v.piece(i * len..(i + 1) * len), signs.piece(i..i + 1), t.piece(diagonal..diagonal + 1), x)
            };
            let words = Words::new(self.seed, self.stream, (first + i) * self.stride);
            self.ctx.dispatch(Normal { words, mean: 0.0, std: 1.0, w: x });
            row[..i].fill(0.0);
            let row = &mut row[i..];
            let norm = self.ctx.dispatch(Widen { x, y: row }).sqrt();
            // H·x = −sign(x₀)·‖x‖·e₀; of x₀ and the norm the sum is taken that does not cancel.
            let x0 = row[0];
            row[0] = x0 + norm.copysign(x0);
            tau[0] = if norm > 0.0 { 1.0 / (norm * (norm + x0.abs())) } else { 0.0 };
            sign[0] = if norm > 0.0 { -1f64.copysign(x0) } else { 1.0 };
        });
        Ok(())
    }
}

/// y = x, exactly, and Σx²: element i in lane i mod 16, lanes folded by halves.
struct Widen<'a> {
    x: &'a [f32],
    y: &'a mut [f64],
}

impl Kernel for Widen<'_> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        const HALF: usize = LANES / 2;
        let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
        for (x, y) in self.x.chunks(LANES).zip(self.y.chunks_mut(LANES)) {
            let n = x.len().min(y.len());
            // SAFETY: x and y hold n elements.
            unsafe {
                let (a, b) = s.widen(s.load_up_to(x.as_ptr(), n));
                low = s.fma_d(a, a, low);
                high = s.fma_d(b, b, high);
                if n == LANES {
                    s.store_d(y.as_mut_ptr(), a);
                    s.store_d(y.as_mut_ptr().add(HALF), b);
                } else {
                    s.store_first_d(y.as_mut_ptr(), a, n.min(HALF));
                    s.store_first_d(y.as_mut_ptr().add(n.min(HALF)), b, n.saturating_sub(HALF));
                }
            }
        }
        s.sum_dd(low, high)
    }
}

/// The upper triangle T of H₀·H₁ ⋯ = I − V·T·Vᵀ, given V·Vᵀ of the vectors (in rows) and T's diagonal: above it column i is
/// −τᵢ·T·(Vᵀ·vᵢ), summed by rows in ascending order.
fn join_triangle(k: usize, vv: &[f64], t: &mut [f64]) {
    for i in 1..k {
        let tau = t[i * k + i];
        for row in 0..i {
            let sum: f64 = (row..i).map(|j| t[row * k + j] * vv[j * k + i]).sum();
            t[row * k + i] = -tau * sum;
        }
    }
}

/// w = Q with column j times factor j, or its transpose.
fn deliver(ctx: &Context, plain: bool, q: &[f64], factors: &[f64], w: &mut [f32]) {
    const ROWS: usize = 16;
    let n = factors.len();
    let m = q.len() / n;
    let work = Work::elements(q.len(), 1.0);
    if plain {
        let w = Shared::new(w);
        ctx.for_each(work, m.div_ceil(ROWS), |task| {
            let range = task * ROWS * n..q.len().min((task + 1) * ROWS * n);
            // SAFETY: tasks have disjoint rows.
            let w = unsafe { w.piece(range.clone()) };
            for (w, q) in w.chunks_exact_mut(n).zip(q[range].chunks_exact(n)) {
                for ((w, q), factor) in w.iter_mut().zip(q).zip(factors) {
                    *w = (factor * q) as f32;
                }
            }
        });
        return;
    }
    let w = Shared::new(w);
    ctx.for_each(work, n.div_ceil(ROWS), |task| {
        let columns = task * ROWS..n.min((task + 1) * ROWS);
        // SAFETY: tasks have disjoint rows of w, which are columns of Q.
        let w = unsafe { w.piece(columns.start * m..columns.end * m) };
        for i in (0..m).step_by(ROWS) {
            for (w, j) in w.chunks_exact_mut(m).zip(columns.clone()) {
                for (w, q) in w[i..m.min(i + ROWS)].iter_mut().zip(q[i * n..].chunks(n)) {
                    *w = (factors[j] * q[j]) as f32;
                }
            }
        }
    });
}
