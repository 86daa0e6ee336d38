//! Backward: some keys of one head against all queries that see them, a block of each at a time. Gradients of keys and
//! values stay where they are meanwhile; those of queries pass by.

use super::rows::{Gradients, STRIDE, Seen};
use super::shape::{CHUNKS, GROUP, KEY_BLOCK, KEY_CHUNK, QUERY_BLOCK, Shape};
use super::tiles::{Product, finite, pack, pack_turned, panels_len};
use crate::context::Context;
use crate::error::Result;
use crate::matmul::panel_width;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Isa, Kernel, LANES, Simd};
use std::ops::Range;

/// Rows of a task that computes delta or joins dq.
const ROWS: usize = 128;

/// What the pass reads, of all heads or of those of one task.
pub(super) struct Inputs<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub out: &'a [f32],
    pub lse: &'a [f32],
    pub dout: &'a [f32],
}

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
    inputs: &Inputs<'_>,
    [dq, dk, dv]: [&mut [f32]; 3],
) -> Result {
    let items = x.batch * x.kv_heads;
    let (q_head, kv_head) = (x.sq * x.d, x.sk * x.d);
    if dq.is_empty() || dk.is_empty() {
        // Nobody sees anybody.
        dq.fill(0.0);
        dk.fill(0.0);
        dv.fill(0.0);
        return Ok(());
    }
    let shared_by = x.shared_by();
    let rows = items * shared_by * x.sq;
    assert!(dq.len() == rows * x.d && dk.len() == items * kv_head && dv.len() == dk.len());
    assert!(inputs.q.len() == dq.len() && inputs.out.len() == dq.len() && inputs.dout.len() == dq.len());
    assert!(inputs.k.len() == dk.len() && inputs.v.len() == dk.len() && inputs.lse.len() == rows);

    let (length, chunks) = chunks(x.sk);
    let workers = ctx.workers(Work::flops(5.0 * x.flops()), items * chunks);
    // In one chunk a task has all heads that share its keys. Else tasks of one head at a time, of so many items at once
    // that all threads have some, leave a dq for each chunk.
    let (at_once, heads) =
        if chunks == 1 { (items, shared_by) } else { ((4 * workers).div_ceil(chunks).min(items), 1) };
    let layout = Layout::new(ctx.isa(), x.d);
    let (private, parts) = (layout.len(), (chunks - 1) * q_head);
    let delta_len = rows.next_multiple_of(LANES);
    let parts_len = if chunks == 1 { 0 } else { (at_once * parts).next_multiple_of(LANES) };
    let len = delta_len + parts_len + workers * private;
    let mut scratch = Scratch::take::<f32>(function, len)?;
    let (delta, room) = scratch.slice::<f32>(len).split_at_mut(delta_len);
    let (partial, room) = room.split_at_mut(parts_len);
    let (room, partial, dq, dk, dv) =
        (Shared::new(room), Shared::new(partial), Shared::new(dq), Shared::new(dk), Shared::new(dv));
    deltas(ctx, x.d, inputs, &mut delta[..rows]);

    for first_item in (0..items).step_by(at_once) {
        let here = at_once.min(items - first_item);
        for head in (0..shared_by).step_by(heads) {
            let q_rows = |item: usize| {
                let first = (item * shared_by + head) * x.sq;
                first..first + heads * x.sq
            };
            let q_range = |item: usize| q_rows(item).start * x.d..q_rows(item).end * x.d;
            ctx.for_each_worker(workers, here * chunks, |worker, task| {
                let (slot, chunk) = (task / chunks, task % chunks);
                let item = first_item + slot;
                let keys = chunk * length..x.sk.min((chunk + 1) * length);
                let own = item * kv_head + keys.start * x.d..item * kv_head + keys.end * x.d;
                // SAFETY: a worker's number is its own; each task has its own keys of an item, and for these heads of it
                // the only first chunk, or its own part.
                let (room, dq, dk, dv) = unsafe {
                    (
                        room.piece(worker * private..(worker + 1) * private),
                        match chunk {
                            0 => dq.piece(q_range(item)),
                            _ => partial.piece(slot * parts + (chunk - 1) * q_head..slot * parts + chunk * q_head),
                        },
                        dk.piece(own.clone()),
                        dv.piece(own),
                    )
                };
                let (q, rows, kv) = (q_range(item), q_rows(item), item * kv_head..(item + 1) * kv_head);
                let inputs = Inputs {
                    q: &inputs.q[q.clone()],
                    k: &inputs.k[kv.clone()],
                    v: &inputs.v[kv],
                    out: &inputs.out[q.clone()],
                    lse: &inputs.lse[rows.clone()],
                    dout: &inputs.dout[q],
                };
                let delta = &delta[rows];
                ctx.dispatch(Backward {
                    x,
                    inputs: &inputs,
                    delta,
                    heads,
                    keys,
                    fresh: head == 0,
                    dq,
                    dk,
                    dv,
                    room,
                    layout: &layout,
                });
            });
            if chunks > 1 {
                join(ctx, x, length, &partial, parts, here, &dq, |slot| q_range(first_item + slot).start);
            }
        }
    }
    Ok(())
}

/// Keys of a chunk, and how many chunks there are.
fn chunks(sk: usize) -> (usize, usize) {
    let length = KEY_CHUNK.max(sk.div_ceil(CHUNKS)).next_multiple_of(KEY_BLOCK);
    (length, sk.div_ceil(length))
}

/// delta = Σ dout·out of every row.
fn deltas(ctx: &Context, d: usize, inputs: &Inputs<'_>, delta: &mut [f32]) {
    let rows = delta.len();
    let delta = Shared::new(delta);
    ctx.for_each(Work::elements(rows * d, 0.2), rows.div_ceil(ROWS), |task| {
        let rows = task * ROWS..rows.min((task + 1) * ROWS);
        let (a, b) = (&inputs.dout[rows.start * d..rows.end * d], &inputs.out[rows.start * d..rows.end * d]);
        // SAFETY: each task has its own rows.
        ctx.dispatch(Delta { d, a, b, delta: unsafe { delta.piece(rows) } });
    });
}

struct Delta<'a> {
    d: usize,
    a: &'a [f32],
    b: &'a [f32],
    delta: &'a mut [f32],
}

impl Kernel for Delta<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(self.a.len() == self.delta.len() * self.d && self.b.len() == self.a.len());
        for (r, delta) in self.delta.iter_mut().enumerate() {
            let mut sum = s.zero();
            let mut i = 0;
            while i < self.d {
                let (at, left) = (r * self.d + i, self.d - i);
                // SAFETY: row r of d elements lies in a and in b (asserted).
                unsafe {
                    let (a, b) = (self.a.as_ptr().add(at), self.b.as_ptr().add(at));
                    sum = s.fma(s.load_up_to(a, left), s.load_up_to(b, left), sum);
                }
                i += LANES;
            }
            *delta = s.sum(sum);
        }
    }
}

/// Adds the parts that the chunks after the first left of dq, in ascending order, to what the first has written.
#[allow(clippy::too_many_arguments)]
fn join(
    ctx: &Context,
    x: &Shape,
    length: usize,
    partial: &Shared<'_, f32>,
    parts: usize,
    slots: usize,
    dq: &Shared<'_, f32>,
    start: impl Fn(usize) -> usize + Sync,
) {
    let (pieces, q_head) = (x.sq.div_ceil(ROWS), x.sq * x.d);
    let work = Work::elements(slots * (parts + q_head), 0.2);
    ctx.for_each(work, slots * pieces, |task| {
        let (slot, piece) = (task / pieces, task % pieces);
        let rows = piece * ROWS..x.sq.min((piece + 1) * ROWS);
        for chunk in 1..=parts / q_head {
            // What sees nothing of a chunk has no part of it.
            let from = rows.start.max(x.first_row(chunk * length));
            if from < rows.end {
                let at = slot * parts + (chunk - 1) * q_head;
                // SAFETY: no two tasks have the same rows of the same head, and the tasks that wrote them are done.
                let (y, part) = unsafe {
                    (
                        dq.piece(start(slot) + from * x.d..start(slot) + rows.end * x.d),
                        partial.piece(at + from * x.d..at + rows.end * x.d),
                    )
                };
                y.iter_mut().zip(part).for_each(|(y, part)| *y += *part);
            }
        }
    });
}

/// The workspace of a worker.
struct Layout {
    /// Elements of a packed block of keys or values, whichever way.
    keys: usize,
    /// Elements of a packed block of queries.
    queries: usize,
}

impl Layout {
    fn new(isa: Isa, d: usize) -> Layout {
        Layout {
            keys: panels_len(isa, KEY_BLOCK, d).max(panels_len(isa, d, KEY_BLOCK)),
            queries: panels_len(isa, d, QUERY_BLOCK),
        }
    }

    fn len(&self) -> usize {
        3 * self.keys + 2 * self.queries + 2 * QUERY_BLOCK * STRIDE
    }
}

struct Backward<'a> {
    x: &'a Shape,
    /// `heads` heads of queries one behind the other; the one head of keys and values that they share.
    inputs: &'a Inputs<'a>,
    delta: &'a [f32],
    heads: usize,
    keys: Range<usize>,
    /// Whether dk and dv start with these heads.
    fresh: bool,
    dq: &'a mut [f32],
    /// Those of `keys`.
    dk: &'a mut [f32],
    dv: &'a mut [f32],
    room: &'a mut [f32],
    layout: &'a Layout,
}

impl Kernel for Backward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, d, inputs, layout) = (self.x, self.x.d, self.inputs, self.layout);
        let rows = self.heads * x.sq;
        assert!(self.dq.len() == rows * d && inputs.q.len() == rows * d && inputs.dout.len() == rows * d);
        assert!(self.delta.len() == rows && inputs.lse.len() == rows && self.keys.end <= x.sk);
        assert!(inputs.k.len() == x.sk * d && inputs.v.len() == x.sk * d && self.room.len() >= layout.len());
        assert!(self.dk.len() == self.keys.len() * d && self.dv.len() == self.dk.len());
        let (keys_turned, room) = self.room.split_at_mut(layout.keys);
        let (values_turned, room) = room.split_at_mut(layout.keys);
        let (keys, room) = room.split_at_mut(layout.keys);
        let (q, room) = room.split_at_mut(layout.queries);
        let (dout, room) = room.split_at_mut(layout.queries);
        let (logits, dp) = room.split_at_mut(QUERY_BLOCK * STRIDE);
        if self.fresh {
            self.dk.fill(0.0);
            self.dv.fill(0.0);
        }
        for head in 0..self.heads {
            // Queries that see nothing of the chunk; its parts are joined without them.
            let blind = x.first_row(self.keys.start).min(x.sq);
            self.dq[head * x.sq * d..(head * x.sq + blind) * d].fill(0.0);
        }
        for j0 in self.keys.clone().step_by(KEY_BLOCK) {
            let width = KEY_BLOCK.min(self.keys.end - j0);
            let own = (j0 - self.keys.start) * d;
            // SAFETY: width rows of d follow j0·d; the panels have room for a whole block (Layout).
            let keys_finite = unsafe {
                let (k, v) = (inputs.k.as_ptr().add(j0 * d), inputs.v.as_ptr().add(j0 * d));
                pack_turned(s, k, d, width, keys_turned.as_mut_ptr());
                pack_turned(s, v, d, width, values_turned.as_mut_ptr());
                pack(s, k, d, d, width, keys.as_mut_ptr());
                !x.causal || finite(s, k, width * d)
            };
            for head in 0..self.heads {
                let row = head * x.sq;
                let mut i = x.first_row(j0);
                while i < x.sq {
                    let end = x.sq.min((i / QUERY_BLOCK + 1) * QUERY_BLOCK);
                    let at = (row + i) * d;
                    s.outline(&Block {
                        x,
                        rows: i..end,
                        j0,
                        width,
                        keys_finite,
                        q: inputs.q.as_ptr().wrapping_add(at),
                        dout: inputs.dout.as_ptr().wrapping_add(at),
                        lse: inputs.lse.as_ptr().wrapping_add(row + i),
                        delta: self.delta.as_ptr().wrapping_add(row + i),
                        keys_turned: keys_turned.as_ptr(),
                        values_turned: values_turned.as_ptr(),
                        keys: keys.as_ptr(),
                        q_panels: q.as_mut_ptr(),
                        dout_panels: dout.as_mut_ptr(),
                        logits: logits.as_mut_ptr(),
                        dp: dp.as_mut_ptr(),
                        dq: self.dq.as_mut_ptr().wrapping_add(at),
                        dq_beta: if j0 == self.keys.start { 0.0 } else { 1.0 },
                        dk: self.dk.as_mut_ptr().wrapping_add(own),
                        dv: self.dv.as_mut_ptr().wrapping_add(own),
                    });
                    i = end;
                }
            }
        }
    }
}

/// Up to [`QUERY_BLOCK`] queries, each of which sees the first key of a block of keys.
struct Block<'a> {
    x: &'a Shape,
    rows: Range<usize>,
    j0: usize,
    width: usize,
    /// Whether the keys are, where that matters.
    keys_finite: bool,
    /// Of the first row on.
    q: *const f32,
    dout: *const f32,
    lse: *const f32,
    delta: *const f32,
    dq: *mut f32,
    dq_beta: f32,
    /// Packed blocks of keys and values.
    keys_turned: *const f32,
    values_turned: *const f32,
    keys: *const f32,
    /// Room for packed queries and their gradients, for the logits and for the gradients of probabilities.
    q_panels: *mut f32,
    dout_panels: *mut f32,
    logits: *mut f32,
    dp: *mut f32,
    /// Of the block's keys.
    dk: *mut f32,
    dv: *mut f32,
}

/// Whoever makes one promises that its pointers hold what [`Backward`] gave them.
impl Kernel for &Block<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, d, n) = (self.x, self.x.d, self.rows.len());
        let nr = const { panel_width::<f32>(S::ISA) };
        let whole = x.visible(self.rows.start) - self.j0 >= self.width;
        // SAFETY: n rows of d are readable at q and at dout; the panels have room for QUERY_BLOCK (Layout).
        let group = unsafe {
            pack(s, self.q, d, d, n, self.q_panels);
            pack(s, self.dout, d, d, n, self.dout_panels);
            // 0·∞ must not tell a query of keys that it does not see, nor a key of queries that do not see it.
            if whole {
                usize::MAX
            } else if self.keys_finite && finite(s, self.q, n * d) && finite(s, self.dout, n * d) {
                GROUP
            } else {
                1
            }
        };
        for j in (0..self.width).step_by(nr) {
            // Whole panels: what stands past the width is masked below.
            let from = x.first_row(self.j0 + j).max(self.rows.start) - self.rows.start;
            let product = |a: *const f32, b: *const f32, c: *mut f32, alpha| Product {
                rows: n - from,
                cols: nr,
                k: d,
                a: a.wrapping_add(from * d),
                a_row: d,
                a_col: 1,
                b: b.wrapping_add(j * d),
                b_panel: 0,
                c: c.wrapping_add(from * STRIDE + j),
                c_row: STRIDE,
                alpha,
                beta: 0.0,
            };
            if from < n {
                s.outline(&product(self.q, self.keys_turned, self.logits, x.scale));
                s.outline(&product(self.dout, self.values_turned, self.dp, 1.0));
            }
        }
        self.row_groups(GROUP, |i, seen| {
            s.outline(&Gradients {
                seen,
                logits: self.logits.wrapping_add(i * STRIDE),
                dp: self.dp.wrapping_add(i * STRIDE),
                lse: self.lse.wrapping_add(i),
                delta: self.delta.wrapping_add(i),
            });
        });
        // From here on logits are probabilities, and dp is ds.
        for j in (0..self.width).step_by(group.min(KEY_BLOCK)) {
            let keys = group.min(self.width - j);
            let from = x.first_row(self.j0 + j).max(self.rows.start) - self.rows.start;
            let product = |a: *const f32, b: *const f32, c: *mut f32, alpha| Product {
                rows: keys,
                cols: d,
                k: n - from,
                a: a.wrapping_add(from * STRIDE + j),
                a_row: 1,
                a_col: STRIDE,
                b: b.wrapping_add(from * nr),
                b_panel: n * nr,
                c: c.wrapping_add(j * d),
                c_row: d,
                alpha,
                beta: 1.0,
            };
            if from < n {
                s.outline(&product(self.logits, self.dout_panels, self.dv, 1.0));
                s.outline(&product(self.dp, self.q_panels, self.dk, x.scale));
            }
        }
        self.row_groups(group, |i, seen| {
            s.outline(&Product {
                rows: seen.rows,
                cols: d,
                k: seen.end(),
                a: self.dp.wrapping_add(i * STRIDE),
                a_row: STRIDE,
                a_col: 1,
                b: self.keys,
                b_panel: self.width * nr,
                c: self.dq.wrapping_add(i * d),
                c_row: d,
                alpha: x.scale,
                beta: self.dq_beta,
            });
        });
    }
}

impl Block<'_> {
    /// The rows, counted from the block's first, by groups that end at multiples of `group` queries.
    #[inline(always)]
    fn row_groups(&self, group: usize, mut f: impl FnMut(usize, Seen)) {
        let mut i = self.rows.start;
        while i < self.rows.end {
            let end = (i / group + 1).saturating_mul(group).min(self.rows.end);
            f(i - self.rows.start, Seen { rows: end - i, first: self.x.visible(i) - self.j0, keys: self.width });
            i = end;
        }
    }
}
