//! The ascending order for products so small that packing A would cost more than it saves: no workspace, one thread.

use super::blocking::{panel_width, wide_tile};
use super::driver::Product;
use super::epilogue::{Epilogue, Finished};
use super::pack::{SLACK, Strip};
use super::tile::Tile;
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;

/// Depth at most: a panel of B then fits 8 KiB of stack, and A a first-level cache.
const DEPTH: usize = 64;

/// Elements of C at most, about 64 × 64.
const OUTPUTS: usize = 4096;

/// Floats of a panel of B on the stack.
const PANEL: usize = 2 * LANES * DEPTH + SLACK;

/// Whether [`Small`] is the path of a product.
pub(super) fn is_small(m: usize, n: usize, k: usize) -> bool {
    k <= DEPTH && m * n <= OUTPUTS
}

/// The whole product on one thread.
pub(super) struct Small<'a, 'b, E> {
    pub product: &'a Product<'b, E>,
    pub c: *mut f32,
}

impl<E: Epilogue> Kernel for Small<'_, '_, E> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.product;
        let nr = const { panel_width(S::ISA) };
        let (wide_rows, wide) = const { wide_tile(S::ISA) };
        let mut panel = [const { MaybeUninit::<f32>::uninit() }; PANEL];
        let panel = panel.as_mut_ptr().cast::<f32>();
        let mut j = 0;
        while j < x.n {
            let rest = x.n - j;
            let src = x.b.at(0, j);
            let (width, b, b_row) = if x.b.col == 1 && x.m <= wide_rows && rest >= wide * LANES {
                (wide * LANES, src, x.b.row)
            } else if x.b.col == 1 && rest >= nr {
                (nr, src, x.b.row)
            } else {
                let width = nr.min(rest);
                let strip = Strip { src, across: x.b.col, along: x.b.row, width, k: x.k };
                // SAFETY: the strip lies in B; the panel holds nr columns of DEPTH >= k (is_small) and the slack. The
                // tile below also reads lanes past the width, which pack may leave as they are.
                unsafe {
                    if width < nr {
                        panel.write_bytes(0, x.k * nr);
                    }
                    strip.pack(s, panel, nr);
                }
                (width, panel.cast_const(), nr)
            };
            for rows in super::driver::panels::<S>(0..x.m, E::GROUPS) {
                let c = self.c.wrapping_add(rows.start * x.ldc + j);
                let tile = Tile {
                    rows: rows.len(),
                    cols: width,
                    k: x.k,
                    a: x.a.at(rows.start, 0),
                    a_row: x.a.row,
                    a_col: x.a.col,
                    b,
                    b_row,
                    c,
                    ldc: x.ldc,
                    alpha: x.alpha,
                    beta: x.beta,
                };
                // SAFETY: A, B and C hold their dimensions (checked by callers), the panel k rows of nr floats.
                unsafe {
                    tile.run::<S, false>(s);
                    let piece = Finished { c, ldc: x.ldc, row: rows.start, col: j, rows: rows.len(), cols: width };
                    x.epilogue.apply(s, piece);
                }
            }
            j += width;
        }
    }
}
