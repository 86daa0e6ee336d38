//! Clip and update: the end of a training step (whitepaper §11, §17 to §19).
//!
//! Gradients and parameters come as lists of tensors. An update unscales, checks, clips and applies the gradients in
//! at most two passes over them: one that takes the norm, one that writes the parameters; only the second when the
//! norm is already known ([`ClipOptions::known_sum_sq`]) or not needed. Gradients themselves are never written.
//!
//! Work is cut by elements over the whole list, so thousands of small tensors and one large tensor are both fine.
//! Results are the same bits for any number of threads and on every instruction set with FMA. Update rules are those
//! of PyTorch, restated with the formula at each function.
//!
//! ```
//! use evenkeel::Context;
//! use evenkeel::optim::{AdamOptions, ClipMode, ClipOptions, clip_adam_f32};
//!
//! let ctx = Context::global()?;
//! let (mut w, grad) = ([1.0, -1.0], [30.0, 40.0]);
//! let (mut m, mut v) = ([0.0; 2], [0.0; 2]);
//! let clip = ClipOptions { mode: ClipMode::GlobalNorm, threshold: 1.0, ..Default::default() };
//! let adam = AdamOptions { lr: 0.1, decoupled: true, weight_decay: 0.01, ..Default::default() };
//! let report = clip_adam_f32(ctx, &clip, &adam, &mut [&mut w], &[&grad], &mut [&mut m], &mut [&mut v])?;
//! assert_eq!((report.grad_norm, report.clip_factor), (50.0, 0.02));
//! assert!(w[0] < 0.9 && w[1] < -1.09);
//! # Ok::<(), evenkeel::Error>(())
//! ```

mod adagrad;
mod adam;
mod coef;
mod lanes;
mod lion;
pub(crate) mod lists;
mod loss_scale;
mod norm;
mod pass;
mod plan;
mod rmsprop;
mod schedule;
mod sgd;
mod step;
mod tensors;
mod update;

#[cfg(feature = "capi")]
pub(crate) use {
    adagrad::clip_adagrad,
    adam::clip_adam,
    lion::clip_lion,
    norm::{clip_by_norm, grad_norm},
    rmsprop::clip_rmsprop,
    sgd::clip_sgd,
    tensors::{Copies, Grads},
};

pub use adagrad::{AdagradOptions, clip_adagrad_f32};
pub use adam::{AdamOptions, SecondMoment, clip_adam_bf16, clip_adam_f16, clip_adam_f32};
pub use lion::{LionOptions, clip_lion_f32};
pub use loss_scale::{LossScaler, loss_scaler_update};
pub use norm::{clip_by_norm_f32, clip_by_value_f32, grad_norm_f32, unscale_f32};
pub use rmsprop::{RmspropOptions, clip_rmsprop_f32};
pub use schedule::{Schedule, ScheduleKind, schedule_lr};
pub use sgd::{SgdOptions, clip_sgd_bf16, clip_sgd_f16, clip_sgd_f32};
pub use step::{ClipMode, ClipOptions, Nonfinite, StepReport};

use crate::error::{Error, Result};

/// `InvalidArgument` unless `value` > 0.
fn check_positive(function: &'static str, name: &str, value: f32) -> Result {
    if value > 0.0 {
        return Ok(());
    }
    Err(Error::invalid_argument(function, format!("{name} is {value}, expected more than 0")))
}

/// `InvalidArgument` unless `loss_scale` is finite and > 0.
fn check_scale(function: &'static str, loss_scale: f32) -> Result {
    if loss_scale > 0.0 && loss_scale.is_finite() {
        return Ok(());
    }
    let detail = format!("loss_scale is {loss_scale}, expected a finite number more than 0");
    Err(Error::invalid_argument(function, detail))
}

/// `InvalidArgument` unless every value is finite and at least 0.
fn check_not_negative(function: &'static str, values: &[(&str, f64)]) -> Result {
    for &(name, value) in values {
        if !(value >= 0.0 && value.is_finite()) {
            let detail = format!("{name} is {value}, expected a finite number of at least 0");
            return Err(Error::invalid_argument(function, detail));
        }
    }
    Ok(())
}

/// `InvalidArgument` unless every value is in [0, 1).
fn check_decay(function: &'static str, values: &[(&str, f64)]) -> Result {
    for &(name, value) in values {
        if !(0.0..1.0).contains(&value) {
            let detail = format!("{name} is {value}, expected at least 0 and less than 1");
            return Err(Error::invalid_argument(function, detail));
        }
    }
    Ok(())
}

/// `InvalidArgument` unless `step` ≥ 1.
fn check_step(function: &'static str, step: u64) -> Result {
    if step >= 1 {
        return Ok(());
    }
    Err(Error::invalid_argument(function, "step is 0, expected 1 at the first update"))
}
