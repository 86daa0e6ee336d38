//! How sums join C: c = fma(alpha, sum, beta·c), where beta = 0 does not read C.

use super::pack::{SLACK, Strip, TurnColumns};
use super::real::{Real, Vector};
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;

/// One sum joins the element at `c`.
///
/// # Safety
/// `c` is valid for reading and writing.
#[inline(always)]
pub(super) unsafe fn join_one<T: Real, S: Simd>(alpha: T, beta: T, sum: T, c: *mut T) {
    // SAFETY: the contract.
    unsafe {
        let start = if beta == T::default() { T::default() } else { beta * *c };
        *c = T::fma::<S>(alpha, sum, start);
    }
}

/// Sums join the first `n` elements from `c` on, or a whole vector of them, to be written to `out`.
///
/// # Safety
/// As many elements are valid, from `c` on for reading, from `out` on for writing.
#[inline(always)]
pub(super) unsafe fn join_vector<T: Real, S: Simd, V: Vector<S, T>>(
    s: S,
    alpha: T,
    beta: T,
    sum: V,
    c: *const T,
    out: *mut T,
    n: usize,
) {
    let splat = |x| V::splat(s, x);
    // SAFETY: the contract.
    unsafe {
        let start =
            if beta == T::default() { splat(T::default()) } else { V::mul(s, splat(beta), V::load_up_to(s, c, n)) };
        V::fma(s, splat(alpha), sum, start).store_up_to(s, out, n);
    }
}

/// `len` sums beside each other join as many elements from `c` on, to be written to `out`.
///
/// # Safety
/// `len` sums and elements of C are valid for reading, of `out` for writing.
#[inline(always)]
pub(super) unsafe fn join_row<T: Real, S: Simd>(
    s: S,
    alpha: T,
    beta: T,
    sums: *const T,
    c: *const T,
    out: *mut T,
    len: usize,
) {
    for i in (0..len).step_by(T::LANES) {
        // SAFETY: the contract.
        unsafe {
            let sum = T::Wide::<S>::load_up_to(s, sums.add(i), len - i);
            join_vector(s, alpha, beta, sum, c.add(i), out.add(i), len - i);
        }
    }
}

/// The sums of a tile, whose rows are `stride` apart, and the `rows` × `cols` of C that they join: for tiles that are not whole,
/// any beta, and a C whose columns are contiguous. C(i, j) stands at `c + i·c_row + j·c_col`.
pub(super) struct Join<T> {
    pub rows: usize,
    pub cols: usize,
    pub c: *mut T,
    pub c_row: usize,
    pub c_col: usize,
    pub alpha: T,
    pub beta: T,
    pub sums: *const T,
    pub stride: usize,
}

/// Whoever makes one promises that its part of C is this thread's, and that `sums` holds whole vectors.
impl<T: Real> Kernel for &Join<T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: rows × cols of C are this thread's, and sums holds the tile (promise).
        unsafe {
            if self.c_col == 1 {
                for i in 0..self.rows {
                    let c = self.c.add(i * self.c_row);
                    join_row(s, self.alpha, self.beta, self.sums.add(i * self.stride), c, c, self.cols);
                }
            } else if S::COMPACT {
                for j in 0..self.cols {
                    for i in 0..self.rows {
                        let c = self.c.add(i * self.c_row + j * self.c_col);
                        join_one::<T, S>(self.alpha, self.beta, *self.sums.add(i * self.stride + j), c);
                    }
                }
            } else {
                // Columns of the tile are rows of C. All are read before any is written: a load that overlaps a masked store
                // would wait for it.
                let mut turned = [const { MaybeUninit::<T>::uninit() }; 2 * LANES * LANES + SLACK];
                let turned = turned.as_mut_ptr().cast::<T>();
                let strip = Strip { src: self.sums, across: self.stride, along: 1, width: self.rows, k: self.stride };
                s.outline(&TurnColumns { strip, dst: turned, stride: LANES });
                let fresh = self.beta == T::default();
                for j in 0..self.cols {
                    let (row, c) = (turned.add(j * LANES), self.c.add(j * self.c_col));
                    join_row(s, self.alpha, self.beta, row, c, if fresh { c } else { row }, self.rows);
                }
                for j in 0..if fresh { 0 } else { self.cols } {
                    for i in (0..self.rows).step_by(T::LANES) {
                        let n = T::LANES.min(self.rows - i);
                        let sums = T::Wide::<S>::load_first(s, turned.add(j * LANES + i), n);
                        sums.store_first(s, self.c.add(j * self.c_col + i), n);
                    }
                }
            }
        }
    }
}
