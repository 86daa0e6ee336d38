//! Products of blocks on matmul's register tile, and the blocks that they read as panels.

use crate::matmul::{Carry, Next, PackPanels, Strip, Tiles, most_rows, panel_width, runs};
use crate::simd::{Isa, Kernel, LANES, Simd};

/// C = alpha·A·B + beta·C, each sum ascending by fma from 0 and joined as `fma(alpha, sum, beta·C)`.
///
/// a(i, p) stands at `a + i·a_row + p·a_col`, one of the strides being 1; B is panels as [`pack`] makes them, `b_panel`
/// elements apart; rows of C are contiguous and `c_row` apart.
pub(super) struct Product {
    pub rows: usize,
    pub cols: usize,
    pub k: usize,
    pub a: *const f32,
    pub a_row: usize,
    pub a_col: usize,
    pub b: *const f32,
    pub b_panel: usize,
    pub c: *mut f32,
    pub c_row: usize,
    pub alpha: f32,
    pub beta: f32,
}

/// Rows up to which tiles go along the rows of C, so that a few calls of the tile do for all panels.
const FEW: usize = 16;

/// Whoever makes one promises that A and B are readable and C is writable as the fields say, C by this thread alone, and
/// read only if beta is not 0.
impl Kernel for &Product {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.rows == 0 {
            return;
        }
        let nr = const { panel_width::<f32>(S::ISA) };
        let whole = self.cols / nr;
        let along = self.rows <= FEW && whole > 1;
        let runs = runs(0..self.rows, most_rows::<f32, S>(false));
        for (rows, tiles, height) in runs.clone() {
            for t in 0..if along { tiles } else { 0 } {
                self.tiles(s, rows.start + t * height, height, 0, nr, whole, true);
            }
        }
        for panel in if along { whole } else { 0 }..self.cols.div_ceil(nr) {
            let cols = nr.min(self.cols - panel * nr);
            for (rows, tiles, height) in runs.clone() {
                self.tiles(s, rows.start, height, panel, cols, tiles, false);
            }
        }
    }
}

impl Product {
    /// `tiles` tiles `height` high from row `row` and panel `panel` on: along the rows of C, or down them.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn tiles<S: Simd>(&self, s: S, row: usize, height: usize, panel: usize, cols: usize, tiles: usize, along: bool) {
        let nr = const { panel_width::<f32>(S::ISA) };
        s.outline(&Tiles {
            tiles,
            rows: height,
            cols,
            k: self.k,
            a: self.a.wrapping_add(row * self.a_row),
            a_row: self.a_row,
            a_col: self.a_col,
            a_step: if along { 0 } else { height * self.a_row },
            b: self.b.wrapping_add(panel * self.b_panel),
            b_row: nr,
            b_step: if along { self.b_panel } else { 0 },
            c: self.c.wrapping_add(row * self.c_row + panel * nr),
            c_row: self.c_row,
            c_col: 1,
            c_step: if along { nr } else { height * self.c_row },
            c_ahead: 0,
            next: Next::NOTHING,
            carry: Carry::NOTHING,
            alpha: self.alpha,
            beta: self.beta,
        });
    }
}

/// Elements of panels over `k` steps of a matrix `cols` wide, on any thread of this instruction set, with what packing
/// may write past them.
pub(super) fn panels_len(isa: Isa, cols: usize, k: usize) -> usize {
    cols.next_multiple_of(panel_width::<f32>(isa)) * k + LANES
}

/// Packs a matrix of `k` rows of `cols`, row p at `src + p·d`, as panels `k` steps deep.
///
/// # Safety
/// The matrix is readable; [`panels_len`] elements are writable at `dst`.
#[inline(always)]
pub(super) unsafe fn pack<S: Simd>(s: S, src: *const f32, d: usize, cols: usize, k: usize, dst: *mut f32) {
    let nr = const { panel_width::<f32>(S::ISA) };
    s.outline(&PackPanels(Strip { src, across: 1, along: d, width: cols, k }, dst, nr));
}

/// Packs the transpose of `cols` rows of `d`, one behind the other at `src`, as panels `d` steps deep.
///
/// # Safety
/// The rows are readable; [`panels_len`] elements are writable at `dst`.
#[inline(always)]
pub(super) unsafe fn pack_turned<S: Simd>(s: S, src: *const f32, d: usize, cols: usize, dst: *mut f32) {
    let nr = const { panel_width::<f32>(S::ISA) };
    s.outline(&PackPanels(Strip { src, across: d, along: 1, width: cols, k: d }, dst, nr));
}

/// Whether all numbers are finite.
///
/// # Safety
/// `n` floats are readable at `p`.
#[inline(always)]
pub(super) unsafe fn finite<S: Simd>(s: S, p: *const f32, n: usize) -> bool {
    s.outline(Finite { p, n })
}

struct Finite {
    p: *const f32,
    n: usize,
}

impl Kernel for Finite {
    type Out = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        // 0·x is NaN where x is not finite, and a sum keeps it.
        let (mut sum, zero) = ([s.zero(); 2], s.zero());
        let mut i = 0;
        // SAFETY: every load ends at or before n (contract of `finite`).
        unsafe {
            while i + 2 * LANES <= self.n {
                sum[0] = s.fma(s.load(self.p.add(i)), zero, sum[0]);
                sum[1] = s.fma(s.load(self.p.add(i + LANES)), zero, sum[1]);
                i += 2 * LANES;
            }
            while i < self.n {
                sum[0] = s.fma(s.load_up_to(self.p.add(i), self.n - i), zero, sum[0]);
                i += LANES;
            }
        }
        s.bits_m(s.is_nan(s.add(sum[0], sum[1]))) == 0
    }
}
