//! z = D·Wᵀ·W·D·v in one pass over W: while rows are in the cache their dot products with v are taken, and then their sum
//! weighted by these.

use crate::context::Context;
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};

/// W, whose dimensions callers checked, and D: f32 as they come.
pub(super) struct Gram<'a> {
    pub(super) ctx: &'a Context,
    pub(super) function: &'static str,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) w: &'a [f32],
    pub(super) ldw: usize,
    /// The diagonal of D; None for the unit matrix.
    pub(super) scale: Option<&'a [f32]>,
}

/// Elements of W that are worth a task, which sums on its own; and how many tasks there are at most.
const TASK: usize = 32 * 1024;
const MOST_TASKS: usize = 64;

/// Rows that are read at once.
const ROWS: usize = 4;

impl Gram<'_> {
    /// Columns, rounded up to whole vectors: the length of v and z, whose last elements are 0.
    pub(super) fn padded(&self) -> usize {
        self.cols.next_multiple_of(LANES)
    }

    /// Rows of a task, by the shape alone.
    fn step(&self) -> usize {
        self.rows.div_ceil(MOST_TASKS).max(TASK.div_ceil(self.cols)).next_multiple_of(ROWS)
    }

    /// Workspace of [`Gram::times`], in doubles.
    pub(super) fn scratch(&self) -> Result<Scratch> {
        Scratch::take::<f64>(self.function, self.scratch_len())
    }

    fn scratch_len(&self) -> usize {
        (self.rows.div_ceil(self.step()) + 1) * self.padded()
    }

    /// z = D·Wᵀ·W·D·v: the rows of a task ascending, four at a time; tasks join in ascending order.
    pub(super) fn times(&self, v: &[f64], z: &mut [f64], scratch: &mut Scratch) {
        let (padded, step) = (self.padded(), self.step());
        let tasks = self.rows.div_ceil(step);
        let (scaled, parts) = scratch.slice::<f64>(self.scratch_len()).split_at_mut(padded);
        let v = match self.scale {
            None => v,
            Some(scale) => {
                multiply(scaled, v, scale);
                scaled
            }
        };
        {
            let parts = Shared::new(&mut *parts);
            self.ctx.for_each(Work::elements(self.rows * self.cols, 0.15), tasks, |task| {
                let rows = task * step..self.rows.min((task + 1) * step);
                // SAFETY: each task has its own part.
                let z = unsafe { parts.piece(task * padded..(task + 1) * padded) };
                z.fill(0.0);
                let w = &self.w[rows.start * self.ldw..];
                self.ctx.dispatch(Pass { w, ldw: self.ldw, rows: rows.len(), cols: self.cols, v, z });
            });
        }
        z.copy_from_slice(&parts[..padded]);
        for part in parts.chunks_exact(padded).skip(1) {
            z.iter_mut().zip(part).for_each(|(z, part)| *z += part);
        }
        if let Some(scale) = self.scale {
            z.iter_mut().zip(scale).for_each(|(z, d)| *z *= *d as f64);
        }
    }
}

/// out = v·scale; out's elements past the scale are 0.
fn multiply(out: &mut [f64], v: &[f64], scale: &[f32]) {
    out[scale.len()..].fill(0.0);
    for ((out, v), d) in out.iter_mut().zip(v).zip(scale) {
        *out = v * *d as f64;
    }
}

/// z += Wᵀ·W·v over some rows.
struct Pass<'a> {
    w: &'a [f32],
    ldw: usize,
    rows: usize,
    cols: usize,
    v: &'a [f64],
    z: &'a mut [f64],
}

impl Kernel for Pass<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        assert!(self.rows > 0 && self.cols > 0 && self.w.len() >= (self.rows - 1) * self.ldw + self.cols);
        let padded = self.cols.next_multiple_of(LANES);
        assert!(self.v.len() >= padded && self.z.len() >= padded);
        let mut row = 0;
        while !S::COMPACT && row + ROWS <= self.rows {
            self.rows_at::<S, ROWS>(s, row);
            row += ROWS;
        }
        while row < self.rows {
            self.rows_at::<S, 1>(s, row);
            row += 1;
        }
    }
}

impl Pass<'_> {
    /// `R` rows from `row`, which are there: the dot product of each, element j in lane j mod 8; then their weighted sum.
    #[inline(always)]
    fn rows_at<S: Simd, const R: usize>(&mut self, s: S, row: usize) {
        const HALF: usize = LANES / 2;
        let (v, z, cols) = (self.v.as_ptr(), self.z.as_mut_ptr(), self.cols);
        let whole = if S::COMPACT { 0 } else { cols - cols % LANES };
        let mut sums = [s.splat_d(0.0); R];
        // SAFETY: rows row to row + R and their columns lie in w, whole vectors from 0 to the columns rounded up in v and z
        // (run).
        unsafe {
            let w = self.w.as_ptr().add(row * self.ldw);
            macro_rules! dots {
                ($j:expr, $full:expr) => {{
                    let (low, high) = (s.load_d(v.add($j)), s.load_d(v.add($j + HALF)));
                    for r in 0..R {
                        let (a, b) = s.widen(load::<S, $full>(s, w.add(r * self.ldw + $j), cols - $j));
                        sums[r] = s.fma_d(b, high, s.fma_d(a, low, sums[r]));
                    }
                }};
            }
            let mut j = 0;
            while j < whole {
                dots!(j, true);
                j += LANES;
            }
            while j < cols {
                dots!(j, false);
                j = if S::COMPACT { j + LANES } else { cols };
            }
            let mut weights = sums;
            for r in 0..R {
                weights[r] = s.splat_d(s.sum_d(sums[r]));
            }
            macro_rules! add {
                ($j:expr, $full:expr) => {{
                    let (mut low, mut high) = (s.load_d(z.add($j)), s.load_d(z.add($j + HALF)));
                    for r in 0..R {
                        let (a, b) = s.widen(load::<S, $full>(s, w.add(r * self.ldw + $j), cols - $j));
                        low = s.fma_d(a, weights[r], low);
                        high = s.fma_d(b, weights[r], high);
                    }
                    s.store_d(z.add($j), low);
                    s.store_d(z.add($j + HALF), high);
                }};
            }
            let mut j = 0;
            while j < whole {
                add!(j, true);
                j += LANES;
            }
            while j < cols {
                add!(j, false);
                j = if S::COMPACT { j + LANES } else { cols };
            }
        }
    }
}

/// # Safety
/// 16 floats are there if `FULL`, else `n` of them, of which the first 16 count.
#[inline(always)]
unsafe fn load<S: Simd, const FULL: bool>(s: S, p: *const f32, n: usize) -> S::F {
    // SAFETY: the caller's contract.
    unsafe { if FULL { s.load(p) } else { s.load_first(p, if S::COMPACT { n.min(LANES) } else { n }) } }
}
