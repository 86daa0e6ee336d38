//! One task of a product: a piece of C over some depth of k.

use super::blocking::{K_BLOCK, PANEL_STEPS, by_steps_limit, narrow_rows, tile_rows};
use super::driver::{Plan, Product, Source, panel_row, panel_width};
use super::epilogue::finish;
use super::pack::{SLACK, StoredPanels, StoredTiles, Strip};
use super::real::Real;
use super::tile::{Carry, LINE, NEAR, Next, Tiles, in_place, is_narrow, reads_in_place};
use crate::simd::{Kernel, LANES, Simd};
use std::mem::MaybeUninit;
use std::ops::Range;

pub(super) struct Block<'a, 'b, T: Real> {
    pub product: &'a Product<'b, T>,
    pub plan: Plan,
    pub rows: Range<usize>,
    pub cols: Range<usize>,
    /// So many columns before `cols` belong to the task too, as a panel of their own.
    pub lead: usize,
    pub depth: Range<usize>,
    /// The packed slab of B and its columns, where the plan has one.
    pub slab: *const T,
    pub slab_cols: Range<usize>,
    /// Room for the rows of A over one block of k, where the plan packs them.
    pub a_pack: *mut T,
    /// Room for panels of B over one block of k: as many as the plan packs at a time, at least one. By steps, the sums that wait
    /// stand behind the steps.
    pub panel: *mut T,
    pub c: *mut T,
}

/// One block of k, and those of its steps that are done at a time: all, but where panels are packed by steps.
#[derive(Clone, Copy)]
struct Step {
    p0: usize,
    k: usize,
    from: usize,
    steps: usize,
}

/// Some columns of B over one block of k, at most a tile's.
struct Panel<T> {
    col: usize,
    width: usize,
    ptr: *const T,
    row: usize,
}

impl<T: Real> Kernel for &Block<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for p0 in self.depth.clone().step_by(K_BLOCK) {
            let k = K_BLOCK.min(self.depth.end - p0);
            let step = Step { p0, k, from: 0, steps: k };
            if !self.plan.a_in_place {
                self.pack_a(s, step);
            }
            if self.plan.along { self.along_rows(s, step) } else { self.down_panels(s, step) }
        }
    }
}

impl<T: Real> Block<'_, '_, T> {
    /// A panel of B stays in the first-level cache for all rows.
    #[inline(always)]
    fn down_panels<S: Simd>(&self, s: S, step: Step) {
        let nr = const { panel_width::<T>(S::ISA) };
        let mut lead = self.lead_panel(s, step);
        let mut packed_to = self.cols.start;
        let mut j = self.cols.start - self.lead;
        while j < self.cols.end {
            let cols = j..self.cols.end.min(j + nr);
            if const { by_steps_limit::<T>(S::ISA) > 0 } && self.plan.by_steps && cols.len() > T::LANES {
                self.panel_by_steps(s, step, cols.clone());
                if step.p0 + step.k == self.product.k {
                    self.finish(s, self.rows.clone(), cols.clone());
                }
                (j, packed_to) = (cols.end, cols.end);
                continue;
            }
            if let Source::Panels(count) = self.plan.b
                && j == packed_to
            {
                packed_to = (j + count * nr).min(self.cols.end);
                self.pack_panels(s, step, j..packed_to, self.panel);
            }
            let leads = lead.is_some();
            let panel = lead.take().unwrap_or_else(|| self.panel_at(s, step, j, packed_to));
            let narrow = is_narrow::<T, S>(panel.width) && self.plan.a_in_place && !leads;
            let mut done = 0;
            for (rows, tiles, height) in runs(self.rows.clone(), most_rows::<T, S>(narrow)) {
                let next = if leads { Next::NOTHING } else { self.next_panel::<S>(step, &panel, done) };
                self.tiles(s, step, rows, height, &panel, tiles, Some(next));
                done += tiles;
            }
            if step.p0 + step.k == self.product.k {
                self.finish(s, self.rows.clone(), j..j + panel.width);
            }
            j += panel.width;
        }
    }

    /// A panel of two vectors, some steps at a time: what is packed is used while it is in the first-level cache, beside what
    /// it came from.
    #[inline(always)]
    fn panel_by_steps<S: Simd>(&self, s: S, step: Step, cols: Range<usize>) {
        let row = const { panel_width::<T>(S::ISA) };
        let panel = Panel { col: cols.start, width: cols.len(), ptr: self.panel.cast_const(), row };
        for from in (0..step.k).step_by(PANEL_STEPS) {
            let step = Step { from, steps: PANEL_STEPS.min(step.k - from), ..step };
            self.pack_panels(s, step, cols.clone(), self.panel);
            for (rows, tiles, height) in runs(self.rows.clone(), most_rows::<T, S>(false)) {
                // What comes next is in the second-level cache already.
                self.tiles(s, step, rows, height, &panel, tiles, Some(Next::NOTHING));
            }
        }
    }

    /// Few steps of k: C is written along its rows, a row of tiles at a time.
    #[inline(always)]
    fn along_rows<S: Simd>(&self, s: S, step: Step) {
        let nr = const { panel_width::<T>(S::ISA) };
        let whole = self.cols.len() / nr;
        let rest = self.cols.start + whole * nr;
        // What is left of a B in place is packed where the first panel is, or is two panels that are not.
        let lead = self.lead_panel(s, step);
        for (rows, tiles, height) in runs(self.rows.clone(), most_rows::<T, S>(false)) {
            let Some(lead) = &lead else { break };
            self.tiles(s, step, rows, height, lead, tiles, Some(Next::NOTHING));
        }
        let last = (rest < self.cols.end).then(|| self.panel_at(s, step, rest, rest));
        let after = last.as_ref().map_or(self.cols.end, |last| last.col + last.width);
        let after = (after < self.cols.end).then(|| self.panel_at(s, step, after, after));
        for (rows, tiles, height) in runs(self.rows.clone(), most_rows::<T, S>(false)) {
            for t in 0..tiles {
                let rows = rows.start + t * height..rows.start + (t + 1) * height;
                if whole > 0 {
                    let first = self.panel_at(s, step, self.cols.start, self.cols.start);
                    self.tiles(s, step, rows.clone(), height, &first, whole, None);
                }
                for last in last.iter().chain(&after) {
                    self.tiles(s, step, rows.clone(), height, last, 1, None);
                }
                if step.p0 + step.k == self.product.k {
                    self.finish(s, rows, self.cols.start - self.lead..self.cols.end);
                }
            }
        }
    }

    /// `tiles` tiles of `height` rows: one below the other from `rows.start`, with what is read `next`; or beside each other.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn tiles<S: Simd>(
        &self,
        s: S,
        step: Step,
        rows: Range<usize>,
        height: usize,
        panel: &Panel<T>,
        tiles: usize,
        next: Option<Next<T>>,
    ) {
        let x = self.product;
        let down = next.is_some();
        let nr = const { panel_width::<T>(S::ISA) };
        let (a, a_row, a_col) = match x.a.direct_at(0, 0) {
            Some(ptr) if self.plan.a_in_place => {
                (ptr.wrapping_add(rows.start * x.a.row + (step.p0 + step.from) * x.a.col), x.a.row, x.a.col)
            }
            _ => {
                let packed = self.a_pack.cast_const().wrapping_add((rows.start - self.rows.start) * step.k);
                (packed.wrapping_add(step.from * height), 1, height)
            }
        };
        let ends = step.from + step.steps == step.k;
        let waiting = self.panel.wrapping_add(nr * PANEL_STEPS + (rows.start - self.rows.start) * nr);
        let carry = Carry {
            from: if step.from > 0 { waiting.cast_const() } else { std::ptr::null() },
            to: if ends { std::ptr::null_mut() } else { waiting },
        };
        let a_down = if self.plan.a_in_place { height * a_row } else { height * step.k };
        let b_across = if self.plan.b == Source::InPlace { nr } else { nr * step.k };
        let tiles = Tiles {
            tiles,
            rows: height,
            cols: panel.width,
            k: step.steps,
            a,
            a_row,
            a_col,
            a_step: if down { a_down } else { 0 },
            b: panel.ptr,
            b_row: panel.row,
            b_step: if down { 0 } else { b_across },
            c: self.c.wrapping_add(rows.start * x.c_row + panel.col * x.c_col),
            c_row: x.c_row,
            c_col: x.c_col,
            c_step: if down { height * x.c_row } else { nr * x.c_col },
            // A tile of few steps is over before its C has come from afar.
            c_ahead: match ends {
                true if down => 0,
                true => 32usize.div_ceil(step.k) * nr,
                false => NEAR,
            },
            next: next.unwrap_or(Next::NOTHING),
            carry,
            alpha: x.alpha,
            beta: if step.p0 == 0 { x.beta } else { T::ONE },
        };
        // pack_a laid the rows out with their tile's height as stride; the panel holds k rows of whole vectors; the tiles
        // lie in the piece of C that is this task's alone.
        s.outline(&tiles);
    }

    /// What is read after a panel, as the tiles after its first `done` ask for it.
    #[inline(always)]
    fn next_panel<S: Simd>(&self, step: Step, panel: &Panel<T>, done: usize) -> Next<T> {
        let nr = const { panel_width::<T>(S::ISA) };
        let per_line = const { LINE / size_of::<T>() };
        let b = self.product.b;
        let (ptr, row, lines, rows, done) = match self.plan.b {
            // Panels of a slab stand behind each other.
            Source::Slab => (panel.ptr.wrapping_add(nr * step.k), step.k, step.k.div_ceil(per_line), nr, done),
            Source::Panels(count) => {
                let first = self.cols.start + (panel.col - self.cols.start) / (count * nr) * (count * nr);
                let from = first + count * nr;
                let width = (count * nr).min(self.cols.end.saturating_sub(from));
                match b.direct_at(step.p0, from) {
                    Some(ptr) if width > 0 && b.col == 1 => {
                        // The tiles of each panel of the group ask for their part of the rows of the next group.
                        let tiles = self.rows.len().div_ceil(const { tile_rows::<T>(S::ISA) });
                        (ptr, b.row, width.div_ceil(per_line), step.k, done + (panel.col - first) / nr * tiles)
                    }
                    Some(ptr) if width > 0 => (ptr, b.col, step.k.div_ceil(per_line), width, done),
                    _ => return Next::NOTHING,
                }
            }
            Source::InPlace => {
                let from = panel.col + panel.width;
                match b.direct_at(step.p0, from) {
                    Some(ptr) if from < self.cols.end => (ptr, b.row, nr.div_ceil(per_line), step.k, done),
                    _ => return Next::NOTHING,
                }
            }
        };
        Next::new(ptr, row, lines, rows, step.steps, done)
    }

    /// The columns before `cols`, packed.
    #[inline(always)]
    fn lead_panel<S: Simd>(&self, s: S, step: Step) -> Option<Panel<T>> {
        let cols = self.cols.start - self.lead..self.cols.start;
        (self.lead > 0).then(|| {
            self.pack_panels(s, step, cols.clone(), self.panel);
            let row = panel_row::<T>(S::ISA, cols.len());
            Panel { col: cols.start, width: cols.len(), ptr: self.panel.cast_const(), row }
        })
    }

    /// The panel at column `j`; `packed_to` is the end of what [`Source::Panels`] packed last.
    #[inline(always)]
    fn panel_at<S: Simd>(&self, s: S, step: Step, j: usize, packed_to: usize) -> Panel<T> {
        let nr = const { panel_width::<T>(S::ISA) };
        let width = nr.min(self.cols.end - j);
        let row = panel_row::<T>(S::ISA, width);
        match self.plan.b {
            Source::Slab => {
                let panels = self.slab_cols.len().div_ceil(nr);
                let start = (step.p0 - self.depth.start) * panels * nr + (j - self.slab_cols.start) * step.k;
                Panel { col: j, width, ptr: self.slab.wrapping_add(start), row }
            }
            Source::Panels(count) => {
                let first = self.cols.start + (j - self.cols.start) / (count * nr) * (count * nr);
                debug_assert!(j < packed_to);
                Panel { col: j, width, ptr: self.panel.cast_const().wrapping_add((j - first) * step.k), row }
            }
            Source::InPlace => {
                let b = self.product.b;
                let read = in_place::<T, S>(width);
                match b.direct_at(step.p0, j) {
                    Some(ptr) if read > 0 => Panel { col: j, width: read, ptr, row: b.row },
                    _ => {
                        self.pack_panels(s, step, j..j + width, self.panel);
                        Panel { col: j, width, ptr: self.panel.cast_const(), row }
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn pack_panels<S: Simd>(&self, s: S, step: Step, cols: Range<usize>, dst: *mut T) {
        let b = self.product.b;
        let src = b.at(step.p0 + step.from, cols.start);
        let strip = Strip { src, across: b.col, along: b.row, width: cols.len(), k: step.steps };
        // The strip lies in B; the room is as large as the plan wants (Product::run).
        let last = panel_row::<T>(S::ISA, cols.len() % const { panel_width::<T>(S::ISA) });
        (&StoredPanels(strip, b.stored, dst, last)).run(s);
    }

    /// Packs the rows of this task over one block of k, tile behind tile.
    #[inline(always)]
    fn pack_a<S: Simd>(&self, s: S, Step { p0, k, .. }: Step) {
        let mut dst = self.a_pack;
        let a = self.product.a;
        for (rows, tiles, height) in runs(self.rows.clone(), most_rows::<T, S>(false)) {
            if tiles > 0 {
                let src = a.at(rows.start, p0);
                let strip = Strip { src, across: a.row, along: a.col, width: rows.len(), k };
                // The strip lies in A; the rows of the task over K_BLOCK fit a_pack, whose SLACK takes what the last store
                // writes too far (Product::layout).
                (&StoredTiles(strip, a.stored, dst, height)).run(s);
                dst = dst.wrapping_add(rows.len() * k);
            }
        }
    }

    /// Hands rows × cols of the product, which are done, to the epilogue.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, rows: Range<usize>, cols: Range<usize>) {
        let x = self.product;
        let c = self.c.wrapping_add(rows.start * x.c_row + cols.start * x.c_col);
        // SAFETY: the piece is this task's alone.
        unsafe { finish(s, x.epilogue, x.finished(c, rows, cols)) };
    }
}

/// Cuts rows into tiles of nearly equal height, none higher than `most`: runs of (rows, tiles, height).
#[inline(always)]
pub(crate) fn runs(rows: Range<usize>, most: usize) -> [(Range<usize>, usize, usize); 2] {
    if rows.len() <= most {
        return [(rows.clone(), 1, rows.len()), (rows.end..rows.end, 0, 0)];
    }
    let count = rows.len().div_ceil(most);
    let (base, longer) = (rows.len() / count, rows.len() % count);
    let middle = rows.start + longer * (base + 1);
    [(rows.start..middle, longer, base + 1), (middle..rows.end, count - longer, base)]
}

/// Rows of a tile at most.
#[inline(always)]
pub(crate) fn most_rows<T: Real, S: Simd>(narrow: bool) -> usize {
    if narrow { const { narrow_rows(S::ISA) } } else { const { tile_rows::<T>(S::ISA) } }
}

/// The whole product on one thread, without workspace: A is read in place, and so is B or a panel of it is packed on the
/// stack.
pub(super) struct Small<'a, 'b, T: Real> {
    pub product: &'a Product<'b, T>,
    pub plan: Plan,
    pub c: *mut T,
}

/// Doubles as large as a panel of B, on any instruction set: a panel of f64 has half the columns of one of f32.
const PANEL: usize = LANES * K_BLOCK + SLACK;

impl<T: Real> Kernel for Small<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.product;
        let nr = const { panel_width::<T>(S::ISA) };
        const { assert!((panel_width::<T>(S::ISA) * K_BLOCK + SLACK) * size_of::<T>() <= PANEL * 8) };
        let mut panel = [const { MaybeUninit::<f64>::uninit() }; PANEL];
        let panel = panel.as_mut_ptr().cast::<T>();
        let lead = x.lead(S::ISA, self.plan.b, self.c);
        if [lead, (x.n - lead) % nr].iter().any(|&cols| !reads_in_place::<T, S>(cols)) {
            // SAFETY: at most K_BLOCK rows of nr elements. The tile reads lanes past the width of a panel that is not whole,
            // which packing may leave.
            unsafe { panel.write_bytes(0, K_BLOCK.min(x.k) * nr) };
        }
        let block = Block {
            product: x,
            plan: self.plan,
            rows: 0..x.m,
            cols: lead..x.n,
            lead,
            depth: 0..x.k,
            slab: std::ptr::null(),
            slab_cols: 0..0,
            a_pack: std::ptr::null_mut(),
            panel,
            c: self.c,
        };
        s.outline(&block);
    }
}
