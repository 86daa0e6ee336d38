//! What a training leaves behind, and the update at the end of its steps.

use evenkeel::optim::{
    AdamOptions, ClipOptions, Schedule, SgdOptions, StepReport, clip_adam_f32, clip_sgd_f32, schedule_lr,
};
use evenkeel::{Context, Result};

/// One training.
pub struct Course {
    pub name: String,
    /// Loss of every step; after a loss that is no number there are no more.
    pub losses: Vec<f64>,
    /// ‖g‖₂ of every step, before clipping.
    pub norms: Vec<f64>,
    /// Steps whose gradient was clipped.
    pub clipped: usize,
    /// The share of held-out images recognized.
    pub accuracy: f64,
}

impl Course {
    /// The mean loss of the last steps; NaN if it diverged.
    pub fn final_loss(&self) -> f64 {
        let tail = &self.losses[self.losses.len().saturating_sub(20)..];
        tail.iter().sum::<f64>() / tail.len() as f64
    }
}

/// An update rule with its learning rate over time.
#[derive(Clone, Copy)]
pub struct Optimizer {
    pub kind: Kind,
    pub clip: ClipOptions,
    pub schedule: Schedule,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// With momentum 0.9.
    Sgd,
    Adam,
}

/// The optimizer's memory.
pub struct State {
    optimizer: Optimizer,
    m: Vec<Vec<f32>>,
    v: Vec<Vec<f32>>,
    step: u64,
}

impl State {
    pub fn new(optimizer: Optimizer, params: &[Vec<f32>]) -> State {
        let zeros = || params.iter().map(|p| vec![0.0; p.len()]).collect();
        State { optimizer, m: zeros(), v: zeros(), step: 0 }
    }

    /// Clips and updates.
    pub fn update(&mut self, ctx: &Context, params: &mut [Vec<f32>], grads: &[Vec<f32>]) -> Result<StepReport> {
        let Optimizer { kind, clip, schedule } = &self.optimizer;
        let lr = schedule_lr(schedule, self.step)?;
        self.step += 1;
        let (mut params, mut m) = (views(params), views(&mut self.m));
        let grads: Vec<&[f32]> = grads.iter().map(|g| &g[..]).collect();
        if *kind == Kind::Sgd {
            let sgd = SgdOptions { lr, momentum: 0.9, ..Default::default() };
            clip_sgd_f32(ctx, clip, &sgd, &mut params, &grads, Some(&mut m))
        } else {
            let adam = AdamOptions { lr, beta2: 0.98, step: self.step, ..Default::default() };
            clip_adam_f32(ctx, clip, &adam, &mut params, &grads, &mut m, &mut views(&mut self.v))
        }
    }
}

fn views(tensors: &mut [Vec<f32>]) -> Vec<&mut [f32]> {
    tensors.iter_mut().map(|t| &mut t[..]).collect()
}

/// How many rows of `logits` are largest at the label. A row of NaN is not.
pub fn right(logits: &[f32], labels: &[i64], classes: usize) -> usize {
    let is_right =
        |(row, &label): (&[f32], &i64)| (0..classes).all(|c| c == label as usize || row[label as usize] > row[c]);
    logits.chunks_exact(classes).zip(labels).filter(|&pair| is_right(pair)).count()
}
