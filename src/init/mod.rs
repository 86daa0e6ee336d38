//! Weights to start from: random tensors whose element i depends on (seed, stream, i) alone, whoever computes it.
//!
//! Give each tensor of a model its own `stream` under one `seed`. The first n elements are the same for every length,
//! number of threads and instruction set (the portable vector without fused multiply-add may differ in the last bit of
//! a normal).

mod normal;
mod orthogonal;

pub use orthogonal::init_orthogonal_f32;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::parallel::{Shared, Work};
use crate::random::{WORDS, Words};
use crate::simd::{Kernel, LANES, Simd};
use std::ops::Range;

/// The shape of a random tensor's distribution. The numbers are those of `EK_UNIFORM` and `EK_NORMAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Distribution {
    /// Uniform, symmetric around 0.
    Uniform = 0,
    /// Normal around 0.
    Normal = 1,
}

impl Distribution {
    /// The inverse of `as i32`.
    pub fn from_i32(value: i32) -> Option<Distribution> {
        [Distribution::Uniform, Distribution::Normal].into_iter().find(|d| *d as i32 == value)
    }
}

/// Fills `w` with uniform numbers in [low, high).
///
/// Element i is low + (high − low)·u rounded to f32, u = (word i >> 8)/2²⁴; where that would round to `high`, it is the
/// float before it. Word i is the i-th 32-bit output of ChaCha8 whose key is `seed` (8 bytes, little-endian, then
/// zeros) and whose nonce is `stream`. With low = high every element is that number.
///
/// # Errors
/// `InvalidArgument` unless low ≤ high and both are finite.
///
/// ```
/// let ctx = evenkeel::Context::builder().build()?;
/// let (mut ten, mut sixteen) = ([0.0; 10], [0.0; 16]);
/// evenkeel::init::init_uniform_f32(&ctx, 7, 0, -1.0, 1.0, &mut ten)?;
/// evenkeel::init::init_uniform_f32(&ctx, 7, 0, -1.0, 1.0, &mut sixteen)?;
/// assert_eq!(ten, sixteen[..10]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn init_uniform_f32(ctx: &Context, seed: u64, stream: u64, low: f32, high: f32, w: &mut [f32]) -> Result {
    const FUNCTION: &str = "init_uniform_f32";
    finite(FUNCTION, "low", low)?;
    finite(FUNCTION, "high", high)?;
    if low > high {
        return Err(Error::invalid_argument(FUNCTION, format!("low is {low} and high is {high}, expected low ≤ high")));
    }
    uniform(ctx, seed, stream, low, high, w);
    Ok(())
}

/// Fills `w` with normal numbers of the given mean and standard deviation.
///
/// Box–Muller on the words of [`init_uniform_f32`], by blocks of 32 elements: with u from word 32b + j and an angle θ
/// from word 32b + 16 + j (j < 16), z = √(−2 ln u)·cos θ is element 32b + j and √(−2 ln u)·sin θ is element
/// 32b + 16 + j; u = ((word >> 1) | 1)/2³¹ and θ = 2π·word/2³². The element is std·z + mean, |z| ≤ 6.56. With std = 0
/// every element is the mean.
///
/// # Errors
/// `InvalidArgument` unless both are finite and std ≥ 0.
pub fn init_normal_f32(ctx: &Context, seed: u64, stream: u64, mean: f32, std: f32, w: &mut [f32]) -> Result {
    const FUNCTION: &str = "init_normal_f32";
    finite(FUNCTION, "mean", mean)?;
    finite(FUNCTION, "std", std)?;
    not_negative(FUNCTION, "std", std)?;
    normal(ctx, seed, stream, mean, std, w);
    Ok(())
}

/// Xavier (Glorot) initialization: mean 0 and Var = gain²·2/(fan_in + fan_out) (whitepaper §10.1), right for tanh-like
/// activations.
///
/// Uniform in [−a, a) with a = gain·√(6/(fan_in + fan_out)), by [`init_uniform_f32`]; or normal with
/// std = gain·√(2/(fan_in + fan_out)), by [`init_normal_f32`]. The length of `w` need not be fan_in·fan_out.
///
/// # Errors
/// `InvalidArgument` unless gain is finite and ≥ 0, both fans are positive, and a or std is finite.
#[allow(clippy::too_many_arguments)]
pub fn init_xavier_f32(
    ctx: &Context,
    seed: u64,
    stream: u64,
    distribution: Distribution,
    gain: f32,
    fan_in: usize,
    fan_out: usize,
    w: &mut [f32],
) -> Result {
    const FUNCTION: &str = "init_xavier_f32";
    finite(FUNCTION, "gain", gain)?;
    not_negative(FUNCTION, "gain", gain)?;
    positive_fan(FUNCTION, "fan_in", fan_in)?;
    positive_fan(FUNCTION, "fan_out", fan_out)?;
    let std = gain as f64 * (2.0 / (fan_in as f64 + fan_out as f64)).sqrt();
    scaled(FUNCTION, ctx, seed, stream, distribution, std, w)
}

/// He (Kaiming) initialization: mean 0 and Var = 2/((1 + negative_slope²)·fan_in) (whitepaper §10.2), right for ReLU
/// (slope 0) and leaky ReLU.
///
/// Uniform in [−a, a) with a = √3·std, by [`init_uniform_f32`]; or normal with that std, by [`init_normal_f32`].
///
/// # Errors
/// `InvalidArgument` unless negative_slope is finite and fan_in positive.
pub fn init_he_f32(
    ctx: &Context,
    seed: u64,
    stream: u64,
    distribution: Distribution,
    negative_slope: f32,
    fan_in: usize,
    w: &mut [f32],
) -> Result {
    const FUNCTION: &str = "init_he_f32";
    finite(FUNCTION, "negative_slope", negative_slope)?;
    positive_fan(FUNCTION, "fan_in", fan_in)?;
    let std = (2.0 / ((1.0 + (negative_slope as f64).powi(2)) * fan_in as f64)).sqrt();
    scaled(FUNCTION, ctx, seed, stream, distribution, std, w)
}

fn finite(function: &'static str, name: &str, value: f32) -> Result {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::invalid_argument(function, format!("{name} is {value}, expected a finite number")))
}

fn not_negative(function: &'static str, name: &str, value: f32) -> Result {
    if value >= 0.0 {
        return Ok(());
    }
    Err(Error::invalid_argument(function, format!("{name} is {value}, expected a number ≥ 0")))
}

fn positive_fan(function: &'static str, name: &str, value: usize) -> Result {
    if value > 0 {
        return Ok(());
    }
    Err(Error::invalid_argument(function, format!("{name} is 0, expected a positive number")))
}

fn scaled(
    function: &'static str,
    ctx: &Context,
    seed: u64,
    stream: u64,
    distribution: Distribution,
    std: f64,
    w: &mut [f32],
) -> Result {
    let scale = match distribution {
        Distribution::Uniform => (std * 3f64.sqrt()) as f32,
        Distribution::Normal => std as f32,
    };
    if !scale.is_finite() {
        return Err(Error::invalid_argument(
            function,
            format!("the standard deviation is {std}, which f32 cannot hold"),
        ));
    }
    match distribution {
        Distribution::Uniform => uniform(ctx, seed, stream, -scale, scale, w),
        Distribution::Normal => normal(ctx, seed, stream, 0.0, scale, w),
    }
    Ok(())
}

fn uniform(ctx: &Context, seed: u64, stream: u64, low: f32, high: f32, w: &mut [f32]) {
    let last = if low < high { high.next_down() } else { high };
    pieces(ctx, w, |range, w| {
        let words = Words::new(seed, stream, range.start);
        ctx.dispatch(Uniform { words, low: low as f64, width: high as f64 - low as f64, last, w });
    });
}

fn normal(ctx: &Context, seed: u64, stream: u64, mean: f32, std: f32, w: &mut [f32]) {
    pieces(ctx, w, |range, w| {
        ctx.dispatch(normal::Normal { words: Words::new(seed, stream, range.start), mean, std, w });
    });
}

/// Nanoseconds an element takes.
const NS: f64 = 0.8;

/// Elements of one task; whole blocks of words.
const PIECE: usize = 16 * 1024;
const _: () = assert!(PIECE.is_multiple_of(WORDS) && WORDS.is_multiple_of(2 * LANES));

fn pieces(ctx: &Context, w: &mut [f32], f: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    let n = w.len();
    let w = Shared::new(w);
    ctx.for_each(Work::elements(n, NS), n.div_ceil(PIECE), |task| {
        let range = task * PIECE..n.min((task + 1) * PIECE);
        // SAFETY: tasks have disjoint ranges.
        f(range.clone(), unsafe { w.piece(range) });
    });
}

struct Uniform<'a> {
    words: Words,
    low: f64,
    width: f64,
    last: f32,
    w: &'a mut [f32],
}

impl Kernel for Uniform<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (low, width, last) = (s.splat_d(self.low), s.splat_d(self.width), s.splat(self.last));
        for out in self.w.chunks_mut(WORDS) {
            let words = self.words.next(s);
            for (word, out) in words.iter().zip(out.chunks_mut(LANES)) {
                let u = s.mul(s.from_int(s.shr_i::<8>(*word)), s.splat(1.0 / (1 << 24) as f32));
                let (a, b) = s.widen(u);
                let v = s.narrow(s.fma_d(a, width, low), s.fma_d(b, width, low));
                // SAFETY: out holds out.len() floats.
                unsafe { s.store_up_to(out.as_mut_ptr(), s.min(v, last), out.len()) };
            }
        }
    }
}
