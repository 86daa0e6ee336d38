//! Recurrent networks: RNN, LSTM, GRU; one step's cell, and whole sequences forward and back through time (whitepaper §7,
//! §16).
//!
//! Gates stand in the order i, f, g, o (LSTM) and r, z, n (GRU), weights are `[gates·hidden, input]` and
//! `[gates·hidden, hidden]`: PyTorch's, so its weights load as they are. LSTM takes the sum of PyTorch's two biases. Sequences
//! are `[seq, batch, features]`. What is saved for backward is the pre-activations, never the squashed gates, so that
//! saturated gates keep their true derivative.
//!
//! # Lengths
//! From step `lengths[row]` on a row's state stays as it was, so that the last step holds every row's last state. Its
//! pre-activations there are stored as zeros. Backward is the gradient of exactly that: what arrives at such a step (`dh` there
//! included) goes on to the step before as it is; the gradient of the inputs is zero, and inputs there are part of no sum,
//! whatever they hold.
//!
//! # Orders
//! The bits are those of this program, for any number of threads and any batch around a row:
//!
//! - z is x·W_ihᵀ in the ascending order of [`matmul`](crate::matmul), joined by h_prev·W_hhᵀ in the same order (beta = 1;
//!   in the first step only if there is an `h0`), then the bias is added. GRU keeps the two apart, and adds each its bias.
//! - Back, with a row's ∂h and ∂c in f32: ∂h = what arrived + `dh` of that step, then the gates, then what arrives at the step
//!   before is dz·W_hh in the ascending order (GRU: joined to ∂h·σ(z)).
//! - dx = dz·W_ih; dW_ih = dzᵀ·x over all rows of all steps that are within their length, in the order of time, then batch;
//!   dW_hh first over those of step 0, if there is an `h0`, then over all others: ascending, beta = 1 from the second on or
//!   with `accumulate`. Biases: the order of [`linear_backward_weight_f32`](crate::linear::linear_backward_weight_f32).
//!
//! Gates and their derivatives are [`gate_finish`](crate::vecmath::gate_finish) and
//! [`squash_finish`](crate::vecmath::squash_finish): within 2.5 and 4.5 ULP, and in both passes the same.
//!
//! # What f32 does not hold
//! A row's gradient is carried back with a power of two of its own, which moves only when the largest entry of the row
//! leaves 2⁻⁴⁰ … 2⁸⁰. The results are those of plain f32 as long as nothing in it would have left f32's range, and right after
//! that: `step_norms` shows 1e-70 and not 0, and gradients come back that pass through such steps.
//!
//! ```
//! use evenkeel::{Context, recurrent::lstm_forward_f32};
//! let ctx = Context::global()?;
//! // Two steps of one unit, in a batch of one. Its gates: i and o half open, f wide open, g = tanh(x).
//! let (w_ih, w_hh, bias) = ([0.0, 0.0, 1.0, 0.0], [0.0; 4], [0.0, 100.0, 0.0, 0.0]);
//! let (mut h, mut c, mut z) = ([0.0; 2], [0.0; 2], [0.0; 8]);
//! let x = [0.5, -0.5];
//! lstm_forward_f32(ctx, 2, 1, 1, 1, &x, None, &w_ih, &w_hh, Some(&bias), None, None, &mut h, &mut c, &mut z)?;
//! assert_eq!(c, [0.5 * 0.5f32.tanh(), 0.0]);
//! assert_eq!(z[..4], [0.0, 100.0, 0.5, 0.0]);
//! # Ok::<(), evenkeel::Error>(())
//! ```

mod backward;
mod carry;
mod forward;
mod gates;
mod gru;
mod lstm;
mod rnn;
mod shape;
mod together;
mod weights;

pub use gru::{gru_backward_f32, gru_cell_backward_f32, gru_cell_forward_f32, gru_forward_f32};
pub use lstm::{lstm_backward_f32, lstm_cell_backward_f32, lstm_cell_forward_f32, lstm_forward_f32};
pub use rnn::{rnn_backward_f32, rnn_forward_f32};

use crate::context::Context;
use crate::parallel::Work;
use std::ops::Range;

/// Units of a cell's task.
const UNITS: usize = 1024;

/// Calls `f(row, units)` for all of `batch` rows, a piece of a row at a time.
fn each_piece(ctx: &Context, ns: f64, batch: usize, hidden: usize, f: impl Fn(usize, Range<usize>) + Sync) {
    let across = hidden.div_ceil(UNITS);
    let down = if across > 1 { 1 } else { (UNITS / hidden.max(1)).max(1) };
    let work = Work::elements(batch * hidden, ns);
    ctx.for_each(work, batch.div_ceil(down) * across, |task| {
        let units = task % across * UNITS;
        let rows = task / across * down;
        for row in rows..batch.min(rows + down) {
            f(row, units..hidden.min(units + UNITS));
        }
    });
}
