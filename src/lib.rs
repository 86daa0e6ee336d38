//! CPU kernels of gradient-stable training: what a training step spends its time in, and where gradients die.
//!
//! Every kernel is vectorized by hand, runs on as many threads as it is worth, and is specified bit by bit: the same
//! results for any number of threads, any alignment, and every instruction set with fused multiply-add. Derivatives
//! stay true where functions saturate, norms neither overflow nor underflow, and nothing is written when an argument is
//! wrong. The same functions stand behind the C header `evenkeel.h`: a C name is `ek_` and the name here.
//!
//! | module | what |
//! |---|---|
//! | [`context`] | how many threads, whose, on which instruction set |
//! | [`matmul`], [`linear`] | matrix products; the linear layer and its gradients, fused |
//! | [`activation`] | eighteen activations, their derivatives, their gradients |
//! | [`recurrent`] | RNN, LSTM, GRU: cells, and whole sequences back through a thousand steps |
//! | [`residual`], [`gate`] | y = scale·F(x) + x; highway connections and their gradients |
//! | [`softmax`], [`loss`] | softmax and log-softmax; cross-entropy, MSE, BCE with gradients |
//! | [`attention`] | softmax(scale·Q·Kᵀ)·V by blocks with its gradients: causal, grouped heads, memory linear in the sequence |
//! | [`norm`] | layer, RMS, group and batch norm; layer norm of a sum |
//! | [`init`] | uniform, normal, Xavier, He: element i depends on (seed, stream, i) alone; orthogonal |
//! | [`optim`] | gradient norms, clipping, and clip-and-update in one call: SGD, Adam, RMSprop, … |
//! | [`spectral`] | spectral norm and radius, the norm of a layer's Jacobian |
//! | [`monitor`] | tensor statistics; does the gradient vanish or explode from layer to layer? |
//! | [`element`] | f32, bf16, f16: what tensors are stored as |
//! | [`simd`] | the vector of 16 floats that all kernels are written in |
//!
//! One training step of a linear classifier:
//!
//! ```
//! use evenkeel::linear::{linear_backward_weight_f32, linear_forward_f32};
//! use evenkeel::loss::cross_entropy_f32;
//! use evenkeel::optim::{ClipMode, ClipOptions, SgdOptions, clip_sgd_f32};
//! use evenkeel::{Activation, Context};
//!
//! let ctx = Context::global()?;
//! let (batch, features, classes) = (2, 3, 2);
//! let x = [1.0, 0.0, 2.0, 0.0, 1.0, -1.0];
//! let targets = [0, 1];
//! let (mut w, mut logits, mut dlogits, mut dw) = ([0.1; 6], [0.0; 4], [0.0; 4], [0.0; 6]);
//!
//! let (mut before, mut norm_sq) = (0.0, 0.0);
//! linear_forward_f32(ctx, Activation::Identity, 0.0, batch, features, classes, &x, &w, None, None, &mut logits)?;
//! cross_entropy_f32(
//!     ctx, 0.0, -1, 1.0, batch, classes, &logits, &targets, None, Some(&mut before), Some(&mut dlogits),
//! )?;
//! linear_backward_weight_f32(
//!     ctx, batch, features, classes, &dlogits, &x, false, &mut dw, None, Some(&mut norm_sq),
//! )?;
//! // The norm came with the gradient, so clipping costs no further pass over it.
//! let clip = ClipOptions { mode: ClipMode::GlobalNorm, threshold: 1.0, known_sum_sq: norm_sq, ..Default::default() };
//! let sgd = SgdOptions { lr: 0.5, ..Default::default() };
//! let report = clip_sgd_f32(ctx, &clip, &sgd, &mut [&mut w], &[&dw], None)?;
//! assert!((report.grad_norm - norm_sq.sqrt()).abs() < 1e-12);
//!
//! let mut after = 0.0;
//! linear_forward_f32(ctx, Activation::Identity, 0.0, batch, features, classes, &x, &w, None, None, &mut logits)?;
//! cross_entropy_f32(ctx, 0.0, -1, 1.0, batch, classes, &logits, &targets, None, Some(&mut after), None)?;
//! assert!(after < before);
//! # Ok::<(), evenkeel::Error>(())
//! ```

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

// Floors 0 to 3.
pub mod error;
pub mod simd;

pub mod context;
pub mod element;
mod fpenv;
mod parallel;
mod reduce;
mod scratch;

mod elementwise;
mod random;
#[doc(hidden)]
pub mod vecmath;

// Floor 4: kernels.
pub mod activation;
pub mod attention;
pub mod gate;
pub mod init;
pub mod linear;
pub mod loss;
pub mod matmul;
pub mod monitor;
pub mod norm;
pub mod optim;
pub mod recurrent;
pub mod residual;
pub mod softmax;
pub mod spectral;

// Floor 5: the C boundary.
#[cfg(feature = "capi")]
mod ffi;

pub use activation::Activation;
pub use context::{Context, ContextBuilder};
pub use element::{Storage, bf16, f16};
pub use error::{Error, Result};
pub use simd::Isa;

/// The programs of the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
