//! LSTM: c = σ(f)·c_prev + σ(i)·tanh(g), h = σ(o)·tanh(c).

use super::backward::Backward;
use super::each_piece;
use super::forward::Forward;
use super::gates::{LstmBackward, LstmForward};
use super::shape::{Kind, Shape, check_option};
use super::weights::Gradients;
use crate::context::Context;
use crate::error::{Result, check_len, product};
use crate::parallel::Shared;
use std::ptr;

/// One step of an LSTM from its pre-activations: c = σ(f)·c_prev + σ(i)·tanh(g), h = σ(o)·tanh(c) (whitepaper §16).
///
/// Shapes, row-major: `z` `[batch, 4·hidden]` in the order i, f, g, o; all others `[batch, hidden]`. Gates within 2.5 ULP, c
/// by one fused multiply-add. Threads: the same bits for any number.
///
/// # Errors
/// `InvalidSize`. Outputs are then untouched.
pub fn lstm_cell_forward_f32(
    ctx: &Context,
    batch: usize,
    hidden: usize,
    z: &[f32],
    c_prev: &[f32],
    c: &mut [f32],
    h: &mut [f32],
) -> Result {
    let f = "lstm_cell_forward_f32";
    let len = product(f, "h", &[batch, hidden])?;
    check_len(f, "z", z, product(f, "z", &[batch, 4, hidden])?)?;
    check_len(f, "c_prev", c_prev, len)?;
    check_len(f, "c", c, len)?;
    check_len(f, "h", h, len)?;
    let (c, h) = (Shared::new(c), Shared::new(h));
    each_piece(ctx, Kind::Lstm.ns(), batch, hidden, |row, units| {
        let at = row * hidden + units.start;
        // The row's units lie in all of them (checked), and are this task's alone. Without a bias z is only read.
        ctx.dispatch(&LstmForward {
            n: units.len(),
            gate: hidden,
            z: z[4 * row * hidden + units.start..].as_ptr().cast_mut(),
            bias: ptr::null(),
            c_prev: c_prev[at..].as_ptr(),
            c: c.as_ptr().wrapping_add(at),
            h: h.as_ptr().wrapping_add(at),
        });
    });
    Ok(())
}

/// Back through [`lstm_cell_forward_f32`]: from `dh` and `dc`, the gradients of h and c (`dc` None: zeros), to those of z
/// and c_prev.
///
/// With ∂c = dc + dh·σ(o)·sech²(c): dz = ∂c·tanh(g)·σ'(i), ∂c·c_prev·σ'(f), ∂c·σ(i)·sech²(g), dh·tanh(c)·σ'(o);
/// dc_prev = ∂c·σ(f). Derivatives come from z and c, within 4.5 ULP also where gates saturate. Shapes, threads and errors as there.
#[allow(clippy::too_many_arguments)]
pub fn lstm_cell_backward_f32(
    ctx: &Context,
    batch: usize,
    hidden: usize,
    z: &[f32],
    c_prev: &[f32],
    c: &[f32],
    dh: &[f32],
    dc: Option<&[f32]>,
    dz: &mut [f32],
    dc_prev: &mut [f32],
) -> Result {
    let f = "lstm_cell_backward_f32";
    let len = product(f, "dh", &[batch, hidden])?;
    let wide = product(f, "z", &[batch, 4, hidden])?;
    check_len(f, "z", z, wide)?;
    check_len(f, "c_prev", c_prev, len)?;
    check_len(f, "c", c, len)?;
    check_len(f, "dh", dh, len)?;
    check_option(f, "dc", dc, len)?;
    check_len(f, "dz", dz, wide)?;
    check_len(f, "dc_prev", dc_prev, len)?;
    let (dz, dc_prev) = (Shared::new(dz), Shared::new(dc_prev));
    each_piece(ctx, Kind::Lstm.ns(), batch, hidden, |row, units| {
        let (at, zat) = (row * hidden + units.start, 4 * row * hidden + units.start);
        // The row's units lie in all of them (checked), and are this task's alone.
        ctx.dispatch(&LstmBackward {
            n: units.len(),
            gate: hidden,
            z: z[zat..].as_ptr(),
            c_prev: c_prev[at..].as_ptr(),
            c: c[at..].as_ptr(),
            dh: dh[at..].as_ptr(),
            dc: dc.map_or(ptr::null(), |dc| dc[at..].as_ptr()),
            dz: dz.as_ptr().wrapping_add(zat),
            dc_prev: dc_prev.as_ptr().wrapping_add(at),
        });
    });
    Ok(())
}

/// An LSTM over whole sequences (whitepaper §16).
///
/// Shapes: `x` `[seq, batch, input]`, `lengths` `[batch]`, `w_ih` `[4·hidden, input]`, `w_hh` `[4·hidden, hidden]`, `bias`
/// `[4·hidden]`, `h0` and `c0` `[batch, hidden]` (None: zeros), `h` and `c` `[seq, batch, hidden]`, `z`
/// `[seq, batch, 4·hidden]`. `h`, `c` and `z` are what [`lstm_backward_f32`] needs. Orders and lengths: the
/// [module](super). Threads: the same bits for any number.
///
/// Workspace, in floats: 4·hidden·(hidden rounded up to a multiple of 32), batch·hidden, for each thread 256 for every row
/// that goes through time with others (at most 84, or 8 for each thread), and what the product of x and w_ih takes.
///
/// # Errors
/// `InvalidSize`, `InvalidArgument` for a length above `seq`, `OutOfMemory`. Outputs are then untouched.
#[allow(clippy::too_many_arguments)]
pub fn lstm_forward_f32(
    ctx: &Context,
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
    c0: Option<&[f32]>,
    h: &mut [f32],
    c: &mut [f32],
    z: &mut [f32],
) -> Result {
    let f = "lstm_forward_f32";
    let shape = Shape { kind: Kind::Lstm, seq, batch, input, hidden };
    Forward { function: f, shape, x, lengths, w_ih, w_hh, bias, bias_h: None, h0, c0, h, c, z, zh: &mut [] }.run(ctx)
}

/// Back through [`lstm_forward_f32`], through all of time.
///
/// `dh` `[seq, batch, hidden]` is the gradient of every h, `dh_last` and `dc_last` `[batch, hidden]` what is added to it for
/// the last states (None: zeros). Given back: `dx` as x, `dw_ih`, `dw_hh`, `dbias` as the weights and the bias, `dh0` and
/// `dc0` `[batch, hidden]`, and in `step_norms[t]` ‖∂L/∂h_t‖₂ over the whole batch: the picture of a gradient that vanishes
/// or explodes on its way. What is None is not computed. With `accumulate` the gradients of weights and biases are added to
/// what is there.
///
/// Orders, lengths, and what f32 does not hold: the [module](super). Threads: the same bits for any number.
///
/// Workspace, in floats: seq·batch·4·hidden, 4·hidden·(hidden rounded up to a multiple of 32), 4·batch·hidden,
/// for each thread what forward takes, hidden and 3·batch; for biases 4·hidden for every 256 rows; where some length is below
/// `seq`, seq·batch·(input + hidden); doubles for the norms, seq·batch; and what the largest of the products takes.
///
/// # Errors
/// As [`lstm_forward_f32`].
#[allow(clippy::too_many_arguments)]
pub fn lstm_backward_f32(
    ctx: &Context,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: &[f32],
    lengths: Option<&[usize]>,
    w_ih: &[f32],
    w_hh: &[f32],
    h0: Option<&[f32]>,
    c0: Option<&[f32]>,
    h: &[f32],
    c: &[f32],
    z: &[f32],
    dh: Option<&[f32]>,
    dh_last: Option<&[f32]>,
    dc_last: Option<&[f32]>,
    accumulate: bool,
    dx: Option<&mut [f32]>,
    dw_ih: &mut [f32],
    dw_hh: &mut [f32],
    dbias: Option<&mut [f32]>,
    dh0: Option<&mut [f32]>,
    dc0: Option<&mut [f32]>,
    step_norms: Option<&mut [f64]>,
) -> Result {
    let f = "lstm_backward_f32";
    let shape = Shape { kind: Kind::Lstm, seq, batch, input, hidden };
    let gradients = Gradients { accumulate, dx, dw_ih, dw_hh, dbias, dbias_h: None };
    Backward {
        function: f,
        shape,
        x,
        lengths,
        w_ih,
        w_hh,
        h0,
        c0,
        h,
        c,
        z,
        zh: &[],
        dh,
        dh_last,
        dc_last,
        gradients,
        dh0,
        dc0,
        step_norms,
    }
    .run(ctx)
}
