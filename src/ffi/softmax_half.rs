//! Softmax and log-softmax of tensors in bf16 and f16.

use super::context::ek_context;
use super::element::{ek_bf16, ek_f16};
use super::softmax::{backward, forward};
use super::status::ek_status;
use crate::element::{bf16, f16};

/// y = exp(x - max) / sum exp(x - max) along each row. x, y [rows, cols].
///
/// As ek_softmax_forward_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
///
/// Aliasing: inputs may overlap each other; y overlaps nothing.
///
/// Errors: those of ek_softmax_forward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_softmax_forward_bf16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    x: *const ek_bf16,
    y: *mut ek_bf16,
) -> ek_status {
    let f = "softmax_forward_bf16";
    // SAFETY: the caller's promise.
    unsafe { forward::<bf16>(f, false, ctx, rows, cols, x.cast(), y.cast()) }
}

/// dx = y * (dy - sum y*dy) along each row. y, dy, dx [rows, cols].
///
/// As ek_softmax_backward_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
///
/// Aliasing: inputs may overlap each other; dx overlaps nothing.
///
/// Errors: those of ek_softmax_backward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_softmax_backward_bf16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    y: *const ek_bf16,
    dy: *const ek_bf16,
    dx: *mut ek_bf16,
) -> ek_status {
    let f = "softmax_backward_bf16";
    // SAFETY: the caller's promise.
    unsafe { backward::<bf16>(f, false, ctx, rows, cols, y.cast(), dy.cast(), dx.cast()) }
}

/// y = x - max - log(sum exp(x - max)) along each row. x, y [rows, cols].
///
/// As ek_log_softmax_forward_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
///
/// Aliasing: inputs may overlap each other; y overlaps nothing.
///
/// Errors: those of ek_log_softmax_forward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_log_softmax_forward_bf16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    x: *const ek_bf16,
    y: *mut ek_bf16,
) -> ek_status {
    let f = "log_softmax_forward_bf16";
    // SAFETY: the caller's promise.
    unsafe { forward::<bf16>(f, true, ctx, rows, cols, x.cast(), y.cast()) }
}

/// dx = dy - exp(y) * sum dy along each row. y, dy, dx [rows, cols].
///
/// As ek_log_softmax_backward_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
///
/// Aliasing: inputs may overlap each other; dx overlaps nothing.
///
/// Errors: those of ek_log_softmax_backward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_log_softmax_backward_bf16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    y: *const ek_bf16,
    dy: *const ek_bf16,
    dx: *mut ek_bf16,
) -> ek_status {
    let f = "log_softmax_backward_bf16";
    // SAFETY: the caller's promise.
    unsafe { backward::<bf16>(f, true, ctx, rows, cols, y.cast(), dy.cast(), dx.cast()) }
}

/// y = exp(x - max) / sum exp(x - max) along each row. x, y [rows, cols].
///
/// As ek_softmax_forward_f32 with tensors in f16: arithmetic in float, one rounding at the store.
///
/// Aliasing: inputs may overlap each other; y overlaps nothing.
///
/// Errors: those of ek_softmax_forward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_softmax_forward_f16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    x: *const ek_f16,
    y: *mut ek_f16,
) -> ek_status {
    let f = "softmax_forward_f16";
    // SAFETY: the caller's promise.
    unsafe { forward::<f16>(f, false, ctx, rows, cols, x.cast(), y.cast()) }
}

/// dx = y * (dy - sum y*dy) along each row. y, dy, dx [rows, cols].
///
/// As ek_softmax_backward_f32 with tensors in f16: arithmetic in float, one rounding at the store.
///
/// Aliasing: inputs may overlap each other; dx overlaps nothing.
///
/// Errors: those of ek_softmax_backward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_softmax_backward_f16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    y: *const ek_f16,
    dy: *const ek_f16,
    dx: *mut ek_f16,
) -> ek_status {
    let f = "softmax_backward_f16";
    // SAFETY: the caller's promise.
    unsafe { backward::<f16>(f, false, ctx, rows, cols, y.cast(), dy.cast(), dx.cast()) }
}

/// y = x - max - log(sum exp(x - max)) along each row. x, y [rows, cols].
///
/// As ek_log_softmax_forward_f32 with tensors in f16: arithmetic in float, one rounding at the store.
///
/// Aliasing: inputs may overlap each other; y overlaps nothing.
///
/// Errors: those of ek_log_softmax_forward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_log_softmax_forward_f16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    x: *const ek_f16,
    y: *mut ek_f16,
) -> ek_status {
    let f = "log_softmax_forward_f16";
    // SAFETY: the caller's promise.
    unsafe { forward::<f16>(f, true, ctx, rows, cols, x.cast(), y.cast()) }
}

/// dx = dy - exp(y) * sum dy along each row. y, dy, dx [rows, cols].
///
/// As ek_log_softmax_backward_f32 with tensors in f16: arithmetic in float, one rounding at the store.
///
/// Aliasing: inputs may overlap each other; dx overlaps nothing.
///
/// Errors: those of ek_log_softmax_backward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_log_softmax_backward_f16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    y: *const ek_f16,
    dy: *const ek_f16,
    dx: *mut ek_f16,
) -> ek_status {
    let f = "log_softmax_backward_f16";
    // SAFETY: the caller's promise.
    unsafe { backward::<f16>(f, true, ctx, rows, cols, y.cast(), dy.cast(), dx.cast()) }
}
