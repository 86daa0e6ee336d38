//! A deep stack of equal layers, forward and backward, one layer at a time.

use crate::recipe::{Norm, Path, Recipe};
use evenkeel::activation::{activation_backward_f32, activation_forward_f32};
use evenkeel::gate::{highway_backward_f32, highway_forward_f32};
use evenkeel::linear::{linear_backward_input_f32, linear_forward_f32};
use evenkeel::norm::{
    batch_norm_backward_f32, batch_norm_forward_train_f32, layer_norm_backward_f32, layer_norm_forward_f32,
};
use evenkeel::residual::{residual_add_f32, residual_add_in_place_f32};
use evenkeel::{Activation, Context, Result};

const EPS: f32 = 1e-5;
/// Highway gates start at σ(−2) = 0.12: they mostly carry (Srivastava et al. 2015).
const GATE_BIAS: f32 = -2.0;
/// Streams of the gates' weights; those of the layers are their numbers.
const GATE_STREAM: u64 = 1 << 20;

/// What one layer keeps for its backward pass. All are [batch, width], statistics [batch] or [width].
#[derive(Default)]
struct Tape {
    /// W·h
    product: Vec<f32>,
    /// norm(W·h), which φ is applied to; unused without a norm.
    z: Vec<f32>,
    mean: Vec<f32>,
    rstd: Vec<f32>,
    /// F(h)
    f: Vec<f32>,
    /// The gate's pre-activation.
    gate: Vec<f32>,
}

/// A stack of up to `capacity` layers, `batch` rows wide enough for any recipe, so that memory is used again.
pub struct Stack {
    pub batch: usize,
    pub width: usize,
    depth: usize,
    recipe: Recipe,
    w: Vec<Vec<f32>>,
    w_gate: Vec<Vec<f32>>,
    tape: Vec<Tape>,
    gate_bias: Vec<f32>,
    /// Input of each layer, then the output of the last.
    pub h: Vec<Vec<f32>>,
    df: Vec<f32>,
    dz: Vec<f32>,
    dgate: Vec<f32>,
}

impl Stack {
    pub fn new(batch: usize, width: usize, capacity: usize) -> Stack {
        let rows = || vec![0.0; batch * width];
        let square = || vec![0.0; width * width];
        let stats = || vec![0.0; batch.max(width)];
        let tape = || Tape { product: rows(), z: rows(), mean: stats(), rstd: stats(), f: rows(), gate: rows() };
        Stack {
            batch,
            width,
            depth: 0,
            recipe: Recipe::all()[0],
            w: (0..capacity).map(|_| square()).collect(),
            w_gate: (0..capacity).map(|_| square()).collect(),
            tape: (0..capacity).map(|_| tape()).collect(),
            gate_bias: vec![GATE_BIAS; width],
            h: (0..=capacity).map(|_| rows()).collect(),
            df: rows(),
            dz: rows(),
            dgate: rows(),
        }
    }

    /// Becomes `depth` fresh layers of `recipe`. The first layers of stacks of different depths are the same.
    pub fn start(&mut self, ctx: &Context, seed: u64, recipe: Recipe, depth: usize) -> Result {
        let Recipe { act, start, path, .. } = recipe;
        (self.recipe, self.depth) = (recipe, depth);
        for l in 0..depth {
            start.draw(ctx, seed, l as u64, act, self.width, &mut self.w[l])?;
            if path == Path::Highway {
                start.draw(ctx, seed, GATE_STREAM + l as u64, act, self.width, &mut self.w_gate[l])?;
            }
        }
        Ok(())
    }

    /// W of layer `l`, and the pre-activations of the layer.
    pub fn layer(&self, l: usize) -> (&[f32], &[f32]) {
        (&self.w[l], if self.recipe.norm == Norm::None { &self.tape[l].product } else { &self.tape[l].z })
    }

    /// h[0] to h[depth].
    pub fn forward(&mut self, ctx: &Context) -> Result {
        (0..self.depth).try_for_each(|l| self.layer_forward(ctx, l))
    }

    fn layer_forward(&mut self, ctx: &Context, l: usize) -> Result {
        let (batch, width) = (self.batch, self.width);
        let (act, param) = self.recipe.act.phi();
        let (before, after) = self.h.split_at_mut(l + 1);
        let (h, y) = (&before[l][..], &mut after[0][..]);
        let Tape { product, z, mean, rstd, f, gate } = &mut self.tape[l];
        let identity = Activation::Identity;
        match self.recipe.norm {
            // Nothing stands between the product and φ: one fused pass.
            Norm::None => {
                linear_forward_f32(ctx, act, param, batch, width, width, h, &self.w[l], None, Some(product), f)?;
            }
            norm => {
                linear_forward_f32(ctx, identity, 0.0, batch, width, width, h, &self.w[l], None, None, product)?;
                if norm == Norm::Layer {
                    let (mean, rstd) = (Some(&mut mean[..batch]), Some(&mut rstd[..batch]));
                    layer_norm_forward_f32(ctx, EPS, batch, width, product, None, None, z, mean, rstd)?;
                } else {
                    let (mean, rstd) = (&mut mean[..width], &mut rstd[..width]);
                    batch_norm_forward_train_f32(
                        ctx, EPS, 0.1, batch, width, 1, product, None, None, None, None, z, mean, rstd,
                    )?;
                }
                activation_forward_f32(ctx, act, param, z, f)?;
            }
        }
        match self.recipe.path {
            Path::Plain => {
                y.copy_from_slice(f);
                Ok(())
            }
            Path::Residual => residual_add_f32(ctx, 1.0, f, h, y),
            Path::Highway => {
                let (w, bias) = (&self.w_gate[l], Some(&self.gate_bias[..]));
                linear_forward_f32(ctx, identity, 0.0, batch, width, width, h, w, bias, None, gate)?;
                highway_forward_f32(ctx, gate, f, h, y)
            }
        }
    }

    /// From ∂L/∂h[l + 1] to ∂L/∂h[l]: the layer's Jacobian, transposed, times dy (whitepaper §3).
    pub fn layer_backward(&mut self, ctx: &Context, l: usize, dy: &[f32], dx: &mut [f32]) -> Result {
        let (batch, width) = (self.batch, self.width);
        let (act, param) = self.recipe.act.phi();
        let Tape { product, z, mean, rstd, f, gate } = &self.tape[l];
        let identity = Activation::Identity;
        let dz = &mut self.dz[..];
        // What reaches F(h).
        let df = match self.recipe.path {
            Path::Plain | Path::Residual => dy,
            Path::Highway => {
                highway_backward_f32(ctx, gate, f, &self.h[l], dy, &mut self.dgate, &mut self.df, dx)?;
                // dx holds what the carry path lets through; the gate's own weights add to it.
                linear_backward_input_f32(
                    ctx,
                    identity,
                    0.0,
                    batch,
                    width,
                    width,
                    &self.dgate,
                    &self.w_gate[l],
                    None,
                    dz,
                )?;
                residual_add_in_place_f32(ctx, 1.0, dz, dx)?;
                &self.df[..]
            }
        };
        // Back through φ and the norm.
        match self.recipe.norm {
            Norm::None => activation_backward_f32(ctx, act, param, product, df, dz)?,
            norm => {
                let mut through = vec![0.0; batch * width];
                activation_backward_f32(ctx, act, param, z, df, &mut through)?;
                if norm == Norm::Layer {
                    let (mean, rstd) = (&mean[..batch], &rstd[..batch]);
                    layer_norm_backward_f32(
                        ctx,
                        batch,
                        width,
                        &through,
                        product,
                        mean,
                        rstd,
                        None,
                        false,
                        Some(dz),
                        None,
                        None,
                    )?;
                } else {
                    let (mean, rstd) = (&mean[..width], &rstd[..width]);
                    batch_norm_backward_f32(
                        ctx,
                        batch,
                        width,
                        1,
                        &through,
                        product,
                        mean,
                        rstd,
                        None,
                        false,
                        Some(dz),
                        None,
                        None,
                    )?;
                }
            }
        }
        // Through W, beside the path around it.
        match self.recipe.path {
            Path::Plain => linear_backward_input_f32(ctx, identity, 0.0, batch, width, width, dz, &self.w[l], None, dx),
            Path::Residual => {
                linear_backward_input_f32(ctx, identity, 0.0, batch, width, width, dz, &self.w[l], None, dx)?;
                residual_add_in_place_f32(ctx, 1.0, dy, dx)
            }
            Path::Highway => {
                linear_backward_input_f32(
                    ctx,
                    identity,
                    0.0,
                    batch,
                    width,
                    width,
                    dz,
                    &self.w[l],
                    None,
                    &mut self.dgate,
                )?;
                residual_add_in_place_f32(ctx, 1.0, &self.dgate, dx)
            }
        }
    }
}
