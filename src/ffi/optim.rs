//! What a step is told and what it tells.

use super::record::{self, record};
use crate::optim::{ClipMode, Nonfinite, SecondMoment, StepReport};

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

/// What the state of squared gradients holds, in Adam, RMSprop and Adagrad: one of EK_SECOND_MOMENT_.
pub type ek_second_moment = i32;

/// v, the mean or sum of squares, as PyTorch keeps it: right for gradients from 1e-16 to 1e19. Beyond, a square leaves float,
/// and a parameter freezes for good or moves without bounds.
pub const EK_SECOND_MOMENT_SQUARE: ek_second_moment = 0;
/// sqrt(v), updated as a hypotenuse: right for gradients from 1e-38 to 1e38.
pub const EK_SECOND_MOMENT_ROOT: ek_second_moment = 1;

pub(super) fn clip_mode(value: i32) -> Option<ClipMode> {
    use ClipMode::*;
    [None, GlobalNorm, TensorNorm, Value, Adaptive].into_iter().find(|mode| *mode as i32 == value)
}

pub(super) fn nonfinite(value: i32) -> Option<Nonfinite> {
    [Nonfinite::Skip, Nonfinite::Propagate].into_iter().find(|n| *n as i32 == value)
}

pub(super) fn second_moment(value: i32) -> Option<SecondMoment> {
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
    /// The tensor that holds the first of the NaN or infinite gradients; SIZE_MAX if nonfinite is 0.
    pub nonfinite_tensor: usize,
    /// Its element in that tensor; SIZE_MAX if nonfinite is 0.
    pub nonfinite_element: usize,
}

record! { ek_step_report {
    grad_norm: 0.0,
    clip_factor: 1.0,
    nonfinite: 0,
    skipped: false,
    update_norm: 0.0,
    param_norm: 0.0,
    nonfinite_tensor: usize::MAX,
    nonfinite_element: usize::MAX,
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
            nonfinite_tensor: r.first_nonfinite.map_or(usize::MAX, |(tensor, _)| tensor),
            nonfinite_element: r.first_nonfinite.map_or(usize::MAX, |(_, element)| element),
        }
    }
}

/// Options of ek_clip_sgd_f32, _bf16 and _f16. Set it with ek_sgd_options_init, then change fields.
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
    /// Whether copies in half the width are rounded by chance rather than to nearest even. false by default.
    pub stochastic: bool,
    /// Of stochastic: change it at each step. 0 by default.
    pub seed: u64,
}

record! { ek_sgd_options {
    lr: 1e-3,
    momentum: 0.0,
    dampening: 0.0,
    weight_decay: 0.0,
    nesterov: false,
    first_step: false,
    stochastic: false,
    seed: 0,
} }

/// Sets the defaults: plain descent with a learning rate of 1e-3. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_sgd_options_init(options: *mut ek_sgd_options) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(options) };
}

/// Options of ek_clip_adam_f32, _bf16 and _f16. Set it with ek_adam_options_init, then change fields.
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
    /// Whether copies in half the width are rounded by chance rather than to nearest even. false by default.
    pub stochastic: bool,
    /// Of stochastic, together with step. 0 by default.
    pub seed: u64,
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
    stochastic: false,
    seed: 0,
} }

/// Sets the defaults: PyTorch's Adam at its first step. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_adam_options_init(options: *mut ek_adam_options) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(options) };
}

/// Options of ek_clip_rmsprop_f32. Set it with ek_rmsprop_options_init, then change fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_rmsprop_options {
    /// sizeof(ek_rmsprop_options) in the header that the program was built with.
    pub struct_size: usize,
    /// Learning rate, at least 0. 0.01 by default.
    pub lr: f64,
    /// How much of the mean of squares is kept, in [0, 1). 0.99 by default.
    pub alpha: f64,
    /// At least 0. 1e-8 by default.
    pub eps: f64,
    /// lambda of the L2 penalty, at least 0. 0 by default.
    pub weight_decay: f64,
    /// mu, at least 0. 0, the default, is none.
    pub momentum: f64,
    /// Whether the mean of squares is taken about the mean gradient. false by default.
    pub centered: bool,
    /// One of EK_SECOND_MOMENT_: what square_avg holds. EK_SECOND_MOMENT_SQUARE by default.
    pub second_moment: ek_second_moment,
}

record! { ek_rmsprop_options {
    lr: 0.01,
    alpha: 0.99,
    eps: 1e-8,
    weight_decay: 0.0,
    momentum: 0.0,
    centered: false,
    second_moment: EK_SECOND_MOMENT_SQUARE,
} }

/// Sets the defaults, which are PyTorch's. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rmsprop_options_init(options: *mut ek_rmsprop_options) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(options) };
}

/// Options of ek_clip_adagrad_f32. Set it with ek_adagrad_options_init, then change fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_adagrad_options {
    /// sizeof(ek_adagrad_options) in the header that the program was built with.
    pub struct_size: usize,
    /// Learning rate, at least 0. 0.01 by default.
    pub lr: f64,
    /// At least 0. 0 by default.
    pub lr_decay: f64,
    /// At least 0. 1e-10 by default.
    pub eps: f64,
    /// lambda of the L2 penalty, at least 0. 0 by default.
    pub weight_decay: f64,
    /// t, which is 1 at the first update; add 1 for each. 1 by default.
    pub step: u64,
    /// One of EK_SECOND_MOMENT_: what sum holds. EK_SECOND_MOMENT_SQUARE by default.
    pub second_moment: ek_second_moment,
}

record! { ek_adagrad_options {
    lr: 0.01,
    lr_decay: 0.0,
    eps: 1e-10,
    weight_decay: 0.0,
    step: 1,
    second_moment: EK_SECOND_MOMENT_SQUARE,
} }

/// Sets the defaults: PyTorch's Adagrad at its first step. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_adagrad_options_init(options: *mut ek_adagrad_options) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(options) };
}

/// Options of ek_clip_lion_f32. Set it with ek_lion_options_init, then change fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ek_lion_options {
    /// sizeof(ek_lion_options) in the header that the program was built with.
    pub struct_size: usize,
    /// Learning rate, at least 0. 1e-4 by default.
    pub lr: f64,
    /// In [0, 1). 0.9 by default.
    pub beta1: f64,
    /// In [0, 1). 0.99 by default.
    pub beta2: f64,
    /// lambda, which shrinks the parameters directly; at least 0. 0 by default.
    pub weight_decay: f64,
}

record! { ek_lion_options { lr: 1e-4, beta1: 0.9, beta2: 0.99, weight_decay: 0.0 } }

/// Sets the defaults. NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_lion_options_init(options: *mut ek_lion_options) {
    // SAFETY: the caller's promise: NULL or writable.
    unsafe { record::init(options) };
}
