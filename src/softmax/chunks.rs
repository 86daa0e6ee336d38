//! Few long rows, which threads share by chunks.

use super::pass::{Pass, Stats};
use super::rows::{CHUNK, FEW_ROWS, Matrix};
use super::sums::{LeaveOut, checked_rest, exp_sum, max, pivot};
use crate::context::Context;
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd};
use std::marker::PhantomData;

/// A chunk a task: three rounds over all chunks, with the same sums as whole rows.
pub(super) fn by_chunks<P: Pass>(
    function: &'static str,
    ctx: &Context,
    ns: f64,
    rows: usize,
    m: &Matrix<'_>,
    pass: &P,
) -> Result<f64> {
    let per_row = m.cols.div_ceil(CHUNK);
    let tasks = rows * per_row;
    let mut scratch = Scratch::take::<f64>(function, 2 * tasks)?;
    let parts = scratch.slice::<f64>(2 * tasks);
    let work = |share: f64| Work::elements(rows * m.cols, ns * share);
    let chunk_of = |task: usize| {
        let start = task % per_row * CHUNK;
        let row = task / per_row;
        let (x, y) = m.at(row, start);
        (row, Chunk { x, y, n: CHUNK.min(m.cols - start), lives: PhantomData })
    };

    let shared = Shared::new(&mut *parts);
    ctx.for_each(work(0.2), tasks, |task| {
        let top = ctx.dispatch(ChunkMax(chunk_of(task).1));
        // SAFETY: each task has its own element.
        unsafe { shared.piece(task..task + 1)[0] = top as f64 };
    });

    // The first chunk with the row's maximum leaves it out.
    let mut tops = [(f32::NEG_INFINITY, usize::MAX); FEW_ROWS];
    let mut stats = [Stats { max: 0.0, rest: 0.0, drop: 0.0, picked: 0.0, empty: true }; FEW_ROWS];
    for row in (0..rows).filter(|&row| pass.wants(row)) {
        for chunk in 0..per_row {
            let top = parts[row * per_row + chunk] as f32;
            if top > tops[row].0 {
                tops[row] = (top, row * per_row + chunk);
            }
        }
        // SAFETY: the picked column lies in the row.
        stats[row].picked = unsafe { *m.at(row, pass.pick(row)).0 };
    }

    let shared = Shared::new(&mut *parts);
    ctx.for_each(work(0.6), tasks, |task| {
        let (row, chunk) = chunk_of(task);
        if pass.wants(row) {
            let (top, first) = tops[row];
            let sums = ctx.dispatch(ChunkSum { chunk, pivot: pivot(top).0, leave_out: first == task, pass });
            // SAFETY: each task has its own two elements.
            unsafe { shared.piece(2 * task..2 * task + 2).copy_from_slice(&[sums.0, sums.1]) };
        }
    });

    for row in (0..rows).filter(|&row| pass.wants(row)) {
        let (mut rest, mut drop) = (0.0, 0.0);
        for sums in parts[2 * row * per_row..2 * (row + 1) * per_row].as_chunks::<2>().0 {
            (rest, drop) = (rest + sums[0], drop + sums[1]);
        }
        let top = tops[row].0;
        let (max, empty) = pivot(top);
        stats[row] = Stats { max, rest: checked_rest(top, rest), drop, empty, ..stats[row] };
    }

    ctx.for_each(work(0.2), tasks, |task| {
        let (row, chunk) = chunk_of(task);
        if pass.wants(row) {
            ctx.dispatch(ChunkWrite { chunk, stats: &stats[row], pass });
        }
    });

    let shared = Shared::new(&mut *parts);
    ctx.for_each(work(0.0), rows, |row| {
        let total = ctx.dispatch(RowEnd { row, m, stats: &stats[row], pass });
        // SAFETY: each task has its own element.
        unsafe { shared.piece(row..row + 1)[0] = total };
    });
    Ok(parts[..rows].iter().sum())
}

/// One chunk of one row.
struct Chunk<'a> {
    x: *const f32,
    y: *mut f32,
    n: usize,
    lives: PhantomData<&'a mut f32>,
}

struct ChunkMax<'a>(Chunk<'a>);

impl Kernel for ChunkMax<'_> {
    type Out = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        // SAFETY: a chunk lies within its row (by_chunks).
        unsafe { max(s, self.0.x, self.0.n) }
    }
}

struct ChunkSum<'a, P> {
    chunk: Chunk<'a>,
    pivot: f32,
    leave_out: bool,
    pass: &'a P,
}

impl<P: Pass> Kernel for ChunkSum<'_, P> {
    type Out = (f64, f64);
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> (f64, f64) {
        let Chunk { x, y, n, .. } = self.chunk;
        // SAFETY: a chunk lies within its row (by_chunks), and there is an output if the pass writes (asserted in run).
        unsafe { exp_sum(s, self.pass, x, y, n, self.pivot, LeaveOut::First(&mut self.leave_out)) }
    }
}

struct ChunkWrite<'a, P> {
    chunk: Chunk<'a>,
    stats: &'a Stats,
    pass: &'a P,
}

impl<P: Pass> Kernel for ChunkWrite<'_, P> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Chunk { x, y, n, .. } = self.chunk;
        let log_sum = if P::LOG_SUM && !P::ENDS { self.stats.log_sum(s) } else { 0.0 };
        // SAFETY: a chunk lies within its row (by_chunks).
        unsafe { self.pass.write(s, self.stats, log_sum, x, y, n) }
    }
}

struct RowEnd<'a, P> {
    row: usize,
    m: &'a Matrix<'a>,
    stats: &'a Stats,
    pass: &'a P,
}

impl<P: Pass> Kernel for RowEnd<'_, P> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let y = self.m.at(self.row, 0).1;
        // SAFETY: y is a whole row if there is an output; each task has its own row.
        unsafe {
            if self.pass.wants(self.row) {
                self.pass.end(s, self.row, self.stats, y)
            } else {
                self.pass.skip(self.row, y, self.m.cols);
                0.0
            }
        }
    }
}
