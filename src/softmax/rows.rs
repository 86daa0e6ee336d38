//! The three passes over a row of logits that softmax, log-softmax and cross-entropy share: the maximum, the sum of
//! exponentials, and what is made of both.
//!
//! The sum leaves the first largest element out: its exponential is 1, and Σ = 1 + S keeps S where adding would round
//! it away. Its order is fixed: a row is cut into chunks of [`CHUNK`] columns; inside a chunk, element i adds into lane
//! i mod 16, in f32 over blocks of [`BLOCK`] columns, blocks in f64; lanes fold by halves and chunks join in ascending
//! order.

use crate::context::Context;
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};
use crate::softmax::turned::{self, Block, WIDEST};
use crate::vecmath;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Columns of a chunk, and elements of a task: input and output stay in the second-level cache between passes.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Columns that add in f32, 16 to a lane, before f64 takes over.
const BLOCK: usize = 256;

/// Fewer rows than this, each longer than a chunk, are shared out by chunks rather than by rows.
const FEW_ROWS: usize = 32;

/// What the first two passes know about a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stats {
    /// The largest logit; 0 in a row of −Inf alone, so that its exponentials are zero rather than NaN.
    pub(crate) max: f32,
    /// S: exp(x − max) summed over all elements but the first largest. NaN if the row holds NaN or +Inf.
    pub(crate) rest: f64,
    /// max − x summed over the row, where the pass asks for it.
    pub(crate) drop: f64,
    /// The logit in the column that the pass picked.
    pub(crate) picked: f32,
    /// Whether the row holds nothing but −Inf (or NaN).
    pub(crate) empty: bool,
}

impl Stats {
    /// ln Σ exp(x − max) = log1p(S).
    #[inline(always)]
    pub(crate) fn log_sum<S: Simd>(&self, s: S) -> f32 {
        s.to_array(vecmath::log1p(s, s.splat(self.rest as f32)))[0]
    }
}

/// [`Stats`] of sixteen rows, a lane each.
pub(crate) struct Turned<S: Simd> {
    pub(crate) max: S::F,
    pub(crate) rest: [f64; LANES],
    pub(crate) log_sum: S::F,
    pub(crate) empty: S::M,
}

/// What one function makes of its rows.
pub(crate) trait Pass: Sync {
    /// Whether the second pass stores the exponentials in y.
    const STORE: bool;
    /// Whether it also sums max − x.
    const DROP: bool;
    /// Whether [`Pass::write_turned`] or [`Pass::end_with`] ask for ln Σ exp(x − max).
    const LOG_SUM: bool;
    /// Whether there is an output, and whether rows end.
    const WRITES: bool;
    const ENDS: bool;

    /// Whether a row is looked at; else only [`Pass::skip`] is called.
    #[inline(always)]
    fn wants(&self, _row: usize) -> bool {
        true
    }
    /// The column whose logit [`Stats::picked`] holds; it is read before anything is written.
    #[inline(always)]
    fn pick(&self, _row: usize) -> usize {
        0
    }
    /// The third pass over `n` columns at x and y, given ln Σ exp(x − max).
    ///
    /// # Safety
    /// x and y are valid for `n` floats, y only if there is an output.
    unsafe fn write<S: Simd>(&self, s: S, stats: &Stats, log_sum: f32, x: *const f32, y: *mut f32, n: usize);
    /// Ends a row: what it adds to the total.
    ///
    /// # Safety
    /// y is valid for a row if there is an output.
    #[inline(always)]
    unsafe fn end<S: Simd>(&self, _s: S, _row: usize, _stats: &Stats, _y: *mut f32) -> f64 {
        0.0
    }
    /// What [`Pass::write`] does, of sixteen rows that stand in a block.
    ///
    /// # Safety
    /// The block holds `cols` columns.
    unsafe fn write_turned<S: Simd>(&self, s: S, stats: &Turned<S>, block: *mut f32, cols: usize);
    /// What [`Pass::end`] does, given ln Σ exp(x − max) and exp(picked − max).
    ///
    /// # Safety
    /// y is valid for a row if there is an output.
    #[inline(always)]
    unsafe fn end_with(&self, _row: usize, _stats: &Stats, _log_sum: f32, _e: f32, _y: *mut f32) -> f64 {
        0.0
    }
    /// A row that is not wanted.
    ///
    /// # Safety
    /// y is valid for a row if there is an output.
    #[inline(always)]
    unsafe fn skip(&self, _row: usize, _y: *mut f32, _cols: usize) {}
}

/// The largest of `n` floats at x, NaN passed over; −Inf if there is none.
///
/// # Safety
/// x is valid for reading `n` floats.
#[inline(always)]
pub(super) unsafe fn max<S: Simd>(s: S, x: *const f32, n: usize) -> f32 {
    let low = s.splat(f32::NEG_INFINITY);
    let mut m = [low; 4];
    let mut i = 0;
    // SAFETY: every load ends at or before n.
    unsafe {
        while i + 4 * LANES <= n {
            for k in 0..4 {
                s.prefetch_far(x.wrapping_add(i + k * LANES + AHEAD));
            }
            m[0] = s.max(s.load(x.add(i)), m[0]);
            m[1] = s.max(s.load(x.add(i + LANES)), m[1]);
            m[2] = s.max(s.load(x.add(i + 2 * LANES)), m[2]);
            m[3] = s.max(s.load(x.add(i + 3 * LANES)), m[3]);
            i += 4 * LANES;
        }
        while i < n {
            let v = s.load_up_to(x.add(i), n - i);
            m[0] = s.max(s.select(s.first((n - i).min(LANES)), v, low), m[0]);
            i += LANES;
        }
    }
    s.max_lane(s.max(s.max(m[0], m[1]), s.max(m[2], m[3])))
}

/// Elements from one that is read for the first time to one that is asked for: they come while exponentials are computed.
pub(super) const AHEAD: usize = 4096;

/// Each lane's number.
const COLUMNS: [f32; LANES] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

/// [`max`] and the first column that holds it, of a short row; any column if the maximum is −Inf.
///
/// # Safety
/// x is valid for reading `n` ≤ 2²⁴ floats.
#[inline(always)]
unsafe fn max_and_column<S: Simd>(s: S, x: *const f32, n: usize) -> (f32, f32) {
    let (mut most, mut at) = (s.splat(f32::NEG_INFINITY), s.from_array(COLUMNS));
    let (mut column, step) = (at, s.splat(LANES as f32));
    let mut i = 0;
    // SAFETY: every load ends at or before n.
    unsafe {
        while i + LANES <= n {
            s.prefetch_far(x.wrapping_add(i + AHEAD));
            let v = s.load(x.add(i));
            at = s.select(s.gt(v, most), column, at);
            most = s.max(v, most);
            column = s.add(column, step);
            i += LANES;
        }
        if i < n {
            let v = s.load_first(x.add(i), n - i);
            let more = s.and_m(s.gt(v, most), s.first(n - i));
            at = s.select(more, column, at);
            most = s.select(more, v, most);
        }
    }
    let top = s.max_lane(most);
    let first = s.select(s.eq(most, s.splat(top)), at, s.splat(f32::INFINITY));
    (top, s.min_lane(first))
}

/// Vectors that go through half an exponential, and then through the other half.
pub(super) const STAGE: usize = 8;

/// The element that a sum leaves out.
enum LeaveOut<'a> {
    /// The first that equals the maximum, while this is set; then it is cleared.
    First(&'a mut bool),
    /// The one in this column.
    Column(f32),
}

/// Sums exp(x − m), and max − x if `DROP`, over one chunk; stores the exponentials in y if `STORE`.
///
/// # Safety
/// x is valid for reading `n` floats, and y for writing them if `STORE`; y may be x.
#[inline(always)]
unsafe fn exp_sum<S: Simd, P: Pass>(
    s: S,
    _pass: &P,
    x: *const f32,
    y: *mut f32,
    n: usize,
    m: f32,
    mut leave_out: LeaveOut<'_>,
) -> (f64, f64) {
    let m = s.splat(m);
    let low = s.splat(f32::NEG_INFINITY);
    let (mut sum_low, mut sum_high) = (s.splat_d(0.0), s.splat_d(0.0));
    let (mut drop_low, mut drop_high) = (s.splat_d(0.0), s.splat_d(0.0));
    let (mut column, step) = (s.from_array(COLUMNS), s.splat(LANES as f32));
    let mut halves = [const { MaybeUninit::<(S::F, S::F)>::uninit() }; STAGE];
    let mut i = 0;
    while i < n {
        let end = n.min(i + BLOCK);
        let (mut sum, mut drop) = (s.zero(), s.zero());
        while i + LANES <= end {
            let count = ((end - i) / LANES).min(STAGE);
            for (k, half) in halves[..count].iter_mut().enumerate() {
                // SAFETY: count vectors end at or before n.
                let below = s.sub(unsafe { s.load(x.add(i + k * LANES)) }, m);
                if P::DROP {
                    drop = s.sub(drop, below);
                }
                half.write(vecmath::exp_fall_start(s, below));
            }
            for (k, half) in halves[..count].iter().enumerate() {
                let at = i + k * LANES;
                // SAFETY: just written.
                let mut e = vecmath::exp_fall_end(s, unsafe { half.assume_init() });
                let out = match &mut leave_out {
                    LeaveOut::First(pending) if **pending => {
                        // SAFETY: as above, and read before it is written.
                        let x = unsafe { s.load(x.add(at)) };
                        let found = s.bits_m(s.eq(x, m));
                        without_first(s, found, e, pending)
                    }
                    LeaveOut::First(_) => e,
                    LeaveOut::Column(left_out) => {
                        let here = s.eq(column, s.splat(*left_out));
                        column = s.add(column, step);
                        s.select(here, s.zero(), e)
                    }
                };
                if P::STORE {
                    // SAFETY: as above.
                    unsafe { s.store(y.add(at), e) };
                }
                e = out;
                sum = s.add(sum, e);
            }
            i += count * LANES;
        }
        if i < end {
            let inside = s.first(end - i);
            // SAFETY: masked at n, where a block that is no multiple of 16 ends.
            let v = unsafe { s.select(inside, s.load_first(x.add(i), end - i), low) };
            let below = s.sub(v, m);
            let mut e = vecmath::exp_fall(s, below);
            if P::STORE {
                // SAFETY: as above.
                unsafe { s.store_first(y.add(i), e, end - i) };
            }
            if P::DROP {
                drop = s.sub(drop, s.select(inside, below, s.zero()));
            }
            e = match &mut leave_out {
                LeaveOut::First(pending) if **pending => without_first(s, s.bits_m(s.eq(v, m)), e, pending),
                LeaveOut::First(_) => e,
                LeaveOut::Column(left_out) => s.select(s.eq(column, s.splat(*left_out)), s.zero(), e),
            };
            sum = s.add(sum, e);
            i = end;
        }
        let (a, b) = s.widen(sum);
        (sum_low, sum_high) = (s.add_d(sum_low, a), s.add_d(sum_high, b));
        if P::DROP {
            let (a, b) = s.widen(drop);
            (drop_low, drop_high) = (s.add_d(drop_low, a), s.add_d(drop_high, b));
        }
    }
    (s.sum_dd(sum_low, sum_high), s.sum_dd(drop_low, drop_high))
}

/// e, zero in the first lane that `found` has a bit for, if any; then nothing is pending.
#[inline(always)]
fn without_first<S: Simd>(s: S, found: u32, e: S::F, pending: &mut bool) -> S::F {
    if found == 0 {
        return e;
    }
    *pending = false;
    let lane = found.trailing_zeros() as usize;
    s.select(s.and_m(s.first(lane + 1), s.not_m(s.first(lane))), s.zero(), e)
}

/// The maximum as the second pass takes it, and whether the row is empty.
#[inline(always)]
fn pivot(max: f32) -> (f32, bool) {
    if max == f32::NEG_INFINITY { (0.0, true) } else { (max, false) }
}

/// A softmax of a row with +Inf does not exist.
#[inline(always)]
fn checked_rest(max: f32, rest: f64) -> f64 {
    if max == f32::INFINITY { f64::NAN } else { rest }
}

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
    assert!(y.is_some() || !P::STORE);
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
struct Matrix<'a> {
    /// None: the output's old contents.
    x: Option<&'a [f32]>,
    /// Empty where there is none.
    out: Shared<'a, f32>,
    cols: usize,
}

impl Matrix<'_> {
    /// Where an element is read and written; the second is to be used only if there is an output.
    #[inline(always)]
    fn at(&self, row: usize, col: usize) -> (*const f32, *mut f32) {
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
            let log_sum = if P::WRITES && P::LOG_SUM { stats.log_sum(s) } else { 0.0 };
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
            let (mut sums, mut drops) = ([s.zero(); LANES], [s.zero(); LANES]);
            let mut pending = turned::all(s);
            let mut halves = [const { MaybeUninit::<(S::F, S::F)>::uninit() }; LANES];
            for j in 0..cols {
                let below = s.sub(s.load(block.add(j * LANES)), pivot);
                halves[j].write(vecmath::exp_fall_start(s, below));
            }
            for j in 0..cols {
                let v = s.load(block.add(j * LANES));
                let below = s.sub(v, pivot);
                let e = vecmath::exp_fall_end(s, halves[j].assume_init());
                if P::STORE {
                    s.store(block.add(j * LANES), e);
                }
                if P::DROP {
                    drops[j] = s.sub(s.zero(), below);
                }
                let first = turned::first(s, v, pivot, &mut pending);
                sums[j] = s.select(first, s.zero(), e);
            }
            let mut rest = turned::fold_d(s, turned::widened(s, &sums, cols), cols);
            let drop = if P::DROP { turned::fold_d(s, turned::widened(s, &drops, cols), cols) } else { [0.0; LANES] };
            let (tops, pivots) = (s.to_array(top), s.to_array(pivot));
            for (rest, &top) in rest.iter_mut().zip(&tops) {
                *rest = checked_rest(top, *rest);
            }
            let log_sum = if P::LOG_SUM { vecmath::log1p(s, turned::narrow(s, &rest)) } else { s.zero() };
            let stats = Turned { max: pivot, rest, log_sum, empty };
            pass.write_turned(s, &stats, block, cols);
            if P::WRITES {
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

/// Few long rows, a chunk a task: three rounds over all chunks, with the same sums as [`Rows`].
fn by_chunks<P: Pass>(
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
        // SAFETY: a chunk lies within its row (by_chunks), and there is an output if P stores (asserted in run).
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
        let log_sum = if P::LOG_SUM { self.stats.log_sum(s) } else { 0.0 };
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
