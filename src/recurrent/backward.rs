//! Back through time.
//!
//! A piece takes each step in two stages. First, what the step after sent back: the product of its dz with the weights.
//! Then, knowing how large all of the row is, its exponent, the gates, and the dz of this step. dz waits for the
//! products over all steps at the end (`weights`), in the scale of the outputs.

use super::carry::{Largest, Shift, Squares, Total, joined_norm, next_exponent, powers, scaled};
use super::gates::{GruBackward, LstmBackward};
use super::shape::{Cut, Kind, Piece, Shape, check_option};
use super::together::together;
use super::weights::{Gradients, Products};
use crate::activation::backward_piece;
use crate::context::Context;
use crate::error::{Result, check_len};
use crate::matmul::{Multiply, Panels};
use crate::parallel::Shared;
use crate::scratch::Scratch;
use std::ops::Range;

/// The arguments.
pub(super) struct Backward<'a> {
    pub function: &'static str,
    pub shape: Shape,
    pub x: &'a [f32],
    pub lengths: Option<&'a [usize]>,
    pub w_ih: &'a [f32],
    pub w_hh: &'a [f32],
    pub h0: Option<&'a [f32]>,
    pub c0: Option<&'a [f32]>,
    pub h: &'a [f32],
    /// LSTM's; else empty.
    pub c: &'a [f32],
    pub z: &'a [f32],
    /// GRU's second; else empty.
    pub zh: &'a [f32],
    pub dh: Option<&'a [f32]>,
    pub dh_last: Option<&'a [f32]>,
    pub dc_last: Option<&'a [f32]>,
    pub gradients: Gradients<'a>,
    pub dh0: Option<&'a mut [f32]>,
    pub dc0: Option<&'a mut [f32]>,
    pub step_norms: Option<&'a mut [f64]>,
}

impl Backward<'_> {
    /// Checks the arguments, by the names that each recurrence has for them.
    fn check(&self) -> Result {
        let (f, x) = (self.function, &self.shape);
        let (gru, lstm) = (x.kind == Kind::Gru, x.kind == Kind::Lstm);
        x.check(f)?;
        let (states, all) = (x.states(), x.seq * x.states());
        x.check_inputs(f, self.x, self.lengths, self.w_ih, self.w_hh)?;
        check_option(f, "h0", self.h0, states)?;
        check_option(f, "c0", self.c0, states)?;
        check_len(f, "h", self.h, all)?;
        check_len(f, "c", self.c, if lstm { all } else { 0 })?;
        check_len(f, if gru { "zx" } else { "z" }, self.z, x.seq * x.step())?;
        check_len(f, "zh", self.zh, if gru { x.seq * x.step() } else { 0 })?;
        check_option(f, "dh", self.dh, all)?;
        check_option(f, "dh_last", self.dh_last, states)?;
        check_option(f, "dc_last", self.dc_last, states)?;
        self.gradients.check(f, x)?;
        check_option(f, "dh0", self.dh0.as_deref(), states)?;
        check_option(f, "dc0", self.dc0.as_deref(), states)?;
        check_option(f, "step_norms", self.step_norms.as_deref(), x.seq)
    }

    /// # Errors
    /// As the functions say, before anything is written.
    pub(super) fn run(self, ctx: &Context) -> Result {
        self.check()?;
        let x = self.shape;
        let (hidden, gru, lstm) = (x.hidden, x.kind == Kind::Gru, x.kind == Kind::Lstm);
        let cut = Cut::new(ctx, &x);
        let dz_len = x.seq * x.step();
        let products = Products {
            function: self.function,
            shape: x,
            x: self.x,
            lengths: self.lengths.filter(|lengths| lengths.iter().any(|&n| n < x.seq)),
            w_ih: self.w_ih,
            h0: self.h0,
            h: self.h,
        };

        // All workspace at first: what the products at the end will want is taken, and given back for them to find.
        let packed_len = Panels::len(ctx.isa(), 1, hidden, x.wide());
        let (room, line) = (cut.room(), hidden.next_multiple_of(16));
        let private = room + line;
        let lens = [
            packed_len,
            dz_len,
            if gru { dz_len } else { 0 },
            x.states(),
            x.states(),
            if lstm { x.states() } else { 0 },
            x.states(),
            3 * x.batch * cut.pieces,
            cut.workers * private,
            products.rows_len(),
            products.sums_len(&self.gradients),
        ];
        let mut scratch = Scratch::take::<f32>(self.function, lens.iter().sum())?;
        let [packed, dz, dzh, carry, rest, carry_c, zeros, marks, privates, copies, sums] =
            split(scratch.slice(lens.iter().sum()), lens);
        let norms_len = if self.step_norms.is_some() { x.rows() } else { 0 };
        let mut norms = Scratch::take::<f64>(self.function, norms_len)?;
        let norms = norms.slice(norms_len);
        drop(Scratch::take::<f32>(self.function, products.workspace(ctx, dz, &self.gradients))?);

        zeros.fill(0.0);
        let back = Steps {
            shape: x,
            lengths: self.lengths,
            weights: Panels::pack(ctx, 1, hidden, x.wide(), self.w_hh, hidden, 1, packed),
            zeros,
            h0: self.h0,
            c0: self.c0,
            h: self.h,
            c: self.c,
            z: self.z,
            zh: self.zh,
            dh: self.dh,
            dh_last: self.dh_last,
            dc_last: self.dc_last,
            joins: gru || self.lengths.is_some(),
            wants_first: self.dh0.is_some(),
            wants_norms: norms_len > 0,
            pieces: cut.pieces,
            dz: Shared::new(dz),
            dzh: Shared::new(dzh),
            carry: Shared::new(carry),
            rest: Shared::new(rest),
            carry_c: Shared::new(carry_c),
            marks: Shared::new(marks),
            norms: Shared::new(norms),
            dh0: self.dh0.map(Shared::new),
            dc0: self.dc0.map(Shared::new),
        };
        let privates = Shared::new(privates);
        if hidden > 0 {
            let stages = 2 * (x.seq + 1);
            let stage = |worker: usize, stage: usize, piece: usize| {
                // SAFETY: a worker's number is its own.
                let private = unsafe { privates.piece(worker * private..(worker + 1) * private) };
                let (room, line) = private.split_at_mut(room);
                let piece = cut.piece(&x, piece);
                match ((stages - 1 - stage) / 2, stage % 2) {
                    (0, 0) => back.arrive_first(ctx, &piece, room),
                    (0, _) => back.finish(ctx, &piece),
                    (after, 0) => back.arrive(ctx, after - 1, &piece, room),
                    (after, _) => back.leave(ctx, after - 1, &piece, line),
                }
            };
            if cut.together {
                together(ctx, cut.pieces, stages, stage);
            } else {
                ctx.for_each_worker(cut.workers, cut.pieces, |worker, piece| {
                    (0..stages).for_each(|s| stage(worker, s, piece));
                });
            }
        }
        products.run(ctx, dz, dzh, self.gradients, copies, sums)?;
        if let Some(step_norms) = self.step_norms {
            for (t, norm) in step_norms.iter_mut().enumerate() {
                *norm = joined_norm(&norms[t * x.batch..(t + 1) * x.batch]);
            }
        }
        Ok(())
    }
}

fn split<const N: usize>(mut slice: &mut [f32], lens: [usize; N]) -> [&mut [f32]; N] {
    lens.map(|len| {
        let (head, tail) = std::mem::take(&mut slice).split_at_mut(len);
        slice = tail;
        head
    })
}

struct Steps<'a> {
    shape: Shape,
    lengths: Option<&'a [usize]>,
    weights: Panels<'a>,
    zeros: &'a [f32],
    h0: Option<&'a [f32]>,
    c0: Option<&'a [f32]>,
    h: &'a [f32],
    c: &'a [f32],
    z: &'a [f32],
    zh: &'a [f32],
    dh: Option<&'a [f32]>,
    dh_last: Option<&'a [f32]>,
    dc_last: Option<&'a [f32]>,
    /// The product joins what is in `rest`, else it is all that arrives.
    joins: bool,
    wants_first: bool,
    wants_norms: bool,
    pieces: usize,
    /// In the scale of their row's exponent until the product was taken, then in that of the outputs.
    dz: Shared<'a, f32>,
    dzh: Shared<'a, f32>,
    /// What arrives at the states of a step.
    carry: Shared<'a, f32>,
    rest: Shared<'a, f32>,
    carry_c: Shared<'a, f32>,
    /// For each piece and row: its exponent; then the largest that arrived, and the largest upstream.
    marks: Shared<'a, f32>,
    /// [seq, batch].
    norms: Shared<'a, f64>,
    dh0: Option<Shared<'a, f32>>,
    dc0: Option<Shared<'a, f32>>,
}

impl Steps<'_> {
    fn units(&self, row: usize, piece: &Piece) -> Range<usize> {
        let at = row * self.shape.hidden;
        at + piece.units.start..at + piece.units.end
    }

    /// A row's exponent as a piece knows it, which is as all others know it.
    #[allow(clippy::mut_from_ref)]
    fn exponent(&self, row: usize, piece: &Piece) -> &mut f32 {
        let at = piece.index * self.shape.batch + row;
        // SAFETY: each piece has its own, and this is its thread.
        unsafe { &mut self.marks.piece(at..at + 1)[0] }
    }

    /// Where piece `index` says how large its part of a row is.
    fn mark(&self, row: usize, index: usize) -> *mut f32 {
        let at = self.pieces * self.shape.batch + 2 * (row * self.pieces + index);
        self.marks.as_ptr().wrapping_add(at)
    }

    /// What arrives at the last step.
    fn start(&self, piece: &Piece) {
        for row in piece.rows.clone() {
            *self.exponent(row, piece) = 0.0;
            let units = self.units(row, piece);
            // SAFETY: these units of this row are this piece's alone.
            let carry = unsafe { self.carry.piece(units.clone()) };
            match self.dh_last {
                Some(last) => carry.copy_from_slice(&last[units.clone()]),
                None => carry.fill(0.0),
            }
            if self.shape.kind == Kind::Lstm {
                // SAFETY: as above.
                let carry = unsafe { self.carry_c.piece(units.clone()) };
                match self.dc_last {
                    Some(last) => carry.copy_from_slice(&last[units]),
                    None => carry.fill(0.0),
                }
            }
        }
    }

    /// What step `t` sent back.
    fn product(&self, ctx: &Context, t: usize, piece: &Piece, room: &mut [f32]) {
        let x = &self.shape;
        if self.joins {
            for row in piece.rows.clone() {
                let units = self.units(row, piece);
                // SAFETY: these units of this row are this piece's alone.
                unsafe { self.carry.piece(units.clone()).copy_from_slice(self.rest.piece(units)) };
            }
        }
        let dz = if x.kind == Kind::Gru { &self.dzh } else { &self.dz };
        let from = t * x.step() + piece.rows.start * x.wide();
        ctx.dispatch(&Multiply {
            b: &self.weights,
            a: dz.as_ptr().cast_const().wrapping_add(from),
            lda: x.wide(),
            rows: piece.rows.len(),
            c: self.carry.as_ptr().wrapping_add(piece.rows.start * x.hidden),
            ldc: x.hidden,
            group: 0,
            cols: piece.units.clone(),
            join: self.joins,
            room: room.as_mut_ptr(),
        });
    }

    /// First stage of step t: what step t + 1 sent back, and how large it is. Step t + 1 is done, for all units of these
    /// rows.
    fn arrive(&self, ctx: &Context, t: usize, piece: &Piece, room: &mut [f32]) {
        let x = &self.shape;
        if t + 1 < x.seq {
            self.product(ctx, t + 1, piece, room);
        } else {
            self.start(piece);
        }
        for row in piece.rows.clone() {
            let units = self.units(row, piece);
            // SAFETY: these units of this row are this piece's alone, for writing.
            let mut state = ctx.dispatch(Largest(unsafe { self.carry.piece(units.clone()) }));
            if x.kind == Kind::Lstm {
                // SAFETY: as above.
                state = state.max(ctx.dispatch(Largest(unsafe { self.carry_c.piece(units.clone()) })));
            }
            let from = t * x.states();
            let upstream = self.dh.map_or(0.0, |dh| ctx.dispatch(Largest(&dh[from + units.start..from + units.end])));
            // SAFETY: a piece has its own marks.
            unsafe {
                *self.mark(row, piece.index) = state;
                *self.mark(row, piece.index).add(1) = upstream;
            }
        }
    }

    /// The largest magnitudes of a row: what arrived, and upstream.
    fn largest(&self, row: usize, piece: &Piece) -> (f32, f32) {
        // A piece with all units is alone with its rows.
        let from = if piece.units.len() == self.shape.hidden { piece.index..piece.index + 1 } else { 0..self.pieces };
        from.fold((0.0f32, 0.0f32), |(state, upstream), index| {
            // SAFETY: written in the first stage of this step, which is done.
            let (a, b) = unsafe { (*self.mark(row, index), *self.mark(row, index).add(1)) };
            (state.max(a), upstream.max(b))
        })
    }

    /// Second stage of step t. The first one is done, for all units of these rows; `line` holds a row of units.
    fn leave(&self, ctx: &Context, t: usize, piece: &Piece, line: &mut [f32]) {
        let x = &self.shape;
        let whole = piece.units.len() == x.hidden;
        for row in piece.rows.clone() {
            let exponent = self.exponent(row, piece);
            let old = *exponent as i32;
            if t + 1 < x.seq {
                self.settle(ctx, t + 1, row, old, piece);
            }
            let (state, upstream) = self.largest(row, piece);
            let e = next_exponent(old, state, upstream);
            *exponent = e as f32;
            if e != old && x.kind == Kind::Lstm {
                // SAFETY: these units of this row are this piece's alone.
                ctx.dispatch(Shift(unsafe { self.carry_c.piece(self.units(row, piece)) }, powers(old - e)));
            }
            // One piece of them takes the norm, and therefore all of the row.
            let norm = self.wants_norms && (whole || row % self.pieces == piece.index);
            let range = if norm { 0..x.hidden } else { piece.units.clone() };
            let at = row * x.hidden;
            let (start, end) = (at + range.start, at + range.end);
            let total = &mut line[range];
            let from = t * x.states();
            ctx.dispatch(Total {
                // SAFETY: nobody writes what arrived before this stage is done.
                x: unsafe { std::slice::from_raw_parts(self.carry.as_ptr().wrapping_add(start), end - start) },
                a: powers(old - e),
                u: self.dh.map(|dh| &dh[from + start..from + end]),
                b: powers(-e),
                out: total,
            });
            if norm {
                let squares = ctx.dispatch(Squares(total));
                // SAFETY: one piece has this row's.
                unsafe { self.norms.piece(t * x.batch + row..t * x.batch + row + 1)[0] = scaled(squares.sqrt(), e) };
            }
            self.gates(ctx, t, row, piece, &mut line[piece.units.clone()]);
        }
    }

    /// From the gradient of these units' states, in `dh`, to that of their pre-activations.
    fn gates(&self, ctx: &Context, t: usize, row: usize, piece: &Piece, dh: &mut [f32]) {
        let x = &self.shape;
        let (hidden, wide) = (x.hidden, x.wide());
        let (n, first) = (piece.units.len(), piece.units.start);
        let units = self.units(row, piece);
        let zat = t * x.step() + row * wide + first;
        let before = |states: &[f32], from: Option<&[f32]>| match t {
            0 => from.unwrap_or(self.zeros)[units.clone()].as_ptr(),
            _ => states[(t - 1) * x.states()..][units.clone()].as_ptr(),
        };
        if self.lengths.is_some_and(|lengths| t >= lengths[row]) {
            // The states stayed as they were, so their gradient goes on as it is.
            // SAFETY: these units of this row are this piece's alone.
            unsafe { self.rest.piece(units) }.copy_from_slice(dh);
            self.each_gate(t, row, piece, |dz| dz.fill(0.0));
            return;
        }
        let dz = self.dz.as_ptr().wrapping_add(zat);
        // The row's units lie in their tensors, whose lengths were checked; outputs are this piece's alone.
        match x.kind {
            Kind::Lstm => {
                let dc = self.carry_c.as_ptr().wrapping_add(units.start);
                ctx.dispatch(&LstmBackward {
                    n,
                    gate: hidden,
                    z: self.z[zat..].as_ptr(),
                    c_prev: before(self.c, self.c0),
                    c: self.c[t * x.states()..][units.clone()].as_ptr(),
                    dh: dh.as_ptr(),
                    dc,
                    dz,
                    dc_prev: dc,
                });
            }
            Kind::Gru => {
                ctx.dispatch(&GruBackward {
                    n,
                    gate: hidden,
                    zx: self.z[zat..].as_ptr(),
                    zh: self.zh[zat..].as_ptr(),
                    h_prev: before(self.h, self.h0),
                    dh: dh.as_ptr(),
                    dzx: dz,
                    dzh: self.dzh.as_ptr().wrapping_add(zat),
                    rest: self.rest.as_ptr().wrapping_add(units.start),
                });
                return;
            }
            Kind::Rnn { act, act_param } => {
                // SAFETY: these units of this row and step are this piece's alone.
                let dz = unsafe { self.dz.piece(zat..zat + n) };
                backward_piece(ctx, act, act_param, &self.z[zat..zat + n], dh, dz);
            }
        }
        if self.joins {
            // SAFETY: these units of this row are this piece's alone.
            unsafe { self.rest.piece(units) }.fill(0.0);
        }
    }

    /// The piece's units of each gate of one row's dz.
    fn each_gate(&self, t: usize, row: usize, piece: &Piece, f: impl Fn(&mut [f32])) {
        let x = &self.shape;
        for gate in 0..x.kind.gates() {
            let at = t * x.step() + row * x.wide() + gate * x.hidden + piece.units.start;
            // SAFETY: these units of this row and step are this piece's alone.
            f(unsafe { self.dz.piece(at..at + piece.units.len()) });
            if x.kind == Kind::Gru {
                // SAFETY: as above.
                f(unsafe { self.dzh.piece(at..at + piece.units.len()) });
            }
        }
    }

    /// Brings the dz of a row and step, whose product was taken, to the scale of the outputs.
    fn settle(&self, ctx: &Context, t: usize, row: usize, e: i32, piece: &Piece) {
        if e != 0 {
            self.each_gate(t, row, piece, |dz| ctx.dispatch(Shift(dz, powers(e))));
        }
    }

    /// What step 0 sent back, to the states before it. Step 0 is done, for all units of these rows.
    fn arrive_first(&self, ctx: &Context, piece: &Piece, room: &mut [f32]) {
        if self.shape.seq == 0 {
            self.start(piece);
        } else if self.wants_first {
            self.product(ctx, 0, piece, room);
        }
    }

    /// After all steps: the gradients of the first states, in the scale of the outputs.
    fn finish(&self, ctx: &Context, piece: &Piece) {
        for row in piece.rows.clone() {
            let (units, e) = (self.units(row, piece), *self.exponent(row, piece) as i32);
            if self.shape.seq > 0 {
                self.settle(ctx, 0, row, e, piece);
            }
            for (to, carry) in [(&self.dh0, &self.carry), (&self.dc0, &self.carry_c)] {
                if let Some(to) = to {
                    // SAFETY: these units of this row are this piece's alone.
                    let (to, carry) = unsafe { (to.piece(units.clone()), carry.piece(units.clone())) };
                    to.copy_from_slice(carry);
                    ctx.dispatch(Shift(to, powers(e)));
                }
            }
        }
    }
}
