//! Between f32 and the halves: exact one way, rounded once the other (whitepaper §19).

use crate::context::Context;
use crate::element::{Storage, bf16, f16};
use crate::elementwise::{Convert, STREAM_BYTES, STREAM_PIECE, Way, put, whole_vectors};
use crate::error::{Result, check_len};
use crate::parallel::{Shared, Work};
use crate::simd::{Kernel, LANES, Simd};
use crate::stochastic::{DRAWN, Dice, Draw, Half, NarrowByChance};

/// Elements of a task whose output stays in caches.
const PIECE: usize = 16 * 1024;
/// Nanoseconds an element takes.
const NS: f64 = 0.2;
/// The same with random bits.
const CHANCE_NS: f64 = 0.5;

/// y = x in bf16, to nearest even.
///
/// `x` and `y` have the same length. Beyond the largest bf16, 3.39e38, by half a step or more, y is infinite; subnormal
/// numbers are converted as such, whatever the context says of them. A NaN stays a NaN with its sign and the upper part of
/// its payload, and becomes quiet. Exact for every f32, tested on all of them.
///
/// # Errors
/// `InvalidSize` if the lengths differ.
///
/// ```
/// use evenkeel::{Context, bf16, convert::convert_f32_to_bf16};
/// let mut y = [bf16::ZERO; 2];
/// convert_f32_to_bf16(Context::global()?, &[1.0, 1.00390625], &mut y)?;
/// assert_eq!(y.map(f32::from), [1.0, 1.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn convert_f32_to_bf16(ctx: &Context, x: &[f32], y: &mut [bf16]) -> Result {
    convert("convert_f32_to_bf16", ctx, x, y)
}

/// y = x in f32, exactly: a signalling NaN too keeps its bits.
///
/// # Errors
/// `InvalidSize` if the lengths differ.
pub fn convert_bf16_to_f32(ctx: &Context, x: &[bf16], y: &mut [f32]) -> Result {
    convert("convert_bf16_to_f32", ctx, x, y)
}

/// y = x in f16, to nearest even.
///
/// `x` and `y` have the same length. From 65520 on y is infinite, and at 2⁻²⁵ and below it is 0: scale what may leave that
/// range ([`LossScaler`](crate::optim::LossScaler)). Subnormal numbers are converted as such, whatever the context says of
/// them. A NaN stays a NaN with its sign and the upper part of its payload, and becomes quiet. Exact for every f32, tested
/// on all of them.
///
/// # Errors
/// `InvalidSize` if the lengths differ.
pub fn convert_f32_to_f16(ctx: &Context, x: &[f32], y: &mut [f16]) -> Result {
    convert("convert_f32_to_f16", ctx, x, y)
}

/// y = x in f32, exactly; a signalling NaN becomes quiet.
///
/// # Errors
/// `InvalidSize` if the lengths differ.
pub fn convert_f16_to_f32(ctx: &Context, x: &[f16], y: &mut [f32]) -> Result {
    convert("convert_f16_to_f32", ctx, x, y)
}

/// y = x in bf16, up or down by chance: the mean over all seeds is x.
///
/// Between its neighbours a < x < b, y = b with probability (x − a)/(b − a). A bf16 stays itself, a NaN a NaN; beyond the
/// largest bf16 lies infinity in place of 2¹²⁸. Element i depends on (seed, i) and xᵢ alone, on 16 bits of a ChaCha8 word.
/// A sum of many small steps, which rounding to nearest would all lose, survives so.
///
/// # Errors
/// `InvalidSize` if the lengths differ.
pub fn convert_f32_to_bf16_stochastic(ctx: &Context, seed: u64, x: &[f32], y: &mut [bf16]) -> Result {
    by_chance("convert_f32_to_bf16_stochastic", ctx, seed, x, y)
}

/// y = x in f16, up or down by chance, as [`convert_f32_to_bf16_stochastic`]. Beyond 65504 lies infinity in place of 65536;
/// among subnormal halves probabilities are multiples of 2⁻¹⁶.
///
/// # Errors
/// `InvalidSize` if the lengths differ.
pub fn convert_f32_to_f16_stochastic(ctx: &Context, seed: u64, x: &[f32], y: &mut [f16]) -> Result {
    by_chance("convert_f32_to_f16_stochastic", ctx, seed, x, y)
}

fn convert<A: Storage, B: Storage>(function: &'static str, ctx: &Context, x: &[A], y: &mut [B]) -> Result {
    let n = x.len();
    check_len(function, "y", y, n)?;
    let stream = size_of_val(y) >= STREAM_BYTES;
    let step = if stream { STREAM_PIECE } else { PIECE };
    let y = Shared::new(y);
    ctx.for_each(Work::elements(n, NS), n.div_ceil(step), |task| {
        let range = task * step..n.min((task + 1) * step);
        // SAFETY: tasks have disjoint ranges.
        let y = unsafe { y.piece(range.clone()) };
        if stream {
            ctx.dispatch(PastCaches { x: &x[range], y });
        } else {
            ctx.dispatch(Convert { x: &x[range], y, way: Way::NEAR });
        }
    });
    Ok(())
}

/// Streams of a task that are read by turns: memory brings several sooner than one.
const STREAMS: usize = 4;
/// Elements of a turn.
const TURN: usize = 256;

/// y = x past the caches.
struct PastCaches<'a, A, B> {
    x: &'a [A],
    y: &'a mut [B],
}

impl<A: Storage, B: Storage> Kernel for PastCaches<'_, A, B> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if S::COMPACT {
            return s.outline(Convert { x: self.x, y: self.y, way: Way::NEAR });
        }
        let n = self.y.len();
        assert_eq!(self.x.len(), n);
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr());
        let (head, end) = whole_vectors::<S, _>(y, n, true);
        let stream = (end - head) / (STREAMS * TURN) * TURN;
        // SAFETY: loads and stores end at n, the length of both (asserted); those past the caches begin whole vectors after
        // the head, where y is aligned.
        unsafe {
            if head > 0 {
                B::store_first(s, y, A::load_first(s, x, head), head);
            }
            for turn in (0..stream).step_by(TURN) {
                for k in 0..STREAMS {
                    let start = head + k * stream + turn;
                    for i in (start..start + TURN).step_by(LANES) {
                        put(s, y.add(i), A::load(s, x.add(i)), true);
                    }
                }
            }
            let mut i = head + STREAMS * stream;
            while i < end {
                put(s, y.add(i), A::load(s, x.add(i)), true);
                i += LANES;
            }
            if i < n {
                B::store_first(s, y.add(i), A::load_first(s, x.add(i), n - i), n - i);
            }
        }
        s.fence();
    }
}

fn by_chance<T: Half>(function: &'static str, ctx: &Context, seed: u64, x: &[f32], y: &mut [T]) -> Result {
    let n = x.len();
    check_len(function, "y", y, n)?;
    let y = Shared::new(y);
    let dice = Dice { seed, stream: 0 };
    ctx.for_each(Work::elements(n, CHANCE_NS), n.div_ceil(PIECE), |task| {
        let mut bits = [0; DRAWN];
        for start in (task * PIECE..n.min((task + 1) * PIECE)).step_by(DRAWN) {
            let range = start..n.min(start + DRAWN);
            ctx.dispatch(Draw { dice, position: start, bits: &mut bits, ahead: &x[range.clone()] });
            // SAFETY: tasks have disjoint ranges.
            let y = unsafe { y.piece(range.clone()) };
            ctx.dispatch(NarrowByChance { x: &x[range.clone()], bits: &bits[..range.len()], y });
        }
    });
    Ok(())
}
