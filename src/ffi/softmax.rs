//! Softmax and its logarithm.

use super::context::ek_context;
use super::context_of;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::element::Storage;
use crate::softmax;

/// y = exp(x - max) / sum exp(x - max) along each row. x, y [rows, cols].
///
/// Entries of -Inf get probability 0, and a row of -Inf alone gives zeros; NaN or +Inf in a row makes it NaN.
///
/// Aliasing: inputs may overlap each other; y overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_softmax_forward_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    x: *const f32,
    y: *mut f32,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { forward("softmax_forward_f32", false, ctx, rows, cols, x, y) }
}

/// y = x - max - log(sum exp(x - max)) along each row. x, y [rows, cols].
///
/// The largest entry keeps its digits when its probability rounds to 1. Entries of -Inf stay -Inf; NaN or +Inf in a row
/// makes it NaN.
///
/// Aliasing: inputs may overlap each other; y overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_log_softmax_forward_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    x: *const f32,
    y: *mut f32,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { forward("log_softmax_forward_f32", true, ctx, rows, cols, x, y) }
}

/// dx = y * (dy - sum y*dy) along each row. y (the forward result), dy, dx [rows, cols].
///
/// An offset common to a row's dy costs no digits.
///
/// Aliasing: inputs may overlap each other; dx overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_softmax_backward_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { backward("softmax_backward_f32", false, ctx, rows, cols, y, dy, dx) }
}

/// dx = dy - exp(y) * sum dy along each row. y (the forward result), dy, dx [rows, cols].
///
/// Aliasing: inputs may overlap each other; dx overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_log_softmax_backward_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    y: *const f32,
    dy: *const f32,
    dx: *mut f32,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { backward("log_softmax_backward_f32", true, ctx, rows, cols, y, dy, dx) }
}

/// Softmax, or its logarithm, of tensors in any storage.
///
/// # Safety
/// What every C function here asks of its pointers.
pub(super) unsafe fn forward<T: Storage>(
    f: &'static str,
    log: bool,
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    x: *const T,
    y: *mut T,
) -> ek_status {
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[rows, cols]);
        let y = Out::new("y", y, &[rows, cols]);
        check(f, &[&x, &y])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (x, y) = unsafe { (x.slice(), y.slice()) };
        softmax::forward(f, ctx, log, rows, cols, x, y)
    })
}

/// The gradient of softmax, or of its logarithm, of tensors in any storage.
///
/// # Safety
/// What every C function here asks of its pointers.
pub(super) unsafe fn backward<T: Storage>(
    f: &'static str,
    log: bool,
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    y: *const T,
    dy: *const T,
    dx: *mut T,
) -> ek_status {
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let y = In::new("y", y, &[rows, cols]);
        let dy = In::new("dy", dy, &[rows, cols]);
        let dx = Out::new("dx", dx, &[rows, cols]);
        check(f, &[&y, &dy, &dx])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (y, dy, dx) = unsafe { (y.slice(), dy.slice(), dx.slice()) };
        softmax::backward(f, ctx, log, rows, cols, y, dy, dx)
    })
}
