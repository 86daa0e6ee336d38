//! The ascending order for few rows of A against rows that are contiguous along k, as x·Wᵀ has them: four numbers of each of a
//! vector's worth of rows of W are turned in registers, and multiplied at once. Insertions and shuffles run beside the
//! multiply-adds, where packing a panel of W would come before them.

use super::blocking::K_BLOCK;
use super::driver::{Pointer, Product};
use super::epilogue::finish;
use super::join::Join;
use super::pack::{STAGE, Stored, StoredRows, Strip};
use super::real::Real;
use super::tile::LINE;
use crate::context::Context;
use crate::parallel::{Shared, Work};
use crate::simd::{Isa, Kernel, LANES, Simd};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

/// Rows of either at least: fewer wait for their sums or leave lanes empty, and are dealt unless that is ruled out.
const FEWEST: usize = 5;

/// Rows of A at most. Each tile turns anew what it reads of W: with more, a panel that is packed once is faster.
const MOST: usize = 32;

/// Rows of a tile at most: twelve accumulators, four vectors of W, and as many while they turn.
const HEIGHT: usize = 12;

/// Steps of k at least, for what comes before and after them.
const LEAST: usize = 32;

/// Steps of k that all columns pass before the next: rows of A over so many stay in a second-level cache.
const DEPTH: usize = 4 * K_BLOCK;

/// Steps that are turned at a time.
const QUAD: usize = 4;

/// Whether there is a tile for it: f32 with 32 registers.
const fn has_tile<T: Real>(isa: Isa) -> bool {
    matches!(isa, Isa::Avx512) && T::OF_HALVES
}

/// Whether x·wᵀ of `m` × `n` goes this way, x and w being contiguous along k; and if so, whether w takes the place of x.
pub(super) fn way<T: Real>(isa: Isa, m: usize, n: usize, k: usize) -> Option<bool> {
    let lanes = |rows: usize, cols: usize| {
        let suits = (FEWEST..=MOST).contains(&rows) && cols >= FEWEST;
        if suits { rows * cols.next_multiple_of(LANES) } else { usize::MAX }
    };
    let (straight, exchanged) = (lanes(m, n), lanes(n, m));
    let fits = has_tile::<T>(isa) && k >= LEAST && straight.min(exchanged) < usize::MAX;
    fits.then_some(exchanged < straight)
}

/// Whether rows of W so far apart compete for the same lines of a cache.
fn is_crowded(row: usize) -> bool {
    (row * size_of::<f32>()).is_multiple_of(4096)
}

/// How a product is cut.
pub(super) struct Cut {
    workers: usize,
    /// Columns of a task.
    width: usize,
    /// Elements from one copied row of A to the next; 0 where A is read as it lies.
    row: usize,
}

impl Cut {
    pub(super) fn new<T: Real>(x: &Product<'_, T>, ctx: &Context, threads: usize) -> Cut {
        let workers = ctx.workers(Work::flops(2.0 * x.m as f64 * x.n as f64 * x.k as f64), threads);
        let pieces = if workers == 1 { 1 } else { 4 * workers };
        let width = x.n.div_ceil(pieces).next_multiple_of(LANES);
        // 2 KiB apart they compete with rows of W, where both begin alike.
        let apart = x.a.ptr.addr().wrapping_sub(x.b.ptr.addr()).wrapping_add(LINE) % 2048;
        let alike = x.n >= LANES && is_crowded(2 * x.a.row) && is_crowded(2 * x.b.col) && apart < 2 * LINE;
        let in_place = x.a.stored == Stored::Direct && !is_crowded(x.a.row) && !alike;
        // Whole vectors, and at no distance that competes.
        let row = if in_place { 0 } else { x.k.min(DEPTH).next_multiple_of(LANES) + LANES };
        Cut { workers, width, row }
    }

    /// Elements of workspace.
    pub(super) fn len<T: Real>(&self, x: &Product<'_, T>) -> usize {
        self.workers * x.m * self.row
    }
}

/// # Safety
/// As [`Product::run`]; the product goes this [`way`], is cut so, and `scratch` is as long as that says.
pub(super) unsafe fn run<T: Real>(x: &Product<'_, T>, cut: &Cut, ctx: &Context, c: *mut T, scratch: &mut [T]) {
    let c = Pointer(c);
    let (scratch, len) = (Shared::new(scratch), x.m * cut.row);
    ctx.for_each_worker(cut.workers, x.n.div_ceil(cut.width), |worker, task| {
        let cols = task * cut.width..x.n.min((task + 1) * cut.width);
        // SAFETY: a worker's number is its own.
        let rows = unsafe { scratch.piece(worker * len..(worker + 1) * len) };
        ctx.dispatch(Piece { product: x, cols, c: c.get(), rows: rows.as_mut_ptr(), row: cut.row });
    });
}

struct Piece<'a, 'b, T: Real> {
    product: &'a Product<'b, T>,
    cols: Range<usize>,
    c: *mut T,
    /// Room for rows of A, `row` apart, unless that is 0.
    rows: *mut T,
    row: usize,
}

/// Rows of W over some steps, beside each other; and the sums of all tiles.
#[repr(align(64))]
struct Room([MaybeUninit<f32>; LANES * STAGE], [MaybeUninit<f32>; MOST * LANES]);

impl<T: Real> Kernel for Piece<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if const { has_tile::<T>(S::ISA) } {
            s.outline(&self);
        }
    }
}

impl<T: Real> Kernel for &Piece<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.product;
        let mut room = Room([const { MaybeUninit::uninit() }; _], [const { MaybeUninit::uninit() }; _]);
        let (stage, sums) = (room.0.as_mut_ptr().cast::<f32>(), room.1.as_mut_ptr().cast::<f32>());
        if !self.cols.len().is_multiple_of(LANES) {
            // SAFETY: the room's. The tile computes with rows that W has not.
            unsafe { stage.write_bytes(0, LANES * STAGE) };
        }
        for p0 in (0..x.k).step_by(DEPTH) {
            let depth = DEPTH.min(x.k - p0);
            let (mut a, mut a_row) = (x.a.at(0, p0), x.a.row);
            if self.row > 0 {
                let strip = Strip { src: a, across: x.a.row, along: 1, width: x.m, k: depth };
                // The rows are those of A; there is room for as many (Cut).
                s.outline(&StoredRows(strip, x.a.stored, self.rows, self.row));
                (a, a_row) = (self.rows.cast_const(), self.row);
            }
            for col in self.cols.clone().step_by(LANES) {
                let cols = col..self.cols.end.min(col + LANES);
                for q0 in (0..depth).step_by(K_BLOCK) {
                    let k = K_BLOCK.min(depth - q0);
                    let block = Block {
                        piece: self,
                        a: a.wrapping_add(q0).cast(),
                        a_row,
                        cols: cols.clone(),
                        p0: p0 + q0,
                        k,
                        start: p0,
                        is_last: q0 + k == depth,
                    };
                    block.sum(s, stage, sums);
                    block.join(s, sums.cast_const().cast());
                }
                if p0 + depth == x.k {
                    let c = self.c.wrapping_add(col * x.c_col);
                    // SAFETY: the columns are this task's alone.
                    unsafe { finish(s, x.epilogue, x.finished(c, 0..x.m, cols)) };
                }
            }
        }
    }
}

/// All rows against a vector's worth of columns over one block of k.
struct Block<'a, 'b, 'c, T: Real> {
    piece: &'a Piece<'b, 'c, T>,
    a: *const f32,
    a_row: usize,
    cols: Range<usize>,
    p0: usize,
    k: usize,
    /// Where steps begin that all columns pass before the next, and whether these are the last of them.
    start: usize,
    is_last: bool,
}

impl<T: Real> Block<'_, '_, '_, T> {
    #[inline(always)]
    fn sum<S: Simd>(&self, s: S, stage: *mut f32, sums: *mut f32) {
        let b = self.piece.product.b;
        let direct = b.direct_at(self.p0, self.cols.start).filter(|_| self.cols.len() == LANES && !is_crowded(b.col));
        // The last steps cannot be read four at a time: past the end there may be nothing.
        let whole = if direct.is_some() { self.k / QUAD * QUAD } else { 0 };
        if let Some(w) = direct.filter(|_| whole > 0) {
            self.tiles(s, w.cast(), b.col, 0, whole, sums, ptr::null());
        }
        for from in (whole..self.k).step_by(STAGE) {
            let k = STAGE.min(self.k - from);
            let src = b.at(self.p0 + from, self.cols.start);
            let strip = Strip { src, across: b.col, along: 1, width: self.cols.len(), k };
            // As many rows of W; the stage has as many of STAGE.
            s.outline(&StoredRows(strip, b.stored, stage.cast(), STAGE));
            // What is copied next: further steps, or the first ones of the next columns.
            let ask = if from + k < self.k || !self.is_last {
                b.direct_at(self.p0 + from + k, self.cols.start)
            } else {
                b.direct_at(self.start, self.cols.end)
            };
            let ask = ask.map_or(ptr::null(), |p| p.cast());
            let whole = k / QUAD * QUAD;
            if whole > 0 {
                self.tiles(s, stage, STAGE, from, whole, sums, ask);
            }
            if whole < k {
                self.tiles(s, stage.wrapping_add(whole), STAGE, from + whole, k - whole, sums, ptr::null());
            }
        }
    }

    /// All rows over `k` steps `from` those of the block on, of which `w` holds the rows: whole quads, or fewer steps than one.
    /// Not inlined, as it computes nothing itself.
    #[inline(never)]
    #[allow(clippy::too_many_arguments)]
    fn tiles<S: Simd>(
        &self,
        s: S,
        w: *const f32,
        w_row: usize,
        from: usize,
        k: usize,
        sums: *mut f32,
        ask: *const f32,
    ) {
        let rows = self.piece.product.m;
        let tiles = rows.div_ceil(HEIGHT);
        for t in 0..tiles {
            let (row, end) = (t * rows / tiles, (t + 1) * rows / tiles);
            let tile = Tile {
                rows: end - row,
                k,
                a: self.a.wrapping_add(row * self.a_row + from),
                a_row: self.a_row,
                w,
                w_row,
                sums: sums.wrapping_add(row * LANES),
                first: from == 0,
                ask: if t == 0 { ask } else { ptr::null() },
                ask_row: self.piece.product.b.col,
            };
            s.outline(&tile);
        }
    }

    #[inline(always)]
    fn join<S: Simd>(&self, s: S, sums: *const T) {
        let x = self.piece.product;
        let c = self.piece.c.wrapping_add(self.cols.start * x.c_col);
        let beta = if self.p0 == 0 { x.beta } else { T::ONE };
        for i in (0..x.m).step_by(LANES) {
            s.outline(&Join {
                rows: LANES.min(x.m - i),
                cols: self.cols.len(),
                c: c.wrapping_add(i * x.c_row),
                c_row: x.c_row,
                c_col: x.c_col,
                alpha: x.alpha,
                beta,
                sums: sums.wrapping_add(i * LANES),
                stride: LANES,
            });
        }
    }
}

/// [`FEWEST`] ≤ `rows` ≤ [`HEIGHT`] rows of A, `a_row` apart, against 16 rows of W, `w_row` apart. The sums stand behind each
/// other, a vector for each row of A, and start from zero if these steps are the `first`.
///
/// `k` is whole quads, or less than one. Whoever makes one promises that as many numbers of each row of A are readable, of W
/// up to a multiple of [`QUAD`], and that there is room for the sums.
struct Tile {
    rows: usize,
    k: usize,
    a: *const f32,
    a_row: usize,
    w: *const f32,
    w_row: usize,
    sums: *mut f32,
    first: bool,
    /// Rows that are asked for meanwhile, one after each [`QUAD`] steps and [`STAGE`] numbers of it, unless null.
    ask: *const f32,
    ask_row: usize,
}

impl Kernel for &Tile {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        macro_rules! by_rows {
            ($($rows:literal)*) => {
                match self.rows {
                    _ if self.k < QUAD => s.outline(Rest(self)),
                    $($rows => s.outline(Sized::<$rows>(self)),)*
                    _ => unreachable!("a tile of {} rows", self.rows),
                }
            };
        }
        by_rows!(5 6 7 8 9 10 11 12)
    }
}

/// A tile of fewer steps than are turned at a time, row by row.
struct Rest<'a>(&'a Tile);

impl Kernel for Rest<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let t = self.0;
        // SAFETY: the promise of whoever made the tile.
        unsafe {
            let w = s.load_turned_quad(rows_of(t), t.w_row * size_of::<f32>());
            for i in 0..t.rows {
                let (a, sums) = (t.a.add(i * t.a_row), t.sums.add(i * LANES));
                let mut sum = if t.first { s.zero() } else { s.load(sums) };
                for p in 0..t.k {
                    sum = s.fma(s.splat(*a.add(p)), w[p], sum);
                }
                s.store(sums, sum);
            }
        }
    }
}

/// The rows of W that [`Simd::load_turned_quad`] asks for.
#[inline(always)]
fn rows_of(t: &Tile) -> [*const f32; 4] {
    [t.w, t.w.wrapping_add(t.w_row), t.w.wrapping_add(6 * t.w_row), t.w.wrapping_add(11 * t.w_row)]
}

/// A tile of whole quads with its size as a constant, so that the sums are registers.
struct Sized<'a, const M: usize>(&'a Tile);

impl<const M: usize> Kernel for Sized<'_, M> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let t = self.0;
        let mut acc = [s.zero(); M];
        // SAFETY: the promise of whoever made the tile.
        unsafe {
            if !t.first {
                for i in 0..M {
                    acc[i] = s.load(t.sums.add(i * LANES));
                }
            }
            // Three rows of A share a pointer, so that there are registers for them all.
            let (stride, w_stride) = (t.a_row * size_of::<f32>(), t.w_row * size_of::<f32>());
            let mut a = [t.a; 4];
            for i in 1..M.div_ceil(3) {
                a[i] = a[i - 1].wrapping_add(3 * t.a_row);
            }
            let mut w = rows_of(t);
            macro_rules! step {
                ($q:literal $row:expr) => {
                    step!($q $row; 0 1 2 3 4 5 6 7 8 9 10 11)
                };
                ($q:literal $row:expr; $($i:literal)*) => {$(
                    if $i < M {
                        [acc[$i % M]] = s.fma_splat::<$q, { $i % 3 }, 1>(a[$i / 3], stride, [$row], [acc[$i % M]]);
                    }
                )*};
            }
            let mut ask = t.ask;
            for _ in 0..t.k / QUAD {
                if !ask.is_null() {
                    for i in (0..STAGE).step_by(LANES) {
                        s.prefetch_far(ask.wrapping_add(i));
                    }
                    ask = ask.wrapping_add(t.ask_row);
                }
                let row = s.load_turned_quad(w, w_stride);
                step!(0 row[0]);
                step!(1 row[1]);
                step!(2 row[2]);
                step!(3 row[3]);
                for i in 0..4 {
                    w[i] = w[i].wrapping_add(QUAD);
                }
                for i in 0..M.div_ceil(3) {
                    a[i] = a[i].wrapping_add(QUAD);
                }
            }
            for i in 0..M {
                s.store(t.sums.add(i * LANES), acc[i]);
            }
        }
    }
}
