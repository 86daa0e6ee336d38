//! The ascending order: blocks of k, panels of B, blocks of A, tiles.

use super::blocking::{B_LIMIT, K_BLOCK, M_BLOCK, ROW_GROUP, panel_width, tile_rows, wide_tile};
use super::epilogue::{Epilogue, Finished};
use super::pack::{SLACK, Strip};
use super::small::{Small, is_small};
use super::tile::Tile;
use crate::context::Context;
use crate::error::Result;
use crate::fpenv::FpEnv;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};
use std::ops::Range;

/// A matrix in memory: element (i, j) stands at `ptr + i·row + j·col`, one of the strides being 1.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub ptr: *const f32,
    pub row: usize,
    pub col: usize,
}

// SAFETY: a view is only read, and outlives no call; `Product` holds the slices' borrow.
unsafe impl Sync for View {}

impl View {
    pub(super) fn at(self, i: usize, j: usize) -> *const f32 {
        self.ptr.wrapping_add(i * self.row + j * self.col)
    }
}

/// C = alpha·A·B + beta·C with checked dimensions, none of them zero.
#[derive(Clone, Copy)]
pub(super) struct Product<'a, E> {
    pub function: &'static str,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: View,
    pub b: View,
    pub ldc: usize,
    pub alpha: f32,
    pub beta: f32,
    pub epilogue: &'a E,
}

/// Depth up to which a panel of B, read in place, stays in the first-level cache for all of A.
const SHALLOW: usize = 32;

/// B, where its rows are contiguous, is read in place if that is only once or twice, or if its panels are small.
fn reads_b_in_place(ctx: &Context, m: usize, k: usize, b: View) -> bool {
    b.col == 1 && (m <= 2 * tile_rows(ctx.isa()) || k <= SHALLOW)
}

impl<E: Epilogue> Product<'_, E> {
    /// # Errors
    /// `OutOfMemory`, before C is touched.
    ///
    /// # Safety
    /// A and B are readable as the views say, and `c` holds C.
    pub(super) unsafe fn run(&self, ctx: &Context, c: &mut [f32]) -> Result {
        if is_small(self.m, self.n, self.k) {
            let _fp = FpEnv::enter(ctx.flush_subnormals());
            ctx.dispatch(Small { product: self, c: c.as_mut_ptr() });
            return Ok(());
        }
        let nr = panel_width(ctx.isa());
        let in_place = reads_b_in_place(ctx, self.m, self.k, self.b);
        let work = Work::flops(2.0 * self.m as f64 * self.n as f64 * self.k as f64);
        let c = Shared::new(c);

        // B is packed a slab at a time: all of it where it fits, else some columns of some depth.
        let slab_k = self.k.min((B_LIMIT / nr).next_multiple_of(K_BLOCK));
        let slab_n = (B_LIMIT / slab_k / nr * nr).clamp(nr, self.n.next_multiple_of(nr));
        let grid = Grid::new(ctx, work, self.m, slab_n.min(self.n), nr, E::GROUPS);
        let workers = ctx.workers(work, grid.tasks(slab_n.min(self.n)));

        let a_len = M_BLOCK.min(grid.rows) * K_BLOCK.min(self.k) + SLACK;
        let b_len = if in_place { 0 } else { slab_k * slab_n + SLACK };
        let edge_len = if in_place { nr * K_BLOCK.min(self.k) + SLACK } else { 0 };
        let private = (a_len + edge_len).next_multiple_of(LANES);
        let mut scratch = Scratch::take::<f32>(self.function, b_len.next_multiple_of(LANES) + workers * private)?;
        let (packed, rest) = scratch
            .slice::<f32>(b_len.next_multiple_of(LANES) + workers * private)
            .split_at_mut(b_len.next_multiple_of(LANES));
        let rest = Shared::new(rest);

        for j0 in (0..self.n).step_by(slab_n) {
            let cols = j0..self.n.min(j0 + slab_n);
            for p0 in (0..self.k).step_by(slab_k) {
                let depth = p0..self.k.min(p0 + slab_k);
                if !in_place {
                    self.pack_b(ctx, cols.clone(), depth.clone(), nr, packed);
                }
                let panels = if in_place { None } else { Some(packed.as_ptr() as usize) };
                ctx.for_each_worker(workers, grid.tasks(cols.len()), |worker, task| {
                    // SAFETY: a worker's number is its own.
                    let private = unsafe { rest.piece(worker * private..(worker + 1) * private) };
                    let (a_pack, edge) = private.split_at_mut(a_len);
                    let (rows, piece) = grid.piece(task, cols.clone());
                    ctx.dispatch(Block {
                        product: self,
                        rows,
                        slab: cols.clone(),
                        cols: piece,
                        depth: depth.clone(),
                        panels: panels.map(|p| p as *const f32),
                        a_pack,
                        edge,
                        c: c.as_ptr(),
                    });
                });
            }
        }
        Ok(())
    }

    /// Panel j of block q of k starts at q·K_BLOCK·columns + j·nr·(depth of the block).
    fn pack_b(&self, ctx: &Context, cols: Range<usize>, depth: Range<usize>, nr: usize, packed: &mut [f32]) {
        let panels = cols.len().div_ceil(nr);
        let blocks = depth.len().div_ceil(K_BLOCK);
        // A task is a run of panels of one block of k.
        let run = 4;
        let runs = panels.div_ceil(run);
        let packed = Shared::new(packed);
        let work = Work::elements(cols.len() * depth.len(), 0.2);
        ctx.for_each(work, runs * blocks, |task| {
            let (block, first) = (task / runs, task % runs * run);
            let p0 = block * K_BLOCK;
            let k = K_BLOCK.min(depth.len() - p0);
            for panel in first..panels.min(first + run) {
                let j = cols.start + panel * nr;
                let strip = Strip {
                    src: self.b.at(depth.start + p0, j),
                    across: self.b.col,
                    along: self.b.row,
                    width: nr.min(cols.end - j),
                    k,
                };
                let start = p0 * panels * nr + panel * nr * k;
                // SAFETY: panels are disjoint; nr is a multiple of 16, so nothing is written past k·nr.
                let dst = unsafe { packed.piece(start..start + k * nr) };
                ctx.dispatch(Pack { strip, dst, stride: nr });
            }
        });
    }
}

struct Pack<'a> {
    strip: Strip,
    dst: &'a mut [f32],
    stride: usize,
}

impl Kernel for Pack<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: the strip lies in B; dst holds k·stride floats, and the stride is a multiple of 16 (pack_b).
        unsafe { self.strip.pack(s, self.dst.as_mut_ptr(), self.stride) }
    }
}

/// How C is cut into tasks. No element's bits depend on it.
struct Grid {
    m: usize,
    rows: usize,
    cols: usize,
}

impl Grid {
    fn new(ctx: &Context, work: Work, m: usize, n: usize, nr: usize, groups: bool) -> Grid {
        let align = if groups { ROW_GROUP } else { tile_rows(ctx.isa()) };
        let workers = ctx.workers(work, usize::MAX);
        if workers == 1 {
            return Grid { m, rows: M_BLOCK.min(m), cols: n };
        }
        // Four pieces a worker let a late one catch up; rows are cut first, since a cut of columns packs A again.
        let wanted = 4 * workers;
        let rows = m.div_ceil(wanted).next_multiple_of(align).min(M_BLOCK).min(m);
        let row_tasks = m.div_ceil(rows);
        let col_tasks = wanted.div_ceil(row_tasks);
        let cols = n.div_ceil(col_tasks).next_multiple_of(nr).max(2 * nr).min(n.next_multiple_of(nr));
        Grid { m, rows, cols }
    }

    fn tasks(&self, n: usize) -> usize {
        self.m.div_ceil(self.rows) * n.div_ceil(self.cols)
    }

    /// The rows, and of `cols` the columns, of a task. Tasks beside each other share columns.
    fn piece(&self, task: usize, cols: Range<usize>) -> (Range<usize>, Range<usize>) {
        let row_tasks = self.m.div_ceil(self.rows);
        let (j, i) = (task / row_tasks, task % row_tasks);
        let (row, col) = (i * self.rows, cols.start + j * self.cols);
        (row..self.m.min(row + self.rows), col..cols.end.min(col + self.cols))
    }
}

/// One task: a piece of C over one slab of B.
struct Block<'a, 'b, E> {
    product: &'a Product<'b, E>,
    rows: Range<usize>,
    /// The columns of the slab.
    slab: Range<usize>,
    cols: Range<usize>,
    depth: Range<usize>,
    /// The packed slab, or None where B is read in place.
    panels: Option<*const f32>,
    a_pack: &'a mut [f32],
    edge: &'a mut [f32],
    c: *mut f32,
}

impl<E: Epilogue> Kernel for Block<'_, '_, E> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for p0 in self.depth.clone().step_by(K_BLOCK) {
            let step = Step { p0, k: K_BLOCK.min(self.depth.end - p0) };
            self.pack_a(s, step);
            self.pack_edge(s, step);
            let (rows, mut j) = (self.rows.clone(), self.cols.start);
            if self.panels.is_none() && self.product.k <= SHALLOW {
                // All of B's rows stay in cache: go along the rows of C, so that it is written as it lies.
                let mut a = self.a_pack.as_ptr();
                for rows in panels::<S>(rows, E::GROUPS) {
                    j = self.cols.start;
                    while j < self.cols.end {
                        let panel = self.panel::<S>(step, j);
                        self.tile(s, step, rows.clone(), a, panel);
                        j += panel.width;
                    }
                    a = a.wrapping_add(rows.len() * step.k);
                }
            } else {
                // A panel of B stays in the first-level cache for all rows.
                while j < self.cols.end {
                    let panel = self.panel::<S>(step, j);
                    let mut a = self.a_pack.as_ptr();
                    for rows in panels::<S>(rows.clone(), E::GROUPS) {
                        self.tile(s, step, rows.clone(), a, panel);
                        a = a.wrapping_add(rows.len() * step.k);
                    }
                    j += panel.width;
                }
            }
        }
    }
}

/// One block of k.
#[derive(Clone, Copy)]
struct Step {
    p0: usize,
    k: usize,
}

/// Some columns of B over one block of k.
#[derive(Clone, Copy)]
struct Panel {
    col: usize,
    width: usize,
    ptr: *const f32,
    row: usize,
}

impl<E: Epilogue> Block<'_, '_, E> {
    /// The panel at column `j`, as wide as the tile takes.
    #[inline(always)]
    fn panel<S: Simd>(&self, step: Step, j: usize) -> Panel {
        let nr = const { panel_width(S::ISA) };
        let rest = self.cols.end - j;
        if let Some(packed) = self.panels {
            let slab_panels = self.slab.len().div_ceil(nr);
            let start = (step.p0 - self.depth.start) * slab_panels * nr + (j - self.slab.start) * step.k;
            return Panel { col: j, width: nr.min(rest), ptr: packed.wrapping_add(start), row: nr };
        }
        if rest < nr {
            return Panel { col: j, width: rest, ptr: self.edge.as_ptr(), row: nr };
        }
        let (wide_rows, wide) = const { wide_tile(S::ISA) };
        let fits = self.rows.len() <= wide_rows && rest >= wide * LANES;
        let b = self.product.b;
        Panel { col: j, width: if fits { wide * LANES } else { nr }, ptr: b.at(step.p0, j), row: b.row }
    }

    #[inline(always)]
    fn tile<S: Simd>(&self, s: S, step: Step, rows: Range<usize>, a: *const f32, panel: Panel) {
        let x = self.product;
        let c = self.c.wrapping_add(rows.start * x.ldc + panel.col);
        let tile = Tile {
            rows: rows.len(),
            cols: panel.width,
            k: step.k,
            a,
            a_row: 1,
            a_col: rows.len(),
            b: panel.ptr,
            b_row: panel.row,
            c,
            ldc: x.ldc,
            alpha: x.alpha,
            beta: if step.p0 == 0 { x.beta } else { 1.0 },
        };
        // SAFETY: pack_a laid the rows out with their number as stride; the panel holds k rows of whole vectors; the
        // tile lies in the piece of C that is this task's alone.
        unsafe { tile.run::<S, true>(s) };
        if step.p0 + step.k == x.k {
            let piece =
                Finished { c, ldc: x.ldc, row: rows.start, col: panel.col, rows: rows.len(), cols: panel.width };
            // SAFETY: as above.
            unsafe { x.epilogue.apply(s, piece) };
        }
    }

    /// Packs what the last panel of B, read in place, has too few columns for.
    #[inline(always)]
    fn pack_edge<S: Simd>(&self, s: S, step: Step) {
        let nr = const { panel_width(S::ISA) };
        let width = self.cols.len() % nr;
        if self.panels.is_none() && width > 0 {
            let b = self.product.b;
            let src = b.at(step.p0, self.cols.end - width);
            let strip = Strip { src, across: 1, along: b.row, width, k: step.k };
            // SAFETY: the strip lies in B; edge holds K_BLOCK·nr + SLACK floats (Product::run).
            unsafe { strip.pack(s, self.edge.as_ptr().cast_mut(), nr) };
        }
    }

    /// Packs the rows of this task over one block of k, panel behind panel.
    #[inline(always)]
    fn pack_a<S: Simd>(&self, s: S, Step { p0, k }: Step) {
        let mut dst = self.a_pack.as_ptr().cast_mut();
        let a = self.product.a;
        for rows in panels::<S>(self.rows.clone(), E::GROUPS) {
            let strip = Strip { src: a.at(rows.start, p0), across: a.row, along: a.col, width: rows.len(), k };
            // SAFETY: the strip lies in A; the panels of at most M_BLOCK rows and K_BLOCK depth fit a_pack, whose
            // SLACK takes what the last store writes too far.
            unsafe { strip.pack(s, dst, rows.len()) };
            dst = dst.wrapping_add(rows.len() * k);
        }
    }
}

/// Cuts rows into panels of nearly equal height, none higher than the tile, and none across a group's end.
#[inline(always)]
pub(super) fn panels<S: Simd>(rows: Range<usize>, groups: bool) -> impl Iterator<Item = Range<usize>> {
    let group = if groups { ROW_GROUP } else { rows.len().max(1) };
    let starts = rows.clone().step_by(group);
    starts.flat_map(move |start| {
        let len = group.min(rows.end - start);
        let count = len.div_ceil(const { tile_rows(S::ISA) });
        let (base, longer) = (len / count, len % count);
        (0..count).map(move |i| {
            let first = start + i * base + i.min(longer);
            first..first + base + usize::from(i < longer)
        })
    })
}
