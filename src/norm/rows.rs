//! The statistics of rows, which everything here begins with.

use super::segments::Moments;
use super::{CHUNK, TINY};
use crate::element::Storage;
use crate::simd::{Kernel, LANES, Simd};

/// Rows whose statistics are finished together.
pub(super) const TILE: usize = 8;

/// Elements of a tile: read again from the first-level cache when they are normalized.
pub(super) const TILE_ELEMENTS: usize = 2048;

/// What normalizing a row takes: x̂ = (x − mean)·rstd + shift.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) mean: f32,
    pub(super) rstd: f32,
    /// What rounding took from the mean, in units of x̂.
    pub(super) shift: f32,
    /// The row needs f64 throughout.
    pub(super) wide: bool,
}

/// Sums of `R` rows of `cols` elements, one after another at x: Σ (x − p) and Σ (x − p)², without pivots Σ x² alone.
///
/// # Safety
/// x is valid for reading R·cols elements.
#[inline(always)]
pub(super) unsafe fn sums<S: Simd, T: Storage, const R: usize, const CENTER: bool>(
    s: S,
    cols: usize,
    x: *const T,
    pivots: [f32; R],
) -> [[f64; 2]; R] {
    let mut out = [[0.0; 2]; R];
    let mut p = [s.zero(); R];
    for r in 0..R {
        p[r] = s.splat(pivots[r]);
    }
    let mut at = 0;
    while at < cols {
        let end = cols.min(at + CHUNK);
        let (mut a, mut b) = ([s.zero(); R], [s.zero(); R]);
        let mut i = at;
        // SAFETY: i + 16 <= end <= cols, and the tail ends at cols.
        unsafe {
            while !S::COMPACT && i + LANES <= end {
                for r in 0..R {
                    let mut d = T::load(s, x.add(r * cols + i));
                    if CENTER {
                        d = s.sub(d, p[r]);
                        a[r] = s.add(a[r], d);
                    }
                    b[r] = s.fma(d, d, b[r]);
                }
                i += LANES;
            }
            while i < end {
                let n = if S::COMPACT { LANES.min(end - i) } else { end - i };
                for r in 0..R {
                    let mut d = T::load_first(s, x.add(r * cols + i), n);
                    if CENTER {
                        d = s.select(s.first(n), s.sub(d, p[r]), s.zero());
                        a[r] = s.add(a[r], d);
                    }
                    b[r] = s.fma(d, d, b[r]);
                }
                i += n;
            }
        }
        for r in 0..R {
            if CENTER {
                out[r][0] += s.sum(a[r]) as f64;
            }
            out[r][1] += s.sum(b[r]) as f64;
        }
        at = end;
    }
    out
}

/// The mean of the first elements, up to 16, of a row.
///
/// # Safety
/// x is valid for reading `cols` elements.
#[inline(always)]
pub(super) unsafe fn pivot<S: Simd, T: Storage>(s: S, cols: usize, x: *const T) -> f32 {
    let n = cols.min(LANES);
    // SAFETY: n <= cols.
    s.sum(unsafe { T::load_up_to(s, x, n) }) * (1.0 / n as f32)
}

/// The sums of a tile of rows, and their pivots.
pub(super) struct Tile {
    pub(super) pivot: [f64; TILE],
    pub(super) s1: [f64; TILE],
    pub(super) s2: [f64; TILE],
}

impl Tile {
    /// Of `count` rows at x; other entries are those of rows of zeros.
    ///
    /// # Safety
    /// x is valid for reading count·cols elements; count is at most [`TILE`].
    #[inline(always)]
    pub(super) unsafe fn read<S: Simd, T: Storage, const CENTER: bool>(
        s: S,
        count: usize,
        cols: usize,
        x: *const T,
    ) -> Tile {
        let mut tile = Tile { pivot: [0.0; TILE], s1: [0.0; TILE], s2: [0.0; TILE] };
        let mut r = 0;
        // SAFETY: r + R <= count rows.
        unsafe {
            while !S::COMPACT && r + 2 <= count {
                tile.take::<S, T, 2, CENTER>(s, cols, x.add(r * cols), r);
                r += 2;
            }
            while r < count {
                tile.take::<S, T, 1, CENTER>(s, cols, x.add(r * cols), r);
                r += 1;
            }
        }
        tile
    }

    /// # Safety
    /// x is valid for reading R·cols elements, and at + R is at most [`TILE`].
    #[inline(always)]
    unsafe fn take<S: Simd, T: Storage, const R: usize, const CENTER: bool>(
        &mut self,
        s: S,
        cols: usize,
        x: *const T,
        at: usize,
    ) {
        let mut pivots = [0.0; R];
        // SAFETY: R rows at x.
        let sums = unsafe {
            for r in 0..R {
                if CENTER {
                    pivots[r] = pivot(s, cols, x.add(r * cols));
                }
            }
            sums::<S, T, R, CENTER>(s, cols, x, pivots)
        };
        for r in 0..R {
            self.pivot[at + r] = pivots[r] as f64;
            [self.s1[at + r], self.s2[at + r]] = sums[r];
        }
    }

    /// The statistics of the first `count` rows, which lie at x.
    ///
    /// # Safety
    /// As for [`Tile::read`].
    #[inline(always)]
    pub(super) unsafe fn finish<S: Simd, T: Storage, const CENTER: bool>(
        &self,
        s: S,
        count: usize,
        cols: usize,
        eps: f64,
        x: *const T,
    ) -> [Row; TILE] {
        let n = s.splat_d(cols as f64);
        // SAFETY: the arrays hold 8 doubles.
        let (p, s1, s2) =
            unsafe { (s.load_d(self.pivot.as_ptr()), s.load_d(self.s1.as_ptr()), s.load_d(self.s2.as_ptr())) };
        let mut var = s.div_d(s2, n);
        let (mut mean, mut delta_sq) = (p, s.splat_d(0.0));
        if CENTER {
            let delta = s.div_d(s1, n);
            mean = s.add_d(p, delta);
            delta_sq = s.mul_d(delta, delta);
            var = s.sub_d(var, delta_sq);
        }
        let rstd = s.div_d(s.splat_d(1.0), s.sqrt_d(s.add_d(var, s.splat_d(eps))));
        // What Row::new does, of all rows.
        let rounded = s.narrow(mean, mean);
        let shift = s.mul_d(s.sub_d(s.widen(rounded).0, mean), rstd);
        let (rounded, shift) = (s.to_array(rounded), s.to_array(s.narrow(shift, shift)));
        let (rstd, mean) = (s.to_array(s.narrow(rstd, rstd)), s.to_array_d(mean));
        let (var, delta_sq) = (s.to_array_d(var), s.to_array_d(delta_sq));
        let mut rows = [Row::default(); TILE];
        let mut fine = true;
        for r in 0..count {
            rows[r] = Row { mean: rounded[r], rstd: rstd[r], shift: shift[r], wide: false };
            fine &= (delta_sq[r] <= var[r]) & fits(var[r], eps);
        }
        if !fine {
            for r in 0..count {
                if !(delta_sq[r] <= var[r] && fits(var[r], eps)) {
                    // SAFETY: row r of count.
                    rows[r] = s.outline(Again::<T, CENTER> { cols, eps, mean: mean[r], x: unsafe { x.add(r * cols) } });
                }
            }
        }
        rows
    }
}

impl Tile {
    /// The moments of the one row of a tile, which lies at x.
    ///
    /// # Safety
    /// x is valid for reading `n` elements, which the tile was read from.
    #[inline(always)]
    pub(super) unsafe fn moments<S: Simd>(&self, s: S, n: usize, eps: f64, x: *const f32) -> Moments {
        let count = n as f64;
        let mut delta = self.s1[0] / count;
        let mut mean = self.pivot[0] + delta;
        let mut var = self.s2[0] / count - delta * delta;
        if !(delta * delta <= var && fits(var, eps)) {
            let p = mean as f32;
            // SAFETY: the caller's contract.
            let [[s1, s2]] = unsafe { sums::<S, f32, 1, true>(s, n, x, [p]) };
            delta = s1 / count;
            mean = p as f64 + delta;
            var = not_negative(s2 / count - delta * delta);
            if !(fits(var, eps) && s2 < f64::INFINITY) {
                // SAFETY: as above.
                let [mean, var] = unsafe { wide(s, n, x, true) };
                return Moments { n: count, mean, var, wide: true };
            }
        }
        Moments { n: count, mean, var, wide: false }
    }
}

/// Whether squares stayed in f32's range: NaN does not.
#[inline(always)]
pub(super) fn fits(var: f64, eps: f64) -> bool {
    (var < f64::INFINITY) & (var + eps >= TINY)
}

/// A variance that rounding took below zero; NaN stays.
#[inline(always)]
fn not_negative(var: f64) -> f64 {
    if var < 0.0 { 0.0 } else { var }
}

impl Row {
    #[inline(always)]
    pub(super) fn new(mean: f64, rstd: f64) -> Row {
        let rounded = mean as f32;
        Row { mean: rounded, rstd: rstd as f32, shift: ((rounded as f64 - mean) * rstd) as f32, wide: false }
    }
}

/// A row whose pivot was far from its mean, with the mean as its pivot.
struct Again<T, const CENTER: bool> {
    cols: usize,
    eps: f64,
    mean: f64,
    x: *const T,
}

impl<T: Storage, const CENTER: bool> Kernel for Again<T, CENTER> {
    type Out = Row;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Row {
        let (n, p) = (self.cols as f64, self.mean as f32);
        if CENTER {
            // SAFETY: x is a row (Tile::finish).
            let [[s1, s2]] = unsafe { sums::<S, T, 1, true>(s, self.cols, self.x, [p]) };
            let delta = s1 / n;
            let var = not_negative(s2 / n - delta * delta);
            if fits(var, self.eps) && s2 < f64::INFINITY {
                return Row::new(p as f64 + delta, 1.0 / (var + self.eps).sqrt());
            }
        }
        Row { wide: true, ..Row::default() }
    }
}

/// Mean and variance of a row in f64, around zero if not `center`.
///
/// # Safety
/// x is valid for reading `cols` elements.
#[inline(always)]
pub(super) unsafe fn wide<S: Simd, T: Storage>(s: S, cols: usize, x: *const T, center: bool) -> [f64; 2] {
    let n = cols as f64;
    // SAFETY: a row of cols.
    unsafe {
        let mut mean = 0.0;
        if center {
            mean = wide_sums(s, cols, x, 0.0)[0] / n;
        }
        let [r, q] = wide_sums(s, cols, x, mean);
        if center { [mean + r / n, not_negative(q / n - (r / n) * (r / n))] } else { [0.0, q / n] }
    }
}

/// Σ (x − p) and Σ (x − p)² in f64.
///
/// # Safety
/// x is valid for reading `cols` elements.
#[inline(always)]
pub(super) unsafe fn wide_sums<S: Simd, T: Storage>(s: S, cols: usize, x: *const T, p: f64) -> [f64; 2] {
    s.outline(WideSums { cols, x, p })
}

/// [`wide_sums`] of a row of `cols` at x.
struct WideSums<T> {
    cols: usize,
    x: *const T,
    p: f64,
}

impl<T: Storage> Kernel for WideSums<T> {
    type Out = [f64; 2];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f64; 2] {
        let WideSums { cols, x, p } = self;
        let (zero, p) = (s.splat_d(0.0), s.splat_d(p));
        let (mut a, mut b) = ([zero; 2], [zero; 2]);
        let mut i = 0;
        while i < cols {
            // SAFETY: ends at cols.
            let d = unsafe { deviations(s, x.add(i), cols - i, p) };
            for h in 0..2 {
                a[h] = s.add_d(a[h], d[h]);
                b[h] = s.fma_d(d[h], d[h], b[h]);
            }
            i += LANES;
        }
        [s.sum_dd(a[0], a[1]), s.sum_dd(b[0], b[1])]
    }
}

/// x − p of up to 16 elements, zero past the last.
///
/// # Safety
/// x is valid for reading min(n, 16) elements.
#[inline(always)]
pub(super) unsafe fn deviations<S: Simd, T: Storage>(s: S, x: *const T, n: usize, p: S::D) -> [S::D; 2] {
    #[inline(never)]
    unsafe fn apart<S: Simd, T: Storage>(s: S, x: *const T, n: usize, p: S::D) -> [S::D; 2] {
        // SAFETY: the caller's contract.
        unsafe { deviations_inlined(s, x, n, p) }
    }
    // SAFETY: the caller's contract.
    unsafe { if S::COMPACT { apart(s, x, n, p) } else { deviations_inlined(s, x, n, p) } }
}

/// # Safety
/// As for [`deviations`].
#[inline(always)]
unsafe fn deviations_inlined<S: Simd, T: Storage>(s: S, x: *const T, n: usize, p: S::D) -> [S::D; 2] {
    // SAFETY: the caller's contract.
    let (low, high) = s.widen(unsafe { T::load_up_to(s, x, n) });
    let d = [s.sub_d(low, p), s.sub_d(high, p)];
    if n >= LANES {
        return d;
    }
    // Past the end: p itself, taken from the elements that are there, leaves nothing.
    let mut kept = [0.0; LANES];
    kept[..8].copy_from_slice(&s.to_array_d(d[0]));
    kept[8..].copy_from_slice(&s.to_array_d(d[1]));
    kept[n..].fill(0.0);
    // SAFETY: 16 doubles.
    unsafe { [s.load_d(kept.as_ptr()), s.load_d(kept.as_ptr().add(8))] }
}
