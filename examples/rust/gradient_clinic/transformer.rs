//! A small transformer on digits cut into 16 patches, its layer norms before the branches or after them.

use crate::attend::{self, AttentionTape, Shape};
use crate::digits::{CLASSES, PIXELS};
use crate::patient::Patient;
use evenkeel::activation::Activation;
use evenkeel::init::{Distribution, init_normal_f32, init_xavier_f32};
use evenkeel::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};
use evenkeel::loss::cross_entropy_f32;
use evenkeel::matmul::{Transpose, matmul_batched_f32};
use evenkeel::norm::{layer_norm_backward_f32, layer_norm_forward_f32};
use evenkeel::residual::{residual_add_f32, residual_add_in_place_f32};
use evenkeel::{Context, Result};

/// Patches of 2×2 pixels.
const PATCH: usize = 2;
const SIDE: usize = 8;
const SEQ: usize = PIXELS / (PATCH * PATCH);
const EPS: f32 = 1e-5;

/// Parameters before those of the layers: W_patch, b_patch, positions, W_class.
const FRONT: usize = 4;
/// Parameters of a layer: 4 of attention, 4 of the feed-forward pair, gamma and beta of two norms.
const LAYER: usize = 12;

#[derive(Clone, Copy, PartialEq)]
pub enum Order {
    /// h + F(norm(h))
    Pre,
    /// norm(h + F(h))
    Post,
}

#[derive(Clone, Copy)]
pub struct Size {
    pub layers: usize,
    pub shape: Shape,
    pub hidden: usize,
}

impl Size {
    pub fn new(layers: usize, heads: usize, head: usize) -> Size {
        Size { layers, shape: Shape { seq: SEQ, heads, head }, hidden: 2 * heads * head }
    }
}

/// One branch with its norm: attention or the feed-forward pair.
#[derive(Default)]
struct BranchTape {
    /// The branch's input: h, or norm(h).
    x: Vec<f32>,
    /// What was normalized: h, or h + F(h).
    raw: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
    attention: AttentionTape,
    z: Vec<f32>,
    inner: Vec<f32>,
}

pub struct Transformer {
    pub order: Order,
    size: Size,
    pub params: Vec<Vec<f32>>,
    pub grads: Vec<Vec<f32>>,
    tape: Vec<BranchTape>,
    /// ‖∂L/∂h‖ wants these: the gradient at the input of each layer, then at the output of the last.
    pub dh: Vec<Vec<f32>>,
    patches: Vec<f32>,
    pooled: Vec<f32>,
}

impl Transformer {
    pub fn new(ctx: &Context, seed: u64, order: Order, size: Size) -> Result<Transformer> {
        let (features, hidden) = (size.shape.features(), size.hidden);
        let mut lengths = vec![features * PATCH * PATCH, features, SEQ * features, CLASSES * features];
        let (square, pair) = (features * features, features * hidden);
        for _ in 0..size.layers {
            lengths.extend([3 * square, 3 * features, square, features, pair, hidden, pair, features]);
            lengths.extend([features; 4]);
        }
        let mut params: Vec<Vec<f32>> = lengths.iter().map(|&n| vec![0.0; n]).collect();
        let xavier = |stream, fan_in, fan_out, w: &mut [f32]| {
            init_xavier_f32(ctx, seed, stream, Distribution::Normal, 1.0, fan_in, fan_out, w)
        };
        xavier(0, PATCH * PATCH, features, &mut params[0])?;
        init_normal_f32(ctx, seed, 2, 0.0, 0.5, &mut params[2])?;
        xavier(3, features, CLASSES, &mut params[3])?;
        for l in 0..size.layers {
            let first = FRONT + l * LAYER;
            for (i, fan_in, fan_out) in
                [(0, features, features), (2, features, features), (4, features, hidden), (6, hidden, features)]
            {
                xavier((first + i) as u64, fan_in, fan_out, &mut params[first + i])?;
            }
            params[first + 8].fill(1.0);
            params[first + 10].fill(1.0);
        }
        let tape = (0..2 * size.layers).map(|_| BranchTape::default()).collect();
        let dh = vec![Vec::new(); size.layers + 1];
        let (patches, pooled) = (Vec::new(), Vec::new());
        Ok(Transformer { order, size, grads: params.clone(), params, tape, dh, patches, pooled })
    }

    /// The logits of the images.
    pub fn forward(&mut self, ctx: &Context, patient: &Patient, images: &[usize]) -> Result<Vec<f32>> {
        let (batch, features) = (images.len(), self.size.shape.features());
        let tokens = batch * SEQ;
        self.patches = patches(patient, images);
        let mut h = vec![0.0; tokens * features];
        let (identity, bias) = (Activation::Identity, Some(&self.params[1][..]));
        linear_forward_f32(
            ctx,
            identity,
            0.0,
            tokens,
            PATCH * PATCH,
            features,
            &self.patches,
            &self.params[0],
            bias,
            None,
            &mut h,
        )?;
        for image in h.chunks_exact_mut(SEQ * features) {
            residual_add_in_place_f32(ctx, 1.0, &self.params[2], image)?;
        }
        for branch in 0..2 * self.size.layers {
            h = self.branch_forward(ctx, branch, &h)?;
        }
        // The mean of an image's tokens, then its classes.
        self.pooled.resize(batch * features, 0.0);
        let (ones, share) = ([1.0; SEQ], 1.0 / SEQ as f32);
        let no = Transpose::No;
        matmul_batched_f32(
            ctx,
            no,
            no,
            batch,
            1,
            features,
            SEQ,
            share,
            &ones,
            SEQ,
            0,
            &h,
            features,
            SEQ * features,
            0.0,
            &mut self.pooled,
            features,
            features,
        )?;
        let mut logits = vec![0.0; batch * CLASSES];
        let (x, w) = (&self.pooled, &self.params[3]);
        linear_forward_f32(ctx, identity, 0.0, batch, features, CLASSES, x, w, None, None, &mut logits)?;
        Ok(logits)
    }

    /// The mean loss of the images; gradients in `grads` and `dh`.
    pub fn backward(&mut self, ctx: &Context, logits: &[f32], labels: &[i64]) -> Result<f64> {
        let (batch, features) = (labels.len(), self.size.shape.features());
        let tokens = batch * SEQ;
        let (mut loss, mut dlogits) = (0.0, vec![0.0; logits.len()]);
        let dl = Some(&mut dlogits[..]);
        cross_entropy_f32(ctx, 0.0, -1, 1.0, batch, CLASSES, logits, labels, None, Some(&mut loss), dl)?;
        let (identity, no) = (Activation::Identity, Transpose::No);
        let dw = &mut self.grads[3];
        linear_backward_weight_f32(ctx, batch, features, CLASSES, &dlogits, &self.pooled, false, dw, None, None)?;
        let mut dpooled = vec![0.0; batch * features];
        let w = &self.params[3];
        linear_backward_input_f32(ctx, identity, 0.0, batch, features, CLASSES, &dlogits, w, None, &mut dpooled)?;
        let (ones, share) = ([1.0; SEQ], 1.0 / SEQ as f32);
        let mut dh = vec![0.0; tokens * features];
        matmul_batched_f32(
            ctx,
            no,
            no,
            batch,
            SEQ,
            features,
            1,
            share,
            &ones,
            1,
            0,
            &dpooled,
            features,
            features,
            0.0,
            &mut dh,
            features,
            SEQ * features,
        )?;
        self.dh[self.size.layers] = dh;
        for l in (0..self.size.layers).rev() {
            let middle = self.branch_backward(ctx, 2 * l + 1, &self.dh[l + 1].clone())?;
            self.dh[l] = self.branch_backward(ctx, 2 * l, &middle)?;
        }
        let dh = &self.dh[0];
        self.grads[2].fill(0.0);
        for image in dh.chunks_exact(SEQ * features) {
            residual_add_in_place_f32(ctx, 1.0, image, &mut self.grads[2])?;
        }
        let [dw, dbias] = &mut self.grads[..2] else { unreachable!("four tensors in front") };
        let (patches, dbias) = (&self.patches, Some(&mut dbias[..]));
        linear_backward_weight_f32(ctx, tokens, PATCH * PATCH, features, dh, patches, false, dw, dbias, None)?;
        Ok(loss)
    }

    /// Attention if `branch` is even, else the feed-forward pair; with its norm and the path around it.
    fn branch_forward(&mut self, ctx: &Context, branch: usize, h: &[f32]) -> Result<Vec<f32>> {
        let Size { shape, hidden, .. } = self.size;
        let features = shape.features();
        let tokens = h.len() / features;
        let first = FRONT + branch / 2 * LAYER;
        let (w, norm) = (&self.params[first + branch % 2 * 4..][..4], &self.params[first + 8 + branch % 2 * 2..][..2]);
        let (gamma, beta) = (Some(&norm[0][..]), Some(&norm[1][..]));
        let tape = &mut self.tape[branch];
        for tensor in [&mut tape.x, &mut tape.raw] {
            tensor.resize(h.len(), 0.0);
        }
        tape.mean.resize(tokens, 0.0);
        tape.rstd.resize(tokens, 0.0);
        let mut f = vec![0.0; h.len()];
        if self.order == Order::Pre {
            tape.raw.copy_from_slice(h);
            let BranchTape { x, raw, mean, rstd, .. } = tape;
            layer_norm_forward_f32(ctx, EPS, tokens, features, raw, gamma, beta, x, Some(mean), Some(rstd))?;
        } else {
            tape.x.copy_from_slice(h);
        }
        if branch.is_multiple_of(2) {
            attend::forward(ctx, shape, w, &tape.x, &mut tape.attention, &mut f)?;
        } else {
            tape.z.resize(tokens * hidden, 0.0);
            tape.inner.resize(tokens * hidden, 0.0);
            let BranchTape { x, z, inner, .. } = tape;
            let (gelu, identity) = (Activation::Gelu, Activation::Identity);
            linear_forward_f32(ctx, gelu, 0.0, tokens, features, hidden, x, &w[0], Some(&w[1]), Some(z), inner)?;
            linear_forward_f32(ctx, identity, 0.0, tokens, hidden, features, inner, &w[2], Some(&w[3]), None, &mut f)?;
        }
        let mut y = vec![0.0; h.len()];
        if self.order == Order::Pre {
            residual_add_f32(ctx, 1.0, &f, h, &mut y)?;
        } else {
            let BranchTape { raw, mean, rstd, .. } = tape;
            residual_add_f32(ctx, 1.0, &f, h, raw)?;
            layer_norm_forward_f32(ctx, EPS, tokens, features, raw, gamma, beta, &mut y, Some(mean), Some(rstd))?;
        }
        Ok(y)
    }

    fn branch_backward(&mut self, ctx: &Context, branch: usize, dy: &[f32]) -> Result<Vec<f32>> {
        let Size { shape, hidden, .. } = self.size;
        let features = shape.features();
        let tokens = dy.len() / features;
        let first = FRONT + branch / 2 * LAYER;
        let (kind, at) = (branch % 2, first + branch % 2 * 4);
        let (grads, dnorms) = self.grads[first..first + LAYER].split_at_mut(8);
        let (dw, dnorm) = (&mut grads[kind * 4..][..4], &mut dnorms[kind * 2..][..2]);
        let (w, gamma) = (&self.params[at..at + 4], Some(&self.params[first + 8 + kind * 2][..]));
        let [dgamma, dbeta] = dnorm else { unreachable!("two tensors of a norm") };
        let tape = &self.tape[branch];
        let mut norm_backward = |dy: &[f32], dx: &mut [f32]| {
            let (raw, mean, rstd) = (&tape.raw, &tape.mean, &tape.rstd);
            let (dgamma, dbeta) = (Some(&mut dgamma[..]), Some(&mut dbeta[..]));
            layer_norm_backward_f32(ctx, tokens, features, dy, raw, mean, rstd, gamma, false, Some(dx), dgamma, dbeta)
        };
        let mut df = dy.to_vec();
        if self.order == Order::Post {
            norm_backward(dy, &mut df)?;
        }
        let mut dx = vec![0.0; dy.len()];
        if kind == 0 {
            attend::backward(ctx, shape, w, dw, &tape.x, &tape.attention, &df, &mut dx)?;
        } else {
            let [dw1, db1, dw2, db2] = dw else { unreachable!("four tensors of the pair") };
            let mut dz = vec![0.0; tokens * hidden];
            let BranchTape { x, z, inner, .. } = tape;
            let (gelu, identity) = (Activation::Gelu, Activation::Identity);
            linear_backward_weight_f32(ctx, tokens, hidden, features, &df, inner, false, dw2, Some(db2), None)?;
            linear_backward_input_f32(ctx, gelu, 0.0, tokens, hidden, features, &df, &w[2], Some(z), &mut dz)?;
            linear_backward_weight_f32(ctx, tokens, features, hidden, &dz, x, false, dw1, Some(db1), None)?;
            linear_backward_input_f32(ctx, identity, 0.0, tokens, features, hidden, &dz, &w[0], None, &mut dx)?;
        }
        if self.order == Order::Pre {
            let mut through = vec![0.0; dy.len()];
            norm_backward(&dx, &mut through)?;
            dx = through;
        }
        // The path around the branch.
        residual_add_in_place_f32(ctx, 1.0, &df, &mut dx)?;
        Ok(dx)
    }
}

/// [images·SEQ, PATCH²]: patches row by row, pixels of a patch row by row.
fn patches(patient: &Patient, images: &[usize]) -> Vec<f32> {
    let mut x = Vec::with_capacity(images.len() * PIXELS);
    for &i in images {
        let pixels = patient.pixels(i);
        for patch in 0..SEQ {
            let corner = patch / (SIDE / PATCH) * PATCH * SIDE + patch % (SIDE / PATCH) * PATCH;
            x.extend((0..PATCH * PATCH).map(|p| pixels[corner + p / PATCH * SIDE + p % PATCH]));
        }
    }
    x
}
