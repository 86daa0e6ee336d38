//! Residual connections.

use super::context::ek_context;
use super::context_of;
use super::element::{ek_bf16, ek_f16};
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::element::{Storage, bf16, f16};
use crate::residual;

/// y = scale * fx + x, element by element, one fused multiply-add: the residual connection. fx, x, y [n].
///
/// Aliasing: y may be fx or x, or all three one tensor.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_residual_add_f32(
    ctx: *const ek_context,
    n: usize,
    scale: f32,
    fx: *const f32,
    x: *const f32,
    y: *mut f32,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { add::<f32>("residual_add_f32", ctx, n, scale, fx, x, y) }
}

/// y = scale * fx + x, element by element, one fused multiply-add: the residual connection. fx, x, y [n].
///
/// As ek_residual_add_f32 with tensors in bf16: arithmetic in float, one rounding at the store.
///
/// Aliasing: y may be fx or x, or all three one tensor.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_residual_add_bf16(
    ctx: *const ek_context,
    n: usize,
    scale: f32,
    fx: *const ek_bf16,
    x: *const ek_bf16,
    y: *mut ek_bf16,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { add::<bf16>("residual_add_bf16", ctx, n, scale, fx.cast(), x.cast(), y.cast()) }
}

/// y = scale * fx + x, element by element, one fused multiply-add: the residual connection. fx, x, y [n].
///
/// As ek_residual_add_f32 with tensors in f16: arithmetic in float, one rounding at the store.
///
/// Aliasing: y may be fx or x, or all three one tensor.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_residual_add_f16(
    ctx: *const ek_context,
    n: usize,
    scale: f32,
    fx: *const ek_f16,
    x: *const ek_f16,
    y: *mut ek_f16,
) -> ek_status {
    // SAFETY: the caller's promise.
    unsafe { add::<f16>("residual_add_f16", ctx, n, scale, fx.cast(), x.cast(), y.cast()) }
}

/// # Safety
/// What every C function here asks of its pointers.
unsafe fn add<T: Storage>(
    f: &'static str,
    ctx: *const ek_context,
    n: usize,
    scale: f32,
    fx: *const T,
    x: *const T,
    y: *mut T,
) -> ek_status {
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let fx = In::new("fx", fx, &[n]);
        let x = In::new("x", x, &[n]);
        let y = Out::new("y", y, &[n]).may_be(&["fx", "x"]);
        check(f, &[&fx, &x, &y])?;
        // SAFETY: checked above, and there is no slice of an input that y is; the size is the caller's promise.
        let (fx, x, y) = unsafe { ((!y.is(&fx)).then(|| fx.slice()), (!y.is(&x)).then(|| x.slice()), y.slice()) };
        residual::add(f, ctx, scale, fx, x, y)
    })
}
