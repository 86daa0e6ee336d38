//! Recurrent networks read a digit pixel by pixel and then wait; how much of the gradient reaches the pixels?

use crate::digits::{CLASSES, PIXELS};
use crate::patient::Patient;
use evenkeel::init::{init_normal_f32, init_orthogonal_f32, init_uniform_f32};
use evenkeel::linear::{linear_backward_input_f32, linear_forward_f32};
use evenkeel::loss::cross_entropy_f32;
use evenkeel::monitor::{FlowReport, gradient_flow};
use evenkeel::recurrent::{lstm_backward_f32, lstm_forward_f32, rnn_backward_f32, rnn_forward_f32};
use evenkeel::spectral::spectral_radius_f32;
use evenkeel::{Activation, Context, Result};

const HIDDEN: usize = 64;
const BATCH: usize = 32;
const INPUT_STREAM: u64 = 1;
const HIDDEN_STREAM: u64 = 2;
const HEAD_STREAM: u64 = 3;

#[derive(Clone, Copy)]
pub enum Cell {
    /// tanh, W_hh orthogonal times the gain.
    Rnn { gain: f32 },
    /// W_hh uniform within 1/√n, the forget gates' bias as given.
    Lstm { forget_bias: f32 },
}

pub const CELLS: [Cell; 6] = [
    Cell::Rnn { gain: 0.8 },
    Cell::Rnn { gain: 1.0 },
    Cell::Rnn { gain: 1.6 },
    Cell::Lstm { forget_bias: 0.0 },
    Cell::Lstm { forget_bias: 2.0 },
    Cell::Lstm { forget_bias: 5.0 },
];

/// How the gradient of one cell fares through time.
pub struct Echo {
    pub cell: Cell,
    /// ‖∂L/∂h_t‖₂ of every step.
    pub norms: Vec<f64>,
    pub flow: FlowReport,
    /// ρ(W_hh) of the plain cells.
    pub radius: Option<f64>,
}

impl Echo {
    pub fn name(&self) -> String {
        match self.cell {
            Cell::Rnn { .. } => format!("RNN, ρ = {:.2}", self.radius.unwrap_or(f64::NAN)),
            Cell::Lstm { forget_bias } => format!("LSTM, forget bias {forget_bias}"),
        }
    }
}

/// The gradients of all cells over `seq` steps, of which the first 64 bring a pixel each and the others nothing.
pub fn echoes(ctx: &Context, seed: u64, seq: usize, patient: &Patient) -> Result<Vec<Echo>> {
    let images = &patient.split.train[..BATCH];
    let labels = patient.labels(images);
    let mut x = vec![0.0; seq * BATCH];
    for (b, &i) in images.iter().enumerate() {
        for (t, &pixel) in patient.pixels(i).iter().enumerate().take(PIXELS.min(seq)) {
            x[t * BATCH + b] = pixel;
        }
    }
    CELLS.iter().map(|&cell| echo(ctx, seed, seq, cell, &x, &labels)).collect()
}

fn echo(ctx: &Context, seed: u64, seq: usize, cell: Cell, x: &[f32], labels: &[i64]) -> Result<Echo> {
    let state = || vec![0.0; seq * BATCH * HIDDEN];
    let mut norms = vec![0.0; seq];
    let steps = Some(&mut norms[..]);
    let mut h = state();
    let mut radius = None;
    match cell {
        Cell::Rnn { gain } => {
            let (mut w_ih, mut w_hh, mut z) = (vec![0.0; HIDDEN], vec![0.0; HIDDEN * HIDDEN], state());
            init_normal_f32(ctx, seed, INPUT_STREAM, 0.0, 0.3, &mut w_ih)?;
            init_orthogonal_f32(ctx, seed, HIDDEN_STREAM, gain, HIDDEN, HIDDEN, &mut w_hh)?;
            radius = Some(spectral_radius_f32(ctx, HIDDEN, &w_hh, HIDDEN, 0)?.value);
            let tanh = Activation::Tanh;
            rnn_forward_f32(ctx, tanh, 0.0, seq, BATCH, 1, HIDDEN, x, None, &w_ih, &w_hh, None, None, &mut h, &mut z)?;
            let dh = loss_gradient(ctx, seed, &h, labels)?;
            let (mut dw_ih, mut dw_hh) = (w_ih.clone(), w_hh.clone());
            let last = Some(&dh[..]);
            rnn_backward_f32(
                ctx, tanh, 0.0, seq, BATCH, 1, HIDDEN, x, None, &w_ih, &w_hh, None, &h, &z, None, last, false, None,
                &mut dw_ih, &mut dw_hh, None, None, steps,
            )?;
        }
        Cell::Lstm { forget_bias } => {
            let (mut w_ih, mut w_hh) = (vec![0.0; 4 * HIDDEN], vec![0.0; 4 * HIDDEN * HIDDEN]);
            let (mut c, mut z) = (state(), vec![0.0; seq * BATCH * 4 * HIDDEN]);
            let a = 1.0 / (HIDDEN as f32).sqrt();
            init_normal_f32(ctx, seed, INPUT_STREAM, 0.0, 0.3, &mut w_ih)?;
            init_uniform_f32(ctx, seed, HIDDEN_STREAM, -a, a, &mut w_hh)?;
            // Gates in the order i, f, g, o.
            let mut bias = vec![0.0; 4 * HIDDEN];
            bias[HIDDEN..2 * HIDDEN].fill(forget_bias);
            let bias = Some(&bias[..]);
            lstm_forward_f32(
                ctx, seq, BATCH, 1, HIDDEN, x, None, &w_ih, &w_hh, bias, None, None, &mut h, &mut c, &mut z,
            )?;
            let dh = loss_gradient(ctx, seed, &h, labels)?;
            let (mut dw_ih, mut dw_hh) = (w_ih.clone(), w_hh.clone());
            let last = Some(&dh[..]);
            lstm_backward_f32(
                ctx, seq, BATCH, 1, HIDDEN, x, None, &w_ih, &w_hh, None, None, &h, &c, &z, None, last, None, false,
                None, &mut dw_ih, &mut dw_hh, None, None, None, steps,
            )?;
        }
    }
    Ok(Echo { cell, flow: gradient_flow(&norms)?, norms, radius })
}

/// ∂L/∂h of the last step, under a random classifier.
fn loss_gradient(ctx: &Context, seed: u64, h: &[f32], labels: &[i64]) -> Result<Vec<f32>> {
    let last = &h[h.len() - BATCH * HIDDEN..];
    let mut head = vec![0.0; CLASSES * HIDDEN];
    init_normal_f32(ctx, seed, HEAD_STREAM, 0.0, 1.0 / (HIDDEN as f32).sqrt(), &mut head)?;
    let (mut logits, mut dlogits) = (vec![0.0; BATCH * CLASSES], vec![0.0; BATCH * CLASSES]);
    let (identity, mut dh) = (Activation::Identity, vec![0.0; BATCH * HIDDEN]);
    linear_forward_f32(ctx, identity, 0.0, BATCH, HIDDEN, CLASSES, last, &head, None, None, &mut logits)?;
    cross_entropy_f32(ctx, 0.0, -1, 1.0, BATCH, CLASSES, &logits, labels, None, None, Some(&mut dlogits))?;
    linear_backward_input_f32(ctx, identity, 0.0, BATCH, HIDDEN, CLASSES, &dlogits, &head, None, &mut dh)?;
    Ok(dh)
}
