//! The pass that writes the parameters: an update rule over parts of tensors.
//!
//! Gradients in half the width, or limited one by one, and factors beyond f32, go through a block of f32 that stays in the nearest cache, so that
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

/// Elements of one tensor that are updated at once: n of each, valid for as long as the update that takes them.
pub(super) struct Part {
    w: *mut f32,
    g: *const f32,
    /// As many as the rule has states.
    states: [*mut f32; MOST_STATES],
    n: usize,
    coef: Coef,
    /// Where w starts in the chunk.
    at: usize,
}

impl Part {
    const NONE: Part = Part {
        w: std::ptr::null_mut(),
        g: std::ptr::null(),
        states: [std::ptr::null_mut(); MOST_STATES],
        n: 0,
        coef: Coef::ONE,
        at: 0,
    };
}

/// Parts of one chunk in ascending order, which one call of an update takes.
pub(super) struct Parts<'a> {
    /// Puts the next part in place, if there is one: tensors may be tiny and many, and moving a part takes longer.
    next: &'a mut dyn FnMut(&mut Part) -> bool,
    norms: Option<&'a mut Norms>,
}

/// What all chunks of a step share.
pub(super) struct Pass<'a> {
    pub ctx: &'a Context,
    pub tensors: &'a Tensors<'a, 'a>,
    pub update: &'a (dyn Fn(Parts<'_>) + Sync),
    /// Of the magnitude of a gradient, infinite if there is none.
    pub limit: f32,
    /// Whether an update can multiply f32 gradients by all coefficients, and need do no more to them.
    pub plain: bool,
}

impl<'a> Pass<'a> {
    /// Makes `part` elements `range` of a tensor, with gradients g.
    #[inline]
    fn set(&self, part: &mut Part, tensor: usize, range: Range<usize>, at: usize, g: &[f32], coef: Coef) {
        let Tensors { params, states, .. } = self.tensors;
        let n = range.len();
        assert!(g.len() == n);
        // SAFETY: pieces and their blocks are disjoint, and no list of params or states is read as a whole meanwhile.
        let w = unsafe { params.piece(tensor, range.clone()) }.as_mut_ptr();
        *part = Part { w, g: g.as_ptr(), states: part.states, n, coef, at };
        for (state, (_, list)) in part.states.iter_mut().zip(*states) {
            // SAFETY: as above.
            *state = unsafe { list.piece(tensor, range.clone()) }.as_mut_ptr();
        }
    }

    /// Updates the pieces of a chunk, whose first element is `start` in the whole list.
    pub(super) fn chunk(
        &self,
        start: usize,
        mut pieces: impl Iterator<Item = (Piece, Coef)>,
        mut norms: Option<&mut Norms>,
    ) {
        if let (Grads::F32(list), true) = (self.tensors.grads, self.plain) {
            let mut next = |part: &mut Part| {
                let Some((p, coef)) = pieces.next() else { return false };
                self.set(part, p.tensor, p.range.clone(), p.at, &list.tensor(p.tensor)[p.range], coef);
                true
            };
            return (self.update)(Parts { next: &mut next, norms });
        }
        let mut task = Task::new(self, start);
        pieces.for_each(|(p, coef)| task.piece(&p, coef, norms.as_deref_mut()));
    }

    /// Updates elements `range` of a tensor by gradients g.
    fn block(&self, tensor: usize, range: Range<usize>, at: usize, g: &[f32], coef: Coef, norms: Option<&mut Norms>) {
        let mut left = true;
        let mut next = |part: &mut Part| {
            let first = std::mem::take(&mut left);
            if first {
                self.set(part, tensor, range.clone(), at, g, coef);
            }
            first
        };
        (self.update)(Parts { next: &mut next, norms });
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
        let g = list.tensor(p.tensor);
        let limit = self.pass.limit;
        let left = if coef.is_split() && limit == f32::INFINITY { coef } else { Coef::ONE };
        let (mut start, mut at) = (p.range.start, p.at);
        while start < p.range.end {
            let n = (p.range.end - start).min(BLOCK - at % BLOCK);
            let range = start..start + n;
            let wide = &mut blocks.wide[..n];
            self.pass.ctx.dispatch(Take { x: &g[range.clone()], coef, limit, y: wide });
            self.pass.block(p.tensor, range.clone(), at, wide, left, norms.as_deref_mut());
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
            return pass.ctx.dispatch(Convert { x: w, y, stream: false });
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

/// y = x in f32; unscaled, clipped and limited already where an update cannot do it: by a coefficient beyond f32, or by a
/// limit, which no update knows.
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
        let limited = self.limit < f32::INFINITY;
        let mut i = 0;
        // SAFETY: vectors of 16, or of the n - i that remain, are in bounds of both (asserted).
        unsafe {
            if self.coef.is_split() && !limited {
                while i < n {
                    s.store_up_to(y.add(i), T::load_up_to(s, x.add(i), n - i), n - i);
                    i += LANES;
                }
            }
            while i < n {
                let v = self.coef.of_any(s, T::load_up_to(s, x.add(i), n - i));
                s.store_up_to(y.add(i), clamp(s, v, self.limit), n - i);
                i += LANES;
            }
        }
    }
}

/// A rule over parts.
pub(super) struct Update<'a, R> {
    pub rule: R,
    pub parts: Parts<'a>,
}

/// What the loop of an update reads and writes.
#[derive(Clone, Copy)]
struct Pointers<const STATES: usize> {
    w: *mut f32,
    g: *const f32,
    states: [*mut f32; STATES],
}

/// A part this long begins with what is missing to a cache line, since loads and stores across two lines are slow; a shorter
/// one is done before that pays.
const ALIGNED: usize = 32 * LANES;

/// [`Update`] with the number of states that its rule has.
pub(super) struct Run<'a, R, const STATES: usize>(pub Update<'a, R>);

impl<R: Rule<STATES>, const STATES: usize> Kernel for Run<'_, R, STATES> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Update { rule, parts: Parts { next, mut norms } } = self.0;
        let mut part = Part::NONE;
        while next(&mut part) {
            let Part { w, g, states, n, coef, at } = part;
            let mut pointers = [std::ptr::null_mut(); STATES];
            pointers.copy_from_slice(&states[..STATES]);
            let p = Pointers { w, g, states: pointers };
            let apply = Apply { rule, coef };
            if S::COMPACT {
                for i in (0..n).step_by(LANES) {
                    let n = LANES.min(n - i);
                    s.outline(&mut Ends { apply, p, i, n, at, norms: norms.as_deref_mut() });
                }
                continue;
            }
            // Whole vectors then begin at a cache line of w, and of the other tensors where they are aligned alike.
            let head = if n < ALIGNED { 0 } else { (LANES - p.w.addr() / size_of::<f32>() % LANES) % LANES };
            let whole = head + (n - head) / LANES * LANES;
            if head > 0 {
                s.outline(&mut Ends { apply, p, i: 0, n: head, at, norms: norms.as_deref_mut() });
            }
            let mut i = head;
            // SAFETY: vectors of 16 from the head on are in bounds of w, g and the states (Part).
            unsafe {
                if let Some(norms) = norms.as_deref_mut() {
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
                } else {
                    while i < whole {
                        apply.vector::<S, STATES>(s, p, i);
                        i += LANES;
                    }
                }
            }
            if i < n {
                s.outline(&mut Ends { apply, p, i, n: n - i, at, norms: norms.as_deref_mut() });
            }
        }
    }
}

/// A vector or less, in a function of its own: both ends share it.
struct Ends<'a, R, const STATES: usize> {
    apply: Apply<R>,
    p: Pointers<STATES>,
    i: usize,
    n: usize,
    /// Where element 0 is in the chunk.
    at: usize,
    norms: Option<&'a mut Norms>,
}

impl<R: Rule<STATES>, const STATES: usize> Kernel for &mut Ends<'_, R, STATES> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: n ≤ 16 elements from i on are in bounds (Run).
        let (old, new) = unsafe { self.apply.edge::<S, STATES>(s, self.p, self.i, self.n) };
        let Some(norms) = &mut self.norms else { return };
        let place = self.at + self.i;
        let mut update = FewSquares::load(s, &norms.update, place);
        let mut params = FewSquares::load(s, &norms.params, place);
        update.add(s, s.sub(new, old));
        params.add(s, new);
        update.store(s, &mut norms.update, place);
        params.store(s, &mut norms.params, place);
    }
}

/// Stores the first `n` lanes, 1 to 16: a masked store is slow, so that there is no more than one.
///
/// # Safety
/// They are in bounds.
#[inline(always)]
unsafe fn store_end<S: Simd>(s: S, p: *mut f32, v: S::F, n: usize) {
    let (low, high) = s.halves(v);
    // SAFETY: the caller's contract.
    unsafe {
        if n < LANES / 2 {
            s.store_first_h(p, low, n);
        } else {
            s.store_h(p, low);
            if n > LANES / 2 {
                s.store_first_h(p.add(LANES / 2), high, n - LANES / 2);
            }
        }
    }
}

/// One vector's way from gradient to parameter.
#[derive(Clone, Copy)]
struct Apply<R> {
    rule: R,
    coef: Coef,
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
            let g = self.coef.of(s, s.load(p.g.add(i)));
            let (new, states) = self.rule.update(s, old, g, states);
            s.store(p.w.add(i), new);
            for k in 0..STATES {
                s.store(p.states[k].add(i), states[k]);
            }
            (old, new)
        }
    }

    /// As [`Apply::vector`], for `rest` ≤ 16 elements; zeros behind them.
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
            let g = self.coef.of(s, s.load_first(p.g.add(i), rest));
            let (new, states) = self.rule.update(s, old, g, states);
            store_end(s, p.w.add(i), new, rest);
            for k in 0..STATES {
                store_end(s, p.states[k].add(i), states[k], rest);
            }
            // A rule may make anything of the zeros past the end.
            (old, s.select(s.first(rest), new, s.zero()))
        }
    }
}
