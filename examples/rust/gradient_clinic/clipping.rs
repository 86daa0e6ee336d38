//! A recurrent network learns to read digits pixel by pixel, with and without clipping (whitepaper §7, §11).

use crate::course::{Course, Kind, Optimizer, State, right};
use crate::digits::{CLASSES, PIXELS};
use crate::patient::Patient;
use evenkeel::init::{init_normal_f32, init_orthogonal_f32};
use evenkeel::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};
use evenkeel::loss::cross_entropy_f32;
use evenkeel::optim::{ClipMode, ClipOptions, Nonfinite, Schedule};
use evenkeel::recurrent::{rnn_backward_f32, rnn_forward_f32};
use evenkeel::{Activation, Context, Result};

const HIDDEN: usize = 64;
const BATCH: usize = 32;
/// Pixels that one step reads.
const INPUT: usize = 2;
const SEQ: usize = PIXELS / INPUT;
const TANH: Activation = Activation::Tanh;

/// The threshold c of the clipped training.
pub const THRESHOLD: f32 = 1.0;
pub const LR: f64 = 0.03;
/// W_hh starts as an orthogonal matrix times this: over 1, so that gradients grow through time (§7).
pub const GAIN: f32 = 1.2;

/// The two trainings. `tick` hears of each step.
pub fn trainings(ctx: &Context, seed: u64, epochs: usize, patient: &Patient, tick: &dyn Fn()) -> Result<Vec<Course>> {
    let none = ClipOptions { nonfinite: Nonfinite::Propagate, ..Default::default() };
    let by_norm = ClipOptions { mode: ClipMode::GlobalNorm, threshold: THRESHOLD, ..none };
    [("without clipping", none), ("clipped to norm 1", by_norm)]
        .into_iter()
        .map(|(name, clip)| train(ctx, seed, name, clip, epochs, patient, tick))
        .collect()
}

pub fn steps(patient: &Patient, epochs: usize) -> u64 {
    2 * patient.split.steps(BATCH, epochs)
}

/// Parameters: W_ih, W_hh, bias, W_head.
struct Reader {
    params: [Vec<f32>; 4],
    grads: [Vec<f32>; 4],
    h: Vec<f32>,
    z: Vec<f32>,
}

fn train(
    ctx: &Context,
    seed: u64,
    name: &str,
    clip: ClipOptions,
    epochs: usize,
    patient: &Patient,
    tick: &dyn Fn(),
) -> Result<Course> {
    let mut reader = Reader::new(ctx, seed)?;
    let schedule = Schedule { base_lr: LR, ..Default::default() };
    let mut state = State::new(Optimizer { kind: Kind::Sgd, clip, schedule }, &reader.params);
    let mut course = Course { name: name.into(), losses: Vec::new(), norms: Vec::new(), clipped: 0, accuracy: 0.0 };
    'training: for epoch in 0..epochs {
        for images in patient.split.epoch(ctx, seed, epoch)?.chunks(BATCH) {
            let loss = reader.step(ctx, patient, images)?;
            let report = state.update(ctx, &mut reader.params, &reader.grads)?;
            course.losses.push(loss);
            course.norms.push(report.grad_norm);
            course.clipped += usize::from(report.clip_factor < 1.0);
            tick();
            if !loss.is_finite() {
                break 'training;
            }
        }
    }
    let held_out = &patient.split.held_out;
    let logits = reader.forward(ctx, &sequence(patient, held_out), held_out.len())?;
    course.accuracy = right(&logits, &patient.labels(held_out), CLASSES) as f64 / held_out.len() as f64;
    Ok(course)
}

/// The images as [SEQ, images, INPUT].
fn sequence(patient: &Patient, images: &[usize]) -> Vec<f32> {
    let mut x = Vec::with_capacity(images.len() * PIXELS);
    for t in 0..SEQ {
        x.extend(images.iter().flat_map(|&i| &patient.pixels(i)[t * INPUT..][..INPUT]));
    }
    x
}

impl Reader {
    fn new(ctx: &Context, seed: u64) -> Result<Reader> {
        let mut params = [HIDDEN * INPUT, HIDDEN * HIDDEN, HIDDEN, CLASSES * HIDDEN].map(|n| vec![0.0; n]);
        init_normal_f32(ctx, seed, 1, 0.0, 0.3, &mut params[0])?;
        init_orthogonal_f32(ctx, seed, 2, GAIN, HIDDEN, HIDDEN, &mut params[1])?;
        init_normal_f32(ctx, seed, 3, 0.0, 1.0 / (HIDDEN as f32).sqrt(), &mut params[3])?;
        Ok(Reader { grads: params.clone(), params, h: Vec::new(), z: Vec::new() })
    }

    /// The logits of `batch` images.
    fn forward(&mut self, ctx: &Context, x: &[f32], batch: usize) -> Result<Vec<f32>> {
        let [w_ih, w_hh, bias, head] = &self.params;
        self.h.resize(SEQ * batch * HIDDEN, 0.0);
        self.z.resize(SEQ * batch * HIDDEN, 0.0);
        let (h, z, bias) = (&mut self.h, &mut self.z, Some(&bias[..]));
        rnn_forward_f32(ctx, TANH, 0.0, SEQ, batch, INPUT, HIDDEN, x, None, w_ih, w_hh, bias, None, h, z)?;
        let mut logits = vec![0.0; batch * CLASSES];
        let last = &h[(SEQ - 1) * batch * HIDDEN..];
        let identity = Activation::Identity;
        linear_forward_f32(ctx, identity, 0.0, batch, HIDDEN, CLASSES, last, head, None, None, &mut logits)?;
        Ok(logits)
    }

    /// The loss of the images, and its gradients in `grads`.
    fn step(&mut self, ctx: &Context, patient: &Patient, images: &[usize]) -> Result<f64> {
        let batch = images.len();
        let x = sequence(patient, images);
        let mut dlogits = self.forward(ctx, &x, batch)?;
        let (labels, mut loss) = (patient.labels(images), 0.0);
        let logits = dlogits.clone();
        let dl = Some(&mut dlogits[..]);
        cross_entropy_f32(ctx, 0.0, -1, 1.0, batch, CLASSES, &logits, &labels, None, Some(&mut loss), dl)?;
        let ([w_ih, w_hh, _, head], [dw_ih, dw_hh, dbias, dhead]) = (&self.params, &mut self.grads);
        let (h, z) = (&self.h, &self.z);
        let last = &h[(SEQ - 1) * batch * HIDDEN..];
        linear_backward_weight_f32(ctx, batch, HIDDEN, CLASSES, &dlogits, last, false, dhead, None, None)?;
        let mut dh = vec![0.0; batch * HIDDEN];
        let identity = Activation::Identity;
        linear_backward_input_f32(ctx, identity, 0.0, batch, HIDDEN, CLASSES, &dlogits, head, None, &mut dh)?;
        let (last, dbias) = (Some(&dh[..]), Some(&mut dbias[..]));
        rnn_backward_f32(
            ctx, TANH, 0.0, SEQ, batch, INPUT, HIDDEN, &x, None, w_ih, w_hh, None, h, z, None, last, false, None,
            dw_ih, dw_hh, dbias, None, None,
        )?;
        Ok(loss)
    }
}
