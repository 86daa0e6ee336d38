//! Weights to start from. Element i depends on (seed, stream, i) alone, whoever computes it.

use super::context::ek_context;
use super::status::{ek_status, guard};
use super::tensor::{Out, check};
use super::{choice, context_of};
use crate::init::{Distribution, init_he_f32, init_normal_f32, init_orthogonal_f32, init_uniform_f32, init_xavier_f32};

/// The shape of a random tensor's distribution: EK_UNIFORM or EK_NORMAL.
pub type ek_distribution = i32;

/// Uniform, symmetric around 0.
pub const EK_UNIFORM: ek_distribution = 0;
/// Normal around 0.
pub const EK_NORMAL: ek_distribution = 1;

const _: () = assert!(EK_UNIFORM == Distribution::Uniform as i32 && EK_NORMAL == Distribution::Normal as i32);

/// Fills w [n] with uniform numbers in [low, high).
///
/// Element i depends on (seed, stream, i) alone: give each tensor of a model its own stream under one seed.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless low <= high and
/// both are finite).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_init_uniform_f32(
    ctx: *const ek_context,
    seed: u64,
    stream: u64,
    low: f32,
    high: f32,
    n: usize,
    w: *mut f32,
) -> ek_status {
    let f = "init_uniform_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let w = Out::new("w", w, &[n]);
        check(f, &[&w])?;
        // SAFETY: checked above; the size is the caller's promise.
        init_uniform_f32(ctx, seed, stream, low, high, unsafe { w.slice() })
    })
}

/// Fills w [n] with normal numbers of the given mean and standard deviation.
///
/// Element i depends on (seed, stream, i) alone: give each tensor of a model its own stream under one seed.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless both are
/// finite and std >= 0).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_init_normal_f32(
    ctx: *const ek_context,
    seed: u64,
    stream: u64,
    mean: f32,
    std: f32,
    n: usize,
    w: *mut f32,
) -> ek_status {
    let f = "init_normal_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let w = Out::new("w", w, &[n]);
        check(f, &[&w])?;
        // SAFETY: checked above; the size is the caller's promise.
        init_normal_f32(ctx, seed, stream, mean, std, unsafe { w.slice() })
    })
}

/// Xavier (Glorot) initialization of w [n]: mean 0, variance gain^2 * 2 / (fan_in + fan_out); right for tanh.
///
/// EK_UNIFORM: in [-a, a) with a = gain * sqrt(6 / (fan_in + fan_out)). EK_NORMAL: std = gain * sqrt(2 / (fan_in +
/// fan_out)). n need not be fan_in * fan_out. Element i depends on (seed, stream, i) alone.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, distribution, unless
/// gain is finite and >= 0 and both fans are positive).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_init_xavier_f32(
    ctx: *const ek_context,
    seed: u64,
    stream: u64,
    distribution: ek_distribution,
    gain: f32,
    fan_in: usize,
    fan_out: usize,
    n: usize,
    w: *mut f32,
) -> ek_status {
    let f = "init_xavier_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let distribution = choice(f, "distribution", distribution, Distribution::from_i32)?;
        let w = Out::new("w", w, &[n]);
        check(f, &[&w])?;
        // SAFETY: checked above; the size is the caller's promise.
        init_xavier_f32(ctx, seed, stream, distribution, gain, fan_in, fan_out, unsafe { w.slice() })
    })
}

/// He (Kaiming) initialization of w [n]: mean 0, variance 2 / ((1 + negative_slope^2) * fan_in); right for ReLU (slope
/// 0) and leaky ReLU.
///
/// EK_UNIFORM: in [-a, a) with a = sqrt(3) * std. EK_NORMAL: that std. Element i depends on (seed, stream, i) alone.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, distribution, unless
/// negative_slope is finite and fan_in positive).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_init_he_f32(
    ctx: *const ek_context,
    seed: u64,
    stream: u64,
    distribution: ek_distribution,
    negative_slope: f32,
    fan_in: usize,
    n: usize,
    w: *mut f32,
) -> ek_status {
    let f = "init_he_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let distribution = choice(f, "distribution", distribution, Distribution::from_i32)?;
        let w = Out::new("w", w, &[n]);
        check(f, &[&w])?;
        // SAFETY: checked above; the size is the caller's promise.
        init_he_f32(ctx, seed, stream, distribution, negative_slope, fan_in, unsafe { w.slice() })
    })
}

/// Fills w [rows, cols] with gain * Q, Q uniform over the matrices whose shorter side's vectors are orthonormal: Q^T Q = I
/// for rows >= cols, else Q Q^T = I.
///
/// The same bits for any number of threads; unlike in the other tensors, every element depends on all of (seed, stream).
/// Computed in double and rounded once. Workspace: 8 bytes for each element, which the calling thread keeps.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, gain unless finite),
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_init_orthogonal_f32(
    ctx: *const ek_context,
    seed: u64,
    stream: u64,
    gain: f32,
    rows: usize,
    cols: usize,
    w: *mut f32,
) -> ek_status {
    let f = "init_orthogonal_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let w = Out::new("w", w, &[rows, cols]);
        check(f, &[&w])?;
        // SAFETY: checked above; the size is the caller's promise.
        init_orthogonal_f32(ctx, seed, stream, gain, rows, cols, unsafe { w.slice() })
    })
}
