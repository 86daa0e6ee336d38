//! A recurrent layer, and a linear one on its last state.

use evenkeel::init::{Distribution, init_normal_f32, init_uniform_f32, init_xavier_f32};
use evenkeel::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};
use evenkeel::optim::{AdamOptions, ClipOptions, StepReport, clip_adam_f32};
use evenkeel::recurrent::*;
use evenkeel::{Activation, Context, Result};

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    Rnn,
    Gru,
    Lstm,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Rnn, Kind::Gru, Kind::Lstm];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Rnn => "RNN",
            Kind::Gru => "GRU",
            Kind::Lstm => "LSTM",
        }
    }

    fn gates(self) -> usize {
        match self {
            Kind::Rnn => 1,
            Kind::Gru => 3,
            Kind::Lstm => 4,
        }
    }
}

pub struct Shape {
    pub seq: usize,
    pub batch: usize,
    pub input: usize,
    pub hidden: usize,
    pub outputs: usize,
    /// Steps that an answer lies back, where they are known to be many.
    pub distance: Option<usize>,
}

/// w_ih, w_hh, bias, the GRU's second bias, then the linear layer's weights and bias.
const TENSORS: usize = 6;

pub struct Model {
    pub kind: Kind,
    pub shape: Shape,
    pub params: [Vec<f32>; TENSORS],
    grads: [Vec<f32>; TENSORS],
    m: [Vec<f32>; TENSORS],
    v: [Vec<f32>; TENSORS],
    step: u64,
    h: Vec<f32>,
    c: Vec<f32>,
    z: Vec<f32>,
    zh: Vec<f32>,
    pub out: Vec<f32>,
    dh_last: Vec<f32>,
    /// ‖∂L/∂h_t‖ of the last backward pass.
    pub norms: Vec<f64>,
}

impl Model {
    pub fn new(ctx: &Context, kind: Kind, shape: Shape, seed: u64) -> Result<Model> {
        let Shape { seq, batch, input, hidden, outputs, distance } = shape;
        let (wide, states) = (kind.gates() * hidden, seq * batch * hidden);
        let second = if kind == Kind::Gru { wide } else { 0 };
        let sizes = [wide * input, wide * hidden, wide, second, outputs * hidden, outputs];
        let make = || sizes.map(|n| vec![0.0; n]);
        let mut params = make();
        init_xavier_f32(ctx, seed, 0, Distribution::Uniform, 1.0, input, hidden, &mut params[0])?;
        init_normal_f32(ctx, seed, 1, 0.0, 1.0 / (hidden as f32).sqrt(), &mut params[1])?;
        init_xavier_f32(ctx, seed, 2, Distribution::Uniform, 1.0, hidden, outputs, &mut params[4])?;
        let (first, rest) = params[2].split_at_mut(hidden.min(wide - hidden));
        let keep = &mut rest[..first.len()];
        match distance {
            // The gate that keeps starts open for about u steps, u from 1 to the distance, each unit with its own; an LSTM
            // lets in as much less (Tallec, Ollivier 2018: "Can recurrent neural networks warp time?").
            Some(steps) => {
                init_uniform_f32(ctx, seed, 3, 1.0, steps as f32 - 1.0, keep)?;
                keep.iter_mut().for_each(|u| *u = u.ln());
                if kind == Kind::Lstm {
                    first.iter_mut().zip(keep).for_each(|(let_in, keep)| *let_in = -*keep);
                }
            }
            // A gate that starts open keeps what it has.
            None => keep.fill(if kind == Kind::Gru { 2.0 } else { 1.0 }),
        }
        let z = vec![0.0; seq * batch * wide];
        Ok(Model {
            kind,
            params,
            grads: make(),
            m: make(),
            v: make(),
            step: 0,
            h: vec![0.0; states],
            c: vec![0.0; if kind == Kind::Lstm { states } else { 0 }],
            zh: vec![0.0; if kind == Kind::Gru { z.len() } else { 0 }],
            z,
            out: vec![0.0; batch * outputs],
            dh_last: vec![0.0; batch * hidden],
            norms: vec![0.0; seq],
            shape,
        })
    }

    /// From `[seq, batch, input]` to what the linear layer makes of the last state.
    pub fn forward(&mut self, ctx: &Context, x: &[f32]) -> Result<()> {
        let Shape { seq, batch, input, hidden, outputs, .. } = self.shape;
        let [w_ih, w_hh, bias, bias_h, w, b] = &self.params;
        let (h, c, z, zh) = (&mut self.h, &mut self.c, &mut self.z, &mut self.zh);
        let some = Some(&bias[..]);
        match self.kind {
            Kind::Rnn => rnn_forward_f32(
                ctx,
                Activation::Tanh,
                0.0,
                seq,
                batch,
                input,
                hidden,
                x,
                None,
                w_ih,
                w_hh,
                some,
                None,
                h,
                z,
            ),
            Kind::Gru => {
                gru_forward_f32(ctx, seq, batch, input, hidden, x, None, w_ih, w_hh, some, Some(bias_h), None, h, z, zh)
            }
            Kind::Lstm => {
                lstm_forward_f32(ctx, seq, batch, input, hidden, x, None, w_ih, w_hh, some, None, None, h, c, z)
            }
        }?;
        let last = &self.h[(seq - 1) * batch * hidden..];
        linear_forward_f32(
            ctx,
            Activation::Identity,
            0.0,
            batch,
            hidden,
            outputs,
            last,
            w,
            Some(b),
            None,
            &mut self.out,
        )
    }

    /// From the gradient of the outputs to those of all parameters, after [`Model::forward`] of the same `x`.
    pub fn backward(&mut self, ctx: &Context, x: &[f32], dout: &[f32]) -> Result<()> {
        let Shape { seq, batch, input, hidden, outputs, .. } = self.shape;
        let [w_ih, w_hh, _, _, w, _] = &self.params;
        let [dw_ih, dw_hh, db, db_h, dw, dbias] = &mut self.grads;
        let last = &self.h[(seq - 1) * batch * hidden..];
        linear_backward_weight_f32(ctx, batch, hidden, outputs, dout, last, false, dw, Some(dbias), None)?;
        let (id, dh_last) = (Activation::Identity, &mut self.dh_last);
        linear_backward_input_f32(ctx, id, 0.0, batch, hidden, outputs, dout, w, None, dh_last)?;
        let (h, c, z, zh, dh_last) = (&self.h, &self.c, &self.z, &self.zh, Some(&self.dh_last[..]));
        let (db, norms) = (Some(&mut db[..]), Some(&mut self.norms[..]));
        match self.kind {
            Kind::Rnn => rnn_backward_f32(
                ctx,
                Activation::Tanh,
                0.0,
                seq,
                batch,
                input,
                hidden,
                x,
                None,
                w_ih,
                w_hh,
                None,
                h,
                z,
                None,
                dh_last,
                false,
                None,
                dw_ih,
                dw_hh,
                db,
                None,
                norms,
            ),
            Kind::Gru => gru_backward_f32(
                ctx,
                seq,
                batch,
                input,
                hidden,
                x,
                None,
                w_ih,
                w_hh,
                None,
                h,
                z,
                zh,
                None,
                dh_last,
                false,
                None,
                dw_ih,
                dw_hh,
                db,
                Some(db_h),
                None,
                norms,
            ),
            Kind::Lstm => lstm_backward_f32(
                ctx, seq, batch, input, hidden, x, None, w_ih, w_hh, None, None, h, c, z, None, dh_last, None, false,
                None, dw_ih, dw_hh, db, None, None, norms,
            ),
        }
    }

    /// Clips, and makes a step of Adam.
    pub fn update(&mut self, ctx: &Context, lr: f64, clip: &ClipOptions) -> Result<StepReport> {
        self.step += 1;
        let adam = AdamOptions { lr, step: self.step, ..AdamOptions::default() };
        let (mut p, mut m, mut v) = (self.params.each_mut(), self.m.each_mut(), self.v.each_mut());
        let mut p = p.each_mut().map(|t| &mut t[..]);
        let mut m = m.each_mut().map(|t| &mut t[..]);
        let mut v = v.each_mut().map(|t| &mut t[..]);
        clip_adam_f32(ctx, clip, &adam, &mut p, &self.grads.each_ref().map(|t| &t[..]), &mut m, &mut v)
    }

    /// The part of W_hh that makes the candidate state: all of an RNN's, the last gate of a GRU, the third of an LSTM.
    pub fn candidate(&self) -> &[f32] {
        let n = self.shape.hidden * self.shape.hidden;
        let gate = match self.kind {
            Kind::Rnn => 0,
            Kind::Gru | Kind::Lstm => 2,
        };
        &self.params[1][gate * n..(gate + 1) * n]
    }
}

/// The spectral radius of an `n` × `n` matrix: ‖W^(2^k)‖^(1/2^k), by repeated squaring in f64.
pub fn spectral_radius(w: &[f32], n: usize) -> f64 {
    let mut a: Vec<f64> = w.iter().map(|&v| v.into()).collect();
    let (mut log, mut power) = (0.0, 1.0);
    for _ in 0..14 {
        let norm = a.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm == 0.0 {
            return 0.0;
        }
        a.iter_mut().for_each(|v| *v /= norm);
        log += norm.ln() / power;
        power *= 2.0;
        let mut square = vec![0.0; n * n];
        for (row, out) in a.chunks(n).zip(square.chunks_mut(n)) {
            for (v, other) in row.iter().zip(a.chunks(n)) {
                out.iter_mut().zip(other).for_each(|(o, w)| *o += v * w);
            }
        }
        a = square;
    }
    (log + a.iter().map(|v| v * v).sum::<f64>().sqrt().ln() / power).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spectral_radius_of_known_matrices() {
        // A rotation by some angle, scaled; a nilpotent one; a triangle with a large corner.
        assert!((spectral_radius(&[0.0, -0.7, 0.7, 0.0], 2) - 0.7).abs() < 1e-6);
        assert_eq!(spectral_radius(&[0.0, 5.0, 0.0, 0.0], 2), 0.0);
        assert!((spectral_radius(&[0.5, 1000.0, 0.0, 0.25], 2) - 0.5).abs() < 1e-3);
    }
}
