//! Losses and their gradients.

use super::context::ek_context;
use super::context_of;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::loss::{bce_with_logits_f32, cross_entropy_f32, cross_entropy_in_place_f32, mse_f32};

/// Cross-entropy of softmax(logits) with class indices, and its gradient.
///
/// With e = label_smoothing in [0, 1], p = softmax(logits), q_j = (1 - e) * [j = target] + e / classes: losses = -sum
/// q_j * log(p_j); *mean_loss = the sum of losses / N over the N rows whose target is not ignore_index (0 where there
/// are none); dlogits = grad_scale * (p - q) / N. Ignored rows have loss and gradient 0.
///
/// Shapes: logits, dlogits [rows, classes]; targets, losses [rows]. Loss and gradient keep their digits where the
/// target's probability rounds to 1.
///
/// NULL: losses, mean_loss, dlogits (not wanted). Aliasing: dlogits may be logits.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, a target outside
/// [0, classes) that is not ignore_index, label_smoothing outside [0, 1], a grad_scale that is not finite),
/// EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_cross_entropy_f32(
    ctx: *const ek_context,
    label_smoothing: f32,
    ignore_index: i64,
    grad_scale: f32,
    rows: usize,
    classes: usize,
    logits: *const f32,
    targets: *const i64,
    losses: *mut f32,
    mean_loss: *mut f64,
    dlogits: *mut f32,
) -> ek_status {
    let f = "cross_entropy_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let logits = In::new("logits", logits, &[rows, classes]);
        let targets = In::new("targets", targets, &[rows]);
        let losses = Out::new("losses", losses, &[rows]).optional();
        let mean_loss = Out::new("mean_loss", mean_loss, &[1]).optional();
        let dlogits = Out::new("dlogits", dlogits, &[rows, classes]).optional().may_be(&["logits"]);
        check(f, &[&logits, &targets, &losses, &mean_loss, &dlogits])?;
        let in_place = dlogits.is(&logits);
        // SAFETY: checked above; sizes are the caller's promise.
        let (targets, losses, mean_loss) = unsafe { (targets.slice(), losses.option(), mean_loss.value()) };
        if in_place {
            // SAFETY: as above; the logits are reached through this slice alone.
            let logits = unsafe { dlogits.slice() };
            return cross_entropy_in_place_f32(
                ctx,
                label_smoothing,
                ignore_index,
                grad_scale,
                rows,
                classes,
                logits,
                targets,
                losses,
                mean_loss,
            );
        }
        // SAFETY: as above.
        let (logits, dlogits) = unsafe { (logits.slice(), dlogits.option()) };
        cross_entropy_f32(
            ctx,
            label_smoothing,
            ignore_index,
            grad_scale,
            rows,
            classes,
            logits,
            targets,
            losses,
            mean_loss,
            dlogits,
        )
    })
}

/// *mean_loss = (1/n) * sum (prediction - target)^2; dprediction = grad_scale * 2 * (prediction - target) / n.
///
/// Without elements the mean is 0. No f32 input overflows or underflows the sum.
///
/// All [n]. NULL: mean_loss, dprediction (not wanted). Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, a grad_scale that is not
/// finite), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_mse_f32(
    ctx: *const ek_context,
    grad_scale: f32,
    n: usize,
    prediction: *const f32,
    target: *const f32,
    mean_loss: *mut f64,
    dprediction: *mut f32,
) -> ek_status {
    let f = "mse_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let prediction = In::new("prediction", prediction, &[n]);
        let target = In::new("target", target, &[n]);
        let mean_loss = Out::new("mean_loss", mean_loss, &[1]).optional();
        let dprediction = Out::new("dprediction", dprediction, &[n]).optional();
        check(f, &[&prediction, &target, &mean_loss, &dprediction])?;
        // SAFETY: checked above; the size is the caller's promise.
        let (prediction, target, mean_loss, dprediction) =
            unsafe { (prediction.slice(), target.slice(), mean_loss.value(), dprediction.option()) };
        mse_f32(ctx, grad_scale, prediction, target, mean_loss, dprediction)
    })
}

/// Binary cross-entropy of sigma(logits) with targets t in [0, 1]: *mean_loss = -(1/n) * sum (t * log(sigma(x)) + (1 - t)
/// * log(sigma(-x))); dlogits = grad_scale * (sigma(x) - t) / n.
///
/// Without elements the mean is 0. Gradients keep their digits where sigma rounds to its target. Targets outside [0, 1]
/// are not refused.
///
/// All [n]. NULL: mean_loss, dlogits (not wanted). Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, a grad_scale that is not
/// finite), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_bce_with_logits_f32(
    ctx: *const ek_context,
    grad_scale: f32,
    n: usize,
    logits: *const f32,
    target: *const f32,
    mean_loss: *mut f64,
    dlogits: *mut f32,
) -> ek_status {
    let f = "bce_with_logits_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let logits = In::new("logits", logits, &[n]);
        let target = In::new("target", target, &[n]);
        let mean_loss = Out::new("mean_loss", mean_loss, &[1]).optional();
        let dlogits = Out::new("dlogits", dlogits, &[n]).optional();
        check(f, &[&logits, &target, &mean_loss, &dlogits])?;
        // SAFETY: checked above; the size is the caller's promise.
        let (logits, target, mean_loss, dlogits) =
            unsafe { (logits.slice(), target.slice(), mean_loss.value(), dlogits.option()) };
        bce_with_logits_f32(ctx, grad_scale, logits, target, mean_loss, dlogits)
    })
}
