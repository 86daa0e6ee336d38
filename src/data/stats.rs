//! Mean, deviation and extremes of every column in one pass.

use crate::context::Context;
use crate::error::{Result, check_len, product};
use crate::parallel::{Shared, Work};
use crate::scratch::Scratch;
use crate::simd::{Kernel, LANES, Simd};

/// Rows of a block at least, and how many blocks there are at most.
const ROWS: usize = 256;
const MOST_BLOCKS: usize = 64;

/// Columns of a task at most: what is summed stays in the nearest cache.
const COLS: usize = 1024;

/// Rows that are read side by side.
const STRIP: usize = 8;

/// The columns of `x` `[rows, cols]`: `mean`, `std`, `min`, `max`, each `[cols]` (whitepaper §21).
///
/// `std` is √(Σ(x − mean)²/n), of the population (n, not n − 1). NaN entries are missing values and enter nothing:
/// [`column_stats_counted_f32`] also says how many there are. A column of nothing but NaN has NaN for everything. An
/// infinite entry is a value: it is an extreme, its column's mean is infinite or NaN, and so is its deviation. With no rows
/// or no columns nothing is written.
///
/// Accuracy: relative 1e-12 in std, and in mean 1e-12 of std beside the rounding of the mean itself, at any offset; a
/// constant column has its value as mean and 0 as std, exactly. Order: blocks of 256 rows (of more, so that there are at
/// most 64), summed ascending in f64 about the column's first element of the block, join in ascending order (Chan, Golub and
/// LeVeque 1983); the sums of a column with NaN are about its first finite element and not fused. Threads: the same bits
/// for any number.
///
/// # Errors
/// `InvalidSize`; `OutOfMemory`.
#[allow(clippy::too_many_arguments)]
pub fn column_stats_f32(
    ctx: &Context,
    rows: usize,
    cols: usize,
    x: &[f32],
    mean: &mut [f64],
    std: Option<&mut [f64]>,
    min: Option<&mut [f32]>,
    max: Option<&mut [f32]>,
) -> Result {
    stats("column_stats_f32", ctx, rows, cols, x, mean, std, min, max, None)
}

/// [`column_stats_f32`], and in `nans` `[cols]` how many entries of each column are NaN.
///
/// # Errors
/// As there.
///
/// ```
/// use evenkeel::{Context, data::column_stats_counted_f32};
/// let x = [1.0, f32::NAN, 3.0, 7.0];
/// let (mut mean, mut nans) = ([0.0; 2], [0; 2]);
/// column_stats_counted_f32(Context::global()?, 2, 2, &x, &mut mean, None, None, None, &mut nans)?;
/// assert_eq!((mean, nans), ([2.0, 7.0], [0, 1]));
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[allow(clippy::too_many_arguments)]
pub fn column_stats_counted_f32(
    ctx: &Context,
    rows: usize,
    cols: usize,
    x: &[f32],
    mean: &mut [f64],
    std: Option<&mut [f64]>,
    min: Option<&mut [f32]>,
    max: Option<&mut [f32]>,
    nans: &mut [u64],
) -> Result {
    stats("column_stats_counted_f32", ctx, rows, cols, x, mean, std, min, max, Some(nans))
}

#[allow(clippy::too_many_arguments)]
fn stats(
    f: &'static str,
    ctx: &Context,
    rows: usize,
    cols: usize,
    x: &[f32],
    mean: &mut [f64],
    mut std: Option<&mut [f64]>,
    mut min: Option<&mut [f32]>,
    mut max: Option<&mut [f32]>,
    mut nans: Option<&mut [u64]>,
) -> Result {
    check_len(f, "x", x, product(f, "x", &[rows, cols])?)?;
    check_len(f, "mean", mean, cols)?;
    std.as_ref().map_or(Ok(()), |std| check_len(f, "std", std, cols))?;
    min.as_ref().map_or(Ok(()), |min| check_len(f, "min", min, cols))?;
    max.as_ref().map_or(Ok(()), |max| check_len(f, "max", max, cols))?;
    nans.as_ref().map_or(Ok(()), |nans| check_len(f, "nans", nans, cols))?;
    if x.is_empty() {
        return Ok(());
    }
    let step = ROWS.max(rows.div_ceil(MOST_BLOCKS));
    let (blocks, chunks) = (rows.div_ceil(step), cols.div_ceil(COLS));
    let width = COLS.min(cols.next_multiple_of(LANES));
    // For each task the moments of its columns: mean less the origin, Σ(x − mean)², count; and the extremes.
    let (moments_len, extremes_len) = (3 * width, 2 * width);
    let tasks = blocks * chunks;
    let mut origins = Scratch::take::<f64>(f, cols)?;
    let mut moments = Scratch::take::<f64>(f, tasks * moments_len)?;
    let mut extremes = Scratch::take::<f32>(f, tasks * extremes_len)?;
    let (moments, extremes) = (moments.slice(tasks * moments_len), extremes.slice(tasks * extremes_len));
    // Means are kept as differences from a number of the column, where f64 has more digits of them.
    let origins = origins.slice::<f64>(cols);
    for j in 0..cols {
        let first = (0..rows.min(ROWS)).map(|i| x[i * cols + j]).find(|x| x.is_finite());
        origins[j] = first.unwrap_or(0.0) as f64;
    }
    let origins = &*origins;
    {
        let (moments, extremes) = (Shared::new(&mut *moments), Shared::new(&mut *extremes));
        ctx.for_each(Work::elements(x.len(), 0.25), tasks, |task| {
            let (block, first) = (task / chunks, task % chunks * COLS);
            // SAFETY: each task has its own.
            let (moments, extremes) = unsafe {
                (
                    moments.piece(task * moments_len..(task + 1) * moments_len),
                    extremes.piece(task * extremes_len..(task + 1) * extremes_len),
                )
            };
            let rows = block * step..rows.min((block + 1) * step);
            let x = &x[rows.start * cols + first..];
            let part = Part { x, ld: cols, rows: rows.len(), cols: COLS.min(cols - first), width };
            ctx.dispatch(Sums { part: &part, sums: moments, extremes });
            part.finish(&origins[first..], moments);
        });
    }
    for j in 0..cols {
        let (chunk, at) = (j / COLS, j % COLS);
        let mut all = Moments { mean: 0.0, squares: 0.0, count: 0.0 };
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for block in 0..blocks {
            let task = block * chunks + chunk;
            let [mean, squares, count] = [0, 1, 2].map(|i| moments[task * moments_len + i * width + at]);
            all.join(Moments { mean, squares, count });
            let [least, most] = [0, 1].map(|i| extremes[task * extremes_len + i * width + at]);
            low = if least < low { least } else { low };
            high = if most > high { most } else { high };
        }
        let none = all.count == 0.0;
        mean[j] = if none { f64::NAN } else { origins[j] + all.mean };
        if let Some(std) = &mut std {
            std[j] = if none { f64::NAN } else { (all.squares / all.count).sqrt() };
        }
        if let Some(min) = &mut min {
            min[j] = if none { f32::NAN } else { low };
        }
        if let Some(max) = &mut max {
            max[j] = if none { f32::NAN } else { high };
        }
        if let Some(nans) = &mut nans {
            nans[j] = rows as u64 - all.count as u64;
        }
    }
    Ok(())
}

struct Moments {
    mean: f64,
    squares: f64,
    count: f64,
}

impl Moments {
    fn join(&mut self, other: Moments) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = other;
            return;
        }
        let (count, step) = (self.count + other.count, other.mean - self.mean);
        self.mean += step * (other.count / count);
        self.squares += other.squares + step * step * (self.count * other.count / count);
        self.count = count;
    }
}

/// Some columns of a block of rows.
struct Part<'a> {
    /// From the first element on.
    x: &'a [f32],
    ld: usize,
    rows: usize,
    cols: usize,
    /// Columns rounded up, as far apart as the sums stand.
    width: usize,
}

impl Part<'_> {
    /// Makes mean (less the origin), Σ(x − mean)² and count of the sums about the first row.
    fn finish(&self, origins: &[f64], sums: &mut [f64]) {
        for j in 0..self.cols {
            let (sum, squares) = (sums[j], sums[self.width + j]);
            let moments = if sum.is_nan() || squares.is_nan() {
                self.with_gaps(j, origins[j])
            } else {
                about(self.x[j] as f64 - origins[j], sum, squares, self.rows as f64)
            };
            (sums[j], sums[self.width + j], sums[2 * self.width + j]) = (moments.mean, moments.squares, moments.count);
        }
    }

    /// A column with NaN or infinities.
    fn with_gaps(&self, j: usize, origin: f64) -> Moments {
        let column = || (0..self.rows).map(|i| self.x[i * self.ld + j]).filter(|x| !x.is_nan()).map(|x| x as f64);
        let shift = column().find(|x| x.is_finite()).unwrap_or(0.0);
        let (mut sum, mut squares, mut n) = (0.0, 0.0, 0.0);
        for x in column() {
            let d = x - shift;
            sum += d;
            squares += d * d;
            n += 1.0;
        }
        if n == 0.0 {
            return Moments { mean: 0.0, squares: 0.0, count: 0.0 };
        }
        about(shift - origin, sum, squares, n)
    }
}

/// The moments of `n` numbers, given the sums of their differences from `shift` and of the squares of these.
fn about(shift: f64, sum: f64, squares: f64, n: f64) -> Moments {
    let left = squares - sum * sum / n;
    // Not max: an infinite column's NaN is to stay.
    Moments { mean: shift + sum / n, squares: if left < 0.0 { 0.0 } else { left }, count: n }
}

/// Σ(x − x₀) and Σ(x − x₀)² about the first row, ascending; min and max of what is not NaN.
struct Sums<'a, 'b> {
    part: &'a Part<'b>,
    sums: &'a mut [f64],
    extremes: &'a mut [f32],
}

impl Kernel for Sums<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        const HALF: usize = LANES / 2;
        let Part { x, ld, rows, cols, width } = *self.part;
        assert!(rows > 0 && x.len() >= (rows - 1) * ld + cols && cols.next_multiple_of(LANES) <= width);
        assert!(self.sums.len() >= 2 * width && self.extremes.len() >= 2 * width);
        let (x, sums, extremes) = (x.as_ptr(), self.sums.as_mut_ptr(), self.extremes.as_mut_ptr());
        for strip in (0..rows).step_by(STRIP) {
            let end = rows.min(strip + STRIP);
            for j in (0..cols).step_by(LANES) {
                let rest = cols - j;
                // SAFETY: row i < rows and columns j to min(j + 16, cols) lie in x, whole vectors up to the width in sums
                // and extremes (asserted).
                unsafe {
                    let (low, high) = (sums.add(j), sums.add(width + j));
                    let (least, most) = (extremes.add(j), extremes.add(width + j));
                    let (shift_a, shift_b) = s.widen(s.load_up_to(x.add(j), rest));
                    let (mut sum_a, mut sum_b) = (s.splat_d(0.0), s.splat_d(0.0));
                    let (mut square_a, mut square_b) = (sum_a, sum_b);
                    let (mut min, mut max) = (s.splat(f32::INFINITY), s.splat(f32::NEG_INFINITY));
                    if strip > 0 {
                        (sum_a, sum_b) = (s.load_d(low), s.load_d(low.add(HALF)));
                        (square_a, square_b) = (s.load_d(high), s.load_d(high.add(HALF)));
                        (min, max) = (s.load(least), s.load(most));
                    }
                    for i in strip..end {
                        let v = s.load_up_to(x.add(i * ld + j), rest);
                        // The second of two is kept where one is NaN.
                        min = s.min(v, min);
                        max = s.max(v, max);
                        let (a, b) = s.widen(v);
                        let (a, b) = (s.sub_d(a, shift_a), s.sub_d(b, shift_b));
                        (sum_a, sum_b) = (s.add_d(sum_a, a), s.add_d(sum_b, b));
                        (square_a, square_b) = (s.fma_d(a, a, square_a), s.fma_d(b, b, square_b));
                    }
                    s.store_d(low, sum_a);
                    s.store_d(low.add(HALF), sum_b);
                    s.store_d(high, square_a);
                    s.store_d(high.add(HALF), square_b);
                    s.store(least, min);
                    s.store(most, max);
                }
            }
        }
    }
}
