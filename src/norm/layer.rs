//! Layer norm, and layer norm of a sum.

use super::backward::{self, Gradients};
use super::forward::{self, Call, Input};
use super::parts;
use super::{Affine, check_eps, check_optional};
use crate::context::Context;
use crate::element::{Storage, bf16, f16};
use crate::error::{Result, check_len, product};

/// Nanoseconds an element takes.
const FORWARD_NS: f64 = 0.25;
const BACKWARD_NS: f64 = 0.4;

macro_rules! layer_norm {
    ($($type:ty: $forward:ident $backward:ident $add_forward:ident $add_backward:ident, $words:literal;)*) => {$(
/// Layer norm along rows: y = x̂·gamma + beta, x̂ = (x − mean)·rstd, rstd = 1/√(variance + eps) (whitepaper §13).
///
#[doc = $words]
/// Shapes, row-major: `x`, `y` `[rows, cols]`; `gamma` (1 if None), `beta` (0 if None) `[cols]`; `mean`, `rstd` `[rows]`, in
/// f32, for the backward pass. The variance is divided by cols. Source: Ba et al. 2016.
///
/// Accuracy: y and the statistics have a few roundings of f32 relative to the row's spread, whatever its offset and its
/// scale, from 1e-45 to 3e38. A constant row gives beta exactly. With eps 0 it has no scale: it gives beta too, and its
/// rstd is infinite. NaN or an infinity makes its row NaN and no other. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidArgument` for an eps that is negative or not finite, `InvalidSize`, `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn $forward(
    ctx: &Context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: &[$type],
    gamma: Option<&[$type]>,
    beta: Option<&[$type]>,
    y: &mut [$type],
    mean: Option<&mut [f32]>,
    rstd: Option<&mut [f32]>,
) -> Result {
    const FUNCTION: &str = stringify!($forward);
    check_len(FUNCTION, "x", x, product(FUNCTION, "x", &[rows, cols])?)?;
    forward(FUNCTION, ctx, eps, [rows, cols], Input::Given(x), gamma, beta, y, mean, rstd)
}

/// Layer norm of a sum: sum = x + residual, y = layer norm of sum (whitepaper §13, §14).
///
#[doc = $words]
/// Shapes as for layer norm; `residual`, `sum` `[rows, cols]`. `sum` is what the residual stream goes on with, and what
/// the backward pass takes; it is rounded to its storage before it is normalized.
///
/// Accuracy, threads and errors: those of layer norm.
///
/// # Errors
/// `InvalidArgument`, `InvalidSize`, `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn $add_forward(
    ctx: &Context,
    eps: f32,
    rows: usize,
    cols: usize,
    x: &[$type],
    residual: &[$type],
    gamma: Option<&[$type]>,
    beta: Option<&[$type]>,
    sum: &mut [$type],
    y: &mut [$type],
    mean: Option<&mut [f32]>,
    rstd: Option<&mut [f32]>,
) -> Result {
    const FUNCTION: &str = stringify!($add_forward);
    let n = product(FUNCTION, "x", &[rows, cols])?;
    check_len(FUNCTION, "x", x, n)?;
    check_len(FUNCTION, "residual", residual, n)?;
    check_len(FUNCTION, "sum", sum, n)?;
    forward(FUNCTION, ctx, eps, [rows, cols], Input::Sum { x, residual, sum }, gamma, beta, y, mean, rstd)
}

/// Layer norm's gradients (whitepaper §13): with g = dy·gamma, dx = rstd·(g − avg(g) − x̂·avg(g·x̂)), averages along
/// the row; dgamma = Σ dy·x̂ and dbeta = Σ dy down the rows.
///
#[doc = $words]
/// Shapes, row-major: `dy`, `x`, `dx` `[rows, cols]`; `mean`, `rstd` `[rows]` as the forward pass saved them; `gamma` (1 if
/// None) `[cols]`; `dgamma`, `dbeta` `[cols]`, in f32, overwritten, or added to if `accumulate`. Each output may be None.
///
/// Accuracy: a few roundings of f32 relative to |g|·rstd of the row, whatever the offset of x: the mean's rounding is
/// taken back out. dgamma and dbeta do not drift with the number of rows. A constant row gives dgamma nothing; where
/// rstd is infinite (eps 0), dx is 0 too. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`, `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn $backward(
    ctx: &Context,
    rows: usize,
    cols: usize,
    dy: &[$type],
    x: &[$type],
    mean: &[f32],
    rstd: &[f32],
    gamma: Option<&[$type]>,
    accumulate: bool,
    dx: Option<&mut [$type]>,
    dgamma: Option<&mut [f32]>,
    dbeta: Option<&mut [f32]>,
) -> Result {
    const FUNCTION: &str = stringify!($backward);
    backward(FUNCTION, ctx, [rows, cols], dy, None, ("x", x), mean, rstd, gamma, accumulate, dx, dgamma, dbeta)
}

/// Gradients of a layer norm of a sum: dx = layer norm's gradient by dy, plus `dsum`: the gradient of x and of the
/// residual alike (whitepaper §13, §14).
///
#[doc = $words]
/// Shapes as for layer norm's gradients; `sum` as the forward pass stored it; `dsum` (0 if None) `[rows, cols]` is the
/// gradient that arrives at sum by the residual path.
///
/// Accuracy, threads and errors: those of layer norm's gradients.
///
/// # Errors
/// `InvalidSize`, `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn $add_backward(
    ctx: &Context,
    rows: usize,
    cols: usize,
    dy: &[$type],
    dsum: Option<&[$type]>,
    sum: &[$type],
    mean: &[f32],
    rstd: &[f32],
    gamma: Option<&[$type]>,
    accumulate: bool,
    dx: &mut [$type],
    dgamma: Option<&mut [f32]>,
    dbeta: Option<&mut [f32]>,
) -> Result {
    const FUNCTION: &str = stringify!($add_backward);
    let x = ("sum", sum);
    backward(FUNCTION, ctx, [rows, cols], dy, dsum, x, mean, rstd, gamma, accumulate, Some(dx), dgamma, dbeta)
}
    )*};
}

layer_norm! {
    f32: layer_norm_forward_f32 layer_norm_backward_f32 add_layer_norm_forward_f32 add_layer_norm_backward_f32, "";
    bf16: layer_norm_forward_bf16 layer_norm_backward_bf16 add_layer_norm_forward_bf16 add_layer_norm_backward_bf16,
        "Tensors, gamma and beta in bf16, arithmetic in f32, one rounding at the store.\n";
    f16: layer_norm_forward_f16 layer_norm_backward_f16 add_layer_norm_forward_f16 add_layer_norm_backward_f16,
        "Tensors, gamma and beta in f16, arithmetic in f32, one rounding at the store.\n";
}

#[allow(clippy::too_many_arguments)]
fn forward<T: Storage>(
    function: &'static str,
    ctx: &Context,
    eps: f32,
    [rows, cols]: [usize; 2],
    input: Input<'_, T>,
    gamma: Option<&[T]>,
    beta: Option<&[T]>,
    y: &mut [T],
    mean: Option<&mut [f32]>,
    rstd: Option<&mut [f32]>,
) -> Result {
    check_eps(function, eps)?;
    check_optional(function, "gamma", gamma, cols)?;
    check_optional(function, "beta", beta, cols)?;
    check_len(function, "y", y, product(function, "y", &[rows, cols])?)?;
    check_optional(function, "mean", mean.as_deref(), rows)?;
    check_optional(function, "rstd", rstd.as_deref(), rows)?;
    let mut affine = Affine::take(function, rows, cols)?;
    let [gamma, beta] = affine.views(gamma, beta, cols);
    forward::run::<T, true>(function, ctx, FORWARD_NS, Call { eps, cols, groups: 1, input, gamma, beta, y, mean, rstd })
}

#[allow(clippy::too_many_arguments)]
fn backward<T: Storage>(
    function: &'static str,
    ctx: &Context,
    [rows, cols]: [usize; 2],
    dy: &[T],
    dsum: Option<&[T]>,
    (x_name, x): (&str, &[T]),
    mean: &[f32],
    rstd: &[f32],
    gamma: Option<&[T]>,
    accumulate: bool,
    dx: Option<&mut [T]>,
    dgamma: Option<&mut [f32]>,
    dbeta: Option<&mut [f32]>,
) -> Result {
    let n = product(function, "dy", &[rows, cols])?;
    check_len(function, "dy", dy, n)?;
    check_optional(function, "dsum", dsum, n)?;
    check_len(function, x_name, x, n)?;
    check_len(function, "mean", mean, rows)?;
    check_len(function, "rstd", rstd, rows)?;
    check_optional(function, "gamma", gamma, cols)?;
    check_optional(function, "dx", dx.as_deref(), n)?;
    check_optional(function, "dgamma", dgamma.as_deref(), cols)?;
    check_optional(function, "dbeta", dbeta.as_deref(), cols)?;
    let mut affine = Affine::take(function, rows, cols)?;
    let [gamma, _] = affine.views(gamma, None, cols);
    let params = dgamma.is_some() || dbeta.is_some();
    let call = Gradients { cols, groups: 1, dy, dsum, x, mean, rstd, gamma, dx, params };
    let mut sums = backward::run::<T, true>(function, ctx, BACKWARD_NS, call)?;
    parts::join(ctx, sums.layout, sums.get(), 0, accumulate, dgamma);
    parts::join(ctx, sums.layout, sums.get(), 1, accumulate, dbeta);
    Ok(())
}
