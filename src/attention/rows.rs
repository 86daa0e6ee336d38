//! What happens to rows of logits between products: the online softmax forward, probabilities and their gradients
//! backward. A call has at most [`GROUP`] rows, so that what rows have one of fills a vector.

use super::shape::{GROUP, KEY_BLOCK};
use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath;

/// Elements from one row of a block of logits to the next: a whole number of vectors, and an odd number of cache lines,
/// so that a column does not fall into a few sets of a cache.
pub(super) const STRIDE: usize = KEY_BLOCK + LANES;

/// Row r sees the first `first + r` of the block's keys, or all.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub rows: usize,
    pub first: usize,
    pub keys: usize,
}

impl Seen {
    #[inline(always)]
    fn by(self, r: usize) -> usize {
        self.keys.min(self.first + r)
    }

    /// The keys that any row sees.
    #[inline(always)]
    pub(super) fn end(self) -> usize {
        self.by(self.rows - 1)
    }
}

/// One step of the online softmax: logits become exp(logit − m) with the new maxima m, zero where a row does not see up
/// to the next multiple of 16 of what any row sees; l = Σ in lanes, folded by halves, joins as `fma(l, exp(m_old − m),
/// sum)`; rows of `out` are scaled by the same factor.
pub(super) struct Online {
    pub seen: Seen,
    pub logits: *mut f32,
    pub m: *mut f32,
    pub l: *mut f32,
    pub out: *mut f32,
    pub d: usize,
    /// Nothing stands in `out` yet.
    pub fresh: bool,
}

/// Whoever makes one promises: 1 ≤ rows ≤ [`GROUP`]; so many rows of [`STRIDE`] logits, elements of m and l, and rows of
/// d of `out` are this thread's; every row sees a key.
impl Kernel for &Online {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.seen.rows;
        let low = s.splat(f32::NEG_INFINITY);
        let mut tops = [f32::NEG_INFINITY; GROUP];
        // SAFETY: rows hold STRIDE floats, of which keys and the rest of a vector are the first (promise).
        unsafe {
            for r in 0..rows {
                let (x, n) = (self.logits.add(r * STRIDE), self.seen.by(r));
                let mut top = low;
                let mut j = 0;
                while j + LANES <= n {
                    // NaN is passed over: its exponential shows it.
                    top = s.max(s.load(x.add(j)), top);
                    j += LANES;
                }
                if j < n {
                    top = s.max(s.select(s.first(n - j), s.load(x.add(j)), low), top);
                }
                tops[r] = s.max_lane(top);
            }
            let old = s.load_first(self.m, rows);
            let new = s.max(old, s.from_array(tops));
            // A row of −Inf alone has zeros for exponentials, and not NaN.
            let pivot = s.select(s.eq(new, low), s.zero(), new);
            let factor = vecmath::exp_fall(s, s.sub(old, pivot));
            s.store_first(self.m, new, rows);
            let pivots = s.to_array(pivot);
            let mut sums = [0.0; GROUP];
            let end = self.seen.end();
            for r in 0..rows {
                let (x, n) = (self.logits.add(r * STRIDE), self.seen.by(r));
                let m = s.splat(pivots[r]);
                let mut sum = s.zero();
                let mut j = 0;
                while j + LANES <= n {
                    let e = vecmath::exp_fall(s, s.sub(s.load(x.add(j)), m));
                    s.store(x.add(j), e);
                    sum = s.add(sum, e);
                    j += LANES;
                }
                if j < n {
                    let e = vecmath::exp_fall(s, s.sub(s.load(x.add(j)), m));
                    let e = s.select(s.first(n - j), e, s.zero());
                    s.store(x.add(j), e);
                    sum = s.add(sum, e);
                    j += LANES;
                }
                while j < end {
                    s.store(x.add(j), s.zero());
                    j += LANES;
                }
                sums[r] = s.sum(sum);
            }
            let l = s.fma(s.load_first(self.l, rows), factor, s.from_array(sums));
            s.store_first(self.l, l, rows);
            if !self.fresh {
                let moved = s.bits_m(s.and_m(s.first(rows), s.not_m(s.eq(factor, s.splat(1.0)))));
                if moved != 0 {
                    self.scale(s, moved, s.to_array(factor));
                }
            }
        }
    }
}

impl Online {
    /// # Safety
    /// As the promise of [`Online`].
    #[inline(always)]
    unsafe fn scale<S: Simd>(&self, s: S, moved: u32, factors: [f32; GROUP]) {
        for r in 0..self.seen.rows {
            if moved >> r & 1 == 1 {
                let factor = s.splat(factors[r]);
                let mut i = 0;
                while i < self.d {
                    // SAFETY: the row holds d floats.
                    unsafe {
                        let y = self.out.add(r * self.d + i);
                        s.store_up_to(y, s.mul(s.load_up_to(y, self.d - i), factor), self.d - i);
                    }
                    i += LANES;
                }
            }
        }
    }
}

/// The end of the online softmax: out /= l, and lse = m + ln l. Rows that saw nothing, or −Inf alone, get zeros and
/// −Inf.
pub(super) struct Finish {
    pub rows: usize,
    pub m: *const f32,
    pub l: *const f32,
    pub out: *mut f32,
    pub d: usize,
    pub lse: *mut f32,
}

/// Whoever makes one promises: 1 ≤ rows ≤ [`GROUP`]; so many elements of m, l and lse, and rows of d of `out`, are this
/// thread's.
impl Kernel for &Finish {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: the promise.
        unsafe {
            let (m, l) = (s.load_first(self.m, self.rows), s.load_first(self.l, self.rows));
            let pivot = s.select(s.eq(m, s.splat(f32::NEG_INFINITY)), s.zero(), m);
            s.store_first(self.lse, s.add(pivot, vecmath::log(s, l)), self.rows);
            let sums = s.to_array(l);
            for r in 0..self.rows {
                let (l, nothing) = (s.splat(sums[r]), sums[r] == 0.0);
                let mut i = 0;
                while i < self.d {
                    let y = self.out.add(r * self.d + i);
                    let v = if nothing { s.zero() } else { s.div(s.load_up_to(y, self.d - i), l) };
                    s.store_up_to(y, v, self.d - i);
                    i += LANES;
                }
            }
        }
    }
}

/// Backward: logits become probabilities p = exp(logit − lse), and the gradients of probabilities become those of
/// logits, ds = p·(dp − delta); both zero where a row does not see, up to the next multiple of 16 of what any row sees.
pub(super) struct Gradients {
    pub seen: Seen,
    pub logits: *mut f32,
    pub dp: *mut f32,
    pub lse: *const f32,
    pub delta: *const f32,
}

/// Whoever makes one promises: 1 ≤ rows ≤ [`GROUP`]; so many rows of [`STRIDE`] logits and of dp are this thread's, and
/// elements of lse and delta are readable.
impl Kernel for &Gradients {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let end = self.seen.end();
        // SAFETY: rows hold STRIDE floats, of which keys and the rest of a vector are the first (promise).
        unsafe {
            for r in 0..self.seen.rows {
                let (x, y, n) = (self.logits.add(r * STRIDE), self.dp.add(r * STRIDE), self.seen.by(r));
                let lse = *self.lse.add(r);
                // A row of −Inf alone had zeros for probabilities.
                let lse = s.splat(if lse == f32::NEG_INFINITY { f32::INFINITY } else { lse });
                let delta = s.splat(*self.delta.add(r));
                let mut j = 0;
                while j + LANES <= n {
                    let p = vecmath::exp_fall(s, s.sub(s.load(x.add(j)), lse));
                    s.store(x.add(j), p);
                    s.store(y.add(j), s.mul(p, s.sub(s.load(y.add(j)), delta)));
                    j += LANES;
                }
                if j < n {
                    let inside = s.first(n - j);
                    let p = vecmath::exp_fall(s, s.sub(s.load(x.add(j)), lse));
                    let ds = s.mul(p, s.sub(s.load(y.add(j)), delta));
                    s.store(x.add(j), s.select(inside, p, s.zero()));
                    s.store(y.add(j), s.select(inside, ds, s.zero()));
                    j += LANES;
                }
                while j < end {
                    s.store(x.add(j), s.zero());
                    s.store(y.add(j), s.zero());
                    j += LANES;
                }
            }
        }
    }
}
