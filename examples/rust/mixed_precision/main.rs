//! Training in f16: plainly, which diverges, and with f32 masters and a loss scale, which trains.
//!
//! `cargo run --release --example mixed_precision [-- DATA]` trains the same network on handwritten digits in both ways. Weights,
//! activations and gradients are stored as f16 in both; products sum in f32.
//!
//! - **Plain**: parameters and Adam's moments live in f16. Gradients under 6e-8 are 0 there, so are their squares under 2.4e-4, and
//!   so is ε = 1e-8: sooner or later a parameter is divided by nothing.
//! - **Mixed**: the loss is multiplied by a scale that follows the gradients, f16 gradients go into a step on f32 masters, and the
//!   step writes the f16 copy for the next forward pass (whitepaper §19).

#[allow(dead_code)]
#[path = "../common/digits.rs"]
mod digits;

use digits::{CLASSES, Digits, PIXELS};
use evenkeel::activation::{Activation, activation_backward_f16, activation_forward_f16};
use evenkeel::convert::{convert_f16_to_f32, convert_f32_to_f16};
use evenkeel::init::{Distribution, init_he_f32};
use evenkeel::loss::cross_entropy_f32;
use evenkeel::matmul::{Transpose, matmul_f16};
use evenkeel::optim::*;
use evenkeel::{Context, Result, f16};

const WIDTH: [usize; 4] = [PIXELS, 128, 128, CLASSES];
const LAYERS: usize = WIDTH.len() - 1;
const BATCH: usize = 128;
const STEPS: usize = 300;

type Halves = Vec<Vec<f16>>;
type Floats = Vec<Vec<f32>>;

fn sized<T: Clone>(value: T, size: impl Fn(usize) -> usize) -> Vec<Vec<T>> {
    (0..LAYERS).map(|l| vec![value.clone(); size(l)]).collect()
}

fn views<T>(list: &mut [Vec<T>]) -> Vec<&mut [T]> {
    list.iter_mut().map(|t| &mut t[..]).collect()
}

fn weights(l: usize) -> usize {
    WIDTH[l] * WIDTH[l + 1]
}

/// A network in f16: what a pass reads and leaves.
struct Pass {
    /// Input of each layer, then the logits; pre-activations; their gradients; gradients of the weights.
    x: Halves,
    z: Halves,
    dz: Halves,
    dw: Halves,
    logits: Vec<f32>,
    dlogits: Vec<f32>,
    /// Room for a product in f32.
    wide: Vec<f32>,
}

impl Pass {
    fn new() -> Pass {
        let widest = BATCH.max(*WIDTH.iter().max().expect("layers")) * WIDTH.iter().max().expect("layers");
        Pass {
            x: sized(f16::ZERO, |l| BATCH * WIDTH[l]),
            z: sized(f16::ZERO, |l| BATCH * WIDTH[l + 1]),
            dz: sized(f16::ZERO, |l| BATCH * WIDTH[l + 1]),
            dw: sized(f16::ZERO, weights),
            logits: vec![0.0; BATCH * CLASSES],
            dlogits: vec![0.0; BATCH * CLASSES],
            wide: vec![0.0; widest],
        }
    }

    /// Loss of a batch; gradients of `scale` times it, all rounded to f16, as they would be stored.
    fn run(&mut self, ctx: &Context, w: &Halves, digits: &Digits, step: usize, scale: f32) -> Result<f64> {
        let images = digits.labels.len();
        let rows: Vec<usize> = (0..BATCH).map(|i| (step * BATCH + i) * 131 % images).collect();
        for (row, x) in rows.iter().zip(self.x[0].chunks_exact_mut(PIXELS)) {
            convert_f32_to_f16(ctx, &digits.pixels[row * PIXELS..][..PIXELS], x)?;
        }
        let labels: Vec<i64> = rows.iter().map(|&row| digits.labels[row]).collect();
        let (no, yes, silu) = (Transpose::No, Transpose::Yes, Activation::Silu);
        for l in 0..LAYERS {
            let (k, n) = (WIDTH[l], WIDTH[l + 1]);
            let wide = &mut self.wide[..BATCH * n];
            matmul_f16(ctx, no, yes, BATCH, n, k, 1.0, &self.x[l], k, &w[l], k, 0.0, wide, n)?;
            convert_f32_to_f16(ctx, wide, &mut self.z[l])?;
            if l + 1 < LAYERS {
                activation_forward_f16(ctx, silu, 0.0, &self.z[l], &mut self.x[l + 1])?;
            }
        }
        convert_f16_to_f32(ctx, &self.z[LAYERS - 1], &mut self.logits)?;
        let (mut loss, dlogits) = (0.0, Some(&mut self.dlogits[..]));
        cross_entropy_f32(ctx, 0.0, -1, scale, BATCH, CLASSES, &self.logits, &labels, None, Some(&mut loss), dlogits)?;
        convert_f32_to_f16(ctx, &self.dlogits, &mut self.dz[LAYERS - 1])?;
        for l in (0..LAYERS).rev() {
            let (k, n) = (WIDTH[l], WIDTH[l + 1]);
            let wide = &mut self.wide[..n * k];
            matmul_f16(ctx, yes, no, n, k, BATCH, 1.0, &self.dz[l], n, &self.x[l], k, 0.0, wide, k)?;
            convert_f32_to_f16(ctx, wide, &mut self.dw[l])?;
            if l > 0 {
                let wide = &mut self.wide[..BATCH * k];
                matmul_f16(ctx, no, no, BATCH, k, n, 1.0, &self.dz[l], n, &w[l], k, 0.0, wide, k)?;
                let mut dy = vec![f16::ZERO; BATCH * k];
                convert_f32_to_f16(ctx, wide, &mut dy)?;
                activation_backward_f16(ctx, silu, 0.0, &self.z[l - 1], &dy, &mut self.dz[l - 1])?;
            }
        }
        Ok(loss)
    }
}

fn start(ctx: &Context) -> Result<(Floats, Halves)> {
    let (mut w, mut half) = (sized(0.0f32, weights), sized(f16::ZERO, weights));
    for l in 0..LAYERS {
        init_he_f32(ctx, 1, l as u64, Distribution::Normal, 0.0, WIDTH[l], &mut w[l])?;
        convert_f32_to_f16(ctx, &w[l], &mut half[l])?;
    }
    Ok((w, half))
}

/// What happened: the last finite loss, and the step at which there was none any more.
struct Outcome {
    loss: f64,
    diverged: Option<usize>,
}

/// Adam as a program writes it whose tensors are f16: each result is rounded to f16.
fn plain(ctx: &Context, digits: &Digits) -> Result<Outcome> {
    let (_, mut w) = start(ctx)?;
    let (mut m, mut v) = (sized(f16::ZERO, weights), sized(f16::ZERO, weights));
    let (mut pass, mut last) = (Pass::new(), f64::NAN);
    let (rate, eps) = (1e-3f32, f16::from_f32(1e-8).to_f32());
    for step in 0..STEPS {
        let loss = pass.run(ctx, &w, digits, step, 1.0)?;
        if !loss.is_finite() {
            return Ok(Outcome { loss: last, diverged: Some(step) });
        }
        last = loss;
        let t = step as i32 + 1;
        let (c1, c2) = (1.0 - 0.9f32.powi(t), 1.0 - 0.999f32.powi(t));
        for l in 0..LAYERS {
            for (((w, g), m), v) in w[l].iter_mut().zip(&pass.dw[l]).zip(&mut m[l]).zip(&mut v[l]) {
                let g = g.to_f32();
                *m = f16::from_f32(0.9 * m.to_f32() + 0.1 * g);
                *v = f16::from_f32(0.999 * v.to_f32() + f16::from_f32(0.001 * g * g).to_f32());
                let update = rate * (m.to_f32() / c1) / ((v.to_f32() / c2).sqrt() + eps);
                *w = f16::from_f32(w.to_f32() - update);
            }
        }
    }
    Ok(Outcome { loss: last, diverged: None })
}

/// f32 masters behind f16 weights, and a loss scale.
fn mixed(ctx: &Context, digits: &Digits) -> Result<Outcome> {
    let (mut masters, mut w) = start(ctx)?;
    let (mut m, mut v) = (sized(0.0f32, weights), sized(0.0f32, weights));
    let mut scaler = LossScaler { scale: 16_777_216.0, growth_interval: 100, ..Default::default() };
    let (mut pass, mut last, mut step_of_adam, mut skipped) = (Pass::new(), f64::NAN, 1, 0);
    for step in 0..STEPS {
        let loss = pass.run(ctx, &w, digits, step, scaler.scale)?;
        if !loss.is_finite() {
            return Ok(Outcome { loss: last, diverged: Some(step) });
        }
        last = loss;
        let clip = ClipOptions { mode: ClipMode::GlobalNorm, loss_scale: scaler.scale, ..Default::default() };
        let adam = AdamOptions { step: step_of_adam, ..Default::default() };
        let grads: Vec<&[f16]> = pass.dw.iter().map(|t| &t[..]).collect();
        let [mut p, mut m, mut v] = [&mut masters, &mut m, &mut v].map(|list| views(list));
        let copies = Some(&mut views(&mut w)[..]);
        let report = clip_adam_f16(ctx, &clip, &adam, &mut p, &grads, &mut m, &mut v, copies)?;
        loss_scaler_update(&mut scaler, report.skipped)?;
        step_of_adam += !report.skipped as u64;
        skipped += report.skipped as usize;
    }
    println!("mixed: {skipped} steps skipped while the loss scale came down to {}", scaler.scale);
    Ok(Outcome { loss: last, diverged: None })
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or("data/digits.csv".into());
    let digits = digits::load(path.as_ref()).map_err(|e| e.to_string())?;
    let ctx = Context::global()?;
    let outcomes = [("plain f16", plain(ctx, &digits)?), ("mixed", mixed(ctx, &digits)?)];
    for (name, outcome) in &outcomes {
        match outcome.diverged {
            Some(step) => println!("{name}: diverged at step {step}, after a loss of {:.4}", outcome.loss),
            None => println!("{name}: loss {:.4} after {STEPS} steps", outcome.loss),
        }
    }
    let [(_, plain), (_, mixed)] = outcomes;
    if plain.diverged.is_none() || mixed.diverged.is_some() || mixed.loss > 0.1 {
        return Err("expected plain f16 to diverge, and mixed precision to end below a loss of 0.1".into());
    }
    Ok(())
}
