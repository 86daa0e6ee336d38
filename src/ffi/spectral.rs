//! Spectra: what a layer, or a recurrence, makes of the length of a gradient.

use super::activation::ek_activation;
use super::context::ek_context;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use super::{choice, context_of};
use crate::activation::Activation;
use crate::error::{Error, Result};
use crate::spectral::{Spectral, jacobian_norm_f32, spectral_norm_f32, spectral_radius_f32};

/// The spectral norm ||W||_2 of w [rows, cols], rows ldw apart: its largest singular value.
///
/// Lanczos' iteration from a fixed start, in double, one pass over w for each step. It has converged when the last third of
/// the iterations added no more than tolerance / 2, relative to sigma. max_iterations 0 stands for 4096, the limit of what
/// is made. No rows or no columns: 0.
///
/// Errors: EK_STATUS_NOT_CONVERGED (sigma is then the best lower bound, or NaN where w holds a NaN or an infinity; more
/// iterations or a larger tolerance help), EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT
/// (alignment, tolerance unless finite and >= 0), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_spectral_norm_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    w: *const f32,
    ldw: usize,
    max_iterations: usize,
    tolerance: f64,
    sigma: *mut f64,
) -> ek_status {
    let f = "spectral_norm_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let w = In::new("w", w, &[rows, cols]).leading("ldw", ldw, "cols");
        let sigma = Out::new("sigma", sigma, &[1]);
        check(f, &[&w, &sigma])?;
        // SAFETY: checked above; the size is the caller's promise.
        let found = spectral_norm_f32(ctx, rows, cols, unsafe { w.slice() }, ldw, max_iterations, tolerance)?;
        // SAFETY: as above.
        deliver(f, "sigma", "iterations", found, unsafe { sigma.slice() })
    })
}

/// The spectral radius max |lambda| of w [n, n], rows ldw apart: over time the gradient of a recurrence with these weights
/// vanishes below 1 and explodes above.
///
/// Norms of repeated squares, rescaled, in double: right for complex pairs, Jordan blocks and matrices that are not normal.
/// It has converged when the bound ||W^N||^(1/N) and an estimate that knows no constant agree within 5e-5, which takes 14 to
/// 22 squarings; the estimate is usually far closer. max_squarings 0 stands for 48, the limit of what is made. n = 0: 0.
/// Workspace: 16 n^2 bytes, which the calling thread keeps.
///
/// Errors: EK_STATUS_NOT_CONVERGED (rho is then the best estimate, or NaN where w holds a NaN or an infinity),
/// EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_spectral_radius_f32(
    ctx: *const ek_context,
    n: usize,
    w: *const f32,
    ldw: usize,
    max_squarings: usize,
    rho: *mut f64,
) -> ek_status {
    let f = "spectral_radius_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let w = In::new("w", w, &[n, n]).leading("ldw", ldw, "n");
        let rho = Out::new("rho", rho, &[1]);
        check(f, &[&w, &rho])?;
        // SAFETY: checked above; the size is the caller's promise.
        let found = spectral_radius_f32(ctx, n, unsafe { w.slice() }, ldw, max_squarings)?;
        // SAFETY: as above.
        deliver(f, "rho", "squarings", found, unsafe { rho.slice() })
    })
}

/// ||W D||_2 with D = diag(phi'(z_prev)): the norm of the Jacobian that takes the gradient back through one layer,
/// delta_prev = D W^T delta.
///
/// w [out_features, in_features]; z_prev [in_features], the pre-activations of the layer below; act one of EK_ACTIVATION_
/// with its act_param. Iterations, tolerance and sigma as in ek_spectral_norm_f32.
///
/// Errors: as ek_spectral_norm_f32, and EK_STATUS_INVALID_ARGUMENT for act and act_param.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_jacobian_norm_f32(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    out_features: usize,
    in_features: usize,
    w: *const f32,
    z_prev: *const f32,
    max_iterations: usize,
    tolerance: f64,
    sigma: *mut f64,
) -> ek_status {
    let f = "jacobian_norm_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let act = choice(f, "act", act, Activation::from_i32)?;
        let w = In::new("w", w, &[out_features, in_features]);
        let z_prev = In::new("z_prev", z_prev, &[in_features]);
        let sigma = Out::new("sigma", sigma, &[1]);
        check(f, &[&w, &z_prev, &sigma])?;
        // SAFETY: checked above; the size is the caller's promise.
        let (w, z_prev) = unsafe { (w.slice(), z_prev.slice()) };
        let found =
            jacobian_norm_f32(ctx, act, act_param, out_features, in_features, w, z_prev, max_iterations, tolerance)?;
        // SAFETY: as above.
        deliver(f, "sigma", "iterations", found, unsafe { sigma.slice() })
    })
}

/// Writes the value, converged or not.
fn deliver(f: &'static str, name: &str, steps: &str, found: Spectral, to: &mut [f64]) -> Result {
    to[0] = found.value;
    if found.converged {
        return Ok(());
    }
    let detail = if found.value.is_nan() {
        format!("{name} is NaN, since w holds a NaN or an infinity")
    } else {
        format!("{name} is still moving after {} {steps}", found.iterations)
    };
    Err(Error::not_converged(f, detail))
}
