//! The three passes over a row of logits that softmax, log-softmax and cross-entropy share: the maximum, the sum of
//! exponentials, and what is made of both.
//!
//! The sum leaves the first largest element out: its exponential is 1, and Σ = 1 + S keeps S where adding would round
//! it away. Its order is fixed: a row is cut into chunks of [`CHUNK`] columns; inside a chunk, element i adds into lane
//! i mod 16, in f32 over blocks of [`BLOCK`] columns, blocks in f64; lanes fold by halves and chunks join in ascending
//! order.

use super::chunks::by_chunks;
use super::pass::{Pass, Stats, Turned};
use super::sums::{BLOCK, LeaveOut, checked_rest, exp_sum, max, max_and_column, pivot};
use crate::context::Context;
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};
use crate::softmax::turned::{self, Block, WIDEST};
use crate::vecmath;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Columns of a chunk, and elements of a task: input and output stay in the second-level cache between passes.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Fewer rows than this, each longer than a chunk, are shared out by chunks rather than by rows.
pub(super) const FEW_ROWS: usize = 32;

/// Runs a pass over `rows` rows of `cols` logits `x`, or y's old contents, and returns the total of its ends: rows add
/// up inside a task, tasks join in ascending order.
///
/// # Errors
/// `OutOfMemory`, before anything is written.
///
/// # Panics
/// If the lengths do not fit: callers check.
pub(crate) fn run<P: Pass>(
    function: &'static str,
    ctx: &Context,
    ns: f64,
    [rows, cols]: [usize; 2],
    x: Option<&[f32]>,
    y: Option<&mut [f32]>,
    pass: &P,
) -> Result<f64> {
    if rows == 0 || cols == 0 {
        return Ok(0.0);
    }
    assert!(x.is_none_or(|x| x.len() == rows * cols) && y.as_ref().is_none_or(|y| y.len() == rows * cols));
    assert!(x.is_some() || y.is_some());
    assert!(y.is_some() || !pass.writes());
    let out = Shared::new(y.unwrap_or_default());
    let m = Matrix { x, out, cols };
    if cols > CHUNK && rows < FEW_ROWS {
        return by_chunks(function, ctx, ns, rows, &m, pass);
    }
    let step = (CHUNK / cols).max(1);
    let tasks = rows.div_ceil(step);
    let mut scratch = Scratch::take::<f64>(function, tasks)?;
    let totals = scratch.slice::<f64>(tasks);
    let shared = Shared::new(totals);
    ctx.for_each(Work::elements(rows * cols, ns), tasks, |task| {
        let total = ctx.dispatch(Rows { rows: task * step..rows.min((task + 1) * step), m: &m, pass });
        // SAFETY: each task has its own element.
        unsafe { shared.piece(task..task + 1)[0] = total };
    });
    Ok(totals.iter().sum())
}

/// Runs a pass over whole rows of `cols` logits in place, as one task.
pub(super) fn block<P: Pass>(ctx: &Context, cols: usize, y: &mut [f32], pass: &P) {
    let rows = 0..y.len() / cols;
    ctx.dispatch(Rows { rows, m: &Matrix { x: None, out: Shared::new(y), cols }, pass });
}

/// The logits and the output of a call.
pub(super) struct Matrix<'a> {
    /// None: the output's old contents.
    x: Option<&'a [f32]>,
    /// Empty where there is none.
    out: Shared<'a, f32>,
    pub(super) cols: usize,
}

impl Matrix<'_> {
    /// Where an element is read and written; the second is to be used only if there is an output.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, col: usize) -> (*const f32, *mut f32) {
        let i = row * self.cols + col;
        let y = self.out.as_ptr().wrapping_add(i);
        (self.x.map_or(y.cast_const(), |x| x.as_ptr().wrapping_add(i)), y)
    }
}

/// Whole rows, one task: each stays in cache from the first pass to the third.
struct Rows<'a, P> {
    rows: Range<usize>,
    m: &'a Matrix<'a>,
    pass: &'a P,
}

impl<P: Pass> Kernel for Rows<'_, P> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let (cols, pass) = (self.m.cols, self.pass);
        let mut total = 0.0;
        let Range { start: mut row, end } = self.rows;
        while row < end {
            if !S::COMPACT && cols <= WIDEST && row + LANES <= end && (row..row + LANES).all(|row| pass.wants(row)) {
                total = s.outline(SixteenRows { row, m: self.m, pass, total });
                row += LANES;
                continue;
            }
            let count = LANES.min(end - row);
            if !S::COMPACT && cols <= BLOCK && (row..row + count).all(|row| pass.wants(row)) {
                total = s.outline(ShortRows { row, count, m: self.m, pass, total });
                row += count;
                continue;
            }
            total = s.outline(OneRow { row, m: self.m, pass, total });
            row += 1;
        }
        total
    }
}

/// Adds to a total what a row does.
struct OneRow<'a, P> {
    row: usize,
    m: &'a Matrix<'a>,
    pass: &'a P,
    total: f64,
}

impl<P: Pass> Kernel for OneRow<'_, P> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let OneRow { row, m, pass, total } = self;
        let cols = m.cols;
        let (x, y) = m.at(row, 0);
        // SAFETY: the row lies within x and, if there is an output, within y (asserted in run); tasks have
        // disjoint rows; no output is written before its row's logits were read.
        unsafe {
            if !pass.wants(row) {
                pass.skip(row, y, cols);
                return total;
            }
            let picked = *x.add(pass.pick(row));
            let top = max(s, x, cols);
            let (pivot, empty) = pivot(top);
            let (mut rest, mut drop) = (0.0, 0.0);
            let mut leave_out = true;
            let mut i = 0;
            while i < cols {
                let n = CHUNK.min(cols - i);
                let out = LeaveOut::First(&mut leave_out);
                let sums = exp_sum(s, pass, x.add(i), y.wrapping_add(i), n, pivot, out);
                (rest, drop) = (rest + sums.0, drop + sums.1);
                i += n;
            }
            let stats = Stats { max: pivot, rest: checked_rest(top, rest), drop, picked, empty };
            let log_sum = if P::LOG_SUM && !P::ENDS { stats.log_sum(s) } else { 0.0 };
            pass.write(s, &stats, log_sum, x, y, cols);
            total + pass.end(s, row, &stats, y)
        }
    }
}

/// The same of up to sixteen rows of at most [`BLOCK`] columns, which go through each pass together: none waits for
/// another's folds, and nothing branches on data.
struct ShortRows<'a, P> {
    row: usize,
    count: usize,
    m: &'a Matrix<'a>,
    pass: &'a P,
    total: f64,
}

impl<P: Pass> Kernel for ShortRows<'_, P> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let ShortRows { row, count, m, pass, mut total } = self;
        let cols = m.cols;
        let mut stats = [Stats { max: 0.0, rest: 0.0, drop: 0.0, picked: 0.0, empty: true }; LANES];
        let (mut columns, mut rests, mut below) = ([0f32; LANES], [0.0; LANES], [0f32; LANES]);
        // SAFETY: as for OneRow, of each row.
        unsafe {
            for r in 0..count {
                let x = m.at(row + r, 0).0;
                let (top, column) = max_and_column(s, x, cols);
                let (max, empty) = pivot(top);
                // An empty row leaves nothing out, for that may be NaN.
                columns[r] = if empty { f32::INFINITY } else { column };
                stats[r] = Stats { max, empty, picked: *x.add(pass.pick(row + r)), ..stats[r] };
            }
            for r in 0..count {
                let (x, y) = m.at(row + r, 0);
                let stats = &mut stats[r];
                let sums = exp_sum(s, pass, x, y, cols, stats.max, LeaveOut::Column(columns[r]));
                (stats.rest, stats.drop) = (checked_rest(stats.max, sums.0), sums.1);
                rests[r] = stats.rest;
                below[r] = stats.picked - stats.max;
            }
            let mut log_sums = [0f32; LANES];
            if P::LOG_SUM {
                log_sums = s.to_array(vecmath::log1p(s, turned::narrow(s, &rests)));
            }
            for r in 0..count {
                let (x, y) = m.at(row + r, 0);
                pass.write(s, &stats[r], log_sums[r], x, y, cols);
            }
            if P::ENDS {
                let e = s.to_array(vecmath::exp(s, s.from_array(below)));
                for r in 0..count {
                    total += pass.end_with(row + r, &stats[r], log_sums[r], e[r], m.at(row + r, 0).1);
                }
            }
        }
        total
    }
}

/// The same of sixteen short rows, a lane each.
struct SixteenRows<'a, P> {
    row: usize,
    m: &'a Matrix<'a>,
    pass: &'a P,
    total: f64,
}

impl<P: Pass> Kernel for SixteenRows<'_, P> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let SixteenRows { row, m, pass, mut total } = self;
        let cols = m.cols;
        let (x, y) = m.at(row, 0);
        let mut block = Block::new();
        // SAFETY: the rows lie within x and, if there is an output, within y (asserted in run); the block holds cols
        // ≤ 16 columns, initialized by read. Nothing is written before all sixteen were read.
        unsafe {
            let mut picked = [0f32; LANES];
            for (r, picked) in picked.iter_mut().enumerate() {
                *picked = *x.add(r * cols + pass.pick(row + r));
            }
            let block = block.read(s, x, cols);
            let top = turned::max(s, block, cols);
            let empty = s.eq(top, s.splat(f32::NEG_INFINITY));
            let pivot = s.select(empty, s.zero(), top);
            let (tops, pivots) = (s.to_array(top), s.to_array(pivot));
            let mut drop = [0.0; LANES];
            if pass.drops() {
                s.outline(Drops { block, cols, pivots: &pivots, drop: &mut drop });
            }
            let mut sums = [s.zero(); LANES];
            let mut pending = turned::all(s);
            let mut halves = [const { MaybeUninit::<(S::F, S::F)>::uninit() }; LANES];
            for j in 0..cols {
                let below = s.sub(s.load(block.add(j * LANES)), pivot);
                halves[j].write(vecmath::exp_fall_start(s, below));
            }
            for j in 0..cols {
                let v = s.load(block.add(j * LANES));
                let e = vecmath::exp_fall_end(s, halves[j].assume_init());
                if P::STORE {
                    s.store(block.add(j * LANES), e);
                }
                let first = turned::first(s, v, pivot, &mut pending);
                sums[j] = s.select(first, s.zero(), e);
            }
            let mut rest = turned::fold_d(s, turned::widened(s, &sums, cols), cols);
            for (rest, &top) in rest.iter_mut().zip(&tops) {
                *rest = checked_rest(top, *rest);
            }
            let log_sum = if P::LOG_SUM { vecmath::log1p(s, turned::narrow(s, &rest)) } else { s.zero() };
            let stats = Turned { max: pivot, rest, log_sum, empty };
            pass.write_turned(s, &stats, block, cols);
            if pass.writes() {
                turned::write(s, block, y, cols);
            }
            if P::ENDS {
                let e = s.to_array(vecmath::exp(s, s.sub(s.from_array(picked), pivot)));
                let log_sums = s.to_array(log_sum);
                for r in 0..LANES {
                    let (max, empty) = (pivots[r], tops[r] == f32::NEG_INFINITY);
                    let stats = Stats { max, rest: rest[r], drop: drop[r], picked: picked[r], empty };
                    total += pass.end_with(row + r, &stats, log_sums[r], e[r], y.wrapping_add(r * cols));
                }
            }
        }
        total
    }
}

/// max − x of sixteen short rows, summed along each.
struct Drops<'a> {
    block: *const f32,
    cols: usize,
    pivots: &'a [f32; LANES],
    drop: &'a mut [f64; LANES],
}

impl Kernel for Drops<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Drops { block, cols, pivots, drop } = self;
        let pivot = s.from_array(*pivots);
        let mut drops = [s.zero(); LANES];
        for j in 0..cols {
            // SAFETY: the block holds cols ≤ 16 columns (SixteenRows).
            drops[j] = s.sub(s.zero(), s.sub(unsafe { s.load(block.add(j * LANES)) }, pivot));
        }
        *drop = turned::fold_d(s, turned::widened(s, &drops, cols), cols);
    }
}
