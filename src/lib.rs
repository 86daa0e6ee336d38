#![doc = "CPU kernels of gradient-stable training."]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

pub mod error;
pub mod simd;
pub use error::{Error, Result};
