//! The test suite: one module for each family.

mod activation;
mod common;
mod context;
mod init;
mod linear;
mod loss;
mod matmul;
mod optim;
mod simd;
mod softmax;
mod vecmath;
