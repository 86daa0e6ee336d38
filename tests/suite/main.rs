//! The test suite: one module for each family.

mod activation;
mod attention;
mod attention_scalar;
mod attention_truth;
mod common;
mod context;
mod element;
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
mod optim_scalar;
mod simd;
mod softmax;
mod stored;
mod vecmath;
