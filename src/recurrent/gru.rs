//! GRU: r = σ(zx_r + zh_r), z = σ(zx_z + zh_z), n = tanh(zx_n + r·zh_n), h = (1 − z)·n + z·h_prev.

use super::backward::Backward;
use super::each_piece;
use super::forward::Forward;
use super::gates::{GruBackward, GruForward};
use super::shape::{Kind, Shape};
use super::weights::Gradients;
use crate::context::Context;
use crate::error::{Result, check_len, product};
use crate::parallel::Shared;
use std::ptr;

/// One step of a GRU from its pre-activations: r = σ(zx_r + zh_r), z = zx_z + zh_z, n = tanh(zx_n + r·zh_n),
/// h = σ(−z)·n + σ(z)·h_prev (whitepaper §16).
///
/// Shapes, row-major: `zx` and `zh` `[batch, 3·hidden]` in the order r, z, n: what the input and what the state contributes,
/// each with its bias; all others `[batch, hidden]`. Gates within 2.5 ULP; σ(−z) is never 1 − σ(z). Threads: the same bits for
/// any number.
///
/// # Errors
/// `InvalidSize`. Outputs are then untouched.
pub fn gru_cell_forward_f32(
    ctx: &Context,
    batch: usize,
    hidden: usize,
    zx: &[f32],
    zh: &[f32],
    h_prev: &[f32],
    h: &mut [f32],
) -> Result {
    let f = "gru_cell_forward_f32";
    let (len, wide) = (product(f, "h", &[batch, hidden])?, product(f, "zx", &[batch, 3, hidden])?);
    check_len(f, "zx", zx, wide)?;
    check_len(f, "zh", zh, wide)?;
    check_len(f, "h_prev", h_prev, len)?;
    check_len(f, "h", h, len)?;
    let h = Shared::new(h);
    each_piece(ctx, Kind::Gru.ns(), batch, hidden, |row, units| {
        let (at, zat) = (row * hidden + units.start, 3 * row * hidden + units.start);
        // The row's units lie in all of them (checked), and are this task's alone. Without biases zx and zh are only read.
        ctx.dispatch(&GruForward {
            n: units.len(),
            gate: hidden,
            zx: zx[zat..].as_ptr().cast_mut(),
            zh: zh[zat..].as_ptr().cast_mut(),
            bias_x: ptr::null(),
            bias_h: ptr::null(),
            h_prev: h_prev[at..].as_ptr(),
            h: h.as_ptr().wrapping_add(at),
        });
    });
    Ok(())
}

/// Back through [`gru_cell_forward_f32`]: from `dh`, the gradient of h, to those of zx, zh and, past zh, of h_prev.
///
/// dzx_n = dh·σ(−z)·sech²(n's argument), dzh_n = dzx_n·r, dz_r = dzx_n·zh_n·σ'(r's), dz_z = dh·(h_prev − n)·σ'(z), the last
/// two the same in both; dh_prev = dh·σ(z). What zh passes on to h_prev through its weights is the caller's to add. Shapes,
/// threads and errors as there.
#[allow(clippy::too_many_arguments)]
pub fn gru_cell_backward_f32(
    ctx: &Context,
    batch: usize,
    hidden: usize,
    zx: &[f32],
    zh: &[f32],
    h_prev: &[f32],
    dh: &[f32],
    dzx: &mut [f32],
    dzh: &mut [f32],
    dh_prev: &mut [f32],
) -> Result {
    let f = "gru_cell_backward_f32";
    let (len, wide) = (product(f, "dh", &[batch, hidden])?, product(f, "zx", &[batch, 3, hidden])?);
    check_len(f, "zx", zx, wide)?;
    check_len(f, "zh", zh, wide)?;
    check_len(f, "h_prev", h_prev, len)?;
    check_len(f, "dh", dh, len)?;
    check_len(f, "dzx", dzx, wide)?;
    check_len(f, "dzh", dzh, wide)?;
    check_len(f, "dh_prev", dh_prev, len)?;
    let (dzx, dzh, dh_prev) = (Shared::new(dzx), Shared::new(dzh), Shared::new(dh_prev));
    each_piece(ctx, Kind::Gru.ns(), batch, hidden, |row, units| {
        let (at, zat) = (row * hidden + units.start, 3 * row * hidden + units.start);
        // The row's units lie in all of them (checked), and are this task's alone.
        ctx.dispatch(&GruBackward {
            n: units.len(),
            gate: hidden,
            zx: zx[zat..].as_ptr(),
            zh: zh[zat..].as_ptr(),
            h_prev: h_prev[at..].as_ptr(),
            dh: dh[at..].as_ptr(),
            dzx: dzx.as_ptr().wrapping_add(zat),
            dzh: dzh.as_ptr().wrapping_add(zat),
            rest: dh_prev.as_ptr().wrapping_add(at),
        });
    });
    Ok(())
}

/// A GRU over whole sequences (whitepaper §16), with the reset gate applied after the product: n = tanh(zx_n + r·zh_n).
///
/// Shapes: `x` `[seq, batch, input]`, `lengths` `[batch]`, `w_ih` `[3·hidden, input]`, `w_hh` `[3·hidden, hidden]`, `bias_ih`
/// and `bias_hh` `[3·hidden]`, `h0` `[batch, hidden]` (None: zeros), `h` `[seq, batch, hidden]`, `zx` and `zh`
/// `[seq, batch, 3·hidden]`. `h`, `zx` and `zh` are what [`gru_backward_f32`] needs. Orders and lengths: the
/// [module](super). Threads: the same bits for any number. Workspace: as
/// [`lstm_forward_f32`](super::lstm_forward_f32), with 3 for 4.
///
/// # Errors
/// `InvalidSize`, `InvalidArgument` for a length above `seq`, `OutOfMemory`. Outputs are then untouched.
#[allow(clippy::too_many_arguments)]
pub fn gru_forward_f32(
    ctx: &Context,
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    x: &[f32],
    lengths: Option<&[usize]>,
    w_ih: &[f32],
    w_hh: &[f32],
    bias_ih: Option<&[f32]>,
    bias_hh: Option<&[f32]>,
    h0: Option<&[f32]>,
    h: &mut [f32],
    zx: &mut [f32],
    zh: &mut [f32],
) -> Result {
    let f = "gru_forward_f32";
    let shape = Shape { kind: Kind::Gru, seq, batch, input, hidden };
    let (bias, bias_h, c) = (bias_ih, bias_hh, &mut [][..]);
    Forward { function: f, shape, x, lengths, w_ih, w_hh, bias, bias_h, h0, c0: None, h, c, z: zx, zh }.run(ctx)
}

/// Back through [`gru_forward_f32`], through all of time.
///
/// Arguments and results as those of [`lstm_backward_f32`](super::lstm_backward_f32), without a state c and with a gradient
/// for each bias. Its workspace holds twice seq·batch·3·hidden.
///
/// # Errors
/// As [`gru_forward_f32`].
#[allow(clippy::too_many_arguments)]
pub fn gru_backward_f32(
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
    h: &[f32],
    zx: &[f32],
    zh: &[f32],
    dh: Option<&[f32]>,
    dh_last: Option<&[f32]>,
    accumulate: bool,
    dx: Option<&mut [f32]>,
    dw_ih: &mut [f32],
    dw_hh: &mut [f32],
    dbias_ih: Option<&mut [f32]>,
    dbias_hh: Option<&mut [f32]>,
    dh0: Option<&mut [f32]>,
    step_norms: Option<&mut [f64]>,
) -> Result {
    let f = "gru_backward_f32";
    let shape = Shape { kind: Kind::Gru, seq, batch, input, hidden };
    let gradients = Gradients { accumulate, dx, dw_ih, dw_hh, dbias: dbias_ih, dbias_h: dbias_hh };
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
        z: zx,
        zh,
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
