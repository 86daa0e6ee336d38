//! The words behind every random tensor: a counter-based generator, so that word i depends on (seed, stream, i) alone.
//!
//! Word i is the i-th 32-bit output of ChaCha with 8 rounds (Bernstein 2008), under the key that holds `seed` as 8
//! little-endian bytes followed by 24 zeros, with `stream` as its 64-bit nonce and a 64-bit block counter. Sixteen
//! blocks are computed at once, one in each lane.

use crate::simd::{LANES, Simd};

/// Words handed out at a time: sixteen blocks of sixteen.
pub(crate) const WORDS: usize = LANES * LANES;

/// The words of one tensor, from some position on.
pub(crate) struct Words {
    seed: u64,
    stream: u64,
    block: u64,
}

impl Words {
    /// # Panics
    /// Unless `position` is a multiple of [`WORDS`].
    pub(crate) fn new(seed: u64, stream: u64, position: usize) -> Words {
        assert!(position.is_multiple_of(WORDS));
        Words { seed, stream, block: (position / LANES) as u64 }
    }

    /// The next [`WORDS`] words, in order.
    #[inline(always)]
    pub(crate) fn next<S: Simd>(&mut self, s: S) -> [S::I; LANES] {
        if S::COMPACT { self.next_apart(s) } else { self.next_inlined(s) }
    }

    #[inline(never)]
    fn next_apart<S: Simd>(&mut self, s: S) -> [S::I; LANES] {
        self.next_inlined(s)
    }

    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "map and zip hide intrinsics in closures, see below")]
    fn next_inlined<S: Simd>(&mut self, s: S) -> [S::I; LANES] {
        let halves = |x: u64| [x as i32, (x >> 32) as i32];
        let ([seed_low, seed_high], [stream_low, stream_high]) = (halves(self.seed), halves(self.stream));
        let [block_low, block_high] = halves(self.block);
        // The block is a multiple of 16, so that its lanes never carry into the high half.
        self.block += LANES as u64;
        let words = [
            // "expand 32-byte k"
            0x6170_7865,
            0x3320_646e,
            0x7962_2d32,
            0x6b20_6574,
            seed_low,
            seed_high,
            0,
            0,
            0,
            0,
            0,
            0,
            block_low,
            block_high,
            stream_low,
            stream_high,
        ];
        // Loops, not map or from_fn: closures handed to those are compiled apart, without the vector instructions.
        let mut start = [s.splat_i(0); LANES];
        for i in 0..LANES {
            start[i] = s.splat_i(words[i]);
        }
        start[12] = s.add_i(start[12], s.from_array_i([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]));
        let mut x = start;
        for _ in 0..4 {
            if S::COMPACT {
                for quarter in QUARTERS {
                    quarter_round(s, &mut x, quarter);
                }
                continue;
            }
            // One after the other, so that indices are literals and the state lives in registers.
            quarter_round(s, &mut x, QUARTERS[0]);
            quarter_round(s, &mut x, QUARTERS[1]);
            quarter_round(s, &mut x, QUARTERS[2]);
            quarter_round(s, &mut x, QUARTERS[3]);
            quarter_round(s, &mut x, QUARTERS[4]);
            quarter_round(s, &mut x, QUARTERS[5]);
            quarter_round(s, &mut x, QUARTERS[6]);
            quarter_round(s, &mut x, QUARTERS[7]);
        }
        let mut words = [s.zero(); LANES];
        for i in 0..LANES {
            words[i] = s.from_bits(s.add_i(x[i], start[i]));
        }
        let blocks = s.transpose(words);
        for i in 0..LANES {
            x[i] = s.bits(blocks[i]);
        }
        x
    }
}

/// The words that a quarter round mixes: the columns of the state, then its diagonals.
const QUARTERS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

#[inline(always)]
fn quarter_round<S: Simd>(s: S, x: &mut [S::I; LANES], [at_a, at_b, at_c, at_d]: [usize; 4]) {
    let [mut a, mut b, mut c, mut d] = [x[at_a], x[at_b], x[at_c], x[at_d]];
    a = s.add_i(a, b);
    d = xor_rotate::<S, 16, 16>(s, d, a);
    c = s.add_i(c, d);
    b = xor_rotate::<S, 12, 20>(s, b, c);
    a = s.add_i(a, b);
    d = xor_rotate::<S, 8, 24>(s, d, a);
    c = s.add_i(c, d);
    b = xor_rotate::<S, 7, 25>(s, b, c);
    (x[at_a], x[at_b], x[at_c], x[at_d]) = (a, b, c, d);
}

/// a ⊕ b, rotated left by `L` = 32 − `R`.
#[inline(always)]
fn xor_rotate<S: Simd, const L: i32, const R: i32>(s: S, a: S::I, b: S::I) -> S::I {
    let x = s.bits(s.xor(s.from_bits(a), s.from_bits(b)));
    s.or_i(s.shl_i::<L>(x), s.shr_i::<R>(x))
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;
    use crate::simd::Scalar;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    #[test]
    fn words_are_chacha8s_wherever_they_start() {
        for position in [0, WORDS, (1 << 36) - WORDS, 1 << 36, 1 << 50] {
            let (seed, stream) = (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
            let mut key = [0; 32];
            key[..8].copy_from_slice(&u64::to_le_bytes(seed));
            let mut rng = ChaCha8Rng::from_seed(key);
            rng.set_stream(stream);
            rng.set_word_pos(position as u128);
            let mut words = Words::new(seed, stream, position);
            for _ in 0..3 {
                for word in words.next(Scalar).concat() {
                    assert_eq!(word as u32, rng.next_u32());
                }
            }
        }
    }
}
