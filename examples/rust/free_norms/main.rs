//! Clipping for nothing: the norm of all gradients comes with the gradients, and the step needs no pass of its own for it.
//!
//! `cargo run --release --example free_norms [-- DATA]` trains a network on handwritten digits with its gradients clipped to
//! a global norm, and measures on the way, by turns on the same gradients, what the norm and the clipping cost.

#[allow(dead_code)]
#[path = "../common/digits.rs"]
mod digits;

use digits::{CLASSES, PIXELS};
use evenkeel::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};
use evenkeel::loss::cross_entropy_f32;
use evenkeel::optim::{ClipMode, ClipOptions, Nonfinite, SgdOptions, StepReport, clip_sgd_f32, grad_norm_f32};
use evenkeel::{Activation, Context, Result, init::init_he_f32};
use std::time::Instant;

const WIDTH: [usize; 5] = [PIXELS, 1024, 1024, 1024, CLASSES];
const LAYERS: usize = WIDTH.len() - 1;
const BATCH: usize = 128;
const EPOCHS: usize = 3;

/// One tensor for each layer.
type Tensors = Vec<Vec<f32>>;

fn tensors(size: impl Fn(usize) -> usize) -> Tensors {
    (0..LAYERS).map(|l| vec![0.0; size(l)]).collect()
}

fn views(list: &mut Tensors) -> Vec<&mut [f32]> {
    list.iter_mut().map(|t| &mut t[..]).collect()
}

/// Weights with momentum, and how they are clipped.
struct Model {
    clip: ClipOptions,
    w: Tensors,
    momentum: Tensors,
}

impl Model {
    fn new(ctx: &Context, mode: ClipMode) -> Result<Model> {
        let mut w = tensors(|l| WIDTH[l] * WIDTH[l + 1]);
        for (l, w) in w.iter_mut().enumerate() {
            init_he_f32(ctx, 1, l as u64, evenkeel::init::Distribution::Normal, 0.0, WIDTH[l], w)?;
        }
        let momentum = w.clone();
        Ok(Model { clip: ClipOptions { mode, threshold: 0.5, ..Default::default() }, w, momentum })
    }

    fn step(&mut self, ctx: &Context, first_step: bool, grads: &[&[f32]]) -> Result<StepReport> {
        let sgd = SgdOptions { lr: 0.02, momentum: 0.9, first_step, ..Default::default() };
        clip_sgd_f32(ctx, &self.clip, &sgd, &mut views(&mut self.w), grads, Some(&mut views(&mut self.momentum)))
    }
}

/// The least seconds that each of several ways has taken.
struct Race<const N: usize>([f64; N]);

impl<const N: usize> Race<N> {
    fn time<T>(&mut self, way: usize, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        self.0[way] = self.0[way].min(start.elapsed().as_secs_f64());
        result
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or("data/digits.csv".into());
    let digits = digits::load(path.as_ref()).map_err(|e| e.to_string())?;
    let ctx = Context::global()?;
    let (silu, none) = (Activation::Silu, Activation::Identity);
    let mut x = tensors(|l| BATCH * WIDTH[l]);
    let mut z = tensors(|l| BATCH * WIDTH[l + 1]);
    let mut dz = z.clone();
    let mut dw = tensors(|l| WIDTH[l] * WIDTH[l + 1]);
    // The model in use, and two that take the same gradients to be timed beside it.
    let mut known = Model::new(ctx, ClipMode::GlobalNorm)?;
    let mut computed = Model::new(ctx, ClipMode::GlobalNorm)?;
    let mut unclipped = Model::new(ctx, ClipMode::None)?;
    // A step that neither clips nor checks. The sum is given so that it is not taken for the report either.
    unclipped.clip = ClipOptions { nonfinite: Nonfinite::Propagate, known_sum_sq: 0.0, ..unclipped.clip };
    let (mut backward, mut step) = (Race([f64::INFINITY; 2]), Race([f64::INFINITY; 3]));
    let mut steps = 0;

    for epoch in 1..=EPOCHS {
        let (mut loss, mut clipped) = (0.0, 0);
        let batches = digits.labels.len() / BATCH;
        for batch in 0..batches {
            // Strided, because the file holds writer after writer.
            let rows = || (0..BATCH).map(|i| i * batches + batch);
            for (row, x) in rows().zip(x[0].chunks_exact_mut(PIXELS)) {
                x.copy_from_slice(&digits.pixels[row * PIXELS..][..PIXELS]);
            }
            let labels: Vec<i64> = rows().map(|row| digits.labels[row]).collect();
            for l in 0..LAYERS {
                let (fan_in, fan_out) = (WIDTH[l], WIDTH[l + 1]);
                let (before, after) = x.split_at_mut(l + 1);
                let (act, y, z) = match after.first_mut() {
                    Some(next) => (silu, next, Some(&mut z[l][..])),
                    None => (none, &mut z[l], None),
                };
                linear_forward_f32(ctx, act, 0.0, BATCH, fan_in, fan_out, &before[l], &known.w[l], None, z, y)?;
            }
            let (logits, dlogits) = (&z[LAYERS - 1], &mut dz[LAYERS - 1]);
            cross_entropy_f32(
                ctx,
                0.0,
                -1,
                1.0,
                BATCH,
                CLASSES,
                logits,
                &labels,
                None,
                Some(&mut loss),
                Some(dlogits),
            )?;
            // Backward twice: without the sum of squares, then with it.
            let mut sum_sq = 0.0;
            for with in [false, true] {
                backward.time(with as usize, || -> Result {
                    for l in (0..LAYERS).rev() {
                        let (fan_in, fan_out) = (WIDTH[l], WIDTH[l + 1]);
                        let mut part = 0.0;
                        let sum = with.then_some(&mut part);
                        linear_backward_weight_f32(
                            ctx, BATCH, fan_in, fan_out, &dz[l], &x[l], false, &mut dw[l], None, sum,
                        )?;
                        sum_sq += part;
                        if l > 0 {
                            let (below, above) = dz.split_at_mut(l);
                            let (w, z, dx) = (&known.w[l], Some(&z[l - 1][..]), &mut below[l - 1]);
                            linear_backward_input_f32(ctx, silu, 0.0, BATCH, fan_in, fan_out, &above[0], w, z, dx)?;
                        }
                    }
                    Ok(())
                })?;
            }
            let grads: Vec<&[f32]> = dw.iter().map(|t| &t[..]).collect();
            let first = steps == 0;
            step.time(0, || unclipped.step(ctx, first, &grads))?;
            step.time(1, || computed.step(ctx, first, &grads))?;
            known.clip.known_sum_sq = sum_sq;
            let report = step.time(2, || known.step(ctx, first, &grads))?;
            // It is the norm.
            assert!((report.grad_norm / grad_norm_f32(ctx, &grads, None)? - 1.0).abs() < 1e-12);
            clipped += (report.clip_factor < 1.0) as usize;
            steps += 1;
        }
        println!("epoch {epoch}: last loss {loss:.4}, {clipped} of {batches} steps clipped");
    }

    let parameters: usize = dw.iter().map(Vec::len).sum();
    println!(
        "\n{parameters} parameters, {}, {} threads; best of {steps} steps, in milliseconds",
        ctx.isa().name(),
        ctx.num_threads()
    );
    let ms = |seconds: f64| 1e3 * seconds;
    println!("  backward pass                       {:7.3}", ms(backward.0[0]));
    println!("  the same with the sum of squares    {:7.3}", ms(backward.0[1]));
    println!("  step, neither clipped nor checked   {:7.3}", ms(step.0[0]));
    println!("  step, clipped, norm computed        {:7.3}", ms(step.0[1]));
    println!("  step, clipped, norm known           {:7.3}", ms(step.0[2]));
    Ok(())
}
