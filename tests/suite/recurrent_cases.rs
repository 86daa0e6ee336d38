//! One recurrence with all of its arguments, run through the library: what the tests of recurrent networks share.

use crate::common::Rng;
use evenkeel::recurrent::*;
use evenkeel::{Activation, Context};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Rnn(Activation, f32),
    Lstm,
    Gru,
}

pub const KINDS: [Kind; 4] = [Kind::Rnn(Activation::Tanh, 0.0), Kind::Rnn(Activation::LeakyRelu, 0.25), Kind::Lstm, Kind::Gru];

impl Kind {
    pub fn gates(self) -> usize {
        match self {
            Kind::Rnn(..) => 1,
            Kind::Lstm => 4,
            Kind::Gru => 3,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Case {
    pub kind: Kind,
    pub seq: usize,
    pub batch: usize,
    pub input: usize,
    pub hidden: usize,
    pub x: Vec<f32>,
    pub lengths: Option<Vec<usize>>,
    pub w_ih: Vec<f32>,
    pub w_hh: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub bias_h: Option<Vec<f32>>,
    pub h0: Option<Vec<f32>>,
    pub c0: Option<Vec<f32>>,
    pub dh: Option<Vec<f32>>,
    pub dh_last: Option<Vec<f32>>,
    pub dc_last: Option<Vec<f32>>,
    /// What the gradients of weights and biases are added to.
    pub old: Option<f32>,
}

/// All that comes back. What a recurrence does not have is empty.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub h: Vec<f32>,
    pub c: Vec<f32>,
    pub z: Vec<f32>,
    pub zh: Vec<f32>,
    pub dx: Vec<f32>,
    pub dw_ih: Vec<f32>,
    pub dw_hh: Vec<f32>,
    pub dbias: Vec<f32>,
    pub dbias_h: Vec<f32>,
    pub dh0: Vec<f32>,
    pub dc0: Vec<f32>,
    pub norms: Vec<f64>,
}

impl Results {
    pub fn tensors(&self) -> [(&'static str, &[f32]); 11] {
        [
            ("h", &self.h),
            ("c", &self.c),
            ("z", &self.z),
            ("zh", &self.zh),
            ("dx", &self.dx),
            ("dw_ih", &self.dw_ih),
            ("dw_hh", &self.dw_hh),
            ("dbias", &self.dbias),
            ("dbias_h", &self.dbias_h),
            ("dh0", &self.dh0),
            ("dc0", &self.dc0),
        ]
    }
}

impl Case {
    /// Everything given, ordinary numbers: weights about 1/√hidden.
    pub fn new(kind: Kind, [seq, batch, input, hidden]: [usize; 4], seed: u64) -> Case {
        let rng = &mut Rng::new(seed);
        let wide = kind.gates() * hidden;
        let scale = 1.0 / (hidden.max(1) as f32).sqrt();
        let mut numbers = |n: usize, scale: f32| rng.vec(n, |rng| rng.uniform(-scale, scale));
        let (lstm, gru) = (kind == Kind::Lstm, kind == Kind::Gru);
        let states = batch * hidden;
        Case {
            kind,
            seq,
            batch,
            input,
            hidden,
            x: numbers(seq * batch * input, 1.5),
            lengths: None,
            w_ih: numbers(wide * input, scale),
            w_hh: numbers(wide * hidden, 1.5 * scale),
            bias: Some(numbers(wide, 0.5)),
            bias_h: gru.then(|| numbers(wide, 0.5)),
            h0: Some(numbers(states, 1.0)),
            c0: lstm.then(|| numbers(states, 1.0)),
            dh: Some(numbers(seq * states, 1.0)),
            dh_last: Some(numbers(states, 1.0)),
            dc_last: lstm.then(|| numbers(states, 1.0)),
            old: None,
        }
    }

    /// The arguments that may be missing are, where the bits of `mask` say so; there are seven.
    pub fn without(mut self, mask: u32) -> Case {
        let gone = |bit: u32| mask >> bit & 1 == 1;
        let drop = |bit: u32, v: &mut Option<Vec<f32>>| *v = v.take().filter(|_| !gone(bit));
        drop(0, &mut self.bias);
        drop(1, &mut self.bias_h);
        drop(2, &mut self.h0);
        drop(3, &mut self.c0);
        drop(4, &mut self.dh);
        drop(5, &mut self.dh_last);
        drop(6, &mut self.dc_last);
        self
    }

    /// Random lengths, 0 and `seq` among them.
    pub fn with_lengths(mut self, seed: u64) -> Case {
        let rng = &mut Rng::new(seed);
        let seq = self.seq;
        self.lengths = Some((0..self.batch).map(|i| if i < 2 { i * seq } else { rng.below(seq + 1) }).collect());
        self
    }

    /// The same with row `row` alone.
    pub fn row(&self, row: usize) -> Case {
        let pick = |v: &[f32], n: usize| -> Vec<f32> {
            v.chunks(n.max(1)).skip(row).step_by(self.batch).flatten().copied().collect()
        };
        let state = |v: &Option<Vec<f32>>| v.as_deref().map(|v| pick(v, self.hidden));
        Case {
            batch: 1,
            x: pick(&self.x, self.input),
            lengths: self.lengths.as_ref().map(|n| vec![n[row]]),
            h0: state(&self.h0),
            c0: state(&self.c0),
            dh: state(&self.dh),
            dh_last: state(&self.dh_last),
            dc_last: state(&self.dc_last),
            ..self.clone()
        }
    }

    pub fn wide(&self) -> usize {
        self.kind.gates() * self.hidden
    }

    /// Forward, then backward with every output.
    pub fn run(&self, ctx: &Context) -> Results {
        let mut out = self.forward(ctx);
        self.backward(ctx, &mut out, [true; 5]);
        out
    }

    pub fn forward(&self, ctx: &Context) -> Results {
        let (seq, batch, input, hidden) = (self.seq, self.batch, self.input, self.hidden);
        let states = vec![f32::NAN; seq * batch * hidden];
        let wide = vec![f32::NAN; seq * batch * self.wide()];
        let mut out = Results { h: states.clone(), z: wide.clone(), ..Results::default() };
        let (lengths, x, w_ih, w_hh) = (self.lengths.as_deref(), &self.x, &self.w_ih, &self.w_hh);
        let (bias, h0) = (self.bias.as_deref(), self.h0.as_deref());
        match self.kind {
            Kind::Rnn(act, param) => rnn_forward_f32(
                ctx, act, param, seq, batch, input, hidden, x, lengths, w_ih, w_hh, bias, h0, &mut out.h, &mut out.z,
            ),
            Kind::Lstm => {
                out.c = states;
                let c0 = self.c0.as_deref();
                lstm_forward_f32(
                    ctx, seq, batch, input, hidden, x, lengths, w_ih, w_hh, bias, h0, c0, &mut out.h, &mut out.c,
                    &mut out.z,
                )
            }
            Kind::Gru => {
                out.zh = wide;
                let bias_h = self.bias_h.as_deref();
                gru_forward_f32(
                    ctx, seq, batch, input, hidden, x, lengths, w_ih, w_hh, bias, bias_h, h0, &mut out.h, &mut out.z,
                    &mut out.zh,
                )
            }
        }
        .unwrap();
        out
    }

    /// Backward. `wants` are dx, the biases, dh0, dc0, the norms.
    pub fn backward(&self, ctx: &Context, out: &mut Results, wants: [bool; 5]) {
        let (seq, batch, input, hidden, wide) = (self.seq, self.batch, self.input, self.hidden, self.wide());
        let filler = |n: usize, old: Option<f32>| vec![old.unwrap_or(f32::NAN); n];
        let (lstm, gru, accumulate) = (self.kind == Kind::Lstm, self.kind == Kind::Gru, self.old.is_some());
        let option = |wanted: bool, n: usize, old: Option<f32>| if wanted { filler(n, old) } else { Vec::new() };
        let [want_dx, want_bias, want_h0, want_c0, want_norms] = wants;
        out.dx = option(want_dx, seq * batch * input, None);
        out.dw_ih = filler(wide * input, self.old);
        out.dw_hh = filler(wide * hidden, self.old);
        out.dbias = option(want_bias, wide, self.old);
        out.dbias_h = option(want_bias && gru, wide, self.old);
        out.dh0 = option(want_h0, batch * hidden, None);
        out.dc0 = option(want_c0 && lstm, batch * hidden, None);
        out.norms = if want_norms { vec![f64::NAN; seq] } else { Vec::new() };
        let (lengths, x, w_ih, w_hh) = (self.lengths.as_deref(), &self.x, &self.w_ih, &self.w_hh);
        let (h0, dh, dh_last) = (self.h0.as_deref(), self.dh.as_deref(), self.dh_last.as_deref());
        let Results { h, c, z, zh, dx, dw_ih, dw_hh, dbias, dbias_h, dh0, dc0, norms } = out;
        let dx = want_dx.then_some(&mut dx[..]);
        let dbias = want_bias.then_some(&mut dbias[..]);
        let dh0 = want_h0.then_some(&mut dh0[..]);
        let norms = want_norms.then_some(&mut norms[..]);
        match self.kind {
            Kind::Rnn(act, param) => rnn_backward_f32(
                ctx, act, param, seq, batch, input, hidden, x, lengths, w_ih, w_hh, h0, h, z, dh, dh_last, accumulate, dx,
                dw_ih, dw_hh, dbias, dh0, norms,
            ),
            Kind::Lstm => {
                let (c0, dc_last, dc0) = (self.c0.as_deref(), self.dc_last.as_deref(), want_c0.then_some(&mut dc0[..]));
                lstm_backward_f32(
                    ctx, seq, batch, input, hidden, x, lengths, w_ih, w_hh, h0, c0, h, c, z, dh, dh_last, dc_last,
                    accumulate, dx, dw_ih, dw_hh, dbias, dh0, dc0, norms,
                )
            }
            Kind::Gru => {
                let dbias_h = want_bias.then_some(&mut dbias_h[..]);
                gru_backward_f32(
                    ctx, seq, batch, input, hidden, x, lengths, w_ih, w_hh, h0, h, z, zh, dh, dh_last, accumulate, dx,
                    dw_ih, dw_hh, dbias, dbias_h, dh0, norms,
                )
            }
        }
        .unwrap();
    }
}
