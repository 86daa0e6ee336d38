//! Self-attention on [batch·seq, features] tokens: projections, heads, and back.

use evenkeel::attention::{attention_backward_f32, attention_forward_f32};
use evenkeel::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};
use evenkeel::{Activation, Context, Result};

/// Sizes that do not change within a model.
#[derive(Clone, Copy)]
pub struct Shape {
    pub seq: usize,
    pub heads: usize,
    /// Features of a head.
    pub head: usize,
}

impl Shape {
    pub fn features(&self) -> usize {
        self.heads * self.head
    }
}

/// What the backward pass needs. q, k, v, out are [batch, heads, seq, head].
#[derive(Default)]
pub struct AttentionTape {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    out: Vec<f32>,
    lse: Vec<f32>,
    /// The heads' results, [batch·seq, features].
    joined: Vec<f32>,
}

/// y = W_out·attention(W_qkv·x + b) + b_out. Parameters: W_qkv, b_qkv, W_out, b_out.
pub fn forward(
    ctx: &Context,
    shape: Shape,
    params: &[Vec<f32>],
    x: &[f32],
    tape: &mut AttentionTape,
    y: &mut [f32],
) -> Result {
    let (features, identity) = (shape.features(), Activation::Identity);
    let tokens = x.len() / features;
    let mut qkv = vec![0.0; 3 * x.len()];
    let (w, bias) = (&params[0], Some(&params[1][..]));
    linear_forward_f32(ctx, identity, 0.0, tokens, features, 3 * features, x, w, bias, None, &mut qkv)?;
    for tensor in [&mut tape.q, &mut tape.k, &mut tape.v, &mut tape.out, &mut tape.joined] {
        tensor.resize(x.len(), 0.0);
    }
    let Shape { seq, heads, head } = shape;
    let batch = tokens / seq;
    tape.lse.resize(batch * heads * seq, 0.0);
    split(shape, &qkv, 3 * features, 0, &mut tape.q);
    split(shape, &qkv, 3 * features, features, &mut tape.k);
    split(shape, &qkv, 3 * features, 2 * features, &mut tape.v);
    let AttentionTape { q, k, v, out, lse, joined } = tape;
    attention_forward_f32(ctx, scale(shape), false, batch, heads, heads, seq, seq, head, q, k, v, out, lse)?;
    join(shape, out, joined, features, 0);
    let (w, bias) = (&params[2], Some(&params[3][..]));
    linear_forward_f32(ctx, identity, 0.0, tokens, features, features, joined, w, bias, None, y)
}

/// The gradients of x and of the parameters.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    ctx: &Context,
    shape: Shape,
    params: &[Vec<f32>],
    grads: &mut [Vec<f32>],
    x: &[f32],
    tape: &AttentionTape,
    dy: &[f32],
    dx: &mut [f32],
) -> Result {
    let (features, identity) = (shape.features(), Activation::Identity);
    let tokens = x.len() / features;
    let [dw_qkv, db_qkv, dw_out, db_out] = grads else { unreachable!("four tensors") };
    let (mut djoined, mut dout) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    linear_backward_weight_f32(ctx, tokens, features, features, dy, &tape.joined, false, dw_out, Some(db_out), None)?;
    linear_backward_input_f32(ctx, identity, 0.0, tokens, features, features, dy, &params[2], None, &mut djoined)?;
    split(shape, &djoined, features, 0, &mut dout);
    let Shape { seq, heads, head } = shape;
    let batch = tokens / seq;
    let [mut dq, mut dk, mut dv] = [(); 3].map(|_| vec![0.0; x.len()]);
    let AttentionTape { q, k, v, out, lse, .. } = tape;
    attention_backward_f32(
        ctx,
        scale(shape),
        false,
        batch,
        heads,
        heads,
        seq,
        seq,
        head,
        q,
        k,
        v,
        out,
        lse,
        &dout,
        &mut dq,
        &mut dk,
        &mut dv,
    )?;
    let mut dqkv = vec![0.0; 3 * x.len()];
    for (i, tensor) in [&dq, &dk, &dv].into_iter().enumerate() {
        join(shape, tensor, &mut dqkv, 3 * features, i * features);
    }
    linear_backward_weight_f32(ctx, tokens, features, 3 * features, &dqkv, x, false, dw_qkv, Some(db_qkv), None)?;
    linear_backward_input_f32(ctx, identity, 0.0, tokens, features, 3 * features, &dqkv, &params[0], None, dx)
}

/// "Carefully scaled" (whitepaper §22): 1/√d.
fn scale(shape: Shape) -> f32 {
    1.0 / (shape.head as f32).sqrt()
}

/// Where a token's features of a head stand in [batch, heads, seq, head], and in rows of `width` from column `first`.
fn places(shape: Shape, tokens: usize, width: usize, first: usize) -> impl Iterator<Item = (usize, usize)> {
    let Shape { seq, heads, head } = shape;
    (0..tokens).flat_map(move |token| {
        let (b, t) = (token / seq, token % seq);
        (0..heads).map(move |h| (((b * heads + h) * seq + t) * head, token * width + first + h * head))
    })
}

fn split(shape: Shape, rows: &[f32], width: usize, first: usize, heads: &mut [f32]) {
    for (to, from) in places(shape, rows.len() / width, width, first) {
        heads[to..][..shape.head].copy_from_slice(&rows[from..][..shape.head]);
    }
}

fn join(shape: Shape, heads: &[f32], rows: &mut [f32], width: usize, first: usize) {
    for (from, to) in places(shape, rows.len() / width, width, first) {
        rows[to..][..shape.head].copy_from_slice(&heads[from..][..shape.head]);
    }
}
