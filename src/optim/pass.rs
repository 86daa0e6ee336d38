//! The pass that writes the parameters: an update rule over parts of tensors.
//!
//! Gradients in half the width, and factors beyond f32, go through a block of f32 that stays in the nearest cache, so that
//! a rule is compiled for f32 alone.

use super::coef::Coef;
use super::lanes::{FewSquares, Lanes};
use super::lists::{TensorList, TensorListMut};
use super::norm::clamp;
use super::plan::Piece;
use super::tensors::{Copies, Grads, Tensors};
use crate::context::Context;
use crate::element::Storage;
use crate::elementwise::Convert;
use crate::simd::{Kernel, LANES, Simd};
use crate::stochastic::{DRAWN, Draw, Half, NarrowByChance};
use std::ops::Range;

/// State tensors that a rule may have beside each parameter tensor.
pub(super) const MOST_STATES: usize = 3;

/// An update rule with `STATES` state tensors beside each parameter tensor.
pub(super) trait Rule<const STATES: usize>: Copy + Sync {
    /// Nanoseconds that one element takes.
    const NS: f64;
    /// The new parameters and states of 16 elements, from the old and the unscaled, clipped gradient. Implementations
    /// are `#[inline(always)]`.
    fn update<S: Simd>(self, s: S, w: S::F, g: S::F, states: [S::F; STATES]) -> (S::F, [S::F; STATES]);
}

/// Σ(w_new − w_old)² and Σw_new² of a chunk.
pub(super) struct Norms {
    pub update: Lanes<8>,
    pub params: Lanes<8>,
}

impl Norms {
    pub(super) fn new() -> Norms {
        Norms { update: Lanes::new(), params: Lanes::new() }
    }
}

/// Elements of one tensor that are updated at once.
pub(super) struct Part<'a> {
    w: &'a mut [f32],
    g: &'a [f32],
    /// As long as w, or empty where the rule has no such state.
    states: [&'a mut [f32]; MOST_STATES],
    coef: Coef,
    limit: f32,
    norms: Option<&'a mut Norms>,
    /// Where w starts in the chunk.
    at: usize,
}

/// What all chunks of a step share.
pub(super) struct Pass<'a> {
    pub ctx: &'a Context,
    pub tensors: &'a Tensors<'a, 'a>,
    pub update: &'a (dyn Fn(Part<'_>) + Sync),
    /// Of the magnitude of a gradient.
    pub limit: f32,
}

impl<'a> Pass<'a> {
    /// Updates elements `range` of a tensor by gradients g, and returns the new ones.
    fn part(
        &self,
        tensor: usize,
        range: Range<usize>,
        at: usize,
        g: &[f32],
        coef: Coef,
        norms: Option<&mut Norms>,
    ) -> &'a [f32] {
        let Tensors { params, states, .. } = self.tensors;
        // SAFETY: pieces and their blocks are disjoint, and no list of params or states is read as a whole meanwhile.
        let w = unsafe { params.piece(tensor, range.clone()) };
        let mut parts: [&mut [f32]; MOST_STATES] = [&mut [], &mut [], &mut []];
        for (part, (_, list)) in parts.iter_mut().zip(*states) {
            // SAFETY: as above.
            *part = unsafe { list.piece(tensor, range.clone()) };
        }
        (self.update)(Part { w: &mut *w, g, states: parts, coef, limit: self.limit, norms, at });
        w
    }
}

/// Elements that go through f32 at once. Blocks begin at multiples of it in a chunk, as random bits are drawn.
const BLOCK: usize = DRAWN;

/// A chunk under way.
pub(super) struct Task<'a> {
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

/// What happens to a block of new parameters: the elements of the tensor, where they start in the list, and the block.
type After<'a> = &'a mut dyn FnMut(&mut Blocks, Range<usize>, usize, &[f32]);

impl<'a> Task<'a> {
    pub(super) fn new(pass: &'a Pass<'a>, start: usize) -> Task<'a> {
        Task { pass, start, blocks: None }
    }

    /// Updates a piece.
    pub(super) fn piece(&mut self, p: &Piece, coef: Coef, norms: Option<&mut Norms>) {
        let Tensors { grads, copies, .. } = self.pass.tensors;
        match (grads, copies) {
            (Grads::F32(list), _) if coef.is_split() => {
                let g = &list.tensor(p.tensor)[p.range.clone()];
                self.pass.part(p.tensor, p.range.clone(), p.at, g, coef, norms);
            }
            (Grads::F32(list), _) => self.through_blocks(p, *list, coef, norms, &mut |_, _, _, _| ()),
            (Grads::Bf16(list), Some(Copies::Bf16(to))) => {
                let copy = &mut |blocks: &mut Blocks, range: Range<usize>, place, w: &[f32]| {
                    blocks.copy(self.pass, to, p.tensor, range, place, w);
                };
                self.through_blocks(p, *list, coef, norms, copy);
            }
            (Grads::F16(list), Some(Copies::F16(to))) => {
                let copy = &mut |blocks: &mut Blocks, range: Range<usize>, place, w: &[f32]| {
                    blocks.copy(self.pass, to, p.tensor, range, place, w);
                };
                self.through_blocks(p, *list, coef, norms, copy);
            }
            (Grads::Bf16(list), _) => self.through_blocks(p, *list, coef, norms, &mut |_, _, _, _| ()),
            (Grads::F16(list), _) => self.through_blocks(p, *list, coef, norms, &mut |_, _, _, _| ()),
        }
    }

    /// Updates a piece block by block, each followed by `after` with its range in the tensor, its place in the whole list
    /// and its new parameters.
    fn through_blocks<T: Storage>(
        &mut self,
        p: &Piece,
        list: TensorList<'_, T>,
        coef: Coef,
        mut norms: Option<&mut Norms>,
        after: After<'_>,
    ) {
        let blocks = self.blocks.get_or_insert(Blocks { wide: [0.0; BLOCK], drawn: None, bits: [0; DRAWN] });
        let g = list.tensor(p.tensor);
        let left = if coef.is_split() { coef } else { Coef::ONE };
        let (mut start, mut at) = (p.range.start, p.at);
        while start < p.range.end {
            let n = (p.range.end - start).min(BLOCK - at % BLOCK);
            let range = start..start + n;
            let wide = &mut blocks.wide[..n];
            self.pass.ctx.dispatch(Take { x: &g[range.clone()], coef, y: wide });
            let w = self.pass.part(p.tensor, range.clone(), at, wide, left, norms.as_deref_mut());
            after(blocks, range, self.start + at, w);
            (start, at) = (start + n, at + n);
        }
    }
}

impl Blocks {
    /// Writes the copy of w, which begins at `place` of the whole list and lies within one block.
    fn copy<T: Half>(
        &mut self,
        pass: &Pass<'_>,
        to: &TensorListMut<'_, T>,
        tensor: usize,
        range: Range<usize>,
        place: usize,
        w: &[f32],
    ) {
        // SAFETY: pieces and their blocks are disjoint, and copies are never read.
        let y = unsafe { to.piece(tensor, range) };
        let Some(dice) = pass.tensors.dice else {
            // Not past the caches: a block's ends share their lines with the blocks beside it.
            return pass.ctx.dispatch(Convert { x: w, y, stream: false });
        };
        let first = place % DRAWN;
        let position = place - first;
        if self.drawn != Some(position) {
            pass.ctx.dispatch(Draw { dice, position, bits: &mut self.bits });
            self.drawn = Some(position);
        }
        pass.ctx.dispatch(NarrowByChance { x: w, bits: &self.bits[first..first + w.len()], y });
    }
}

/// y = x in f32, times the coefficient where an update cannot multiply by it.
struct Take<'a, T> {
    x: &'a [T],
    coef: Coef,
    y: &'a mut [f32],
}

impl<T: Storage> Kernel for Take<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.y.len();
        assert_eq!(self.x.len(), n);
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr());
        let whole = n / LANES * LANES;
        let mut i = 0;
        // SAFETY: vectors of 16, and the last of n - i, are in bounds of both (asserted).
        unsafe {
            if self.coef.is_split() {
                while i < whole {
                    s.store(y.add(i), T::load(s, x.add(i)));
                    i += LANES;
                }
            }
            while i < whole {
                s.store(y.add(i), self.coef.of_any(s, T::load(s, x.add(i))));
                i += LANES;
            }
            if i < n {
                let v = T::load_first(s, x.add(i), n - i);
                let v = if self.coef.is_split() { v } else { self.coef.of_any(s, v) };
                s.store_first(y.add(i), v, n - i);
            }
        }
    }
}

/// A rule over a part.
pub(super) struct Update<'a, R> {
    pub rule: R,
    pub part: Part<'a>,
}

/// What the loop of an update reads and writes.
#[derive(Clone, Copy)]
struct Pointers<const STATES: usize> {
    w: *mut f32,
    g: *const f32,
    states: [*mut f32; STATES],
}

/// [`Update`] with the number of states that its rule has.
pub(super) struct Run<'a, R, const STATES: usize>(pub Update<'a, R>);

impl<R: Rule<STATES>, const STATES: usize> Kernel for Run<'_, R, STATES> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Update { rule, part } = self.0;
        let Part { w, g, states, coef, limit, norms, at } = part;
        let n = w.len();
        assert!(g.len() == n && states[..STATES].iter().all(|state| state.len() == n));
        let mut pointers = [std::ptr::null_mut(); STATES];
        for k in 0..STATES {
            pointers[k] = states[k].as_mut_ptr();
        }
        let p = Pointers { w: w.as_mut_ptr(), g: g.as_ptr(), states: pointers };
        let apply = Apply { rule, coef, limit };
        // Whole vectors begin at a cache line of w, and of the other tensors where they are aligned alike: stores across
        // two lines are slow.
        let head = if n < 4 * LANES { 0 } else { (LANES - p.w.addr() / size_of::<f32>() % LANES) % LANES };
        let whole = head + (n - head) / LANES * LANES;
        let mut i = head;
        // SAFETY: the first `head`, vectors of 16 and the last of n - i are in bounds of w, g and the states (asserted).
        unsafe {
            let Some(norms) = norms else {
                if head > 0 {
                    apply.edge::<S, STATES>(s, p, 0, head);
                }
                while i < whole {
                    apply.vector::<S, STATES>(s, p, i);
                    i += LANES;
                }
                if i < n {
                    apply.edge::<S, STATES>(s, p, i, n - i);
                }
                return;
            };
            if head > 0 {
                s.outline(&mut Ends { apply, p, i: 0, n: head, at, norms: &mut *norms });
            }
            let mut update = FewSquares::load(s, &norms.update, at + head);
            let mut params = FewSquares::load(s, &norms.params, at + head);
            while i < whole {
                let (old, new) = apply.vector::<S, STATES>(s, p, i);
                update.add(s, s.sub(new, old));
                params.add(s, new);
                i += LANES;
            }
            update.store(s, &mut norms.update, at + head);
            params.store(s, &mut norms.params, at + head);
            if i < n {
                s.outline(&mut Ends { apply, p, i, n: n - i, at, norms });
            }
        }
    }
}

/// Less than a vector, in a function of its own: both ends share it.
struct Ends<'a, R, const STATES: usize> {
    apply: Apply<R>,
    p: Pointers<STATES>,
    i: usize,
    n: usize,
    /// Where element 0 is in the chunk.
    at: usize,
    norms: &'a mut Norms,
}

impl<R: Rule<STATES>, const STATES: usize> Kernel for &mut Ends<'_, R, STATES> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let place = self.at + self.i;
        let mut update = FewSquares::load(s, &self.norms.update, place);
        let mut params = FewSquares::load(s, &self.norms.params, place);
        // SAFETY: n < 16 elements from i on are in bounds (Run).
        let (old, new) = unsafe { self.apply.edge::<S, STATES>(s, self.p, self.i, self.n) };
        update.add(s, s.sub(new, old));
        params.add(s, new);
        update.store(s, &mut self.norms.update, place);
        params.store(s, &mut self.norms.params, place);
    }
}

/// One vector's way from gradient to parameter.
#[derive(Clone, Copy)]
struct Apply<R> {
    rule: R,
    coef: Coef,
    limit: f32,
}

impl<R> Apply<R> {
    /// Updates elements i to i + 16; the old and the new parameters.
    ///
    /// # Safety
    /// They are in bounds.
    #[inline(always)]
    unsafe fn vector<S: Simd, const STATES: usize>(self, s: S, p: Pointers<STATES>, i: usize) -> (S::F, S::F)
    where
        R: Rule<STATES>,
    {
        let mut states = [s.zero(); STATES];
        // SAFETY: the caller's contract.
        unsafe {
            for k in 0..STATES {
                states[k] = s.load(p.states[k].add(i));
            }
            let old = s.load(p.w.add(i));
            let g = clamp(s, self.coef.of(s, s.load(p.g.add(i))), self.limit);
            let (new, states) = self.rule.update(s, old, g, states);
            s.store(p.w.add(i), new);
            for k in 0..STATES {
                s.store(p.states[k].add(i), states[k]);
            }
            (old, new)
        }
    }

    /// As [`Apply::vector`], for `rest` < 16 elements; zeros behind them.
    ///
    /// # Safety
    /// They are in bounds.
    #[inline(always)]
    unsafe fn edge<S: Simd, const STATES: usize>(self, s: S, p: Pointers<STATES>, i: usize, rest: usize) -> (S::F, S::F)
    where
        R: Rule<STATES>,
    {
        let mut states = [s.zero(); STATES];
        // SAFETY: the caller's contract.
        unsafe {
            for k in 0..STATES {
                states[k] = s.load_first(p.states[k].add(i), rest);
            }
            let old = s.load_first(p.w.add(i), rest);
            let g = clamp(s, self.coef.of(s, s.load_first(p.g.add(i), rest)), self.limit);
            let (new, states) = self.rule.update(s, old, g, states);
            s.store_first(p.w.add(i), new, rest);
            for k in 0..STATES {
                s.store_first(p.states[k].add(i), states[k], rest);
            }
            // A rule may make anything of the zeros past the end.
            (old, s.select(s.first(rest), new, s.zero()))
        }
    }
}
