//! What a training loop keeps from step to step: the loss scale, the learning rate.

use super::choice;
use super::record::{self, Report, record};
use super::status::{ek_status, guard};
use super::tensor::{Out, check};
use crate::error::Error;
use crate::optim::{LossScaler, Schedule, ScheduleKind, loss_scaler_update, schedule_lr};

/// A loss scale that follows the gradients: the loss is multiplied by it, and gradients are divided by it (the loss_scale of
/// ek_clip_options) before a step. Set it with ek_loss_scaler_init, then change fields; ek_loss_scaler_update moves it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_loss_scaler {
    /// sizeof(ek_loss_scaler) in the header that the program was built with.
    pub struct_size: usize,
    /// The scale. 65536 by default.
    pub scale: f32,
    /// More than 1. 2 by default.
    pub growth_factor: f32,
    /// More than 0 and less than 1. 0.5 by default.
    pub backoff_factor: f32,
    /// Steps without a NaN or infinite gradient after which the scale grows; at least 1. 2000 by default.
    pub growth_interval: u32,
    /// Such steps since the scale last changed. 0 by default.
    pub good_steps: u32,
    /// The scale never falls below, however many steps fail. 1 by default.
    pub min_scale: f32,
    /// The scale never grows beyond. 2^24 by default.
    pub max_scale: f32,
}

record! { ek_loss_scaler {
    scale: 65536.0,
    growth_factor: 2.0,
    backoff_factor: 0.5,
    growth_interval: 2000,
    good_steps: 0,
    min_scale: 1.0,
    max_scale: 16_777_216.0,
} }

/// Sets the defaults. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_loss_scaler_init(scaler: *mut ek_loss_scaler) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(scaler) };
}

/// Updates the scale after a step that met a NaN or infinite gradient, or did not.
///
/// After a bad one: scale := max(scale * backoff_factor, min_scale), and counting starts anew. After growth_interval good ones in a
/// row: scale := min(scale * growth_factor, max_scale). found_nonfinite is ek_step_report's skipped, or whether ek_unscale_f32
/// counted any.
///
/// Errors, the scaler then being as it was: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_ARGUMENT (a field out of its range,
/// alignment, struct_size).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_loss_scaler_update(scaler: *mut ek_loss_scaler, found_nonfinite: bool) -> ek_status {
    let f = "loss_scaler_update";
    guard(f, || {
        // SAFETY: the caller's promise.
        let mut s = unsafe { record::read(f, "scaler", scaler.cast_const()) }?;
        // SAFETY: as above.
        let out = unsafe { Report::new(f, "scaler", scaler, false) }?;
        let mut scaler = LossScaler {
            scale: s.scale,
            growth_factor: s.growth_factor,
            backoff_factor: s.backoff_factor,
            growth_interval: s.growth_interval,
            good_steps: s.good_steps,
            min_scale: s.min_scale,
            max_scale: s.max_scale,
        };
        loss_scaler_update(&mut scaler, found_nonfinite)?;
        (s.scale, s.good_steps) = (scaler.scale, scaler.good_steps);
        out.set(&s);
        Ok(())
    })
}

/// The shape of a schedule after its warm-up: one of EK_SCHEDULE_. base and final are base_lr and final_lr, t = step -
/// warmup_steps, p = min(1, t / (total_steps - warmup_steps)).
pub type ek_schedule_kind = i32;

/// base
pub const EK_SCHEDULE_CONSTANT: ek_schedule_kind = 0;
/// base + (final - base) * p
pub const EK_SCHEDULE_LINEAR: ek_schedule_kind = 1;
/// final + (base - final) * (1 + cos(pi * p)) / 2
pub const EK_SCHEDULE_COSINE: ek_schedule_kind = 2;
/// base * sqrt(max(warmup_steps, 1) / (step + 1)), at least final
pub const EK_SCHEDULE_INVERSE_SQRT: ek_schedule_kind = 3;
/// base * decay^k, at least final, with k = t / step_size rounded down
pub const EK_SCHEDULE_STEP: ek_schedule_kind = 4;
/// base * decay^(t / step_size), at least final
pub const EK_SCHEDULE_EXPONENTIAL: ek_schedule_kind = 5;

const KINDS: [ScheduleKind; 6] = [
    ScheduleKind::Constant,
    ScheduleKind::Linear,
    ScheduleKind::Cosine,
    ScheduleKind::InverseSqrt,
    ScheduleKind::Step,
    ScheduleKind::Exponential,
];

const _: () = {
    assert!(EK_SCHEDULE_CONSTANT == ScheduleKind::Constant as i32 && EK_SCHEDULE_LINEAR == ScheduleKind::Linear as i32);
    assert!(EK_SCHEDULE_COSINE == ScheduleKind::Cosine as i32 && EK_SCHEDULE_STEP == ScheduleKind::Step as i32);
    assert!(EK_SCHEDULE_INVERSE_SQRT == ScheduleKind::InverseSqrt as i32);
    assert!(EK_SCHEDULE_EXPONENTIAL == ScheduleKind::Exponential as i32);
};

/// A learning rate as a function of the step. Set it with ek_schedule_init, then change fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_schedule {
    /// sizeof(ek_schedule) in the header that the program was built with.
    pub struct_size: usize,
    /// One of EK_SCHEDULE_; EK_SCHEDULE_CONSTANT by default.
    pub kind: ek_schedule_kind,
    /// The rate after the warm-up, at least 0. 1e-3 by default.
    pub base_lr: f64,
    /// Where EK_SCHEDULE_LINEAR and EK_SCHEDULE_COSINE end, and the floor of the others that decay. At least 0; 0 by default.
    pub final_lr: f64,
    /// The factor of EK_SCHEDULE_STEP and EK_SCHEDULE_EXPONENTIAL, more than 0 and at most 1. 0.1 by default.
    pub decay: f64,
    /// Steps in which the rate rises from base_lr / warmup_steps to base_lr. 0 by default.
    pub warmup_steps: u64,
    /// All steps, warm-up included: where EK_SCHEDULE_LINEAR and EK_SCHEDULE_COSINE reach final_lr, and stay. 0 by default.
    pub total_steps: u64,
    /// Steps that one decay takes, at least 1. 1 by default.
    pub step_size: u64,
}

record! { ek_schedule {
    kind: EK_SCHEDULE_CONSTANT,
    base_lr: 1e-3,
    final_lr: 0.0,
    decay: 0.1,
    warmup_steps: 0,
    total_steps: 0,
    step_size: 1,
} }

/// Sets the defaults: a constant rate of 1e-3. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_schedule_init(schedule: *mut ek_schedule) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(schedule) };
}

/// *lr = the learning rate of a step, the first of which is 0. While step < warmup_steps: base_lr * (step + 1) / warmup_steps. After
/// it: the formula of the kind.
///
/// Aliasing: lr does not overlap schedule.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_ARGUMENT (a field out of its range, total_steps <= warmup_steps where p is
/// needed, alignment, struct_size), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_schedule_lr(schedule: *const ek_schedule, step: u64, lr: *mut f64) -> ek_status {
    let f = "schedule_lr";
    guard(f, || {
        // SAFETY: the caller's promise.
        let s = unsafe { record::read(f, "schedule", schedule) }?;
        let lr = Out::new("lr", lr, &[1]);
        check(f, &[&lr])?;
        let (from, size) = (schedule.addr(), s.struct_size);
        if lr.address() < from.saturating_add(size) && from < lr.address() + size_of::<f64>() {
            return Err(Error::overlap(f, "lr overlaps schedule"));
        }
        let kind = choice(f, "schedule->kind", s.kind, |k| KINDS.into_iter().find(|kind| *kind as i32 == k))?;
        let schedule = Schedule {
            kind,
            base_lr: s.base_lr,
            final_lr: s.final_lr,
            decay: s.decay,
            warmup_steps: s.warmup_steps,
            total_steps: s.total_steps,
            step_size: s.step_size,
        };
        let rate = schedule_lr(&schedule, step)?;
        // SAFETY: checked above.
        unsafe { lr.slice()[0] = rate };
        Ok(())
    })
}
