//! Layer, RMS, group and batch norm, and layer norm of a sum.

use super::context::ek_context;
use super::context_of;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::norm;

/// Layer norm along rows: y = xhat*gamma + beta, xhat = (x - mean)*rstd, rstd = 1/sqrt(variance + eps).
///
/// x, y [rows, cols]; gamma (NULL: 1), beta (NULL: 0) [cols]; mean, rstd [rows], for the backward pass, may be NULL. The
/// variance is divided by cols. Neither offset nor scale of a row costs accuracy. A constant row gives beta. NaN or an
/// infinity makes its row NaN and no other.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_layer_norm_forward_f32(
    ctx: *const ek_context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: *const f32,
    gamma: *const f32,
    beta: *const f32,
    y: *mut f32,
    mean: *mut f32,
    rstd: *mut f32,
) -> ek_status {
    let f = "layer_norm_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[rows, cols]);
        let gamma = In::new("gamma", gamma, &[cols]).optional();
        let beta = In::new("beta", beta, &[cols]).optional();
        let y = Out::new("y", y, &[rows, cols]);
        let mean = Out::new("mean", mean, &[rows]).optional();
        let rstd = Out::new("rstd", rstd, &[rows]).optional();
        check(f, &[&x, &gamma, &beta, &y, &mean, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::layer_norm_forward_f32(
                ctx,
                eps,
                rows,
                cols,
                x.slice(),
                gamma.option(),
                beta.option(),
                y.slice(),
                mean.option(),
                rstd.option(),
            )
        }
    })
}

/// Layer norm's gradients: with g = dy*gamma, dx = rstd*(g - avg(g) - xhat*avg(g*xhat)), averages along the row;
/// dgamma = sum dy*xhat and dbeta = sum dy down the rows.
///
/// dy, x, dx [rows, cols]; mean, rstd [rows] as saved; gamma (NULL: 1), dgamma, dbeta [cols], which are overwritten, or
/// added to if accumulate. dx, dgamma and dbeta may be NULL each.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_layer_norm_backward_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    dy: *const f32,
    x: *const f32,
    mean: *const f32,
    rstd: *const f32,
    gamma: *const f32,
    accumulate: bool,
    dx: *mut f32,
    dgamma: *mut f32,
    dbeta: *mut f32,
) -> ek_status {
    let f = "layer_norm_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy, &[rows, cols]);
        let x = In::new("x", x, &[rows, cols]);
        let mean = In::new("mean", mean, &[rows]);
        let rstd = In::new("rstd", rstd, &[rows]);
        let gamma = In::new("gamma", gamma, &[cols]).optional();
        let dx = Out::new("dx", dx, &[rows, cols]).optional();
        let dgamma = Out::new("dgamma", dgamma, &[cols]).optional();
        let dbeta = Out::new("dbeta", dbeta, &[cols]).optional();
        check(f, &[&dy, &x, &mean, &rstd, &gamma, &dx, &dgamma, &dbeta])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::layer_norm_backward_f32(
                ctx,
                rows,
                cols,
                dy.slice(),
                x.slice(),
                mean.slice(),
                rstd.slice(),
                gamma.option(),
                accumulate,
                dx.option(),
                dgamma.option(),
                dbeta.option(),
            )
        }
    })
}

/// sum = x + residual, y = layer norm of sum.
///
/// x, residual, sum, y [rows, cols]; gamma (NULL: 1), beta (NULL: 0) [cols]; mean, rstd [rows], may be NULL. sum is
/// rounded to its storage before it is normalized; the backward pass takes it.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_add_layer_norm_forward_f32(
    ctx: *const ek_context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: *const f32,
    residual: *const f32,
    gamma: *const f32,
    beta: *const f32,
    sum: *mut f32,
    y: *mut f32,
    mean: *mut f32,
    rstd: *mut f32,
) -> ek_status {
    let f = "add_layer_norm_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[rows, cols]);
        let residual = In::new("residual", residual, &[rows, cols]);
        let gamma = In::new("gamma", gamma, &[cols]).optional();
        let beta = In::new("beta", beta, &[cols]).optional();
        let sum = Out::new("sum", sum, &[rows, cols]);
        let y = Out::new("y", y, &[rows, cols]);
        let mean = Out::new("mean", mean, &[rows]).optional();
        let rstd = Out::new("rstd", rstd, &[rows]).optional();
        check(f, &[&x, &residual, &gamma, &beta, &sum, &y, &mean, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::add_layer_norm_forward_f32(
                ctx,
                eps,
                rows,
                cols,
                x.slice(),
                residual.slice(),
                gamma.option(),
                beta.option(),
                sum.slice(),
                y.slice(),
                mean.option(),
                rstd.option(),
            )
        }
    })
}

/// Gradients of a layer norm of a sum: dx = layer norm's by dy, plus dsum: the gradient of x and of residual alike.
///
/// dy, dsum (NULL: 0), sum, dx [rows, cols]; mean, rstd [rows] as saved; gamma (NULL: 1), dgamma, dbeta [cols], which are
/// overwritten, or added to if accumulate. dgamma and dbeta may be NULL.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_add_layer_norm_backward_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    dy: *const f32,
    dsum: *const f32,
    sum: *const f32,
    mean: *const f32,
    rstd: *const f32,
    gamma: *const f32,
    accumulate: bool,
    dx: *mut f32,
    dgamma: *mut f32,
    dbeta: *mut f32,
) -> ek_status {
    let f = "add_layer_norm_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy, &[rows, cols]);
        let dsum = In::new("dsum", dsum, &[rows, cols]).optional();
        let sum = In::new("sum", sum, &[rows, cols]);
        let mean = In::new("mean", mean, &[rows]);
        let rstd = In::new("rstd", rstd, &[rows]);
        let gamma = In::new("gamma", gamma, &[cols]).optional();
        let dx = Out::new("dx", dx, &[rows, cols]);
        let dgamma = Out::new("dgamma", dgamma, &[cols]).optional();
        let dbeta = Out::new("dbeta", dbeta, &[cols]).optional();
        check(f, &[&dy, &dsum, &sum, &mean, &rstd, &gamma, &dx, &dgamma, &dbeta])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::add_layer_norm_backward_f32(
                ctx,
                rows,
                cols,
                dy.slice(),
                dsum.option(),
                sum.slice(),
                mean.slice(),
                rstd.slice(),
                gamma.option(),
                accumulate,
                dx.slice(),
                dgamma.option(),
                dbeta.option(),
            )
        }
    })
}

/// RMS norm along rows: y = x*rstd*gamma, rstd = 1/sqrt(avg(x^2) + eps).
///
/// x, y [rows, cols]; gamma (NULL: 1) [cols]; rstd [rows], for the backward pass, may be NULL.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rms_norm_forward_f32(
    ctx: *const ek_context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: *const f32,
    gamma: *const f32,
    y: *mut f32,
    rstd: *mut f32,
) -> ek_status {
    let f = "rms_norm_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[rows, cols]);
        let gamma = In::new("gamma", gamma, &[cols]).optional();
        let y = Out::new("y", y, &[rows, cols]);
        let rstd = Out::new("rstd", rstd, &[rows]).optional();
        check(f, &[&x, &gamma, &y, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe { norm::rms_norm_forward_f32(ctx, eps, rows, cols, x.slice(), gamma.option(), y.slice(), rstd.option()) }
    })
}

/// RMS norm's gradients: with xhat = x*rstd and g = dy*gamma, dx = rstd*(g - xhat*avg(g*xhat)), averages along the row;
/// dgamma = sum dy*xhat down the rows.
///
/// dy, x, dx [rows, cols]; rstd [rows] as saved; gamma (NULL: 1), dgamma [cols], which is overwritten, or added to if
/// accumulate. dx and dgamma may be NULL each.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rms_norm_backward_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    dy: *const f32,
    x: *const f32,
    rstd: *const f32,
    gamma: *const f32,
    accumulate: bool,
    dx: *mut f32,
    dgamma: *mut f32,
) -> ek_status {
    let f = "rms_norm_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy, &[rows, cols]);
        let x = In::new("x", x, &[rows, cols]);
        let rstd = In::new("rstd", rstd, &[rows]);
        let gamma = In::new("gamma", gamma, &[cols]).optional();
        let dx = Out::new("dx", dx, &[rows, cols]).optional();
        let dgamma = Out::new("dgamma", dgamma, &[cols]).optional();
        check(f, &[&dy, &x, &rstd, &gamma, &dx, &dgamma])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::rms_norm_backward_f32(
                ctx,
                rows,
                cols,
                dy.slice(),
                x.slice(),
                rstd.slice(),
                gamma.option(),
                accumulate,
                dx.option(),
                dgamma.option(),
            )
        }
    })
}

/// Group norm: y = xhat*gamma + beta, mean and variance of each sample's groups of channels.
///
/// x, y [batch, channels, spatial]; gamma (NULL: 1), beta (NULL: 0) [channels]; mean, rstd [batch, groups], may be NULL.
/// groups divides channels.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment, groups that do not divide channels), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_group_norm_forward_f32(
    ctx: *const ek_context,
    eps: f32,
    batch: usize,
    channels: usize,
    spatial: usize,
    groups: usize,
    x: *const f32,
    gamma: *const f32,
    beta: *const f32,
    y: *mut f32,
    mean: *mut f32,
    rstd: *mut f32,
) -> ek_status {
    let f = "group_norm_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[batch, channels, spatial]);
        let gamma = In::new("gamma", gamma, &[channels]).optional();
        let beta = In::new("beta", beta, &[channels]).optional();
        let y = Out::new("y", y, &[batch, channels, spatial]);
        let mean = Out::new("mean", mean, &[batch, groups]).optional();
        let rstd = Out::new("rstd", rstd, &[batch, groups]).optional();
        check(f, &[&x, &gamma, &beta, &y, &mean, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::group_norm_forward_f32(
                ctx,
                eps,
                batch,
                channels,
                spatial,
                groups,
                x.slice(),
                gamma.option(),
                beta.option(),
                y.slice(),
                mean.option(),
                rstd.option(),
            )
        }
    })
}

/// Group norm's gradients: layer norm's along each sample's groups; dgamma and dbeta over batch and spatial.
///
/// dy, x, dx [batch, channels, spatial]; mean, rstd [batch, groups] as saved; gamma (NULL: 1), dgamma, dbeta [channels],
/// which are overwritten, or added to if accumulate. dx, dgamma and dbeta may be NULL each.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, groups that do not divide channels), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_group_norm_backward_f32(
    ctx: *const ek_context,
    batch: usize,
    channels: usize,
    spatial: usize,
    groups: usize,
    dy: *const f32,
    x: *const f32,
    mean: *const f32,
    rstd: *const f32,
    gamma: *const f32,
    accumulate: bool,
    dx: *mut f32,
    dgamma: *mut f32,
    dbeta: *mut f32,
) -> ek_status {
    let f = "group_norm_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy, &[batch, channels, spatial]);
        let x = In::new("x", x, &[batch, channels, spatial]);
        let mean = In::new("mean", mean, &[batch, groups]);
        let rstd = In::new("rstd", rstd, &[batch, groups]);
        let gamma = In::new("gamma", gamma, &[channels]).optional();
        let dx = Out::new("dx", dx, &[batch, channels, spatial]).optional();
        let dgamma = Out::new("dgamma", dgamma, &[channels]).optional();
        let dbeta = Out::new("dbeta", dbeta, &[channels]).optional();
        check(f, &[&dy, &x, &mean, &rstd, &gamma, &dx, &dgamma, &dbeta])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::group_norm_backward_f32(
                ctx,
                batch,
                channels,
                spatial,
                groups,
                dy.slice(),
                x.slice(),
                mean.slice(),
                rstd.slice(),
                gamma.option(),
                accumulate,
                dx.option(),
                dgamma.option(),
                dbeta.option(),
            )
        }
    })
}

/// Batch norm in training: y = xhat*gamma + beta, mean and variance of each channel over batch and spatial.
///
/// x, y [batch, channels, spatial]; all others [channels]. spatial = 1 serves [N, C] and channels-last data. gamma (NULL:
/// 1), beta (NULL: 0), running_mean and running_var may be NULL: running = (1 - momentum)*running + momentum*(batch
/// value), running_var from the variance divided by n - 1; it is an error where a channel has one value only. mean and
/// rstd are for the backward pass.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, momentum not finite, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_batch_norm_forward_train_f32(
    ctx: *const ek_context,
    eps: f32,
    momentum: f32,
    batch: usize,
    channels: usize,
    spatial: usize,
    x: *const f32,
    gamma: *const f32,
    beta: *const f32,
    running_mean: *mut f32,
    running_var: *mut f32,
    y: *mut f32,
    mean: *mut f32,
    rstd: *mut f32,
) -> ek_status {
    let f = "batch_norm_forward_train_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[batch, channels, spatial]);
        let gamma = In::new("gamma", gamma, &[channels]).optional();
        let beta = In::new("beta", beta, &[channels]).optional();
        let running_mean = Out::new("running_mean", running_mean, &[channels]).optional();
        let running_var = Out::new("running_var", running_var, &[channels]).optional();
        let y = Out::new("y", y, &[batch, channels, spatial]);
        let mean = Out::new("mean", mean, &[channels]);
        let rstd = Out::new("rstd", rstd, &[channels]);
        check(f, &[&x, &gamma, &beta, &running_mean, &running_var, &y, &mean, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::batch_norm_forward_train_f32(
                ctx,
                eps,
                momentum,
                batch,
                channels,
                spatial,
                x.slice(),
                gamma.option(),
                beta.option(),
                running_mean.option(),
                running_var.option(),
                y.slice(),
                mean.slice(),
                rstd.slice(),
            )
        }
    })
}

/// Batch norm with given statistics: y = (x - running_mean)*gamma/sqrt(running_var + eps) + beta.
///
/// x, y [batch, channels, spatial]; gamma (NULL: 1), beta (NULL: 0), running_mean, running_var [channels].
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (eps negative or not finite, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_batch_norm_forward_infer_f32(
    ctx: *const ek_context,
    eps: f32,
    batch: usize,
    channels: usize,
    spatial: usize,
    x: *const f32,
    gamma: *const f32,
    beta: *const f32,
    running_mean: *const f32,
    running_var: *const f32,
    y: *mut f32,
) -> ek_status {
    let f = "batch_norm_forward_infer_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[batch, channels, spatial]);
        let gamma = In::new("gamma", gamma, &[channels]).optional();
        let beta = In::new("beta", beta, &[channels]).optional();
        let running_mean = In::new("running_mean", running_mean, &[channels]);
        let running_var = In::new("running_var", running_var, &[channels]);
        let y = Out::new("y", y, &[batch, channels, spatial]);
        check(f, &[&x, &gamma, &beta, &running_mean, &running_var, &y])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::batch_norm_forward_infer_f32(
                ctx,
                eps,
                batch,
                channels,
                spatial,
                x.slice(),
                gamma.option(),
                beta.option(),
                running_mean.slice(),
                running_var.slice(),
                y.slice(),
            )
        }
    })
}

/// Batch norm's gradients in training: dbeta = sum dy and dgamma = sum dy*xhat over batch and spatial,
/// dx = gamma*rstd*(dy - dbeta/n - xhat*dgamma/n), n the values of a channel.
///
/// dy, x, dx [batch, channels, spatial]; mean, rstd as saved, gamma (NULL: 1), dgamma, dbeta [channels], which are
/// overwritten, or added to if accumulate. dx, dgamma and dbeta may be NULL each.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_batch_norm_backward_f32(
    ctx: *const ek_context,
    batch: usize,
    channels: usize,
    spatial: usize,
    dy: *const f32,
    x: *const f32,
    mean: *const f32,
    rstd: *const f32,
    gamma: *const f32,
    accumulate: bool,
    dx: *mut f32,
    dgamma: *mut f32,
    dbeta: *mut f32,
) -> ek_status {
    let f = "batch_norm_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy, &[batch, channels, spatial]);
        let x = In::new("x", x, &[batch, channels, spatial]);
        let mean = In::new("mean", mean, &[channels]);
        let rstd = In::new("rstd", rstd, &[channels]);
        let gamma = In::new("gamma", gamma, &[channels]).optional();
        let dx = Out::new("dx", dx, &[batch, channels, spatial]).optional();
        let dgamma = Out::new("dgamma", dgamma, &[channels]).optional();
        let dbeta = Out::new("dbeta", dbeta, &[channels]).optional();
        check(f, &[&dy, &x, &mean, &rstd, &gamma, &dx, &dgamma, &dbeta])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::batch_norm_backward_f32(
                ctx,
                batch,
                channels,
                spatial,
                dy.slice(),
                x.slice(),
                mean.slice(),
                rstd.slice(),
                gamma.option(),
                accumulate,
                dx.option(),
                dgamma.option(),
                dbeta.option(),
            )
        }
    })
}
