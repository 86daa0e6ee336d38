//! Losses with their gradients, in one call: cross-entropy over classes, mean squared error, binary cross-entropy.
//!
//! Means are f64, summed in an order that the shape alone fixes. A gradient is that of the mean, times `grad_scale`,
//! which carries a loss scale or a share of a larger batch.
//!
//! ```
//! use evenkeel::Context;
//! use evenkeel::loss::mse_f32;
//!
//! let (mut loss, mut gradient) = (0.0, [0.0; 2]);
//! mse_f32(Context::global()?, 1.0, &[1.0, 2.0], &[0.0, 2.0], Some(&mut loss), Some(&mut gradient))?;
//! assert_eq!((loss, gradient), (0.5, [1.0, 0.0]));
//! # Ok::<(), evenkeel::Error>(())
//! ```

mod cross_entropy;
mod pointwise;

pub use cross_entropy::{cross_entropy_f32, cross_entropy_in_place_f32};
pub use pointwise::{bce_with_logits_f32, mse_f32};

use crate::error::{Error, Result};

/// A gradient times NaN or infinity is no gradient.
fn check_scale(function: &'static str, grad_scale: f32) -> Result {
    if grad_scale.is_finite() {
        return Ok(());
    }
    Err(Error::invalid_argument(function, format!("grad_scale is {grad_scale}, expected a finite number")))
}
