//! Forward: some queries of one head against all keys that they see, a block of keys at a time.

use super::rows::{Finish, Online, STRIDE, Seen};
use super::shape::{GROUP, KEY_BLOCK, Shape};
use super::tiles::{Product, finite, pack, pack_turned, panels_len};
use crate::context::Context;
use crate::error::Result;
use crate::matmul::panel_width;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Isa, Kernel, LANES, Simd};
use std::ops::Range;

/// Queries that pass through the nearest cache at a time. No element's bits depend on it.
const Q_BLOCK: usize = 48;

/// Elements of the queries of a task, which stay in a second-level cache beside their outputs, as a packed block of keys
/// passes over them.
const TASK: usize = 32 << 10;

/// The whole call.
///
/// # Errors
/// `OutOfMemory`, before anything is written.
///
/// # Panics
/// If lengths do not fit: the caller checked.
pub(super) fn run(
    function: &'static str,
    ctx: &Context,
    x: &Shape,
    [q, k, v]: [&[f32]; 3],
    out: &mut [f32],
    lse: &mut [f32],
) -> Result {
    let items = x.batch * x.heads;
    if items == 0 || x.sq == 0 {
        return Ok(());
    }
    if x.d == 0 {
        // All logits are 0.
        for (i, lse) in lse.iter_mut().enumerate() {
            *lse = (x.visible(i % x.sq) as f64).ln() as f32;
        }
        return Ok(());
    }
    assert!(q.len() == items * x.sq * x.d && out.len() == q.len() && lse.len() == items * x.sq);
    assert!(k.len() == x.batch * x.kv_heads * x.sk * x.d && v.len() == k.len());

    let work = Work::flops(2.0 * x.flops());
    let workers = ctx.workers(work, items * x.sq.div_ceil(2 * Q_BLOCK));
    let rows = task_rows(x, items, workers);
    let cuts = x.sq.div_ceil(rows);
    let workers = workers.min(items * cuts);
    let layout = Layout::new(ctx.isa(), x.d, rows);
    let len = layout.len();
    let mut scratch = Scratch::take::<f32>(function, workers * len)?;
    let scratch = Shared::new(scratch.slice::<f32>(workers * len));
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    let (q_head, kv_head) = (x.sq * x.d, x.sk * x.d);
    ctx.for_each_worker(workers, items * cuts, |worker, task| {
        // The last queries see the most: first things last would leave one thread with them.
        let (item, cut) = (task / cuts, cuts - 1 - task % cuts);
        let kv = (item / x.heads * x.kv_heads + item % x.heads / x.shared_by()) * kv_head;
        let rows = cut * rows..x.sq.min((cut + 1) * rows);
        // SAFETY: a worker's number is its own, and each task has its own rows of out and lse.
        let (room, out, lse) = unsafe {
            (
                scratch.piece(worker * len..(worker + 1) * len),
                out.piece(item * q_head + rows.start * x.d..item * q_head + rows.end * x.d),
                lse.piece(item * x.sq + rows.start..item * x.sq + rows.end),
            )
        };
        ctx.dispatch(Forward {
            x,
            q: &q[item * q_head + rows.start * x.d..item * q_head + rows.end * x.d],
            k: &k[kv..kv + kv_head],
            v: &v[kv..kv + kv_head],
            out,
            lse,
            rows,
            room,
            layout: &layout,
        });
    });
    Ok(())
}

/// Rows of a task: many share a packed block of keys, and all threads have some.
fn task_rows(x: &Shape, items: usize, workers: usize) -> usize {
    let most = (TASK / x.d).next_multiple_of(Q_BLOCK);
    let pieces = if workers == 1 { 1 } else { (4 * workers).div_ceil(items) };
    x.sq.div_ceil(pieces).next_multiple_of(2 * Q_BLOCK).min(most)
}

/// The workspace of a worker.
struct Layout {
    /// Elements of the maxima, and of the sums, of a task's rows.
    stats: usize,
    /// Elements of a packed block of keys, and of values.
    panels: usize,
}

impl Layout {
    fn new(isa: Isa, d: usize, rows: usize) -> Layout {
        let panels = panels_len(isa, KEY_BLOCK, d).max(panels_len(isa, d, KEY_BLOCK));
        Layout { stats: rows.next_multiple_of(LANES), panels }
    }

    fn len(&self) -> usize {
        2 * self.stats + 2 * self.panels + Q_BLOCK * STRIDE
    }
}

struct Forward<'a> {
    x: &'a Shape,
    /// The queries `rows`, their outputs and their lse.
    q: &'a [f32],
    out: &'a mut [f32],
    lse: &'a mut [f32],
    rows: Range<usize>,
    /// All keys and values of the head.
    k: &'a [f32],
    v: &'a [f32],
    room: &'a mut [f32],
    layout: &'a Layout,
}

impl Kernel for Forward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, rows) = (self.x, self.rows.clone());
        let d = x.d;
        assert!(self.q.len() == rows.len() * d && self.out.len() == self.q.len() && self.lse.len() == rows.len());
        assert!(self.k.len() == x.sk * d && self.v.len() == x.sk * d && self.room.len() >= self.layout.len());
        let (m, room) = self.room.split_at_mut(self.layout.stats);
        let (l, room) = room.split_at_mut(self.layout.stats);
        let (keys, room) = room.split_at_mut(self.layout.panels);
        let (values, logits) = room.split_at_mut(self.layout.panels);
        m.fill(f32::NEG_INFINITY);
        l.fill(0.0);
        let mut block = Block {
            x,
            q: self.q.as_ptr(),
            out: self.out.as_mut_ptr(),
            origin: rows.start,
            keys: keys.as_ptr(),
            values: values.as_ptr(),
            logits: logits.as_mut_ptr(),
            m: m.as_mut_ptr(),
            l: l.as_mut_ptr(),
            j0: 0,
            width: 0,
            group: GROUP,
            rows: 0..0,
        };
        for j0 in (0..x.sk).step_by(KEY_BLOCK) {
            let from = x.first_row(j0).max(rows.start);
            if from >= rows.end {
                break;
            }
            let width = KEY_BLOCK.min(x.sk - j0);
            // SAFETY: width rows of d follow j0·d; the panels have room for a whole block (Layout).
            unsafe {
                let (k, v) = (self.k.as_ptr().add(j0 * d), self.v.as_ptr().add(j0 * d));
                pack_turned(s, k, d, width, keys.as_mut_ptr());
                pack(s, v, d, d, width, values.as_mut_ptr());
                // 0·∞ must not tell a query of keys that it does not see.
                block.group = if x.visible(from) - j0 >= width || finite(s, v, width * d) { GROUP } else { 1 };
            }
            (block.j0, block.width) = (j0, width);
            let mut i = from;
            while i < rows.end {
                let end = rows.end.min((i / Q_BLOCK + 1) * Q_BLOCK);
                block.rows = i..end;
                s.outline(&block);
                i = end;
            }
        }
        for i in (0..rows.len()).step_by(GROUP) {
            s.outline(&Finish {
                rows: GROUP.min(rows.len() - i),
                m: m.as_ptr().wrapping_add(i),
                l: l.as_ptr().wrapping_add(i),
                out: self.out.as_mut_ptr().wrapping_add(i * d),
                d,
                lse: self.lse.as_mut_ptr().wrapping_add(i),
            });
        }
    }
}

/// Up to [`Q_BLOCK`] queries, each of which sees the first key of a block of keys.
struct Block<'a> {
    x: &'a Shape,
    /// The first query of the task is `origin`; m, l, q and out begin with it.
    origin: usize,
    q: *const f32,
    out: *mut f32,
    m: *mut f32,
    l: *mut f32,
    keys: *const f32,
    values: *const f32,
    logits: *mut f32,
    j0: usize,
    width: usize,
    /// Rows that share the end of their sums over keys.
    group: usize,
    rows: Range<usize>,
}

/// Whoever makes one promises that its pointers hold what [`Forward`] gave them.
impl Kernel for &Block<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, d, rows) = (self.x, self.x.d, &self.rows);
        let nr = const { panel_width::<f32>(S::ISA) };
        let row = |i: usize| i - self.origin;
        let logits = |i: usize| self.logits.wrapping_add((i - rows.start) * STRIDE);
        for j in (0..self.width).step_by(nr) {
            // Whole panels: what stands past the width is masked below.
            let first = rows.start.max(x.first_row(self.j0 + j));
            if first < rows.end {
                s.outline(&Product {
                    rows: rows.end - first,
                    cols: nr,
                    k: d,
                    a: self.q.wrapping_add(row(first) * d),
                    a_row: d,
                    a_col: 1,
                    b: self.keys.wrapping_add(j * d),
                    b_panel: 0,
                    c: logits(first).wrapping_add(j),
                    c_row: STRIDE,
                    alpha: x.scale,
                    beta: 0.0,
                });
            }
        }
        self.groups(GROUP, |rows, seen| {
            s.outline(&Online {
                seen,
                logits: logits(rows.start),
                m: self.m.wrapping_add(row(rows.start)),
                l: self.l.wrapping_add(row(rows.start)),
                out: self.out.wrapping_add(row(rows.start) * d),
                d,
                fresh: self.j0 == 0,
            });
        });
        let whole = x.visible(rows.start) - self.j0 >= self.width;
        self.groups(if whole { usize::MAX } else { self.group }, |rows, seen| {
            s.outline(&Product {
                rows: rows.len(),
                cols: d,
                k: seen.end(),
                a: logits(rows.start),
                a_row: STRIDE,
                a_col: 1,
                b: self.values,
                b_panel: self.width * nr,
                c: self.out.wrapping_add(row(rows.start) * d),
                c_row: d,
                alpha: 1.0,
                beta: if self.j0 == 0 { 0.0 } else { 1.0 },
            });
        });
    }
}

impl Block<'_> {
    /// The rows by groups that end at multiples of `group`.
    #[inline(always)]
    fn groups(&self, group: usize, mut f: impl FnMut(Range<usize>, Seen)) {
        let mut i = self.rows.start;
        while i < self.rows.end {
            let end = (i / group + 1).saturating_mul(group).min(self.rows.end);
            f(i..end, Seen { rows: end - i, first: self.x.visible(i) - self.j0, keys: self.width });
            i = end;
        }
    }
}
