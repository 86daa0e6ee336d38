//! The gradient of every recipe at every depth, before any training.

use crate::digits::{CLASSES, PIXELS};
use crate::patient::Patient;
use crate::recipe::{Norm, Path, Recipe};
use crate::stack::Stack;
use evenkeel::init::init_normal_f32;
use evenkeel::linear::{linear_backward_input_f32, linear_forward_f32};
use evenkeel::loss::cross_entropy_f32;
use evenkeel::monitor::{FlowReport, gradient_flow};
use evenkeel::optim::grad_norm_f32;
use evenkeel::spectral::jacobian_norm_f32;
use evenkeel::{Activation, Context, Result};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Streams of the stem, the head and the random directions; layers have their numbers.
const STEM_STREAM: u64 = 1 << 21;
const HEAD_STREAM: u64 = 1 << 22;
const PROBE_STREAM: u64 = 1 << 23;

/// How large, how deep, how often.
pub struct Plan {
    pub width: usize,
    pub batch: usize,
    /// Draws of the weights, of which the geometric mean is shown.
    pub draws: u64,
    pub depths: Vec<usize>,
}

/// One recipe at one depth.
pub struct Finding {
    pub recipe: Recipe,
    pub depth: usize,
    /// ‖∂L/∂h‖₂ at the input of each layer, then at the output of the last.
    pub norms: Vec<f64>,
    /// α as measured, and the verdict.
    pub flow: FlowReport,
    /// α as predicted: the geometric mean of ‖J‖_F/√n over the layers.
    pub predicted: f64,
    /// The geometric mean of ‖J‖₂ over the layers: no gradient can grow faster. Plain recipes without a norm only.
    pub bound: Option<f64>,
}

impl Finding {
    /// What is left of the gradient at the input, relative to the output.
    pub fn ratio(&self) -> f64 {
        self.norms[0] / self.norms[self.depth]
    }
}

/// Measures all recipes at all depths, several at a time. `tick` hears of each network measured.
pub fn survey(
    ctx: &Context,
    seed: u64,
    plan: &Plan,
    patient: &Patient,
    tick: &(dyn Fn() + Sync),
) -> Result<Vec<Finding>> {
    let mut jobs = Vec::new();
    for recipe in Recipe::all() {
        jobs.extend(plan.depths.iter().map(|&depth| (recipe, depth)));
    }
    let slots: Vec<Mutex<Option<Result<Finding>>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    // These networks are too small for several threads, but there are many of them. One job's result does not depend on
    // who does it.
    let alone = Context::builder().num_threads(1).isa(ctx.isa()).build()?;
    let work = || {
        let mut bench = Bench::new(&alone, plan, patient);
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(&(recipe, depth)) = jobs.get(i) else { break };
            *slots[i].lock().expect("no panic") = Some(bench.measure(seed, recipe, depth));
            tick();
        }
    };
    std::thread::scope(|scope| (0..ctx.num_threads()).for_each(|_| drop(scope.spawn(work))));
    slots.into_iter().map(|slot| slot.into_inner().expect("no panic").expect("every job was done")).collect()
}

/// Memory for measuring one network after the other.
struct Bench<'a> {
    ctx: &'a Context,
    plan: &'a Plan,
    pixels: Vec<f32>,
    labels: Vec<i64>,
    stack: Stack,
}

/// One draw of a network: norms, and the factors of its layers.
struct Draw {
    norms: Vec<f64>,
    gains: Vec<f64>,
    bounds: Vec<f64>,
}

impl<'a> Bench<'a> {
    fn new(ctx: &'a Context, plan: &'a Plan, patient: &Patient) -> Bench<'a> {
        let images = &patient.split.train[..plan.batch];
        let deepest = plan.depths.iter().copied().max().unwrap_or(0);
        Bench {
            ctx,
            plan,
            pixels: images.iter().flat_map(|&i| patient.pixels(i)).copied().collect(),
            labels: patient.labels(images),
            stack: Stack::new(plan.batch, plan.width, deepest),
        }
    }

    fn measure(&mut self, seed: u64, recipe: Recipe, depth: usize) -> Result<Finding> {
        let draws: Vec<Draw> =
            (0..self.plan.draws).map(|d| self.draw(seed + 1000 * d, recipe, depth)).collect::<Result<_>>()?;
        let norms: Vec<f64> = (0..=depth).map(|l| geometric_mean(draws.iter().map(|d| d.norms[l]))).collect();
        let gains = draws.iter().flat_map(|d| d.gains.iter().copied());
        let bounds: Vec<f64> = draws.iter().flat_map(|d| d.bounds.iter().copied()).collect();
        Ok(Finding {
            recipe,
            depth,
            flow: gradient_flow(&norms)?,
            norms,
            predicted: geometric_mean(gains.filter(|&g| g > 0.0)),
            bound: (!bounds.is_empty()).then(|| geometric_mean(bounds.into_iter())),
        })
    }

    fn draw(&mut self, seed: u64, recipe: Recipe, depth: usize) -> Result<Draw> {
        let Bench { ctx, plan: &Plan { width, batch, .. }, .. } = *self;
        let stack = &mut self.stack;
        stack.start(ctx, seed, recipe, depth)?;

        // Pixels → width, the same for every recipe.
        let mut stem = vec![0.0; width * PIXELS];
        init_normal_f32(ctx, seed, STEM_STREAM, 0.0, 1.0 / (PIXELS as f32).sqrt(), &mut stem)?;
        let (identity, h) = (Activation::Identity, &mut stack.h[0]);
        linear_forward_f32(ctx, identity, 0.0, batch, PIXELS, width, &self.pixels, &stem, None, None, h)?;
        stack.forward(ctx)?;

        // Width → classes, loss, and its gradient at the stack's output.
        let mut head = vec![0.0; CLASSES * width];
        init_normal_f32(ctx, seed, HEAD_STREAM, 0.0, 1.0 / (width as f32).sqrt(), &mut head)?;
        let (mut logits, mut dlogits) = (vec![0.0; batch * CLASSES], vec![0.0; batch * CLASSES]);
        let top = &stack.h[depth];
        linear_forward_f32(ctx, identity, 0.0, batch, width, CLASSES, top, &head, None, None, &mut logits)?;
        let dl = Some(&mut dlogits[..]);
        cross_entropy_f32(ctx, 0.0, -1, 1.0, batch, CLASSES, &logits, &self.labels, None, None, dl)?;
        let mut dh = vec![vec![0.0; batch * width]; depth + 1];
        linear_backward_input_f32(ctx, identity, 0.0, batch, width, CLASSES, &dlogits, &head, None, &mut dh[depth])?;

        // Down the stack: the gradient, and beside it a fresh random direction through each layer.
        let (mut probe, mut through) = (vec![0.0; batch * width], vec![0.0; batch * width]);
        let (mut gains, mut bounds) = (Vec::new(), Vec::new());
        for l in (0..depth).rev() {
            let (below, above) = dh.split_at_mut(l + 1);
            stack.layer_backward(ctx, l, &above[0], &mut below[l])?;
            init_normal_f32(ctx, seed, PROBE_STREAM + l as u64, 0.0, 1.0, &mut probe)?;
            stack.layer_backward(ctx, l, &probe, &mut through)?;
            gains.push(grad_norm_f32(ctx, &[&through], None)? / grad_norm_f32(ctx, &[&probe], None)?);
            if l > 0 && recipe.norm == Norm::None && recipe.path == Path::Plain {
                // Of the first image: W(ℓ)·diag φ'(z(ℓ−1)).
                let ((w, _), (_, z)) = (stack.layer(l), stack.layer(l - 1));
                let (act, param) = recipe.act.phi();
                bounds.push(jacobian_norm_f32(ctx, act, param, width, width, w, &z[..width], 200, 1e-4)?.value);
            }
        }
        let mut norms = vec![0.0; depth + 1];
        let tensors: Vec<&[f32]> = dh.iter().map(|t| &t[..]).collect();
        grad_norm_f32(ctx, &tensors, Some(&mut norms))?;
        Ok(Draw { norms, gains, bounds })
    }
}

/// 0 if one of them is 0.
fn geometric_mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v.ln(), count + 1));
    if count == 0 { f64::NAN } else { (sum / count as f64).exp() }
}
