//! The gradients of softmax and log-softmax, row by row.

use super::rows::{CHUNK, max};
use super::turned::{self, Block, WIDEST};
use super::{check, stored};
use crate::context::Context;
use crate::element::Storage;
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath;

/// Softmax gradient along rows: dx = y·(dy − Σ y·dy) (whitepaper §3: the Jacobian product).
///
/// Shapes, row-major: `y` (the forward result), `dy`, `dx` [rows, cols]. dy at the row's largest y is subtracted from
/// the row first: an offset common to a row's dy then costs no digits, and where y rounds to 1 the gradient is what the
/// other entries say rather than the rounding of 1. A row of zeros (all masked) gives zeros.
///
/// Accuracy: 4 ULP of y·(max |dy − c| of the row), c the value subtracted. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`.
pub fn softmax_backward_f32(ctx: &Context, rows: usize, cols: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) -> Result {
    backward("softmax_backward_f32", ctx, false, rows, cols, y, dy, dx)
}

/// Log-softmax gradient along rows: dx = dy − exp(y)·Σ dy (whitepaper §3).
///
/// Shapes, row-major: `y` (the forward result), `dy`, `dx` [rows, cols]. At the row's largest y this is taken as
/// (1 − exp(y))·dy − exp(y)·Σ of the other dy, with 1 − exp(y) = −expm1(y), which keeps its digits when the probability
/// rounds to 1. A row of −Inf alone gives zeros.
///
/// Accuracy: 4 ULP of |dy| + exp(y)·Σ|dy|. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`.
pub fn log_softmax_backward_f32(
    ctx: &Context,
    rows: usize,
    cols: usize,
    y: &[f32],
    dy: &[f32],
    dx: &mut [f32],
) -> Result {
    backward("log_softmax_backward_f32", ctx, true, rows, cols, y, dy, dx)
}

/// The gradient of softmax, or of its logarithm, in any storage.
#[allow(clippy::too_many_arguments)]
pub(crate) fn backward<T: Storage>(
    function: &'static str,
    ctx: &Context,
    log: bool,
    rows: usize,
    cols: usize,
    y: &[T],
    dy: &[T],
    dx: &mut [T],
) -> Result {
    check(function, rows, cols, &[("y", y), ("dy", dy), ("dx", dx)])?;
    let ns = if log { 0.5 } else { 0.3 };
    if let (Some(y), Some(dy), Some(dx)) = (T::as_f32(y), T::as_f32(dy), T::as_f32_mut(dx)) {
        if log {
            run(ctx, ns, cols, y, dy, dx, &Log);
        } else {
            run(ctx, ns, cols, y, dy, dx, &Plain);
        }
        return Ok(());
    }
    stored::rows(function, ctx, ns, cols, [y, dy], dx, &|ctx, [y, dy], dx| {
        if log {
            ctx.dispatch(Rows { cols, y, dy, dx, row: &Log });
        } else {
            ctx.dispatch(Rows { cols, y, dy, dx, row: &Plain });
        }
    })
}

/// The gradient of one row.
trait Row: Sync {
    /// # Safety
    /// All three are valid for `cols` ≥ 1 floats, and dx overlaps nothing.
    unsafe fn row<S: Simd>(&self, s: S, cols: usize, y: *const f32, dy: *const f32, dx: *mut f32);
    /// That of sixteen rows in blocks, written over dy.
    ///
    /// # Safety
    /// Both blocks hold `cols` ≤ 16 columns.
    unsafe fn turned<S: Simd>(&self, s: S, cols: usize, y: *const f32, dy: *mut f32);
}

fn run(ctx: &Context, ns: f64, cols: usize, y: &[f32], dy: &[f32], dx: &mut [f32], row: &impl Row) {
    if dx.is_empty() {
        return;
    }
    let n = dx.len();
    let step = (CHUNK / cols).max(1) * cols;
    let dx = Shared::new(dx);
    ctx.for_each(Work::elements(n, ns), n.div_ceil(step), |task| {
        let range = task * step..n.min((task + 1) * step);
        // SAFETY: tasks have disjoint ranges.
        let dx = unsafe { dx.piece(range.clone()) };
        ctx.dispatch(Rows { cols, y: &y[range.clone()], dy: &dy[range], dx, row });
    });
}

struct Rows<'a, R> {
    cols: usize,
    y: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    row: &'a R,
}

impl<R: Row> Kernel for Rows<'_, R> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (cols, n) = (self.cols, self.dx.len());
        let (y, dy, dx) = (self.y.as_ptr(), self.dy.as_ptr(), self.dx.as_mut_ptr());
        let mut i = 0;
        // SAFETY: all three hold whole rows of cols floats (check, run).
        unsafe {
            while !S::COMPACT && cols <= WIDEST && i + LANES * cols <= n {
                let (y, dy, dx) = (y.add(i), dy.add(i), dx.add(i));
                s.outline(SixteenRows { cols, y, dy, dx, row: self.row });
                i += LANES * cols;
            }
            while i < n {
                self.row.row(s, cols, y.add(i), dy.add(i), dx.add(i));
                i += cols;
            }
        }
    }
}

/// Sixteen rows of `cols` ≤ 16 floats.
struct SixteenRows<'a, R> {
    cols: usize,
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
    row: &'a R,
}

impl<R: Row> Kernel for SixteenRows<'_, R> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let SixteenRows { cols, y, dy, dx, row } = self;
        let (mut y_block, mut dy_block) = (Block::new(), Block::new());
        // SAFETY: all three are sixteen rows (Rows); the blocks hold cols columns, initialized by read.
        unsafe {
            let (y, dy) = (y_block.read(s, y, cols), dy_block.read(s, dy, cols));
            row.turned(s, cols, y, dy);
            turned::write(s, dy, dx, cols);
        }
    }
}

/// The first column that holds `top`, the row's maximum; the first column if none does (a row of NaN).
///
/// # Safety
/// y is valid for reading `n` floats.
#[inline(always)]
unsafe fn position<S: Simd>(s: S, y: *const f32, n: usize, top: f32) -> usize {
    let t = s.splat(top);
    let mut i = 0;
    // SAFETY: every load ends at or before n.
    unsafe {
        while i + LANES <= n {
            let found = s.bits_m(s.eq(s.load(y.add(i)), t));
            if found != 0 {
                return i + found.trailing_zeros() as usize;
            }
            i += LANES;
        }
        let found = s.bits_m(s.and_m(s.eq(s.load_first(y.add(i), n - i), t), s.first(n - i)));
        if found != 0 { i + found.trailing_zeros() as usize } else { 0 }
    }
}

struct Plain;

impl Row for Plain {
    #[inline(always)]
    unsafe fn turned<S: Simd>(&self, s: S, cols: usize, y: *const f32, dy: *mut f32) {
        // SAFETY: columns are below cols.
        unsafe {
            let top = turned::max(s, y, cols);
            let mut c = s.load(dy);
            let mut pending = turned::all(s);
            for j in 0..cols {
                let first = turned::first(s, s.load(y.add(j * LANES)), top, &mut pending);
                c = s.select(first, s.load(dy.add(j * LANES)), c);
            }
            let mut sums = [s.zero(); LANES];
            for j in 0..cols {
                let (y, d) = (s.load(y.add(j * LANES)), s.sub(s.load(dy.add(j * LANES)), c));
                sums[j] = s.fma(y, d, s.zero());
            }
            let sum = turned::narrow(s, &turned::fold(s, turned::widened(s, &sums, cols)));
            for j in 0..cols {
                let dy = dy.add(j * LANES);
                s.store(dy, s.mul(s.load(y.add(j * LANES)), s.sub(s.sub(s.load(dy), c), sum)));
            }
        }
    }

    #[inline(always)]
    unsafe fn row<S: Simd>(&self, s: S, cols: usize, y: *const f32, dy: *const f32, dx: *mut f32) {
        // SAFETY: every load and store ends at cols; position is below cols.
        unsafe {
            let c = *dy.add(position(s, y, cols, max(s, y, cols)));
            // Σ y·(dy − c): lane i mod 16, in f32 over up to four vectors, these in f64; folded by halves.
            let cv = s.splat(c);
            let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
            let mut i = 0;
            while i + 4 * LANES <= cols {
                let mut sum = s.mul(s.load(y.add(i)), s.sub(s.load(dy.add(i)), cv));
                for k in 1..4 {
                    let at = i + k * LANES;
                    sum = s.fma(s.load(y.add(at)), s.sub(s.load(dy.add(at)), cv), sum);
                }
                let (a, b) = s.widen(sum);
                (low, high) = (s.add_d(low, a), s.add_d(high, b));
                i += 4 * LANES;
            }
            if i < cols {
                let mut sum = s.zero();
                while i < cols {
                    let n = cols - i;
                    // Past the end y is zero; dy is 0, and c may be infinite.
                    let d = s.select(s.first(n.min(LANES)), s.sub(s.load_up_to(dy.add(i), n), cv), s.zero());
                    sum = s.fma(s.load_up_to(y.add(i), n), d, sum);
                    i += LANES;
                }
                let (a, b) = s.widen(sum);
                (low, high) = (s.add_d(low, a), s.add_d(high, b));
            }
            let sum = s.splat(s.sum_dd(low, high) as f32);
            let mut i = 0;
            while i + LANES <= cols {
                let d = s.sub(s.load(dy.add(i)), cv);
                s.store(dx.add(i), s.mul(s.load(y.add(i)), s.sub(d, sum)));
                i += LANES;
            }
            if i < cols {
                let n = cols - i;
                let d = s.sub(s.load_first(dy.add(i), n), cv);
                s.store_first(dx.add(i), s.mul(s.load_first(y.add(i), n), s.sub(d, sum)), n);
            }
        }
    }
}

struct Log;

impl Row for Log {
    #[inline(always)]
    unsafe fn turned<S: Simd>(&self, s: S, cols: usize, y: *const f32, dy: *mut f32) {
        // SAFETY: columns are below cols.
        unsafe {
            let top = turned::max(s, y, cols);
            let zero = s.splat_d(0.0);
            let mut lanes = [(zero, zero); LANES];
            let mut dy_top = s.load(dy);
            let mut pending = turned::all(s);
            for j in 0..cols {
                let d = s.load(dy.add(j * LANES));
                let first = turned::first(s, s.load(y.add(j * LANES)), top, &mut pending);
                dy_top = s.select(first, d, dy_top);
                let (low, high) = s.widen(s.select(first, s.zero(), d));
                lanes[j] = (s.add_d(zero, low), s.add_d(zero, high));
            }
            let others = turned::fold(s, lanes);
            let (dy_tops, p_top) = (s.to_array(dy_top), s.to_array(vecmath::exp(s, top)));
            let q_top = s.to_array(vecmath::expm1(s, top));
            let (mut sum, mut at_top) = ([0f32; LANES], [0f32; LANES]);
            for r in 0..LANES {
                sum[r] = (others[r] + dy_tops[r] as f64) as f32;
                at_top[r] = (-q_top[r] as f64 * dy_tops[r] as f64 - p_top[r] as f64 * others[r]) as f32;
            }
            let (sum, at_top) = (s.from_array(sum), s.from_array(at_top));
            let nothing = s.eq(top, s.splat(f32::NEG_INFINITY));
            let mut pending = turned::all(s);
            for j in 0..cols {
                let (v, dy) = (s.load(y.add(j * LANES)), dy.add(j * LANES));
                let first = turned::first(s, v, top, &mut pending);
                let d = s.fnma(vecmath::exp(s, v), sum, s.load(dy));
                s.store(dy, s.select(nothing, s.zero(), s.select(first, at_top, d)));
            }
        }
    }

    #[inline(always)]
    unsafe fn row<S: Simd>(&self, s: S, cols: usize, y: *const f32, dy: *const f32, dx: *mut f32) {
        // SAFETY: every load and store ends at cols; position is below cols.
        unsafe {
            let top = max(s, y, cols);
            let at = position(s, y, cols, top);
            let (top, dy_top) = (*y.add(at), *dy.add(at));
            if top == f32::NEG_INFINITY {
                let mut i = 0;
                while i < cols {
                    s.store_up_to(dx.add(i), s.zero(), cols - i);
                    i += LANES;
                }
                return;
            }
            // Σ dy without the largest's, in f64: lane i mod 16, folded by halves.
            let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
            let mut i = 0;
            while i < cols {
                let mut d = s.load_up_to(dy.add(i), cols - i);
                if at / LANES * LANES == i {
                    let lane = at - i;
                    d = s.select(s.and_m(s.first(lane + 1), s.not_m(s.first(lane))), s.zero(), d);
                }
                let (a, b) = s.widen(d);
                (low, high) = (s.add_d(low, a), s.add_d(high, b));
                i += LANES;
            }
            let others = s.sum_dd(low, high);
            let sum = s.splat((others + dy_top as f64) as f32);
            let mut i = 0;
            while i < cols {
                let p = vecmath::exp(s, s.load_up_to(y.add(i), cols - i));
                let v = s.fnma(p, sum, s.load_up_to(dy.add(i), cols - i));
                s.store_up_to(dx.add(i), v, cols - i);
                i += LANES;
            }
            let y_top = s.splat(top);
            let p = s.to_array(vecmath::exp(s, y_top))[0] as f64;
            let q = -s.to_array(vecmath::expm1(s, y_top))[0] as f64;
            *dx.add(at) = (q * dy_top as f64 - p * others) as f32;
        }
    }
}
