//! Linear layers.

use super::activation::ek_activation;
use super::context::ek_context;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use super::{choice, context_of};
use crate::activation::Activation;
use crate::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};

/// z = x * W^T + bias; y = phi(z).
///
/// Shapes: x [batch, in_features], w [out_features, in_features], bias [out_features], z and y [batch, out_features].
/// act is one of EK_ACTIVATION_, act_param as there. Give z where a backward pass follows: derivatives are taken from
/// it. The sum is that of ek_matmul_f32; then the bias is added.
///
/// NULL: bias (none), z (not kept). Aliasing: inputs may overlap each other; z and y overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, act_param, alignment),
/// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_linear_forward_f32(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    batch: usize,
    in_features: usize,
    out_features: usize,
    x: *const f32,
    w: *const f32,
    bias: *const f32,
    z: *mut f32,
    y: *mut f32,
) -> ek_status {
    let f = "linear_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let act = choice(f, "act", act, Activation::from_i32)?;
        let x = In::new("x", x, &[batch, in_features]);
        let w = In::new("w", w, &[out_features, in_features]);
        let bias = In::new("bias", bias, &[out_features]).optional();
        let z = Out::new("z", z, &[batch, out_features]).optional();
        let y = Out::new("y", y, &[batch, out_features]);
        check(f, &[&x, &w, &bias, &z, &y])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (x, w, bias, z, y) = unsafe { (x.slice(), w.slice(), bias.option(), z.option(), y.slice()) };
        linear_forward_f32(ctx, act, act_param, batch, in_features, out_features, x, w, bias, z, y)
    })
}

/// dx = (dz * W) . phi'(z_prev), element by element: the gradient that reaches the layer below.
///
/// Shapes: dz [batch, out_features], w [out_features, in_features], z_prev and dx [batch, in_features]. z_prev holds the
/// pre-activations of the layer below; act (one of EK_ACTIVATION_) and act_param are that layer's. Where z_prev is
/// NULL, dx = dz * W, and act_param is ignored.
///
/// NULL: z_prev. Aliasing: inputs may overlap each other; dx overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, act_param, alignment),
/// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_linear_backward_input_f32(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    batch: usize,
    in_features: usize,
    out_features: usize,
    dz: *const f32,
    w: *const f32,
    z_prev: *const f32,
    dx: *mut f32,
) -> ek_status {
    let f = "linear_backward_input_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let act = choice(f, "act", act, Activation::from_i32)?;
        let dz = In::new("dz", dz, &[batch, out_features]);
        let w = In::new("w", w, &[out_features, in_features]);
        let z_prev = In::new("z_prev", z_prev, &[batch, in_features]).optional();
        let dx = Out::new("dx", dx, &[batch, in_features]);
        check(f, &[&dz, &w, &z_prev, &dx])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (dz, w, z_prev, dx) = unsafe { (dz.slice(), w.slice(), z_prev.option(), dx.slice()) };
        linear_backward_input_f32(ctx, act, act_param, batch, in_features, out_features, dz, w, z_prev, dx)
    })
}

/// dw = dz^T * x; dbias = the sum of dz over the batch; *sum_sq = the sum of dw^2 and dbias^2 as stored.
///
/// Shapes: dz [batch, out_features], x [batch, in_features], dw [out_features, in_features], dbias [out_features]. With
/// accumulate the gradients are added to what dw and dbias hold, else they replace it. sum_sq is collected while the
/// gradients are in cache: added up over the layers it is known_sum_sq of ek_clip_options.
///
/// NULL: dbias, sum_sq (not wanted). Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_linear_backward_weight_f32(
    ctx: *const ek_context,
    batch: usize,
    in_features: usize,
    out_features: usize,
    dz: *const f32,
    x: *const f32,
    accumulate: bool,
    dw: *mut f32,
    dbias: *mut f32,
    sum_sq: *mut f64,
) -> ek_status {
    let f = "linear_backward_weight_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dz = In::new("dz", dz, &[batch, out_features]);
        let x = In::new("x", x, &[batch, in_features]);
        let dw = Out::new("dw", dw, &[out_features, in_features]);
        let dbias = Out::new("dbias", dbias, &[out_features]).optional();
        let sum_sq = Out::new("sum_sq", sum_sq, &[1]).optional();
        check(f, &[&dz, &x, &dw, &dbias, &sum_sq])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (dz, x, dw, dbias, sum_sq) = unsafe { (dz.slice(), x.slice(), dw.slice(), dbias.option(), sum_sq.value()) };
        linear_backward_weight_f32(ctx, batch, in_features, out_features, dz, x, accumulate, dw, dbias, sum_sq)
    })
}
