//! Forward through time.

use super::gates::{GruForward, LstmForward};
use super::shape::{Cut, Kind, Piece, Shape, check_option};
use super::together::together;
use crate::activation::forward_piece;
use crate::context::Context;
use crate::error::{Result, check_len};
use crate::matmul::{Args, Multiply, Numbers, Panels, Transpose, multiply_ascending};
use crate::parallel::Shared;
use crate::scratch::Scratch;
use std::ptr;

/// Checked arguments.
pub(super) struct Forward<'a> {
    pub function: &'static str,
    pub shape: Shape,
    pub x: &'a [f32],
    pub lengths: Option<&'a [usize]>,
    pub w_ih: &'a [f32],
    pub w_hh: &'a [f32],
    pub bias: Option<&'a [f32]>,
    /// GRU's second bias.
    pub bias_h: Option<&'a [f32]>,
    pub h0: Option<&'a [f32]>,
    pub c0: Option<&'a [f32]>,
    pub h: &'a mut [f32],
    /// LSTM's; else empty.
    pub c: &'a mut [f32],
    pub z: &'a mut [f32],
    /// GRU's second; else empty.
    pub zh: &'a mut [f32],
}

impl Forward<'_> {
    /// Checks the arguments, by the names that each recurrence has for them.
    fn check(&self) -> Result {
        let (f, x) = (self.function, &self.shape);
        let (gru, lstm) = (x.kind == Kind::Gru, x.kind == Kind::Lstm);
        x.check(f)?;
        x.check_inputs(f, self.x, self.lengths, self.w_ih, self.w_hh)?;
        check_option(f, if gru { "bias_ih" } else { "bias" }, self.bias, x.wide())?;
        check_option(f, "bias_hh", self.bias_h, x.wide())?;
        check_option(f, "h0", self.h0, x.states())?;
        check_option(f, "c0", self.c0, x.states())?;
        check_len(f, "h", self.h, x.seq * x.states())?;
        check_len(f, "c", self.c, if lstm { x.seq * x.states() } else { 0 })?;
        check_len(f, if gru { "zx" } else { "z" }, self.z, x.seq * x.step())?;
        check_len(f, "zh", self.zh, if gru { x.seq * x.step() } else { 0 })
    }

    /// # Errors
    /// As the functions say, before anything is written.
    pub(super) fn run(self, ctx: &Context) -> Result {
        self.check()?;
        let x = self.shape;
        if x.rows() == 0 || x.hidden == 0 {
            return Ok(());
        }
        let gates = x.kind.gates();
        let cut = Cut::new(ctx, &x);
        let packed_len = Panels::len(ctx.isa(), gates, x.hidden, x.hidden);
        let room = cut.room();
        let len = packed_len + x.states() + cut.workers * room;
        let mut scratch = Scratch::take::<f32>(self.function, len)?;
        let (packed, rest) = scratch.slice(len).split_at_mut(packed_len);
        let (zeros, rooms) = rest.split_at_mut(x.states());
        zeros.fill(0.0);
        // Every step's share of the inputs, in one product.
        let args = Args {
            function: self.function,
            trans_a: Transpose::No,
            trans_b: Transpose::Yes,
            m: x.rows(),
            n: x.wide(),
            k: x.input,
            alpha: 1.0,
            a: Numbers::Direct(self.x),
            lda: x.input,
            b: Numbers::Direct(self.w_ih),
            ldb: x.input,
            beta: 0.0,
            ldc: x.wide(),
            epilogue: None,
        };
        multiply_ascending(ctx, &args, self.z)?;
        let steps = Steps {
            shape: x,
            lengths: self.lengths,
            bias: self.bias,
            bias_h: self.bias_h,
            weights: Panels::pack(ctx, gates, x.hidden, x.hidden, self.w_hh, 1, x.hidden, packed),
            zeros,
            h0: self.h0,
            c0: self.c0,
            h: Shared::new(self.h),
            c: Shared::new(self.c),
            z: Shared::new(self.z),
            zh: Shared::new(self.zh),
        };
        let rooms = Shared::new(rooms);
        // SAFETY: a worker's number is its own.
        let room = |worker: usize| unsafe { rooms.piece(worker * room..(worker + 1) * room) };
        if cut.together {
            together(ctx, cut.pieces, x.seq, |worker, t, piece| {
                steps.step(ctx, t, &cut.piece(&x, piece), room(worker))
            });
        } else {
            ctx.for_each_worker(cut.workers, cut.pieces, |worker, piece| {
                (0..x.seq).for_each(|t| steps.step(ctx, t, &cut.piece(&x, piece), room(worker)));
            });
        }
        Ok(())
    }
}

struct Steps<'a> {
    shape: Shape,
    lengths: Option<&'a [usize]>,
    bias: Option<&'a [f32]>,
    bias_h: Option<&'a [f32]>,
    weights: Panels<'a>,
    zeros: &'a [f32],
    h0: Option<&'a [f32]>,
    c0: Option<&'a [f32]>,
    h: Shared<'a, f32>,
    c: Shared<'a, f32>,
    z: Shared<'a, f32>,
    zh: Shared<'a, f32>,
}

impl Steps<'_> {
    /// One step of a piece. Steps before it are done, for all units of these rows.
    fn step(&self, ctx: &Context, t: usize, piece: &Piece, room: &mut [f32]) {
        let x = &self.shape;
        let (hidden, wide) = (x.hidden, x.wide());
        let gru = x.kind == Kind::Gru;
        // What the product of the states joins.
        let target = if gru { self.zh.as_ptr() } else { self.z.as_ptr() }.wrapping_add(t * x.step());
        let before = |states: &Shared<'_, f32>, first: Option<&[f32]>| match t {
            0 => first.unwrap_or(self.zeros).as_ptr(),
            _ => states.as_ptr().cast_const().wrapping_add((t - 1) * x.states()),
        };
        let h_prev = before(&self.h, self.h0);
        if t > 0 || self.h0.is_some() {
            ctx.dispatch(&Multiply {
                b: &self.weights,
                a: h_prev.wrapping_add(piece.rows.start * hidden),
                lda: hidden,
                rows: piece.rows.len(),
                c: target.wrapping_add(piece.rows.start * wide),
                ldc: wide,
                group: hidden,
                cols: piece.units.clone(),
                join: !gru,
                room: room.as_mut_ptr(),
            });
        } else if gru {
            for row in piece.rows.clone() {
                self.each_gate(&self.zh, t, row, piece, |z| z.fill(0.0));
            }
        }
        let c_prev = if x.kind == Kind::Lstm { before(&self.c, self.c0) } else { ptr::null() };
        let (n, first) = (piece.units.len(), piece.units.start);
        let (bias, bias_h) = (pointer(self.bias, first), pointer(self.bias_h, first));
        for row in piece.rows.clone() {
            let at = row * hidden + first;
            let h_prev = h_prev.wrapping_add(at);
            let state = t * x.states() + at;
            // SAFETY: these units of this row and step are this piece's alone.
            let h = unsafe { self.h.piece(state..state + n) };
            if self.lengths.is_some_and(|lengths| t >= lengths[row]) {
                // SAFETY: the step before is done; it lies in h, h0 or the zeros, none of them this step's.
                h.copy_from_slice(unsafe { std::slice::from_raw_parts(h_prev, n) });
                if x.kind == Kind::Lstm {
                    // SAFETY: as of h.
                    let c = unsafe { self.c.piece(state..state + n) };
                    // SAFETY: as above.
                    c.copy_from_slice(unsafe { std::slice::from_raw_parts(c_prev.wrapping_add(at), n) });
                }
                self.each_gate(&self.z, t, row, piece, |z| z.fill(0.0));
                if gru {
                    self.each_gate(&self.zh, t, row, piece, |z| z.fill(0.0));
                }
                continue;
            }
            let zat = t * x.step() + row * wide + first;
            let z = self.z.as_ptr().wrapping_add(zat);
            // The row's units lie in their tensors, whose lengths were checked, and are this piece's alone.
            match x.kind {
                Kind::Lstm => ctx.dispatch(&LstmForward {
                    n,
                    gate: hidden,
                    z,
                    bias,
                    c_prev: c_prev.wrapping_add(at),
                    c: self.c.as_ptr().wrapping_add(state),
                    h: h.as_mut_ptr(),
                }),
                Kind::Gru => ctx.dispatch(&GruForward {
                    n,
                    gate: hidden,
                    zx: z,
                    zh: self.zh.as_ptr().wrapping_add(zat),
                    bias_x: bias,
                    bias_h,
                    h_prev,
                    h: h.as_mut_ptr(),
                }),
                Kind::Rnn { act, act_param } => {
                    // SAFETY: as above.
                    let z = unsafe { self.z.piece(zat..zat + n) };
                    if let Some(bias) = self.bias {
                        z.iter_mut().zip(&bias[first..first + n]).for_each(|(z, b)| *z += b);
                    }
                    forward_piece(ctx, act, act_param, z, h);
                }
            }
        }
    }

    /// The piece's units of each gate of one row.
    fn each_gate(&self, z: &Shared<'_, f32>, t: usize, row: usize, piece: &Piece, f: impl Fn(&mut [f32])) {
        let x = &self.shape;
        for gate in 0..x.kind.gates() {
            let at = t * x.step() + row * x.wide() + gate * x.hidden + piece.units.start;
            // SAFETY: these units of this row and step are this piece's alone.
            f(unsafe { z.piece(at..at + piece.units.len()) });
        }
    }
}

fn pointer(slice: Option<&[f32]>, at: usize) -> *const f32 {
    slice.map_or(ptr::null(), |s| s[at..].as_ptr())
}
