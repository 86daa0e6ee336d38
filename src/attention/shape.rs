//! The dimensions of a call, which keys a query sees, and the block sizes that its sums are specified by.

use crate::error::{Error, Result, product};

/// Keys of a block. Part of the specification: the sums of a row join, and its maximum is looked at, at each multiple.
pub const KEY_BLOCK: usize = 128;

/// Queries of a block. Part of the specification backward: the sums of dk and dv join at each multiple.
pub const QUERY_BLOCK: usize = 64;

/// Backward, keys are cut into at most [`CHUNKS`] chunks of at least this many; each has its own dq, and they join in
/// ascending order. Part of the specification.
pub const KEY_CHUNK: usize = 512;

/// Chunks of keys at most, so that workspace stays linear in the sequence.
pub const CHUNKS: usize = 8;

/// The largest head_dim.
pub const HEAD_DIM_MAX: usize = 256;

/// Rows, and keys, that share the end of their sums where the diagonal passes through a block: those of one vector.
pub(super) const GROUP: usize = 16;

/// The dimensions of a call.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub scale: f32,
    pub causal: bool,
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub sq: usize,
    pub sk: usize,
    pub d: usize,
}

impl Shape {
    /// # Errors
    /// What does not fit; and lengths that overflow, so that sums of any two lengths are safe after it.
    pub(super) fn check(&self, function: &'static str) -> Result {
        let Shape { heads, kv_heads, d, .. } = *self;
        if heads != 0 && (kv_heads == 0 || !heads.is_multiple_of(kv_heads)) {
            let detail = format!("kv_heads is {kv_heads}, which does not divide heads = {heads}");
            return Err(Error::invalid_argument(function, detail));
        }
        if d > HEAD_DIM_MAX {
            return Err(Error::unsupported(function, format!("head_dim is {d}, at most {HEAD_DIM_MAX}")));
        }
        product(function, "a row of logits", &[self.sq])?;
        product(function, "a row of logits", &[self.sk])?;
        Ok(())
    }

    /// Elements of q, out and their gradients.
    pub(super) fn q_len(&self, function: &'static str, name: &str) -> Result<usize> {
        product(function, name, &[self.batch, self.heads, self.sq, self.d])
    }

    /// Elements of k, v and their gradients.
    pub(super) fn kv_len(&self, function: &'static str, name: &str) -> Result<usize> {
        product(function, name, &[self.batch, self.kv_heads, self.sk, self.d])
    }

    /// Elements of lse.
    pub(super) fn lse_len(&self, function: &'static str, name: &str) -> Result<usize> {
        product(function, name, &[self.batch, self.heads, self.sq])
    }

    /// Heads that share a head of keys and values.
    pub(super) fn shared_by(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The keys that query `i` sees are the first so many.
    #[inline(always)]
    pub(super) fn visible(&self, i: usize) -> usize {
        if self.causal { (i + 1 + self.sk).saturating_sub(self.sq).min(self.sk) } else { self.sk }
    }

    /// The first query that sees key `j`.
    #[inline(always)]
    pub(super) fn first_row(&self, j: usize) -> usize {
        if self.causal { (j + self.sq).saturating_sub(self.sk) } else { 0 }
    }

    /// Multiplications and additions of one product over all visible pairs.
    pub(super) fn flops(&self) -> f64 {
        let (sq, sk) = (self.sq as f64, self.sk as f64);
        let pairs = match self.causal {
            false => sq * sk,
            true if sq <= sk => sq * (sk - sq / 2.0),
            true => sk * sk / 2.0,
        };
        2.0 * self.batch as f64 * self.heads as f64 * pairs * self.d as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_keys_agree_on_who_sees_whom() {
        for causal in [false, true] {
            for sq in 0..9 {
                for sk in 0..9 {
                    let x = Shape { scale: 1.0, causal, batch: 1, heads: 1, kv_heads: 1, sq, sk, d: 1 };
                    for i in 0..sq {
                        for j in 0..sk {
                            let sees = !causal || j + sq <= i + sk;
                            assert_eq!(j < x.visible(i), sees, "{causal} {sq} {sk} {i} {j}");
                            assert_eq!(x.first_row(j) <= i, sees, "{causal} {sq} {sk} {i} {j}");
                        }
                    }
                }
            }
        }
    }
}
