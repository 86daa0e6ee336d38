//! The register tile: the one loop where a matrix product spends its time.

use super::blocking::{by_steps_limit, narrow_rows, tile_rows, tile_vectors};
use super::join::Join;
use super::real::{Real, Vector};
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;
use std::ptr;

/// A run of tiles of one size. Tile t has its operands at `a + t·a_step`, `b + t·b_step`, and joins C at `c + t·c_step`:
/// `rows` × `cols` sums over one block of k.
///
/// In a tile a(i, p) stands at `a + i·a_row + p·a_col`, one of the strides being 1; row p of B stands at `b + p·b_row` and
/// holds as many whole vectors as `cols` needs, or elements that [`reads_in_place`]; C(i, j) stands at
/// `c + i·c_row + j·c_col`. c = fma(alpha, s, beta·c), where beta = 0 does not read C.
pub(crate) struct Tiles<T> {
    pub tiles: usize,
    pub rows: usize,
    pub cols: usize,
    pub k: usize,
    pub a: *const T,
    pub a_row: usize,
    pub a_col: usize,
    pub a_step: usize,
    pub b: *const T,
    pub b_row: usize,
    pub b_step: usize,
    pub c: *mut T,
    pub c_row: usize,
    pub c_col: usize,
    pub c_step: usize,
    /// Elements from a tile of C to the one that is asked for while it computes, or [`NEAR`].
    pub c_ahead: usize,
    pub next: Next<T>,
    pub carry: Carry<T>,
    pub alpha: T,
    pub beta: T,
}

/// For a C that is in the nearest cache already, or too small to ask for.
pub(super) const NEAR: usize = usize::MAX;

/// What is read after these tiles, and is asked for while they compute: rows of so many lines. A tile asks for two lines in
/// each turn of its loop, of two halves of its rows.
#[derive(Clone, Copy)]
pub(crate) struct Next<T> {
    ptr: *const T,
    lines: usize,
    /// Elements from the end of a row's lines to the next row.
    jump: usize,
    /// Elements from the first half of a tile's rows to the second.
    half: usize,
    /// So many tiles ask.
    tiles: usize,
}

impl<T> Next<T> {
    pub(crate) const NOTHING: Next<T> = Next { ptr: ptr::null(), lines: 1, jump: 0, half: 0, tiles: 0 };

    /// `rows` rows from `ptr` on, `row` elements apart, as the tiles of `k` steps after the first `done` ask for them.
    #[inline(always)]
    pub(super) fn new(ptr: *const T, row: usize, lines: usize, rows: usize, k: usize, done: usize) -> Next<T> {
        let half = (k / UNROLL).div_ceil(lines);
        let rows_per_tile = (2 * half).max(1);
        let skipped = done * rows_per_tile;
        Next {
            ptr: ptr.wrapping_add(skipped * row),
            lines,
            jump: row.wrapping_sub(lines * const { LINE / size_of::<T>() }),
            half: half * row,
            tiles: rows.saturating_sub(skipped).div_ceil(rows_per_tile),
        }
    }
}

/// Sums that wait while more steps of their block of k are prepared: whole tiles, one behind the other. The first steps come
/// from nowhere, the last join C.
#[derive(Clone, Copy)]
pub(crate) struct Carry<T> {
    pub from: *const T,
    pub to: *mut T,
}

impl<T> Carry<T> {
    pub(crate) const NOTHING: Carry<T> = Carry { from: ptr::null(), to: ptr::null_mut() };
}

/// Runs the kernel of the tiles' size.
///
/// Whoever makes them promises: 1 ≤ cols ≤ [`tile_vectors`] vectors; 1 ≤ rows ≤ [`tile_rows`], or [`narrow_rows`] where
/// cols fit half a vector. A and B are readable as the fields say, and rows × cols of C readable and writable by this thread
/// alone. Sums that wait have room for whole tiles; only those of two vectors and of an A
/// whose rows are contiguous do, where there is a [`by_steps_limit`].
impl<T: Real> Kernel for &Tiles<T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        macro_rules! by_rows {
            ($narrow:literal $most:expr, $nv:literal: $($mr:literal)*) => {
                match (self.rows, self.a_col == 1) {
                    $(
                        ($mr, true) if $mr <= const { $most } =>
                            s.outline(Sized::<T, $mr, $nv, true, $narrow>(self)),
                        ($mr, false) if $mr <= const { $most } =>
                            s.outline(Sized::<T, $mr, $nv, false, $narrow>(self)),
                    )*
                    _ => unreachable!("a tile of {} rows", self.rows),
                }
            };
        }
        if self.tiles == 0 {
        } else if const { tile_vectors(S::ISA) } == 2 && self.cols > T::LANES {
            by_rows!(false tile_rows::<T>(S::ISA), 2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
        } else if const { has_narrow::<T, S>() } && self.cols <= T::HALF {
            by_rows!(true narrow_rows(S::ISA), 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
        } else {
            by_rows!(false tile_rows::<T>(S::ISA), 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
        }
    }
}

/// Whether `cols` columns fit tiles of half a vector, on machines where those are any faster.
#[inline(always)]
pub(super) fn is_narrow<T: Real, S: Simd>(cols: usize) -> bool {
    cols <= T::HALF && const { has_narrow::<T, S>() }
}

const fn has_narrow<T: Real, S: Simd>() -> bool {
    T::HALF < T::LANES && narrow_rows(S::ISA) > 0
}

/// Whether a tile reads `cols` elements of a row of B and no more: whole vectors, or a lone one by a mask. A mask takes a turn
/// of a multiplier, which tiles of two vectors would feel.
#[inline(always)]
pub(super) fn reads_in_place<T: Real, S: Simd>(cols: usize) -> bool {
    S::MASKS && cols <= T::LANES || cols.is_multiple_of(if is_narrow::<T, S>(cols) { T::HALF } else { T::LANES })
}

/// As many of `cols` columns, which are at most a tile's, as one can read in place; 0 if there are none.
#[inline(always)]
pub(super) fn in_place<T: Real, S: Simd>(cols: usize) -> usize {
    match cols {
        _ if reads_in_place::<T, S>(cols) => cols,
        _ if S::MASKS => T::LANES,
        _ => 0,
    }
}

/// Tiles with their size as constants, so that the accumulators are registers. By reference: a copy of fields that were
/// just stored one by one would be loaded by whole vectors, which waits for the stores. `ROWS`: rows of A are contiguous,
/// else its columns are. `NARROW`: vectors
/// are halves.
struct Sized<'a, T, const MR: usize, const NV: usize, const ROWS: bool, const NARROW: bool>(&'a Tiles<T>);

impl<T: Real, const MR: usize, const NV: usize, const ROWS: bool, const NARROW: bool> Kernel
    for Sized<'_, T, MR, NV, ROWS, NARROW>
{
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if NARROW { self.tiles::<S, T::Narrow<S>>(s) } else { self.tiles::<S, T::Wide<S>>(s) }
    }
}

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// Steps of k in one turn of the loop: a short loop's end is then foreseen.
const UNROLL: usize = 4;

impl<T: Real, const MR: usize, const NV: usize, const ROWS: bool, const NARROW: bool>
    Sized<'_, T, MR, NV, ROWS, NARROW>
{
    #[inline(always)]
    fn tiles<S: Simd, V: Vector<S, T>>(self, s: S) {
        let t = self.0;
        let (mut a0, mut b0, mut c0) = (t.a, t.b, t.c);
        for tile in 0..t.tiles {
            let (k, a_row, a_col, b_row, c_row) = (t.k, t.a_row, t.a_col, t.b_row, t.c_row);
            // Lanes of the last vector.
            let last = if S::MASKS { t.cols - (NV - 1) * V::LANES } else { V::LANES };
            // Lines to ask for; where there are none, one that is near.
            let asks = tile < t.next.tiles;
            let line = if asks { LINE / size_of::<T>() } else { 0 };
            let jump = if asks { t.next.jump } else { 0 };
            let half = if asks { t.next.half } else { 0 };
            let mut next = if asks { t.next.ptr.wrapping_add(tile * 2 * half) } else { t.b };
            let in_row = t.next.lines;
            let mut lines = in_row;
            let mut acc = [[V::splat(s, T::default()); NV]; MR];
            // SAFETY: the promise of whoever made the tiles, whose fields these are.
            unsafe {
                if const { NV == 2 && ROWS && by_steps_limit::<T>(S::ISA) > 0 } && !t.carry.from.is_null() {
                    let mut from = t.carry.from.add(tile * MR * NV * V::LANES);
                    for i in 0..MR {
                        for j in 0..NV {
                            acc[i][j] = V::load(s, from.add(j * V::LANES));
                        }
                        from = from.add(NV * V::LANES);
                    }
                }
                let mut c_ask = c0.wrapping_add(t.c_ahead);
                macro_rules! ask {
                    () => {
                        s.prefetch(c_ask.cast());
                        if NV == 2 {
                            s.prefetch(c_ask.wrapping_add(V::LANES).cast());
                            // Rows that do not begin with a line end in another.
                            s.prefetch(c_ask.wrapping_add(2 * V::LANES - 1).cast());
                        }
                        c_ask = c_ask.wrapping_add(c_row);
                    };
                }
                // Over many steps, a row of C in each turn of the loop, until so many steps are left: requests all at once
                // hold the loop up.
                let spreads = const { NV > 1 && !ROWS };
                let mut asked = k;
                if t.c_col == 1 && t.c_ahead != NEAR {
                    if spreads && k >= MR * UNROLL {
                        asked = k - MR * UNROLL;
                    } else {
                        for _ in 0..MR {
                            ask!();
                        }
                    }
                }
                // Three rows of A share a pointer, so that there are registers for them all; columns have one.
                let stride = a_row * size_of::<T>();
                let pointers = if ROWS { MR.div_ceil(3) } else { 1 };
                let mut a = [a0; MR];
                for i in 1..pointers {
                    a[i] = a[i - 1].wrapping_add(3 * a_row);
                }
                let mut b = b0;
                macro_rules! step {
                    ($q:literal) => {
                        let mut row = [V::splat(s, T::default()); NV];
                        for j in 0..NV {
                            row[j] = if S::MASKS && NV == 1 {
                                V::load_first(s, b.add(j * V::LANES), last)
                            } else {
                                V::load(s, b.add(j * V::LANES))
                            };
                        }
                        step!($q row: 0 1 2 3 4 5 6 7 8 9 10 11 12 13);
                        b = b.wrapping_add(b_row);
                        if !ROWS {
                            a[0] = a[0].wrapping_add(a_col);
                        }
                    };
                    ($q:literal $row:ident: $($i:literal)*) => {$(
                        if $i < MR {
                            acc[$i % MR] = if ROWS {
                                V::fma_splat::<$q, { $i % 3 }, NV>(s, a[$i / 3 % MR], stride, $row, acc[$i % MR])
                            } else {
                                V::fma_splat::<$i, 0, NV>(s, a[0], 0, $row, acc[$i % MR])
                            };
                        }
                    )*};
                }
                let mut left = k;
                while left >= UNROLL && !S::COMPACT {
                    s.prefetch_far(next.cast());
                    s.prefetch_far(next.wrapping_add(half).cast());
                    if spreads && left > asked {
                        ask!();
                    }
                    next = next.wrapping_add(line);
                    lines -= 1;
                    if lines == 0 {
                        lines = in_row;
                        next = next.wrapping_add(jump);
                    }
                    step!(0);
                    step!(1);
                    step!(2);
                    step!(3);
                    if ROWS {
                        for i in 0..pointers {
                            a[i] = a[i].wrapping_add(UNROLL);
                        }
                    }
                    left -= UNROLL;
                }
                for _ in 0..left {
                    step!(0);
                    if ROWS {
                        for i in 0..pointers {
                            a[i] = a[i].wrapping_add(1);
                        }
                    }
                }
                // One end for all, without branches: an accumulator that is reached in a loop with them would live in memory.
                // What C starts as is itself or zeros; sums that join otherwise go to memory as they are, for x − 0 is x.
                let whole = S::MASKS || t.cols == NV * V::LANES;
                let fresh = t.beta == T::default();
                let waits = const { NV == 2 && ROWS && by_steps_limit::<T>(S::ISA) > 0 } && !t.carry.to.is_null();
                let joins = waits || t.c_col != 1 || !whole || (!fresh && t.beta != T::ONE);
                let mut sums = [const { MaybeUninit::<T>::uninit() }; LARGEST];
                let mut sums = sums.as_mut_ptr().cast::<T>();
                if waits {
                    sums = t.carry.to.add(tile * MR * NV * V::LANES);
                }
                let (mut c, mut c_row, mut start, mut start_row, mut alpha) =
                    (c0, c_row, c0.cast_const(), c_row, t.alpha);
                if joins {
                    (c, c_row, alpha) = (sums, NV * V::LANES, T::ONE);
                }
                // Sums that wait, or turn, are whole vectors.
                let last = if joins { V::LANES } else { last };
                if joins || fresh {
                    (start, start_row) = (if joins { T::MINUS_ZEROS } else { T::ZEROS }.0.as_ptr(), 0);
                }
                let alpha = V::splat(s, alpha);
                if fresh && !joins && const { T::OF_HALVES && !S::COMPACT } {
                    // Small tiles feel what a start of zeros loads; in f32, it is worth their size.
                    let zero = V::splat(s, T::default());
                    for i in 0..MR {
                        for j in 0..NV {
                            let (sum, c) = (V::fma(s, alpha, acc[i][j], zero), c.add(j * V::LANES));
                            if S::MASKS && j + 1 == NV { sum.store_first(s, c, last) } else { sum.store(s, c) }
                        }
                        c = c.wrapping_add(c_row);
                    }
                } else {
                    for i in 0..MR {
                        for j in 0..NV {
                            let (c, start) = (c.add(j * V::LANES), start.add(j * V::LANES));
                            if S::MASKS && j + 1 == NV {
                                V::fma(s, alpha, acc[i][j], V::load_first(s, start, last)).store_first(s, c, last);
                            } else {
                                V::fma(s, alpha, acc[i][j], V::load(s, start)).store(s, c);
                            }
                        }
                        c = c.wrapping_add(c_row);
                        start = start.wrapping_add(start_row);
                    }
                }
                if joins && !waits {
                    s.outline(&Joined { tiles: t, c: c0, sums, stride: NV * V::LANES });
                }
            }
            a0 = a0.wrapping_add(t.a_step);
            b0 = b0.wrapping_add(t.b_step);
            c0 = c0.wrapping_add(t.c_step);
        }
    }
}

/// Elements of the largest tile.
const LARGEST: usize = 14 * 2 * LANES;

/// [`Join`] of one tile, by reference: fields in each kernel of tiles would be many instructions.
struct Joined<'a, T> {
    tiles: &'a Tiles<T>,
    c: *mut T,
    sums: *const T,
    stride: usize,
}

impl<T: Real> Kernel for &Joined<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tiles { rows, cols, c_row, c_col, alpha, beta, .. } = *self.tiles;
        let Joined { c, sums, stride, .. } = *self;
        s.outline(&Join { rows, cols, c, c_row, c_col, alpha, beta, sums, stride });
    }
}
