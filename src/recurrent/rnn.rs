//! The plain recurrence: h = φ(W_ih·x + W_hh·h_prev + b).

use super::backward::Backward;
use super::forward::Forward;
use super::shape::{Kind, Shape};
use super::weights::Gradients;
use crate::activation::Activation;
use crate::context::Context;
use crate::error::Result;

/// A recurrent network over whole sequences: h_t = φ(W_ih·x_t + W_hh·h_{t−1} + b) (whitepaper §7).
///
/// `act` and `act_param` are φ as [`Activation`] has it; PyTorch's nn.RNN is `Tanh` or `Relu` with the sum of its two
/// biases. Shapes: `x` `[seq, batch, input]`, `lengths` `[batch]`, `w_ih` `[hidden, input]`, `w_hh` `[hidden, hidden]`,
/// `bias` `[hidden]`, `h0` `[batch, hidden]` (None: zeros), `h` and `z` `[seq, batch, hidden]`. `h` and `z`, the
/// pre-activations, are what [`rnn_backward_f32`] needs. Orders and lengths: the [module](super). Threads: the same bits for
/// any number. Workspace: as [`lstm_forward_f32`](super::lstm_forward_f32), with 1 for 4.
///
/// # Errors
/// `InvalidSize`, `InvalidArgument` for a length above `seq` or an `act_param` that the activation is not defined for,
/// `OutOfMemory`. Outputs are then untouched.
#[allow(clippy::too_many_arguments)]
pub fn rnn_forward_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: &[f32],
    lengths: Option<&[usize]>,
    w_ih: &[f32],
    w_hh: &[f32],
    bias: Option<&[f32]>,
    h0: Option<&[f32]>,
    h: &mut [f32],
    z: &mut [f32],
) -> Result {
    let f = "rnn_forward_f32";
    let shape = Shape { kind: Kind::Rnn { act, act_param }, seq, batch, input, hidden };
    let (c0, bias_h, c, zh) = (None, None, &mut [][..], &mut [][..]);
    Forward { function: f, shape, x, lengths, w_ih, w_hh, bias, bias_h, h0, c0, h, c, z, zh }.run(ctx)
}

/// Back through [`rnn_forward_f32`], through all of time: dz = ∂h ⊙ φ'(z), the repeated product that vanishes or explodes
/// with the spectral radius of `w_hh` (whitepaper §7).
///
/// Arguments and results as those of [`lstm_backward_f32`](super::lstm_backward_f32), without a state c.
///
/// # Errors
/// As [`rnn_forward_f32`].
#[allow(clippy::too_many_arguments)]
pub fn rnn_backward_f32(
    ctx: &Context,
    act: Activation,
    act_param: f32,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: &[f32],
    lengths: Option<&[usize]>,
    w_ih: &[f32],
    w_hh: &[f32],
    h0: Option<&[f32]>,
    h: &[f32],
    z: &[f32],
    dh: Option<&[f32]>,
    dh_last: Option<&[f32]>,
    accumulate: bool,
    dx: Option<&mut [f32]>,
    dw_ih: &mut [f32],
    dw_hh: &mut [f32],
    dbias: Option<&mut [f32]>,
    dh0: Option<&mut [f32]>,
    step_norms: Option<&mut [f64]>,
) -> Result {
    let f = "rnn_backward_f32";
    let shape = Shape { kind: Kind::Rnn { act, act_param }, seq, batch, input, hidden };
    let gradients = Gradients { accumulate, dx, dw_ih, dw_hh, dbias, dbias_h: None };
    Backward {
        function: f,
        shape,
        x,
        lengths,
        w_ih,
        w_hh,
        h0,
        c0: None,
        h,
        c: &[],
        z,
        zh: &[],
        dh,
        dh_last,
        dc_last: None,
        gradients,
        dh0,
        dc0: None,
        step_norms,
    }
    .run(ctx)
}
