//! Panels: a strip of rows of A, or of columns of B, laid out in the order in which the tile reads it.

use crate::simd::{Isa, LANES, Simd};

const HALF: usize = LANES / 2;

/// Floats that a panel may write past its end: the last store of a vector of which only a part is wanted.
pub(super) const SLACK: usize = LANES;

/// A strip `width` wide and `k` deep; element (i, p) stands at `src + i·across + p·along`, one of the strides being 1.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    pub src: *const f32,
    pub across: usize,
    pub along: usize,
    pub width: usize,
    pub k: usize,
}

impl Strip {
    /// Writes element (i, p) to `dst[p·stride + i]`; what stands at `width` ≤ i < `stride` is unspecified. With a
    /// stride that is no multiple of 16 up to [`SLACK`] floats past the end are overwritten.
    ///
    /// # Safety
    /// The strip is readable; k·stride + SLACK floats are writable at `dst`.
    #[inline(always)]
    pub(super) unsafe fn pack<S: Simd>(self, s: S, dst: *mut f32, stride: usize) {
        // SAFETY: the contract, passed on for each 16 columns of the strip.
        unsafe {
            let part = |i: usize, most: usize| Strip {
                src: self.src.wrapping_add(i * self.across),
                width: (self.width - i).min(most),
                ..self
            };
            let mut i = 0;
            while i < self.width {
                if self.across == 1 {
                    part(i, LANES).copy(s, dst.add(i), stride);
                    i += LANES;
                } else if const { matches!(S::ISA, Isa::Avx512) } && self.width - i > HALF {
                    part(i, LANES).transpose16(s, dst.add(i), stride);
                    i += LANES;
                } else {
                    part(i, HALF).transpose8(s, dst.add(i), stride);
                    i += HALF;
                }
            }
        }
    }

    /// Up to 16 columns whose elements stand side by side.
    ///
    /// # Safety
    /// As [`Strip::pack`].
    #[inline(always)]
    unsafe fn copy<S: Simd>(self, s: S, dst: *mut f32, stride: usize) {
        // SAFETY: row p of the strip is width floats (contract); the stores end k·stride + 16 floats after dst.
        unsafe {
            if self.width == LANES {
                for p in 0..self.k {
                    s.store(dst.add(p * stride), s.load(self.src.add(p * self.along)));
                }
            } else {
                for p in 0..self.k {
                    s.store(dst.add(p * stride), s.load_first(self.src.wrapping_add(p * self.along), self.width));
                }
            }
        }
    }

    /// Up to 16 columns, each contiguous along k: 16 × 16 blocks turn in registers, where there are 32 of them.
    ///
    /// # Safety
    /// As [`Strip::pack`].
    #[inline(always)]
    unsafe fn transpose16<S: Simd>(self, s: S, dst: *mut f32, stride: usize) {
        // SAFETY: column i < width is k floats from src + i·across (contract); loads past k are masked; the stores end
        // k·stride + 16 floats after dst. A column past the width repeats the last one.
        unsafe {
            let mut block = [s.zero(); LANES];
            let mut p = 0;
            while p + LANES <= self.k {
                for (i, row) in block.iter_mut().enumerate() {
                    *row = s.load(self.src.add(i.min(self.width - 1) * self.across + p));
                }
                for (q, column) in s.transpose(block).iter().enumerate() {
                    s.store(dst.add((p + q) * stride), *column);
                }
                p += LANES;
            }
            if p < self.k {
                for (i, row) in block.iter_mut().enumerate() {
                    *row = s.load_first(self.src.add(i.min(self.width - 1) * self.across + p), self.k - p);
                }
                for (q, column) in s.transpose(block).iter().enumerate().take(self.k - p) {
                    s.store(dst.add((p + q) * stride), *column);
                }
            }
        }
    }

    /// Up to 8 columns, each contiguous along k, in 8 × 8 blocks.
    ///
    /// # Safety
    /// As [`Strip::pack`].
    #[inline(always)]
    unsafe fn transpose8<S: Simd>(self, s: S, dst: *mut f32, stride: usize) {
        // SAFETY: as transpose16; what is left of k is copied one by one.
        unsafe {
            let mut block = [s.splat_h(0.0); HALF];
            let mut p = 0;
            while p + HALF <= self.k {
                for (i, row) in block.iter_mut().enumerate() {
                    *row = s.load_h(self.src.add(i.min(self.width - 1) * self.across + p));
                }
                for (q, column) in s.transpose_h(block).iter().enumerate() {
                    s.store_h(dst.add((p + q) * stride), *column);
                }
                p += HALF;
            }
            while p < self.k {
                for i in 0..self.width {
                    *dst.add(p * stride + i) = *self.src.add(i * self.across + p);
                }
                p += 1;
            }
        }
    }
}
