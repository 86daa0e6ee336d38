//! The highway gate.

use super::context::ek_context;
use super::context_of;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::gate::{highway_backward_f32, highway_forward_f32};

/// y = s(gate_z) * h + s(-gate_z) * x, element by element, s the logistic function: the highway gate. The carry is
/// s(-z), never 1 - s(z). gate_z, h, x, y [n].
///
/// Aliasing: inputs may overlap each other; y overlaps nothing.
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
        let gate_z = In::new("gate_z", gate_z, &[n]);
        let h = In::new("h", h, &[n]);
        let x = In::new("x", x, &[n]);
        let y = Out::new("y", y, &[n]);
        check(f, &[&gate_z, &h, &x, &y])?;
        // SAFETY: checked above; the size is the caller's promise.
        let (gate_z, h, x, y) = unsafe { (gate_z.slice(), h.slice(), x.slice(), y.slice()) };
        highway_forward_f32(ctx, gate_z, h, x, y)
    })
}

/// Back through ek_highway_forward_f32: dgate_z = dy * (h - x) * s'(gate_z), dh = dy * s(gate_z), dx = dy * s(-gate_z):
/// what reaches x past the layer. All [n]. s' is taken from gate_z, and is true where the gate saturates.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
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
        let gate_z = In::new("gate_z", gate_z, &[n]);
        let h = In::new("h", h, &[n]);
        let x = In::new("x", x, &[n]);
        let dy = In::new("dy", dy, &[n]);
        let dgate_z = Out::new("dgate_z", dgate_z, &[n]);
        let dh = Out::new("dh", dh, &[n]);
        let dx = Out::new("dx", dx, &[n]);
        check(f, &[&gate_z, &h, &x, &dy, &dgate_z, &dh, &dx])?;
        // SAFETY: checked above; the size is the caller's promise.
        let (gate_z, h, x, dy) = unsafe { (gate_z.slice(), h.slice(), x.slice(), dy.slice()) };
        // SAFETY: as above.
        let (dgate_z, dh, dx) = unsafe { (dgate_z.slice(), dh.slice(), dx.slice()) };
        highway_backward_f32(ctx, gate_z, h, x, dy, dgate_z, dh, dx)
    })
}
