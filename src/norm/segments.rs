//! Runs of one channel's elements, which share one scale and shift: `[batch, channels, spatial]` with a long spatial.

use super::rows::{self, Row, Tile};
use super::{CHUNK, first_part, head, last_part, put};
use crate::simd::{Kernel, LANES, Simd};

/// Runs at least this long are worked on along the run; shorter ones across channels.
pub(super) const LONG: usize = 16;

/// Mean and variance of `n` elements, and whether their squares left f32's range.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) n: f64,
    pub(super) mean: f64,
    pub(super) var: f64,
    pub(super) wide: bool,
}

impl Moments {
    /// Of both, in this order.
    #[inline(always)]
    pub(super) fn join(self, other: Moments) -> Moments {
        let n = self.n + other.n;
        let delta = other.mean - self.mean;
        let mean = self.mean + delta * (other.n / n);
        let sum = self.n * self.var + other.n * other.var + delta * delta * (self.n * other.n / n);
        Moments { n, mean, var: sum / n, wide: self.wide || other.wide }
    }

    /// What a channel is normalized by.
    pub(super) fn row(&self, eps: f64) -> Row {
        let rstd = 1.0 / (self.var + eps).sqrt();
        Row { wide: self.wide || !rows::fits(self.var, eps), ..Row::new(self.mean, rstd) }
    }

    /// 1/√(variance + ε), 0 for a constant without ε.
    pub(super) fn scale(&self, eps: f64) -> f64 {
        if self.var + eps == 0.0 { 0.0 } else { 1.0 / (self.var + eps).sqrt() }
    }
}

/// The moments of one run, as those of a row.
pub(super) struct Measure<'a> {
    pub(super) eps: f64,
    pub(super) x: &'a [f32],
}

impl Kernel for Measure<'_> {
    type Out = Moments;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Moments {
        let n = self.x.len();
        // SAFETY: one row of n elements.
        unsafe {
            let tile = Tile::read::<S, f32, true>(s, 1, n, self.x.as_ptr());
            tile.moments(s, n, self.eps, self.x.as_ptr())
        }
    }
}

/// y = (x − mean)·a + b of one run.
pub(super) struct Apply<'a> {
    pub(super) x: &'a [f32],
    pub(super) y: &'a mut [f32],
    pub(super) mean: f32,
    pub(super) a: f32,
    pub(super) b: f32,
    pub(super) stream: bool,
}

impl Kernel for Apply<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mean, a, b) = (s.splat(self.mean), s.splat(self.a), s.splat(self.b));
        let n = self.x.len().min(self.y.len());
        let mut part = first_part::<S>(head::<S, _>(self.stream, self.y, n), n);
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr());
        let mut i = 0;
        // SAFETY: parts and whole vectors end at n.
        unsafe {
            loop {
                if part > 0 {
                    let v = s.fma(s.sub(s.load_first(x.add(i), part), mean), a, b);
                    s.store_first(y.add(i), v, part);
                    i += part;
                }
                while !S::COMPACT && i + LANES <= n {
                    put(s, y.add(i), s.fma(s.sub(s.load(x.add(i)), mean), a, b), self.stream);
                    i += LANES;
                }
                if i == n {
                    break;
                }
                part = last_part::<S>(n - i);
            }
        }
        if self.stream {
            s.fence();
        }
    }
}

/// Σ dy, Σ dy·x̂ and Σ x̂ of one run, x̂ = (x − mean)·rstd from the rounded mean.
pub(super) struct Sums<'a> {
    pub(super) dy: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) mean: f32,
    pub(super) rstd: f32,
}

impl Kernel for Sums<'_> {
    type Out = [f64; 3];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f64; 3] {
        let (m, k) = (s.splat(self.mean), s.splat(self.rstd));
        let n = self.x.len().min(self.dy.len());
        let (dy, x) = (self.dy.as_ptr(), self.x.as_ptr());
        let mut out = [0.0; 3];
        let mut at = 0;
        while at < n {
            let end = n.min(at + CHUNK);
            let (mut a, mut b, mut c) = (s.zero(), s.zero(), s.zero());
            let mut i = at;
            while i < end {
                // SAFETY: ends at `end`.
                let (dy, x) = unsafe { (s.load_up_to(dy.add(i), end - i), s.load_up_to(x.add(i), end - i)) };
                let mut xhat = s.mul(s.sub(x, m), k);
                if end - i < LANES {
                    xhat = s.select(s.first(end - i), xhat, s.zero());
                }
                a = s.add(a, dy);
                b = s.fma(dy, xhat, b);
                c = s.add(c, xhat);
                i += LANES;
            }
            out[0] += s.sum(a) as f64;
            out[1] += s.sum(b) as f64;
            out[2] += s.sum(c) as f64;
            at = end;
        }
        out
    }
}

/// What dx of a channel takes: dx = dy·k + (x̂·c + d), x̂ = (x − mean)·rstd from the rounded mean.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slope {
    pub(super) mean: f32,
    pub(super) rstd: f32,
    pub(super) k: f32,
    pub(super) c: f32,
    pub(super) d: f32,
}

impl Slope {
    /// Of dx = rstd·(gamma·dy − a − (x̂ + shift)·b); nothing where one value is all there is.
    pub(super) fn new(n: f64, [mean, rstd]: [f32; 2], shift: f64, gamma: f64, a: f64, b: f64) -> Slope {
        let r = if n == 1.0 { 0.0 } else { rstd as f64 };
        let (k, c, d) = (gamma * r, -b * r, -(a + shift * b) * r);
        Slope { mean, rstd, k: k as f32, c: c as f32, d: d as f32 }
    }

    #[inline(always)]
    pub(super) fn vector<S: Simd>(s: S, x: S::F, dy: S::F, [mean, rstd, k, c, d]: [S::F; 5]) -> S::F {
        let xhat = s.mul(s.sub(x, mean), rstd);
        s.fma(dy, k, s.fma(xhat, c, d))
    }
}

/// dx of one run.
pub(super) struct Dx<'a> {
    pub(super) dy: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) dx: &'a mut [f32],
    pub(super) slope: Slope,
    pub(super) stream: bool,
}

impl Kernel for Dx<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = self.slope;
        let slope = [s.splat(p.mean), s.splat(p.rstd), s.splat(p.k), s.splat(p.c), s.splat(p.d)];
        let n = self.x.len().min(self.dy.len()).min(self.dx.len());
        let mut part = first_part::<S>(head::<S, _>(self.stream, self.dx, n), n);
        let (dy, x, dx) = (self.dy.as_ptr(), self.x.as_ptr(), self.dx.as_mut_ptr());
        let mut i = 0;
        loop {
            // SAFETY: parts and whole vectors end at n.
            unsafe {
                while !S::COMPACT && part == 0 && i + LANES <= n {
                    let v = Slope::vector(s, s.load(x.add(i)), s.load(dy.add(i)), slope);
                    put(s, dx.add(i), v, self.stream);
                    i += LANES;
                }
                if part == 0 {
                    part = last_part::<S>(n - i);
                }
                if part > 0 {
                    let v = Slope::vector(s, s.load_first(x.add(i), part), s.load_first(dy.add(i), part), slope);
                    s.store_first(dx.add(i), v, part);
                    i += part;
                    part = 0;
                }
            }
            if i == n {
                break;
            }
        }
        if self.stream {
            s.fence();
        }
    }
}
