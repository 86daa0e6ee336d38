//! Spectra (whitepaper §3, §4, §6, §7): how much a layer can stretch a gradient, and what a recurrence makes of it over time.
//!
//! Everything is f64 inside: no matrix of f32 overflows or underflows it, from entries of 1e-38 to 3e38. Starting vectors
//! are fixed, so that results are too: the same bits for any number of threads.

mod gram;
mod lanczos;
mod radius;

use crate::activation::{self, Activation};
use crate::context::Context;
use crate::error::{Error, Result, check_len, product};
use crate::scratch::Scratch;
use gram::Gram;
pub use lanczos::MOST_ITERATIONS;
pub use radius::{MOST_SQUARINGS, RADIUS_TOLERANCE, spectral_radius_f32};

/// A norm or a radius, and whether it has converged. The C functions return EK_STATUS_NOT_CONVERGED where it has not, and
/// set the value all the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spectral {
    /// The best estimate; NaN if the matrix holds a NaN or an infinity.
    pub value: f64,
    /// Whether the last iterations moved it by no more than the tolerance.
    pub converged: bool,
    /// Iterations or squarings made.
    pub iterations: usize,
}

/// ‖W‖₂, the largest singular value of `w` `[rows, cols]` with rows `ldw` ≥ cols apart: the most that a layer can stretch
/// what passes through it, either way (whitepaper §4, §6).
///
/// Lanczos' iteration on WᵀW from a fixed random vector, one pass over W for each iteration. Its estimates only grow, and it
/// has converged when the last third of the iterations added no more than tolerance/2, relative to the norm; of n close
/// singular values, as a Jordan block has them, it finds the largest in a number of iterations like 1/√tolerance, where the
/// power method needs 1/tolerance. `max_iterations` 0 stands for [`MOST_ITERATIONS`], which is also the limit of what is
/// made. An estimate that has not converged is a lower bound. Sums in f64, of blocks of rows that the shape fixes.
///
/// # Errors
/// `InvalidSize`; `InvalidArgument` unless tolerance is finite and ≥ 0; `OutOfMemory`.
///
/// ```
/// let ctx = evenkeel::Context::global()?;
/// let norm = evenkeel::spectral::spectral_norm_f32(ctx, 2, 2, &[3.0, 0.0, 4.0, 5.0], 2, 0, 1e-9)?;
/// assert!(norm.converged && (norm.value - 45f64.sqrt()).abs() < 1e-9);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn spectral_norm_f32(
    ctx: &Context,
    rows: usize,
    cols: usize,
    w: &[f32],
    ldw: usize,
    max_iterations: usize,
    tolerance: f64,
) -> Result<Spectral> {
    let f = "spectral_norm_f32";
    check_matrix(f, rows, cols, w, ldw)?;
    check_tolerance(f, tolerance)?;
    lanczos::largest(&Gram { ctx, function: f, rows, cols, w, ldw, scale: None }, max_iterations, tolerance)
}

/// ‖W·D‖₂ with D = diag(φ'(z_prev)): the norm of the Jacobian that takes the gradient back through one layer,
/// δ_prev = D·Wᵀ·δ (whitepaper §3, §6).
///
/// `w` `[out_features, in_features]`, `z_prev` `[in_features]` the pre-activations of the layer below, `act` and `act_param`
/// its activation. The product of these norms over the layers bounds what is left of a gradient, and their geometric mean
/// is the rate α that [`gradient_flow`](crate::monitor::gradient_flow) is not to exceed. Iteration, accuracy and limits as
/// [`spectral_norm_f32`]; φ' as [`activation_derivative_f32`](crate::activation::activation_derivative_f32), true where it
/// saturates.
///
/// # Errors
/// `InvalidSize`; `InvalidArgument` for a parameter that makes no sense for the activation or a tolerance that is not
/// finite or negative; `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn jacobian_norm_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    out_features: usize,
    in_features: usize,
    w: &[f32],
    z_prev: &[f32],
    max_iterations: usize,
    tolerance: f64,
) -> Result<Spectral> {
    let (f, rows, cols) = ("jacobian_norm_f32", out_features, in_features);
    check_len(f, "w", w, product(f, "w", &[rows, cols])?)?;
    check_len(f, "z_prev", z_prev, cols)?;
    check_tolerance(f, tolerance)?;
    let mut slopes = Scratch::take::<f32>(f, cols)?;
    let slopes = slopes.slice::<f32>(cols);
    activation::one_input(f, ctx, true, act, act_param, Some(z_prev), slopes)?;
    lanczos::largest(&Gram { ctx, function: f, rows, cols, w, ldw: cols, scale: Some(slopes) }, max_iterations, tolerance)
}

/// A matrix whose rows lie `ldw` apart, the last without padding.
fn check_matrix(f: &'static str, rows: usize, cols: usize, w: &[f32], ldw: usize) -> Result {
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    if ldw < cols {
        return Err(Error::invalid_size(f, format!("ldw is {ldw} but rows of w hold {cols} elements")));
    }
    let len = product(f, "w", &[rows, ldw])? - ldw + cols;
    if w.len() < len {
        return Err(Error::invalid_size(f, format!("w holds {} elements, expected at least {len}", w.len())));
    }
    Ok(())
}

fn check_tolerance(f: &'static str, tolerance: f64) -> Result {
    if tolerance.is_finite() && tolerance >= 0.0 {
        return Ok(());
    }
    Err(Error::invalid_argument(f, format!("tolerance is {tolerance}, expected a finite number ≥ 0")))
}
