//! Activations of tensors in bf16 and f16.

use super::activation::{backward, ek_activation, from_output, one_input};
use super::context::ek_context;
use super::element::{ek_bf16, ek_f16};
use super::status::ek_status;
use crate::element::{bf16, f16};

/// y = phi(z), element by element.
///
/// As ek_activation_forward_f32 with tensors in bf16: arithmetic in float, one rounding at the store. z, y [n].
///
/// Aliasing: y may be z.
///
/// Errors: those of ek_activation_forward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_forward_bf16(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const ek_bf16,
    y: *mut ek_bf16,
) -> ek_status {
    let f = "activation_forward_bf16";
    // SAFETY: the caller's promise.
    unsafe { one_input::<bf16>(f, ctx, false, act, act_param, n, z.cast(), y.cast()) }
}

/// d = phi'(z), element by element.
///
/// As ek_activation_derivative_f32 with tensors in bf16: arithmetic in float, one rounding at the store. z, d [n].
///
/// Aliasing: d may be z.
///
/// Errors: those of ek_activation_derivative_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_derivative_bf16(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const ek_bf16,
    d: *mut ek_bf16,
) -> ek_status {
    let f = "activation_derivative_bf16";
    // SAFETY: the caller's promise.
    unsafe { one_input::<bf16>(f, ctx, true, act, act_param, n, z.cast(), d.cast()) }
}

/// dz = dy * phi'(z), element by element.
///
/// As ek_activation_backward_f32 with tensors in bf16: arithmetic in float, one rounding at the store. z, dy, dz [n].
///
/// Aliasing: dz may be dy, or z, not both at once.
///
/// Errors: those of ek_activation_backward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_backward_bf16(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const ek_bf16,
    dy: *const ek_bf16,
    dz: *mut ek_bf16,
) -> ek_status {
    let f = "activation_backward_bf16";
    // SAFETY: the caller's promise.
    unsafe { backward::<bf16>(f, ctx, act, act_param, n, z.cast(), dy.cast(), dz.cast()) }
}

/// dz = dy * phi'(z) from y = phi(z) alone, element by element; what rounding y has lost is lost.
///
/// As ek_activation_backward_from_output_f32 with tensors in bf16: arithmetic in float, one rounding at the store. y, dy, dz [n].
///
/// Aliasing: dz may be dy.
///
/// Errors: those of ek_activation_backward_from_output_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_backward_from_output_bf16(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    y: *const ek_bf16,
    dy: *const ek_bf16,
    dz: *mut ek_bf16,
) -> ek_status {
    let f = "activation_backward_from_output_bf16";
    // SAFETY: the caller's promise.
    unsafe { from_output::<bf16>(f, ctx, act, act_param, n, y.cast(), dy.cast(), dz.cast()) }
}

/// y = phi(z), element by element.
///
/// As ek_activation_forward_f32 with tensors in f16: arithmetic in float, one rounding at the store. z, y [n].
///
/// Aliasing: y may be z.
///
/// Errors: those of ek_activation_forward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_forward_f16(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const ek_f16,
    y: *mut ek_f16,
) -> ek_status {
    let f = "activation_forward_f16";
    // SAFETY: the caller's promise.
    unsafe { one_input::<f16>(f, ctx, false, act, act_param, n, z.cast(), y.cast()) }
}

/// d = phi'(z), element by element.
///
/// As ek_activation_derivative_f32 with tensors in f16: arithmetic in float, one rounding at the store. z, d [n].
///
/// Aliasing: d may be z.
///
/// Errors: those of ek_activation_derivative_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_derivative_f16(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const ek_f16,
    d: *mut ek_f16,
) -> ek_status {
    let f = "activation_derivative_f16";
    // SAFETY: the caller's promise.
    unsafe { one_input::<f16>(f, ctx, true, act, act_param, n, z.cast(), d.cast()) }
}

/// dz = dy * phi'(z), element by element.
///
/// As ek_activation_backward_f32 with tensors in f16: arithmetic in float, one rounding at the store. z, dy, dz [n].
///
/// Aliasing: dz may be dy, or z, not both at once.
///
/// Errors: those of ek_activation_backward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_backward_f16(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    z: *const ek_f16,
    dy: *const ek_f16,
    dz: *mut ek_f16,
) -> ek_status {
    let f = "activation_backward_f16";
    // SAFETY: the caller's promise.
    unsafe { backward::<f16>(f, ctx, act, act_param, n, z.cast(), dy.cast(), dz.cast()) }
}

/// dz = dy * phi'(z) from y = phi(z) alone, element by element; what rounding y has lost is lost.
///
/// As ek_activation_backward_from_output_f32 with tensors in f16: arithmetic in float, one rounding at the store. y, dy, dz [n].
///
/// Aliasing: dz may be dy.
///
/// Errors: those of ek_activation_backward_from_output_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_activation_backward_from_output_f16(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    n: usize,
    y: *const ek_f16,
    dy: *const ek_f16,
    dz: *mut ek_f16,
) -> ek_status {
    let f = "activation_backward_from_output_f16";
    // SAFETY: the caller's promise.
    unsafe { from_output::<f16>(f, ctx, act, act_param, n, y.cast(), dy.cast(), dz.cast()) }
}
