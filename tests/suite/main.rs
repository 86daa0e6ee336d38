//! The test suite: one module for each family.

mod activation;
mod common;
mod context;
mod element;
mod gate;
mod init;
mod init_orthogonal;
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
mod recurrent;
mod recurrent_cases;
mod recurrent_truth;
mod simd;
mod softmax;
mod stored;
mod vecmath;
