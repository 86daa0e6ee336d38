//! Softmax of tensors in bf16 and f16: rows are widened to f32, computed as there, and rounded once at the store.

use super::rows::CHUNK;
use super::{backward, forward};
use crate::context::Context;
use crate::element::{Storage, bf16, f16};
use crate::elementwise::{Convert, Way};
use crate::error::Result;
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;

/// Whole rows in f32.
type Block<'a, const N: usize> = &'a (dyn Fn(&Context, [&[f32]; N], &mut [f32]) + Sync);

/// Runs `block` on as many rows at once as fit a chunk, at least one: each is widened to workspace of its worker.
///
/// # Errors
/// `OutOfMemory`, before anything is written.
pub(super) fn rows<T: Storage, const N: usize>(
    function: &'static str,
    ctx: &Context,
    ns: f64,
    cols: usize,
    inputs: [&[T]; N],
    out: &mut [T],
    block: Block<'_, N>,
) -> Result {
    let n = out.len();
    if n == 0 {
        return Ok(());
    }
    let step = (CHUNK / cols).max(1) * cols;
    let (work, tasks) = (Work::elements(n, ns), n.div_ceil(step));
    let workers = ctx.workers(work, tasks);
    let mut scratch = Scratch::take::<f32>(function, workers * (N + 1) * step)?;
    let wide = Shared::new(scratch.slice::<f32>(workers * (N + 1) * step));
    let out = Shared::new(out);
    ctx.for_each_worker(workers, tasks, |worker, task| {
        let range = task * step..n.min((task + 1) * step);
        let len = range.len();
        // SAFETY: tasks have disjoint ranges, and no two tasks at once share a worker's number.
        let (y, wide) =
            unsafe { (out.piece(range.clone()), wide.piece(worker * (N + 1) * step..(worker + 1) * (N + 1) * step)) };
        let (wide_y, wide) = wide.split_at_mut(step);
        for (x, wide) in inputs.iter().zip(wide.chunks_mut(step)) {
            ctx.dispatch(Convert { x: &x[range.clone()], y: &mut wide[..len], way: Way::NEAR });
        }
        let mut wide = wide.chunks(step);
        let wide = inputs.map(|_| &wide.next().expect("one for each input")[..len]);
        block(ctx, wide, &mut wide_y[..len]);
        ctx.dispatch(Convert { x: &wide_y[..len], y, way: Way::NEAR });
    });
    Ok(())
}

macro_rules! stored {
    ($type:ident, $softmax:ident $softmax_backward:ident $log_softmax:ident $log_softmax_backward:ident) => {
        #[doc = concat!("[`softmax_forward_f32`](super::softmax_forward_f32) of tensors in ", stringify!($type), ": f32 inside, one rounding at the store.")]
        pub fn $softmax(ctx: &Context, rows: usize, cols: usize, x: &[$type], y: &mut [$type]) -> Result {
            forward(stringify!($softmax), ctx, false, rows, cols, x, y)
        }
        #[doc = concat!("[`softmax_backward_f32`](super::softmax_backward_f32) of tensors in ", stringify!($type), ": f32 inside, one rounding at the store.")]
        pub fn $softmax_backward(
            ctx: &Context,
            rows: usize,
            cols: usize,
            y: &[$type],
            dy: &[$type],
            dx: &mut [$type],
        ) -> Result {
            backward(stringify!($softmax_backward), ctx, false, rows, cols, y, dy, dx)
        }
        #[doc = concat!("[`log_softmax_forward_f32`](super::log_softmax_forward_f32) of tensors in ", stringify!($type), ": f32 inside, one rounding at the store.")]
        pub fn $log_softmax(ctx: &Context, rows: usize, cols: usize, x: &[$type], y: &mut [$type]) -> Result {
            forward(stringify!($log_softmax), ctx, true, rows, cols, x, y)
        }
        #[doc = concat!("[`log_softmax_backward_f32`](super::log_softmax_backward_f32) of tensors in ", stringify!($type), ": f32 inside, one rounding at the store.")]
        pub fn $log_softmax_backward(
            ctx: &Context,
            rows: usize,
            cols: usize,
            y: &[$type],
            dy: &[$type],
            dx: &mut [$type],
        ) -> Result {
            backward(stringify!($log_softmax_backward), ctx, true, rows, cols, y, dy, dx)
        }
    };
}
stored!(bf16, softmax_forward_bf16 softmax_backward_bf16 log_softmax_forward_bf16 log_softmax_backward_bf16);
stored!(f16, softmax_forward_f16 softmax_backward_f16 log_softmax_forward_f16 log_softmax_backward_f16);
