//! The linear layer: a product with its bias, activation and derivative folded into the tile.
//!
//! Source: whitepaper §2, z = W·a + b, a = φ(z), δ = (Wᵀδ) ⊙ φ'(z). Products run in the orders of
//! [`matmul`](crate::matmul); what follows a product is one operation on its finished element.
//!
//! ```
//! use evenkeel::linear::{linear_backward_input_f32, linear_forward_f32};
//! use evenkeel::{Activation, Context};
//!
//! let ctx = Context::global()?;
//! let (x, w, bias) = ([1.0, 2.0], [1.0, 0.0, 0.0, -1.0], [0.5, 0.5]); // one row of two; W [2, 2]
//! let (mut z, mut y) = ([0.0; 2], [0.0; 2]);
//! linear_forward_f32(ctx, Activation::Relu, 0.0, 1, 2, 2, &x, &w, Some(&bias), Some(&mut z), &mut y)?;
//! assert_eq!((z, y), ([1.5, -1.5], [1.5, 0.0]));
//!
//! // δ of the layer below, whose pre-activations were x here: (dz·W) ⊙ relu'(x).
//! let mut dx = [0.0; 2];
//! linear_backward_input_f32(ctx, Activation::Relu, 0.0, 1, 2, 2, &[1.0, 1.0], &w, Some(&x), &mut dx)?;
//! assert_eq!(dx, [1.0, -1.0]);
//! # Ok::<(), evenkeel::Error>(())
//! ```

mod forward;
mod input;
mod weight;

use crate::simd::Simd;

pub use forward::linear_forward_f32;
pub use input::linear_backward_input_f32;
pub use weight::linear_backward_weight_f32;
pub(crate) use weight::{BIAS_BLOCK, column_sums};

/// Full vectors and tails alike, without a branch where masks cost nothing.
///
/// # Safety
/// `p` is valid for reading `n` ≤ 16 floats.
#[inline(always)]
unsafe fn load<S: Simd>(s: S, p: *const f32, n: usize) -> S::F {
    // SAFETY: the contract.
    unsafe { if S::MASKS { s.load_first(p, n) } else { s.load_up_to(p, n) } }
}

/// As [`load`].
///
/// # Safety
/// `p` is valid for writing `n` ≤ 16 floats.
#[inline(always)]
unsafe fn store<S: Simd>(s: S, p: *mut f32, v: S::F, n: usize) {
    // SAFETY: the contract.
    unsafe { if S::MASKS { s.store_first(p, v, n) } else { s.store_up_to(p, v, n) } }
}
