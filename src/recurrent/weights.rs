//! The products over all steps at once, when every dz is known: the gradients of inputs, weights and biases.
//!
//! Rows past their length are no part of any sum: where there are such, the others are moved together first.

use super::shape::{Kind, Shape, check_option};
use crate::context::Context;
use crate::error::{Result, check_len};
use crate::linear::{BIAS_BLOCK, column_sums};
use crate::matmul::{Args, Numbers, Transpose, ascending_scratch, multiply_ascending};

/// Where gradients go.
pub(super) struct Gradients<'a> {
    pub accumulate: bool,
    pub dx: Option<&'a mut [f32]>,
    pub dw_ih: &'a mut [f32],
    pub dw_hh: &'a mut [f32],
    pub dbias: Option<&'a mut [f32]>,
    /// GRU's second.
    pub dbias_h: Option<&'a mut [f32]>,
}

impl Gradients<'_> {
    pub(super) fn check(&self, f: &'static str, x: &Shape) -> Result {
        let [first, second] = if x.kind == Kind::Gru { ["dbias_ih", "dbias_hh"] } else { ["dbias", ""] };
        check_option(f, "dx", self.dx.as_deref(), x.rows() * x.input)?;
        check_len(f, "dw_ih", self.dw_ih, x.wide() * x.input)?;
        check_len(f, "dw_hh", self.dw_hh, x.wide() * x.hidden)?;
        check_option(f, first, self.dbias.as_deref(), x.wide())?;
        check_option(f, second, self.dbias_h.as_deref(), x.wide())
    }
}

pub(super) struct Products<'a> {
    pub function: &'static str,
    pub shape: Shape,
    pub x: &'a [f32],
    /// Where some row is shorter than the sequence.
    pub lengths: Option<&'a [usize]>,
    pub w_ih: &'a [f32],
    pub h0: Option<&'a [f32]>,
    pub h: &'a [f32],
}

impl Products<'_> {
    /// Elements of the rows that are moved together.
    pub(super) fn rows_len(&self) -> usize {
        if self.lengths.is_some() { self.shape.rows() * (self.shape.input + self.shape.hidden) } else { 0 }
    }

    /// Elements of the partial sums of a bias.
    pub(super) fn sums_len(&self, to: &Gradients<'_>) -> usize {
        let any = to.dbias.is_some() || to.dbias_h.is_some();
        if any { self.shape.rows().div_ceil(BIAS_BLOCK) * self.shape.wide() } else { 0 }
    }

    /// dzᵀ·rows, of the last `k` rows of both.
    fn weight<'a>(&self, dz: &'a [f32], rows: &'a [f32], width: usize, k: usize, beta: f32) -> Args<'a, f32> {
        let wide = self.shape.wide();
        Args {
            function: self.function,
            trans_a: Transpose::Yes,
            trans_b: Transpose::No,
            m: wide,
            n: width,
            k,
            alpha: 1.0,
            a: Numbers::Direct(dz),
            lda: wide,
            b: Numbers::Direct(rows),
            ldb: width,
            beta,
            ldc: width,
            epilogue: None,
        }
    }

    fn input<'a>(&'a self, dz: &'a [f32]) -> Args<'a, f32> {
        let x = &self.shape;
        Args {
            function: self.function,
            trans_a: Transpose::No,
            trans_b: Transpose::No,
            m: x.rows(),
            n: x.input,
            k: x.wide(),
            alpha: 1.0,
            a: Numbers::Direct(dz),
            lda: x.wide(),
            b: Numbers::Direct(self.w_ih),
            ldb: x.input,
            beta: 0.0,
            ldc: x.input,
            epilogue: None,
        }
    }

    /// Elements of workspace that the products take at most.
    pub(super) fn workspace(&self, ctx: &Context, dz: &[f32], to: &Gradients<'_>) -> usize {
        let x = &self.shape;
        let (first, later) = self.counts();
        let mut most = ascending_scratch(ctx, &self.weight(dz, self.x, x.input, first + later, 0.0));
        most = most.max(ascending_scratch(ctx, &self.weight(dz, self.h, x.hidden, later, 0.0)));
        if let Some(h0) = self.h0 {
            most = most.max(ascending_scratch(ctx, &self.weight(dz, h0, x.hidden, first, 0.0)));
        }
        if to.dx.is_some() {
            most = most.max(ascending_scratch(ctx, &self.input(dz)));
        }
        most
    }

    /// Rows that take part in the first step, and in all others.
    fn counts(&self) -> (usize, usize) {
        let x = &self.shape;
        match self.lengths {
            _ if x.seq == 0 => (0, 0),
            None => (x.batch, (x.seq - 1) * x.batch),
            Some(lengths) => lengths.iter().fold((0, 0), |(a, b), &n| (a + n.min(1), b + n.saturating_sub(1))),
        }
    }

    /// `dz` and, of GRU, `dzh` are used up.
    ///
    /// # Errors
    /// `OutOfMemory`, if [`Products::workspace`] was not there.
    pub(super) fn run(
        &self,
        ctx: &Context,
        dz: &mut [f32],
        dzh: &mut [f32],
        to: Gradients<'_>,
        copies: &mut [f32],
        sums: &mut [f32],
    ) -> Result {
        let x = &self.shape;
        let (wide, gru) = (x.wide(), x.kind == Kind::Gru);
        if let Some(dx) = to.dx {
            multiply_ascending(ctx, &self.input(dz), dx)?;
        }
        let (first, later) = self.counts();
        let all = first + later;
        let (mut inputs, mut states, mut before) = (self.x, self.h, self.h0);
        if let Some(lengths) = self.lengths {
            let (x_rows, h_rows) = copies.split_at_mut(x.rows() * x.input);
            let (h0_rows, h_rows) = h_rows.split_at_mut(first * x.hidden);
            let mut at = 0;
            for t in 0..x.seq {
                for row in (0..x.batch).filter(|&row| t < lengths[row]) {
                    let from = t * x.batch + row;
                    let copy = |src: &[f32], n: usize, from: usize, dst: &mut [f32], at: usize| {
                        dst[at * n..(at + 1) * n].copy_from_slice(&src[from * n..(from + 1) * n]);
                    };
                    dz.copy_within(from * wide..(from + 1) * wide, at * wide);
                    if gru {
                        dzh.copy_within(from * wide..(from + 1) * wide, at * wide);
                    }
                    copy(self.x, x.input, from, x_rows, at);
                    match (t, self.h0) {
                        (0, Some(h0)) => copy(h0, x.hidden, row, h0_rows, at),
                        (0, None) => {}
                        _ => copy(self.h, x.hidden, from - x.batch, h_rows, at - first),
                    }
                    at += 1;
                }
            }
            (inputs, states, before) = (x_rows, h_rows, self.h0.map(|_| &*h0_rows));
        }
        let beta = if to.accumulate { 1.0 } else { 0.0 };
        multiply_ascending(ctx, &self.weight(dz, inputs, x.input, all, beta), to.dw_ih)?;
        let dzh = if gru { dzh } else { &mut *dz };
        let mut join = beta;
        if let Some(before) = before {
            multiply_ascending(ctx, &self.weight(dzh, before, x.hidden, first, join), to.dw_hh)?;
            join = 1.0;
        }
        let rows = &dzh[first * wide..];
        multiply_ascending(ctx, &self.weight(rows, states, x.hidden, later, join), to.dw_hh)?;
        if let Some(dbias_h) = to.dbias_h {
            column_sums(ctx, all, wide, dzh, to.accumulate, dbias_h, blocks(sums, all, wide));
        }
        if let Some(dbias) = to.dbias {
            column_sums(ctx, all, wide, dz, to.accumulate, dbias, blocks(sums, all, wide));
        }
        Ok(())
    }
}

fn blocks(sums: &mut [f32], rows: usize, wide: usize) -> &mut [f32] {
    &mut sums[..rows.div_ceil(BIAS_BLOCK) * wide]
}
