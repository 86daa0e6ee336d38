//! Rounding to bf16 and f16 up or down by chance, so that what a format is too coarse to hold survives on average.
//!
//! A number x between two neighbours a < x < b of the format becomes b with probability (x − a)/(b − a), by 16 random
//! bits. Those of element i are half of word 256·⌊i/512⌋ + i mod 256 of [`Words`], the low half where i mod 512 < 256:
//! they depend on the seed, the stream and i alone.

use crate::element::{Storage, bf16, f16};
use crate::random::{WORDS, Words};
use crate::simd::{Kernel, LANES, Simd};

/// Elements whose random bits are drawn at once: positions of [`Draw`] are multiples of it.
pub(crate) const DRAWN: usize = 1024;

/// The seed and the stream of a tensor's random bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice {
    pub(crate) seed: u64,
    pub(crate) stream: u64,
}

/// The random bits of the [`DRAWN`] elements from `position` on.
pub(crate) struct Draw<'a> {
    pub(crate) dice: Dice,
    pub(crate) position: usize,
    pub(crate) bits: &'a mut [u16; DRAWN],
    /// What is read next, and asked of memory meanwhile: drawing keeps the CPU busy, and memory idle.
    pub(crate) ahead: &'a [f32],
}

impl Kernel for Draw<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut words = Words::new(self.dice.seed, self.dice.stream, self.position / 2);
        let bits = self.bits.as_mut_ptr();
        for block in (0..DRAWN).step_by(2 * WORDS) {
            for i in (block..self.ahead.len().min(block + 2 * WORDS)).step_by(LANES) {
                s.prefetch(self.ahead.as_ptr().wrapping_add(i));
            }
            let drawn = words.next(s);
            for k in 0..LANES {
                let low = s.narrow_w(s.and_i(drawn[k], s.splat_i(0xffff)));
                let high = s.narrow_w(s.shr_i::<16>(drawn[k]));
                // SAFETY: block + WORDS + 16·15 + 16 <= DRAWN.
                unsafe {
                    s.store_w(bits.add(block + LANES * k), low);
                    s.store_w(bits.add(block + WORDS + LANES * k), high);
                }
            }
        }
    }
}

/// A format that is rounded to by chance.
pub(crate) trait Half: Storage {
    /// One of x's two neighbours, by a random integer below 2¹⁶ in each lane. A number of the format stays itself, a NaN
    /// a NaN; beyond the largest number lies infinity, as far as a further number would.
    fn by_chance<S: Simd>(s: S, x: S::F, random: S::I) -> S::W;
}

impl Half for bf16 {
    #[inline(always)]
    fn by_chance<S: Simd>(s: S, x: S::F, random: S::I) -> S::W {
        // A carry out of the lower half comes with the probability of what is in it; infinity has nothing there.
        let bits = s.bits(x);
        let up = s.from_bits(s.add_i(bits, random));
        let quiet = s.from_bits(s.or_i(bits, s.splat_i(0x0040_0000)));
        s.narrow_w(s.shr_i::<16>(s.bits(s.select(s.is_nan(x), quiet, up))))
    }
}

impl Half for f16 {
    #[inline(always)]
    fn by_chance<S: Simd>(s: S, x: S::F, random: S::I) -> S::W {
        // As above with 13 bits; what is left is exact, and its conversion rounds no more.
        let bits = s.bits(x);
        let carried = s.add_i(bits, s.and_i(random, s.splat_i(0x1fff)));
        let normal = s.from_bits(s.and_i(carried, s.splat_i(!0x1fff)));
        // Below 2⁻¹⁴ halves are multiples of 2⁻²⁴: the addition of 0.5 rounds to one, and all that follows is exact.
        let size = s.abs(x);
        let (half, step) = (s.splat(0.5), s.splat(2f32.powi(-24)));
        let nearest = s.sub(s.add(size, half), half);
        let rest = s.sub(size, nearest);
        let above = s.lt(rest, s.zero());
        let below = s.select(above, s.sub(nearest, step), nearest);
        let rest = s.select(above, s.add(rest, step), rest);
        let chance = s.mul(s.add(s.from_int(random), half), s.splat(2f32.powi(-40)));
        let small = s.copysign(s.select(s.lt(chance, rest), s.add(below, step), below), x);
        let y = s.select(s.lt(size, s.splat(2f32.powi(-14))), small, normal);
        s.to_f16(s.select(s.is_nan(x), x, y))
    }
}

/// Elements from one that is rounded to one that is asked for: drawing bits and rounding take long.
const AHEAD: usize = 1024;

/// y = x, rounded by chance.
pub(crate) struct NarrowByChance<'a, T> {
    pub(crate) x: &'a [f32],
    /// As many as elements.
    pub(crate) bits: &'a [u16],
    pub(crate) y: &'a mut [T],
}

impl<T: Half> Kernel for NarrowByChance<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.y.len();
        assert!(self.x.len() == n && self.bits.len() == n);
        let (x, bits, y) = (self.x.as_ptr(), self.bits.as_ptr(), self.y.as_mut_ptr().cast::<u16>());
        let mut i = 0;
        // SAFETY: vectors end at n, the length of all three (asserted); a half is a u16 in memory (Half's types).
        unsafe {
            while i + LANES <= n {
                s.prefetch_far(x.wrapping_add(i + AHEAD));
                let random = s.widen_w(s.load_w(bits.add(i)));
                s.store_w(y.add(i), T::by_chance(s, s.load(x.add(i)), random));
                i += LANES;
            }
            if i < n {
                let random = s.widen_w(s.load_first_w(bits.add(i), n - i));
                s.store_first_w(y.add(i), T::by_chance(s, s.load_first(x.add(i), n - i), random), n - i);
            }
        }
    }
}
