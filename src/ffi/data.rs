//! Statistics of a table's columns, and features brought to one scale.

use super::context::ek_context;
use super::context_of;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::data::{self, column_stats_counted_f32, column_stats_f32, rescale_f32};

/// Mean, deviation, minimum and maximum of each column of x [rows, cols]. mean, std, min, max [cols]; std, min, max may be
/// NULL.
///
/// std = sqrt(sum (x - mean)^2 / n), of the population. Sums are double, about a value of the column: an offset of 1e8 costs
/// nothing, and a constant column has its value as mean and 0 as std, exactly. NaN entries are missing values and enter
/// nothing: ek_column_stats_counted_f32 says how many there are. A column of nothing else has NaN for everything; infinite
/// entries are values. No rows or no columns: nothing is written. Aliasing: outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_column_stats_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    x: *const f32,
    mean: *mut f64,
    std: *mut f64,
    min: *mut f32,
    max: *mut f32,
) -> ek_status {
    let f = "column_stats_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[rows, cols]);
        let mean = Out::new("mean", mean, &[cols]);
        let std = Out::new("std", std, &[cols]).optional();
        let min = Out::new("min", min, &[cols]).optional();
        let max = Out::new("max", max, &[cols]).optional();
        check(f, &[&x, &mean, &std, &min, &max])?;
        // SAFETY: checked above; the sizes are the caller's promise.
        unsafe { column_stats_f32(ctx, rows, cols, x.slice(), mean.slice(), std.option(), min.option(), max.option()) }
    })
}

/// ek_column_stats_f32, and in nans [cols] how many entries of each column are NaN.
///
/// Errors: as there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_column_stats_counted_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    x: *const f32,
    mean: *mut f64,
    std: *mut f64,
    min: *mut f32,
    max: *mut f32,
    nans: *mut u64,
) -> ek_status {
    let f = "column_stats_counted_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[rows, cols]);
        let mean = Out::new("mean", mean, &[cols]);
        let std = Out::new("std", std, &[cols]).optional();
        let min = Out::new("min", min, &[cols]).optional();
        let max = Out::new("max", max, &[cols]).optional();
        let nans = Out::new("nans", nans, &[cols]);
        check(f, &[&x, &mean, &std, &min, &max, &nans])?;
        // SAFETY: checked above; the sizes are the caller's promise.
        unsafe {
            let (std, min, max) = (std.option(), min.option(), max.option());
            column_stats_counted_f32(ctx, rows, cols, x.slice(), mean.slice(), std, min, max, nans.slice())
        }
    })
}

/// y = (x - mean) / (std + eps), column by column: features of mean 0 and deviation 1. x, y [rows, cols]; mean, std [cols],
/// those of ek_column_stats_f32 or of other data.
///
/// Where std + eps is 0 it counts as 1, so that a constant column becomes 0. NaN stays NaN. Computed in double, rounded
/// once. Aliasing: y may be x.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, eps unless finite and
/// >= 0), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_standardize_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    mean: *const f64,
    std: *const f64,
    eps: f32,
    x: *const f32,
    y: *mut f32,
) -> ek_status {
    let f = "standardize_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let mean = In::new("mean", mean, &[cols]);
        let std = In::new("std", std, &[cols]);
        let x = In::new("x", x, &[rows, cols]);
        let y = Out::new("y", y, &[rows, cols]).may_be(&["x"]);
        check(f, &[&mean, &std, &x, &y])?;
        // SAFETY: checked above, and there is no slice of x where y is it; the sizes are the caller's promise.
        let (mean, std, x, y) = unsafe { (mean.slice(), std.slice(), (!y.is(&x)).then(|| x.slice()), y.slice()) };
        data::standardize(ctx, rows, cols, mean, std, eps, x, y)
    })
}

/// y = low + (x - min) * (high - low) / (max - min), column by column: features in [low, high]. x, y [rows, cols]; min, max
/// [cols], those of ek_column_stats_f32 or of other data, beyond which y is beyond [low, high].
///
/// Where max is min their difference counts as 1, so that a constant column becomes low. NaN stays NaN. Computed in double,
/// rounded once. Aliasing: y overlaps nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment, unless low <= high and
/// both are finite), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rescale_f32(
    ctx: *const ek_context,
    rows: usize,
    cols: usize,
    min: *const f32,
    max: *const f32,
    low: f32,
    high: f32,
    x: *const f32,
    y: *mut f32,
) -> ek_status {
    let f = "rescale_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let min = In::new("min", min, &[cols]);
        let max = In::new("max", max, &[cols]);
        let x = In::new("x", x, &[rows, cols]);
        let y = Out::new("y", y, &[rows, cols]);
        check(f, &[&min, &max, &x, &y])?;
        // SAFETY: checked above; the sizes are the caller's promise.
        unsafe { rescale_f32(ctx, rows, cols, min.slice(), max.slice(), low, high, x.slice(), y.slice()) }
    })
}
