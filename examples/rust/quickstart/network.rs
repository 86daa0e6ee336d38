//! A multilayer perceptron on evenkeel's fused linear layers.

use evenkeel::activation::Activation;
use evenkeel::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};
use evenkeel::loss::cross_entropy_f32;
use evenkeel::{Context, Result};

/// One tensor for each layer, from the input to the output.
pub type Tensors = Vec<Vec<f32>>;

/// Weights, biases and the activation between the layers.
pub struct Network {
    /// Features before, between and after the layers.
    pub features: Vec<usize>,
    pub act: Activation,
    pub act_param: f32,
    /// Layer l is `[features[l + 1], features[l]]`.
    pub weights: Tensors,
    pub biases: Tensors,
}

/// What one pass keeps of a batch of up to `capacity` rows.
pub struct Pass {
    /// Input of each layer.
    inputs: Tensors,
    /// Pre-activation of each layer but the last, whose is `logits`.
    z: Tensors,
    logits: Vec<f32>,
    /// δ of each layer: ∂L/∂z (whitepaper §2).
    pub delta: Tensors,
    pub dw: Tensors,
    pub dbias: Tensors,
    /// Σg² of each layer's weights and biases.
    pub sum_sq: Vec<f64>,
    /// Rows of the batch at hand.
    rows: usize,
}

impl Network {
    /// All zeros; the weights are the caller's to draw.
    pub fn new(features: &[usize], act: Activation, act_param: f32) -> Network {
        let weights = features.windows(2).map(|f| vec![0.0; f[0] * f[1]]).collect();
        let biases = features[1..].iter().map(|&f| vec![0.0; f]).collect();
        Network { features: features.into(), act, act_param, weights, biases }
    }

    pub fn layers(&self) -> usize {
        self.weights.len()
    }

    /// Room for batches of up to `capacity` rows.
    pub fn pass(&self, capacity: usize) -> Pass {
        let rows = |features: &[usize]| features.iter().map(|&f| vec![0.0; capacity * f]).collect::<Tensors>();
        let (before, after) = (&self.features[..self.layers()], &self.features[1..]);
        let like = |tensors: &Tensors| tensors.iter().map(|t| vec![0.0; t.len()]).collect();
        Pass {
            inputs: rows(before),
            z: rows(&after[..self.layers() - 1]),
            logits: vec![0.0; capacity * after[self.layers() - 1]],
            delta: rows(after),
            dw: like(&self.weights),
            dbias: like(&self.biases),
            sum_sq: vec![0.0; self.layers()],
            rows: 0,
        }
    }

    /// The logits of the images at `rows`, `[rows, classes]`.
    pub fn forward<'a>(&self, ctx: &Context, pixels: &[f32], rows: &[usize], pass: &'a mut Pass) -> Result<&'a [f32]> {
        let batch = rows.len();
        let width = self.features[0];
        pass.rows = batch;
        for (input, &row) in pass.inputs[0].chunks_exact_mut(width).zip(rows) {
            input.copy_from_slice(&pixels[row * width..][..width]);
        }
        let last = self.layers() - 1;
        for l in 0..=last {
            let (fan_in, fan_out) = (self.features[l], self.features[l + 1]);
            let (inputs, next) = pass.inputs.split_at_mut(l + 1);
            let x = &inputs[l][..batch * fan_in];
            let (act, z, y) = match next.first_mut() {
                Some(next) => (self.act, Some(&mut pass.z[l][..batch * fan_out]), next),
                None => (Activation::Identity, None, &mut pass.logits),
            };
            let (w, bias) = (&self.weights[l], Some(&self.biases[l][..]));
            let y = &mut y[..batch * fan_out];
            linear_forward_f32(ctx, act, self.act_param, batch, fan_in, fan_out, x, w, bias, z, y)?;
        }
        Ok(&pass.logits[..batch * self.features[last + 1]])
    }

    /// The mean loss of the batch that [`forward`](Self::forward) has just seen, and all its gradients in `pass`.
    pub fn backward(&self, ctx: &Context, labels: &[i64], pass: &mut Pass) -> Result<f64> {
        let batch = pass.rows;
        let last = self.layers() - 1;
        let classes = self.features[last + 1];
        let (logits, dlogits) = (&pass.logits[..batch * classes], &mut pass.delta[last][..batch * classes]);
        let mut loss = 0.0;
        cross_entropy_f32(ctx, 0.0, -1, 1.0, batch, classes, logits, labels, None, Some(&mut loss), Some(dlogits))?;
        for l in (0..=last).rev() {
            let (fan_in, fan_out) = (self.features[l], self.features[l + 1]);
            let (below, delta) = pass.delta.split_at_mut(l);
            let dz = &delta[0][..batch * fan_out];
            let x = &pass.inputs[l][..batch * fan_in];
            let (dw, dbias) = (&mut pass.dw[l], Some(&mut pass.dbias[l][..]));
            let sum_sq = Some(&mut pass.sum_sq[l]);
            linear_backward_weight_f32(ctx, batch, fan_in, fan_out, dz, x, false, dw, dbias, sum_sq)?;
            if let Some(dx) = below.last_mut() {
                let (w, z_prev) = (&self.weights[l], Some(&pass.z[l - 1][..batch * fan_in]));
                let dx = &mut dx[..batch * fan_in];
                linear_backward_input_f32(ctx, self.act, self.act_param, batch, fan_in, fan_out, dz, w, z_prev, dx)?;
            }
        }
        Ok(loss)
    }

    /// The share of `rows` whose largest logit is the label's. A row of NaN has no largest logit and counts as wrong.
    pub fn accuracy(&self, ctx: &Context, pixels: &[f32], labels: &[i64], rows: &[usize]) -> Result<f64> {
        let mut pass = self.pass(rows.len());
        let classes = self.features[self.layers()];
        let logits = self.forward(ctx, pixels, rows, &mut pass)?;
        let right = |(row, logits): (&usize, &[f32])| {
            let label = labels[*row] as usize;
            (0..classes).all(|c| c == label || logits[label] > logits[c])
        };
        let count = rows.iter().zip(logits.chunks_exact(classes)).filter(|&pair| right(pair)).count();
        Ok(count as f64 / rows.len() as f64)
    }
}

impl Pass {
    /// δ of layer `l` for the batch at hand.
    pub fn delta_of(&self, network: &Network, l: usize) -> &[f32] {
        &self.delta[l][..self.rows * network.features[l + 1]]
    }
}
