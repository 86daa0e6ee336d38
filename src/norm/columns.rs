//! Sums down the rows of a `[rows, cols]` tensor and what is made of them, across columns: `[batch, channels]` with a short
//! spatial, each element of a row a column of its own.

use super::BLOCK;
use super::parts::{Layout, flush, layout};
use super::segments::Slope;
use super::{first_part, head, last_part, put, streams};
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
    /// The columns are there; 16 of them if `FULL`.
    unsafe fn fixed<S: Simd, const FULL: bool>(&self, s: S, j: usize, n: usize) -> [S::F; 2];
    /// # Safety
    /// The row and its columns are there; 16 of them if `FULL`.
    unsafe fn add<S: Simd, const FULL: bool>(
        &self,
        s: S,
        fixed: [S::F; 2],
        row: usize,
        j: usize,
        n: usize,
        sums: &mut [S::F; K],
    );
}

/// Σ (x − p) and Σ (x − p)² of every column.
pub(super) struct Spread<'a> {
    pub(super) x: &'a [f32],
    pub(super) pivots: &'a [f32],
}

impl Term<2> for Spread<'_> {
    #[inline(always)]
    unsafe fn fixed<S: Simd, const FULL: bool>(&self, s: S, j: usize, n: usize) -> [S::F; 2] {
        // SAFETY: the caller's contract.
        [unsafe { load::<S, FULL>(s, self.pivots, j, n) }, s.zero()]
    }
    #[inline(always)]
    unsafe fn add<S: Simd, const FULL: bool>(
        &self,
        s: S,
        [p, _]: [S::F; 2],
        row: usize,
        j: usize,
        n: usize,
        sums: &mut [S::F; 2],
    ) {
        // SAFETY: the caller's contract.
        let x = unsafe { load::<S, FULL>(s, self.x, row * self.pivots.len() + j, n) };
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
    unsafe fn fixed<S: Simd, const FULL: bool>(&self, s: S, j: usize, n: usize) -> [S::F; 2] {
        // SAFETY: the caller's contract.
        unsafe { [load::<S, FULL>(s, self.mean, j, n), load::<S, FULL>(s, self.rstd, j, n)] }
    }
    #[inline(always)]
    unsafe fn add<S: Simd, const FULL: bool>(
        &self,
        s: S,
        [m, k]: [S::F; 2],
        row: usize,
        j: usize,
        n: usize,
        sums: &mut [S::F; 3],
    ) {
        let at = row * self.mean.len() + j;
        // SAFETY: the caller's contract.
        let (x, dy) = unsafe { (load::<S, FULL>(s, self.x, at, n), load::<S, FULL>(s, self.dy, at, n)) };
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
                while !S::COMPACT && r + 4 <= end {
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
                if !S::COMPACT && n == LANES {
                    let fixed = self.term.fixed::<S, true>(s, j, LANES);
                    for i in 0..R {
                        self.term.add::<S, true>(s, fixed, r + i, j, LANES, &mut sums);
                    }
                } else {
                    let fixed = self.term.fixed::<S, false>(s, j, n);
                    for i in 0..R {
                        self.term.add::<S, false>(s, fixed, r + i, j, n, &mut sums);
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
        let first = first_part::<S>(head::<S, _>(self.stream, self.y, cols), cols);
        let y = self.y.as_mut_ptr();
        for row in (0..self.y.len()).step_by(cols) {
            let (mut j, mut part) = (0, first);
            loop {
                // SAFETY: columns j to j + n of a row of y and of the inputs (map cut them alike), and of every vector
                // of columns.
                unsafe {
                    if part > 0 {
                        let v = self.map.vector::<S, false>(s, row, j, part);
                        s.store_first(y.add(row + j), v, part);
                        j += part;
                    }
                    while !S::COMPACT && j + LANES <= cols {
                        put(s, y.add(row + j), self.map.vector::<S, true>(s, row, j, LANES), self.stream);
                        j += LANES;
                    }
                }
                if j == cols {
                    break;
                }
                part = last_part::<S>(cols - j);
            }
        }
        if self.stream {
            s.fence();
        }
    }
}

impl Map<'_> {
    /// Of `n` columns from `j` of the row that begins at `row`; of 16 if `FULL`.
    ///
    /// # Safety
    /// They are there.
    #[inline(always)]
    unsafe fn vector<S: Simd, const FULL: bool>(&self, s: S, row: usize, j: usize, n: usize) -> S::F {
        // SAFETY: the caller's contract.
        unsafe {
            match *self {
                Map::Forward { x, mean, a, b } => {
                    let d = s.sub(load::<S, FULL>(s, x, row + j, n), load::<S, FULL>(s, mean, j, n));
                    s.fma(d, load::<S, FULL>(s, a, j, n), load::<S, FULL>(s, b, j, n))
                }
                Map::Backward { x, dy, slope } => {
                    let mut p = [s.zero(); 5];
                    for k in 0..5 {
                        p[k] = load::<S, FULL>(s, slope[k], j, n);
                    }
                    Slope::vector(s, load::<S, FULL>(s, x, row + j, n), load::<S, FULL>(s, dy, row + j, n), p)
                }
            }
        }
    }
}

/// 16 elements of v from `i`, or the first `n` of them.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn load<S: Simd, const FULL: bool>(s: S, v: &[f32], i: usize, n: usize) -> S::F {
    // SAFETY: the caller's contract.
    unsafe {
        let p = v.as_ptr().add(i);
        if FULL { s.load(p) } else { s.load_first(p, n) }
    }
}
