//! The driver of every optimizer: norm, decision, one fused pass that unscales, clips and updates.

use super::lists::{Plan, TensorList, TensorListMut, check_same, chunk_count, join};
use super::norm::{Squares, clamp, count_nonfinite, scaled, sum_squares};
use crate::context::Context;
use crate::error::Result;
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};

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
}

impl Default for ClipOptions {
    fn default() -> Self {
        ClipOptions {
            mode: ClipMode::None,
            threshold: 1.0,
            loss_scale: 1.0,
            nonfinite: Nonfinite::Skip,
            known_sum_sq: -1.0,
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
    /// ‖w_new − w_old‖₂ over all tensors, as stored.
    pub update_norm: f64,
    /// ‖w‖₂ over all tensors after the step.
    pub param_norm: f64,
}

/// An update rule with `STATES` state tensors beside each parameter tensor.
pub(super) trait Rule<const STATES: usize>: Copy + Sync {
    /// Nanoseconds that one element takes.
    const NS: f64;
    /// The new parameters and states of 16 elements, from the old and the unscaled, clipped gradient. Implementations
    /// are `#[inline(always)]`.
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, states: [S::F; STATES]) -> (S::F, [S::F; STATES]);
}

/// The tensors of one step.
pub(super) struct Tensors<'a, const STATES: usize> {
    pub params: TensorListMut<'a>,
    pub grads: TensorList<'a>,
    pub states: [(&'static str, TensorListMut<'a>); STATES],
}

/// The floor of ‖w‖ in [`ClipMode::Adaptive`], so that parameters which start at zero can move.
const ADAPTIVE_FLOOR: f64 = 1e-3;

/// Unscales, checks, clips and applies the gradients. Without `report` the norms of the update and of the parameters
/// are not taken, and are 0 in the result.
///
/// # Errors
/// `InvalidArgument`, `InvalidSize`, `OutOfMemory`, all before the first write.
pub(super) fn step<const STATES: usize, R: Rule<STATES>>(
    function: &'static str,
    ctx: &Context,
    clip: &ClipOptions,
    rule: R,
    tensors: Tensors<'_, STATES>,
    report: bool,
) -> Result<StepReport> {
    let Tensors { params, grads, states } = tensors;
    let list = params.as_list();
    super::check_scale(function, clip.loss_scale)?;
    if clip.mode != ClipMode::None {
        super::check_positive(function, "threshold", clip.threshold)?;
    }
    check_same(function, "grads", grads, "params", list)?;
    for (name, state) in &states {
        check_same(function, name, state.as_list(), "params", list)?;
    }
    let chunks = chunk_count(list);
    let mut words = Scratch::take::<usize>(function, Plan::words(chunks))?;
    let mut numbers = Scratch::take::<f64>(function, PARTS * chunks + 2 * list.count())?;
    let plan = Plan::new(list, words.slice(Plan::words(chunks)));
    let (parts, per_tensor) = numbers.slice(PARTS * chunks + 2 * list.count()).split_at_mut(PARTS * chunks);
    let (factors, floors) = per_tensor.split_at_mut(list.count());

    let scale = clip.loss_scale as f64;
    let threshold = clip.threshold as f64;
    let known = clip.known_sum_sq >= 0.0 || clip.known_sum_sq.is_nan();
    let by_tensor = matches!(clip.mode, ClipMode::TensorNorm | ClipMode::Adaptive);
    let needed = by_tensor || clip.mode == ClipMode::GlobalNorm || clip.nonfinite == Nonfinite::Skip;
    let before = by_tensor || (needed && !known);
    let mut result = StepReport { clip_factor: 1.0, ..StepReport::default() };

    // Norms, where something depends on them.
    let mut sum_sq = clip.known_sum_sq;
    if before {
        if clip.mode == ClipMode::Adaptive {
            sum_squares(ctx, &plan, list, &mut parts[..chunks]);
            join::<1>(list, &parts[..chunks], 0, |t, sum| floors[t] = sum.sqrt().max(ADAPTIVE_FLOOR));
        } else {
            floors.fill(1.0);
        }
        sum_squares(ctx, &plan, grads, &mut parts[..chunks]);
        let computed = join::<1>(list, &parts[..chunks], 0, |t, sum| {
            if by_tensor {
                factors[t] = factor(threshold * floors[t], sum.sqrt() / scale);
            }
        });
        if !known {
            sum_sq = computed;
        }
    }
    if needed || known {
        result.grad_norm = sum_sq.sqrt() / scale;
        // A small enough loss scale makes infinities of finite gradients.
        if !result.grad_norm.is_finite() || (scale < 1.0 && result.grad_norm > f32::MAX as f64) {
            result.nonfinite = count_nonfinite(ctx, &plan, grads, 1.0 / scale, &mut parts[..chunks]);
            result.skipped =
                clip.nonfinite == Nonfinite::Skip && (result.nonfinite > 0 || !result.grad_norm.is_finite());
        }
    }
    if result.skipped {
        if report {
            sum_squares(ctx, &plan, list, &mut parts[..chunks]);
            result.param_norm = join::<1>(list, &parts[..chunks], 0, |_, _| ()).sqrt();
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
    let common = result.clip_factor / scale;
    plan.parts(ctx, R::NS, list, parts, |c| {
        let coef = if by_tensor { factors[c.tensor] / scale } else { common };
        // SAFETY: chunks are disjoint, and no list of params or states is read as a whole while this runs.
        let (w, states) = unsafe {
            (
                params.piece(c.tensor, c.range.clone()),
                std::array::from_fn(|i| states[i].1.piece(c.tensor, c.range.clone())),
            )
        };
        ctx.dispatch(Update { rule, coef, limit, report, w, g: &grads.tensor(c.tensor)[c.range], states })
    });
    if report {
        result.update_norm = join::<PARTS>(list, parts, 0, |_, _| ()).sqrt();
        result.param_norm = join::<PARTS>(list, parts, 1, |_, _| ()).sqrt();
    }
    if !needed && !known {
        result.grad_norm = join::<PARTS>(list, parts, 2, |_, _| ()).sqrt() / scale;
        if !result.grad_norm.is_finite() || scale < 1.0 {
            result.nonfinite = count_nonfinite(ctx, &plan, grads, 1.0 / scale, &mut parts[..chunks]);
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

/// Numbers of a chunk: Σ(w_new − w_old)², Σw_new², Σg² of the gradients as passed.
const PARTS: usize = 3;

struct Update<'a, R, const STATES: usize> {
    rule: R,
    coef: f64,
    limit: f32,
    report: bool,
    w: &'a mut [f32],
    g: &'a [f32],
    states: [&'a mut [f32]; STATES],
}

impl<R: Rule<STATES>, const STATES: usize> Kernel for Update<'_, R, STATES> {
    type Out = [f64; PARTS];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f64; PARTS] {
        let Update { rule, coef, limit, report, w, g, states } = self;
        let n = w.len();
        assert!(g.len() == n && states.iter().all(|state| state.len() == n));
        let zero = Squares::new(s);
        let mut pass = Pass {
            s,
            rule,
            coef,
            limit,
            report,
            w: w.as_mut_ptr(),
            g: g.as_ptr(),
            states: states.map(|state| state.as_mut_ptr()),
            sums: [zero; PARTS],
        };
        let mut i = 0;
        // SAFETY: 16 elements, then the n - i left, are in bounds of w, g and all states (asserted).
        unsafe {
            while i + LANES <= n {
                pass.vector(i, LANES);
                i += LANES;
            }
            if i < n {
                pass.vector(i, n - i);
            }
        }
        [pass.sums[0].total(s), pass.sums[1].total(s), pass.sums[2].total(s)]
    }
}

/// An [`Update`] under way. Its loop body is a method because a closure would not be inlined for sure.
struct Pass<S: Simd, R, const STATES: usize> {
    s: S,
    rule: R,
    coef: f64,
    limit: f32,
    report: bool,
    w: *mut f32,
    g: *const f32,
    states: [*mut f32; STATES],
    sums: [Squares<S>; PARTS],
}

impl<S: Simd, R: Rule<STATES>, const STATES: usize> Pass<S, R, STATES> {
    /// Updates elements i to i + rest, at most 16.
    ///
    /// # Safety
    /// They are in bounds of w, g and all states.
    #[inline(always)]
    unsafe fn vector(&mut self, i: usize, rest: usize) {
        let s = self.s;
        let mut states = [s.zero(); STATES];
        // SAFETY: the caller's contract.
        let (old, raw) = unsafe {
            for (state, start) in states.iter_mut().zip(self.states) {
                *state = s.load_up_to(start.add(i), rest);
            }
            (s.load_up_to(self.w.add(i), rest), s.load_up_to(self.g.add(i), rest))
        };
        let (low, high) = s.widen(raw);
        self.sums[2].add_d(s, low, high);
        let g = clamp(s, scaled(s, low, high, self.coef), self.limit);
        let (new, states) = self.rule.update(s, old, g, states);
        // SAFETY: the caller's contract.
        unsafe {
            s.store_up_to(self.w.add(i), new, rest);
            for (state, start) in states.into_iter().zip(self.states) {
                s.store_up_to(start.add(i), state, rest);
            }
        }
        if self.report {
            // Lanes past the end hold zeros, of which a rule may make anything.
            let new = if rest < LANES { s.select(s.first(rest), new, s.zero()) } else { new };
            let (new_low, new_high) = s.widen(new);
            let (old_low, old_high) = s.widen(old);
            self.sums[0].add_d(s, s.sub_d(new_low, old_low), s.sub_d(new_high, old_high));
            self.sums[1].add_d(s, new_low, new_high);
        }
    }
}
