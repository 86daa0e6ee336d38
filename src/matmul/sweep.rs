//! The ascending order for few rows of A and a B whose rows are contiguous: B is read once, as it lies, and the sums of a
//! block of k wait in the first-level cache.

use super::blocking::K_BLOCK;
use super::driver::{Pointer, Product};
use super::epilogue::Epilogue;
use super::pack::Operand;
use super::real::{Real, Vector};
use crate::context::Context;
use crate::parallel::Work;
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows of A at most: with more, the sums' way to the cache and back costs more than packing B.
const ROWS: usize = 4;

/// Sums that wait at a time: 8 KiB in f32.
const SUMS: usize = 2048;

/// Whether a product goes this way.
pub(super) fn is_swept<O: Operand, E>(x: &Product<'_, O, E>) -> bool {
    O::direct(x.b.ptr).is_some() && x.m <= ROWS && x.b.col == 1 && x.n >= LANES
}

/// # Safety
/// As [`Product::run`]; the product [`is_swept`].
pub(super) unsafe fn run<O: Operand, E: Epilogue<O::Real>>(
    x: &Product<'_, O, E>,
    ctx: &Context,
    threads: usize,
    c: *mut O::Real,
) {
    let work = Work::flops(2.0 * x.m as f64 * x.n as f64 * x.k as f64 * 3.0);
    let workers = ctx.workers(work, threads);
    // Long runs of each row for one thread; two pieces a worker for more.
    let pieces = if workers == 1 { 1 } else { 2 * workers };
    let width = x.n.div_ceil(pieces).next_multiple_of(LANES).min(SUMS / x.m / LANES * LANES);
    let c = Pointer(c);
    ctx.for_each_worker(workers, x.n.div_ceil(width), |_, task| {
        let cols = task * width..x.n.min((task + 1) * width);
        ctx.dispatch(Piece { product: x, cols, c: c.get() });
    });
}

struct Piece<'a, 'b, O: Operand, E> {
    product: &'a Product<'b, O, E>,
    cols: Range<usize>,
    c: *mut O::Real,
}

impl<O: Operand, E: Epilogue<O::Real>> Kernel for Piece<'_, '_, O, E> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.product;
        let c = self.c.wrapping_add(self.cols.start * x.c_col);
        let (Some(a), Some(b)) = (O::direct(x.a.ptr), O::direct(x.b.at(0, self.cols.start))) else { return };
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
        };
        s.outline(&sweep);
        // SAFETY: the columns are this task's alone.
        unsafe { x.epilogue.apply(s, x.finished(c, 0..x.m, self.cols.clone())) };
    }
}

/// `rows` × `cols` of C over all of k. Fields as those of `Tiles`.
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
}

impl<T: Real> Kernel for &Sweep<T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut sums = [const { MaybeUninit::<T>::uninit() }; SUMS];
        let sums = sums.as_mut_ptr().cast::<T>();
        for p0 in (0..self.k).step_by(K_BLOCK) {
            let depth = K_BLOCK.min(self.k - p0);
            // As many rows of B at a time as leave registers for the numbers of A that meet them; more than four of one
            // distance would compete for the same lines of a cache.
            let mut p = 0;
            while p < depth {
                macro_rules! step {
                    ($rows:literal $group:literal) => {
                        if depth - p >= $group {
                            s.outline(&Group::<T, $rows, $group> { sweep: self, p: p0 + p, first: p == 0, sums });
                            p += $group;
                        } else {
                            s.outline(&Group::<T, $rows, 1> { sweep: self, p: p0 + p, first: p == 0, sums });
                            p += 1;
                        }
                    };
                }
                match self.rows {
                    1 => step!(1 2),
                    2 => step!(2 2),
                    3 => step!(3 2),
                    _ => step!(4 2),
                }
            }
            self.join(s, sums, if p0 == 0 { self.beta } else { T::ONE });
        }
    }
}

impl<T: Real> Sweep<T> {
    /// The sums of a block of k join C.
    #[inline(always)]
    fn join<S: Simd>(&self, s: S, sums: *const T, beta: T) {
        let zero = T::default();
        for i in 0..self.rows {
            // SAFETY: sums holds rows of `stride` each (Group); the elements of C are this task's.
            unsafe {
                let (sums, c) = (sums.add(i * self.stride()), self.c.add(i * self.c_row));
                if self.c_col == 1 {
                    let (alpha, beta_v) = (T::Wide::<S>::splat(s, self.alpha), T::Wide::<S>::splat(s, beta));
                    for j in (0..self.cols).step_by(T::LANES) {
                        let width = T::LANES.min(self.cols - j);
                        let start = if beta == zero {
                            T::Wide::<S>::splat(s, zero)
                        } else {
                            T::Wide::<S>::mul(s, beta_v, T::Wide::<S>::load_up_to(s, c.add(j), width))
                        };
                        let sum = T::Wide::<S>::load(s, sums.add(j));
                        T::Wide::<S>::fma(s, alpha, sum, start).store_up_to(s, c.add(j), width);
                    }
                } else {
                    for j in 0..self.cols {
                        let c = c.add(j * self.c_col);
                        let start = if beta == zero { zero } else { beta * *c };
                        *c = T::fma::<S>(self.alpha, *sums.add(j), start);
                    }
                }
            }
        }
    }

    /// Elements from one row of sums to the next: whole vectors.
    #[inline(always)]
    fn stride(&self) -> usize {
        self.cols.next_multiple_of(LANES)
    }
}

/// `G` rows of B from row `p` on, added to `M` rows of sums.
struct Group<'a, T, const M: usize, const G: usize> {
    sweep: &'a Sweep<T>,
    p: usize,
    /// Sums start from zero.
    first: bool,
    sums: *mut T,
}

impl<T: Real, const M: usize, const G: usize> Kernel for &Group<'_, T, M, G> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Where a vector is two registers, more than two rows of sums leave room for halves only.
        if M > 2 { self.sweep::<S, T::Narrow<S>>(s) } else { self.sweep::<S, T::Wide<S>>(s) }
    }
}

impl<T: Real, const M: usize, const G: usize> Group<'_, T, M, G> {
    #[inline(always)]
    fn sweep<S: Simd, V: Vector<S, T>>(&self, s: S) {
        let x = self.sweep;
        let zero = V::splat(s, T::default());
        let stride = x.stride();
        // SAFETY: M rows of A and G rows of B exist from p on, the rows of B as wide as the columns, of which a tail is
        // masked; sums holds M rows of whole vectors (SUMS, and the width of a task).
        unsafe {
            let mut a = [[zero; G]; M];
            for i in 0..M {
                for g in 0..G {
                    a[i][g] = V::splat(s, *x.a.add(i * x.a_row + (self.p + g) * x.a_col));
                }
            }
            let b = x.b.add(self.p * x.b_row);
            let ahead = b.wrapping_add(G * x.b_row);
            macro_rules! vector {
                ($j:expr, $load:expr) => {
                    let j = $j;
                    let mut sum = [zero; M];
                    if !self.first {
                        for i in 0..M {
                            sum[i] = V::load(s, self.sums.add(i * stride + j));
                        }
                    }
                    for g in 0..G {
                        let row: V = $load(b.add(g * x.b_row + j));
                        for i in 0..M {
                            sum[i] = V::fma(s, a[i][g], row, sum[i]);
                        }
                    }
                    for i in 0..M {
                        sum[i].store(s, self.sums.add(i * stride + j));
                    }
                };
            }
            let whole = x.cols / V::LANES * V::LANES;
            for j in (0..whole).step_by(V::LANES) {
                if (j * size_of::<T>()).is_multiple_of(64) {
                    for g in 0..G {
                        s.prefetch(ahead.wrapping_add(g * x.b_row + j).cast());
                    }
                }
                vector!(j, |p| V::load(s, p));
            }
            if whole < x.cols {
                vector!(whole, |p| V::load_first(s, p, x.cols - whole));
            }
        }
    }
}
