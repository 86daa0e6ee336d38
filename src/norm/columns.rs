//! Sums down the rows of a [rows, cols] tensor and what is made of them, across columns: [batch, channels] with a short
//! spatial, each element of a row a column of its own.

use super::BLOCK;
use super::backward::{Layout, flush, layout};
use super::segments::Slope;
use super::{first_part, head, put, streams};
use crate::context::Context;
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};

/// Elements of a task that sums nothing.
const PIECE: usize = 32 * 1024;

/// What a row adds to the `K` sums of its columns.
pub(super) trait Term<const K: usize>: Sync {
    /// What does not change from row to row, for `n` columns from `j`.
    ///
    /// # Safety
    /// The columns are there.
    unsafe fn fixed<S: Simd>(&self, s: S, j: usize, n: usize) -> [S::F; 2];
    /// # Safety
    /// The row and its columns are there.
    unsafe fn add<S: Simd>(&self, s: S, fixed: [S::F; 2], row: usize, j: usize, n: usize, sums: &mut [S::F; K]);
}

/// Σ (x − p) and Σ (x − p)² of every column.
pub(super) struct Spread<'a> {
    pub(super) x: &'a [f32],
    pub(super) pivots: &'a [f32],
}

impl Term<2> for Spread<'_> {
    #[inline(always)]
    unsafe fn fixed<S: Simd>(&self, s: S, j: usize, n: usize) -> [S::F; 2] {
        // SAFETY: the caller's contract.
        [unsafe { s.load_up_to(self.pivots.as_ptr().add(j), n) }, s.zero()]
    }
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, s: S, [p, _]: [S::F; 2], row: usize, j: usize, n: usize, sums: &mut [S::F; 2]) {
        // SAFETY: the caller's contract.
        let x = unsafe { s.load_up_to(self.x.as_ptr().add(row * self.pivots.len() + j), n) };
        let d = s.sub(x, p);
        *sums = [s.add(sums[0], d), s.fma(d, d, sums[1])];
    }
}

/// Σ dy, Σ dy·x̂ and Σ x̂ of every column, x̂ = (x − mean)·rstd.
pub(super) struct Products<'a> {
    pub(super) dy: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) mean: &'a [f32],
    pub(super) rstd: &'a [f32],
}

impl Term<3> for Products<'_> {
    #[inline(always)]
    unsafe fn fixed<S: Simd>(&self, s: S, j: usize, n: usize) -> [S::F; 2] {
        // SAFETY: the caller's contract.
        unsafe { [s.load_up_to(self.mean.as_ptr().add(j), n), s.load_up_to(self.rstd.as_ptr().add(j), n)] }
    }
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, s: S, [m, k]: [S::F; 2], row: usize, j: usize, n: usize, sums: &mut [S::F; 3]) {
        let at = row * self.mean.len() + j;
        // SAFETY: the caller's contract.
        let (x, dy) = unsafe { (s.load_up_to(self.x.as_ptr().add(at), n), s.load_up_to(self.dy.as_ptr().add(at), n)) };
        let xhat = s.mul(s.sub(x, m), k);
        *sums = [s.add(sums[0], dy), s.fma(dy, xhat, sums[1]), s.add(sums[2], xhat)];
    }
}

/// out[k·cols + j] = the k-th sum of column j, in f64.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn sum<const K: usize>(
    function: &'static str,
    ctx: &Context,
    [rows, cols]: [usize; 2],
    term: &impl Term<K>,
    out: &mut [f64],
) -> Result {
    let Layout { step, tasks, padded, .. } = layout(rows, cols, 1);
    let work = Work::elements(rows * cols, 0.2);
    let workers = ctx.workers(work, tasks);
    let stride = K * padded;
    let mut sums = Scratch::take::<f64>(function, tasks * stride)?;
    let mut blocks = Scratch::take::<f32>(function, workers * stride)?;
    let sums = sums.slice::<f64>(tasks * stride);
    {
        let sums = Shared::new(&mut *sums);
        let blocks = Shared::new(blocks.slice::<f32>(workers * stride));
        ctx.for_each_worker(workers, tasks, |worker, task| {
            let rows = [task * step, rows.min((task + 1) * step)];
            // SAFETY: tasks have disjoint sums, workers disjoint blocks.
            let (block, sums) = unsafe {
                (blocks.piece(worker * stride..(worker + 1) * stride), sums.piece(task * stride..(task + 1) * stride))
            };
            ctx.dispatch(Down::<_, K> { rows, cols, padded, term, block, sums });
        });
    }
    for k in 0..K {
        for j in 0..cols {
            out[k * cols + j] = (0..tasks).map(|task| sums[task * stride + k * padded + j]).fold(0.0, |a, b| a + b);
        }
    }
    Ok(())
}

struct Down<'a, T, const K: usize> {
    rows: [usize; 2],
    cols: usize,
    padded: usize,
    term: &'a T,
    block: &'a mut [f32],
    sums: &'a mut [f64],
}

impl<T: Term<K>, const K: usize> Kernel for Down<'_, T, K> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [first, last] = self.rows;
        let mut start = first;
        while start < last {
            let end = last.min(start + BLOCK);
            self.block.fill(0.0);
            let mut r = start;
            // SAFETY: rows and columns of the tensors (sum); a block holds K padded rows.
            unsafe {
                while r + 4 <= end {
                    self.rows_at::<S, 4>(s, r);
                    r += 4;
                }
                while r < end {
                    self.rows_at::<S, 1>(s, r);
                    r += 1;
                }
                flush(s, start == first, self.block, self.sums);
            }
            start = end;
        }
    }
}

impl<T: Term<K>, const K: usize> Down<'_, T, K> {
    /// Adds `R` rows from `r` to the block.
    ///
    /// # Safety
    /// The rows are there.
    #[inline(always)]
    unsafe fn rows_at<S: Simd, const R: usize>(&self, s: S, r: usize) {
        let block = self.block.as_ptr().cast_mut();
        let mut j = 0;
        while j < self.cols {
            let n = (self.cols - j).min(LANES);
            // SAFETY: K padded rows of the block, whole vectors; columns j to j + n of the rows. The block is this
            // kernel's alone.
            unsafe {
                let mut sums = [s.zero(); K];
                for k in 0..K {
                    sums[k] = s.load(block.add(k * self.padded + j));
                }
                if n == LANES {
                    let fixed = self.term.fixed(s, j, LANES);
                    for i in 0..R {
                        self.term.add(s, fixed, r + i, j, LANES, &mut sums);
                    }
                } else {
                    let fixed = self.term.fixed(s, j, n);
                    for i in 0..R {
                        self.term.add(s, fixed, r + i, j, n, &mut sums);
                    }
                }
                for k in 0..K {
                    s.store(block.add(k * self.padded + j), sums[k]);
                }
            }
            j += LANES;
        }
    }
}

/// What a row becomes: y = (x − mean)·a + b, or dx as [`Slope`] says. Vectors of columns.
#[derive(Clone, Copy)]
pub(super) enum Map<'a> {
    Forward { x: &'a [f32], mean: &'a [f32], a: &'a [f32], b: &'a [f32] },
    Backward { x: &'a [f32], dy: &'a [f32], slope: [&'a [f32]; 5] },
}

/// Maps every row of `cols`.
pub(super) fn map(ctx: &Context, cols: usize, map: Map<'_>, y: &mut [f32]) {
    let rows = y.len() / cols;
    let step = (PIECE / cols).max(1);
    let stream = streams::<f32>(y.len(), cols);
    let work = Work::elements(y.len(), 0.2);
    let y = Shared::new(y);
    ctx.for_each(work, rows.div_ceil(step), |task| {
        let range = task * step * cols..rows.min((task + 1) * step) * cols;
        // SAFETY: tasks have disjoint rows.
        let y = unsafe { y.piece(range.clone()) };
        let map = match map {
            Map::Forward { x, mean, a, b } => Map::Forward { x: &x[range], mean, a, b },
            Map::Backward { x, dy, slope } => Map::Backward { x: &x[range.clone()], dy: &dy[range], slope },
        };
        ctx.dispatch(MapRows { cols, map, y, stream });
    });
}

struct MapRows<'a> {
    cols: usize,
    map: Map<'a>,
    y: &'a mut [f32],
    stream: bool,
}

impl Kernel for MapRows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let cols = self.cols;
        let start = first_part(head(self.stream, self.y), cols);
        for row in (0..self.y.len()).step_by(cols) {
            let y = self.y[row..row + cols].as_mut_ptr();
            let (mut j, mut n) = (0, if start > 0 { start } else { LANES });
            while j < cols {
                // SAFETY: columns j to j + n of a row, and of every vector of columns.
                unsafe {
                    let v = match self.map {
                        Map::Forward { x, mean, a, b } => {
                            let x = s.load_up_to(x.as_ptr().add(row + j), n);
                            let [mean, a, b] = [mean, a, b].map(|v| v.as_ptr().add(j));
                            let d = s.sub(x, s.load_up_to(mean, n));
                            s.fma(d, s.load_up_to(a, n), s.load_up_to(b, n))
                        }
                        Map::Backward { x, dy, slope } => {
                            let mut p = [s.zero(); 5];
                            for k in 0..5 {
                                p[k] = s.load_up_to(slope[k].as_ptr().add(j), n);
                            }
                            let x = s.load_up_to(x.as_ptr().add(row + j), n);
                            let dy = s.load_up_to(dy.as_ptr().add(row + j), n);
                            Slope::vector(s, x, dy, p)
                        }
                    };
                    if n == LANES {
                        put(s, y.add(j), v, self.stream);
                    } else {
                        s.store_first(y.add(j), v, n);
                    }
                }
                j += n;
                n = LANES.min(cols - j);
            }
        }
        if self.stream {
            s.fence();
        }
    }
}
