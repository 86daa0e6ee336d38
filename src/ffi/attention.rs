//! Attention.

use super::context::ek_context;
use super::context_of;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use crate::attention;

/// out = softmax(scale * Q * K^T) * V for each head, and lse = log sum exp of each row of logits.
///
/// q, out [batch, heads, seq_q, head_dim]; k, v [batch, kv_heads, seq_k, head_dim]; lse [batch, heads, seq_q]. kv_heads
/// divides heads, and head h uses keys and values of head h / (heads / kv_heads). head_dim is at most 256.
///
/// causal: query i sees keys j <= i + seq_k - seq_q, so that the last query sees all keys (the lower right alignment);
/// where the lengths are equal, the lower triangle. A query that sees nothing has out = 0 and lse = -Inf. Keys that a
/// query does not see have no influence on it, whatever they hold.
///
/// No [seq_q, seq_k] matrix is ever in memory: workspace does not grow with the lengths.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_ARGUMENT (kv_heads, alignment), EK_STATUS_INVALID_SIZE,
/// EK_STATUS_UNSUPPORTED (head_dim), EK_STATUS_OVERLAP, EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_attention_forward_f32(
    ctx: *const ek_context,
    scale: f32,
    causal: bool,
    batch: usize,
    heads: usize,
    kv_heads: usize,
    seq_q: usize,
    seq_k: usize,
    head_dim: usize,
    q: *const f32,
    k: *const f32,
    v: *const f32,
    out: *mut f32,
    lse: *mut f32,
) -> ek_status {
    let f = "attention_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let (q_dims, kv_dims) = ([batch, heads, seq_q, head_dim], [batch, kv_heads, seq_k, head_dim]);
        let (q, k, v) = (In::new("q", q, &q_dims), In::new("k", k, &kv_dims), In::new("v", v, &kv_dims));
        let (out, lse) = (Out::new("out", out, &q_dims), Out::new("lse", lse, &[batch, heads, seq_q]));
        check(f, &[&q, &k, &v, &out, &lse])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let ([q, k, v], out, lse) = unsafe { ([q.slice(), k.slice(), v.slice()], out.slice(), lse.slice()) };
        attention::attention_forward_f32(
            ctx, scale, causal, batch, heads, kv_heads, seq_q, seq_k, head_dim, q, k, v, out, lse,
        )
    })
}

/// The gradients of ek_attention_forward_f32: with P = exp(scale * Q * K^T - lse), delta = sum dout*out of each row and
/// dS = P * (dout * V^T - delta): dq = scale * dS * K, dk = scale * dS^T * Q, dv = P^T * dout.
///
/// dout, dq as q; dk, dv as k; out and lse are what the forward pass returned for the same arguments. Heads that share
/// keys and values add up. dq, dk, dv are overwritten.
///
/// Workspace is linear in seq_q and seq_k.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: those of ek_attention_forward_f32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_attention_backward_f32(
    ctx: *const ek_context,
    scale: f32,
    causal: bool,
    batch: usize,
    heads: usize,
    kv_heads: usize,
    seq_q: usize,
    seq_k: usize,
    head_dim: usize,
    q: *const f32,
    k: *const f32,
    v: *const f32,
    out: *const f32,
    lse: *const f32,
    dout: *const f32,
    dq: *mut f32,
    dk: *mut f32,
    dv: *mut f32,
) -> ek_status {
    let f = "attention_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let (q_dims, kv_dims) = ([batch, heads, seq_q, head_dim], [batch, kv_heads, seq_k, head_dim]);
        let (q, k, v) = (In::new("q", q, &q_dims), In::new("k", k, &kv_dims), In::new("v", v, &kv_dims));
        let (out, lse) = (In::new("out", out, &q_dims), In::new("lse", lse, &[batch, heads, seq_q]));
        let dout = In::new("dout", dout, &q_dims);
        let (dq, dk, dv) = (Out::new("dq", dq, &q_dims), Out::new("dk", dk, &kv_dims), Out::new("dv", dv, &kv_dims));
        check(f, &[&q, &k, &v, &out, &lse, &dout, &dq, &dk, &dv])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let ([q, k, v], [out, lse, dout], [dq, dk, dv]) = unsafe {
            (
                [q.slice(), k.slice(), v.slice()],
                [out.slice(), lse.slice(), dout.slice()],
                [dq.slice(), dk.slice(), dv.slice()],
            )
        };
        attention::attention_backward_f32(
            ctx, scale, causal, batch, heads, kv_heads, seq_q, seq_k, head_dim, q, k, v, out, lse, dout, dq, dk, dv,
        )
    })
}
