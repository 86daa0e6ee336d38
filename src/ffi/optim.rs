//! Clip and update.

use super::context::ek_context;
use super::list::{List, Member};
use super::record::{self, Report, record};
use super::status::{ek_status, guard};
use super::tensor::{Out, check};
use super::{choice, context_of};
use crate::error::Result;
use crate::optim::{self, AdamOptions, ClipMode, ClipOptions, Nonfinite, SecondMoment, SgdOptions, StepReport};

/// How gradients are clipped: one of EK_CLIP_. c is the threshold.
pub type ek_clip_mode = i32;

/// Not at all.
pub const EK_CLIP_NONE: ek_clip_mode = 0;
/// g * min(1, c / ||g||), with the norm over all tensors.
pub const EK_CLIP_GLOBAL_NORM: ek_clip_mode = 1;
/// g * min(1, c / ||g||) of each tensor by itself.
pub const EK_CLIP_TENSOR_NORM: ek_clip_mode = 2;
/// Each element limited to [-c, c].
pub const EK_CLIP_VALUE: ek_clip_mode = 3;
/// g * min(1, c * max(||w||, 1e-3) / ||g||) of each tensor with its parameters w: adaptive gradient clipping.
pub const EK_CLIP_ADAPTIVE: ek_clip_mode = 4;

/// What a NaN or infinite gradient does to a step: one of EK_NONFINITE_.
pub type ek_nonfinite = i32;

/// The step is skipped: nothing is written, and the report says so.
pub const EK_NONFINITE_SKIP: ek_nonfinite = 0;
/// The step is taken; a NaN or infinite norm makes the clip factor NaN.
pub const EK_NONFINITE_PROPAGATE: ek_nonfinite = 1;

/// What the second state of Adam holds: one of EK_SECOND_MOMENT_.
pub type ek_second_moment = i32;

/// v, the mean of squares, as PyTorch keeps it.
pub const EK_SECOND_MOMENT_SQUARE: ek_second_moment = 0;
/// sqrt(v), updated as a hypotenuse: right for gradients from 1e-38 to 1e38.
pub const EK_SECOND_MOMENT_ROOT: ek_second_moment = 1;

fn clip_mode(value: i32) -> Option<ClipMode> {
    use ClipMode::*;
    [None, GlobalNorm, TensorNorm, Value, Adaptive].into_iter().find(|mode| *mode as i32 == value)
}

fn nonfinite(value: i32) -> Option<Nonfinite> {
    [Nonfinite::Skip, Nonfinite::Propagate].into_iter().find(|n| *n as i32 == value)
}

fn second_moment(value: i32) -> Option<SecondMoment> {
    [SecondMoment::Square, SecondMoment::Root].into_iter().find(|s| *s as i32 == value)
}

const _: () = {
    assert!(EK_CLIP_NONE == ClipMode::None as i32 && EK_CLIP_GLOBAL_NORM == ClipMode::GlobalNorm as i32);
    assert!(EK_CLIP_TENSOR_NORM == ClipMode::TensorNorm as i32 && EK_CLIP_VALUE == ClipMode::Value as i32);
    assert!(EK_CLIP_ADAPTIVE == ClipMode::Adaptive as i32);
    assert!(EK_NONFINITE_SKIP == Nonfinite::Skip as i32);
    assert!(EK_NONFINITE_PROPAGATE == Nonfinite::Propagate as i32);
    assert!(EK_SECOND_MOMENT_SQUARE == SecondMoment::Square as i32);
    assert!(EK_SECOND_MOMENT_ROOT == SecondMoment::Root as i32);
};

/// How gradients are unscaled, checked and clipped before an update. Set it with ek_clip_options_init, then change
/// fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_clip_options {
    /// sizeof(ek_clip_options) in the header that the program was built with.
    pub struct_size: usize,
    /// One of EK_CLIP_; EK_CLIP_NONE by default.
    pub mode: ek_clip_mode,
    /// c of the mode, more than 0; not used by EK_CLIP_NONE. 1 by default.
    pub threshold: f32,
    /// Gradients are divided by it first; 1, the default, is none. Norms and limits are those of the quotients.
    pub loss_scale: f32,
    /// One of EK_NONFINITE_; EK_NONFINITE_SKIP by default.
    pub nonfinite: ek_nonfinite,
    /// The sum of squares of the gradients as they are passed, before they are divided by loss_scale, where the caller
    /// has it: from ek_linear_backward_weight_f32, or summed over machines. Negative, the default: computed.
    pub known_sum_sq: f64,
}

record! { ek_clip_options {
    mode: EK_CLIP_NONE,
    threshold: 1.0,
    loss_scale: 1.0,
    nonfinite: EK_NONFINITE_SKIP,
    known_sum_sq: -1.0,
} }

/// Sets the defaults: no clipping, no loss scale, steps with a NaN or infinite gradient are skipped. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_options_init(options: *mut ek_clip_options) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(options) };
}

/// What a step did. Set it with ek_step_report_init before the first step; each step fills it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_step_report {
    /// sizeof(ek_step_report) in the header that the program was built with.
    pub struct_size: usize,
    /// The L2 norm of all gradients, unscaled, before clipping.
    pub grad_norm: f64,
    /// What the gradients were multiplied by: 1 if nothing was clipped, and for EK_CLIP_VALUE; the smallest factor of
    /// any tensor for EK_CLIP_TENSOR_NORM and EK_CLIP_ADAPTIVE.
    pub clip_factor: f64,
    /// How many unscaled gradients are NaN or infinite.
    pub nonfinite: u64,
    /// Whether the step was skipped and nothing was written.
    pub skipped: bool,
    /// The L2 norm of new - old parameters, as stored.
    pub update_norm: f64,
    /// The L2 norm of the parameters after the step.
    pub param_norm: f64,
}

record! { ek_step_report {
    grad_norm: 0.0,
    clip_factor: 1.0,
    nonfinite: 0,
    skipped: false,
    update_norm: 0.0,
    param_norm: 0.0,
} }

/// Sets struct_size, and the rest as of a step that did nothing. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_step_report_init(report: *mut ek_step_report) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(report) };
}

impl From<StepReport> for ek_step_report {
    fn from(r: StepReport) -> Self {
        ek_step_report {
            struct_size: size_of::<Self>(),
            grad_norm: r.grad_norm,
            clip_factor: r.clip_factor,
            nonfinite: r.nonfinite,
            skipped: r.skipped,
            update_norm: r.update_norm,
            param_norm: r.param_norm,
        }
    }
}

/// Options of ek_clip_sgd_f32. Set it with ek_sgd_options_init, then change fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_sgd_options {
    /// sizeof(ek_sgd_options) in the header that the program was built with.
    pub struct_size: usize,
    /// Learning rate, at least 0. 1e-3 by default.
    pub lr: f64,
    /// mu, at least 0. 0, the default, is none.
    pub momentum: f64,
    /// Damps what a gradient adds to the momentum. 0 by default.
    pub dampening: f64,
    /// lambda of the L2 penalty, at least 0. 0 by default.
    pub weight_decay: f64,
    /// Needs a momentum, and no dampening. false by default.
    pub nesterov: bool,
    /// Momentum starts as the first gradient, undamped, and its old content is not used: PyTorch's first step. Without
    /// dampening a momentum of zeros does the same. false by default.
    pub first_step: bool,
}

record! { ek_sgd_options {
    lr: 1e-3,
    momentum: 0.0,
    dampening: 0.0,
    weight_decay: 0.0,
    nesterov: false,
    first_step: false,
} }

/// Sets the defaults: plain descent with a learning rate of 1e-3. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_sgd_options_init(options: *mut ek_sgd_options) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(options) };
}

/// Options of ek_clip_adam_f32. Set it with ek_adam_options_init, then change fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_adam_options {
    /// sizeof(ek_adam_options) in the header that the program was built with.
    pub struct_size: usize,
    /// Learning rate, at least 0. 1e-3 by default.
    pub lr: f64,
    /// In [0, 1). 0.9 by default.
    pub beta1: f64,
    /// In [0, 1). 0.999 by default.
    pub beta2: f64,
    /// At least 0. 1e-8 by default.
    pub eps: f64,
    /// lambda, at least 0. 0 by default.
    pub weight_decay: f64,
    /// Whether lambda shrinks the parameters directly (AdamW) instead of entering the gradient. false by default.
    pub decoupled: bool,
    /// t, which is 1 at the first update; add 1 for each. 1 by default.
    pub step: u64,
    /// One of EK_SECOND_MOMENT_; EK_SECOND_MOMENT_SQUARE by default.
    pub second_moment: ek_second_moment,
}

record! { ek_adam_options {
    lr: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.0,
    decoupled: false,
    step: 1,
    second_moment: EK_SECOND_MOMENT_SQUARE,
} }

/// Sets the defaults: PyTorch's Adam at its first step. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_adam_options_init(options: *mut ek_adam_options) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(options) };
}

/// # Safety
/// `clip` is NULL or points to as many readable bytes as its `struct_size` says.
unsafe fn read_clip(function: &'static str, clip: *const ek_clip_options) -> Result<ClipOptions> {
    // SAFETY: the caller's promise.
    let clip = unsafe { record::read(function, "clip", clip) }?;
    Ok(ClipOptions {
        mode: choice(function, "clip->mode", clip.mode, clip_mode)?,
        threshold: clip.threshold,
        loss_scale: clip.loss_scale,
        nonfinite: choice(function, "clip->nonfinite", clip.nonfinite, nonfinite)?,
        known_sum_sq: clip.known_sum_sq,
    })
}

/// Clips the gradients and descends, with optional momentum.
///
/// g := g * factor / loss_scale (see ek_clip_options), then PyTorch's rule: g := g + lambda*w; b := mu*b + (1 -
/// dampening)*g; g := b, or g + mu*b with nesterov; w := w - lr*g.
///
/// params, grads and momentum hold count pointers, to tensors of sizes[i] elements each. momentum is b, zeros at the
/// start; with mu = 0 it is neither needed nor touched. Gradients are not written.
///
/// NULL: momentum where mu is 0; report (not wanted; saves the norms of update and parameters); tensors of size 0.
/// Aliasing: gradients may overlap each other; params, momentum and report overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range, mu > 0
/// without momentum, alignment, struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_sgd_f32(
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    sgd: *const ek_sgd_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    grads: *const *const f32,
    momentum: *const *mut f32,
    report: *mut ek_step_report,
) -> ek_status {
    let f = "clip_sgd_f32";
    guard(f, || {
        // SAFETY: the caller's promise, for these and the report.
        let (ctx, clip, sgd) = unsafe { (context_of(ctx)?, read_clip(f, clip)?, record::read(f, "sgd", sgd)?) };
        // SAFETY: as above.
        let report = unsafe { Report::new(f, "report", report, true) }?;
        let sgd = SgdOptions {
            lr: sgd.lr,
            momentum: sgd.momentum,
            dampening: sgd.dampening,
            weight_decay: sgd.weight_decay,
            nesterov: sgd.nesterov,
            first_step: sgd.first_step,
        };
        let list = List::new(f, count, sizes);
        let params = Member::output("params", count, params);
        let grads = Member::input("grads", count, grads);
        let momentum = Member::output("momentum", count, momentum).optional();
        // SAFETY: arrays of count entries are the caller's promise, and so are the tensors in them.
        let step = unsafe {
            list.check(&[&params, &grads, &momentum], &[&report.span("report")])?;
            let (params, grads, momentum) = (list.write(&params), list.read(&grads), list.write_option(&momentum));
            optim::clip_sgd(ctx, &clip, &sgd, params, grads, momentum, report.wanted())
        }?;
        report.set(&step.into());
        Ok(())
    })
}

/// Clips the gradients and makes a step of Adam, or of AdamW with decoupled.
///
/// g := g * factor / loss_scale (see ek_clip_options), then PyTorch's rule: w := w - lr*lambda*w if decoupled, else g :=
/// g + lambda*w; m := beta1*m + (1 - beta1)*g; v := beta2*v + (1 - beta2)*g^2; w := w - lr * (m / (1 - beta1^step)) /
/// (sqrt(v / (1 - beta2^step)) + eps). Where that denominator is 0 the parameter stays.
///
/// params, grads, m and v hold count pointers, to tensors of sizes[i] elements each; m and v are zeros at the start.
/// Gradients are not written.
///
/// NULL: report (not wanted; saves the norms of update and parameters); tensors of size 0. Aliasing: gradients may
/// overlap each other; params, m, v and report overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range,
/// alignment, struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_adam_f32(
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    adam: *const ek_adam_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    grads: *const *const f32,
    m: *const *mut f32,
    v: *const *mut f32,
    report: *mut ek_step_report,
) -> ek_status {
    let f = "clip_adam_f32";
    guard(f, || {
        // SAFETY: the caller's promise, for these and the report.
        let (ctx, clip, adam) = unsafe { (context_of(ctx)?, read_clip(f, clip)?, record::read(f, "adam", adam)?) };
        // SAFETY: as above.
        let report = unsafe { Report::new(f, "report", report, true) }?;
        let adam = AdamOptions {
            lr: adam.lr,
            beta1: adam.beta1,
            beta2: adam.beta2,
            eps: adam.eps,
            weight_decay: adam.weight_decay,
            decoupled: adam.decoupled,
            step: adam.step,
            second_moment: choice(f, "adam->second_moment", adam.second_moment, second_moment)?,
        };
        let list = List::new(f, count, sizes);
        let params = Member::output("params", count, params);
        let grads = Member::input("grads", count, grads);
        let m = Member::output("m", count, m);
        let v = Member::output("v", count, v);
        // SAFETY: arrays of count entries are the caller's promise, and so are the tensors in them.
        let step = unsafe {
            list.check(&[&params, &grads, &m, &v], &[&report.span("report")])?;
            let (params, grads, m, v) = (list.write(&params), list.read(&grads), list.write(&m), list.write(&v));
            optim::clip_adam(ctx, &clip, &adam, params, grads, m, v, report.wanted())
        }?;
        report.set(&step.into());
        Ok(())
    })
}

/// *norm = sqrt(sum g^2) over all elements of all tensors; tensor_norms[i] = the same over tensor i.
///
/// grads holds count pointers, to tensors of sizes[i] elements each; tensor_norms [count]. Sums are f64: finite gradients
/// of any size have a finite norm, non-zero unless all are zero. A NaN or infinite element makes its norms so.
///
/// NULL: tensor_norms (not wanted); tensors of size 0. Aliasing: gradients may overlap each other; outputs overlap
/// nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_grad_norm_f32(
    ctx: *const ek_context,
    count: usize,
    sizes: *const usize,
    grads: *const *const f32,
    tensor_norms: *mut f64,
    norm: *mut f64,
) -> ek_status {
    let f = "grad_norm_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let list = List::new(f, count, sizes);
        let grads = Member::input("grads", count, grads);
        let tensor_norms = Out::new("tensor_norms", tensor_norms, &[count]).optional();
        let norm = Out::new("norm", norm, &[1]);
        // SAFETY: arrays of count entries are the caller's promise, and so are the tensors in them.
        unsafe {
            list.check(&[&grads], &[&tensor_norms, &norm])?;
            norm.slice()[0] = optim::grad_norm(ctx, list.read(&grads), tensor_norms.option())?;
        }
        Ok(())
    })
}

/// g := g * min(1, max_norm / ||g||) in place, with the norm over all tensors; *norm = ||g|| before.
///
/// grads holds count pointers, to tensors of sizes[i] elements each. Nothing is added to the norm, and gradients under
/// the limit keep their bits. Where the norm is NaN or infinite nothing is clipped: *norm tells.
///
/// NULL: norm (not wanted); tensors of size 0. Aliasing: tensors and norm overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless max_norm > 0),
/// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_by_norm_f32(
    ctx: *const ek_context,
    max_norm: f32,
    count: usize,
    sizes: *const usize,
    grads: *const *mut f32,
    norm: *mut f64,
) -> ek_status {
    let f = "clip_by_norm_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let list = List::new(f, count, sizes);
        let grads = Member::output("grads", count, grads);
        let norm = Out::new("norm", norm, &[1]).optional();
        // SAFETY: arrays of count entries are the caller's promise, and so are the tensors in them.
        unsafe {
            list.check(&[&grads], &[&norm])?;
            let before = optim::clip_by_norm(ctx, max_norm, list.write(&grads))?;
            if let Some(norm) = norm.value() {
                *norm = before;
            }
        }
        Ok(())
    })
}

/// g := min(max(g, -limit), limit) in place. g [n]; a NaN stays a NaN.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless limit > 0).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_by_value_f32(ctx: *const ek_context, limit: f32, n: usize, g: *mut f32) -> ek_status {
    let f = "clip_by_value_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let g = Out::new("g", g, &[n]);
        check(f, &[&g])?;
        // SAFETY: checked above; the size is the caller's promise.
        optim::clip_by_value_f32(ctx, limit, unsafe { g.slice() })
    })
}

/// g := g / loss_scale in place; *nonfinite = how many quotients are NaN or infinite. g [n].
///
/// Aliasing: g and nonfinite do not overlap.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless loss_scale is
/// finite and positive), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_unscale_f32(
    ctx: *const ek_context,
    loss_scale: f32,
    n: usize,
    g: *mut f32,
    nonfinite: *mut u64,
) -> ek_status {
    let f = "unscale_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let g = Out::new("g", g, &[n]);
        let nonfinite = Out::new("nonfinite", nonfinite, &[1]);
        check(f, &[&g, &nonfinite])?;
        // SAFETY: checked above; the size is the caller's promise.
        let (g, nonfinite) = unsafe { (g.slice(), nonfinite.slice()) };
        nonfinite[0] = optim::unscale_f32(ctx, loss_scale, g)?;
        Ok(())
    })
}
