//! The ascending order: how a product is cut into tasks, and what each needs packed.

use super::block::Block;
use super::blocking::{
    ALIGN_COLS, ALIGN_DEPTH, ALONG_COLS, ALONG_DEPTH, B_LIMIT, B_NEAR, BY_STEPS_ROWS, COLS_PACKED, K_BLOCK,
    PANEL_STEPS, ROW_GROUP, ROWS_SHARED, a_near, b_near, by_steps_limit, m_block, m_once, tile_rows, tile_vectors,
};
use super::epilogue::{Epilogue, Finished};
use super::pack::{SLACK, Stored, StoredPanels, Strip};
use super::real::Real;
use super::tile::LINE;
use crate::context::Context;
use crate::parallel::{Shared, Work};
use crate::simd::{Isa, LANES};
use std::ops::Range;

/// A matrix in memory: element (i, j) stands `i·row + j·col` numbers after `ptr`, one of the strides being 1.
#[derive(Clone, Copy)]
pub(super) struct View<T> {
    pub ptr: *const T,
    pub stored: Stored,
    pub row: usize,
    pub col: usize,
}

// SAFETY: a view is only read, and outlives no call; `Product` holds the slices' borrow.
unsafe impl<T: Sync> Sync for View<T> {}

impl<T> View<T> {
    #[inline(always)]
    pub(super) fn at(self, i: usize, j: usize) -> *const T {
        let size = if self.stored == Stored::Direct { size_of::<T>() } else { size_of::<u16>() };
        self.ptr.wrapping_byte_add((i * self.row + j * self.col) * size)
    }

    /// Where element (i, j) is, if its number can be computed with as it stands.
    #[inline(always)]
    pub(super) fn direct_at(self, i: usize, j: usize) -> Option<*const T> {
        (self.stored == Stored::Direct).then(|| self.ptr.wrapping_add(i * self.row + j * self.col))
    }

    pub(super) fn turned(self) -> View<T> {
        View { row: self.col, col: self.row, ..self }
    }
}

/// C = alpha·A·B + beta·C with checked dimensions, none of them zero. C(i, j) stands at i·c_row + j·c_col.
pub(super) struct Product<'a, T: Real> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: View<T>,
    pub b: View<T>,
    pub c_row: usize,
    pub c_col: usize,
    pub alpha: T,
    pub beta: T,
    /// What follows, if anything.
    pub epilogue: Option<&'a dyn Epilogue<T>>,
    /// Rows and columns were exchanged. The strides do not tell where both are 1: one column, ldc 1.
    pub turned: bool,
}

impl<T: Real> Product<'_, T> {
    /// Rows × cols of the product, the first of them at `c`, as the caller's C has them.
    #[inline(always)]
    pub(super) fn finished(&self, c: *mut T, rows: Range<usize>, cols: Range<usize>) -> Finished<T> {
        let (ldc, rows, cols) = if self.turned { (self.c_col, cols, rows) } else { (self.c_row, rows, cols) };
        Finished { c, ldc, row: rows.start, col: cols.start, rows: rows.len(), cols: cols.len() }
    }
}

/// Columns of a register tile at most, which is the width of a packed panel of B.
pub(crate) const fn panel_width<T: Real>(isa: Isa) -> usize {
    tile_vectors(isa) * T::LANES
}

/// Elements from one row of a packed panel of `width` columns to the next: no wider than tiles read, for what is left out
/// would take room in caches all the same.
pub(super) fn panel_row<T: Real>(isa: Isa, width: usize) -> usize {
    if width <= T::LANES { T::LANES } else { panel_width::<T>(isa) }
}

/// How the operands reach the tile, and in which order tiles go. No element's bits depend on it.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// A is read as it lies, else packed for each task and block of k.
    pub a_in_place: bool,
    pub b: Source,
    /// Panels that the task packs are packed [`PANEL_STEPS`] steps at a time.
    pub by_steps: bool,
    /// Tiles go along the rows of C, so that it is written as it lies; else down a panel of B.
    pub along: bool,
}

/// Where the tile finds B.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    InPlace,
    /// Packed by the task right before use, so many panels at a time.
    Panels(usize),
    /// Packed before all tasks.
    Slab,
}

/// Multiplications of a small product.
const SMALL: usize = 128 * 128 * 128;

/// Whether steps are few and B is near: tiles then go along C, whatever the rows.
fn is_short(n: usize, k: usize, size: usize) -> bool {
    k <= ALONG_DEPTH && n >= ALONG_COLS && n * k * size <= 4 * B_NEAR
}

impl Plan {
    fn new<T: Real>(isa: Isa, m: usize, n: usize, k: usize, a: View<T>, b: View<T>) -> Plan {
        let (mr, nr, size) = (tile_rows::<T>(isa), panel_width::<T>(isa), size_of::<T>());
        let direct = a.direct_at(0, 0).is_some();
        // Reading A in place saves its packing, which matters where few columns share it. Rows at multiples of 4 KiB
        // compete for the same lines of a cache, of 2 KiB nearly so.
        let crowded = |rows: usize, stride: usize| rows > 4 * mr && (stride * size).is_multiple_of(2048);
        // So is B where few tiles share it.
        let few = m <= 3 * mr && !(k > 16 && (b.row * size).is_multiple_of(4096));
        let lines = (b.row * size).is_multiple_of(LINE) && b.ptr.addr().is_multiple_of(LINE);
        let near = n * k.min(K_BLOCK) * size <= b_near(isa, m, lines) || k <= 8 && n * k * size <= 4 * B_NEAR;
        let b_in_place = direct && b.col == 1 && (few || near && !(k > 2 && crowded(usize::MAX, b.row)));
        let by_steps = direct
            && !b_in_place
            && a.col == 1
            && k > PANEL_STEPS
            && m <= BY_STEPS_ROWS
            && n * k * size <= by_steps_limit::<T>(isa);
        let a_in_place = direct
            && if a.col == 1 {
                n <= 8 * nr || n <= 512 && !crowded(m, a.row) || by_steps
            } else {
                m * k * size <= B_NEAR
                    || n <= 16 * nr && m * k.min(K_BLOCK) * size <= a_near(isa) && !crowded(usize::MAX, a.col)
            };
        let thin = k <= 64 && n >= 4 * nr && m >= 2 * mr;
        let b = if b_in_place {
            Source::InPlace
        } else if m > m_once(isa, a_in_place) || thin {
            Source::Slab
        } else {
            Source::Panels(if b.col == 1 && !by_steps { 4 } else { 1 })
        };
        // Few rows over few steps are done before the next panel is prepared.
        let along = thin || b == Source::InPlace && is_short(n, k, size);
        Plan { a_in_place, b, by_steps, along }
    }

    /// The same without workspace, for products so small that one thread has them and A is read in place.
    fn small(self, m: usize, n: usize, k: usize) -> Option<Plan> {
        let b = if self.b == Source::InPlace { Source::InPlace } else { Source::Panels(1) };
        let along = self.along && b == Source::InPlace;
        (self.a_in_place && m * n * k <= SMALL).then_some(Plan { b, along, ..self })
    }
}

/// How a product is cut, and the workspace that takes.
pub(super) struct Layout {
    plan: Plan,
    grid: Grid,
    workers: usize,
    /// Packed before all tasks, B comes a slab at a time: all of it where it fits, else some columns of some depth.
    slab_k: usize,
    slab_n: usize,
    /// Elements of packed A, and of all workspace, of one worker.
    a_len: usize,
    private: usize,
    /// Elements of a packed slab.
    b_len: usize,
}

impl Layout {
    /// Elements of workspace.
    pub(super) fn len(&self) -> usize {
        self.b_len + self.workers * self.private
    }
}

impl<T: Real> Product<'_, T> {
    /// The plan of a product that wants no workspace and one thread.
    pub(super) fn small(&self, ctx: &Context, threads: usize) -> Option<Plan> {
        let plan = Plan::new(ctx.isa(), self.m, self.n, self.k, self.a, self.b).small(self.m, self.n, self.k)?;
        (ctx.workers(self.work(), threads) == 1).then_some(plan)
    }

    /// Columns before those whose tiles begin where lines of C do, and of a B in place: a panel of their own, where it pays.
    pub(super) fn lead(&self, isa: Isa, b: Source, c: *const T) -> usize {
        let line = LINE / size_of::<T>();
        let past = |p: *const T| (LINE - p.addr() % LINE) % LINE / size_of::<T>();
        if self.groups()
            || !isa.vectors_are_lines()
            || self.n < ALIGN_COLS
            || self.c_col != 1
            || !self.c_row.is_multiple_of(line)
        {
            return 0;
        }
        let lead = past(c);
        let both = || {
            b == Source::InPlace
                && self.b.row.is_multiple_of(line)
                && self.b.direct_at(0, 0).is_some_and(|b| past(b) == lead)
        };
        if self.k <= ALIGN_DEPTH || both() { lead } else { 0 }
    }

    /// Whether steps are few and B is near.
    pub(super) fn is_short(&self) -> bool {
        is_short(self.n, self.k, size_of::<T>())
    }

    /// [`Epilogue::groups`] of what follows.
    fn groups(&self) -> bool {
        self.epilogue.is_some_and(|e| e.groups())
    }

    fn work(&self) -> Work {
        // f64 vectors hold half as many numbers.
        Work::flops(2.0 * self.m as f64 * self.n as f64 * self.k as f64 * size_of::<T>() as f64 / 4.0)
    }

    /// For `threads` at most.
    pub(super) fn layout(&self, ctx: &Context, threads: usize) -> Layout {
        let (m, n, k) = (self.m, self.n, self.k);
        let nr = panel_width::<T>(ctx.isa());
        let plan = Plan::new(ctx.isa(), m, n, k, self.a, self.b);
        let limit = B_LIMIT / size_of::<T>();
        let slab = plan.b == Source::Slab;
        let slab_k = if slab { k.min((limit / nr).next_multiple_of(K_BLOCK)) } else { k };
        let most_n = (limit / slab_k / nr * nr).clamp(nr, n.next_multiple_of(nr));
        let slab_n = if slab { n.div_ceil(n.div_ceil(most_n)).next_multiple_of(nr) } else { n };
        let workers = ctx.workers(self.work(), threads);
        let grid = Grid::new(
            ctx.isa(),
            workers,
            m,
            slab_n.min(n),
            nr,
            if self.groups() { ROW_GROUP } else { tile_rows::<T>(ctx.isa()) },
            plan,
        );
        let workers = workers.min(grid.tasks(slab_n.min(n)));
        let depth = K_BLOCK.min(k);
        let a_len = if plan.a_in_place { 0 } else { (grid.rows.most() * depth + SLACK).next_multiple_of(LANES) };
        let panel_len = match plan.b {
            Source::Panels(_) if plan.by_steps => nr * (PANEL_STEPS + grid.rows.most()).max(depth),
            Source::Panels(count) => count * nr * depth,
            // What the first or the last panel of B has too few columns for.
            Source::InPlace | Source::Slab => nr * depth,
        };
        let private = a_len + (panel_len + SLACK).next_multiple_of(LANES);
        let b_len = if slab { (slab_k * slab_n + SLACK).next_multiple_of(LANES) } else { 0 };
        Layout { plan, grid, workers, slab_k, slab_n, a_len, private, b_len }
    }

    /// # Safety
    /// A and B are readable and C writable as the fields say; `x` is the layout of this product.
    pub(super) unsafe fn run(&self, ctx: &Context, x: &Layout, c: *mut T, scratch: &mut [T]) {
        let (packed, rest) = scratch.split_at_mut(x.b_len);
        let rest = Shared::new(rest);
        let lead = self.lead(ctx.isa(), x.plan.b, c);
        let c = Pointer(c);
        for j0 in (lead..self.n).step_by(x.slab_n) {
            let cols = j0..self.n.min(j0 + x.slab_n);
            for p0 in (0..self.k).step_by(x.slab_k) {
                let depth = p0..self.k.min(p0 + x.slab_k);
                if x.plan.b == Source::Slab {
                    self.pack_b(ctx, x.workers, cols.clone(), depth.clone(), packed);
                }
                let slab = Pointer(packed.as_mut_ptr());
                ctx.for_each_worker(x.workers, x.grid.tasks(cols.len()), |worker, task| {
                    // SAFETY: a worker's number is its own.
                    let private = unsafe { rest.piece(worker * x.private..(worker + 1) * x.private) };
                    let (a_pack, panel) = private.split_at_mut(x.a_len);
                    let (rows, piece) = x.grid.piece(task, cols.clone());
                    ctx.dispatch(&Block {
                        product: self,
                        plan: x.plan,
                        rows,
                        lead: if piece.start == lead { lead } else { 0 },
                        cols: piece,
                        depth: depth.clone(),
                        slab: slab.get(),
                        slab_cols: cols.clone(),
                        a_pack: a_pack.as_mut_ptr(),
                        panel: panel.as_mut_ptr(),
                        c: c.get(),
                    });
                });
            }
        }
    }

    /// Panel j of block q of k starts at q·K_BLOCK·columns + j·nr·(depth of the block).
    fn pack_b(&self, ctx: &Context, workers: usize, cols: Range<usize>, depth: Range<usize>, packed: &mut [T]) {
        let nr = panel_width::<T>(ctx.isa());
        let panels = cols.len().div_ceil(nr);
        let blocks = depth.len().div_ceil(K_BLOCK);
        // A task is a run of panels of one block of k.
        let run = 4;
        let runs = panels.div_ceil(run);
        let packed = Shared::new(packed);
        let work = Work::elements(cols.len() * depth.len(), 0.1);
        let workers = ctx.workers(work, workers);
        ctx.for_each_worker(workers, runs * blocks, |_, task| {
            let (block, first) = (task / runs, task % runs * run);
            let p0 = block * K_BLOCK;
            let k = K_BLOCK.min(depth.len() - p0);
            let end = panels.min(first + run);
            let start = p0 * panels * nr + first * nr * k;
            // SAFETY: runs of panels are disjoint.
            let dst = unsafe { packed.piece(start..start + (end - first) * k * nr) };
            let j = cols.start + first * nr;
            let strip = Strip {
                src: self.b.at(depth.start + p0, j),
                across: self.b.col,
                along: self.b.row,
                width: (run * nr).min(cols.end - j),
                k,
            };
            // The strip lies in B; dst holds its panels, whose width is a multiple of the vector.
            let last = panel_row::<T>(ctx.isa(), strip.width % nr);
            ctx.dispatch(&StoredPanels(strip, self.b.stored, dst.as_mut_ptr(), last));
        });
    }
}

/// A pointer that tasks share.
pub(super) struct Pointer<T>(pub *mut T);
// SAFETY: tasks read what it points to, or write disjoint pieces (Product::run).
unsafe impl<T> Sync for Pointer<T> {}
impl<T> Pointer<T> {
    pub(super) fn get(&self) -> *mut T {
        self.0
    }
}

/// How C is cut into tasks. No element's bits depend on it.
struct Grid {
    m: usize,
    rows: Cut,
    cols: Cut,
}

/// A dimension in pieces of whole units, whose numbers differ by one at most: a last piece that were much smaller than the
/// others would leave threads idle.
#[derive(Clone, Copy)]
struct Cut {
    unit: usize,
    units: usize,
    pieces: usize,
}

impl Cut {
    fn new(len: usize, unit: usize, pieces: usize) -> Cut {
        let units = len.div_ceil(unit);
        Cut { unit, units, pieces: pieces.clamp(1, units) }
    }

    /// The largest piece.
    fn most(self) -> usize {
        self.units.div_ceil(self.pieces) * self.unit
    }

    fn piece(self, i: usize) -> Range<usize> {
        let at = |i: usize| i * self.units / self.pieces * self.unit;
        at(i)..at(i + 1)
    }
}

impl Grid {
    fn new(isa: Isa, workers: usize, m: usize, n: usize, nr: usize, align: usize, plan: Plan) -> Grid {
        let once = !matches!(plan.b, Source::Slab);
        let most = if once { m_once(isa, plan.a_in_place) } else { m_block(isa) };
        // Four pieces a worker let a late one catch up. Rows are cut first where all of B is packed, since a cut of
        // columns packs A again; else columns are, since a cut of rows packs B again.
        let wanted = if workers == 1 { 1 } else { 4 * workers };
        let fewest = m.div_ceil(align).div_ceil(most / align);
        let rows = |pieces: usize| Cut::new(m, align, pieces.max(fewest));
        let cols = |pieces: usize| Cut::new(n, nr, pieces.min(n.div_ceil(2 * nr)));
        // As many pieces for every worker, where they are few.
        let even = |pieces: usize| if pieces > workers { pieces / workers * workers } else { pieces };
        if once {
            let pieces = if plan.a_in_place { wanted } else { wanted.min(workers.max(n / COLS_PACKED)) };
            let cols = cols(even(pieces.min(n.div_ceil(2 * nr))));
            Grid { m, rows: rows(workers.div_ceil(cols.pieces)), cols }
        } else {
            let rows = rows(even(wanted.max(fewest.next_multiple_of(workers)).min(m.div_ceil(ROWS_SHARED))));
            Grid { m, rows, cols: cols(wanted.div_ceil(rows.pieces)) }
        }
    }

    /// The cut of `len` columns, which the last slab has fewer of.
    fn cols(&self, len: usize) -> Cut {
        Cut::new(len, self.cols.unit, self.cols.pieces)
    }

    fn tasks(&self, n: usize) -> usize {
        self.rows.pieces * self.cols(n).pieces
    }

    /// The rows, and of `cols` the columns, of a task. Tasks beside each other share columns.
    fn piece(&self, task: usize, cols: Range<usize>) -> (Range<usize>, Range<usize>) {
        let (row, col) =
            (self.rows.piece(task % self.rows.pieces), self.cols(cols.len()).piece(task / self.rows.pieces));
        (row.start..self.m.min(row.end), cols.start + col.start..cols.end.min(cols.start + col.end))
    }
}
