//! Softmax and log-softmax along rows, forward and backward.
//!
//! Every row is shifted by its maximum, and the sum of exponentials keeps what is beside the largest, so a row may hold
//! any logits, and a probability that rounds to 1 still has its gradient.

mod backward;
mod chunks;
pub(crate) mod pass;
pub(crate) mod rows;
mod stored;
mod sums;
pub(crate) mod turned;

pub(crate) use backward::backward;
pub use backward::{log_softmax_backward_f32, softmax_backward_f32};
pub use stored::*;

use crate::context::Context;
use crate::element::Storage;
use crate::elementwise::STREAM_BYTES;
use crate::error::{Result, check_len, product};
use crate::simd::{LANES, Simd};
use pass::{Pass, Stats, Turned};

/// Nanoseconds an element takes, forward.
const FORWARD_NS: f64 = 0.4;

/// Softmax along rows: y = exp(x − max) / Σ exp(x − max) (whitepaper §22).
///
/// Shapes, row-major: `x`, `y` [rows, cols]. Entries of −Inf get probability 0; a row of −Inf alone (all masked) gives
/// zeros. A row that holds NaN or +Inf gives NaN.
///
/// Accuracy: an entry has 4 ULP, and one more for each unit of max − x, which is rounded to f32 first. Threads: the
/// same bits for any number.
///
/// # Errors
/// `InvalidSize`, `OutOfMemory`.
///
/// ```
/// let ctx = evenkeel::Context::builder().build()?;
/// let mut y = [0.0; 3];
/// evenkeel::softmax::softmax_forward_f32(&ctx, 1, 3, &[1e4, 1e4, -1e4], &mut y)?;
/// assert_eq!(y, [0.5, 0.5, 0.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn softmax_forward_f32(ctx: &Context, rows: usize, cols: usize, x: &[f32], y: &mut [f32]) -> Result {
    forward("softmax_forward_f32", ctx, false, rows, cols, x, y)
}

/// Log-softmax along rows: y = x − max − ln Σ exp(x − max) (whitepaper §22).
///
/// Shapes, row-major: `x`, `y` [rows, cols]. The largest entry is −log1p of what the others add, so it keeps its
/// digits when its probability rounds to 1. Entries of −Inf stay −Inf, in a row of −Inf alone too. A row that holds
/// NaN or +Inf gives NaN.
///
/// Accuracy: 3 roundings of the larger of the result and max − x, beside what softmax's accuracy makes of the sum.
/// Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`, `OutOfMemory`.
pub fn log_softmax_forward_f32(ctx: &Context, rows: usize, cols: usize, x: &[f32], y: &mut [f32]) -> Result {
    forward("log_softmax_forward_f32", ctx, true, rows, cols, x, y)
}

/// Whether an output of `n` floats in rows of `cols` goes past the caches. Rows of whole vectors only: then all are aligned alike.
fn streams(n: usize, cols: usize) -> bool {
    cols.is_multiple_of(LANES) && size_of::<f32>() * n >= STREAM_BYTES
}

fn check<T>(function: &'static str, rows: usize, cols: usize, slices: &[(&str, &[T])]) -> Result {
    for (name, slice) in slices {
        check_len(function, name, slice, product(function, name, &[rows, cols])?)?;
    }
    Ok(())
}

/// Softmax, or its logarithm, in any storage.
pub(crate) fn forward<T: Storage>(
    function: &'static str,
    ctx: &Context,
    log: bool,
    rows: usize,
    cols: usize,
    x: &[T],
    y: &mut [T],
) -> Result {
    check(function, rows, cols, &[("x", x), ("y", y)])?;
    if let (Some(x), Some(y)) = (T::as_f32(x), T::as_f32_mut(y)) {
        let shape = [rows, cols];
        return if log {
            rows::run(function, ctx, FORWARD_NS, shape, Some(x), Some(y), &LogSoftmax)
        } else {
            rows::run(function, ctx, FORWARD_NS, shape, Some(x), Some(y), &Softmax)
        }
        .map(|_| ());
    }
    stored::rows(function, ctx, FORWARD_NS, cols, [x], y, &|ctx, [x], y| {
        y.copy_from_slice(x);
        if log {
            rows::block(ctx, cols, y, &LogSoftmax);
        } else {
            rows::block(ctx, cols, y, &Softmax);
        }
    })
}

/// y = exp(x − max) / (1 + S); a row of −Inf alone has S = 0 and only zeros to divide.
struct Softmax;

impl Pass for Softmax {
    const STORE: bool = true;
    const LOG_SUM: bool = false;
    const ENDS: bool = false;

    #[inline(always)]
    unsafe fn write_turned<S: Simd>(&self, s: S, stats: &Turned<S>, block: *mut f32, cols: usize) {
        let mut r = [0f32; LANES];
        for i in 0..LANES {
            r[i] = (1.0 / (1.0 + stats.rest[i])) as f32;
        }
        let r = s.from_array(r);
        for j in 0..cols {
            // SAFETY: the block holds cols columns (contract).
            unsafe {
                let e = block.add(j * LANES);
                s.store(e, s.mul(s.load(e), r));
            }
        }
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(&self, s: S, stats: &Stats, _: f32, _x: *const f32, y: *mut f32, n: usize) {
        let r = s.splat((1.0 / (1.0 + stats.rest)) as f32);
        let mut i = 0;
        while i < n {
            // SAFETY: y holds n floats (contract).
            unsafe { s.store_up_to(y.add(i), s.mul(s.load_up_to(y.add(i), n - i), r), n - i) };
            i += LANES;
        }
    }
}

/// y = (x − max) − log1p(S).
struct LogSoftmax;

impl Pass for LogSoftmax {
    const STORE: bool = false;
    const LOG_SUM: bool = true;
    const ENDS: bool = false;

    #[inline(always)]
    unsafe fn write_turned<S: Simd>(&self, s: S, stats: &Turned<S>, block: *mut f32, cols: usize) {
        for j in 0..cols {
            // SAFETY: the block holds cols columns (contract).
            unsafe {
                let x = block.add(j * LANES);
                s.store(x, s.sub(s.sub(s.load(x), stats.max), stats.log_sum));
            }
        }
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(&self, s: S, stats: &Stats, log_sum: f32, x: *const f32, y: *mut f32, n: usize) {
        let (m, log_sum) = (s.splat(stats.max), s.splat(log_sum));
        let mut i = 0;
        while i < n {
            // SAFETY: x and y hold n floats (contract).
            unsafe {
                let v = s.sub(s.sub(s.load_up_to(x.add(i), n - i), m), log_sum);
                s.store_up_to(y.add(i), v, n - i);
            }
            i += LANES;
        }
    }
}
