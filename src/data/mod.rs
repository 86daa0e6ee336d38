//! Data as it comes (whitepaper §21): statistics of the columns of a table, and features brought to one scale.
//!
//! Sums are f64 and taken about a value of the column itself, so that an offset of 1e8 costs no accuracy and a constant
//! column has a deviation of exactly 0. Missing entries (NaN) are left out, and counted on request.

mod stats;

use crate::context::Context;
use crate::elementwise::{Fence, STREAM_BYTES};
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

/// Elements of a task.
const PIECE: usize = 32 * 1024;

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
    let padded = cols.next_multiple_of(LANES);
    let mut scratch = Scratch::take::<f64>(f, 2 * padded)?;
    let (shift, factor) = scratch.slice::<f64>(2 * padded).split_at_mut(padded);
    shift[cols..].fill(0.0);
    factor[cols..].fill(0.0);
    for j in 0..cols {
        (shift[j], factor[j]) = column(j);
    }
    // Rows of whole vectors in an aligned tensor larger than the caches go past them.
    let aligned = cols.is_multiple_of(LANES) && y.as_ptr().addr().is_multiple_of(LANES * size_of::<f32>());
    let stream = x.is_some() && aligned && n * size_of::<f32>() >= STREAM_BYTES;
    let step = (PIECE / cols).max(1);
    let y = Shared::new(y);
    let (shift, factor) = (&*shift, &*factor);
    ctx.for_each(Work::elements(n, 0.25), rows.div_ceil(step), |task| {
        let range = task * step * cols..n.min((task + 1) * step * cols);
        // SAFETY: tasks have disjoint rows.
        let y = unsafe { y.piece(range.clone()) };
        ctx.dispatch(Affine { cols, x: x.map(|x| &x[range]), y, shift, factor, base, stream });
        if stream {
            ctx.dispatch(Fence);
        }
    });
    Ok(())
}

struct Affine<'a> {
    cols: usize,
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
        const HALF: usize = LANES / 2;
        let (cols, n) = (self.cols, self.y.len());
        let y = self.y.as_mut_ptr();
        let x = self.x.map_or(y.cast_const(), |x| x.as_ptr());
        let (shift, factor, base) = (self.shift.as_ptr(), self.factor.as_ptr(), s.splat_d(self.base));
        assert!(self.x.is_none_or(|x| x.len() == n) && n.is_multiple_of(cols));
        assert!(self.shift.len() >= cols.next_multiple_of(LANES) && self.factor.len() == self.shift.len());
        for row in (0..n).step_by(cols) {
            let mut j = 0;
            // SAFETY: a row has cols elements in x and y (asserted); shift and factor are padded to whole vectors
            // (asserted); streamed vectors are aligned and whole (affine).
            unsafe {
                while j < cols {
                    let rest = cols - j;
                    let (a, b) = s.widen(s.load_up_to(x.add(row + j), rest));
                    let a = s.sub_d(a, s.load_d(shift.add(j)));
                    let b = s.sub_d(b, s.load_d(shift.add(j + HALF)));
                    let a = s.fma_d(a, s.load_d(factor.add(j)), base);
                    let b = s.fma_d(b, s.load_d(factor.add(j + HALF)), base);
                    let v = s.narrow(a, b);
                    if self.stream {
                        s.stream(y.add(row + j), v);
                    } else {
                        s.store_up_to(y.add(row + j), v, rest);
                    }
                    j += LANES;
                }
            }
        }
    }
}
