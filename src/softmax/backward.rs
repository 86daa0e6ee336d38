//! The gradients of softmax and log-softmax, row by row.

use super::rows::CHUNK;
use super::sums::{AHEAD, STAGE};
use super::turned::{self, Block, WIDEST};
use super::{check, stored, streams};
use crate::context::Context;
use crate::element::Storage;
use crate::elementwise::{put, whole_vectors};
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath;
use std::mem::MaybeUninit;

/// Softmax gradient along rows: dx = y·(dy − Σ y·dy) (whitepaper §3: the Jacobian product).
///
/// Shapes, row-major: `y` (the forward result), `dy`, `dx` [rows, cols]. dy at the row's largest y (within 2⁻¹¹ of it) is
/// subtracted from the row first: an offset common to a row's dy then costs no digits, and where y rounds to 1 the gradient is what the
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
/// Shapes, row-major: `y` (the forward result, at most 0), `dy`, `dx` [rows, cols]. At the row's largest y this is taken as
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
            ctx.dispatch(Rows { cols, y, dy, dx, row: &Log, stream: false, far: false });
        } else {
            ctx.dispatch(Rows { cols, y, dy, dx, row: &Plain, stream: false, far: false });
        }
    })
}

/// Rows that go through a stage together, so that none waits for the folds of another.
const GROUP: usize = 8;

/// Elements of a group: read again from the first-level cache in the next stage.
const GROUP_ELEMENTS: usize = 2048;

/// Gradients of this many bytes, with y and dy, come from the last cache or from memory.
const FAR_BYTES: usize = 4 << 20;

/// Columns that add in f32 before f64 takes over, four to a lane.
const BLOCK: usize = 4 * LANES;

/// What the gradients of whole rows are made of.
trait Row: Sync {
    /// Those of up to [`GROUP`] rows.
    ///
    /// # Safety
    /// The rows of `group` are there, of at least one column each, and dx overlaps nothing.
    unsafe fn rows<S: Simd>(&self, s: S, group: &Group);
    /// Those of sixteen rows in blocks, written over dy.
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
    let stream = streams(n, cols);
    let dx = Shared::new(dx);
    ctx.for_each(Work::elements(n, ns), n.div_ceil(step), |task| {
        let range = task * step..n.min((task + 1) * step);
        // SAFETY: tasks have disjoint ranges.
        let dx = unsafe { dx.piece(range.clone()) };
        ctx.dispatch(Rows {
            cols,
            y: &y[range.clone()],
            dy: &dy[range],
            dx,
            row,
            stream,
            far: size_of_val(y) >= FAR_BYTES,
        });
    });
}

struct Rows<'a, R> {
    cols: usize,
    y: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    row: &'a R,
    stream: bool,
    /// Whether the tensors are too large for the nearer caches.
    far: bool,
}

impl<R: Row> Kernel for Rows<'_, R> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (cols, n) = (self.cols, self.dx.len());
        // Rows of whole vectors are all aligned alike.
        let alike = cols.is_multiple_of(LANES);
        let head = if alike { whole_vectors::<S, _>(self.dx.as_ptr(), n, self.stream).0 } else { 0 };
        let (y, dy, dx) = (self.y.as_ptr(), self.dy.as_ptr(), self.dx.as_mut_ptr());
        let most = (GROUP_ELEMENTS / cols).clamp(1, GROUP);
        let mut i = 0;
        // SAFETY: all three hold whole rows of cols floats (check, run).
        unsafe {
            while !S::COMPACT && cols <= WIDEST && i + LANES * cols <= n {
                let (y, dy, dx) = (y.add(i), dy.add(i), dx.add(i));
                s.outline(SixteenRows { cols, y, dy, dx, row: self.row });
                i += LANES * cols;
            }
            while i < n {
                let rows = most.min((n - i) / cols);
                let (y, dy, dx) = (y.add(i), dy.add(i), dx.add(i));
                let ahead = if self.far && rows * cols <= GROUP_ELEMENTS { rows * cols } else { 0 };
                self.row.rows(s, &Group { rows, cols, y, dy, dx, head, stream: self.stream, ahead });
                i += rows * cols;
            }
        }
        if self.stream {
            s.fence();
        }
    }
}

/// Some rows, one after another.
struct Group {
    rows: usize,
    cols: usize,
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
    /// Columns before the first whole vector, so that vectors are aligned where they stream.
    head: usize,
    stream: bool,
    /// Elements to the group that comes next, to be asked for while this one is written; 0 if it is not.
    ahead: usize,
}

impl Group {
    /// y, dy and dx of a row.
    #[inline(always)]
    fn row(&self, r: usize) -> (*const f32, *const f32, *mut f32) {
        let at = r * self.cols;
        (self.y.wrapping_add(at), self.dy.wrapping_add(at), self.dx.wrapping_add(at))
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

/// Columns that go at once where `left` are left behind the whole vectors: all of them. A compact program has none but these.
#[inline(always)]
fn rest<S: Simd>(left: usize) -> usize {
    if S::COMPACT { LANES.min(left) } else { left }
}

/// A row's largest y: of each lane's the first, of those the lowest lane's. The first column if no y is a number above
/// −Inf.
struct Top {
    at: usize,
    dy: f32,
    /// Σ of all other dy, where it was asked for: in f64, lane i mod 16, what each lane held for its largest y at last,
    /// folded by halves.
    others: f64,
}

/// # Safety
/// y and dy are valid for reading `cols` ≥ 1 floats.
#[inline(always)]
unsafe fn top<S: Simd, const SUM: bool>(s: S, cols: usize, y: *const f32, dy: *const f32) -> Top {
    let (mut most, mut at) = (s.splat(f32::NEG_INFINITY), s.zero());
    let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
    let mut i = 0;
    // SAFETY: every load ends at or before cols, and `at` holds columns.
    unsafe {
        // A lane's dy waits here while its y is the largest so far.
        let mut held = if SUM { s.zero() } else { s.splat(*dy) };
        macro_rules! step {
            ($d:expr, $more:expr) => {
                let (d, more) = ($d, $more);
                if SUM {
                    let (a, b) = s.widen(s.select(more, held, d));
                    (low, high) = (s.add_d(low, a), s.add_d(high, b));
                }
                held = s.select(more, d, held);
                at = s.select(more, s.from_bits(s.splat_i(i as i32)), at);
            };
        }
        while !S::COMPACT && i + LANES <= cols {
            s.prefetch_far(y.wrapping_add(i + AHEAD));
            s.prefetch_far(dy.wrapping_add(i + AHEAD));
            let v = s.load(y.add(i));
            let more = s.gt(v, most);
            most = s.max(v, most);
            step!(s.load(dy.add(i)), more);
            i += LANES;
        }
        while i < cols {
            let n = rest::<S>(cols - i);
            let v = s.load_first(y.add(i), n);
            let more = s.and_m(s.gt(v, most), s.first(n));
            most = s.select(more, v, most);
            step!(s.load_first(dy.add(i), n), more);
            i += n;
        }
        let found = s.bits_m(s.eq(most, s.splat(s.max_lane(most))));
        let lane = (found | 1 << LANES).trailing_zeros() as usize % LANES;
        let mut others = 0.0;
        if SUM {
            let is_top = s.eq_i(s.from_array_i(COLUMNS), s.splat_i(lane as i32));
            let (a, b) = s.widen(s.select(is_top, s.zero(), held));
            others = s.sum_dd(s.add_d(low, a), s.add_d(high, b));
        }
        Top { at: s.to_array_i(s.bits(at))[lane] as usize + lane, dy: s.to_array(held)[lane], others }
    }
}

/// Columns that [`about_the_largest`] tells apart.
const KEYED: usize = 4096;

/// The bits of a y that count beside its column.
const UPPER: i32 = !(KEYED as i32 - 1);

/// The column of about the largest y, by sign, exponent and 11 bits; of those that agree in these, the last. The first
/// column if no y is a number.
///
/// # Safety
/// y is valid for reading `cols` floats, from 1 to [`KEYED`].
#[inline(always)]
unsafe fn about_the_largest<S: Simd>(s: S, cols: usize, y: *const f32) -> usize {
    let (upper, low) = (s.from_bits(s.splat_i(UPPER)), s.splat(f32::NEG_INFINITY));
    let (mut column, step) = (s.from_array_i(COLUMNS), s.splat_i(LANES as i32));
    let mut most = low;
    let mut i = 0;
    // SAFETY: every load ends at or before cols.
    unsafe {
        while !S::COMPACT && i + BLOCK <= cols {
            for k in 0..BLOCK / LANES {
                let v = s.and(s.load(y.add(i + k * LANES)), upper);
                most = s.max(s.or(v, s.from_bits(column)), most);
                column = s.add_i(column, step);
            }
            i += BLOCK;
        }
        while i < cols {
            let v = s.and(s.load_up_to(y.add(i), cols - i), upper);
            let v = s.or(v, s.from_bits(column));
            most = s.max(s.select(s.first((cols - i).min(LANES)), v, low), most);
            column = s.add_i(column, step);
            i += LANES;
        }
    }
    (s.max_lane(most).to_bits() as usize % KEYED).min(cols - 1)
}

struct Plain;

impl Row for Plain {
    #[inline(always)]
    unsafe fn turned<S: Simd>(&self, s: S, cols: usize, y: *const f32, dy: *mut f32) {
        // SAFETY: columns are below cols.
        unsafe {
            let upper = s.from_bits(s.splat_i(UPPER));
            let (mut most, mut c) = (s.splat(f32::NEG_INFINITY), s.load(dy));
            for j in 0..cols {
                let v = s.and(s.load(y.add(j * LANES)), upper);
                let v = s.or(v, s.from_bits(s.splat_i(j as i32)));
                c = s.select(s.gt(v, most), s.load(dy.add(j * LANES)), c);
                most = s.max(v, most);
            }
            let mut sums = [s.zero(); LANES];
            for j in 0..cols {
                let d = s.sub(c, s.load(dy.add(j * LANES)));
                sums[j] = s.fma(s.load(y.add(j * LANES)), d, s.zero());
                s.store(dy.add(j * LANES), d);
            }
            let sum = turned::fold(s, sums, cols);
            for j in 0..cols {
                let dy = dy.add(j * LANES);
                let d = s.sub(s.load(dy), sum);
                s.store(dy, s.fnma(s.load(y.add(j * LANES)), d, s.zero()));
            }
        }
    }

    #[inline(always)]
    unsafe fn rows<S: Simd>(&self, s: S, group: &Group) {
        let (mut c, mut sums) = ([0f32; GROUP], [0f32; GROUP]);
        // SAFETY: the contract; there are at most GROUP rows; columns are below cols.
        unsafe {
            for r in 0..group.rows {
                let (y, dy, _) = group.row(r);
                c[r] = if group.cols <= KEYED {
                    *dy.add(about_the_largest(s, group.cols, y))
                } else {
                    top::<S, false>(s, group.cols, y, dy).dy
                };
            }
            for r in 0..group.rows {
                let (y, dy, _) = group.row(r);
                sums[r] = weighted(s, group.cols, y, dy, c[r]);
            }
            for r in 0..group.rows {
                if S::COMPACT {
                    write::<S, false, false>(s, group, r, c[r], sums[r]);
                    continue;
                }
                match (group.stream, group.ahead > 0) {
                    (true, _) => write::<S, true, true>(s, group, r, c[r], sums[r]),
                    (false, true) => write::<S, false, true>(s, group, r, c[r], sums[r]),
                    (false, false) => write::<S, false, false>(s, group, r, c[r], sums[r]),
                }
            }
        }
    }
}

/// dx = y·(dy − Σ y·dy) of row `r`, given c and Σ y·(c − dy). Differences from c, not from dy, are what instructions take
/// from memory; 0 − y·… makes every zero a positive one.
///
/// # Safety
/// Row `r` is there.
#[inline(always)]
unsafe fn write<S: Simd, const STREAM: bool, const AHEAD: bool>(s: S, group: &Group, r: usize, c: f32, sum: f32) {
    let (y, dy, dx) = group.row(r);
    let (c, sum) = (s.splat(c), s.splat(sum));
    let mut i = 0;
    let mut part = if S::COMPACT { LANES.min(group.cols) } else { group.head };
    // SAFETY: every load and store ends at cols; streamed vectors are aligned (whole_vectors).
    unsafe {
        loop {
            if part > 0 {
                let d = s.sub(s.sub(c, s.load_first(dy.add(i), part)), sum);
                s.store_first(dx.add(i), s.fnma(s.load_first(y.add(i), part), d, s.zero()), part);
                i += part;
            }
            while !S::COMPACT && i + BLOCK <= group.cols {
                for k in 0..BLOCK / LANES {
                    let at = i + k * LANES;
                    if AHEAD {
                        s.prefetch(y.wrapping_add(at + group.ahead));
                        s.prefetch(dy.wrapping_add(at + group.ahead));
                    }
                    let d = s.sub(s.sub(c, s.load(dy.add(at))), sum);
                    put(s, dx.add(at), s.fnma(s.load(y.add(at)), d, s.zero()), STREAM);
                }
                i += BLOCK;
            }
            while !S::COMPACT && i + LANES <= group.cols {
                let d = s.sub(s.sub(c, s.load(dy.add(i))), sum);
                put(s, dx.add(i), s.fnma(s.load(y.add(i)), d, s.zero()), STREAM);
                i += LANES;
            }
            if i == group.cols {
                return;
            }
            part = rest::<S>(group.cols - i);
        }
    }
}

/// Σ y·(c − dy): lane i mod 16, in f32 over a block of columns. Lanes fold by halves, in f32 if there is but one block;
/// else blocks add lane by lane in f64.
///
/// # Safety
/// y and dy are valid for reading `cols` floats.
#[inline(always)]
unsafe fn weighted<S: Simd>(s: S, cols: usize, y: *const f32, dy: *const f32, c: f32) -> f32 {
    let c = s.splat(c);
    let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
    let mut i = 0;
    // SAFETY: every load ends at or before cols.
    unsafe {
        loop {
            let mut sum = s.zero();
            if !S::COMPACT && i + BLOCK <= cols {
                for k in 0..BLOCK / LANES {
                    let at = i + k * LANES;
                    sum = s.fma(s.load(y.add(at)), s.sub(c, s.load(dy.add(at))), sum);
                }
                i += BLOCK;
            } else {
                let end = if S::COMPACT { cols.min(i + BLOCK) } else { cols };
                while !S::COMPACT && i + LANES <= end {
                    sum = s.fma(s.load(y.add(i)), s.sub(c, s.load(dy.add(i))), sum);
                    i += LANES;
                }
                while i < end {
                    let n = rest::<S>(end - i);
                    // Past the end y is zero; dy is 0, and c may be infinite.
                    let d = s.select(s.first(n), s.sub(c, s.load_first(dy.add(i), n)), s.zero());
                    sum = s.fma(s.load_first(y.add(i), n), d, sum);
                    i += n;
                }
            }
            if cols <= BLOCK {
                return s.sum(sum) + 0.0;
            }
            let (a, b) = s.widen(sum);
            (low, high) = (s.add_d(low, a), s.add_d(high, b));
            if i == cols {
                return s.sum_dd(low, high) as f32;
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
            let low = s.splat(f32::NEG_INFINITY);
            let (mut most, mut at, mut dy_top) = (low, s.zero(), s.load(dy));
            for j in 0..cols {
                let v = s.load(y.add(j * LANES));
                let more = s.gt(v, most);
                most = s.max(v, most);
                at = s.select(more, s.from_bits(s.splat_i(j as i32)), at);
                dy_top = s.select(more, s.load(dy.add(j * LANES)), dy_top);
            }
            let at = s.bits(at);
            let top = s.select(s.eq(most, low), s.load(y), most);
            let zero = s.splat_d(0.0);
            let mut lanes = [(zero, zero); LANES];
            for j in 0..cols {
                let d = s.select(s.eq_i(at, s.splat_i(j as i32)), s.zero(), s.load(dy.add(j * LANES)));
                lanes[j] = s.widen(d);
            }
            let ends = Ends::of(s, top, s.to_array(dy_top), turned::fold_d(s, lanes, cols));
            let nothing = s.eq(top, low);
            let mut halves = [const { MaybeUninit::<(S::F, S::F)>::uninit() }; LANES];
            for j in 0..cols {
                halves[j].write(vecmath::exp_fall_start(s, s.load(y.add(j * LANES))));
            }
            for j in 0..cols {
                let dy = dy.add(j * LANES);
                let d = s.fnma(vecmath::exp_fall_end(s, halves[j].assume_init()), ends.sum, s.load(dy));
                let d = s.select(s.eq_i(at, s.splat_i(j as i32)), ends.at_top, d);
                s.store(dy, s.select(nothing, s.zero(), d));
            }
        }
    }

    #[inline(always)]
    unsafe fn rows<S: Simd>(&self, s: S, group: &Group) {
        let (mut at, mut tops, mut dys) = ([0i32; GROUP], [0f32; LANES], [0f32; LANES]);
        let mut others = [0.0; LANES];
        let mut halves = [const { MaybeUninit::<(S::F, S::F)>::uninit() }; STAGE];
        let cols = group.cols;
        // SAFETY: the contract; there are at most GROUP rows; every load and store ends at cols.
        unsafe {
            for r in 0..group.rows {
                let (y, dy, _) = group.row(r);
                let top = top::<S, true>(s, cols, y, dy);
                (at[r], tops[r], dys[r], others[r]) = (top.at as i32, *y.add(top.at), top.dy, top.others);
            }
            let ends = Ends::of(s, s.from_array(tops), dys, others);
            let (sums, at_tops) = (s.to_array(ends.sum), s.to_array(ends.at_top));
            for r in 0..group.rows {
                let (y, dy, dx) = group.row(r);
                if tops[r] == f32::NEG_INFINITY {
                    let mut i = 0;
                    while i < cols {
                        s.store_up_to(dx.add(i), s.zero(), cols - i);
                        i += LANES;
                    }
                    continue;
                }
                let (sum, at_top) = (s.splat(sums[r]), s.splat(at_tops[r]));
                let at = s.splat_i(at[r]);
                let mut i = 0;
                let mut part = if S::COMPACT { LANES.min(cols) } else { group.head };
                loop {
                    if part > 0 {
                        let v = s.fnma(
                            vecmath::exp_fall(s, s.load_first(y.add(i), part)),
                            sum,
                            s.load_first(dy.add(i), part),
                        );
                        let column = s.add_i(s.from_array_i(COLUMNS), s.splat_i(i as i32));
                        s.store_first(dx.add(i), s.select(s.eq_i(column, at), at_top, v), part);
                        i += part;
                    }
                    let (mut column, step) =
                        (s.add_i(s.from_array_i(COLUMNS), s.splat_i(i as i32)), s.splat_i(LANES as i32));
                    while !S::COMPACT && i + LANES <= cols {
                        let count = ((cols - i) / LANES).min(STAGE);
                        for (k, half) in halves[..count].iter_mut().enumerate() {
                            half.write(vecmath::exp_fall_start(s, s.load(y.add(i + k * LANES))));
                        }
                        for half in &halves[..count] {
                            let p = vecmath::exp_fall_end(s, half.assume_init());
                            let v = s.select(s.eq_i(column, at), at_top, s.fnma(p, sum, s.load(dy.add(i))));
                            put(s, dx.add(i), v, group.stream);
                            column = s.add_i(column, step);
                            i += LANES;
                        }
                    }
                    if i == cols {
                        break;
                    }
                    part = rest::<S>(cols - i);
                }
            }
        }
    }
}

/// Each lane's number.
const COLUMNS: [i32; LANES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// What log-softmax's gradient takes of up to sixteen rows, a lane each: Σ dy, and the gradient at the largest y, which
/// is (1 − p)·dy − p·Σ of the other dy.
struct Ends<S: Simd> {
    sum: S::F,
    at_top: S::F,
}

impl<S: Simd> Ends<S> {
    #[inline(always)]
    fn of(s: S, top: S::F, dy_top: [f32; LANES], others: [f64; LANES]) -> Self {
        let (p, q) = (s.to_array(vecmath::exp(s, top)), s.to_array(vecmath::expm1(s, top)));
        let (mut sum, mut at_top) = ([0f32; LANES], [0f32; LANES]);
        for r in 0..LANES {
            sum[r] = (others[r] + dy_top[r] as f64) as f32;
            at_top[r] = (-q[r] as f64 * dy_top[r] as f64 - p[r] as f64 * others[r]) as f32;
        }
        Ends { sum: s.from_array(sum), at_top: s.from_array(at_top) }
    }
}
