//! Learning-rate schedules with warmup (whitepaper §18).

use crate::error::{Error, Result};

/// The shape of a [`Schedule`] after its warmup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(i32)]
pub enum ScheduleKind {
    /// base
    #[default]
    Constant = 0,
    /// base + (final − base)·p
    Linear = 1,
    /// final + (base − final)·(1 + cos πp) / 2
    Cosine = 2,
    /// base·√(W / (step + 1)), at least final, with W = max(warmup_steps, 1): meets the warmup without a jump.
    InverseSqrt = 3,
    /// base·decayᵏ, at least final, with k the whole number of `step_size` steps done
    Step = 4,
    /// base·decay^(t / step_size), at least final
    Exponential = 5,
}

/// A learning rate as a function of the step. See [`schedule_lr`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    pub kind: ScheduleKind,
    /// The rate after the warmup, at least 0. Default 1e-3.
    pub base_lr: f64,
    /// Where [`ScheduleKind::Linear`] and [`ScheduleKind::Cosine`] end, and the floor of the others that decay. At
    /// least 0; default 0.
    pub final_lr: f64,
    /// The factor of [`ScheduleKind::Step`] and [`ScheduleKind::Exponential`], in (0, 1]. Default 0.1.
    pub decay: f64,
    /// Steps in which the rate rises from base/warmup_steps to base. Default 0.
    pub warmup_steps: u64,
    /// All steps, warmup included: where [`ScheduleKind::Linear`] and [`ScheduleKind::Cosine`] reach `final_lr`, and stay.
    pub total_steps: u64,
    /// Steps that one `decay` takes, at least 1. Default 1.
    pub step_size: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            kind: ScheduleKind::Constant,
            base_lr: 1e-3,
            final_lr: 0.0,
            decay: 0.1,
            warmup_steps: 0,
            total_steps: 0,
            step_size: 1,
        }
    }
}

/// The learning rate of `step`, the first of which is 0.
///
/// While step < warmup_steps: base·(step + 1) / warmup_steps. After it, with t = step − warmup_steps and
/// p = min(1, t / (total_steps − warmup_steps)): the formula at each [`ScheduleKind`]. Whitepaper §18.
///
/// # Errors
/// `InvalidArgument` for a field out of its range, and for `total_steps` ≤ `warmup_steps` where p is needed.
///
/// ```
/// use evenkeel::optim::{Schedule, ScheduleKind, schedule_lr};
/// let schedule = Schedule { kind: ScheduleKind::Linear, base_lr: 1.0, warmup_steps: 4, total_steps: 14, ..Default::default() };
/// assert_eq!(schedule_lr(&schedule, 0), Ok(0.25));
/// assert_eq!(schedule_lr(&schedule, 9), Ok(0.5));
/// assert_eq!(schedule_lr(&schedule, 100), Ok(0.0));
/// ```
pub fn schedule_lr(schedule: &Schedule, step: u64) -> Result<f64> {
    let function = "schedule_lr";
    let Schedule { kind, base_lr, final_lr, decay, warmup_steps, total_steps, step_size } = *schedule;
    super::check_not_negative(function, &[("base_lr", base_lr), ("final_lr", final_lr)])?;
    let decays = matches!(kind, ScheduleKind::Step | ScheduleKind::Exponential);
    if decays && !(decay > 0.0 && decay <= 1.0) {
        return Err(Error::invalid_argument(function, format!("decay is {decay}, expected more than 0 and at most 1")));
    }
    if decays && step_size == 0 {
        return Err(Error::invalid_argument(function, "step_size is 0, expected at least 1"));
    }
    let ends = matches!(kind, ScheduleKind::Linear | ScheduleKind::Cosine);
    if ends && total_steps <= warmup_steps {
        let detail = format!("total_steps is {total_steps}, expected more than warmup_steps = {warmup_steps}");
        return Err(Error::invalid_argument(function, detail));
    }
    if step < warmup_steps {
        return Ok(base_lr * ((step + 1) as f64 / warmup_steps as f64));
    }
    let t = step - warmup_steps;
    let progress = || (t as f64 / (total_steps - warmup_steps) as f64).min(1.0);
    Ok(match kind {
        ScheduleKind::Constant => base_lr,
        ScheduleKind::Linear => {
            let p = progress();
            base_lr * (1.0 - p) + final_lr * p
        }
        ScheduleKind::Cosine => {
            let half = (1.0 + (std::f64::consts::PI * progress()).cos()) / 2.0;
            final_lr + (base_lr - final_lr) * half
        }
        ScheduleKind::InverseSqrt => {
            let w = warmup_steps.max(1) as f64;
            (base_lr * (w / (step as f64 + 1.0)).min(1.0).sqrt()).max(final_lr)
        }
        ScheduleKind::Step => (base_lr * decay.powf((t / step_size) as f64)).max(final_lr),
        ScheduleKind::Exponential => (base_lr * decay.powf(t as f64 / step_size as f64)).max(final_lr),
    })
}
