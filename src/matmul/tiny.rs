//! Products so small that finding their path would take longer than they do: one look at the arguments, then the tiles.

use super::Transpose;
use super::block::{most_rows, runs};
use super::dot::DEAL;
use super::driver::{panel_row, panel_width};
use super::join::join_vector;
use super::pack::{Operand, PackPanels, SLACK, Strip};
use super::real::{Real, Vector};
use super::tile::{Carry, NEAR, Next, Tiles, in_place, is_narrow, reads_in_place};
use crate::context::Context;
use crate::fpenv::FpEnv;
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;

/// Largest dimension.
const MOST: usize = 64;

/// A product whose A is read in place, and B too if its rows are contiguous. Fields as those of `Tiles`.
pub(super) struct Tiny<T> {
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    a_row: usize,
    a_col: usize,
    b: *const T,
    b_row: usize,
    b_col: usize,
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
    let (b_rows, b_cols) = if trans_b == Transpose::No { (k, n) } else { (n, k) };
    let here = fits(m) & fits(n) & fits(k) & (suits::<T>(trans_b, m, n) || is_dealt(ctx, trans_a, trans_b, n, k));
    if !here
        || !holds(a.len(), a_rows, a_cols, lda)
        || !holds(b.len(), b_rows, b_cols, ldb)
        || !holds(c.len(), m, n, ldc)
    {
        return false;
    }
    // SAFETY: here, and the slices hold the matrices (holds).
    unsafe {
        run(ctx, trans_a, trans_b, [m, n, k], alpha, a.as_ptr(), lda, b.as_ptr(), ldb, beta, c.as_mut_ptr(), ldc)
    };
    true
}

/// Whether a product of these dimensions, each 1 to [`MOST`], is one for this path.
#[inline]
fn suits<T: Real>(trans_b: Transpose, m: usize, n: usize) -> bool {
    // Few rows or columns are dealt, or turned: not here.
    (n > 4) & (n >= T::LANES / 2) & (n >= m.min(LANES)) & (trans_b == Transpose::No || m > 4)
}

/// Whether it is dealt, and has a step for each lane at most.
#[inline]
fn is_dealt(ctx: &Context, trans_a: Transpose, trans_b: Transpose, n: usize, k: usize) -> bool {
    (n <= 4) & (k <= DEAL) & (trans_a == Transpose::No) & (trans_b == Transpose::No) && !ctx.batch_invariant()
}

/// [`multiply`] of matrices that were looked at elsewhere.
///
/// # Safety
/// No dimension is 0; all matrices are valid with their leading dimensions, C apart from A and B.
#[cfg(feature = "capi")]
#[inline]
#[allow(clippy::too_many_arguments)]
pub(crate) unsafe fn multiply_unchecked<T: Operand<Real = T> + Real>(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    [m, n, k]: [usize; 3],
    alpha: T,
    a: *const T,
    lda: usize,
    b: *const T,
    ldb: usize,
    beta: T,
    c: *mut T,
    ldc: usize,
) -> bool {
    let fits = (m <= MOST) & (n <= MOST) & (k <= MOST);
    let here = fits && (suits::<T>(trans_b, m, n) || is_dealt(ctx, trans_a, trans_b, n, k));
    if here {
        // SAFETY: here, and the contract.
        unsafe { run(ctx, trans_a, trans_b, [m, n, k], alpha, a, lda, b, ldb, beta, c, ldc) };
    }
    here
}

/// # Safety
/// As [`multiply_unchecked`], no dimension above [`MOST`], and the product [`suits`] or [`is_dealt`].
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn run<T: Operand<Real = T> + Real>(
    ctx: &Context,
    trans_a: Transpose,
    trans_b: Transpose,
    [m, n, k]: [usize; 3],
    alpha: T,
    a: *const T,
    lda: usize,
    b: *const T,
    ldb: usize,
    beta: T,
    c: *mut T,
    ldc: usize,
) {
    let (a_row, a_col) = if trans_a == Transpose::No { (lda, 1) } else { (1, lda) };
    let tiny = Tiny {
        m,
        n,
        k,
        a,
        a_row,
        a_col,
        b,
        b_row: if trans_b == Transpose::No { ldb } else { 1 },
        b_col: if trans_b == Transpose::No { 1 } else { ldb },
        c,
        c_row: ldc,
        alpha,
        beta,
    };
    let _fp = FpEnv::enter(ctx.flush_subnormals());
    if suits::<T>(trans_b, m, n) { ctx.dispatch(&tiny) } else { ctx.dispatch(Dealt(&tiny)) }
}

impl<T: Operand<Real = T> + Real> Kernel for &Tiny<T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let nr = const { panel_width::<T>(S::ISA) };
        let mut j = 0;
        while j < self.n {
            let left = nr.min(self.n - j);
            let width = if self.b_col == 1 { in_place::<T, S>(left) } else { 0 };
            if width > 0 {
                self.columns(s, j, width, self.b.wrapping_add(j), self.b_row);
                j += width;
            } else {
                s.outline(&Packed { tiny: self, j, width: left });
                j += left;
            }
        }
    }
}

impl<T: Real> Tiny<T> {
    /// Columns j to j + width of C, from rows of B that begin at `b`, `b_row` elements apart, and can be read there.
    #[inline(always)]
    fn columns<S: Simd>(&self, s: S, j: usize, width: usize, b: *const T, b_row: usize) {
        let most = most_rows::<T, S>(is_narrow::<T, S>(width));
        // All of A, B and C was checked by whoever called `run`, and C is this thread's.
        let mut tiles = Tiles {
            tiles: 1,
            rows: self.m,
            cols: width,
            k: self.k,
            a: self.a,
            a_row: self.a_row,
            a_col: self.a_col,
            a_step: 0,
            b,
            b_row,
            b_step: 0,
            c: self.c.wrapping_add(j),
            c_row: self.c_row,
            c_col: 1,
            c_step: 0,
            c_ahead: NEAR,
            next: Next::NOTHING,
            carry: Carry::NOTHING,
            alpha: self.alpha,
            beta: self.beta,
        };
        if self.m <= most {
            return s.outline(&tiles);
        }
        for (rows, count, height) in runs(0..self.m, most) {
            if count > 0 {
                (tiles.tiles, tiles.rows) = (count, height);
                tiles.a = self.a.wrapping_add(rows.start * self.a_row);
                tiles.a_step = height * self.a_row;
                tiles.c = self.c.wrapping_add(rows.start * self.c_row + j);
                tiles.c_step = height * self.c_row;
                s.outline(&tiles);
            }
        }
    }
}

/// Columns of a B that is packed first: its rows are not contiguous, or tiles cannot read them there. A function of its
/// own, for the room of the panel is felt by who does not need it.
struct Packed<'a, T> {
    tiny: &'a Tiny<T>,
    j: usize,
    width: usize,
}

/// Elements of a panel of B.
const PANEL: usize = 2 * LANES * MOST + SLACK;

impl<T: Operand<Real = T> + Real> Kernel for &Packed<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (t, nr) = (self.tiny, const { panel_width::<T>(S::ISA) });
        let mut panel = MaybeUninit::<[T; PANEL]>::uninit();
        let panel = panel.as_mut_ptr().cast::<T>();
        let src = t.b.wrapping_add(self.j * t.b_col);
        let strip = Strip { src, across: t.b_col, along: t.b_row, width: self.width, k: t.k };
        // SAFETY: the strip lies in B; the panel has room for k rows of nr, and its lanes past the width, which the tile
        // reads, hold zeros or what packing left.
        unsafe {
            if !reads_in_place::<T, S>(self.width) {
                panel.write_bytes(0, t.k * nr);
            }
        }
        let row = panel_row::<T>(S::ISA, self.width);
        s.outline(&PackPanels(strip, panel, row));
        t.columns(s, self.j, self.width, panel, row);
    }
}

/// The dealt order where every lane has one step at most: up to four columns, each lane's product rounded, then summed.
struct Dealt<'a, T>(&'a Tiny<T>);

impl<T: Operand<Real = T> + Real> Kernel for Dealt<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        /// Rows whose sums go beside each other.
        const ROWS: usize = 4;
        let t = self.0;
        let splat = |x| T::Wide::<S>::splat(s, x);
        let (zero, one) = (splat(T::default()), splat(T::ONE));
        let rows = if S::COMPACT { 1 } else { ROWS };
        for i in (0..t.m).step_by(rows) {
            // Rows past the last repeat it.
            let row = |r: usize| (i + r).min(t.m - 1);
            let mut sums = [zero; ROWS];
            // SAFETY: all of A, B and C was checked by whoever called `run`, and C is this thread's.
            unsafe {
                for p in 0..t.k {
                    let b = T::Wide::<S>::load_first(s, t.b.add(p * t.b_row), t.n);
                    for r in 0..rows {
                        let lane = T::Wide::<S>::fma(s, splat(*t.a.add(row(r) * t.a_row + p)), b, zero);
                        sums[r] = if p == 0 { lane } else { T::Wide::<S>::fma(s, one, lane, sums[r]) };
                    }
                }
                for r in 0..rows.min(t.m - i) {
                    let c = t.c.add((i + r) * t.c_row);
                    join_vector(s, t.alpha, t.beta, sums[r], c, c, t.n);
                }
            }
        }
    }
}
