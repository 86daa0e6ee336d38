//! The ascending order for the sum of a few outer products: C is written along its rows, and nothing is packed.

use super::blocking::{ALONG_COLS, tile_vectors};
use super::driver::{Pointer, Product};
use super::epilogue::finish;
use super::join::join_vector;
use super::real::{Real, Vector};
use super::tile::LINE;
use crate::context::Context;
use crate::parallel::Work;
use crate::simd::{Isa, Kernel, Simd};
use std::ops::Range;

/// Steps of k at most: as many numbers of A as stay in registers for two rows of C.
const DEPTH: usize = 4;

/// The same with 32 registers, for a C beyond second-level caches: tiles write it in shorter runs.
const DEPTH_FAR: usize = 8;
const FAR: usize = 2 << 20;

/// Rows of C in one task.
const PIECE: usize = 84;

/// Whether a product goes this way.
pub(super) fn is_ranked<T: Real>(x: &Product<'_, T>, isa: Isa) -> bool {
    let far = has_far::<T>(isa) && x.m * x.n * size_of::<T>() > FAR && x.n >= ALONG_COLS;
    let depth = if far { DEPTH_FAR } else { DEPTH };
    x.b.direct_at(0, 0).is_some() && x.k <= depth && x.b.col == 1 && x.c_col == 1 && x.n >= T::LANES
}

/// Whether there are kernels of more than [`DEPTH`] steps: f64 would double what they take.
const fn has_far<T: Real>(isa: Isa) -> bool {
    tile_vectors(isa) == 2 && T::OF_HALVES
}

/// # Safety
/// As [`Product::run`]; the product [`is_ranked`].
pub(super) unsafe fn run<T: Real>(x: &Product<'_, T>, ctx: &Context, threads: usize, c: *mut T) {
    let tasks = x.m.div_ceil(PIECE);
    // Writing C is what takes the time.
    let workers = ctx.workers(Work::elements(x.m * x.n, 0.15), threads.min(tasks));
    let c = Pointer(c);
    ctx.for_each_worker(workers, tasks, |_, task| {
        let rows = task * PIECE..x.m.min((task + 1) * PIECE);
        ctx.dispatch(Piece { product: x, rows, c: c.get() });
    });
}

struct Piece<'a, 'b, T: Real> {
    product: &'a Product<'b, T>,
    rows: Range<usize>,
    c: *mut T,
}

impl<T: Real> Kernel for Piece<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.product;
        let (Some(a), Some(b)) = (x.a.direct_at(0, 0), x.b.direct_at(0, 0)) else { return };
        let (mut row, end) = (self.rows.start, self.rows.end);
        while row < end {
            let rows = Rows {
                cols: x.n,
                a: a.wrapping_add(row * x.a.row),
                a_row: x.a.row,
                a_col: x.a.col,
                b,
                b_row: x.b.row,
                c: self.c.wrapping_add(row * x.c_row),
                c_row: x.c_row,
                alpha: x.alpha,
                beta: x.beta,
            };
            // Rows row to row + M of A and C exist (loop bound), and K rows of B (match).
            macro_rules! step {
                ($k:literal $m:literal) => {
                    if end - row >= $m {
                        s.outline(&Few::<_, $k, $m>(&rows));
                        $m
                    } else {
                        s.outline(&Few::<_, $k, 1>(&rows));
                        1
                    }
                };
                (far $k:literal) => {{
                    // is_ranked asked the same.
                    if const { has_far::<T>(S::ISA) } {
                        s.outline(&Few::<_, $k, 2>(&rows));
                    }
                    2
                }};
            }
            let done = match x.k {
                _ if S::COMPACT || x.k > DEPTH && end - row == 1 => {
                    s.outline(&One { rows: &rows, k: x.k });
                    1
                }
                1 => step!(1 4),
                2 => step!(2 4),
                3 => step!(3 2),
                4 if const { has_far::<T>(S::ISA) } => step!(4 4),
                4 => step!(4 2),
                5 => step!(far 5),
                6 => step!(far 6),
                7 => step!(far 7),
                _ => step!(far 8),
            };
            // SAFETY: the rows are this task's alone.
            unsafe { finish(s, x.epilogue, x.finished(rows.c, row..row + done, 0..x.n)) };
            row += done;
        }
    }
}

/// Some rows of C, as wide as it is. Fields as those of `Tiles`.
struct Rows<T> {
    cols: usize,
    a: *const T,
    a_row: usize,
    a_col: usize,
    b: *const T,
    b_row: usize,
    c: *mut T,
    c_row: usize,
    alpha: T,
    beta: T,
}

/// `M` rows of C from `K` rows of B.
struct Few<'a, T, const K: usize, const M: usize>(&'a Rows<T>);

impl<T: Real, const K: usize, const M: usize> Kernel for &Few<'_, T, K, M> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // By value: what is read through a reference would be read again after every store.
        let Rows { cols, a: a0, a_row, a_col, b: b0, b_row, c: c0, c_row, alpha, beta } = *self.0;
        let keeps = beta != T::default();
        let zero = T::Wide::<S>::splat(s, T::default());
        let (alpha, beta) = (T::Wide::<S>::splat(s, alpha), T::Wide::<S>::splat(s, beta));
        let mut a = [[zero; K]; M];
        // SAFETY: M rows of A and C and K of B exist (Piece); a tail is masked.
        unsafe {
            for i in 0..M {
                for p in 0..K {
                    a[i][p] = T::Wide::<S>::splat(s, *a0.add(i * a_row + p * a_col));
                }
            }
            // Vectors that are lines have masks.
            let head = if S::LINES && S::MASKS { c0.align_offset(LINE).min(cols) % T::LANES } else { 0 };
            let end = head + (cols - head) / T::LANES * T::LANES;
            // With masks, a part of a vector goes through the same loop as whole ones.
            macro_rules! vector {
                ($j:expr, $n:expr) => {
                    macro_rules! load {
                        ($p:expr) => {
                            if S::MASKS {
                                T::Wide::<S>::load_first(s, $p, $n)
                            } else {
                                T::Wide::<S>::load_up_to(s, $p, $n)
                            }
                        };
                    }
                    let mut b = [zero; K];
                    for p in 0..K {
                        b[p] = load!(b0.add(p * b_row + $j));
                    }
                    for i in 0..M {
                        let mut sum = zero;
                        for p in 0..K {
                            sum = T::Wide::<S>::fma(s, a[i][p], b[p], sum);
                        }
                        let c = c0.add(i * c_row + $j);
                        let start = if keeps { T::Wide::<S>::mul(s, beta, load!(c)) } else { zero };
                        T::Wide::<S>::fma(s, alpha, sum, start).store_up_to(s, c, $n);
                    }
                };
            }
            if S::MASKS {
                let mut j = 0;
                while j < cols {
                    let run = match j {
                        _ if j < head => head,
                        _ if j < end => end,
                        _ => cols,
                    };
                    let lanes = T::LANES.min(run - j);
                    while j < run {
                        vector!(j, lanes);
                        j += lanes;
                    }
                }
                return;
            }
            for j in (0..end).step_by(T::LANES) {
                vector!(j, T::LANES);
            }
            if end < cols {
                vector!(end, cols - end);
            }
        }
    }
}

/// A row of C from `k` rows of B, for [`Simd::COMPACT`] and for the last of many steps.
struct One<'a, T> {
    rows: &'a Rows<T>,
    k: usize,
}

impl<T: Real> Kernel for &One<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.rows;
        let zero = T::Wide::<S>::splat(s, T::default());
        for j in (0..x.cols).step_by(T::LANES) {
            let n = T::LANES.min(x.cols - j);
            // SAFETY: a row of A and C and k of B exist (Piece); a tail is masked.
            unsafe {
                let mut sum = zero;
                for p in 0..self.k {
                    let a = T::Wide::<S>::splat(s, *x.a.add(p * x.a_col));
                    sum = T::Wide::<S>::fma(s, a, T::Wide::<S>::load_first(s, x.b.add(p * x.b_row + j), n), sum);
                }
                let c = x.c.add(j);
                join_vector(s, x.alpha, x.beta, sum, c, c, n);
            }
        }
    }
}
