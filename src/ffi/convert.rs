//! Between float and the halves.

use super::context::ek_context;
use super::context_of;
use super::element::{ek_bf16, ek_f16};
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::context::Context;
use crate::convert::{self, convert_bf16_to_f32, convert_f16_to_f32, convert_f32_to_bf16, convert_f32_to_f16};
use crate::error::Result;

/// # Safety
/// The caller of the C function keeps its promises: ctx is NULL or a context, x and y are NULL or valid for n elements.
unsafe fn one_to_one<A, B>(
    f: &'static str,
    ctx: *const ek_context,
    n: usize,
    x: *const A,
    y: *mut B,
    convert: impl FnOnce(&Context, &[A], &mut [B]) -> Result,
) -> ek_status {
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let (x, y) = (In::new("x", x, &[n]), Out::new("y", y, &[n]));
        check(f, &[&x, &y])?;
        // SAFETY: checked above; the sizes are the caller's promise.
        unsafe { convert(ctx, x.slice(), y.slice()) }
    })
}

/// y = x in bf16, to nearest even. x, y [n].
///
/// Beyond the largest bf16, 3.39e38, by half a step or more, y is infinite; subnormal numbers are converted as such. A NaN stays
/// a NaN with its sign and the upper part of its payload, and becomes quiet. Aliasing: none.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_convert_f32_to_bf16(
    ctx: *const ek_context,
    n: usize,
    x: *const f32,
    y: *mut ek_bf16,
) -> ek_status {
    let f = "convert_f32_to_bf16";
    // SAFETY: the caller's promise.
    unsafe { one_to_one(f, ctx, n, x, y.cast(), convert_f32_to_bf16) }
}

/// y = x in float, exactly. x, y [n]. Aliasing: none.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_convert_bf16_to_f32(
    ctx: *const ek_context,
    n: usize,
    x: *const ek_bf16,
    y: *mut f32,
) -> ek_status {
    let f = "convert_bf16_to_f32";
    // SAFETY: the caller's promise.
    unsafe { one_to_one(f, ctx, n, x.cast(), y, convert_bf16_to_f32) }
}

/// y = x in f16, to nearest even. x, y [n].
///
/// From 65520 on y is infinite, and at 2^-25 and below it is 0: see ek_loss_scaler. Subnormal numbers are converted as such. A NaN
/// stays a NaN with its sign and the upper part of its payload, and becomes quiet. Aliasing: none.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_convert_f32_to_f16(
    ctx: *const ek_context,
    n: usize,
    x: *const f32,
    y: *mut ek_f16,
) -> ek_status {
    let f = "convert_f32_to_f16";
    // SAFETY: the caller's promise.
    unsafe { one_to_one(f, ctx, n, x, y.cast(), convert_f32_to_f16) }
}

/// y = x in float, exactly; a signalling NaN becomes quiet. x, y [n]. Aliasing: none.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_convert_f16_to_f32(
    ctx: *const ek_context,
    n: usize,
    x: *const ek_f16,
    y: *mut f32,
) -> ek_status {
    let f = "convert_f16_to_f32";
    // SAFETY: the caller's promise.
    unsafe { one_to_one(f, ctx, n, x.cast(), y, convert_f16_to_f32) }
}

/// y = x in bf16, up or down by chance: the mean over all seeds is x. x, y [n].
///
/// Between its neighbours a < x < b, y = b with probability (x - a) / (b - a). A bf16 stays itself, a NaN a NaN; beyond the largest
/// bf16 lies infinity in place of 2^128. Element i depends on (seed, i) and x[i] alone. Aliasing: none.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_convert_f32_to_bf16_stochastic(
    ctx: *const ek_context,
    seed: u64,
    n: usize,
    x: *const f32,
    y: *mut ek_bf16,
) -> ek_status {
    let f = "convert_f32_to_bf16_stochastic";
    // SAFETY: the caller's promise.
    unsafe { one_to_one(f, ctx, n, x, y.cast(), |ctx, x, y| convert::convert_f32_to_bf16_stochastic(ctx, seed, x, y)) }
}

/// ek_convert_f32_to_bf16_stochastic in f16: beyond 65504 lies infinity in place of 65536, and among subnormal halves
/// probabilities are multiples of 2^-16.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_convert_f32_to_f16_stochastic(
    ctx: *const ek_context,
    seed: u64,
    n: usize,
    x: *const f32,
    y: *mut ek_f16,
) -> ek_status {
    let f = "convert_f32_to_f16_stochastic";
    // SAFETY: the caller's promise.
    unsafe { one_to_one(f, ctx, n, x, y.cast(), |ctx, x, y| convert::convert_f32_to_f16_stochastic(ctx, seed, x, y)) }
}
