//! Three recipes and the loop that follows them.

use crate::args::Args;
use crate::digits::{CLASSES, PIXELS};
use crate::network::{Network, Pass, Tensors};
use crate::split::Split;
use evenkeel::activation::Activation;
use evenkeel::init::{Distribution, init_he_f32, init_normal_f32};
use evenkeel::monitor::{FlowReport, TensorStats, gradient_flow, tensor_stats_f32};
use evenkeel::optim::{
    AdamOptions, ClipMode, ClipOptions, Nonfinite, Schedule, ScheduleKind, SgdOptions, StepReport, clip_adam_f32,
    clip_sgd_f32, grad_norm_f32, schedule_lr,
};
use evenkeel::{Context, Result};
use indicatif::ProgressBar;

pub const LAYERS: usize = 16;
const WIDTH: usize = 64;
pub const BATCH: usize = 32;
/// Steps in which Adam's learning rate rises.
const WARMUP: u64 = 50;

/// How a network starts, what is between its layers, and how it is updated.
#[derive(Clone)]
pub struct Recipe {
    pub name: &'static str,
    pub text: &'static str,
    act: Activation,
    act_param: f32,
    /// Weights from N(0, std²); None: He's, for the activation's slope.
    std: Option<f32>,
    optimizer: Optimizer,
    clip: ClipOptions,
}

#[derive(Clone)]
enum Optimizer {
    Sgd {
        lr: f64,
    },
    /// `lr` after a warmup, then down to 0 along a cosine.
    Adam {
        lr: f64,
    },
}

/// Two that fail and one that follows whitepaper §5.4, §10.2, §11.1 and §17.
pub fn recipes() -> [Recipe; 3] {
    let unguarded = ClipOptions { nonfinite: Nonfinite::Propagate, ..Default::default() };
    [
        Recipe {
            name: "sigmoid",
            text: "sigmoid, weights N(0, 0.1²), SGD, no clipping",
            act: Activation::Sigmoid,
            act_param: 0.0,
            std: Some(0.1),
            optimizer: Optimizer::Sgd { lr: 0.1 },
            clip: unguarded,
        },
        Recipe {
            name: "large",
            text: "ReLU, weights N(0, 1²), SGD, no clipping",
            act: Activation::Relu,
            act_param: 0.0,
            std: Some(1.0),
            optimizer: Optimizer::Sgd { lr: 0.1 },
            clip: unguarded,
        },
        Recipe {
            name: "steady",
            text: "leaky ReLU, He initialization, Adam with warmup and cosine decay, gradient clipped to norm 1",
            act: Activation::LeakyRelu,
            act_param: 0.01,
            std: None,
            optimizer: Optimizer::Adam { lr: 2e-3 },
            clip: ClipOptions { mode: ClipMode::GlobalNorm, threshold: 1.0, ..Default::default() },
        },
    ]
}

/// δ = ∂L/∂z of every layer at one step.
#[derive(Clone)]
pub struct Picture {
    /// ‖δ‖₂ of each layer, from the input to the output.
    pub norms: Vec<f64>,
    /// What they say together.
    pub flow: FlowReport,
    /// The layer at the input, which the gradient reaches last, more closely.
    pub input_layer: TensorStats,
}

/// How a training went.
pub struct Outcome {
    pub recipe: Recipe,
    /// At the first step, before anything has moved.
    pub first: Picture,
    /// At the last.
    pub last: Picture,
    /// Mean training loss of each epoch; the last may be NaN.
    pub losses: Vec<f64>,
    pub steps: u64,
    /// Steps whose gradient was clipped.
    pub clipped: u64,
    /// Loss of the first batch, before anything has moved.
    pub first_loss: f64,
    /// ‖g‖₂ over all weights and biases at the first step.
    pub first_norm: f64,
    /// The loss was no longer finite at the last step.
    pub diverged: bool,
    pub accuracy: f64,
}

/// Trains one network, until the epochs are over or the loss is no longer a number.
pub fn train(ctx: &Context, recipe: &Recipe, args: &Args, split: &Split, bar: &ProgressBar) -> Result<Outcome> {
    let mut network = start(ctx, args.seed, recipe)?;
    let mut pass = network.pass(BATCH);
    let mut state = State::new(&network, split.steps(BATCH, args.epochs));
    let mut first = None;
    let mut last = None;
    let mut losses = Vec::new();
    let (mut clipped, mut first_loss, mut first_norm, mut diverged) = (0, 0.0, 0.0, false);
    for epoch in 0..args.epochs {
        let order = split.epoch(ctx, args.seed, epoch)?;
        let mut sum = 0.0;
        for rows in order.chunks(BATCH) {
            let labels: Vec<i64> = rows.iter().map(|&r| split.digits.labels[r]).collect();
            network.forward(ctx, &split.digits.pixels, rows, &mut pass)?;
            let loss = network.backward(ctx, &labels, &mut pass)?;
            sum += loss * rows.len() as f64;
            diverged = !loss.is_finite();
            if first.is_none() || diverged || state.step + 1 == state.steps {
                let now = picture(ctx, &network, &pass)?;
                first.get_or_insert_with(|| now.clone());
                last = Some(now);
            }
            let report = state.update(ctx, recipe, &mut network, &pass)?;
            if state.step == 1 {
                (first_loss, first_norm) = (loss, report.grad_norm);
            }
            clipped += u64::from(report.clip_factor < 1.0);
            bar.inc(1);
            if diverged {
                break;
            }
        }
        losses.push(sum / order.len() as f64);
        bar.set_message(format!("loss {:.3}", losses[epoch]));
        if diverged {
            break;
        }
    }
    let accuracy = network.accuracy(ctx, &split.digits.pixels, &split.digits.labels, &split.held_out)?;
    let (first, last) = first.zip(last).expect("at least one epoch of at least one batch");
    let recipe = recipe.clone();
    Ok(Outcome { recipe, first, last, losses, steps: state.step, clipped, first_loss, first_norm, diverged, accuracy })
}

/// A network with its first weights; biases start at 0.
fn start(ctx: &Context, seed: u64, recipe: &Recipe) -> Result<Network> {
    let mut features = [WIDTH; LAYERS + 1];
    features[0] = PIXELS;
    features[LAYERS] = CLASSES;
    let mut network = Network::new(&features, recipe.act, recipe.act_param);
    for (l, w) in network.weights.iter_mut().enumerate() {
        match recipe.std {
            Some(std) => init_normal_f32(ctx, seed, l as u64, 0.0, std, w)?,
            None => init_he_f32(ctx, seed, l as u64, Distribution::Normal, recipe.act_param, features[l], w)?,
        }
    }
    Ok(network)
}

fn picture(ctx: &Context, network: &Network, pass: &Pass) -> Result<Picture> {
    let deltas: Vec<&[f32]> = (0..network.layers()).map(|l| pass.delta_of(network, l)).collect();
    let mut norms = vec![0.0; deltas.len()];
    grad_norm_f32(ctx, &deltas, Some(&mut norms))?;
    Ok(Picture { flow: gradient_flow(&norms)?, input_layer: tensor_stats_f32(ctx, deltas[0])?, norms })
}

/// The optimizer's memory: two moments of every weight and bias.
struct State {
    m: Tensors,
    v: Tensors,
    /// Updates done, and to be done in all.
    step: u64,
    steps: u64,
}

impl State {
    fn new(network: &Network, steps: u64) -> State {
        let zeros = || network.weights.iter().chain(&network.biases).map(|t| vec![0.0; t.len()]).collect();
        State { m: zeros(), v: zeros(), step: 0, steps }
    }

    /// Clips and updates. The norm was collected by the backward pass, so the gradients are read once.
    fn update(&mut self, ctx: &Context, recipe: &Recipe, network: &mut Network, pass: &Pass) -> Result<StepReport> {
        self.step += 1;
        let clip = ClipOptions { known_sum_sq: pass.sum_sq.iter().sum(), ..recipe.clip };
        let grads: Vec<&[f32]> = pass.dw.iter().chain(&pass.dbias).map(|t| &t[..]).collect();
        let mut params = views(network.weights.iter_mut().chain(&mut network.biases));
        match recipe.optimizer {
            Optimizer::Sgd { lr } => {
                let sgd = SgdOptions { lr, ..Default::default() };
                clip_sgd_f32(ctx, &clip, &sgd, &mut params, &grads, None)
            }
            Optimizer::Adam { lr } => {
                let (kind, total_steps) = (ScheduleKind::Cosine, self.steps);
                let cosine = Schedule {
                    kind,
                    base_lr: lr,
                    warmup_steps: WARMUP.min(total_steps / 2),
                    total_steps,
                    ..Default::default()
                };
                let lr = schedule_lr(&cosine, self.step - 1)?;
                let adam = AdamOptions { lr, step: self.step, ..Default::default() };
                let (mut m, mut v) = (views(self.m.iter_mut()), views(self.v.iter_mut()));
                clip_adam_f32(ctx, &clip, &adam, &mut params, &grads, &mut m, &mut v)
            }
        }
    }
}

fn views<'a>(tensors: impl Iterator<Item = &'a mut Vec<f32>>) -> Vec<&'a mut [f32]> {
    tensors.map(|t| &mut t[..]).collect()
}
