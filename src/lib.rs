#![doc = "CPU kernels of gradient-stable training."]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

pub mod error;

pub mod simd;

pub mod activation;
pub mod context;
mod elementwise;
#[cfg(feature = "capi")]
mod ffi;
mod fpenv;
pub mod matmul;
pub mod monitor;
pub mod optim;
mod parallel;
mod random;
mod reduce;
mod scratch;
#[doc(hidden)]
pub mod vecmath;

pub mod init;
pub mod linear;
pub mod loss;
pub mod softmax;

pub use activation::Activation;
pub use context::{Context, ContextBuilder};
pub use error::{Error, Result};
pub use simd::Isa;
