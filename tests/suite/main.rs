//! The test suite: one module for each family.

mod common;
mod context;
mod matmul;
mod simd;
mod vecmath;
