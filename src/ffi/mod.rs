//! The C ABI. One file for each family: convert, check, call the safe function. No arithmetic.
//!
//! Every function runs inside [`status::guard`], makes its slices through [`tensor`] (the only place where a raw
//! pointer becomes a slice) or [`list`], and reads and writes structs through [`record`].
//!
//! `build.rs` turns the public items here into `include/evenkeel.h`; their comments are the header's comments.
#![allow(non_camel_case_types, reason = "the names are C's")]
#![allow(clippy::missing_safety_doc, reason = "the comments are written for C, where every pointer is a promise")]
#![allow(clippy::too_many_arguments, reason = "the signatures are BLAS's")]

mod list;
mod record;
mod tensor;

pub mod activation;
pub mod activation_half;
pub mod attention;
pub mod clip;
pub mod context;
pub mod convert;
pub mod data;
pub mod element;
pub mod gate;
pub mod init;
pub mod linear;
pub mod loss;
pub mod matmul;
pub mod monitor;
pub mod norm;
pub mod norm_half;
pub mod optim;
pub mod recurrent;
pub mod residual;
pub mod schedule;
pub mod softmax;
pub mod softmax_half;
pub mod spectral;
pub mod status;
pub mod step;
pub mod version;

use crate::context::Context;
use crate::error::{Error, Result};
use context::ek_context;

/// The context behind a pointer from C; NULL is the process's default.
///
/// # Safety
/// `ctx` is NULL or came from `ek_context_create` and has not been destroyed.
#[inline]
unsafe fn context_of<'a>(ctx: *const ek_context) -> Result<&'a Context> {
    // SAFETY: the caller's promise.
    match unsafe { ctx.as_ref() } {
        Some(ctx) => Ok(ctx.get()),
        None => Context::global(),
    }
}

/// The Rust value of an enum that came in as an int32_t, or `InvalidArgument`.
#[inline]
fn choice<T>(function: &'static str, name: &str, value: i32, from: impl Fn(i32) -> Option<T>) -> Result<T> {
    from(value).ok_or_else(|| Error::invalid_argument(function, format!("{name} is {value}, which names nothing")))
}
