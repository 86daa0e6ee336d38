//! RMS norm.

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

macro_rules! rms_norm {
    ($($type:ty: $forward:ident $backward:ident, $words:literal;)*) => {$(
/// RMS norm along rows: y = x·rstd·gamma, rstd = 1/√(avg(x²) + eps) (whitepaper §13, without the mean).
///
#[doc = $words]
/// Shapes, row-major: `x`, `y` `[rows, cols]`; `gamma` (1 if None) `[cols]`; `rstd` `[rows]`, in f32, for the backward pass.
/// Source: Zhang and Sennrich 2019.
///
/// Accuracy: a few roundings of f32, whatever the row's scale, from 1e-45 to 3e38. With eps 0 a row of zeros gives
/// zeros, and its rstd is infinite. NaN or an infinity makes NaN in its row and in no other. Threads: the same bits for any number.
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
    y: &mut [$type],
    rstd: Option<&mut [f32]>,
) -> Result {
    const FUNCTION: &str = stringify!($forward);
    forward(FUNCTION, ctx, eps, [rows, cols], x, gamma, y, rstd)
}

/// RMS norm's gradients: with x̂ = x·rstd and g = dy·gamma, dx = rstd·(g − x̂·avg(g·x̂)), averages along the row;
/// dgamma = Σ dy·x̂ down the rows.
///
#[doc = $words]
/// Shapes, row-major: `dy`, `x`, `dx` `[rows, cols]`; `rstd` `[rows]` as the forward pass saved it; `gamma` (1 if None)
/// `[cols]`; `dgamma` `[cols]`, in f32, overwritten, or added to if `accumulate`. Each output may be None.
///
/// Accuracy: a few roundings of f32 relative to |g|·rstd of the row. dgamma does not drift with the number of rows.
/// Where rstd is infinite (a row of zeros, eps 0), dx is 0. Threads: the same bits for any number.
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
    rstd: &[f32],
    gamma: Option<&[$type]>,
    accumulate: bool,
    dx: Option<&mut [$type]>,
    dgamma: Option<&mut [f32]>,
) -> Result {
    const FUNCTION: &str = stringify!($backward);
    backward(FUNCTION, ctx, [rows, cols], dy, x, rstd, gamma, accumulate, dx, dgamma)
}
    )*};
}

rms_norm! {
    f32: rms_norm_forward_f32 rms_norm_backward_f32, "";
    bf16: rms_norm_forward_bf16 rms_norm_backward_bf16,
        "Tensors and gamma in bf16, arithmetic in f32, one rounding at the store.\n";
    f16: rms_norm_forward_f16 rms_norm_backward_f16,
        "Tensors and gamma in f16, arithmetic in f32, one rounding at the store.\n";
}

#[allow(clippy::too_many_arguments)]
fn forward<T: Storage>(
    function: &'static str,
    ctx: &Context,
    eps: f32,
    [rows, cols]: [usize; 2],
    x: &[T],
    gamma: Option<&[T]>,
    y: &mut [T],
    rstd: Option<&mut [f32]>,
) -> Result {
    check_eps(function, eps)?;
    let n = product(function, "x", &[rows, cols])?;
    check_len(function, "x", x, n)?;
    check_optional(function, "gamma", gamma, cols)?;
    check_len(function, "y", y, n)?;
    check_optional(function, "rstd", rstd.as_deref(), rows)?;
    let mut affine = Affine::take(function, rows, cols)?;
    let [gamma, _] = affine.views(gamma, None, cols);
    let call = Call { eps, cols, groups: 1, input: Input::Given(x), gamma, beta: gamma, y, mean: None, rstd };
    forward::run::<T, false>(function, ctx, FORWARD_NS, call)
}

#[allow(clippy::too_many_arguments)]
fn backward<T: Storage>(
    function: &'static str,
    ctx: &Context,
    [rows, cols]: [usize; 2],
    dy: &[T],
    x: &[T],
    rstd: &[f32],
    gamma: Option<&[T]>,
    accumulate: bool,
    dx: Option<&mut [T]>,
    dgamma: Option<&mut [f32]>,
) -> Result {
    let n = product(function, "dy", &[rows, cols])?;
    check_len(function, "dy", dy, n)?;
    check_len(function, "x", x, n)?;
    check_len(function, "rstd", rstd, rows)?;
    check_optional(function, "gamma", gamma, cols)?;
    check_optional(function, "dx", dx.as_deref(), n)?;
    check_optional(function, "dgamma", dgamma.as_deref(), cols)?;
    let mut affine = Affine::take(function, rows, cols)?;
    let [gamma, _] = affine.views(gamma, None, cols);
    // Without a mean there is no use of one.
    let call = Gradients { cols, groups: 1, dy, dsum: None, x, mean: rstd, rstd, gamma, dx, params: dgamma.is_some() };
    let mut sums = backward::run::<T, false>(function, ctx, BACKWARD_NS, call)?;
    parts::join(ctx, sums.layout, sums.get(), 0, accumulate, dgamma);
    Ok(())
}
