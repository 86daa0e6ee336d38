//! The test suite: one module for each family.

mod activation;
mod common;
mod context;
mod element;
mod init;
mod linear;
mod loss;
mod matmul;
mod matmul_types;
mod monitor;
mod optim;
mod optim_scalar;
mod simd;
mod softmax;
mod stored;
mod vecmath;
