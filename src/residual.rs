//! Residual connections (whitepaper §14): y = F(x) + x, whose Jacobian is I + ∂F/∂x, so that a gradient always has a way
//! through.
//!
//! ```
//! use evenkeel::Context;
//! use evenkeel::residual::residual_add_f32;
//!
//! let mut y = [0.0; 3];
//! residual_add_f32(Context::global()?, 0.5, &[2.0, 4.0, 6.0], &[1.0, 1.0, 1.0], &mut y)?;
//! assert_eq!(y, [2.0, 3.0, 4.0]);
//! # Ok::<(), evenkeel::Error>(())
//! ```

use crate::context::Context;
use crate::element::{Storage, bf16, f16};
use crate::elementwise::{Join, Map1, map2, one_stage_map};
use crate::error::{Result, check_len};
use crate::simd::Simd;

#[derive(Clone, Copy)]
struct Add {
    scale: f32,
}

impl Join for Add {
    #[inline(always)]
    fn join<S: Simd>(self, s: S, fx: S::F, x: S::F) -> S::F {
        s.fma(s.splat(self.scale), fx, x)
    }
}

/// fx as it is.
#[derive(Clone, Copy)]
struct Same;

impl Map1 for Same {
    one_stage_map!();
    #[inline(always)]
    fn finish<S: Simd>(self, _: S, fx: S::F, (): ()) -> S::F {
        fx
    }
}

/// scale·fx + x; an input that is None is the output's old values.
pub(crate) fn add<T: Storage>(
    function: &'static str,
    ctx: &Context,
    scale: f32,
    fx: Option<&[T]>,
    x: Option<&[T]>,
    y: &mut [T],
) -> Result {
    let n = fx.map_or(y.len(), |fx| fx.len());
    if let Some(x) = x {
        check_len(function, "x", x, n)?;
    }
    check_len(function, if x.is_some() { "y" } else { "x" }, y, n)?;
    map2(ctx, 0.1, fx, x, y, Same, Add { scale });
    Ok(())
}

/// y = scale·fx + x, element by element, all of one length (whitepaper §14).
///
/// Rounded once: a fused multiply-add. The gradient of fx is scale·dy, that of x is dy and what comes back through F.
/// `scale` is 1 for the plain connection; a small one steadies very deep networks. Aliasing:
/// [`residual_add_in_place_f32`] writes over x, [`residual_add_over_fx_f32`] over fx. Threads: the same bits for any
/// number. Errors: `InvalidSize`.
pub fn residual_add_f32(ctx: &Context, scale: f32, fx: &[f32], x: &[f32], y: &mut [f32]) -> Result {
    add("residual_add_f32", ctx, scale, Some(fx), Some(x), y)
}

/// [`residual_add_f32`] written over x.
pub fn residual_add_in_place_f32(ctx: &Context, scale: f32, fx: &[f32], x: &mut [f32]) -> Result {
    add("residual_add_f32", ctx, scale, Some(fx), None, x)
}

/// [`residual_add_f32`] written over fx.
pub fn residual_add_over_fx_f32(ctx: &Context, scale: f32, fx: &mut [f32], x: &[f32]) -> Result {
    add("residual_add_f32", ctx, scale, None, Some(x), fx)
}

macro_rules! stored {
    ($type:ident, $add:ident $in_place:ident $over_fx:ident) => {
        #[doc = concat!("[`residual_add_f32`] of tensors in ", stringify!($type), ": f32 inside, one rounding at the store.")]
        pub fn $add(ctx: &Context, scale: f32, fx: &[$type], x: &[$type], y: &mut [$type]) -> Result {
            add(stringify!($add), ctx, scale, Some(fx), Some(x), y)
        }
        #[doc = concat!("[`", stringify!($add), "`] written over x.")]
        pub fn $in_place(ctx: &Context, scale: f32, fx: &[$type], x: &mut [$type]) -> Result {
            add(stringify!($add), ctx, scale, Some(fx), None, x)
        }
        #[doc = concat!("[`", stringify!($add), "`] written over fx.")]
        pub fn $over_fx(ctx: &Context, scale: f32, fx: &mut [$type], x: &[$type]) -> Result {
            add(stringify!($add), ctx, scale, None, Some(x), fx)
        }
    };
}
stored!(bf16, residual_add_bf16 residual_add_in_place_bf16 residual_add_over_fx_bf16);
stored!(f16, residual_add_f16 residual_add_in_place_f16 residual_add_over_fx_f16);
