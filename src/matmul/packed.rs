//! A matrix that is packed once and multiplied many times: the weights of a recurrence, the same in every step.
//!
//! The order is the ascending one, for any number of rows. Columns come in groups (the gates), each packed in panels of its
//! own, so that a piece of every group can be computed alone.

use super::block::{most_rows, runs};
use super::blocking::{K_BLOCK, tile_rows, tile_vectors};
use super::driver::{View, panel_width};
use super::pack::{PackPanels, PackTiles, SLACK, Stored, Strip};
use super::tile::{Carry, LINE, Next, Tiles};
use crate::context::Context;
use crate::parallel::{Shared, Work};
use crate::simd::{Isa, Kernel, LANES, Simd};
use std::ops::Range;

/// `groups` matrices of `k` rows and `n` columns side by side, packed.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    pub groups: usize,
    pub n: usize,
    pub k: usize,
    data: &'a [f32],
}

impl<'a> Panels<'a> {
    /// Columns of a panel: a piece of the columns begins at a multiple of it.
    pub(crate) fn width(isa: Isa) -> usize {
        panel_width::<f32>(isa)
    }

    /// Elements that the packed matrix takes.
    pub(crate) fn len(isa: Isa, groups: usize, n: usize, k: usize) -> usize {
        (groups * n.next_multiple_of(Self::width(isa)) * k + SLACK).next_multiple_of(LANES)
    }

    /// Elements of workspace that [`Multiply`] asks for with so many rows.
    pub(crate) fn room(rows: usize) -> usize {
        (rows * K_BLOCK + SLACK).next_multiple_of(LANES)
    }

    /// Packs B, whose element (p, j) stands at `b[p·row + j·col]`, one of the strides being 1, into `dst`.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn pack(
        ctx: &Context,
        groups: usize,
        n: usize,
        k: usize,
        b: &[f32],
        row: usize,
        col: usize,
        dst: &'a mut [f32],
    ) -> Panels<'a> {
        assert!(b.len() == groups * n * k && dst.len() >= Self::len(ctx.isa(), groups, n, k));
        let nr = Self::width(ctx.isa());
        let panels = n.div_ceil(nr);
        let (blocks, run) = (k.div_ceil(K_BLOCK), 4);
        let runs = panels.div_ceil(run);
        let view = View { ptr: b.as_ptr(), stored: Stored::Direct, row, col };
        let shared = Shared::new(&mut *dst);
        ctx.for_each(Work::elements(b.len(), 0.1), groups * blocks * runs, |task| {
            let (group, block, first) = (task / (blocks * runs), task / runs % blocks, task % runs * run);
            let p0 = block * K_BLOCK;
            let depth = K_BLOCK.min(k - p0);
            let end = panels.min(first + run);
            let start = (group * k + p0) * panels * nr + first * nr * depth;
            // SAFETY: runs of panels are disjoint.
            let dst = unsafe { shared.piece(start..start + (end - first) * depth * nr) };
            let strip = Strip {
                src: view.at(p0, group * n + first * nr),
                across: col,
                along: row,
                width: (run * nr).min(n - first * nr),
                k: depth,
            };
            // The strip lies in B; dst holds its panels, whose width is a multiple of the vector.
            ctx.dispatch(&PackPanels(strip, dst.as_mut_ptr(), nr));
        });
        Panels { groups, n, k, data: dst }
    }
}

/// Some rows of A times some columns of each group, written to C or added to it: `c = fma(1, s, c)` for each block of k.
pub(crate) struct Multiply<'a> {
    pub b: &'a Panels<'a>,
    /// Rows of `k` contiguous elements, `lda` apart.
    pub a: *const f32,
    pub lda: usize,
    pub rows: usize,
    /// Element (0, 0) of all of C, not only of these columns; rows are `ldc` apart, groups `group`.
    pub c: *mut f32,
    pub ldc: usize,
    pub group: usize,
    /// Of each group; begins at a multiple of [`Panels::width`].
    pub cols: Range<usize>,
    pub join: bool,
    /// [`Panels::room`] of the rows.
    pub room: *mut f32,
}

/// Whoever makes one promises: rows of A are readable, those columns of C writable by this thread alone, and the room is
/// there. It holds on every instruction set that the panels were packed for.
impl Kernel for &Multiply<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let nr = const { panel_width::<f32>(S::ISA) };
        let few = self.rows <= FEW && !S::COMPACT;
        // Rows at even distances compete for the same lines of a cache, unless one tile has them all.
        let pack = self.rows > const { tile_rows::<f32>(S::ISA) };
        let panels = self.b.n.div_ceil(nr);
        for p0 in (0..self.b.k).step_by(K_BLOCK) {
            let k = K_BLOCK.min(self.b.k - p0);
            let a = self.a.wrapping_add(p0);
            if pack {
                let mut dst = self.room;
                for (rows, tiles, height) in runs(0..self.rows, most_rows::<f32, S>(false)) {
                    if tiles > 0 {
                        let src = a.wrapping_add(rows.start * self.lda);
                        let strip = Strip { src, across: self.lda, along: 1, width: rows.len(), k };
                        // The strip lies in A, and the room holds it (the promise).
                        s.outline(&PackTiles(strip, dst, height));
                        dst = dst.wrapping_add(rows.len() * k);
                    }
                }
            }
            let join = self.join || p0 > 0;
            for group in 0..self.b.groups {
                let start = (group * self.b.k + p0) * panels * nr + self.cols.start * k;
                let b = self.b.data.as_ptr().wrapping_add(start);
                let c = self.c.wrapping_add(group * self.group + self.cols.start);
                let piece = Piece { x: self, a, b, c, k, cols: self.cols.len(), join };
                if few { piece.few(s) } else { piece.tiles(s, pack) }
            }
        }
    }
}

/// One group of columns over one block of k.
#[derive(Clone, Copy)]
struct Piece<'a, 'b> {
    x: &'a Multiply<'b>,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    k: usize,
    cols: usize,
    join: bool,
}

impl Piece<'_, '_> {
    #[inline(always)]
    fn tiles<S: Simd>(self, s: S, packed: bool) {
        let Piece { x, k, .. } = self;
        let nr = const { panel_width::<f32>(S::ISA) };
        for j in (0..self.cols).step_by(nr) {
            let b = self.b.wrapping_add(j * k);
            let mut done = 0;
            for (rows, tiles, height) in runs(0..x.rows, most_rows::<f32, S>(false)) {
                let (a, a_row, a_col) = if packed {
                    (x.room.cast_const().wrapping_add(rows.start * k), 1, height)
                } else {
                    (self.a.wrapping_add(rows.start * x.lda), x.lda, 1)
                };
                // The next panel stands behind this one.
                let lines = k.div_ceil(LINE / size_of::<f32>());
                let next = Next::new(b.wrapping_add(nr * k), k, lines, nr, k, done);
                let tiles_of = Tiles {
                    tiles,
                    rows: height,
                    cols: nr.min(self.cols - j),
                    k,
                    a,
                    a_row,
                    a_col,
                    a_step: if packed { height * k } else { height * a_row },
                    b,
                    b_row: nr,
                    b_step: 0,
                    c: self.c.wrapping_add(rows.start * x.ldc + j),
                    c_row: x.ldc,
                    c_col: 1,
                    c_step: height * x.ldc,
                    c_ahead: 0,
                    next,
                    carry: Carry::NOTHING,
                    alpha: 1.0,
                    beta: if self.join { 1.0 } else { 0.0 },
                };
                // The panel holds k rows of whole vectors; the tiles lie in the columns of C that are this thread's.
                s.outline(&tiles_of);
                done += tiles;
            }
        }
    }

    /// Few rows: several panels at once, or each sum would wait for itself.
    #[inline(always)]
    fn few<S: Simd>(self, s: S) {
        let nr = const { panel_width::<f32>(S::ISA) };
        let mut j = 0;
        while j < self.cols {
            let left = (self.cols - j).div_ceil(nr);
            let b = self.b.wrapping_add(j * self.k);
            let part = Piece { b, c: self.c.wrapping_add(j), cols: self.cols - j, ..self };
            macro_rules! take {
                ($rows:literal $panels:literal) => {{
                    s.outline(&Few::<$rows, $panels>(&part));
                    j += $panels * nr;
                }};
            }
            match (self.x.rows, left) {
                (1, 4..) => take!(1 4),
                (1, 2..) => take!(1 2),
                (1, _) => take!(1 1),
                (2, 2..) => take!(2 2),
                (2, _) => take!(2 1),
                (_, 2..) => take!(3 2),
                (_, _) => take!(3 1),
            }
        }
    }
}

/// Rows at most that go several panels at once.
const FEW: usize = 3;

/// `M` rows times `N` panels.
struct Few<'a, 'b, 'c, const M: usize, const N: usize>(&'a Piece<'b, 'c>);

impl<const M: usize, const N: usize> Kernel for &Few<'_, '_, '_, M, N> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Vectors of a panel; arrays of as many as any instruction set has.
        let vectors = const { tile_vectors(S::ISA) };
        let nr = vectors * LANES;
        let Piece { x, a, c, k, cols, join, .. } = *self.0;
        let panel = nr * k;
        let mut b = self.0.b;
        let mut acc = [[[s.zero(); 2]; N]; M];
        // SAFETY: M rows of k elements in A, N panels of k rows, and these columns of C (the promise of Multiply).
        unsafe {
            for p in 0..k {
                let mut number = [s.zero(); M];
                for i in 0..M {
                    number[i] = s.splat(*a.add(i * x.lda + p));
                }
                for q in 0..N {
                    for v in 0..2 {
                        if v < vectors {
                            let row = s.load(b.add(q * panel + v * LANES));
                            for i in 0..M {
                                acc[i][q][v] = s.fma(number[i], row, acc[i][q][v]);
                            }
                        }
                    }
                }
                b = b.wrapping_add(nr);
            }
            let one = s.splat(1.0);
            for i in 0..M {
                for q in 0..N {
                    for v in 0..2 {
                        let j = q * nr + v * LANES;
                        if v < vectors && j < cols {
                            let c = c.add(i * x.ldc + j);
                            let start = if join { s.load_up_to(c, cols - j) } else { s.zero() };
                            s.store_up_to(c, s.fma(one, acc[i][q][v], start), cols - j);
                        }
                    }
                }
            }
        }
    }
}
