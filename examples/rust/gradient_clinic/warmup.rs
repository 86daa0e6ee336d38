//! Training the transformer: norms before or after, with and without warm-up (whitepaper §18, §22).

use crate::course::{Course, Kind, Optimizer, State, right};
use crate::digits::CLASSES;
use crate::patient::Patient;
use crate::transformer::{Order, Size, Transformer};
use evenkeel::optim::{ClipOptions, Nonfinite, Schedule, ScheduleKind, grad_norm_f32};
use evenkeel::{Context, Result};

const BATCH: usize = 64;

#[derive(Clone, Copy)]
pub struct Plan {
    pub size: Size,
    pub epochs: usize,
    pub lr: f64,
    pub warmup: u64,
}

/// Post-norm and pre-norm.
pub struct Comparison {
    pub plan: Plan,
    /// ‖∂L/∂h‖₂ of each layer's input and the last's output, before training: pre-norm, post-norm.
    pub at_start: [Vec<f64>; 2],
    pub courses: Vec<Course>,
}

pub fn steps(patient: &Patient, plan: &Plan) -> u64 {
    4 * patient.split.steps(BATCH, plan.epochs)
}

pub fn comparison(ctx: &Context, seed: u64, plan: Plan, patient: &Patient, tick: &dyn Fn()) -> Result<Comparison> {
    let mut courses = Vec::new();
    for (name, order, warmup) in [
        ("pre-norm", Order::Pre, 0),
        ("pre-norm, warm-up", Order::Pre, plan.warmup),
        ("post-norm", Order::Post, 0),
        ("post-norm, warm-up", Order::Post, plan.warmup),
    ] {
        courses.push(train(ctx, seed, name, order, warmup, &plan, patient, tick)?);
    }
    let at_start =
        [first_norms(ctx, seed, Order::Pre, &plan, patient)?, first_norms(ctx, seed, Order::Post, &plan, patient)?];
    Ok(Comparison { plan, at_start, courses })
}

fn first_norms(ctx: &Context, seed: u64, order: Order, plan: &Plan, patient: &Patient) -> Result<Vec<f64>> {
    let mut model = Transformer::new(ctx, seed, order, plan.size)?;
    let images = &patient.split.train[..BATCH];
    let logits = model.forward(ctx, patient, images)?;
    model.backward(ctx, &logits, &patient.labels(images))?;
    let tensors: Vec<&[f32]> = model.dh.iter().map(|t| &t[..]).collect();
    let mut norms = vec![0.0; tensors.len()];
    grad_norm_f32(ctx, &tensors, Some(&mut norms))?;
    Ok(norms)
}

#[allow(clippy::too_many_arguments)]
fn train(
    ctx: &Context,
    seed: u64,
    name: &str,
    order: Order,
    warmup: u64,
    plan: &Plan,
    patient: &Patient,
    tick: &dyn Fn(),
) -> Result<Course> {
    let mut model = Transformer::new(ctx, seed, order, plan.size)?;
    let total_steps = patient.split.steps(BATCH, plan.epochs);
    let kind = ScheduleKind::Cosine;
    let schedule = Schedule { kind, base_lr: plan.lr, warmup_steps: warmup, total_steps, ..Default::default() };
    let clip = ClipOptions { nonfinite: Nonfinite::Propagate, ..Default::default() };
    let mut state = State::new(Optimizer { kind: Kind::Adam, clip, schedule }, &model.params);
    let mut course = Course { name: name.into(), losses: Vec::new(), norms: Vec::new(), clipped: 0, accuracy: 0.0 };
    'training: for epoch in 0..plan.epochs {
        for images in patient.split.epoch(ctx, seed, epoch)?.chunks(BATCH) {
            let logits = model.forward(ctx, patient, images)?;
            let loss = model.backward(ctx, &logits, &patient.labels(images))?;
            let report = state.update(ctx, &mut model.params, &model.grads)?;
            course.losses.push(loss);
            course.norms.push(report.grad_norm);
            tick();
            if !loss.is_finite() {
                break 'training;
            }
        }
    }
    let held_out = &patient.split.held_out;
    let logits = model.forward(ctx, patient, held_out)?;
    course.accuracy = right(&logits, &patient.labels(held_out), CLASSES) as f64 / held_out.len() as f64;
    Ok(course)
}
