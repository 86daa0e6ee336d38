//! The tensors of one step, whatever the gradients are stored as.

use super::coef::Coef;
use super::lanes::Lanes;
use super::lists::{TensorList, TensorListMut, check_same};
use super::norm::{SumSquares, count_nonfinite, sum_squares};
use super::plan::{Piece, Plan};
use crate::context::Context;
use crate::element::{bf16, f16};
use crate::error::Result;
use crate::simd::LANES;
use crate::stochastic::Dice;

/// Gradients in any storage.
#[derive(Clone, Copy)]
pub(crate) enum Grads<'a> {
    F32(TensorList<'a>),
    Bf16(TensorList<'a, bf16>),
    F16(TensorList<'a, f16>),
}

/// Copies of the parameters in half the width, written with them.
pub(crate) enum Copies<'a> {
    Bf16(TensorListMut<'a, bf16>),
    F16(TensorListMut<'a, f16>),
}

macro_rules! from_lists {
    ($($type:ty, $variant:ident;)*) => {$(
        impl<'a> From<TensorList<'a, $type>> for Grads<'a> {
            fn from(list: TensorList<'a, $type>) -> Self {
                Grads::$variant(list)
            }
        }
    )*};
}
from_lists! { f32, F32; bf16, Bf16; f16, F16; }

impl<'a> From<TensorListMut<'a, bf16>> for Copies<'a> {
    fn from(list: TensorListMut<'a, bf16>) -> Self {
        Copies::Bf16(list)
    }
}

impl<'a> From<TensorListMut<'a, f16>> for Copies<'a> {
    fn from(list: TensorListMut<'a, f16>) -> Self {
        Copies::F16(list)
    }
}

/// The same expression for the list of any storage.
macro_rules! any {
    ($grads:expr, $list:ident => $body:expr) => {
        match $grads {
            Grads::F32($list) => $body,
            Grads::Bf16($list) => $body,
            Grads::F16($list) => $body,
        }
    };
}

impl Grads<'_> {
    /// As [`sum_squares`].
    pub(super) fn sum_squares(&self, ctx: &Context, plan: &Plan<'_>, sums: &mut [f64], parts: Option<&mut [f64]>) {
        any!(*self, list => sum_squares(ctx, plan, list, sums, parts))
    }

    /// Adds the squares of a piece.
    pub(super) fn add_squares(&self, ctx: &Context, p: &Piece, lanes: &mut Lanes<LANES>) {
        any!(*self, list => {
            let x = &list.tensor(p.tensor)[p.range.clone()];
            ctx.dispatch(SumSquares { pieces: &mut std::iter::once((x, p.at)), lanes });
        })
    }

    /// As [`count_nonfinite`].
    pub(super) fn count_nonfinite(
        &self,
        ctx: &Context,
        plan: &Plan<'_>,
        coef: Coef,
        counts: &mut [f64],
    ) -> (u64, Option<(usize, usize)>) {
        any!(*self, list => count_nonfinite(ctx, plan, list, coef, counts))
    }
}

/// The tensors of one step.
pub(super) struct Tensors<'a, 'b> {
    pub params: TensorListMut<'a>,
    pub grads: Grads<'a>,
    pub states: &'b [(&'static str, TensorListMut<'a>)],
    pub copies: Option<Copies<'a>>,
    /// How the copies are rounded: by chance, or to nearest even.
    pub dice: Option<Dice>,
}

impl Tensors<'_, '_> {
    /// All lists hold tensors of the same sizes.
    pub(super) fn check(&self, function: &'static str) -> Result {
        let params = self.params.as_list();
        any!(self.grads, list => check_same(function, "grads", list, "params", params))?;
        for (name, state) in self.states {
            check_same(function, name, state.as_list(), "params", params)?;
        }
        match &self.copies {
            None => Ok(()),
            Some(Copies::Bf16(list)) => check_same(function, "params_bf16", list.as_list(), "params", params),
            Some(Copies::F16(list)) => check_same(function, "params_f16", list.as_list(), "params", params),
        }
    }
}
