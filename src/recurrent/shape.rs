//! What the three recurrences share: their dimensions, the checks of their arguments, and how rows and units are cut.

use super::together::MOST;
use crate::activation::Activation;
use crate::context::Context;
use crate::error::{Error, Result, check_len, product};
use crate::matmul::Panels;
use crate::parallel::Work;
use std::ops::Range;

/// Which recurrence.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Rnn { act: Activation, act_param: f32 },
    Lstm,
    Gru,
}

impl Kind {
    pub(super) fn gates(self) -> usize {
        match self {
            Kind::Rnn { .. } => 1,
            Kind::Lstm => 4,
            Kind::Gru => 3,
        }
    }

    /// Nanoseconds of a unit's gates, forward and backward.
    pub(super) fn ns(self) -> f64 {
        match self {
            Kind::Rnn { .. } => 0.5,
            Kind::Lstm => 3.0,
            Kind::Gru => 2.5,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub kind: Kind,
    pub seq: usize,
    pub batch: usize,
    pub input: usize,
    pub hidden: usize,
}

impl Shape {
    /// Elements of a row of pre-activations.
    pub(super) fn wide(&self) -> usize {
        self.kind.gates() * self.hidden
    }

    /// Elements of one step's states.
    pub(super) fn states(&self) -> usize {
        self.batch * self.hidden
    }

    /// Elements of one step's pre-activations.
    pub(super) fn step(&self) -> usize {
        self.batch * self.wide()
    }

    /// Rows over all steps.
    pub(super) fn rows(&self) -> usize {
        self.seq * self.batch
    }

    /// Checks that all products of the dimensions fit.
    pub(super) fn check(&self, f: &'static str) -> Result {
        let gates = self.kind.gates();
        product(f, "z", &[self.seq, self.batch, gates, self.hidden])?;
        product(f, "x", &[self.seq, self.batch, self.input])?;
        product(f, "w_hh", &[gates, self.hidden, self.hidden])?;
        product(f, "w_ih", &[gates, self.hidden, self.input])?;
        product(f, "h0", &[self.batch, self.hidden])?;
        // The workspace is a few times as large at most.
        let _ = product(f, "the workspace", &[self.seq, self.batch, 8, gates.max(2) * self.hidden + self.input])?;
        if let Kind::Rnn { act, act_param } = self.kind {
            act.check(f, act_param)?;
        }
        Ok(())
    }

    /// Checks what forward and backward passes read alike.
    pub(super) fn check_inputs(
        &self,
        f: &'static str,
        x: &[f32],
        lengths: Option<&[usize]>,
        w_ih: &[f32],
        w_hh: &[f32],
    ) -> Result {
        check_len(f, "x", x, self.rows() * self.input)?;
        self.check_lengths(f, lengths)?;
        check_len(f, "w_ih", w_ih, self.wide() * self.input)?;
        check_len(f, "w_hh", w_hh, self.wide() * self.hidden)
    }

    fn check_lengths(&self, f: &'static str, lengths: Option<&[usize]>) -> Result {
        let Some(lengths) = lengths else { return Ok(()) };
        check_len(f, "lengths", lengths, self.batch)?;
        match lengths.iter().position(|&n| n > self.seq) {
            None => Ok(()),
            Some(i) => {
                let detail = format!("lengths[{i}] is {}, but seq is {}", lengths[i], self.seq);
                Err(Error::invalid_argument(f, detail))
            }
        }
    }
}

/// Checks the length of what may be missing.
pub(super) fn check_option<T>(f: &'static str, name: &str, slice: Option<&[T]>, expected: usize) -> Result {
    slice.map_or(Ok(()), |slice| check_len(f, name, slice, expected))
}

/// Some rows and some hidden units, which go through time together.
#[derive(Clone)]
pub(super) struct Piece {
    pub index: usize,
    pub rows: Range<usize>,
    pub units: Range<usize>,
}

/// How the work of every step is cut. Nobody's bits depend on it.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub workers: usize,
    pub pieces: usize,
    rows: usize,
    units: usize,
    /// The units are cut: all pieces have all rows, and wait for each other in every step.
    pub together: bool,
}

/// Rows at most that go through time together: their states and a block of k stay in the nearer caches.
const ROWS: usize = 84;

/// Rows for each worker below which the units are cut instead: fewer would read all of the weights for too little.
const FEW: usize = 8;

/// Operations of a piece in a step below which waiting for others costs too much.
const STEP: f64 = 120e3;

impl Cut {
    pub(super) fn new(ctx: &Context, x: &Shape) -> Cut {
        let flops = 2.0 * x.hidden as f64 * x.wide() as f64 * x.rows() as f64;
        let gates = Work::elements(x.rows() * x.hidden, x.kind.ns());
        let workers = ctx.workers(Work::flops(flops).and(gates), usize::MAX);
        let each = (flops / x.seq.max(1) as f64 / STEP) as usize;
        if workers > 1 && x.batch < FEW * workers && each > 1 {
            let width = Panels::width(ctx.isa());
            let units = x.hidden.div_ceil(workers.min(each).min(MOST)).next_multiple_of(width);
            let pieces = x.hidden.div_ceil(units);
            if pieces > 1 {
                return Cut { workers: pieces, pieces, rows: x.batch, units, together: true };
            }
        }
        let rows = x.batch.div_ceil(workers.max(x.batch.div_ceil(ROWS))).max(1);
        Cut { workers, pieces: x.batch.div_ceil(rows), rows, units: x.hidden, together: false }
    }

    /// Elements of workspace that the rows of a piece take in products.
    pub(super) fn room(&self) -> usize {
        Panels::room(self.rows)
    }

    pub(super) fn piece(&self, x: &Shape, index: usize) -> Piece {
        if self.together {
            let start = index * self.units;
            return Piece { index, rows: 0..x.batch, units: start..x.hidden.min(start + self.units) };
        }
        let start = index * self.rows;
        Piece { index, rows: start..x.batch.min(start + self.rows), units: 0..x.hidden }
    }
}
