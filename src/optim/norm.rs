//! Norms over lists of gradients, clipping and unscaling in place.

use super::coef::Coef;
use super::lanes::{Lanes, Squares, fold};
use super::lists::{TensorList, TensorListMut};
use super::plan::{Piece, Plan, chunk_count, join};
use crate::context::Context;
use crate::element::Storage;
use crate::elementwise::{Map1, map1, one_stage_map};
use crate::error::{Result, check_len};
use crate::parallel::Shared;
use crate::reduce;
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd, ahead};

/// Nanoseconds an element of a sum of squares takes.
const NORM_NS: f64 = 0.15;
/// Nanoseconds an element of a scaling in place takes.
const SCALE_NS: f64 = 0.3;

/// ‖g‖₂ over a whole list of gradients, and of each tensor.
///
/// norm = √(Σ gᵢ²) over all elements of all tensors; `tensor_norms[t]` = the same over tensor t, if given, of length
/// `grads.len()`. Whitepaper §20.
///
/// Accuracy: squares are exact and sums are f64, so finite gradients of any size have a finite norm, non-zero unless
/// all are zero, with a relative error under 1e-12 for any number of elements. A NaN or infinite element makes its norms
/// NaN or infinite. The order of the sum over all is that of the elements alone: the same bits for any number of threads,
/// and however the same elements are split into tensors.
///
/// # Errors
/// `InvalidSize` if `tensor_norms` has another length than `grads`; `OutOfMemory`.
///
/// ```
/// use evenkeel::{Context, optim::grad_norm_f32};
/// let ctx = Context::global()?;
/// let mut each = [0.0; 2];
/// let norm = grad_norm_f32(ctx, &[&[3e30, 0.0], &[4e30]], Some(&mut each))?;
/// assert!((norm / 5e30 - 1.0).abs() < 1e-6);
/// assert!((each[1] / 4e30 - 1.0).abs() < 1e-6);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn grad_norm_f32(ctx: &Context, grads: &[&[f32]], tensor_norms: Option<&mut [f64]>) -> Result<f64> {
    grad_norm(ctx, grads.into(), tensor_norms)
}

pub(crate) fn grad_norm(ctx: &Context, grads: TensorList<'_>, tensor_norms: Option<&mut [f64]>) -> Result<f64> {
    let function = "grad_norm_f32";
    if let Some(norms) = &tensor_norms {
        check_len(function, "tensor_norms", norms, grads.count())?;
    }
    let chunks = chunk_count(grads);
    let parts = if tensor_norms.is_some() { chunks + grads.count() } else { 0 };
    let mut words = Scratch::take::<usize>(function, Plan::words(chunks))?;
    let mut numbers = Scratch::take::<f64>(function, chunks + parts)?;
    let plan = Plan::new(grads, words.slice(Plan::words(chunks)));
    let (sums, parts) = numbers.slice(chunks + parts).split_at_mut(chunks);
    match tensor_norms {
        None => sum_squares(ctx, &plan, grads, sums, None),
        Some(norms) => {
            sum_squares(ctx, &plan, grads, sums, Some(parts));
            join_tensors(grads, parts, |t, sum| norms[t] = sum.sqrt());
        }
    }
    Ok(join(sums.iter().copied()).sqrt())
}

/// Chunks that are read by turns where memory is far: four streams come faster than one, by two fifths.
const STREAMS: usize = 4;
/// Elements of a turn: several lines of each stream are under way at once, and few enough that none is waited for.
const TURN: usize = 128;
/// Elements from one that is summed to one that is asked for, where CPUs want that.
const AHEAD: usize = 1024;
/// A list of this many bytes is not in caches.
const FAR: usize = 16 << 20;

/// Σx² of every chunk, and, if `parts` is given, of every tensor's part of every chunk, for [`join_tensors`].
pub(super) fn sum_squares<T: Storage>(
    ctx: &Context,
    plan: &Plan<'_>,
    list: TensorList<'_, T>,
    sums: &mut [f64],
    parts: Option<&mut [f64]>,
) {
    let parts = parts.map(|parts| {
        parts.fill(0.0);
        Shared::new(parts)
    });
    let sums = Shared::new(sums);
    let set = |to: &Shared<'_, f64>, place: usize, sum: f64| {
        // SAFETY: each chunk has a sum of its own. Of two pieces the later one has the higher chunk or tensor, and neither is
        // lower, so that every piece has a part of its own.
        unsafe { to.piece(place..place + 1)[0] = sum };
    };
    let alone = |chunk: usize| {
        let mut lanes = Lanes::new();
        match &parts {
            None => {
                let mut pieces = plan.pieces(list, chunk).map(|p| (&list.tensor(p.tensor)[p.range], p.at));
                ctx.dispatch(SumSquares { pieces: &mut pieces, lanes: &mut lanes });
            }
            Some(parts) => plan.pieces(list, chunk).for_each(|p| {
                let x = &list.tensor(p.tensor)[p.range];
                set(parts, chunk + p.tensor, ctx.dispatch(SumApart { x, lanes: &mut lanes, at: p.at }));
            }),
        }
        set(&sums, chunk, fold(&lanes));
    };
    let streams = if plan.bytes::<T>() < FAR { 1 } else { STREAMS };
    plan.groups(ctx, NORM_NS, streams, |chunks| {
        let whole = std::array::from_fn(|i| {
            let chunk = chunks.start + i;
            if chunks.len() < STREAMS { None } else { plan.whole(list, chunk) }
        });
        let [Some(a), Some(b), Some(c), Some(d)] = whole else {
            return chunks.for_each(alone);
        };
        let streams = [a, b, c, d];
        let x = streams.each_ref().map(|(tensor, range)| &list.tensor(*tensor)[range.clone()]);
        let done = ctx.dispatch(ByTurns { x, ahead: ahead(AHEAD) });
        for (chunk, (sum, (tensor, _))) in chunks.zip(done.into_iter().zip(streams)) {
            set(&sums, chunk, sum);
            if let Some(parts) = &parts {
                // A whole chunk of one tensor: both have their lanes in the same places.
                set(parts, chunk + tensor, sum);
            }
        }
    });
}

/// Hands `each` the number and the sum of every tensor, from the `parts` of [`sum_squares`].
pub(super) fn join_tensors<T: Storage>(list: TensorList<'_, T>, parts: &[f64], mut each: impl FnMut(usize, f64)) {
    let mut start = 0;
    for tensor in 0..list.count() {
        let end = start + list.size(tensor);
        let chunks = start / reduce::CHUNK..end.div_ceil(reduce::CHUNK).max(start / reduce::CHUNK);
        each(tensor, if start == end { 0.0 } else { join(chunks.map(|chunk| parts[chunk + tensor])) });
        start = end;
    }
}

/// Scales a whole list of gradients down to a norm of at most `max_norm`, in place.
///
/// g := g · min(1, c / ‖g‖₂), with the norm over all tensors: whitepaper §11.1. Returns ‖g‖₂ before clipping.
///
/// Accuracy: the coefficient has 48 bits and nothing is added to the norm, so the norm after is `max_norm` to within the
/// rounding of each element. Gradients under the limit keep their bits. Where the norm is NaN or infinite, clipping
/// is undefined: the gradients are left as they are, and the returned norm tells. Same bits for any number of threads.
///
/// # Errors
/// `InvalidArgument` unless `max_norm` > 0; `OutOfMemory`.
pub fn clip_by_norm_f32(ctx: &Context, max_norm: f32, grads: &mut [&mut [f32]]) -> Result<f64> {
    clip_by_norm(ctx, max_norm, grads.into())
}

pub(crate) fn clip_by_norm(ctx: &Context, max_norm: f32, grads: TensorListMut<'_>) -> Result<f64> {
    let function = "clip_by_norm_f32";
    super::check_positive(function, "max_norm", max_norm)?;
    let list = grads.as_list();
    let chunks = chunk_count(list);
    let mut words = Scratch::take::<usize>(function, Plan::words(chunks))?;
    let mut sums = Scratch::take::<f64>(function, chunks)?;
    let plan = Plan::new(list, words.slice(Plan::words(chunks)));
    let sums = sums.slice(chunks);
    sum_squares(ctx, &plan, list, sums, None);
    let norm = join(sums.iter().copied()).sqrt();
    if norm.is_finite() && norm > max_norm as f64 {
        let coef = Coef::new(max_norm as f64 / norm);
        plan.for_each(ctx, SCALE_NS, true, |chunk| {
            for p in plan.pieces(list, chunk) {
                // SAFETY: pieces are disjoint.
                let x = unsafe { grads.piece(p.tensor, p.range) };
                ctx.dispatch(Scale { coef, x });
            }
        });
    }
    Ok(norm)
}

/// Limits every element to [−limit, limit], in place.
///
/// gⱼ := clip(gⱼ, −c, c), with `g` of any length: whitepaper §11.2. Exact; a NaN stays a NaN.
///
/// # Errors
/// `InvalidArgument` unless `limit` > 0.
pub fn clip_by_value_f32(ctx: &Context, limit: f32, g: &mut [f32]) -> Result {
    super::check_positive("clip_by_value_f32", "limit", limit)?;
    map1::<f32>(ctx, SCALE_NS, None, g, Clamp { limit });
    Ok(())
}

#[derive(Clone, Copy)]
struct Clamp {
    limit: f32,
}

impl Map1 for Clamp {
    one_stage_map!();
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, x: S::F, (): ()) -> S::F {
        clamp(s, x, self.limit)
    }
}

/// `x` limited to [−limit, limit]; NaN stays NaN.
#[inline(always)]
pub(super) fn clamp<S: Simd>(s: S, x: S::F, limit: f32) -> S::F {
    // min and max give their second operand where either is NaN.
    s.max(s.splat(-limit), s.min(s.splat(limit), x))
}

/// Divides the gradients of a scaled loss by its scale, in place, and counts what is not finite.
///
/// gᵢ := gᵢ / loss_scale, with `g` of any length: whitepaper §19. Returns how many quotients are NaN or infinite: if
/// any, the step should be skipped and the scale lowered (`loss_scaler_update`).
///
/// Accuracy: exact for a power of two unless the quotient is subnormal, else within 0.5001 ULP, by a product with the
/// reciprocal to 48 bits.
///
/// # Errors
/// `InvalidArgument` unless `loss_scale` is finite and positive; `OutOfMemory`.
pub fn unscale_f32(ctx: &Context, loss_scale: f32, g: &mut [f32]) -> Result<u64> {
    let function = "unscale_f32";
    super::check_scale(function, loss_scale)?;
    let coef = Coef::new(1.0 / loss_scale as f64);
    let n = g.len();
    let g = Shared::new(g);
    let mut nonfinite = 0;
    let chunk = |range| {
        // SAFETY: chunks are disjoint.
        let x = unsafe { g.piece(range) };
        [ctx.dispatch(Scale { coef, x }) as f64]
    };
    reduce::chunks(function, ctx, n, SCALE_NS, chunk, |[count]: [f64; 1]| nonfinite += count as u64)?;
    Ok(nonfinite)
}

/// Σx² onto the lanes of a chunk.
pub(super) struct SumSquares<'a, 'x, T> {
    /// Each with where it starts in the chunk.
    pub pieces: &'a mut dyn Iterator<Item = (&'x [T], usize)>,
    pub lanes: &'a mut Lanes<LANES>,
}

impl<T: Storage> Kernel for SumSquares<'_, '_, T> {
    type Out = ();
    const WIDE: bool = false;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let SumSquares { pieces, lanes } = self;
        for (x, at) in pieces {
            let mut all = Squares::load(s, lanes, at);
            let (n, x) = (x.len(), x.as_ptr());
            let mut i = 0;
            // SAFETY: vectors end at n, the length of x.
            unsafe {
                while i + LANES <= n {
                    all.add(s, T::load(s, x.add(i)));
                    i += LANES;
                }
                if i < n {
                    all.add(s, T::load_first(s, x.add(i), n - i));
                }
            }
            all.store(s, lanes, at);
        }
    }
}

/// Σx² onto the lanes of a chunk, and its own.
struct SumApart<'a, T> {
    x: &'a [T],
    lanes: &'a mut Lanes<LANES>,
    /// Where x starts in the chunk.
    at: usize,
}

impl<T: Storage> Kernel for SumApart<'_, T> {
    type Out = f64;
    const WIDE: bool = false;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let (mut all, mut own) = (Squares::load(s, self.lanes, self.at), Squares::new(s));
        let n = self.x.len();
        let mut i = 0;
        while i < n {
            // SAFETY: n - i elements remain.
            let v = unsafe { T::load_up_to(s, self.x.as_ptr().add(i), n - i) };
            all.add(s, v);
            own.add(s, v);
            i += LANES;
        }
        all.store(s, self.lanes, self.at);
        own.total(s)
    }
}

/// Σx² of whole chunks, a turn of each after the other.
struct ByTurns<'a, T> {
    x: [&'a [T]; STREAMS],
    /// Elements from one that is summed to one that is asked for.
    ahead: usize,
}

impl<T: Storage> Kernel for ByTurns<'_, T> {
    type Out = [f64; STREAMS];
    const WIDE: bool = false;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f64; STREAMS] {
        const { assert!(reduce::CHUNK.is_multiple_of(TURN) && TURN.is_multiple_of(LANES)) };
        assert!(self.x.iter().all(|x| x.len() == reduce::CHUNK));
        let mut totals = [0.0; STREAMS];
        if S::COMPACT {
            for k in 0..STREAMS {
                totals[k] = s.outline(SumApart { x: self.x[k], lanes: &mut Lanes::new(), at: 0 });
            }
            return totals;
        }
        let mut sums = [Squares::new(s); STREAMS];
        for start in (0..reduce::CHUNK).step_by(TURN) {
            for (x, sum) in self.x.iter().zip(&mut sums) {
                let mut squares = *sum;
                for i in (start..start + TURN).step_by(LANES) {
                    s.prefetch_far(x.as_ptr().wrapping_add(i + self.ahead).cast());
                    // SAFETY: i + 16 <= CHUNK, the length of x (asserted).
                    squares.add(s, unsafe { T::load(s, x.as_ptr().add(i)) });
                }
                *sum = squares;
            }
        }
        for k in 0..STREAMS {
            totals[k] = sums[k].total(s);
        }
        totals
    }
}

/// Bit i is set where lane i is NaN or infinite.
#[inline(always)]
fn nonfinite_bits<S: Simd>(s: S, x: S::F) -> u32 {
    s.bits_m(s.not_m(s.lt(s.abs(x), s.splat(f32::INFINITY))))
}

/// x := x·coef; how many results are not finite.
struct Scale<'a> {
    coef: Coef,
    x: &'a mut [f32],
}

/// Elements that are scaled before anybody asks whether all of them are finite.
const ASKED: usize = 64 * LANES;

impl Kernel for Scale<'_> {
    type Out = u64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u64 {
        let coef = self.coef;
        let mut nonfinite = 0;
        for block in self.x.chunks_mut(ASKED) {
            let (n, x) = (block.len(), block.as_mut_ptr());
            let pairs = n / (2 * LANES) * (2 * LANES);
            // NaN from the first number on that times zero is not zero.
            let (mut a, mut b) = (s.zero(), s.zero());
            let mut i = 0;
            // SAFETY: pairs of vectors, and then vectors of what remains, end at n, the length of the block.
            unsafe {
                while i < pairs {
                    let low = coef.of_any(s, s.load(x.add(i)));
                    let high = coef.of_any(s, s.load(x.add(i + LANES)));
                    a = s.fma(low, s.zero(), a);
                    b = s.fma(high, s.zero(), b);
                    s.store(x.add(i), low);
                    s.store(x.add(i + LANES), high);
                    i += 2 * LANES;
                }
                while i < n {
                    let y = coef.of_any(s, s.load_up_to(x.add(i), n - i));
                    a = s.fma(y, s.zero(), a);
                    s.store_up_to(x.add(i), y, n - i);
                    i += LANES;
                }
            }
            if s.bits_m(s.is_nan(s.add(a, b))) != 0 {
                nonfinite += s.outline(CountNonfinite { coef: Coef::ONE, x: &*block }) as u64;
            }
        }
        nonfinite
    }
}

/// How many of x·coef are not finite as f32.
struct CountNonfinite<'a, T> {
    coef: Coef,
    x: &'a [T],
}

impl<T: Storage> Kernel for CountNonfinite<'_, T> {
    type Out = f64;
    const WIDE: bool = false;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let n = self.x.len();
        let mut nonfinite = 0;
        let mut i = 0;
        while i < n {
            // SAFETY: n - i elements remain.
            let x = unsafe { T::load_up_to(s, self.x.as_ptr().add(i), n - i) };
            nonfinite += nonfinite_bits(s, self.coef.of_any(s, x)).count_ones();
            i += LANES;
        }
        nonfinite as f64
    }
}

/// How many elements of the list are not finite after a product with `coef`, and the tensor and index of the first.
/// Workspace: a number for each chunk.
pub(super) fn count_nonfinite<T: Storage>(
    ctx: &Context,
    plan: &Plan<'_>,
    list: TensorList<'_, T>,
    coef: Coef,
    counts: &mut [f64],
) -> (u64, Option<(usize, usize)>) {
    let count = |p: &Piece| ctx.dispatch(CountNonfinite { coef, x: &list.tensor(p.tensor)[p.range.clone()] });
    plan.parts(ctx, NORM_NS, false, counts, |chunk| [plan.pieces(list, chunk).map(|p| count(&p)).sum()]);
    let first = counts.iter().position(|&count| count > 0.0).and_then(|chunk| {
        let piece = plan.pieces(list, chunk).find(|p| count(p) > 0.0)?;
        let alone = |i: &usize| count(&Piece { range: *i..i + 1, ..piece }) > 0.0;
        Some((piece.tensor, piece.range.clone().find(alone)?))
    });
    (counts.iter().sum::<f64>() as u64, first)
}
