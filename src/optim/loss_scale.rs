//! Dynamic loss scaling: L' = s·L, with s as large as the gradients allow (whitepaper §19).

use crate::error::{Error, Result};

/// A loss scale that follows the gradients. See [`loss_scaler_update`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScaler {
    /// s: the loss is multiplied by it, the gradients are divided by it. Default 65536.
    pub scale: f32,
    /// More than 1. Default 2.
    pub growth_factor: f32,
    /// In (0, 1). Default 0.5.
    pub backoff_factor: f32,
    /// Steps without a NaN or infinite gradient after which the scale grows; at least 1. Default 2000.
    pub growth_interval: u32,
    /// Such steps since the scale last changed.
    pub good_steps: u32,
    /// The scale never falls below, however many steps fail. Default 1.
    pub min_scale: f32,
    /// The scale never grows beyond. Default 2²⁴.
    pub max_scale: f32,
}

impl Default for LossScaler {
    fn default() -> Self {
        LossScaler {
            scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            good_steps: 0,
            min_scale: 1.0,
            max_scale: 16_777_216.0,
        }
    }
}

/// Updates the scale after a step that met a NaN or infinite gradient, or did not.
///
/// After a bad one: scale := max(scale·backoff_factor, min_scale), and counting starts anew. After `growth_interval`
/// good ones in a row: scale := min(scale·growth_factor, max_scale). Whitepaper §19.
///
/// # Errors
/// `InvalidArgument` for a field out of its range; the scaler is then as it was.
pub fn loss_scaler_update(scaler: &mut LossScaler, found_nonfinite: bool) -> Result {
    let LossScaler { scale, growth_factor, backoff_factor, growth_interval, good_steps, min_scale, max_scale } =
        *scaler;
    let bad = |detail: String| Err(Error::invalid_argument("loss_scaler_update", detail));
    if !(min_scale > 0.0 && max_scale.is_finite() && min_scale <= max_scale) {
        return bad(format!("min_scale is {min_scale} and max_scale {max_scale}, expected 0 < min ≤ max < infinity"));
    }
    if !(min_scale..=max_scale).contains(&scale) {
        return bad(format!("scale is {scale}, expected {min_scale} to {max_scale}"));
    }
    if !(growth_factor > 1.0 && growth_factor.is_finite()) {
        return bad(format!("growth_factor is {growth_factor}, expected a finite number more than 1"));
    }
    if !(backoff_factor > 0.0 && backoff_factor < 1.0) {
        return bad(format!("backoff_factor is {backoff_factor}, expected more than 0 and less than 1"));
    }
    if growth_interval == 0 {
        return bad("growth_interval is 0, expected at least 1".into());
    }
    if found_nonfinite {
        scaler.scale = (scale * backoff_factor).max(min_scale);
        scaler.good_steps = 0;
    } else if good_steps >= growth_interval - 1 {
        // A product beyond f32 is infinite, and limited like any other.
        scaler.scale = (scale * growth_factor).min(max_scale);
        scaler.good_steps = 0;
    } else {
        scaler.good_steps = good_steps + 1;
    }
    Ok(())
}
