//! Layer and RMS norm of tensors in bf16 and f16.

use super::context::ek_context;
use super::context_of;
use super::element::{ek_bf16, ek_f16};
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::element::{bf16, f16};
use crate::norm;

/// As ek_layer_norm_forward_f32 with tensors and parameters in bf16: arithmetic in float, one rounding at the store. mean,
/// rstd and parameter gradients are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_layer_norm_forward_bf16(
    ctx: *const ek_context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: *const ek_bf16,
    gamma: *const ek_bf16,
    beta: *const ek_bf16,
    y: *mut ek_bf16,
    mean: *mut f32,
    rstd: *mut f32,
) -> ek_status {
    let f = "layer_norm_forward_bf16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x.cast::<bf16>(), &[rows, cols]);
        let gamma = In::new("gamma", gamma.cast::<bf16>(), &[cols]).optional();
        let beta = In::new("beta", beta.cast::<bf16>(), &[cols]).optional();
        let y = Out::new("y", y.cast::<bf16>(), &[rows, cols]);
        let mean = Out::new("mean", mean, &[rows]).optional();
        let rstd = Out::new("rstd", rstd, &[rows]).optional();
        check(f, &[&x, &gamma, &beta, &y, &mean, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::layer_norm_forward_bf16(
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

/// As ek_layer_norm_backward_f32 with tensors and parameters in bf16: arithmetic in float, one rounding at the store. mean,
/// rstd and parameter gradients are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_layer_norm_backward_bf16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    dy: *const ek_bf16,
    x: *const ek_bf16,
    mean: *const f32,
    rstd: *const f32,
    gamma: *const ek_bf16,
    accumulate: bool,
    dx: *mut ek_bf16,
    dgamma: *mut f32,
    dbeta: *mut f32,
) -> ek_status {
    let f = "layer_norm_backward_bf16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy.cast::<bf16>(), &[rows, cols]);
        let x = In::new("x", x.cast::<bf16>(), &[rows, cols]);
        let mean = In::new("mean", mean, &[rows]);
        let rstd = In::new("rstd", rstd, &[rows]);
        let gamma = In::new("gamma", gamma.cast::<bf16>(), &[cols]).optional();
        let dx = Out::new("dx", dx.cast::<bf16>(), &[rows, cols]).optional();
        let dgamma = Out::new("dgamma", dgamma, &[cols]).optional();
        let dbeta = Out::new("dbeta", dbeta, &[cols]).optional();
        check(f, &[&dy, &x, &mean, &rstd, &gamma, &dx, &dgamma, &dbeta])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::layer_norm_backward_bf16(
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

/// As ek_add_layer_norm_forward_f32 with tensors and parameters in bf16: arithmetic in float, one rounding at the store. mean,
/// rstd and parameter gradients are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_add_layer_norm_forward_bf16(
    ctx: *const ek_context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: *const ek_bf16,
    residual: *const ek_bf16,
    gamma: *const ek_bf16,
    beta: *const ek_bf16,
    sum: *mut ek_bf16,
    y: *mut ek_bf16,
    mean: *mut f32,
    rstd: *mut f32,
) -> ek_status {
    let f = "add_layer_norm_forward_bf16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x.cast::<bf16>(), &[rows, cols]);
        let residual = In::new("residual", residual.cast::<bf16>(), &[rows, cols]);
        let gamma = In::new("gamma", gamma.cast::<bf16>(), &[cols]).optional();
        let beta = In::new("beta", beta.cast::<bf16>(), &[cols]).optional();
        let sum = Out::new("sum", sum.cast::<bf16>(), &[rows, cols]);
        let y = Out::new("y", y.cast::<bf16>(), &[rows, cols]);
        let mean = Out::new("mean", mean, &[rows]).optional();
        let rstd = Out::new("rstd", rstd, &[rows]).optional();
        check(f, &[&x, &residual, &gamma, &beta, &sum, &y, &mean, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::add_layer_norm_forward_bf16(
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

/// As ek_add_layer_norm_backward_f32 with tensors and parameters in bf16: arithmetic in float, one rounding at the store. mean,
/// rstd and parameter gradients are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_add_layer_norm_backward_bf16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    dy: *const ek_bf16,
    dsum: *const ek_bf16,
    sum: *const ek_bf16,
    mean: *const f32,
    rstd: *const f32,
    gamma: *const ek_bf16,
    accumulate: bool,
    dx: *mut ek_bf16,
    dgamma: *mut f32,
    dbeta: *mut f32,
) -> ek_status {
    let f = "add_layer_norm_backward_bf16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy.cast::<bf16>(), &[rows, cols]);
        let dsum = In::new("dsum", dsum.cast::<bf16>(), &[rows, cols]).optional();
        let sum = In::new("sum", sum.cast::<bf16>(), &[rows, cols]);
        let mean = In::new("mean", mean, &[rows]);
        let rstd = In::new("rstd", rstd, &[rows]);
        let gamma = In::new("gamma", gamma.cast::<bf16>(), &[cols]).optional();
        let dx = Out::new("dx", dx.cast::<bf16>(), &[rows, cols]);
        let dgamma = Out::new("dgamma", dgamma, &[cols]).optional();
        let dbeta = Out::new("dbeta", dbeta, &[cols]).optional();
        check(f, &[&dy, &dsum, &sum, &mean, &rstd, &gamma, &dx, &dgamma, &dbeta])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::add_layer_norm_backward_bf16(
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

/// As ek_rms_norm_forward_f32 with tensors and gamma in bf16: arithmetic in float, one rounding at the store. rstd and
/// dgamma are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rms_norm_forward_bf16(
    ctx: *const ek_context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: *const ek_bf16,
    gamma: *const ek_bf16,
    y: *mut ek_bf16,
    rstd: *mut f32,
) -> ek_status {
    let f = "rms_norm_forward_bf16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x.cast::<bf16>(), &[rows, cols]);
        let gamma = In::new("gamma", gamma.cast::<bf16>(), &[cols]).optional();
        let y = Out::new("y", y.cast::<bf16>(), &[rows, cols]);
        let rstd = Out::new("rstd", rstd, &[rows]).optional();
        check(f, &[&x, &gamma, &y, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::rms_norm_forward_bf16(ctx, eps, rows, cols, x.slice(), gamma.option(), y.slice(), rstd.option())
        }
    })
}

/// As ek_rms_norm_backward_f32 with tensors and gamma in bf16: arithmetic in float, one rounding at the store. rstd and
/// dgamma are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rms_norm_backward_bf16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    dy: *const ek_bf16,
    x: *const ek_bf16,
    rstd: *const f32,
    gamma: *const ek_bf16,
    accumulate: bool,
    dx: *mut ek_bf16,
    dgamma: *mut f32,
) -> ek_status {
    let f = "rms_norm_backward_bf16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy.cast::<bf16>(), &[rows, cols]);
        let x = In::new("x", x.cast::<bf16>(), &[rows, cols]);
        let rstd = In::new("rstd", rstd, &[rows]);
        let gamma = In::new("gamma", gamma.cast::<bf16>(), &[cols]).optional();
        let dx = Out::new("dx", dx.cast::<bf16>(), &[rows, cols]).optional();
        let dgamma = Out::new("dgamma", dgamma, &[cols]).optional();
        check(f, &[&dy, &x, &rstd, &gamma, &dx, &dgamma])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::rms_norm_backward_bf16(
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

/// As ek_layer_norm_forward_f32 with tensors and parameters in f16: arithmetic in float, one rounding at the store. mean,
/// rstd and parameter gradients are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_layer_norm_forward_f16(
    ctx: *const ek_context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: *const ek_f16,
    gamma: *const ek_f16,
    beta: *const ek_f16,
    y: *mut ek_f16,
    mean: *mut f32,
    rstd: *mut f32,
) -> ek_status {
    let f = "layer_norm_forward_f16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x.cast::<f16>(), &[rows, cols]);
        let gamma = In::new("gamma", gamma.cast::<f16>(), &[cols]).optional();
        let beta = In::new("beta", beta.cast::<f16>(), &[cols]).optional();
        let y = Out::new("y", y.cast::<f16>(), &[rows, cols]);
        let mean = Out::new("mean", mean, &[rows]).optional();
        let rstd = Out::new("rstd", rstd, &[rows]).optional();
        check(f, &[&x, &gamma, &beta, &y, &mean, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::layer_norm_forward_f16(
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

/// As ek_layer_norm_backward_f32 with tensors and parameters in f16: arithmetic in float, one rounding at the store. mean,
/// rstd and parameter gradients are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_layer_norm_backward_f16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    dy: *const ek_f16,
    x: *const ek_f16,
    mean: *const f32,
    rstd: *const f32,
    gamma: *const ek_f16,
    accumulate: bool,
    dx: *mut ek_f16,
    dgamma: *mut f32,
    dbeta: *mut f32,
) -> ek_status {
    let f = "layer_norm_backward_f16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy.cast::<f16>(), &[rows, cols]);
        let x = In::new("x", x.cast::<f16>(), &[rows, cols]);
        let mean = In::new("mean", mean, &[rows]);
        let rstd = In::new("rstd", rstd, &[rows]);
        let gamma = In::new("gamma", gamma.cast::<f16>(), &[cols]).optional();
        let dx = Out::new("dx", dx.cast::<f16>(), &[rows, cols]).optional();
        let dgamma = Out::new("dgamma", dgamma, &[cols]).optional();
        let dbeta = Out::new("dbeta", dbeta, &[cols]).optional();
        check(f, &[&dy, &x, &mean, &rstd, &gamma, &dx, &dgamma, &dbeta])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::layer_norm_backward_f16(
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

/// As ek_add_layer_norm_forward_f32 with tensors and parameters in f16: arithmetic in float, one rounding at the store. mean,
/// rstd and parameter gradients are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_add_layer_norm_forward_f16(
    ctx: *const ek_context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: *const ek_f16,
    residual: *const ek_f16,
    gamma: *const ek_f16,
    beta: *const ek_f16,
    sum: *mut ek_f16,
    y: *mut ek_f16,
    mean: *mut f32,
    rstd: *mut f32,
) -> ek_status {
    let f = "add_layer_norm_forward_f16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x.cast::<f16>(), &[rows, cols]);
        let residual = In::new("residual", residual.cast::<f16>(), &[rows, cols]);
        let gamma = In::new("gamma", gamma.cast::<f16>(), &[cols]).optional();
        let beta = In::new("beta", beta.cast::<f16>(), &[cols]).optional();
        let sum = Out::new("sum", sum.cast::<f16>(), &[rows, cols]);
        let y = Out::new("y", y.cast::<f16>(), &[rows, cols]);
        let mean = Out::new("mean", mean, &[rows]).optional();
        let rstd = Out::new("rstd", rstd, &[rows]).optional();
        check(f, &[&x, &residual, &gamma, &beta, &sum, &y, &mean, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::add_layer_norm_forward_f16(
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

/// As ek_add_layer_norm_backward_f32 with tensors and parameters in f16: arithmetic in float, one rounding at the store. mean,
/// rstd and parameter gradients are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_add_layer_norm_backward_f16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    dy: *const ek_f16,
    dsum: *const ek_f16,
    sum: *const ek_f16,
    mean: *const f32,
    rstd: *const f32,
    gamma: *const ek_f16,
    accumulate: bool,
    dx: *mut ek_f16,
    dgamma: *mut f32,
    dbeta: *mut f32,
) -> ek_status {
    let f = "add_layer_norm_backward_f16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy.cast::<f16>(), &[rows, cols]);
        let dsum = In::new("dsum", dsum.cast::<f16>(), &[rows, cols]).optional();
        let sum = In::new("sum", sum.cast::<f16>(), &[rows, cols]);
        let mean = In::new("mean", mean, &[rows]);
        let rstd = In::new("rstd", rstd, &[rows]);
        let gamma = In::new("gamma", gamma.cast::<f16>(), &[cols]).optional();
        let dx = Out::new("dx", dx.cast::<f16>(), &[rows, cols]);
        let dgamma = Out::new("dgamma", dgamma, &[cols]).optional();
        let dbeta = Out::new("dbeta", dbeta, &[cols]).optional();
        check(f, &[&dy, &dsum, &sum, &mean, &rstd, &gamma, &dx, &dgamma, &dbeta])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::add_layer_norm_backward_f16(
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

/// As ek_rms_norm_forward_f32 with tensors and gamma in f16: arithmetic in float, one rounding at the store. rstd and
/// dgamma are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rms_norm_forward_f16(
    ctx: *const ek_context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: *const ek_f16,
    gamma: *const ek_f16,
    y: *mut ek_f16,
    rstd: *mut f32,
) -> ek_status {
    let f = "rms_norm_forward_f16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x.cast::<f16>(), &[rows, cols]);
        let gamma = In::new("gamma", gamma.cast::<f16>(), &[cols]).optional();
        let y = Out::new("y", y.cast::<f16>(), &[rows, cols]);
        let rstd = Out::new("rstd", rstd, &[rows]).optional();
        check(f, &[&x, &gamma, &y, &rstd])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe { norm::rms_norm_forward_f16(ctx, eps, rows, cols, x.slice(), gamma.option(), y.slice(), rstd.option()) }
    })
}

/// As ek_rms_norm_backward_f32 with tensors and gamma in f16: arithmetic in float, one rounding at the store. rstd and
/// dgamma are float.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rms_norm_backward_f16(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    dy: *const ek_f16,
    x: *const ek_f16,
    rstd: *const f32,
    gamma: *const ek_f16,
    accumulate: bool,
    dx: *mut ek_f16,
    dgamma: *mut f32,
) -> ek_status {
    let f = "rms_norm_backward_f16";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let dy = In::new("dy", dy.cast::<f16>(), &[rows, cols]);
        let x = In::new("x", x.cast::<f16>(), &[rows, cols]);
        let rstd = In::new("rstd", rstd, &[rows]);
        let gamma = In::new("gamma", gamma.cast::<f16>(), &[cols]).optional();
        let dx = Out::new("dx", dx.cast::<f16>(), &[rows, cols]).optional();
        let dgamma = Out::new("dgamma", dgamma, &[cols]).optional();
        check(f, &[&dy, &x, &rstd, &gamma, &dx, &dgamma])?;
        // SAFETY: checked above; sizes are the caller's promise.
        unsafe {
            norm::rms_norm_backward_f16(
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
