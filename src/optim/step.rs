//! The driver of every optimizer: norm, decision, one fused pass that unscales, clips and updates.

use super::coef::Coef;
use super::lanes::{Lanes, fold};
use super::norm::{join_tensors, sum_squares};
use super::pass::Pass;
use super::plan::{Plan, chunk_count, join};
use super::tensors::{Grads, Tensors};
use super::update::{Full, Halves, MOST_STATES, Norms, Parts, Rule, Run, Update};
use crate::context::Context;
use crate::error::Result;
use crate::reduce::CHUNK;
use crate::scratch::Scratch;
use crate::simd::ahead;
use std::marker::PhantomData;

/// A list of this many bytes is beyond the second-level cache, and what is updated is asked for so many elements ahead: four or
/// five streams at once are more than CPUs look ahead in by themselves.
const FAR: usize = 1 << 20;
const AHEAD: usize = 1024;

/// How gradients are clipped. Whitepaper §11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(i32)]
pub enum ClipMode {
    /// Not at all.
    #[default]
    None = 0,
    /// g · min(1, c / ‖g‖₂) with the norm over all tensors (§11.1).
    GlobalNorm = 1,
    /// g · min(1, c / ‖g‖₂) of each tensor by itself.
    TensorNorm = 2,
    /// Each element limited to [−c, c] (§11.2).
    Value = 3,
    /// g · min(1, c·max(‖w‖₂, 1e-3) / ‖g‖₂) of each tensor with its parameters w: adaptive gradient clipping (Brock et
    /// al. 2021), a tensor at a time.
    Adaptive = 4,
}

/// What a NaN or infinite gradient does to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(i32)]
pub enum Nonfinite {
    /// The step is skipped: nothing is written, and the report says so.
    #[default]
    Skip = 0,
    /// The step is taken. A NaN or infinite norm then makes its clip factor NaN, so that it never silently turns
    /// healthy gradients into zeros.
    Propagate = 1,
}

/// How gradients are unscaled, checked and clipped before an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipOptions {
    pub mode: ClipMode,
    /// c of [`ClipMode`], more than 0; not used by [`ClipMode::None`]. Default 1.
    pub threshold: f32,
    /// Gradients are divided by it first; 1, the default, is none. Norms and limits are those of the quotients.
    pub loss_scale: f32,
    pub nonfinite: Nonfinite,
    /// Σg² of the gradients as they are passed, before they are divided by `loss_scale`, where the caller has it: from
    /// the kernels that made the gradients, or summed over machines. Gradients are then read once, and that sum alone
    /// says whether they are finite. Negative, the default: computed. [`ClipMode::TensorNorm`] and
    /// [`ClipMode::Adaptive`] still compute the sum of each tensor.
    pub known_sum_sq: f64,
    /// Whether the report has the norms of the update and of the parameters. Without them, a step on tensors that fit into
    /// caches takes a third to a half less time. Default true; in C, whether there is a report.
    pub report_norms: bool,
}

impl Default for ClipOptions {
    fn default() -> Self {
        ClipOptions {
            mode: ClipMode::None,
            threshold: 1.0,
            loss_scale: 1.0,
            nonfinite: Nonfinite::Skip,
            known_sum_sq: -1.0,
            report_norms: true,
        }
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepReport {
    /// ‖g‖₂ over all tensors, unscaled, before clipping.
    pub grad_norm: f64,
    /// What the gradients were multiplied by: 1 if nothing was clipped, and in [`ClipMode::Value`]; the smallest factor
    /// of any tensor in [`ClipMode::TensorNorm`] and [`ClipMode::Adaptive`].
    pub clip_factor: f64,
    /// How many unscaled gradients are NaN or infinite. Counted where the norm shows that there are any.
    pub nonfinite: u64,
    /// Whether the step was skipped and nothing was written.
    pub skipped: bool,
    /// ‖w_new − w_old‖₂ over all tensors, as stored; 0 without [`ClipOptions::report_norms`].
    pub update_norm: f64,
    /// ‖w‖₂ over all tensors after the step; 0 without [`ClipOptions::report_norms`].
    pub param_norm: f64,
    /// The first NaN or infinite gradient that was counted: its tensor, and its element in it.
    pub first_nonfinite: Option<(usize, usize)>,
}

/// The floor of ‖w‖ in [`ClipMode::Adaptive`], so that parameters which start at zero can move.
const ADAPTIVE_FLOOR: f64 = 1e-3;

/// Numbers of a chunk: Σ(w_new − w_old)², Σw_new², Σg² of the gradients as passed.
const PARTS: usize = 3;

/// Everything about a step but its rule.
struct Job<'a, 'b> {
    function: &'static str,
    clip: &'b ClipOptions,
    tensors: Tensors<'a, 'b>,
    /// Nanoseconds that an element of the update takes.
    ns: f64,
}

/// A step by `rule`.
///
/// # Errors
/// Those of [`drive`].
pub(super) fn step<const STATES: usize, R: Rule<STATES>>(
    function: &'static str,
    ctx: &Context,
    clip: &ClipOptions,
    rule: R,
    tensors: Tensors<'_, '_>,
) -> Result<StepReport> {
    const { assert!(STATES <= MOST_STATES) };
    assert_eq!(tensors.states.len(), STATES);
    assert!(R::HALVES || matches!(tensors.grads, Grads::F32(_)));
    let job = Job { function, clip, tensors, ns: R::NS };
    drive(ctx, job, &|parts| {
        if R::HALVES && parts.halves {
            return ctx.dispatch(Run::<R, Halves, STATES>(Update { rule, parts }, PhantomData));
        }
        ctx.dispatch(Run::<R, Full, STATES>(Update { rule, parts }, PhantomData));
    })
}

/// Unscales, checks, clips and applies the gradients by `update`, which is called for the parts of a chunk.
///
/// # Errors
/// `InvalidArgument`, `InvalidSize`, `OutOfMemory`, all before the first write.
fn drive(ctx: &Context, job: Job<'_, '_>, update: &(dyn Fn(Parts<'_>) + Sync)) -> Result<StepReport> {
    let Job { function, clip, tensors, ns } = job;
    let report = clip.report_norms;
    let (grads, list) = (tensors.grads, tensors.params.as_list());
    super::check_scale(function, clip.loss_scale)?;
    if clip.mode != ClipMode::None {
        super::check_positive(function, "threshold", clip.threshold)?;
    }
    tensors.check(function)?;
    let (chunks, count) = (chunk_count(list), list.count());
    let scale = clip.loss_scale as f64;
    let threshold = clip.threshold as f64;
    let known = clip.known_sum_sq >= 0.0 || clip.known_sum_sq.is_nan();
    let by_tensor = matches!(clip.mode, ClipMode::TensorNorm | ClipMode::Adaptive);
    let needed = by_tensor || clip.mode == ClipMode::GlobalNorm || clip.nonfinite == Nonfinite::Skip;
    // By tensor: a factor and a floor for each, and sums of their parts.
    let len = PARTS * chunks + if by_tensor { 3 * count + chunks } else { 0 };
    let mut words = Scratch::take::<usize>(function, Plan::words(chunks))?;
    let mut numbers = Scratch::take::<f64>(function, len)?;
    let plan = Plan::new(list, words.slice(Plan::words(chunks)));
    let (sums, rest) = numbers.slice(len).split_at_mut(PARTS * chunks);
    let (factors, rest) = rest.split_at_mut(if by_tensor { count } else { 0 });
    let (floors, parts) = rest.split_at_mut(factors.len());
    let mut result = StepReport { clip_factor: 1.0, ..StepReport::default() };

    // Norms, where something depends on them.
    let mut sum_sq = clip.known_sum_sq;
    if by_tensor {
        floors.fill(1.0);
        if clip.mode == ClipMode::Adaptive {
            sum_squares(ctx, &plan, list, &mut sums[..chunks], Some(parts));
            join_tensors(list, parts, |t, sum| floors[t] = sum.sqrt().max(ADAPTIVE_FLOOR));
        }
        grads.sum_squares(ctx, &plan, &mut sums[..chunks], Some(parts));
        join_tensors(list, parts, |t, sum| factors[t] = factor(threshold * floors[t], sum.sqrt() / scale));
    } else if needed && !known {
        grads.sum_squares(ctx, &plan, &mut sums[..chunks], None);
    }
    if needed && !known {
        sum_sq = join(sums[..chunks].iter().copied());
    }
    // Otherwise the update sums them on its way, for the report.
    let late = !needed && !known;
    let count_bad = |sums: &mut [f64]| grads.count_nonfinite(ctx, &plan, Coef::new(1.0 / scale), &mut sums[..chunks]);
    if !late {
        result.grad_norm = sum_sq.sqrt() / scale;
        // A small enough loss scale makes infinities of finite gradients.
        if !result.grad_norm.is_finite() || (scale < 1.0 && result.grad_norm > f32::MAX as f64) {
            (result.nonfinite, result.first_nonfinite) = count_bad(sums);
            let found = result.nonfinite > 0 || !result.grad_norm.is_finite();
            result.skipped = clip.nonfinite == Nonfinite::Skip && found;
        }
    }
    if result.skipped {
        if report {
            sum_squares(ctx, &plan, list, &mut sums[..chunks], None);
            result.param_norm = join(sums[..chunks].iter().copied()).sqrt();
        }
        return Ok(result);
    }
    if clip.mode == ClipMode::GlobalNorm {
        result.clip_factor = factor(threshold, result.grad_norm);
    } else if by_tensor {
        // A NaN factor shows.
        result.clip_factor = factors.iter().fold(1.0, |least, &f| if f < least || f.is_nan() { f } else { least });
    }

    // The update.
    let limit = if clip.mode == ClipMode::Value { clip.threshold } else { f32::INFINITY };
    let common = Coef::new(result.clip_factor / scale);
    let coef = |tensor: usize| if by_tensor { Coef::new(factors[tensor] / scale) } else { common };
    let plain =
        limit == f32::INFINITY && if by_tensor { (0..count).all(|t| coef(t).is_split()) } else { common.is_split() };
    let ahead = if plan.bytes::<f32>() < FAR { 0 } else { ahead(AHEAD) };
    let pass = Pass { ctx, tensors: &tensors, update, limit, plain, ahead };
    plan.parts::<PARTS>(ctx, ns, true, sums, |chunk| {
        let (mut squares, mut norms) = (Lanes::new(), Norms::new());
        let pieces = plan.pieces(list, chunk).map(|p| {
            if late {
                grads.add_squares(ctx, &p, &mut squares);
            }
            let coef = coef(p.tensor);
            (p, coef)
        });
        pass.chunk(chunk * CHUNK, pieces, report.then_some(&mut norms));
        [fold(&norms.update), fold(&norms.params), fold(&squares)]
    });
    let total = |part: usize, sums: &[f64]| join(sums.iter().skip(part).step_by(PARTS).copied()).sqrt();
    if report {
        (result.update_norm, result.param_norm) = (total(0, sums), total(1, sums));
    }
    if late {
        result.grad_norm = total(2, sums) / scale;
        if !result.grad_norm.is_finite() || scale < 1.0 {
            (result.nonfinite, result.first_nonfinite) = count_bad(sums);
        }
    }
    Ok(result)
}

/// min(1, limit / norm); NaN where the norm is NaN or infinite.
fn factor(limit: f64, norm: f64) -> f64 {
    if !norm.is_finite() {
        f64::NAN
    } else if norm > limit {
        limit / norm
    } else {
        1.0
    }
}
