//! Attention: softmax(scale·Q·Kᵀ)·V by blocks with an online softmax, and its gradients (whitepaper §22). No
//! [seq_q, seq_k] matrix is ever in memory.
//!
//! # Which keys a query sees
//!
//! With `causal`, query i sees the keys j ≤ i + (`seq_k` − `seq_q`): the last query sees all keys, as FlashAttention has
//! it from version 2.1 on and PyTorch calls `causal_lower_right`. Where `seq_q` = `seq_k` that is the lower triangle, and
//! so equal to PyTorch's `is_causal`, which differs only where the lengths do. A query that sees nothing has zeros for
//! its output, −Inf for its lse, and gives and gets no gradient. Keys that a query does not see have no influence on it,
//! whatever they hold.
//!
//! # The order of every sum
//!
//! It depends on the shape alone, so that bits are the same for any number of threads, any alignment, and any
//! instruction set with fused multiply-add; a head's bits do not depend on the batch or on the other heads.
//!
//! - a logit: `scale·s`, where `s = fma(q, k, s)` over head_dim ascending, from 0.
//! - Forward, keys are cut into blocks of [`KEY_BLOCK`]. After each the row's maximum m and the sum of exponentials l are
//!   brought up to date: within a block, key j adds exp(logit − m) into lane j mod 16, lanes fold by halves, and
//!   `l = fma(l, exp(m_old − m), sum)`. Within a block `s = fma(p, v, s)` over keys ascending, from 0; blocks join as
//!   `out = exp(m_old − m)·out + s`. At the end out /= l, and lse = m + ln l.
//! - Where the diagonal passes through a block, the queries up to the next multiple of 16 share the end of their sums;
//!   what one of them does not see counts as 0·v, unless the block holds a v that is not finite: then it is left out.
//!   Backward likewise, over keys and over queries, unless a block's q, k or dout are not all finite.
//! - Backward: delta = Σ dout·out, element i adding into lane i mod 16 by fma, lanes folding by halves; p = exp(logit −
//!   lse); dp = Σ dout·v over head_dim ascending, from 0; ds = p·(dp − delta).
//! - dq: keys are cut into chunks, the same for every row: [`KEY_CHUNK`] or, where there would be more than [`CHUNKS`],
//!   a [`CHUNKS`]th of them, rounded up to blocks. Within a chunk `dq = fma(scale, Σ ds·k, dq)` block by block as forward,
//!   chunks join in ascending order.
//! - dk, dv: the heads that share a head of keys in ascending order, in each the queries by blocks that end at multiples
//!   of [`QUERY_BLOCK`], within a block by fma ascending from the first that sees the key (16 keys share it), from 0:
//!   `dk = fma(scale, Σ ds·q, dk)`, `dv = Σ p·dout + dv`.

mod backward;
mod forward;
mod rows;
mod shape;
mod tiles;

pub use shape::{CHUNKS, HEAD_DIM_MAX, KEY_BLOCK, KEY_CHUNK, QUERY_BLOCK};

use crate::context::Context;
use crate::error::{Result, check_len};
use shape::Shape;

/// out = softmax(scale·Q·Kᵀ)·V for each head, and the log-sum-exp that the backward pass wants (whitepaper §22).
///
/// Shapes, row-major: `q`, `out` [batch, heads, seq_q, head_dim]; `k`, `v` [batch, kv_heads, seq_k, head_dim]; `lse`
/// [batch, heads, seq_q]. Head h uses keys and values of head h / (heads / kv_heads). `scale` is usually 1/√head_dim.
/// The [module](self) says which keys a causal query sees, and the order of sums.
///
/// Logits may have any size: each row is shifted by its maximum. NaN and infinity among the logits make their row NaN,
/// except −Inf, which gets probability 0; a row of −Inf alone gives zeros. In `v` they reach the column that they are
/// in, of the rows that see them.
///
/// Workspace: for each thread a block of packed keys and of values, at most 350 KiB whatever the lengths.
///
/// # Errors
/// `InvalidArgument` where `kv_heads` does not divide `heads`; `Unsupported` above [`HEAD_DIM_MAX`]; `InvalidSize`;
/// `OutOfMemory`.
///
/// ```
/// use evenkeel::{Context, attention::attention_forward_f32};
/// let ctx = Context::global()?;
/// let (q, k, v) = ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], [2.0, 4.0, 6.0, 8.0]);
/// let (mut out, mut lse) = ([0.0; 4], [0.0; 2]);
/// attention_forward_f32(ctx, 0.0, true, 1, 1, 1, 2, 2, 2, &q, &k, &v, &mut out, &mut lse)?;
/// // The first query sees the first key; the second sees both, alike with a scale of 0.
/// assert_eq!(out, [2.0, 4.0, 4.0, 6.0]);
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[allow(clippy::too_many_arguments)]
pub fn attention_forward_f32(
    ctx: &Context,
    scale: f32,
    causal: bool,
    batch: usize,
    heads: usize,
    kv_heads: usize,
    seq_q: usize,
    seq_k: usize,
    head_dim: usize,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
    lse: &mut [f32],
) -> Result {
    let f = "attention_forward_f32";
    let x = Shape { scale, causal, batch, heads, kv_heads, sq: seq_q, sk: seq_k, d: head_dim };
    x.check(f)?;
    for (name, slice) in [("q", q), ("out", out)] {
        check_len(f, name, slice, x.q_len(f, name)?)?;
    }
    for (name, slice) in [("k", k), ("v", v)] {
        check_len(f, name, slice, x.kv_len(f, name)?)?;
    }
    check_len(f, "lse", lse, x.lse_len(f, "lse")?)?;
    forward::run(f, ctx, &x, [q, k, v], out, lse)
}

/// The gradients of [`attention_forward_f32`]: `dq`, `dk`, `dv` of a loss whose gradient in `out` is `dout`.
///
/// Shapes as there; `dout`, `dq` as `q`; `dk`, `dv` as `k`. `out` and `lse` are what the forward pass returned for the
/// same arguments. Heads that share keys and values add up. All three are overwritten.
///
/// dv = Pᵀ·dout, ds = P ⊙ (dout·Vᵀ − delta) with delta = Σ dout ⊙ out of each row, dq = scale·ds·K, dk = scale·dsᵀ·Q,
/// where P = exp(scale·Q·Kᵀ − lse) is computed anew block by block.
///
/// Accuracy: lse is an f32, so p has a relative error of about |lse|·2⁻²⁴ beside the one that logits of that size bring.
///
/// Workspace: delta; for each thread a few packed blocks, at most 600 KiB; where `seq_k` is above [`KEY_CHUNK`], a
/// further dq for each chunk of keys of the heads at work at once: linear in the lengths.
///
/// # Errors
/// As [`attention_forward_f32`].
#[allow(clippy::too_many_arguments)]
pub fn attention_backward_f32(
    ctx: &Context,
    scale: f32,
    causal: bool,
    batch: usize,
    heads: usize,
    kv_heads: usize,
    seq_q: usize,
    seq_k: usize,
    head_dim: usize,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &[f32],
    lse: &[f32],
    dout: &[f32],
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) -> Result {
    let f = "attention_backward_f32";
    let x = Shape { scale, causal, batch, heads, kv_heads, sq: seq_q, sk: seq_k, d: head_dim };
    x.check(f)?;
    for (name, slice) in [("q", q), ("out", out), ("dout", dout), ("dq", dq)] {
        check_len(f, name, slice, x.q_len(f, name)?)?;
    }
    for (name, slice) in [("k", k), ("v", v), ("dk", dk), ("dv", dv)] {
        check_len(f, name, slice, x.kv_len(f, name)?)?;
    }
    check_len(f, "lse", lse, x.lse_len(f, "lse")?)?;
    backward::run(f, ctx, &x, &backward::Inputs { q, k, v, out, lse, dout }, [dq, dk, dv])
}
