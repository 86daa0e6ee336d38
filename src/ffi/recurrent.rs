//! Recurrent networks.

use super::activation::ek_activation;
use super::context::ek_context;
use super::status::{ek_status, guard};
use super::tensor::{In, Out, check};
use super::{choice, context_of};
use crate::activation::Activation;
use crate::recurrent::*;

/// One step of an LSTM from its pre-activations: c = s(f) * c_prev + s(i) * tanh(g), h = s(o) * tanh(c), s the logistic
/// function. z [batch, 4 * hidden] in the order i, f, g, o; c_prev, c, h [batch, hidden].
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_lstm_cell_forward_f32(
    ctx: *const ek_context,
    batch: usize,
    hidden: usize,
    z: *const f32,
    c_prev: *const f32,
    c: *mut f32,
    h: *mut f32,
) -> ek_status {
    let f = "lstm_cell_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let z = In::new("z", z, &[batch, 4, hidden]);
        let c_prev = In::new("c_prev", c_prev, &[batch, hidden]);
        let c = Out::new("c", c, &[batch, hidden]);
        let h = Out::new("h", h, &[batch, hidden]);
        check(f, &[&z, &c_prev, &c, &h])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (z, c_prev, c, h) = unsafe { (z.slice(), c_prev.slice(), c.slice(), h.slice()) };
        lstm_cell_forward_f32(ctx, batch, hidden, z, c_prev, c, h)
    })
}

/// Back through ek_lstm_cell_forward_f32: from dh and dc, the gradients of h and c, to dz [batch, 4 * hidden] and dc_prev.
/// dh, dc, dc_prev [batch, hidden]; z, c_prev, c as there. Derivatives come from z and c, and are true where gates saturate.
///
/// NULL: dc (zeros). Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_lstm_cell_backward_f32(
    ctx: *const ek_context,
    batch: usize,
    hidden: usize,
    z: *const f32,
    c_prev: *const f32,
    c: *const f32,
    dh: *const f32,
    dc: *const f32,
    dz: *mut f32,
    dc_prev: *mut f32,
) -> ek_status {
    let f = "lstm_cell_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let z = In::new("z", z, &[batch, 4, hidden]);
        let c_prev = In::new("c_prev", c_prev, &[batch, hidden]);
        let c = In::new("c", c, &[batch, hidden]);
        let dh = In::new("dh", dh, &[batch, hidden]);
        let dc = In::new("dc", dc, &[batch, hidden]).optional();
        let dz = Out::new("dz", dz, &[batch, 4, hidden]);
        let dc_prev = Out::new("dc_prev", dc_prev, &[batch, hidden]);
        check(f, &[&z, &c_prev, &c, &dh, &dc, &dz, &dc_prev])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (z, c_prev, c, dh, dc, dz, dc_prev) =
            unsafe { (z.slice(), c_prev.slice(), c.slice(), dh.slice(), dc.option(), dz.slice(), dc_prev.slice()) };
        lstm_cell_backward_f32(ctx, batch, hidden, z, c_prev, c, dh, dc, dz, dc_prev)
    })
}

/// One step of a GRU from its pre-activations: r = s(zx_r + zh_r), z = zx_z + zh_z, n = tanh(zx_n + r * zh_n),
/// h = s(-z) * n + s(z) * h_prev, s the logistic function. zx, zh [batch, 3 * hidden] in the order r, z, n: what input and
/// state contribute, each with its bias; h_prev, h [batch, hidden].
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_gru_cell_forward_f32(
    ctx: *const ek_context,
    batch: usize,
    hidden: usize,
    zx: *const f32,
    zh: *const f32,
    h_prev: *const f32,
    h: *mut f32,
) -> ek_status {
    let f = "gru_cell_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let zx = In::new("zx", zx, &[batch, 3, hidden]);
        let zh = In::new("zh", zh, &[batch, 3, hidden]);
        let h_prev = In::new("h_prev", h_prev, &[batch, hidden]);
        let h = Out::new("h", h, &[batch, hidden]);
        check(f, &[&zx, &zh, &h_prev, &h])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (zx, zh, h_prev, h) = unsafe { (zx.slice(), zh.slice(), h_prev.slice(), h.slice()) };
        gru_cell_forward_f32(ctx, batch, hidden, zx, zh, h_prev, h)
    })
}

/// Back through ek_gru_cell_forward_f32: from dh, the gradient of h, to dzx and dzh [batch, 3 * hidden] and to
/// dh_prev = dh * s(z) [batch, hidden], to which the caller adds what dzh passes on through its weights.
///
/// Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (alignment), EK_STATUS_OVERLAP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_gru_cell_backward_f32(
    ctx: *const ek_context,
    batch: usize,
    hidden: usize,
    zx: *const f32,
    zh: *const f32,
    h_prev: *const f32,
    dh: *const f32,
    dzx: *mut f32,
    dzh: *mut f32,
    dh_prev: *mut f32,
) -> ek_status {
    let f = "gru_cell_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let zx = In::new("zx", zx, &[batch, 3, hidden]);
        let zh = In::new("zh", zh, &[batch, 3, hidden]);
        let h_prev = In::new("h_prev", h_prev, &[batch, hidden]);
        let dh = In::new("dh", dh, &[batch, hidden]);
        let dzx = Out::new("dzx", dzx, &[batch, 3, hidden]);
        let dzh = Out::new("dzh", dzh, &[batch, 3, hidden]);
        let dh_prev = Out::new("dh_prev", dh_prev, &[batch, hidden]);
        check(f, &[&zx, &zh, &h_prev, &dh, &dzx, &dzh, &dh_prev])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (zx, zh, h_prev, dh, dzx, dzh, dh_prev) =
            unsafe { (zx.slice(), zh.slice(), h_prev.slice(), dh.slice(), dzx.slice(), dzh.slice(), dh_prev.slice()) };
        gru_cell_backward_f32(ctx, batch, hidden, zx, zh, h_prev, dh, dzx, dzh, dh_prev)
    })
}

/// h_t = phi(w_ih * x_t + w_hh * h_(t-1) + bias): a recurrent network over whole sequences.
///
/// Shapes: x [seq, batch, input], lengths [batch], w_ih [hidden, input], w_hh [hidden, hidden], bias [hidden],
/// h0 [batch, hidden], h and z [seq, batch, hidden]. act is one of EK_ACTIVATION_, act_param as there. z are the
/// pre-activations, which backward needs.
///
/// From step lengths[row] (at most seq) on a row's state stays as it was, so that h[seq - 1] holds every row's last state;
/// its pre-activations there are stored as zeros.
///
/// NULL: lengths (all seq), bias (none), h0 (zeros). Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, act_param, lengths, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rnn_forward_f32(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: *const f32,
    lengths: *const usize,
    w_ih: *const f32,
    w_hh: *const f32,
    bias: *const f32,
    h0: *const f32,
    h: *mut f32,
    z: *mut f32,
) -> ek_status {
    let f = "rnn_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let act = choice(f, "act", act, Activation::from_i32)?;
        let x = In::new("x", x, &[seq, batch, input]);
        let lengths = In::new("lengths", lengths, &[batch]).optional();
        let w_ih = In::new("w_ih", w_ih, &[1, hidden, input]);
        let w_hh = In::new("w_hh", w_hh, &[1, hidden, hidden]);
        let bias = In::new("bias", bias, &[1, hidden]).optional();
        let h0 = In::new("h0", h0, &[batch, hidden]).optional();
        let h = Out::new("h", h, &[seq, batch, hidden]);
        let z = Out::new("z", z, &[seq, batch, hidden]);
        check(f, &[&x, &lengths, &w_ih, &w_hh, &bias, &h0, &h, &z])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (x, lengths, w_ih, w_hh, bias, h0, h, z) = unsafe {
            (x.slice(), lengths.option(), w_ih.slice(), w_hh.slice(), bias.option(), h0.option(), h.slice(), z.slice())
        };
        rnn_forward_f32(ctx, act, act_param, seq, batch, input, hidden, x, lengths, w_ih, w_hh, bias, h0, h, z)
    })
}

/// Back through ek_rnn_forward_f32, through all of time.
///
/// dh [seq, batch, hidden] is the gradient of every h, dh_last [batch, hidden] what is added to it for the last state.
/// dx, dw_ih, dw_hh, dbias are shaped as what they are gradients of, dh0 as h0. step_norms[t] receives the Euclidean norm
/// of the gradient of h_t over the whole batch: how it vanishes or explodes on its way back. What passes below or above
/// the range of float on that way comes out right after it.
///
/// With accumulate the gradients of weights and biases are added to what is there. From step lengths[row] on what arrives,
/// dh there included, goes on to the step before as it is; dx is zero, and x there is read by no sum.
///
/// NULL: lengths (all seq), h0 (zeros), dh, dh_last (zeros), and dx, dbias, dh0, step_norms (not wanted). Aliasing:
/// inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (act, act_param, lengths, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_rnn_backward_f32(
    ctx: *const ek_context,
    act: ek_activation,
    act_param: f32,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: *const f32,
    lengths: *const usize,
    w_ih: *const f32,
    w_hh: *const f32,
    h0: *const f32,
    h: *const f32,
    z: *const f32,
    dh: *const f32,
    dh_last: *const f32,
    accumulate: bool,
    dx: *mut f32,
    dw_ih: *mut f32,
    dw_hh: *mut f32,
    dbias: *mut f32,
    dh0: *mut f32,
    step_norms: *mut f64,
) -> ek_status {
    let f = "rnn_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let act = choice(f, "act", act, Activation::from_i32)?;
        let x = In::new("x", x, &[seq, batch, input]);
        let lengths = In::new("lengths", lengths, &[batch]).optional();
        let w_ih = In::new("w_ih", w_ih, &[1, hidden, input]);
        let w_hh = In::new("w_hh", w_hh, &[1, hidden, hidden]);
        let h0 = In::new("h0", h0, &[batch, hidden]).optional();
        let h = In::new("h", h, &[seq, batch, hidden]);
        let z = In::new("z", z, &[seq, batch, hidden]);
        let dh = In::new("dh", dh, &[seq, batch, hidden]).optional();
        let dh_last = In::new("dh_last", dh_last, &[batch, hidden]).optional();
        let dx = Out::new("dx", dx, &[seq, batch, input]).optional();
        let dw_ih = Out::new("dw_ih", dw_ih, &[1, hidden, input]);
        let dw_hh = Out::new("dw_hh", dw_hh, &[1, hidden, hidden]);
        let dbias = Out::new("dbias", dbias, &[1, hidden]).optional();
        let dh0 = Out::new("dh0", dh0, &[batch, hidden]).optional();
        let step_norms = Out::new("step_norms", step_norms, &[seq]).optional();
        check(
            f,
            &[&x, &lengths, &w_ih, &w_hh, &h0, &h, &z, &dh, &dh_last, &dx, &dw_ih, &dw_hh, &dbias, &dh0, &step_norms],
        )?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (x, lengths, w_ih, w_hh, h0, h, z, dh, dh_last, dx, dw_ih, dw_hh, dbias, dh0, step_norms) = unsafe {
            (
                x.slice(),
                lengths.option(),
                w_ih.slice(),
                w_hh.slice(),
                h0.option(),
                h.slice(),
                z.slice(),
                dh.option(),
                dh_last.option(),
                dx.option(),
                dw_ih.slice(),
                dw_hh.slice(),
                dbias.option(),
                dh0.option(),
                step_norms.option(),
            )
        };
        rnn_backward_f32(
            ctx, act, act_param, seq, batch, input, hidden, x, lengths, w_ih, w_hh, h0, h, z, dh, dh_last, accumulate,
            dx, dw_ih, dw_hh, dbias, dh0, step_norms,
        )
    })
}

/// An LSTM over whole sequences: z_t = w_ih * x_t + w_hh * h_(t-1) + bias, then as ek_lstm_cell_forward_f32.
///
/// Shapes: x [seq, batch, input], lengths [batch], w_ih [4 * hidden, input], w_hh [4 * hidden, hidden], bias [4 * hidden],
/// h0 and c0 [batch, hidden], h and c [seq, batch, hidden], z [seq, batch, 4 * hidden]. Gates stand in the order i, f, g, o:
/// PyTorch's weights load as they are, its two biases summed. h, c and z are what backward needs.
///
/// From step lengths[row] (at most seq) on a row's state stays as it was, so that h[seq - 1] holds every row's last state;
/// its pre-activations there are stored as zeros.
///
/// NULL: lengths (all seq), bias (none), h0, c0 (zeros). Aliasing: inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (lengths, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_lstm_forward_f32(
    ctx: *const ek_context,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: *const f32,
    lengths: *const usize,
    w_ih: *const f32,
    w_hh: *const f32,
    bias: *const f32,
    h0: *const f32,
    c0: *const f32,
    h: *mut f32,
    c: *mut f32,
    z: *mut f32,
) -> ek_status {
    let f = "lstm_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[seq, batch, input]);
        let lengths = In::new("lengths", lengths, &[batch]).optional();
        let w_ih = In::new("w_ih", w_ih, &[4, hidden, input]);
        let w_hh = In::new("w_hh", w_hh, &[4, hidden, hidden]);
        let bias = In::new("bias", bias, &[4, hidden]).optional();
        let h0 = In::new("h0", h0, &[batch, hidden]).optional();
        let c0 = In::new("c0", c0, &[batch, hidden]).optional();
        let h = Out::new("h", h, &[seq, batch, hidden]);
        let c = Out::new("c", c, &[seq, batch, hidden]);
        let z = Out::new("z", z, &[seq, batch, 4, hidden]);
        check(f, &[&x, &lengths, &w_ih, &w_hh, &bias, &h0, &c0, &h, &c, &z])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (x, lengths, w_ih, w_hh, bias, h0, c0, h, c, z) = unsafe {
            (
                x.slice(),
                lengths.option(),
                w_ih.slice(),
                w_hh.slice(),
                bias.option(),
                h0.option(),
                c0.option(),
                h.slice(),
                c.slice(),
                z.slice(),
            )
        };
        lstm_forward_f32(ctx, seq, batch, input, hidden, x, lengths, w_ih, w_hh, bias, h0, c0, h, c, z)
    })
}

/// Back through ek_lstm_forward_f32, through all of time.
///
/// dh [seq, batch, hidden] is the gradient of every h, dh_last and dc_last [batch, hidden] what is added to it for the last states.
/// dx, dw_ih, dw_hh, dbias are shaped as what they are gradients of, dh0 and dc0 as h0. step_norms[t] receives the Euclidean norm
/// of the gradient of h_t over the whole batch: how it vanishes or explodes on its way back. What passes below or above
/// the range of float on that way comes out right after it.
///
/// With accumulate the gradients of weights and biases are added to what is there. From step lengths[row] on what arrives,
/// dh there included, goes on to the step before as it is; dx is zero, and x there is read by no sum.
///
/// NULL: lengths (all seq), h0, c0 (zeros), dh, dh_last, dc_last (zeros), and dx, dbias, dh0, dc0, step_norms (not wanted). Aliasing:
/// inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (lengths, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_lstm_backward_f32(
    ctx: *const ek_context,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: *const f32,
    lengths: *const usize,
    w_ih: *const f32,
    w_hh: *const f32,
    h0: *const f32,
    c0: *const f32,
    h: *const f32,
    c: *const f32,
    z: *const f32,
    dh: *const f32,
    dh_last: *const f32,
    dc_last: *const f32,
    accumulate: bool,
    dx: *mut f32,
    dw_ih: *mut f32,
    dw_hh: *mut f32,
    dbias: *mut f32,
    dh0: *mut f32,
    dc0: *mut f32,
    step_norms: *mut f64,
) -> ek_status {
    let f = "lstm_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[seq, batch, input]);
        let lengths = In::new("lengths", lengths, &[batch]).optional();
        let w_ih = In::new("w_ih", w_ih, &[4, hidden, input]);
        let w_hh = In::new("w_hh", w_hh, &[4, hidden, hidden]);
        let h0 = In::new("h0", h0, &[batch, hidden]).optional();
        let c0 = In::new("c0", c0, &[batch, hidden]).optional();
        let h = In::new("h", h, &[seq, batch, hidden]);
        let c = In::new("c", c, &[seq, batch, hidden]);
        let z = In::new("z", z, &[seq, batch, 4, hidden]);
        let dh = In::new("dh", dh, &[seq, batch, hidden]).optional();
        let dh_last = In::new("dh_last", dh_last, &[batch, hidden]).optional();
        let dc_last = In::new("dc_last", dc_last, &[batch, hidden]).optional();
        let dx = Out::new("dx", dx, &[seq, batch, input]).optional();
        let dw_ih = Out::new("dw_ih", dw_ih, &[4, hidden, input]);
        let dw_hh = Out::new("dw_hh", dw_hh, &[4, hidden, hidden]);
        let dbias = Out::new("dbias", dbias, &[4, hidden]).optional();
        let dh0 = Out::new("dh0", dh0, &[batch, hidden]).optional();
        let dc0 = Out::new("dc0", dc0, &[batch, hidden]).optional();
        let step_norms = Out::new("step_norms", step_norms, &[seq]).optional();
        check(
            f,
            &[
                &x,
                &lengths,
                &w_ih,
                &w_hh,
                &h0,
                &c0,
                &h,
                &c,
                &z,
                &dh,
                &dh_last,
                &dc_last,
                &dx,
                &dw_ih,
                &dw_hh,
                &dbias,
                &dh0,
                &dc0,
                &step_norms,
            ],
        )?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (
            x,
            lengths,
            w_ih,
            w_hh,
            h0,
            c0,
            h,
            c,
            z,
            dh,
            dh_last,
            dc_last,
            dx,
            dw_ih,
            dw_hh,
            dbias,
            dh0,
            dc0,
            step_norms,
        ) = unsafe {
            (
                x.slice(),
                lengths.option(),
                w_ih.slice(),
                w_hh.slice(),
                h0.option(),
                c0.option(),
                h.slice(),
                c.slice(),
                z.slice(),
                dh.option(),
                dh_last.option(),
                dc_last.option(),
                dx.option(),
                dw_ih.slice(),
                dw_hh.slice(),
                dbias.option(),
                dh0.option(),
                dc0.option(),
                step_norms.option(),
            )
        };
        lstm_backward_f32(
            ctx, seq, batch, input, hidden, x, lengths, w_ih, w_hh, h0, c0, h, c, z, dh, dh_last, dc_last, accumulate,
            dx, dw_ih, dw_hh, dbias, dh0, dc0, step_norms,
        )
    })
}

/// A GRU over whole sequences: zx_t = w_ih * x_t + bias_ih, zh_t = w_hh * h_(t-1) + bias_hh, then as
/// ek_gru_cell_forward_f32.
///
/// Shapes: x [seq, batch, input], lengths [batch], w_ih [3 * hidden, input], w_hh [3 * hidden, hidden], bias_ih and bias_hh
/// [3 * hidden], h0 [batch, hidden], h [seq, batch, hidden], zx and zh [seq, batch, 3 * hidden]. Gates stand in the order
/// r, z, n: PyTorch's weights and biases load as they are. h, zx and zh are what backward needs.
///
/// From step lengths[row] (at most seq) on a row's state stays as it was, so that h[seq - 1] holds every row's last state;
/// its pre-activations there are stored as zeros.
///
/// NULL: lengths (all seq), bias_ih, bias_hh (none), h0 (zeros). Aliasing: inputs may overlap each other; outputs overlap
/// nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (lengths, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_gru_forward_f32(
    ctx: *const ek_context,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: *const f32,
    lengths: *const usize,
    w_ih: *const f32,
    w_hh: *const f32,
    bias_ih: *const f32,
    bias_hh: *const f32,
    h0: *const f32,
    h: *mut f32,
    zx: *mut f32,
    zh: *mut f32,
) -> ek_status {
    let f = "gru_forward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[seq, batch, input]);
        let lengths = In::new("lengths", lengths, &[batch]).optional();
        let w_ih = In::new("w_ih", w_ih, &[3, hidden, input]);
        let w_hh = In::new("w_hh", w_hh, &[3, hidden, hidden]);
        let bias_ih = In::new("bias_ih", bias_ih, &[3, hidden]).optional();
        let bias_hh = In::new("bias_hh", bias_hh, &[3, hidden]).optional();
        let h0 = In::new("h0", h0, &[batch, hidden]).optional();
        let h = Out::new("h", h, &[seq, batch, hidden]);
        let zx = Out::new("zx", zx, &[seq, batch, 3, hidden]);
        let zh = Out::new("zh", zh, &[seq, batch, 3, hidden]);
        check(f, &[&x, &lengths, &w_ih, &w_hh, &bias_ih, &bias_hh, &h0, &h, &zx, &zh])?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (x, lengths, w_ih, w_hh, bias_ih, bias_hh, h0, h, zx, zh) = unsafe {
            (
                x.slice(),
                lengths.option(),
                w_ih.slice(),
                w_hh.slice(),
                bias_ih.option(),
                bias_hh.option(),
                h0.option(),
                h.slice(),
                zx.slice(),
                zh.slice(),
            )
        };
        gru_forward_f32(ctx, seq, batch, input, hidden, x, lengths, w_ih, w_hh, bias_ih, bias_hh, h0, h, zx, zh)
    })
}

/// Back through ek_gru_forward_f32, through all of time.
///
/// dh [seq, batch, hidden] is the gradient of every h, dh_last [batch, hidden] what is added to it for the last state.
/// dx, dw_ih, dw_hh, dbias_ih, dbias_hh are shaped as what they are gradients of, dh0 as h0. step_norms[t] receives the Euclidean norm
/// of the gradient of h_t over the whole batch: how it vanishes or explodes on its way back. What passes below or above
/// the range of float on that way comes out right after it.
///
/// With accumulate the gradients of weights and biases are added to what is there. From step lengths[row] on what arrives,
/// dh there included, goes on to the step before as it is; dx is zero, and x there is read by no sum.
///
/// NULL: lengths (all seq), h0 (zeros), dh, dh_last (zeros), and dx, dbias_ih, dbias_hh, dh0, step_norms (not wanted). Aliasing:
/// inputs may overlap each other; outputs overlap nothing.
///
/// Errors: EK_STATUS_NULL_POINTER, EK_STATUS_INVALID_SIZE, EK_STATUS_INVALID_ARGUMENT (lengths, alignment), EK_STATUS_OVERLAP,
/// EK_STATUS_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ek_gru_backward_f32(
    ctx: *const ek_context,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: *const f32,
    lengths: *const usize,
    w_ih: *const f32,
    w_hh: *const f32,
    h0: *const f32,
    h: *const f32,
    zx: *const f32,
    zh: *const f32,
    dh: *const f32,
    dh_last: *const f32,
    accumulate: bool,
    dx: *mut f32,
    dw_ih: *mut f32,
    dw_hh: *mut f32,
    dbias_ih: *mut f32,
    dbias_hh: *mut f32,
    dh0: *mut f32,
    step_norms: *mut f64,
) -> ek_status {
    let f = "gru_backward_f32";
    guard(f, || {
        // SAFETY: the caller's promise.
        let ctx = unsafe { context_of(ctx) }?;
        let x = In::new("x", x, &[seq, batch, input]);
        let lengths = In::new("lengths", lengths, &[batch]).optional();
        let w_ih = In::new("w_ih", w_ih, &[3, hidden, input]);
        let w_hh = In::new("w_hh", w_hh, &[3, hidden, hidden]);
        let h0 = In::new("h0", h0, &[batch, hidden]).optional();
        let h = In::new("h", h, &[seq, batch, hidden]);
        let zx = In::new("zx", zx, &[seq, batch, 3, hidden]);
        let zh = In::new("zh", zh, &[seq, batch, 3, hidden]);
        let dh = In::new("dh", dh, &[seq, batch, hidden]).optional();
        let dh_last = In::new("dh_last", dh_last, &[batch, hidden]).optional();
        let dx = Out::new("dx", dx, &[seq, batch, input]).optional();
        let dw_ih = Out::new("dw_ih", dw_ih, &[3, hidden, input]);
        let dw_hh = Out::new("dw_hh", dw_hh, &[3, hidden, hidden]);
        let dbias_ih = Out::new("dbias_ih", dbias_ih, &[3, hidden]).optional();
        let dbias_hh = Out::new("dbias_hh", dbias_hh, &[3, hidden]).optional();
        let dh0 = Out::new("dh0", dh0, &[batch, hidden]).optional();
        let step_norms = Out::new("step_norms", step_norms, &[seq]).optional();
        check(
            f,
            &[
                &x,
                &lengths,
                &w_ih,
                &w_hh,
                &h0,
                &h,
                &zx,
                &zh,
                &dh,
                &dh_last,
                &dx,
                &dw_ih,
                &dw_hh,
                &dbias_ih,
                &dbias_hh,
                &dh0,
                &step_norms,
            ],
        )?;
        // SAFETY: checked above; sizes are the caller's promise.
        let (x, lengths, w_ih, w_hh, h0, h, zx, zh, dh, dh_last, dx, dw_ih, dw_hh, dbias_ih, dbias_hh, dh0, step_norms) = unsafe {
            (
                x.slice(),
                lengths.option(),
                w_ih.slice(),
                w_hh.slice(),
                h0.option(),
                h.slice(),
                zx.slice(),
                zh.slice(),
                dh.option(),
                dh_last.option(),
                dx.option(),
                dw_ih.slice(),
                dw_hh.slice(),
                dbias_ih.option(),
                dbias_hh.option(),
                dh0.option(),
                step_norms.option(),
            )
        };
        gru_backward_f32(
            ctx, seq, batch, input, hidden, x, lengths, w_ih, w_hh, h0, h, zx, zh, dh, dh_last, accumulate, dx, dw_ih,
            dw_hh, dbias_ih, dbias_hh, dh0, step_norms,
        )
    })
}
