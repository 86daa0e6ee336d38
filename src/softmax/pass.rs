//! What softmax, log-softmax and cross-entropy each make of their rows.

use crate::simd::{LANES, Simd};
use crate::vecmath;

/// What the first two passes know about a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stats {
    /// The largest logit; 0 in a row of −Inf alone, so that its exponentials are zero rather than NaN.
    pub(crate) max: f32,
    /// S: exp(x − max) summed over all elements but the first largest. NaN if the row holds NaN or +Inf.
    pub(crate) rest: f64,
    /// max − x summed over the row, where the pass asks for it.
    pub(crate) drop: f64,
    /// The logit in the column that the pass picked.
    pub(crate) picked: f32,
    /// Whether the row holds nothing but −Inf (or NaN).
    pub(crate) empty: bool,
}

impl Stats {
    /// ln Σ exp(x − max) = log1p(S).
    #[inline(always)]
    pub(crate) fn log_sum<S: Simd>(&self, s: S) -> f32 {
        s.to_array(vecmath::log1p(s, s.splat(self.rest as f32)))[0]
    }
}

/// [`Stats`] of sixteen rows, a lane each.
pub(crate) struct Turned<S: Simd> {
    pub(crate) max: S::F,
    pub(crate) rest: [f64; LANES],
    pub(crate) log_sum: S::F,
    pub(crate) empty: S::M,
}

/// What one function makes of its rows.
pub(crate) trait Pass: Sync {
    /// Whether the second pass stores the exponentials in y, if there is an output.
    const STORE: bool;
    /// Whether ln Σ exp(x − max) is asked for.
    const LOG_SUM: bool;
    /// Whether rows end; then [`Pass::write`] has no use for ln Σ exp(x − max).
    const ENDS: bool;

    /// Whether the second pass also sums max − x.
    #[inline(always)]
    fn drops(&self) -> bool {
        false
    }
    /// Whether there is an output.
    #[inline(always)]
    fn writes(&self) -> bool {
        true
    }
    /// Whether a row is looked at; else only [`Pass::skip`] is called.
    #[inline(always)]
    fn wants(&self, _row: usize) -> bool {
        true
    }
    /// The column whose logit [`Stats::picked`] holds; it is read before anything is written.
    #[inline(always)]
    fn pick(&self, _row: usize) -> usize {
        0
    }
    /// The third pass over `n` columns at x and y, given ln Σ exp(x − max).
    ///
    /// # Safety
    /// x and y are valid for `n` floats, y only if there is an output.
    unsafe fn write<S: Simd>(&self, s: S, stats: &Stats, log_sum: f32, x: *const f32, y: *mut f32, n: usize);
    /// Ends a row: what it adds to the total.
    ///
    /// # Safety
    /// y is valid for a row if there is an output.
    #[inline(always)]
    unsafe fn end<S: Simd>(&self, _s: S, _row: usize, _stats: &Stats, _y: *mut f32) -> f64 {
        0.0
    }
    /// What [`Pass::write`] does, of sixteen rows that stand in a block.
    ///
    /// # Safety
    /// The block holds `cols` columns.
    unsafe fn write_turned<S: Simd>(&self, s: S, stats: &Turned<S>, block: *mut f32, cols: usize);
    /// What [`Pass::end`] does, given ln Σ exp(x − max) and exp(picked − max).
    ///
    /// # Safety
    /// y is valid for a row if there is an output.
    #[inline(always)]
    unsafe fn end_with(&self, _row: usize, _stats: &Stats, _log_sum: f32, _e: f32, _y: *mut f32) -> f64 {
        0.0
    }
    /// A row that is not wanted.
    ///
    /// # Safety
    /// y is valid for a row if there is an output.
    #[inline(always)]
    unsafe fn skip(&self, _row: usize, _y: *mut f32, _cols: usize) {}
}
