//! The random words behind every tensor: a counter-based generator, so that word i depends on (seed, stream, i) alone.
//!
//! Word i is the i-th 32-bit output of ChaCha with 8 rounds, under the key that holds `seed` as 8 little-endian bytes
//! followed by 24 zeros, with `stream` as the nonce (64-bit nonce, 64-bit block counter).

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Words handed out at a time: whole ChaCha blocks, small enough for the stack and the first-level cache.
pub(super) const WORDS: usize = 512;

/// The words of one tensor, from some position on.
pub(super) struct Words {
    rng: ChaCha8Rng,
    bytes: [u8; 4 * WORDS],
}

impl Words {
    pub(super) fn new(seed: u64, stream: u64, position: usize) -> Words {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        rng.set_word_pos(position as u128);
        Words { rng, bytes: [0; 4 * WORDS] }
    }

    /// The next [`WORDS`] words.
    pub(super) fn next(&mut self) -> [i32; WORDS] {
        self.rng.fill_bytes(&mut self.bytes);
        let words = self.bytes.as_chunks::<4>().0;
        std::array::from_fn(|i| i32::from_le_bytes(words[i]))
    }
}
