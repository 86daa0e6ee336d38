//! The ascending order for few rows of A and a B whose rows are contiguous: B is read once, as it lies, some of its rows at
//! a time, and the sums of a block of k wait in cache meanwhile.

use super::block::runs;
use super::blocking::{K_BLOCK, tile_vectors};
use super::driver::{Pointer, Product};
use super::epilogue::finish;
use super::join::{join_one, join_row};
use super::real::{Real, Vector};
use crate::context::Context;
use crate::parallel::{Shared, Work};
use crate::simd::{Isa, Kernel, LANES, Simd};
use std::ops::Range;

/// Rows of A at most, by how the rows of B lie: with more, a panel in place or packed is faster than the sums' way to the
/// cache and back. Rows at multiples of 4 KiB compete for the same lines of a cache, and are hard to read otherwise.
const FEW: usize = 4;
const fn rows_crowded(isa: Isa) -> usize {
    match isa {
        // Three groups with two vectors each.
        Isa::Avx512 => 18,
        _ => 8,
    }
}

/// Rows of A that meet a vector of B at once. f64 would double what more than four take.
const fn tallest<T: Real>() -> usize {
    if T::OF_HALVES { 6 } else { 4 }
}

/// Rows of B at a time. A cache has eight lines for rows that compete.
const STEPS: usize = 32;
const STEPS_CROWDED: usize = 8;

/// Columns that all rows of A pass over before the next ones, where they are too many to go at once: what they read of B
/// stays in the first-level cache.
const CHUNK: usize = 192;

/// Sums that wait at a time: 64 KiB in f32 stay in a second-level cache.
const SUMS: usize = 16 * 1024;

/// Whether a product goes this way.
pub(super) fn is_swept<T: Real>(x: &Product<'_, T>, isa: Isa) -> bool {
    // Tiles of one vector would have more rows at once.
    let few = x.m <= 2 || tile_vectors(isa) > 1;
    let most = if (x.b.row * size_of::<T>()).is_multiple_of(4096) { rows_crowded(isa) } else { FEW };
    x.b.direct_at(0, 0).is_some()
        && x.b.col == 1
        && x.m <= most
        && x.n >= LANES
        && (x.m == 1 || !x.is_short() || few && is_direct(x))
}

/// Whether sums join C at once: all steps go together, and C keeps all or nothing of itself. f64 would double what it takes.
fn is_direct<T: Real>(x: &Product<'_, T>) -> bool {
    let keeps = x.beta == T::default() || x.beta == T::ONE;
    let together = x.k <= STEPS && x.is_short() || x.k <= steps(x.b.row, size_of::<T>());
    T::OF_HALVES && x.m <= FEW && together && x.c_col == 1 && keeps
}

/// Rows of B at a time, so many elements apart.
fn steps(b_row: usize, size: usize) -> usize {
    if (b_row * size).is_multiple_of(1024) { STEPS_CROWDED } else { STEPS }
}

/// How a product is cut.
pub(super) struct Cut {
    workers: usize,
    /// Columns of a task.
    width: usize,
    /// Elements of its sums.
    sums: usize,
}

impl Cut {
    pub(super) fn new<T: Real>(x: &Product<'_, T>, ctx: &Context, threads: usize) -> Cut {
        let work = Work::flops(2.0 * x.m as f64 * x.n as f64 * x.k as f64 * 2.0);
        let workers = ctx.workers(work, threads);
        // Long runs of each row for one thread; two pieces a worker for more.
        let pieces = if workers == 1 { 1 } else { 2 * workers };
        let width = x.n.div_ceil(pieces).next_multiple_of(LANES).min(SUMS / x.m / LANES * LANES);
        Cut { workers, width, sums: if is_direct(x) { 0 } else { x.m * stride(width) } }
    }

    /// Elements of workspace.
    pub(super) fn len(&self) -> usize {
        self.workers * self.sums
    }
}

/// Elements from one row of sums to the next: whole vectors, and at no distance that competes for lines of a cache.
fn stride(cols: usize) -> usize {
    cols.next_multiple_of(LANES) + LANES
}

/// # Safety
/// As [`Product::run`]; the product [`is_swept`], cut so, and `scratch` is as long as that says.
pub(super) unsafe fn run<T: Real>(x: &Product<'_, T>, cut: &Cut, ctx: &Context, c: *mut T, scratch: &mut [T]) {
    let c = Pointer(c);
    let scratch = Shared::new(scratch);
    ctx.for_each_worker(cut.workers, x.n.div_ceil(cut.width), |worker, task| {
        let cols = task * cut.width..x.n.min((task + 1) * cut.width);
        // SAFETY: a worker's number is its own.
        let sums = unsafe { scratch.piece(worker * cut.sums..(worker + 1) * cut.sums) };
        ctx.dispatch(Piece { product: x, cols, c: c.get(), sums });
    });
}

struct Piece<'a, 'b, T: Real> {
    product: &'a Product<'b, T>,
    cols: Range<usize>,
    c: *mut T,
    sums: &'a mut [T],
}

impl<T: Real> Kernel for Piece<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.product;
        let c = self.c.wrapping_add(self.cols.start * x.c_col);
        let (Some(a), Some(b)) = (x.a.direct_at(0, 0), x.b.direct_at(0, self.cols.start)) else { return };
        let sweep = Sweep {
            rows: x.m,
            cols: self.cols.len(),
            k: x.k,
            a,
            a_row: x.a.row,
            a_col: x.a.col,
            b,
            b_row: x.b.row,
            c,
            c_row: x.c_row,
            c_col: x.c_col,
            alpha: x.alpha,
            beta: x.beta,
            sums: self.sums.as_mut_ptr(),
            stride: stride(self.cols.len()),
            direct: self.sums.is_empty(),
        };
        s.outline(&sweep);
        // SAFETY: the columns are this task's alone.
        unsafe { finish(s, x.epilogue, x.finished(c, 0..x.m, self.cols.clone())) };
    }
}

/// `rows` × `cols` of C over all of k. Fields as those of `Tiles`; `sums` holds rows of `stride` elements.
struct Sweep<T> {
    rows: usize,
    cols: usize,
    k: usize,
    a: *const T,
    a_row: usize,
    a_col: usize,
    b: *const T,
    b_row: usize,
    c: *mut T,
    c_row: usize,
    c_col: usize,
    alpha: T,
    beta: T,
    sums: *mut T,
    stride: usize,
    /// There is no room for sums: all steps go together, and join C ([`is_direct`]).
    direct: bool,
}

impl<T: Real> Kernel for &Sweep<T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let most = if self.direct { STEPS } else { steps(self.b_row, size_of::<T>()) };
        let chunk = if self.rows <= const { tallest::<T>() } { self.cols } else { CHUNK };
        for p0 in (0..self.k).step_by(K_BLOCK) {
            let end = self.k.min(p0 + K_BLOCK);
            for p in (p0..end).step_by(most) {
                let steps = p..end.min(p + most);
                for j in (0..self.cols).step_by(chunk) {
                    let cols = j..self.cols.min(j + chunk);
                    for (rows, groups, height) in
                        runs(0..self.rows, if S::COMPACT { 1 } else { const { tallest::<T>() } })
                    {
                        for g in 0..groups {
                            let (row, cols, steps) = (rows.start + g * height, cols.clone(), steps.clone());
                            Group { sweep: self, row, cols, steps, first: p == p0 }.run(s, height);
                        }
                    }
                }
            }
            if !self.direct {
                self.join(s, if p0 == 0 { self.beta } else { T::ONE });
            }
        }
    }
}

impl<T: Real> Sweep<T> {
    /// The sums of a block of k join C.
    #[inline(always)]
    fn join<S: Simd>(&self, s: S, beta: T) {
        for i in 0..self.rows {
            // SAFETY: sums holds rows of `stride` each; the elements of C are this task's.
            unsafe {
                let (sums, c) = (self.sums.add(i * self.stride), self.c.add(i * self.c_row));
                if self.c_col == 1 {
                    join_row(s, self.alpha, beta, sums, c, c, self.cols);
                } else {
                    for j in 0..self.cols {
                        join_one::<T, S>(self.alpha, beta, *sums.add(j), c.add(j * self.c_col));
                    }
                }
            }
        }
    }
}

/// Some rows of sums, and columns of them, to which rows `steps` of B are added.
struct Group<'a, T> {
    sweep: &'a Sweep<T>,
    row: usize,
    cols: Range<usize>,
    steps: Range<usize>,
    /// Sums start from zero.
    first: bool,
}

impl<T: Real> Group<'_, T> {
    /// Not inlined, as it computes nothing itself.
    #[inline(never)]
    fn run<S: Simd>(&self, s: S, height: usize) {
        // As many accumulators as hide the latency of a fused multiply-add and leave registers for the operands.
        macro_rules! sized {
            ($rows:literal $vectors:expr) => {
                // A single row is its columns too.
                if self.sweep.a_col == 1 && $rows > 1 {
                    s.outline(&Sized::<T, $rows, { $vectors }, true>(self))
                } else {
                    s.outline(&Sized::<T, $rows, { $vectors }, false>(self))
                }
            };
        }
        let two = const { tile_vectors(S::ISA) == 2 };
        match height {
            _ if S::COMPACT => sized!(1 1),
            1 => sized!(1 4),
            2 if two => sized!(2 4),
            2 => sized!(2 2),
            3 if two => sized!(3 2),
            3 => sized!(3 1),
            4 if two => sized!(4 2),
            4 => sized!(4 1),
            _ if const { tallest::<T>() <= 4 } => unreachable!("a group of {height} rows"),
            5 if two => sized!(5 2),
            5 => sized!(5 1),
            _ if two => sized!(6 2),
            _ => sized!(6 1),
        }
    }
}

/// `M` rows of sums, in strips of `N` vectors.
struct Sized<'a, T, const M: usize, const N: usize, const ROWS: bool>(&'a Group<'a, T>);

impl<T: Real, const M: usize, const N: usize, const ROWS: bool> Kernel for &Sized<'_, T, M, N, ROWS> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.0.sweep;
        let lanes = T::LANES;
        let zero = T::Wide::<S>::splat(s, T::default());
        let stride = x.a_row * size_of::<T>();
        macro_rules! strip {
            ($count:expr, $j:expr, $n:expr, $load:expr) => {{
                let mut acc = [[zero; $count]; M];
                let sums = x.sums.wrapping_add(self.0.row * x.stride + $j);
                if !self.0.first {
                    for i in 0..M {
                        for v in 0..$count {
                            acc[i][v] = T::Wide::<S>::load(s, sums.add(i * x.stride + v * lanes));
                        }
                    }
                }
                let mut a = [x.a.wrapping_add(self.0.row * x.a_row + self.0.steps.start * x.a_col); M];
                if ROWS && M > 3 {
                    a[1 % M] = a[0].wrapping_add(3 * x.a_row);
                }
                let mut b = x.b.wrapping_add(self.0.steps.start * x.b_row + $j);
                macro_rules! step {
                    ($q:literal $i:literal $row:ident) => {
                        if $i < M {
                            if M <= 2 {
                                // One splat for several vectors.
                                let at = if ROWS { a[0].wrapping_byte_add($i * stride).wrapping_add($q) } else { a[0].wrapping_add($i) };
                                for v in 0..$count {
                                    acc[$i % M][v] = T::Wide::<S>::fma(s, T::Wide::<S>::splat(s, *at), $row[v], acc[$i % M][v]);
                                }
                            } else {
                                acc[$i % M] = if ROWS {
                                    T::Wide::<S>::fma_splat::<$q, { $i % 3 }, $count>(s, a[$i / 3 % M], stride, $row, acc[$i % M])
                                } else {
                                    T::Wide::<S>::fma_splat::<$i, 0, $count>(s, a[0], 0, $row, acc[$i % M])
                                };
                            }
                        }
                    };
                    ($q:literal) => {
                        let mut row = [zero; $count];
                        for v in 0..$count {
                            row[v] = $load(b.add(v * lanes));
                        }
                        step!($q 0 row);
                        step!($q 1 row);
                        step!($q 2 row);
                        step!($q 3 row);
                        step!($q 4 row);
                        step!($q 5 row);
                        b = b.wrapping_add(x.b_row);
                        if !ROWS {
                            a[0] = a[0].wrapping_add(x.a_col);
                        }
                    };
                }
                let mut left = self.0.steps.len();
                while left >= 4 && !S::COMPACT {
                    step!(0);
                    step!(1);
                    step!(2);
                    step!(3);
                    if ROWS {
                        a[0] = a[0].wrapping_add(4);
                        if M > 3 {
                            a[1 % M] = a[1 % M].wrapping_add(4);
                        }
                    }
                    left -= 4;
                }
                for _ in 0..left {
                    step!(0);
                    if ROWS {
                        a[0] = a[0].wrapping_add(1);
                        if M > 3 {
                            a[1 % M] = a[1 % M].wrapping_add(1);
                        }
                    }
                }
                if const { M <= FEW && T::OF_HALVES } && x.direct {
                    let mut c = x.c.add(self.0.row * x.c_row + $j);
                    let fresh = x.beta == T::default();
                    let mut start = if fresh { T::ZEROS.0.as_ptr() } else { c.cast_const() };
                    let (start_row, start_next) = if fresh { (0, 0) } else { (x.c_row, lanes) };
                    let alpha = T::Wide::<S>::splat(s, x.alpha);
                    for i in 0..M {
                        for v in 0..$count {
                            let (start, c) = (start.add(v * start_next), c.add(v * lanes));
                            T::Wide::<S>::fma(s, alpha, acc[i][v], T::Wide::<S>::load_up_to(s, start, $n)).store_up_to(s, c, $n);
                        }
                        c = c.wrapping_add(x.c_row);
                        start = start.wrapping_add(start_row);
                    }
                } else {
                    for i in 0..M {
                        for v in 0..$count {
                            acc[i][v].store(s, sums.add(i * x.stride + v * lanes));
                        }
                    }
                }
            }};
        }
        let (mut j, end) = (self.0.cols.start, self.0.cols.end);
        // SAFETY: the rows of A and of B from p on exist, those of B as wide as the columns, of which a tail is masked; sums
        // holds rows of whole vectors (Cut).
        unsafe {
            while !S::COMPACT && j + N * lanes <= end {
                strip!(N, j, lanes, |p| T::Wide::<S>::load(s, p));
                j += N * lanes;
            }
            // Two rows would wait for the sums of a lone vector.
            while N > 2 && M == 2 && !S::COMPACT && j + 2 * lanes <= end {
                strip!(2, j, lanes, |p| T::Wide::<S>::load(s, p));
                j += 2 * lanes;
            }
            // With masks, what is left of whole vectors and a part of one go the same way.
            while N > 1 && !S::MASKS && !S::COMPACT && j + lanes <= end {
                strip!(1, j, lanes, |p| T::Wide::<S>::load(s, p));
                j += lanes;
            }
            while j < end {
                let width = lanes.min(end - j);
                strip!(1, j, width, |p| T::Wide::<S>::load_first(s, p, width));
                if !S::MASKS && !S::COMPACT {
                    break;
                }
                j += lanes;
            }
        }
    }
}
