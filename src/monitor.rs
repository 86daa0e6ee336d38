//! Seeing the gradient: what a tensor holds, and how gradients flow through the layers (whitepaper §8, §9, §20).

use crate::context::Context;
use crate::error::{Error, Result};
use crate::reduce;
use crate::simd::{Kernel, LANES, Simd, ahead};

/// What a tensor holds. Norm, mean, root mean square and magnitudes are those of its finite elements.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TensorStats {
    /// √Σx² over the finite elements.
    pub l2: f64,
    /// Σx over the finite elements, divided by their number; 0 if there are none.
    pub mean: f64,
    /// √(Σx² / their number); 0 if there are none.
    pub rms: f64,
    /// The largest finite |x|; 0 if there are none.
    pub max_abs: f64,
    /// The smallest finite |x| that is not 0; 0 if there are none.
    pub min_abs_nonzero: f64,
    /// All elements, finite or not.
    pub count: u64,
    /// Elements that are +0 or −0.
    pub zeros: u64,
    /// Elements that are neither 0 nor as large as the smallest normal number, 1.18e-38.
    pub subnormals: u64,
    pub nans: u64,
    pub infs: u64,
}

/// Norm, mean, extremes and kinds of the elements of a tensor of any shape, in one pass.
///
/// See [`TensorStats`] for each number; NaN and infinite elements are counted and enter nothing else. Whitepaper §20.
///
/// Accuracy: sums are f64, in an order fixed by the length: the same bits for any number of threads. No finite tensor
/// overflows or underflows them. With [`Context::flush_subnormals`], subnormal elements count as zeros.
///
/// # Errors
/// `OutOfMemory`.
///
/// ```
/// use evenkeel::{Context, monitor::tensor_stats_f32};
/// let stats = tensor_stats_f32(Context::global()?, &[3.0, 0.0, f32::NAN, -4.0])?;
/// assert_eq!((stats.l2, stats.max_abs, stats.min_abs_nonzero), (5.0, 4.0, 3.0));
/// assert_eq!((stats.count, stats.zeros, stats.nans), (4, 1, 1));
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn tensor_stats_f32(ctx: &Context, x: &[f32]) -> Result<TensorStats> {
    let mut stats = TensorStats { count: x.len() as u64, min_abs_nonzero: f64::INFINITY, ..TensorStats::default() };
    let (mut sum, mut sum_sq) = (0.0, 0.0);
    let chunk = |range: std::ops::Range<usize>| ctx.dispatch(Stats { x: &x[range] });
    let join = |[s, sq, max, min, zeros, subnormals, nans, infs]: [f64; 8]| {
        sum += s;
        sum_sq += sq;
        stats.max_abs = stats.max_abs.max(max);
        stats.min_abs_nonzero = stats.min_abs_nonzero.min(min);
        stats.zeros += zeros as u64;
        stats.subnormals += subnormals as u64;
        stats.nans += nans as u64;
        stats.infs += infs as u64;
    };
    reduce::chunks("tensor_stats_f32", ctx, x.len(), 0.4, chunk, join)?;
    let finite = stats.count - stats.nans - stats.infs;
    stats.l2 = sum_sq.sqrt();
    if finite > 0 {
        stats.mean = sum / finite as f64;
        stats.rms = (sum_sq / finite as f64).sqrt();
    }
    if stats.min_abs_nonzero == f64::INFINITY {
        stats.min_abs_nonzero = 0.0;
    }
    Ok(stats)
}

/// Σx, Σx², max |x|, min |x| > 0 (infinity if none) of the finite elements; zeros, subnormals, NaN, infinities.
struct Stats<'a> {
    x: &'a [f32],
}

/// Elements that are taken to be normal numbers until their sums show otherwise.
const BLOCK: usize = 64 * LANES;

/// Elements from one that is read to one that is asked for, where CPUs want that.
const AHEAD: usize = 4096;

impl Kernel for Stats<'_> {
    type Out = [f64; 8];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f64; 8] {
        let mut held = Held {
            sum: [0.0; LANES],
            square: [0.0; LANES],
            max: [0.0; LANES],
            min: [f32::INFINITY; LANES],
            counts: [0; 4],
        };
        let ahead = ahead(AHEAD);
        // Blocks with zeros come in rows: a tensor behind a ReLU, or pruned.
        let mut zeros = false;
        for x in self.x.chunks(BLOCK) {
            let mut held_all = false;
            if !S::COMPACT && x.len() == BLOCK {
                if !zeros {
                    held_all = block::<S, false>(s, x, ahead, &mut held);
                }
                if !held_all {
                    let before = held.counts[0];
                    held_all = block::<S, true>(s, x, ahead, &mut held);
                    zeros = held_all && held.counts[0] != before;
                }
            }
            if !held_all {
                s.outline(Odd { x, held: &mut held });
            }
        }
        let Held { sum, square, max, min, counts: [zeros, small, nans, infs] } = held;
        let sum_of = |lanes: &[f64; LANES]| {
            // SAFETY: sixteen doubles.
            unsafe { s.sum_dd(s.load_d(lanes.as_ptr()), s.load_d(lanes.as_ptr().add(8))) }
        };
        // A difference of counts: a compiler may turn one comparison of both bounds into a test of bits, which would
        // see subnormals where they are to be zero.
        let [zeros, subnormals, nans, infs] = [zeros, small - zeros, nans, infs].map(f64::from);
        let max = s.max_lane(s.from_array(max)) as f64;
        let min = s.min_lane(s.from_array(min)) as f64;
        [sum_of(&sum), sum_of(&square), max, min, zeros, subnormals, nans, infs]
    }
}

/// Adds a block, unless it holds something beside normal numbers and, with `ZEROS`, zeros: nothing is then changed.
#[inline(always)]
fn block<S: Simd, const ZEROS: bool>(s: S, x: &[f32], ahead: usize, held: &mut Held) -> bool {
    let mut sums = Sums::load(s, held);
    let one = s.splat_i(1);
    let mut zeros = s.splat_i(0);
    let mut i = 0;
    while i + LANES <= x.len() {
        s.prefetch_far(x.as_ptr().wrapping_add(i + ahead));
        // SAFETY: 16 elements remain.
        let v = unsafe { s.load(x.as_ptr().add(i)) };
        let size = s.abs(v);
        if ZEROS {
            // The number below: NaN for zero, which a minimum passes over, and the only one with a sign.
            let below = s.sub_i(s.bits(size), one);
            zeros = s.add_i(zeros, s.shr_i::<31>(below));
            sums.add(s, v, size, s.from_bits(below));
        } else {
            sums.add(s, v, size, size);
        }
        i += LANES;
    }
    if !sums.are_of_normal_numbers(s) {
        return false;
    }
    if ZEROS {
        // Above infinity, where nothing but zeros came by, is NaN: the other minimum holds.
        sums.min = s.from_bits(s.add_i(s.bits(sums.min), one));
        held.counts[0] += s.sum(s.from_int(zeros)) as u32;
        held.counts[1] += s.sum(s.from_int(zeros)) as u32;
    }
    sums.store(s, held);
    true
}

/// Sums and extremes of each lane between blocks; zeros, all smaller than normal, NaN, infinities.
struct Held {
    sum: [f64; LANES],
    square: [f64; LANES],
    max: [f32; LANES],
    min: [f32; LANES],
    counts: [u32; 4],
}

/// The sums of [`Held`] in a block, and the extremes of this block alone.
struct Sums<S: Simd> {
    sum: [S::D; 2],
    square: [S::D; 2],
    max: S::F,
    min: S::F,
}

impl<S: Simd> Sums<S> {
    #[inline(always)]
    fn load(s: S, held: &Held) -> Self {
        let (sum, square) = (held.sum.as_ptr(), held.square.as_ptr());
        // SAFETY: sixteen doubles each.
        let (sum, square) =
            unsafe { ([s.load_d(sum), s.load_d(sum.add(8))], [s.load_d(square), s.load_d(square.add(8))]) };
        Sums { sum, square, max: s.zero(), min: s.splat(f32::INFINITY) }
    }

    #[inline(always)]
    fn store(self, s: S, held: &mut Held) {
        let (sum, square) = (held.sum.as_mut_ptr(), held.square.as_mut_ptr());
        // SAFETY: sixteen doubles each.
        unsafe {
            s.store_d(sum, self.sum[0]);
            s.store_d(sum.add(8), self.sum[1]);
            s.store_d(square, self.square[0]);
            s.store_d(square.add(8), self.square[1]);
        }
        held.max = s.to_array(s.max(self.max, s.from_array(held.max)));
        held.min = s.to_array(s.min(self.min, s.from_array(held.min)));
    }

    /// Adds x, of magnitudes `most` for the largest and `least` for the smallest.
    #[inline(always)]
    fn add(&mut self, s: S, x: S::F, most: S::F, least: S::F) {
        self.max = s.max(most, self.max);
        self.min = s.min(least, self.min);
        let (low, high) = s.widen(x);
        self.sum = [s.add_d(self.sum[0], low), s.add_d(self.sum[1], high)];
        self.square = [s.fma_d(low, low, self.square[0]), s.fma_d(high, high, self.square[1])];
    }

    /// Nothing in this block is zero, subnormal, infinite or NaN.
    #[inline(always)]
    fn are_of_normal_numbers(&self, s: S) -> bool {
        let ends = s.min_lane(self.min) >= f32::MIN_POSITIVE && s.max_lane(self.max) < f32::INFINITY;
        ends && s.sum_dd(self.square[0], self.square[1]).is_finite()
    }
}

/// A block one vector at a time, whatever it holds.
struct Odd<'a> {
    x: &'a [f32],
    held: &'a mut Held,
}

impl Kernel for Odd<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Odd { x, held } = self;
        let n = x.len();
        let (zero, infinity, normal) = (s.zero(), s.splat(f32::INFINITY), s.splat(f32::MIN_POSITIVE));
        let mut sums = Sums::load(s, held);
        let [mut zeros, mut small, mut nans, mut infs] = held.counts;
        let mut i = 0;
        while i < n {
            let rest = n - i;
            // SAFETY: rest elements remain from i to n, the length of x.
            let mut v = unsafe { s.load_up_to(x.as_ptr().add(i), rest) };
            let mut size = s.abs(v);
            // Lanes past the end hold zero, and are not to be counted as such.
            let inside = s.first(rest.min(LANES));
            zeros += s.bits_m(s.and_m(s.eq(size, zero), inside)).count_ones();
            small += s.bits_m(s.and_m(s.lt(size, normal), inside)).count_ones();
            nans += s.bits_m(s.is_nan(v)).count_ones();
            infs += s.bits_m(s.eq(size, infinity)).count_ones();
            let finite = s.lt(size, infinity);
            v = s.select(finite, v, zero);
            size = s.select(finite, size, zero);
            sums.add(s, v, size, s.select(s.eq(size, zero), infinity, size));
            i += LANES;
        }
        sums.store(s, held);
        held.counts = [zeros, small, nans, infs];
    }
}

/// What the norms of the layers' gradients say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(i32)]
pub enum FlowVerdict {
    #[default]
    Healthy = 0,
    /// Gradients shrink toward the input, by more than [`FLOW_FACTOR`] over the depth as fitted (whitepaper §3, §8).
    Vanishing = 1,
    /// Gradients grow toward the input, by more than [`FLOW_FACTOR`] over the depth as fitted (whitepaper §4, §9).
    Exploding = 2,
    /// A norm is NaN or infinite.
    Nonfinite = 3,
    /// A norm is exactly 0 and no decay explains it: a layer that no gradient reaches.
    Dead = 4,
}

/// The fitted growth or decay over all layers from which on gradients count as exploding or vanishing.
///
/// Both are judged by αⁿ, with n = layers − 1: a factor of 0.9 a layer is harmless in 20 layers (0.14) and fatal in
/// 100 (3e-5).
pub const FLOW_FACTOR: f64 = 1e3;

/// How gradients flow through the layers of a network, or the steps of a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowReport {
    pub verdict: FlowVerdict,
    /// α, the fitted factor of a layer toward the input: ‖g‖ ~ αⁿ after n layers. Under 1 they shrink. 1 if fewer than
    /// two norms can be fitted.
    pub rate: f64,
    /// The largest over the smallest norm, of those that are finite and not 0; 1 if there are none.
    pub spread: f64,
    /// The layer to look at first. Healthy: the norm farthest from their geometric mean. Vanishing: the smallest.
    /// Exploding: the largest. Nonfinite and Dead: the one nearest to the output, which the backward pass meets first.
    pub worst_layer: usize,
}

/// Judges the norms of the layers' gradients, ordered from input to output.
///
/// Fits ln ‖g_l‖ = ln C + n·ln α, with n = L − 1 − l the layers between l and the output, by least squares over the
/// norms that are finite and not 0. Verdicts, the first that holds:
/// - `Nonfinite`: a norm is NaN or infinite.
/// - `Vanishing`: α^(L−1) < 1/[`FLOW_FACTOR`], and norms of 0, if any, stand only at the input end, where the decay
///   left the range of f32.
/// - `Dead`: a norm is 0.
/// - `Exploding`: α^(L−1) > [`FLOW_FACTOR`].
/// - `Healthy`, also for no layers at all.
///
/// Whitepaper §3, §4, §8, §9, §20. The norms of `grad_norm_f32` and of the recurrent kernels' steps serve. Plain scalar
/// code with the platform's logarithm.
///
/// # Errors
/// `InvalidArgument` if a norm is negative.
///
/// ```
/// use evenkeel::monitor::{FlowVerdict, gradient_flow};
/// let report = gradient_flow(&[1e-6, 1e-5, 1e-4, 1e-3, 1e-2])?;
/// assert_eq!((report.verdict, report.worst_layer), (FlowVerdict::Vanishing, 0));
/// assert!((report.rate - 0.1).abs() < 1e-9);
/// # Ok::<(), evenkeel::Error>(())
/// ```
pub fn gradient_flow(grad_norms: &[f64]) -> Result<FlowReport> {
    let layers = grad_norms.len();
    if let Some(l) = grad_norms.iter().position(|&norm| norm < 0.0) {
        let detail = format!("grad_norms[{l}] is {}, expected at least 0", grad_norms[l]);
        return Err(Error::invalid_argument("gradient_flow", detail));
    }
    let fitted = || grad_norms.iter().enumerate().filter(|(_, norm)| norm.is_finite() && **norm > 0.0);
    let points = fitted().count() as f64;
    // Depth n below the output and logarithm y of a norm, about their means.
    let depth = |l: usize| (layers - 1 - l) as f64;
    let mean_n = fitted().map(|(l, _)| depth(l)).sum::<f64>() / points;
    let mean_y = fitted().map(|(_, norm)| norm.ln()).sum::<f64>() / points;
    let slope = if points < 2.0 {
        0.0
    } else {
        let (covariance, variance) = fitted().fold((0.0, 0.0), |(c, v), (l, norm)| {
            let n = depth(l) - mean_n;
            (c + n * (norm.ln() - mean_y), v + n * n)
        });
        covariance / variance
    };
    let over_depth = slope * layers.saturating_sub(1) as f64;
    let limit = FLOW_FACTOR.ln();

    let last = |is: &dyn Fn(f64) -> bool| grad_norms.iter().rposition(|&norm| is(norm));
    let nonfinite = last(&|norm| !norm.is_finite());
    let last_zero = last(&|norm| norm == 0.0);
    let first_alive = grad_norms.iter().position(|&norm| norm > 0.0);
    let zeros_at_input = last_zero.is_none_or(|zero| first_alive.is_some_and(|alive| zero < alive));

    let extreme = |largest: bool| {
        let key = |norm: f64| if largest { norm } else { -norm };
        (0..layers).reduce(|best, l| if key(grad_norms[l]) > key(grad_norms[best]) { l } else { best }).unwrap_or(0)
    };
    let (verdict, worst_layer) = if let Some(l) = nonfinite {
        (FlowVerdict::Nonfinite, l)
    } else if over_depth < -limit && zeros_at_input {
        (FlowVerdict::Vanishing, extreme(false))
    } else if let Some(l) = last_zero {
        (FlowVerdict::Dead, l)
    } else if over_depth > limit {
        (FlowVerdict::Exploding, extreme(true))
    } else {
        let off = |l: usize| (grad_norms[l].ln() - mean_y).abs();
        let worst = (0..layers).reduce(|worst, l| if off(l) > off(worst) { l } else { worst });
        (FlowVerdict::Healthy, worst.unwrap_or(0))
    };
    let (least, most) = fitted().fold((f64::INFINITY, 0.0f64), |(a, b), (_, &norm)| (a.min(norm), b.max(norm)));
    let spread = if points > 0.0 { most / least } else { 1.0 };
    Ok(FlowReport { verdict, rate: slope.exp(), spread, worst_layer })
}
