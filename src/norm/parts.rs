//! The columns' sums of a gradient, dgamma and dbeta: where each task keeps its own, and how they join.

use crate::context::Context;
use crate::parallel::{Shared, Work};
use crate::simd::{Kernel, LANES, Simd};

/// Elements of a task at least, where there are so many.
const PIECE: usize = 128 * 1024;

/// Rows of a task at least, so that its sums are small beside its rows.
const FEWEST: usize = 16;

/// Tasks at most.
const MOST: usize = 64;

/// Columns of a task that joins the sums of tasks.
const JOIN: usize = 4096;

/// Where the columns' sums of a call lie: for each task dgamma's and then dbeta's, each group's columns padded to whole
/// vectors.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Columns of a group.
    pub(super) padded: usize,
    /// Of dgamma, and of dbeta, of all groups.
    pub(super) stride: usize,
    /// Samples of a task: a row of every group each.
    pub(super) step: usize,
    pub(super) tasks: usize,
}

/// By the shape alone.
pub(super) fn layout(samples: usize, cols: usize, groups: usize) -> Layout {
    let step = (PIECE / groups.saturating_mul(cols).max(1)).max(FEWEST).max(samples.div_ceil(MOST));
    let padded = if samples > 0 { cols.next_multiple_of(LANES) } else { 0 };
    Layout { padded, stride: groups * padded, step, tasks: samples.div_ceil(step) }
}

/// out = Σ over tasks of dgamma's sums (k = 0) or dbeta's (k = 1), for one group; added to what out holds if
/// `accumulate`.
pub(super) fn join(ctx: &Context, layout: Layout, sums: &[f64], k: usize, accumulate: bool, out: Option<&mut [f32]>) {
    let Some(out) = out else { return };
    let (cols, Layout { stride, tasks, .. }) = (out.len(), layout);
    let out = Shared::new(out);
    ctx.for_each(Work::elements(cols * tasks, 0.5), cols.div_ceil(JOIN), |piece| {
        let range = piece * JOIN..cols.min((piece + 1) * JOIN);
        // SAFETY: pieces are disjoint.
        let out = unsafe { out.piece(range.clone()) };
        let first = if tasks == 0 { 0 } else { k * stride + range.start };
        ctx.dispatch(Join { sums: &sums[first..], tasks, step: 2 * stride, accumulate, out });
    });
}

struct Join<'a> {
    sums: &'a [f64],
    tasks: usize,
    step: usize,
    accumulate: bool,
    out: &'a mut [f32],
}

impl Kernel for Join<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let cols = self.out.len();
        for j in (0..cols).step_by(LANES) {
            let n = cols - j;
            let (mut low, mut high) = (s.splat_d(0.0), s.splat_d(0.0));
            for task in 0..self.tasks {
                let sums = &self.sums[task * self.step + j..][..LANES];
                // SAFETY: 16 doubles.
                let (a, b) = unsafe { (s.load_d(sums.as_ptr()), s.load_d(sums.as_ptr().add(LANES / 2))) };
                low = s.add_d(low, a);
                high = s.add_d(high, b);
            }
            // SAFETY: ends at cols.
            unsafe {
                let out = self.out.as_mut_ptr().add(j);
                if self.accumulate {
                    let (a, b) = s.widen(s.load_up_to(out, n));
                    low = s.add_d(low, a);
                    high = s.add_d(high, b);
                }
                s.store_up_to(out, s.narrow(low, high), n);
            }
        }
    }
}

/// Adds a block's sums to the task's, or begins them.
///
/// # Safety
/// Both hold the same number of elements, a multiple of 16.
#[inline(always)]
pub(super) unsafe fn flush<S: Simd>(s: S, first: bool, block: &[f32], sums: &mut [f64]) {
    debug_assert!(block.len() == sums.len() && block.len().is_multiple_of(LANES));
    for j in (0..block.len()).step_by(LANES) {
        // SAFETY: 16 elements from j.
        unsafe {
            let (mut low, mut high) = s.widen(s.load(block.as_ptr().add(j)));
            let sums = sums.as_mut_ptr().add(j);
            if !first {
                low = s.add_d(s.load_d(sums), low);
                high = s.add_d(s.load_d(sums.add(LANES / 2)), high);
            }
            s.store_d(sums, low);
            s.store_d(sums.add(LANES / 2), high);
        }
    }
}
