//! The pass that writes the parameters: an update rule over parts of tensors.
//!
//! Gradients that are limited one by one, and factors beyond f32, go through a block of f32 that stays in the nearest cache, so
//! that a rule is compiled without them. Copies that are rounded by chance are made block by block too.

use super::coef::Coef;
use super::lists::{TensorList, TensorListMut};
use super::norm::clamp;
use super::plan::Piece;
use super::tensors::{Copies, Grads, Tensors};
use super::update::{Gradient, Norms, Part, Parts};
use crate::context::Context;
use crate::element::Storage;
use crate::elementwise::{Convert, Way};
use crate::simd::{Kernel, LANES, Simd};
use crate::stochastic::{DRAWN, Draw, Half, NarrowByChance};
use std::ops::Range;

/// What all chunks of a step share.
pub(super) struct Pass<'a> {
    pub ctx: &'a Context,
    pub tensors: &'a Tensors<'a, 'a>,
    pub update: &'a (dyn Fn(Parts<'_>) + Sync),
    /// Of the magnitude of a gradient, infinite if there is none.
    pub limit: f32,
    /// Whether an update can multiply gradients by all coefficients, and need do no more to them.
    pub plain: bool,
    /// As that of [`Part`].
    pub ahead: usize,
}

impl<'a> Pass<'a> {
    /// Makes `part` elements `range` of a tensor, with gradients g.
    #[inline]
    fn set(&self, part: &mut Part, tensor: usize, range: Range<usize>, at: usize, g: Gradient, coef: Coef) {
        let Tensors { params, states, .. } = self.tensors;
        let n = range.len();
        // SAFETY: pieces and their blocks are disjoint, and no list of params or states is read as a whole meanwhile.
        let w = unsafe { params.piece(tensor, range.clone()) }.as_mut_ptr();
        *part = Part { w, g, states: part.states, n, coef, at, ahead: self.ahead };
        for (state, (_, list)) in part.states.iter_mut().zip(*states) {
            // SAFETY: as above.
            *state = unsafe { list.piece(tensor, range.clone()) }.as_mut_ptr();
        }
    }

    /// Gradients `range` of a tensor as they are, and, if `copied`, where the copy of the new parameters goes.
    #[inline]
    fn gradient(&self, tensor: usize, range: Range<usize>, copied: bool) -> Gradient {
        let Tensors { grads, copies, .. } = self.tensors;
        match (grads, copies.as_ref().filter(|_| copied)) {
            (Grads::F32(list), _) => Gradient::F32(list.tensor(tensor)[range].as_ptr()),
            (Grads::Bf16(list), Some(Copies::Bf16(to))) => {
                // SAFETY: pieces and their blocks are disjoint, and copies are never read.
                let copy = unsafe { to.piece(tensor, range.clone()) }.as_mut_ptr();
                Gradient::Bf16(list.tensor(tensor)[range].as_ptr(), copy)
            }
            (Grads::F16(list), Some(Copies::F16(to))) => {
                // SAFETY: pieces and their blocks are disjoint, and copies are never read.
                let copy = unsafe { to.piece(tensor, range.clone()) }.as_mut_ptr();
                Gradient::F16(list.tensor(tensor)[range].as_ptr(), copy)
            }
            (Grads::Bf16(list), _) => Gradient::Bf16(list.tensor(tensor)[range].as_ptr(), std::ptr::null_mut()),
            (Grads::F16(list), _) => Gradient::F16(list.tensor(tensor)[range].as_ptr(), std::ptr::null_mut()),
        }
    }

    /// Updates the pieces of a chunk, whose first element is `start` in the whole list.
    pub(super) fn chunk(
        &self,
        start: usize,
        mut pieces: impl Iterator<Item = (Piece, Coef)>,
        mut norms: Option<&mut Norms>,
    ) {
        let Tensors { grads, copies, dice, .. } = self.tensors;
        if self.plain && (copies.is_none() || dice.is_none()) {
            let mut next = |part: &mut Part| {
                let Some((p, coef)) = pieces.next() else { return false };
                let g = self.gradient(p.tensor, p.range.clone(), true);
                self.set(part, p.tensor, p.range, p.at, g, coef);
                true
            };
            let halves = !matches!(grads, Grads::F32(_));
            return (self.update)(Parts { next: &mut next, norms, halves });
        }
        let mut task = Task::new(self, start);
        pieces.for_each(|(p, coef)| task.piece(&p, coef, norms.as_deref_mut()));
    }

    /// Updates elements `range` of a tensor by gradients g.
    fn block(&self, tensor: usize, range: Range<usize>, at: usize, g: Gradient, coef: Coef, norms: Option<&mut Norms>) {
        let halves = !matches!(g, Gradient::F32(_));
        let mut left = true;
        let mut next = |part: &mut Part| {
            let first = std::mem::take(&mut left);
            if first {
                self.set(part, tensor, range.clone(), at, g, coef);
            }
            first
        };
        (self.update)(Parts { next: &mut next, norms, halves });
    }
}

/// Elements that go through f32 at once. Blocks begin at multiples of it in a chunk, as random bits are drawn.
const BLOCK: usize = DRAWN;

/// A chunk under way whose gradients go through blocks.
struct Task<'a> {
    pass: &'a Pass<'a>,
    /// Its first element in the whole list.
    start: usize,
    blocks: Option<Blocks>,
}

struct Blocks {
    wide: [f32; BLOCK],
    /// The place in the whole list of the elements whose random bits are in `bits`.
    drawn: Option<usize>,
    bits: [u16; DRAWN],
}

/// What happens to a block of new parameters: the elements of the tensor, and where they start in the list.
type After<'a> = &'a mut dyn FnMut(&mut Blocks, Range<usize>, usize);

impl<'a> Task<'a> {
    fn new(pass: &'a Pass<'a>, start: usize) -> Task<'a> {
        Task { pass, start, blocks: None }
    }

    /// Updates a piece.
    fn piece(&mut self, p: &Piece, coef: Coef, norms: Option<&mut Norms>) {
        let Tensors { grads, copies, .. } = self.pass.tensors;
        match (grads, copies) {
            (Grads::F32(list), _) => self.through_blocks(p, *list, coef, norms, &mut |_, _, _| ()),
            (Grads::Bf16(list), Some(Copies::Bf16(to))) => {
                let copy = &mut |blocks: &mut Blocks, range: Range<usize>, place| {
                    blocks.copy(self.pass, to, p.tensor, range, place);
                };
                self.through_blocks(p, *list, coef, norms, copy);
            }
            (Grads::F16(list), Some(Copies::F16(to))) => {
                let copy = &mut |blocks: &mut Blocks, range: Range<usize>, place| {
                    blocks.copy(self.pass, to, p.tensor, range, place);
                };
                self.through_blocks(p, *list, coef, norms, copy);
            }
            (Grads::Bf16(list), _) => self.through_blocks(p, *list, coef, norms, &mut |_, _, _| ()),
            (Grads::F16(list), _) => self.through_blocks(p, *list, coef, norms, &mut |_, _, _| ()),
        }
    }

    /// Updates a piece block by block, each followed by `after` with its range in the tensor and its place in the whole list.
    fn through_blocks<T: Storage>(
        &mut self,
        p: &Piece,
        list: TensorList<'_, T>,
        coef: Coef,
        mut norms: Option<&mut Norms>,
        after: After<'_>,
    ) {
        let blocks = self.blocks.get_or_insert(Blocks { wide: [0.0; BLOCK], drawn: None, bits: [0; DRAWN] });
        let x = list.tensor(p.tensor);
        let limit = self.pass.limit;
        let (mut start, mut at) = (p.range.start, p.at);
        while start < p.range.end {
            let n = (p.range.end - start).min(BLOCK - at % BLOCK);
            let range = start..start + n;
            let (g, left) = if self.pass.plain {
                (self.pass.gradient(p.tensor, range.clone(), false), coef)
            } else {
                let y = &mut blocks.wide[..n];
                self.pass.ctx.dispatch(Take { x: &x[range.clone()], coef, limit, y });
                (Gradient::F32(y.as_ptr()), Coef::ONE)
            };
            self.pass.block(p.tensor, range.clone(), at, g, left, norms.as_deref_mut());
            after(blocks, range, self.start + at);
            (start, at) = (start + n, at + n);
        }
    }
}

impl Blocks {
    /// Writes the copy of new parameters, which begin at `place` of the whole list and lie within one block.
    fn copy<T: Half>(
        &mut self,
        pass: &Pass<'_>,
        to: &TensorListMut<'_, T>,
        tensor: usize,
        range: Range<usize>,
        place: usize,
    ) {
        // SAFETY: pieces and their blocks are disjoint, copies are never read, and the update of this block is over.
        let (w, y) = unsafe { (&*pass.tensors.params.piece(tensor, range.clone()), to.piece(tensor, range)) };
        let Some(dice) = pass.tensors.dice else {
            // Not past the caches: a block's ends share their lines with the blocks beside it.
            return pass.ctx.dispatch(Convert { x: w, y, way: Way::NEAR });
        };
        let first = place % DRAWN;
        let position = place - first;
        if self.drawn != Some(position) {
            pass.ctx.dispatch(Draw { dice, position, bits: &mut self.bits, ahead: &[] });
            self.drawn = Some(position);
        }
        pass.ctx.dispatch(NarrowByChance { x: w, bits: &self.bits[first..first + w.len()], y });
    }
}

/// y = x in f32, unscaled, clipped and limited, which no update can do by a coefficient beyond f32 or to single gradients.
struct Take<'a, T> {
    x: &'a [T],
    coef: Coef,
    limit: f32,
    y: &'a mut [f32],
}

impl<T: Storage> Kernel for Take<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.y.len();
        assert_eq!(self.x.len(), n);
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr());
        let mut i = 0;
        // SAFETY: vectors of 16, or of the n - i that remain, are in bounds of both (asserted).
        unsafe {
            while i < n {
                let v = self.coef.of_any(s, T::load_up_to(s, x.add(i), n - i));
                s.store_up_to(y.add(i), clamp(s, v, self.limit), n - i);
                i += LANES;
            }
        }
    }
}
