//! Products so small that finding their path would take longer than they do: one look at the arguments, then the tiles.

use super::Transpose;
use super::block::runs;
use super::blocking::narrow_rows;
use super::driver::panel_width;
use super::pack::{Operand, SLACK, Strip};
use super::real::Real;
use super::tile::{Next, Tiles, is_narrow};
use crate::context::Context;
use crate::fpenv::FpEnv;
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;

/// Largest dimension.
const MOST: usize = 64;

/// A product whose B is read in place, row by row. Fields as those of `Tiles`.
pub(super) struct Tiny<T> {
    m: usize,
    n: usize,
    k: usize,
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

/// Does the product if it is one for this path, and says so. If not, nothing has been looked at but sizes.
#[inline]
#[allow(clippy::too_many_arguments)]
pub(super) fn multiply<T: Operand<Real = T> + Real>(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    [m, n, k]: [usize; 3],
    alpha: T,
    a: &[T],
    lda: usize,
    b: &[T],
    ldb: usize,
    beta: T,
    c: &mut [T],
    ldc: usize,
) -> bool {
    let fits = |x: usize| x.wrapping_sub(1) < MOST;
    let (a_rows, a_cols) = if trans_a == Transpose::No { (m, k) } else { (k, m) };
    // Whether rows of the matrix lie in the slice; dimensions are small, and with such an ld nothing overflows.
    let holds = |len: usize, rows: usize, cols: usize, ld: usize| {
        cols <= ld && ld <= isize::MAX as usize / (MOST * 16) && (rows - 1) * ld + cols <= len
    };
    // Few columns are dealt, or turned: not here.
    let here = fits(m) & fits(n) & fits(k) & (trans_b == Transpose::No) & (n > T::LANES / 2 - 1) & (n >= m.min(LANES));
    if !here || !holds(a.len(), a_rows, a_cols, lda) || !holds(b.len(), k, n, ldb) || !holds(c.len(), m, n, ldc) {
        return false;
    }
    let (a_row, a_col) = if trans_a == Transpose::No { (lda, 1) } else { (1, lda) };
    let tiny = Tiny {
        m,
        n,
        k,
        a: a.as_ptr(),
        a_row,
        a_col,
        b: b.as_ptr(),
        b_row: ldb,
        c: c.as_mut_ptr(),
        c_row: ldc,
        alpha,
        beta,
    };
    let _fp = FpEnv::enter(ctx.flush_subnormals());
    ctx.dispatch(&tiny);
    true
}

/// Elements of a panel of B whose columns do not fill vectors.
const PANEL: usize = 2 * LANES * MOST + SLACK;

impl<T: Operand<Real = T> + Real> Kernel for &Tiny<T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let nr = const { panel_width::<T>(S::ISA) };
        let mut panel = MaybeUninit::<[T; PANEL]>::uninit();
        let mut j = 0;
        while j < self.n {
            let width = nr.min(self.n - j);
            let narrow = is_narrow::<T, S>(width);
            let (mut b, mut b_row) = (self.b.wrapping_add(j), self.b_row);
            if width % (if narrow { T::HALF } else { T::LANES }) != 0 {
                let panel = panel.as_mut_ptr().cast::<T>();
                let strip = Strip { src: b, across: 1, along: b_row, width, k: self.k };
                // SAFETY: the strip lies in B (multiply); the panel has room for k rows of nr, and its lanes past the
                // width, which the tile reads, hold zeros or what packing left.
                unsafe {
                    panel.write_bytes(0, self.k * nr);
                    strip.pack(s, panel, nr);
                }
                (b, b_row) = (panel.cast_const(), nr);
            }
            for (rows, tiles, height) in runs::<S>(0..self.m, narrow && const { narrow_rows(S::ISA) } > 0) {
                if tiles == 0 {
                    continue;
                }
                // All of A, B and C was checked in `multiply`, and C is this thread's.
                s.outline(&Tiles {
                    tiles,
                    rows: height,
                    cols: width,
                    k: self.k,
                    a: self.a.wrapping_add(rows.start * self.a_row),
                    a_row: self.a_row,
                    a_col: self.a_col,
                    a_step: height * self.a_row,
                    b,
                    b_row,
                    b_step: 0,
                    c: self.c.wrapping_add(rows.start * self.c_row + j),
                    c_row: self.c_row,
                    c_col: 1,
                    c_step: height * self.c_row,
                    c_ahead: 0,
                    next: Next::NOTHING,
                    alpha: self.alpha,
                    beta: self.beta,
                });
            }
            j += width;
        }
    }
}
