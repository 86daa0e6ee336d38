//! Norms over lists of gradients, clipping and unscaling in place.

use super::lists::{Plan, TensorList, TensorListMut, chunk_count, join};
use crate::context::Context;
use crate::elementwise::{Map1, map1};
use crate::error::{Result, check_len};
use crate::parallel::Shared;
use crate::reduce;
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};

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
/// all are zero, with a relative error under 1e-12 up to 10¹¹ elements. A NaN or infinite element makes its norms NaN
/// or infinite. The order of the sum is fixed by the sizes: the same bits for any number of threads.
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
    let mut words = Scratch::take::<usize>(function, Plan::words(chunks))?;
    let mut sums = Scratch::take::<f64>(function, chunks)?;
    let plan = Plan::new(grads, words.slice(Plan::words(chunks)));
    let sums = sums.slice(chunks);
    sum_squares(ctx, &plan, grads, sums);
    let total = match tensor_norms {
        Some(norms) => join::<1>(grads, sums, 0, |t, sum| norms[t] = sum.sqrt()),
        None => join::<1>(grads, sums, 0, |_, _| ()),
    };
    Ok(total.sqrt())
}

/// Σx² of every chunk.
pub(super) fn sum_squares(ctx: &Context, plan: &Plan<'_>, list: TensorList<'_>, sums: &mut [f64]) {
    plan.parts(ctx, NORM_NS, list, sums, |c| [ctx.dispatch(SumSquares { x: &list.tensor(c.tensor)[c.range] })]);
}

/// Scales a whole list of gradients down to a norm of at most `max_norm`, in place.
///
/// g := g · min(1, c / ‖g‖₂), with the norm over all tensors: whitepaper §11.1. Returns ‖g‖₂ before clipping.
///
/// Accuracy: the coefficient is an f64 with nothing added to the norm, so the norm after is `max_norm` to within the
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
    let chunks = chunk_count(grads.as_list());
    let mut words = Scratch::take::<usize>(function, Plan::words(chunks))?;
    let mut sums = Scratch::take::<f64>(function, chunks)?;
    let plan = Plan::new(grads.as_list(), words.slice(Plan::words(chunks)));
    let sums = sums.slice(chunks);
    sum_squares(ctx, &plan, grads.as_list(), sums);
    let norm = join::<1>(grads.as_list(), sums, 0, |_, _| ()).sqrt();
    if norm.is_finite() && norm > max_norm as f64 {
        let coef = max_norm as f64 / norm;
        plan.for_each(ctx, SCALE_NS, grads.as_list(), |c| {
            // SAFETY: chunks are disjoint.
            let x = unsafe { grads.piece(c.tensor, c.range) };
            ctx.dispatch(Scale { coef, x });
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
    const STAGED: bool = false;
    type Mid<S: Simd> = ();
    #[inline(always)]
    fn start<S: Simd>(self, _: S, _: S::F) {}
    #[inline(always)]
    fn finish<S: Simd>(self, s: S, x: S::F, _: ()) -> S::F {
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
/// Accuracy: exact for a power of two unless the quotient is subnormal, else rounded once from a product with the
/// f64 reciprocal.
///
/// # Errors
/// `InvalidArgument` unless `loss_scale` is finite and positive; `OutOfMemory`.
pub fn unscale_f32(ctx: &Context, loss_scale: f32, g: &mut [f32]) -> Result<u64> {
    let function = "unscale_f32";
    super::check_scale(function, loss_scale)?;
    let coef = 1.0 / loss_scale as f64;
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

/// Σx², element i in lane i mod 16.
pub(super) struct SumSquares<'a> {
    pub x: &'a [f32],
}

impl Kernel for SumSquares<'_> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let n = self.x.len();
        let x = self.x.as_ptr();
        let mut sum = Squares::new(s);
        let mut i = 0;
        // SAFETY: i + 16 <= n, the length of x.
        unsafe {
            while i + LANES <= n {
                sum.add(s, s.load(x.add(i)));
                i += LANES;
            }
            if i < n {
                sum.add(s, s.load_first(x.add(i), n - i));
            }
        }
        sum.total(s)
    }
}

/// Sixteen sums of squares in f64.
#[derive(Clone, Copy)]
pub(super) struct Squares<S: Simd> {
    low: S::D,
    high: S::D,
}

impl<S: Simd> Squares<S> {
    #[inline(always)]
    pub fn new(s: S) -> Self {
        Squares { low: s.splat_d(0.0), high: s.splat_d(0.0) }
    }
    /// The square of an f32 is exact in f64, so fused or not gives the same bits.
    #[inline(always)]
    pub fn add(&mut self, s: S, x: S::F) {
        let (low, high) = s.widen(x);
        self.add_d(s, low, high);
    }
    #[inline(always)]
    pub fn add_d(&mut self, s: S, low: S::D, high: S::D) {
        self.low = s.fma_d(low, low, self.low);
        self.high = s.fma_d(high, high, self.high);
    }
    #[inline(always)]
    pub fn total(self, s: S) -> f64 {
        s.sum_dd(self.low, self.high)
    }
}

/// x·coef with the product in f64, rounded once to f32.
#[inline(always)]
pub(super) fn scaled<S: Simd>(s: S, low: S::D, high: S::D, coef: f64) -> S::F {
    let coef = s.splat_d(coef);
    s.narrow(s.mul_d(low, coef), s.mul_d(high, coef))
}

/// Bit i is set where lane i is NaN or infinite.
#[inline(always)]
pub(super) fn nonfinite_bits<S: Simd>(s: S, x: S::F) -> u32 {
    s.bits_m(s.not_m(s.lt(s.abs(x), s.splat(f32::INFINITY))))
}

/// x := x·coef; how many results are not finite.
struct Scale<'a> {
    coef: f64,
    x: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Out = u64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> u64 {
        let n = self.x.len();
        let x = self.x.as_mut_ptr();
        let mut nonfinite = 0;
        let mut i = 0;
        while i < n {
            let rest = n - i;
            // SAFETY: rest elements remain from i to n, the length of x.
            unsafe {
                let (low, high) = s.widen(s.load_up_to(x.add(i), rest));
                let y = scaled(s, low, high, self.coef);
                nonfinite += nonfinite_bits(s, y).count_ones() as u64;
                s.store_up_to(x.add(i), y, rest);
            }
            i += LANES;
        }
        nonfinite
    }
}

/// How many of x·coef are not finite as f32.
struct CountNonfinite<'a> {
    coef: f64,
    x: &'a [f32],
}

impl Kernel for CountNonfinite<'_> {
    type Out = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let n = self.x.len();
        let mut nonfinite = 0;
        let mut i = 0;
        while i < n {
            // SAFETY: n - i elements remain.
            let (low, high) = s.widen(unsafe { s.load_up_to(self.x.as_ptr().add(i), n - i) });
            nonfinite += nonfinite_bits(s, scaled(s, low, high, self.coef)).count_ones();
            i += LANES;
        }
        nonfinite as f64
    }
}

/// How many elements of the list are not finite after a product with `coef`. Workspace: a number for each chunk.
pub(super) fn count_nonfinite(
    ctx: &Context,
    plan: &Plan<'_>,
    list: TensorList<'_>,
    coef: f64,
    counts: &mut [f64],
) -> u64 {
    plan.parts(ctx, NORM_NS, list, counts, |c| {
        [ctx.dispatch(CountNonfinite { coef, x: &list.tensor(c.tensor)[c.range] })]
    });
    join::<1>(list, counts, 0, |_, _| ()) as u64
}
