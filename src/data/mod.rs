//! Data as it comes (whitepaper §21): statistics of the columns of a table, and features brought to one scale.
//!
//! Sums are f64 and taken about a value of the column itself, so that an offset of 1e8 costs no accuracy and a constant
//! column has a deviation of exactly 0. Missing entries (NaN) are left out, and counted on request.

mod stats;

use crate::context::Context;
use crate::elementwise::{Fence, PIECE, STREAM_BYTES, STREAM_PIECE, whole_vectors};
use crate::error::{Error, Result, check_len, product};
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};
pub use stats::{column_stats_counted_f32, column_stats_f32};

/// y = (x − mean)/(std + eps), column by column: features of mean 0 and deviation 1 (whitepaper §21).
///
/// Shapes, row-major: `x`, `y` `[rows, cols]`; `mean`, `std` `[cols]`, those of [`column_stats_f32`] or of other data. Where
/// std + eps is 0 it counts as 1: a constant column becomes 0. NaN entries stay NaN. Computed in f64, with one rounding at
/// the store: within 1 ULP of the formula. [`standardize_in_place_f32`] writes over x. Threads: the same bits for any
/// number.
///
/// # Errors
/// `InvalidSize`; `InvalidArgument` unless eps is finite and ≥ 0; `OutOfMemory`.
///
/// ```
/// use evenkeel::{Context, data::{column_stats_f32, standardize_f32}};
/// let ctx = Context::global()?;
/// let x = [1e8, 5.0, 1e8 + 16.0, 5.0];
/// let (mut mean, mut std, mut y) = ([0.0; 2], [0.0; 2], [0.0; 4]);
/// column_stats_f32(ctx, 2, 2, &x, &mut mean, Some(&mut std), None, None)?;
/// assert_eq!((mean, std), ([1e8 + 8.0, 5.0], [8.0, 0.0]));
/// standardize_f32(ctx, 2, 2, &mean, &std, 0.0, &x, &mut y)?;
/// assert_eq!(y, [-1.0, 0.0, 1.0, 0.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[allow(clippy::too_many_arguments)]
pub fn standardize_f32(
    ctx: &Context,
    rows: usize,
    cols: usize,
    mean: &[f64],
    std: &[f64],
    eps: f32,
    x: &[f32],
    y: &mut [f32],
) -> Result {
    standardize(ctx, rows, cols, mean, std, eps, Some(x), y)
}

/// [`standardize_f32`] written over x.
pub fn standardize_in_place_f32(
    ctx: &Context,
    rows: usize,
    cols: usize,
    mean: &[f64],
    std: &[f64],
    eps: f32,
    x: &mut [f32],
) -> Result {
    standardize(ctx, rows, cols, mean, std, eps, None, x)
}

/// x None is the output's old values.
#[allow(clippy::too_many_arguments)]
pub(crate) fn standardize(
    ctx: &Context,
    rows: usize,
    cols: usize,
    mean: &[f64],
    std: &[f64],
    eps: f32,
    x: Option<&[f32]>,
    y: &mut [f32],
) -> Result {
    let f = "standardize_f32";
    check_len(f, "mean", mean, cols)?;
    check_len(f, "std", std, cols)?;
    if !(eps >= 0.0 && eps.is_finite()) {
        return Err(Error::invalid_argument(f, format!("eps is {eps}, expected a finite number ≥ 0")));
    }
    affine(f, ctx, rows, cols, x, y, 0.0, |j| {
        let std = std[j] + eps as f64;
        (mean[j], if std == 0.0 { 1.0 } else { 1.0 / std })
    })
}

/// y = low + (x − min)·(high − low)/(max − min), column by column: features in [low, high] (whitepaper §21).
///
/// Shapes, row-major: `x`, `y` `[rows, cols]`; `min`, `max` `[cols]`, those of [`column_stats_f32`] or of other data, beyond
/// which y is beyond [low, high]. min becomes low and max becomes high, exactly. Where max = min their difference counts as
/// 1: a constant column becomes low. NaN entries stay NaN. Computed in f64, with one rounding at the store. Aliasing: none.
/// Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`; `InvalidArgument` unless low ≤ high and both are finite; `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn rescale_f32(
    ctx: &Context,
    rows: usize,
    cols: usize,
    min: &[f32],
    max: &[f32],
    low: f32,
    high: f32,
    x: &[f32],
    y: &mut [f32],
) -> Result {
    let f = "rescale_f32";
    check_len(f, "min", min, cols)?;
    check_len(f, "max", max, cols)?;
    if !(low.is_finite() && high.is_finite() && low <= high) {
        let detail = format!("low is {low} and high is {high}, expected finite numbers, low ≤ high");
        return Err(Error::invalid_argument(f, detail));
    }
    affine(f, ctx, rows, cols, Some(x), y, low as f64, |j| {
        let (min, width) = (min[j] as f64, max[j] as f64 - min[j] as f64);
        (min, (high as f64 - low as f64) / if width == 0.0 { 1.0 } else { width })
    })
}

/// y = (x − shift)·factor + base, with the shift and factor of each column.
#[allow(clippy::too_many_arguments)]
fn affine(
    f: &'static str,
    ctx: &Context,
    rows: usize,
    cols: usize,
    x: Option<&[f32]>,
    y: &mut [f32],
    base: f64,
    column: impl Fn(usize) -> (f64, f64),
) -> Result {
    let n = product(f, "x", &[rows, cols])?;
    if let Some(x) = x {
        check_len(f, "x", x, n)?;
    }
    check_len(f, if x.is_some() { "y" } else { "x" }, y, n)?;
    if n == 0 {
        return Ok(());
    }
    // A vector may begin at any column and run into the rows after: columns go on from the first.
    let len = cols + LANES;
    let mut scratch = Scratch::take::<f64>(f, 2 * len)?;
    let (shift, factor) = scratch.slice::<f64>(2 * len).split_at_mut(len);
    for j in 0..len {
        (shift[j], factor[j]) = if j < cols { column(j) } else { (shift[j - cols], factor[j - cols]) };
    }
    let stream = x.is_some() && n * size_of::<f32>() >= STREAM_BYTES;
    let step = if stream { STREAM_PIECE } else { PIECE };
    let y = Shared::new(y);
    let (shift, factor) = (&*shift, &*factor);
    ctx.for_each(Work::elements(n, 0.25), n.div_ceil(step), |task| {
        let range = task * step..n.min((task + 1) * step);
        // SAFETY: tasks have disjoint ranges.
        let y = unsafe { y.piece(range.clone()) };
        let first = range.start % cols;
        ctx.dispatch(Affine { cols, first, x: x.map(|x| &x[range]), y, shift, factor, base, stream });
        if stream {
            ctx.dispatch(Fence);
        }
    });
    Ok(())
}

/// Some elements, the first of which stands in column `first`.
struct Affine<'a> {
    cols: usize,
    first: usize,
    x: Option<&'a [f32]>,
    y: &'a mut [f32],
    shift: &'a [f64],
    factor: &'a [f64],
    base: f64,
    stream: bool,
}

impl Kernel for Affine<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (cols, n) = (self.cols, self.y.len());
        let y = self.y.as_mut_ptr();
        let x = self.x.map_or(y.cast_const(), |x| x.as_ptr());
        assert!(self.x.is_none_or(|x| x.len() == n) && self.first < cols);
        assert!(self.shift.len() == cols + LANES && self.factor.len() == cols + LANES);
        let (head, end) = whole_vectors::<S, _>(y, n, self.stream);
        let step = LANES % cols;
        let mut j = (self.first + head) % cols;
        let mut i = head;
        // SAFETY: n elements are in x and y, 16 numbers from each column on in shift and factor (asserted); streamed vectors
        // are aligned (whole_vectors). In place, a vector is read before it is written.
        unsafe {
            if head > 0 {
                s.store_first(y, self.map(s, s.load_first(x, head), self.first), head);
            }
            while i < end {
                let v = self.map(s, s.load(x.add(i)), j);
                if self.stream {
                    s.stream(y.add(i), v);
                } else {
                    s.store(y.add(i), v);
                }
                i += LANES;
                j += step;
                if j >= cols {
                    j -= cols;
                }
            }
            if i < n {
                s.store_first(y.add(i), self.map(s, s.load_first(x.add(i), n - i), j), n - i);
            }
        }
    }
}

impl Affine<'_> {
    /// # Safety
    /// shift and factor hold 16 numbers from `j` on.
    #[inline(always)]
    unsafe fn map<S: Simd>(&self, s: S, v: S::F, j: usize) -> S::F {
        const HALF: usize = LANES / 2;
        let (shift, factor, base) = (self.shift.as_ptr(), self.factor.as_ptr(), s.splat_d(self.base));
        let (a, b) = s.widen(v);
        // SAFETY: the caller's contract.
        unsafe {
            let a = s.sub_d(a, s.load_d(shift.add(j)));
            let b = s.sub_d(b, s.load_d(shift.add(j + HALF)));
            let a = s.fma_d(a, s.load_d(factor.add(j)), base);
            let b = s.fma_d(b, s.load_d(factor.add(j + HALF)), base);
            s.narrow(a, b)
        }
    }
}
