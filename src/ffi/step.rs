//! Clip and update.

use super::context::ek_context;
use super::element::{ek_bf16, ek_f16};
use super::list::{List, Member};
use super::optim::{
    clip_mode, ek_adagrad_options, ek_adam_options, ek_clip_options, ek_lion_options, ek_rmsprop_options,
    ek_sgd_options, ek_step_report, nonfinite, second_moment,
};
use super::record::{self, Report};
use super::status::{ek_status, guard};
use super::{choice, context_of};
use crate::context::Context;
use crate::element::{Storage, bf16, f16};
use crate::error::Result;
use crate::optim::lists::{TensorList, TensorListMut};
use crate::optim::{
    self, AdagradOptions, AdamOptions, ClipOptions, Copies, Grads, LionOptions, RmspropOptions, SgdOptions,
};

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
        report_norms: true,
    })
}

/// What gradients are stored as: their list, and the copies of parameters that go with them.
trait Gradient: Storage {
    /// The name of the copies.
    const COPIES: &'static str;
    fn grads(list: TensorList<'_, Self>) -> Grads<'_>;
    fn copies(list: TensorListMut<'_, Self>) -> Option<Copies<'_>>;
}

impl Gradient for f32 {
    const COPIES: &'static str = "none";
    fn grads(list: TensorList<'_>) -> Grads<'_> {
        list.into()
    }
    fn copies(_: TensorListMut<'_>) -> Option<Copies<'_>> {
        None
    }
}

macro_rules! half_gradients {
    ($($type:ty, $name:literal;)*) => {$(
        impl Gradient for $type {
            const COPIES: &'static str = $name;
            fn grads(list: TensorList<'_, Self>) -> Grads<'_> {
                list.into()
            }
            fn copies(list: TensorListMut<'_, Self>) -> Option<Copies<'_>> {
                Some(list.into())
            }
        }
    )*};
}
half_gradients! {
    bf16, "params_bf16";
    f16, "params_f16";
}

/// The arguments of every step, as they came.
struct Call {
    function: &'static str,
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    report: *mut ek_step_report,
}

impl Call {
    /// Checks the members, of which a step has up to three states and copies, and the report; then steps.
    ///
    /// # Safety
    /// The caller of the C function keeps its promises: every pointer that is not NULL is valid, arrays for `count`
    /// entries, tensors for their sizes.
    unsafe fn run<T: Gradient>(
        self,
        grads: *const *const T,
        states: [Member; 3],
        copies: *const *mut T,
        step: impl FnOnce(&Context, &ClipOptions, Step<'_>) -> Result<optim::StepReport>,
    ) -> Result {
        let Call { function, ctx, clip, count, sizes, params, report } = self;
        // SAFETY: the caller's promise, for these and the report.
        let (ctx, clip) = unsafe { (context_of(ctx)?, read_clip(function, clip)?) };
        // SAFETY: as above.
        let report = unsafe { Report::new(function, "report", report, true) }?;
        let list = List::new(function, count, sizes);
        let params = Member::output("params", count, params);
        let grads = Member::input("grads", count, grads);
        let copies = Member::output(T::COPIES, count, copies).optional();
        // SAFETY: arrays of count entries are the caller's promise, and so are the tensors in them.
        let done = unsafe {
            let [a, b, c] = &states;
            list.check(&[&params, &grads, a, b, c, &copies], &[&report.span("report")])?;
            let step_tensors = Step {
                params: list.write(&params),
                grads: T::grads(list.read(&grads)),
                states: states.each_ref().map(|state| list.write_option(state)),
                copies: list.write_option(&copies).and_then(T::copies),
            };
            let clip = ClipOptions { report_norms: report.wanted(), ..clip };
            step(ctx, &clip, step_tensors)
        }?;
        report.set(&done.into());
        Ok(())
    }
}

/// The tensors of a call, checked.
struct Step<'a> {
    params: TensorListMut<'a>,
    grads: Grads<'a>,
    states: [Option<TensorListMut<'a>>; 3],
    copies: Option<Copies<'a>>,
}

/// A state that a step has not.
fn no_state(count: usize) -> Member {
    Member::output::<f32>("none", count, std::ptr::null()).optional()
}

/// A state that must be there.
fn state(name: &'static str, count: usize, tensors: *const *mut f32) -> Member {
    Member::output(name, count, tensors)
}

fn present(list: Option<TensorListMut<'_>>) -> TensorListMut<'_> {
    list.unwrap_or_else(|| TensorListMut::from(&mut [][..]))
}

/// # Safety
/// As for [`Call::run`]; `sgd` is NULL or points to as many readable bytes as its `struct_size` says.
unsafe fn clip_sgd<T: Gradient>(
    call: Call,
    sgd: *const ek_sgd_options,
    grads: *const *const T,
    momentum: *const *mut f32,
    copies: *const *mut T,
) -> Result {
    let (f, count) = (call.function, call.count);
    // SAFETY: the caller's promise.
    let sgd = unsafe { record::read(f, "sgd", sgd) }?;
    let sgd = SgdOptions {
        lr: sgd.lr,
        momentum: sgd.momentum,
        dampening: sgd.dampening,
        weight_decay: sgd.weight_decay,
        nesterov: sgd.nesterov,
        first_step: sgd.first_step,
        stochastic_seed: sgd.stochastic.then_some(sgd.seed),
    };
    let states = [state("momentum", count, momentum).optional(), no_state(count), no_state(count)];
    // SAFETY: the caller's promise.
    unsafe {
        call.run(grads, states, copies, |ctx, clip, t| {
            let [momentum, ..] = t.states;
            optim::clip_sgd(f, ctx, clip, &sgd, t.params, t.grads, momentum, t.copies)
        })
    }
}

/// # Safety
/// As for [`Call::run`]; `adam` is NULL or points to as many readable bytes as its `struct_size` says.
unsafe fn clip_adam<T: Gradient>(
    call: Call,
    adam: *const ek_adam_options,
    grads: *const *const T,
    m: *const *mut f32,
    v: *const *mut f32,
    copies: *const *mut T,
) -> Result {
    let (f, count) = (call.function, call.count);
    // SAFETY: the caller's promise.
    let adam = unsafe { record::read(f, "adam", adam) }?;
    let adam = AdamOptions {
        lr: adam.lr,
        beta1: adam.beta1,
        beta2: adam.beta2,
        eps: adam.eps,
        weight_decay: adam.weight_decay,
        decoupled: adam.decoupled,
        step: adam.step,
        second_moment: choice(f, "adam->second_moment", adam.second_moment, second_moment)?,
        stochastic_seed: adam.stochastic.then_some(adam.seed),
    };
    // SAFETY: the caller's promise.
    unsafe {
        call.run(grads, [state("m", count, m), state("v", count, v), no_state(count)], copies, |ctx, clip, t| {
            let [m, v, _] = t.states;
            let (m, v) = (present(m), present(v));
            optim::clip_adam(f, ctx, clip, &adam, t.params, t.grads, m, v, t.copies)
        })
    }
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
    let call = Call { function: f, ctx, clip, count, sizes, params, report };
    // SAFETY: the caller's promises.
    guard(f, || unsafe { clip_sgd(call, sgd, grads, momentum, std::ptr::null()) })
}

/// ek_clip_sgd_f32 on gradients in bf16.
///
/// params are the float parameters that training keeps; params_bf16 [count], if given, receives the new ones rounded, in the
/// same pass: to nearest even, or by chance (sgd->stochastic). momentum is float.
///
/// NULL: also params_bf16 (not wanted). Aliasing: params_bf16 overlaps nothing either. Errors: as there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_sgd_bf16(
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    sgd: *const ek_sgd_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    grads: *const *const ek_bf16,
    momentum: *const *mut f32,
    params_bf16: *const *mut ek_bf16,
    report: *mut ek_step_report,
) -> ek_status {
    let f = "clip_sgd_bf16";
    let call = Call { function: f, ctx, clip, count, sizes, params, report };
    // SAFETY: the caller's promises.
    guard(f, || unsafe { clip_sgd::<bf16>(call, sgd, grads.cast(), momentum, params_bf16.cast()) })
}

/// ek_clip_sgd_bf16 in f16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_sgd_f16(
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    sgd: *const ek_sgd_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    grads: *const *const ek_f16,
    momentum: *const *mut f32,
    params_f16: *const *mut ek_f16,
    report: *mut ek_step_report,
) -> ek_status {
    let f = "clip_sgd_f16";
    let call = Call { function: f, ctx, clip, count, sizes, params, report };
    // SAFETY: the caller's promises.
    guard(f, || unsafe { clip_sgd::<f16>(call, sgd, grads.cast(), momentum, params_f16.cast()) })
}

/// Clips the gradients and makes a step of Adam, or of AdamW with decoupled.
///
/// g := g * factor / loss_scale (see ek_clip_options), then PyTorch's rule: w := w - lr*lambda*w if decoupled, else g :=
/// g + lambda*w; m := beta1*m + (1 - beta1)*g; v := beta2*v + (1 - beta2)*g^2; w := w - lr * (m / (1 - beta1^step)) /
/// (sqrt(v / (1 - beta2^step)) + eps). Where that denominator is 0 the parameter stays. See adam->second_moment for gradients
/// beyond 1e-16 to 1e19.
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
    let call = Call { function: f, ctx, clip, count, sizes, params, report };
    // SAFETY: the caller's promises.
    guard(f, || unsafe { clip_adam(call, adam, grads, m, v, std::ptr::null()) })
}

/// ek_clip_adam_f32 on gradients in bf16.
///
/// params are the float parameters that training keeps; params_bf16 [count], if given, receives the new ones rounded, in the
/// same pass: to nearest even, or by chance (adam->stochastic). m and v are float.
///
/// NULL: also params_bf16 (not wanted). Aliasing: params_bf16 overlaps nothing either. Errors: as there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_adam_bf16(
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    adam: *const ek_adam_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    grads: *const *const ek_bf16,
    m: *const *mut f32,
    v: *const *mut f32,
    params_bf16: *const *mut ek_bf16,
    report: *mut ek_step_report,
) -> ek_status {
    let f = "clip_adam_bf16";
    let call = Call { function: f, ctx, clip, count, sizes, params, report };
    // SAFETY: the caller's promises.
    guard(f, || unsafe { clip_adam::<bf16>(call, adam, grads.cast(), m, v, params_bf16.cast()) })
}

/// ek_clip_adam_bf16 in f16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_adam_f16(
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    adam: *const ek_adam_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    grads: *const *const ek_f16,
    m: *const *mut f32,
    v: *const *mut f32,
    params_f16: *const *mut ek_f16,
    report: *mut ek_step_report,
) -> ek_status {
    let f = "clip_adam_f16";
    let call = Call { function: f, ctx, clip, count, sizes, params, report };
    // SAFETY: the caller's promises.
    guard(f, || unsafe { clip_adam::<f16>(call, adam, grads.cast(), m, v, params_f16.cast()) })
}

/// Clips the gradients and makes a step of RMSprop.
///
/// g := g * factor / loss_scale (see ek_clip_options), then PyTorch's rule: g := g + lambda*w; s := alpha*s + (1 - alpha)*g^2;
/// d := sqrt(s) + eps, or with centered a := alpha*a + (1 - alpha)*g and d := sqrt(s - a^2) + eps; w := w - lr*g/d, or with a
/// momentum b := mu*b + g/d and w := w - lr*b. Where d is 0, g/d counts as 0.
///
/// All lists hold count pointers, to tensors of sizes[i] elements each. States are zeros at the start: square_avg is s (its
/// root with EK_SECOND_MOMENT_ROOT), momentum is b, grad_avg is a. Gradients are not written.
///
/// NULL: momentum where mu is 0, grad_avg unless centered (then not touched); report (not wanted; saves the norms of update and
/// parameters); tensors of size 0. Aliasing: gradients may overlap each other; all else overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range, a state that is
/// missing, alignment,
/// struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_rmsprop_f32(
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    rmsprop: *const ek_rmsprop_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    grads: *const *const f32,
    square_avg: *const *mut f32,
    momentum: *const *mut f32,
    grad_avg: *const *mut f32,
    report: *mut ek_step_report,
) -> ek_status {
    let f = "clip_rmsprop_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let o = unsafe { record::read(f, "rmsprop", rmsprop) }?;
        let options = RmspropOptions {
            lr: o.lr,
            alpha: o.alpha,
            eps: o.eps,
            weight_decay: o.weight_decay,
            momentum: o.momentum,
            centered: o.centered,
            second_moment: choice(f, "rmsprop->second_moment", o.second_moment, second_moment)?,
        };
        let call = Call { function: f, ctx, clip, count, sizes, params, report };
        let momentum = state("momentum", count, momentum).optional();
        let grad_avg = state("grad_avg", count, grad_avg).optional();
        let states = [state("square_avg", count, square_avg), momentum, grad_avg];
        // SAFETY: the caller's promises.
        unsafe {
            call.run::<f32>(grads, states, std::ptr::null(), |ctx, clip, t| {
                let [square, momentum, mean] = t.states;
                optim::clip_rmsprop(ctx, clip, &options, t.params, t.grads, present(square), momentum, mean)
            })
        }
    })
}

/// Clips the gradients and makes a step of Adagrad.
///
/// g := g * factor / loss_scale (see ek_clip_options), then PyTorch's rule: g := g + lambda*w; s := s + g^2; w := w - lr / (1 +
/// (step - 1)*lr_decay) * g / (sqrt(s) + eps). Where that denominator is 0 the parameter stays.
///
/// params, grads and sum hold count pointers, to tensors of sizes[i] elements each; sum is s (its root with
/// EK_SECOND_MOMENT_ROOT), zeros or a positive number at the start. Gradients are not written.
///
/// NULL: report (not wanted; saves the norms of update and parameters); tensors of size 0. Aliasing: gradients may overlap each
/// other; all else overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range, alignment,
/// struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_adagrad_f32(
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    adagrad: *const ek_adagrad_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    grads: *const *const f32,
    sum: *const *mut f32,
    report: *mut ek_step_report,
) -> ek_status {
    let f = "clip_adagrad_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let o = unsafe { record::read(f, "adagrad", adagrad) }?;
        let options = AdagradOptions {
            lr: o.lr,
            lr_decay: o.lr_decay,
            eps: o.eps,
            weight_decay: o.weight_decay,
            step: o.step,
            second_moment: choice(f, "adagrad->second_moment", o.second_moment, second_moment)?,
        };
        let call = Call { function: f, ctx, clip, count, sizes, params, report };
        let states = [state("sum", count, sum), no_state(count), no_state(count)];
        // SAFETY: the caller's promises.
        unsafe {
            call.run::<f32>(grads, states, std::ptr::null(), |ctx, clip, t| {
                let [sum, ..] = t.states;
                optim::clip_adagrad(ctx, clip, &options, t.params, t.grads, present(sum))
            })
        }
    })
}

/// Clips the gradients and makes a step of Lion.
///
/// g := g * factor / loss_scale (see ek_clip_options), then w := w - lr*lambda*w; w := w - lr*sign(beta1*m + (1 - beta1)*g);
/// m := beta2*m + (1 - beta2)*g. sign(0) = 0, sign(NaN) = NaN.
///
/// params, grads and m hold count pointers, to tensors of sizes[i] elements each; m is zeros at the start. Gradients are not
/// written.
///
/// NULL: report (not wanted; saves the norms of update and parameters); tensors of size 0. Aliasing: gradients may overlap each
/// other; all else overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (an option out of its range, alignment,
/// struct_size), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_clip_lion_f32(
    ctx: *const ek_context,
    clip: *const ek_clip_options,
    lion: *const ek_lion_options,
    count: usize,
    sizes: *const usize,
    params: *const *mut f32,
    grads: *const *const f32,
    m: *const *mut f32,
    report: *mut ek_step_report,
) -> ek_status {
    let f = "clip_lion_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let o = unsafe { record::read(f, "lion", lion) }?;
        let options = LionOptions { lr: o.lr, beta1: o.beta1, beta2: o.beta2, weight_decay: o.weight_decay };
        let call = Call { function: f, ctx, clip, count, sizes, params, report };
        let states = [state("m", count, m), no_state(count), no_state(count)];
        // SAFETY: the caller's promises.
        unsafe {
            call.run::<f32>(grads, states, std::ptr::null(), |ctx, clip, t| {
                let [m, ..] = t.states;
                optim::clip_lion(ctx, clip, &options, t.params, t.grads, present(m))
            })
        }
    })
}
