//! The test suite: one module for each family.

mod activation;
mod common;
mod context;
mod convert;
mod element;
mod flow;
mod init;
mod linear;
mod loss;
mod matmul;
mod matmul_types;
mod monitor;
mod norm;
mod norm_batch;
mod norm_scalar;
mod norm_truth;
mod optim;
mod optim_half;
mod optim_range;
mod optim_scalar;
mod optim_torch;
mod simd;
mod softmax;
mod stored;
mod vecmath;
