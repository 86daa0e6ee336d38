//! The register tile: the one loop where a matrix product spends its time.

use super::blocking::{tile_rows, tile_vectors, wide_tile};
use crate::simd::{Kernel, LANES, Simd};

/// One tile of C: `rows` × `cols` sums over one block of k, joined into C.
///
/// a(i, p) stands at `a + i·a_row + p·a_col`; row p of B stands at `b + p·b_row` and holds as many whole vectors as
/// `cols` needs. c = fma(alpha, s, beta·c), where beta = 0 does not read C.
pub(super) struct Tile {
    pub rows: usize,
    pub cols: usize,
    pub k: usize,
    pub a: *const f32,
    pub a_row: usize,
    pub a_col: usize,
    pub b: *const f32,
    pub b_row: usize,
    pub c: *mut f32,
    pub ldc: usize,
    pub alpha: f32,
    pub beta: f32,
}

impl Tile {
    /// Runs the kernel of this tile's size.
    ///
    /// # Safety
    /// 1 ≤ rows ≤ tile_rows, 1 ≤ cols ≤ tile width (or the wide tile's, exactly); A and B are readable as the fields say, and rows × cols of C
    /// readable and writable by this thread alone. With `PACKED`, a_row = 1 and a_col = rows.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd, const PACKED: bool>(&self, s: S) {
        macro_rules! by_rows {
            ($nv:literal: $($mr:literal)*) => {
                match self.rows {
                    $($mr if $mr <= const { tile_rows(S::ISA) } => s.outline(Sized::<$mr, $nv, PACKED>(self)),)*
                    _ => unreachable!("a tile of {} rows", self.rows),
                }
            };
        }
        let (wide_rows, wide) = const { wide_tile(S::ISA) };
        if wide > 2 && self.rows <= wide_rows && self.cols == wide * LANES {
            macro_rules! wide_by_rows {
                ($nv:literal: $($mr:literal)*) => {
                    match self.rows {
                        $($mr if $mr <= wide_rows => s.outline(Sized::<$mr, $nv, PACKED>(self)),)*
                        _ => unreachable!("a wide tile of {} rows", self.rows),
                    }
                };
            }
            if wide == 8 { wide_by_rows!(8: 1 2 3) } else { wide_by_rows!(4: 1) }
        } else if const { tile_vectors(S::ISA) } == 2 && self.cols > LANES {
            by_rows!(2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
        } else {
            by_rows!(1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
        }
    }
}

/// The tile with its size as constants, so that the accumulators are registers. By reference: a copy of fields that were
/// just stored one by one would be loaded by whole vectors, which waits for the stores.
struct Sized<'a, const MR: usize, const NV: usize, const PACKED: bool>(&'a Tile);

impl<const MR: usize, const NV: usize, const PACKED: bool> Kernel for Sized<'_, MR, NV, PACKED> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let t = self.0;
        let (k, b_row, cols, c, ldc) = (t.k, t.b_row, t.cols, t.c, t.ldc);
        let (a_row, a_col) = if PACKED { (1, MR) } else { (t.a_row, t.a_col) };
        let mut acc = [[s.zero(); NV]; MR];
        // SAFETY: the contract of Tile::run, whose fields these are.
        unsafe {
            let (mut a, mut b) = (t.a, t.b);
            for _ in 0..k {
                let mut row = [s.zero(); NV];
                for j in 0..NV {
                    row[j] = s.load(b.add(j * LANES));
                }
                for i in 0..MR {
                    let x = s.splat(*a.add(i * a_row));
                    for j in 0..NV {
                        acc[i][j] = s.fma(x, row[j], acc[i][j]);
                    }
                }
                a = a.wrapping_add(a_col);
                b = b.wrapping_add(b_row);
            }
            let last = cols - (NV - 1) * LANES;
            let (alpha, beta) = (s.splat(t.alpha), s.splat(t.beta));
            let (reads_c, scales_c) = (t.beta != 0.0, t.beta != 1.0);
            for i in 0..MR {
                for j in 0..NV {
                    let c = c.add(i * ldc + j * LANES);
                    let width = if j + 1 < NV { LANES } else { last };
                    let start = match (reads_c, scales_c) {
                        (false, _) => s.zero(),
                        (true, false) => s.load_up_to(c, width),
                        (true, true) => s.mul(beta, s.load_up_to(c, width)),
                    };
                    s.store_up_to(c, s.fma(alpha, acc[i][j], start), width);
                }
            }
        }
    }
}
