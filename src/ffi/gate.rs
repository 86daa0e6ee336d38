//! Highway connections.

use super::context::ek_context;
use super::context_of;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::gate::{highway_backward_f32, highway_forward_f32};

/// y = sigma(gate_z) * h + sigma(-gate_z) * x, element by element: a highway connection, whose gate lets through what the
/// layer makes of x (h) or carries x itself. All tensors [n].
///
/// The carry is never 1 - sigma, so that it is true where the gate is wide open. Aliasing: y overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_highway_forward_f32(
    ctx: *const ek_context,
    n: usize,
    gate_z: *const f32,
    h: *const f32,
    x: *const f32,
    y: *mut f32,
) -> ek_status {
    let f = "highway_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let [gate_z, h, x] = [("gate_z", gate_z), ("h", h), ("x", x)].map(|(name, p)| In::new(name, p, &[n]));
        let y = Out::new("y", y, &[n]);
        check(f, &[&gate_z, &h, &x, &y])?;
        // SAFETY: checked above; the size is the caller's promise.
        unsafe { highway_forward_f32(ctx, gate_z.slice(), h.slice(), x.slice(), y.slice()) }
    })
}

/// The gradients of ek_highway_forward_f32, with s = sigma(gate_z) and c = sigma(-gate_z): dgate_z = dy * (h - x) * s * c,
/// dh = dy * s, dx = dy * c. All tensors [n].
///
/// dx is the carried part only: what comes back through the layer is to be added. Aliasing: outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_highway_backward_f32(
    ctx: *const ek_context,
    n: usize,
    gate_z: *const f32,
    h: *const f32,
    x: *const f32,
    dy: *const f32,
    dgate_z: *mut f32,
    dh: *mut f32,
    dx: *mut f32,
) -> ek_status {
    let f = "highway_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let inputs = [("gate_z", gate_z), ("h", h), ("x", x), ("dy", dy)].map(|(name, p)| In::new(name, p, &[n]));
        let outputs = [("dgate_z", dgate_z), ("dh", dh), ("dx", dx)].map(|(name, p)| Out::new(name, p, &[n]));
        let ([gate_z, h, x, dy], [dgate_z, dh, dx]) = (&inputs, &outputs);
        check(f, &[gate_z, h, x, dy, dgate_z, dh, dx])?;
        // SAFETY: checked above; the size is the caller's promise.
        let ([gate_z, h, x, dy], [dgate_z, dh, dx]) =
            unsafe { (inputs.each_ref().map(|x| x.slice()), outputs.each_ref().map(|y| y.slice())) };
        highway_backward_f32(ctx, gate_z, h, x, dy, dgate_z, dh, dx)
    })
}
