//! The loop of an update rule over parts of tensors.

use super::coef::Coef;
use super::lanes::{FewSquares, Lanes};
use crate::element::{Storage, bf16, f16};
use crate::simd::{Kernel, LANES, Simd};
use std::marker::PhantomData;

/// State tensors that a rule may have beside each parameter tensor.
pub(super) const MOST_STATES: usize = 3;

/// An update rule with `STATES` state tensors beside each parameter tensor.
pub(super) trait Rule<const STATES: usize>: Copy + Sync {
    /// Nanoseconds that one element takes.
    const NS: f64;
    /// [`Kernel::WIDE`].
    const WIDE: bool = true;
    /// Whether gradients may be halves.
    const HALVES: bool = false;
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

    /// Adds up to 16 parameters, of which the first has this place in the chunk.
    #[inline(always)]
    fn add<S: Simd>(&mut self, s: S, old: S::F, new: S::F, place: usize) {
        let mut update = FewSquares::load(s, &self.update, place);
        let mut params = FewSquares::load(s, &self.params, place);
        update.add(s, s.sub(new, old));
        params.add(s, new);
        update.store(s, &mut self.update, place);
        params.store(s, &mut self.params, place);
    }

    #[inline(never)]
    fn add_apart<S: Simd>(&mut self, s: S, old: S::F, new: S::F, place: usize) {
        self.add(s, old, new, place);
    }
}

/// Elements of one tensor that are updated at once: n of each, valid for as long as the update that takes them.
pub(super) struct Part {
    pub w: *mut f32,
    pub g: Gradient,
    /// As many as the rule has states.
    pub states: [*mut f32; MOST_STATES],
    pub n: usize,
    pub coef: Coef,
    /// Where w starts in the chunk.
    pub at: usize,
    /// Elements from one that is updated to one that is asked for; 0 if all are near.
    pub ahead: usize,
}

/// Gradients of a part. Halves come with where a copy of the new parameters goes, or null.
#[derive(Clone, Copy)]
pub(super) enum Gradient {
    F32(*const f32),
    Bf16(*const bf16, *mut bf16),
    F16(*const f16, *mut f16),
}

impl Part {
    const NONE: Part = Part {
        w: std::ptr::null_mut(),
        g: Gradient::F32(std::ptr::null()),
        states: [std::ptr::null_mut(); MOST_STATES],
        n: 0,
        coef: Coef::ONE,
        at: 0,
        ahead: 0,
    };
}

/// Parts of one chunk in ascending order, which one call of an update takes.
pub(super) struct Parts<'a> {
    /// Puts the next part in place, if there is one: tensors may be tiny and many, and moving a part takes longer.
    pub next: &'a mut dyn FnMut(&mut Part) -> bool,
    pub norms: Option<&'a mut Norms>,
    /// Whether gradients are halves, which needs a rule that says so.
    pub halves: bool,
}

/// A form of gradients that a loop is compiled for.
pub(super) trait Form: Copy {
    fn of(gradient: Gradient) -> Self;
    /// Gradients i to i + 16.
    ///
    /// # Safety
    /// They are in bounds.
    unsafe fn load<S: Simd>(self, s: S, i: usize) -> S::F;
    /// As [`Form::load`], for n ≤ 16; zeros behind them.
    ///
    /// # Safety
    /// They are in bounds.
    unsafe fn load_first<S: Simd>(self, s: S, i: usize, n: usize) -> S::F;
    /// Asks for gradient i, which may be out of bounds.
    fn ask<S: Simd>(self, s: S, i: usize);
    /// Whether new parameters are to be copied.
    fn copies(self) -> bool;
    /// Copies new parameters `from` to `to`, a number of whole vectors, from w.
    ///
    /// # Safety
    /// They are in bounds.
    unsafe fn copy<S: Simd>(self, s: S, from: usize, to: usize, w: *const f32);
    /// Copies n ≤ 16 new parameters from i on, of which w are the values.
    ///
    /// # Safety
    /// They are in bounds.
    unsafe fn copy_first<S: Simd>(self, s: S, i: usize, n: usize, w: S::F);
}

#[derive(Clone, Copy)]
pub(super) struct Full(*const f32);

impl Form for Full {
    #[inline(always)]
    fn of(gradient: Gradient) -> Full {
        let Gradient::F32(g) = gradient else { unreachable!("gradients in f32") };
        Full(g)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, i: usize) -> S::F {
        // SAFETY: the caller's contract.
        unsafe { s.load(self.0.add(i)) }
    }
    #[inline(always)]
    unsafe fn load_first<S: Simd>(self, s: S, i: usize, n: usize) -> S::F {
        // SAFETY: the caller's contract.
        unsafe { s.load_first(self.0.add(i), n) }
    }
    #[inline(always)]
    fn ask<S: Simd>(self, s: S, i: usize) {
        s.prefetch_far(self.0.wrapping_add(i));
    }
    #[inline(always)]
    fn copies(self) -> bool {
        false
    }
    #[inline(always)]
    unsafe fn copy<S: Simd>(self, _: S, _: usize, _: usize, _: *const f32) {}
    #[inline(always)]
    unsafe fn copy_first<S: Simd>(self, _: S, _: usize, _: usize, _: S::F) {}
}

/// bf16 or f16: one loop for both, which costs a branch that is always foreseen.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    f16: bool,
    g: *const u16,
    copy: *mut u16,
}

impl Form for Halves {
    #[inline(always)]
    fn of(gradient: Gradient) -> Halves {
        match gradient {
            Gradient::Bf16(g, copy) => Halves { f16: false, g: g.cast(), copy: copy.cast() },
            Gradient::F16(g, copy) => Halves { f16: true, g: g.cast(), copy: copy.cast() },
            Gradient::F32(_) => unreachable!("gradients in halves"),
        }
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, i: usize) -> S::F {
        // SAFETY: the caller's contract.
        unsafe {
            let g = self.g.add(i);
            if self.f16 { f16::load(s, g.cast()) } else { bf16::load(s, g.cast()) }
        }
    }
    #[inline(always)]
    unsafe fn load_first<S: Simd>(self, s: S, i: usize, n: usize) -> S::F {
        // SAFETY: the caller's contract.
        unsafe {
            let g = self.g.add(i);
            if self.f16 { f16::load_first(s, g.cast(), n) } else { bf16::load_first(s, g.cast(), n) }
        }
    }
    #[inline(always)]
    fn ask<S: Simd>(self, s: S, i: usize) {
        s.prefetch_far(self.g.wrapping_add(i).cast());
    }
    #[inline(always)]
    fn copies(self) -> bool {
        !self.copy.is_null()
    }
    #[inline(always)]
    unsafe fn copy<S: Simd>(self, s: S, from: usize, to: usize, w: *const f32) {
        // SAFETY: the caller's contract.
        unsafe {
            for i in (from..to).step_by(LANES) {
                let (w, y) = (s.load(w.add(i)), self.copy.add(i));
                if self.f16 { f16::store(s, y.cast(), w) } else { bf16::store(s, y.cast(), w) }
            }
        }
    }
    #[inline(always)]
    unsafe fn copy_first<S: Simd>(self, s: S, i: usize, n: usize, w: S::F) {
        if self.copy.is_null() {
            return;
        }
        // SAFETY: the caller's contract.
        unsafe {
            let y = self.copy.add(i);
            if self.f16 { f16::store_first(s, y.cast(), w, n) } else { bf16::store_first(s, y.cast(), w, n) }
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
struct Pointers<G, const STATES: usize> {
    w: *mut f32,
    g: G,
    states: [*mut f32; STATES],
}

impl<G: Form, const STATES: usize> Pointers<G, STATES> {
    /// Asks for element i of everything, which may be out of bounds.
    #[inline(always)]
    fn ask<S: Simd>(self, s: S, i: usize) {
        s.prefetch_far(self.w.wrapping_add(i));
        self.g.ask(s, i);
        for state in self.states {
            s.prefetch_far(state.wrapping_add(i));
        }
    }
}

/// A part this long begins with what is missing to a cache line, since loads and stores across two lines are slow; a shorter
/// one is done before that pays.
const ALIGNED: usize = 32 * LANES;

/// Elements that are updated before they are copied: the copies' long way from gradient to store is cut where the caches hold
/// it, or fewer of them would be under way at once.
const COPIED: usize = 64 * LANES;

/// [`Update`] with the form of its gradients and the number of states that its rule has.
pub(super) struct Run<'a, R, G, const STATES: usize>(pub Update<'a, R>, pub PhantomData<G>);

impl<R: Rule<STATES>, G: Form, const STATES: usize> Kernel for Run<'_, R, G, STATES> {
    type Out = ();
    const WIDE: bool = R::WIDE;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Update { rule, parts: Parts { next, mut norms, .. } } = self.0;
        let mut part = Part::NONE;
        while next(&mut part) {
            let Part { w, g, states, n, coef, at, ahead } = part;
            let mut pointers = [std::ptr::null_mut(); STATES];
            pointers.copy_from_slice(&states[..STATES]);
            let p = Pointers { w, g: G::of(g), states: pointers };
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
                        let (from, to) = (i, if p.g.copies() { whole.min(i + COPIED) } else { whole });
                        while i < to {
                            if ahead > 0 {
                                p.ask(s, i + ahead);
                            }
                            let (old, new) = apply.vector::<S, G, STATES>(s, p, i);
                            update.add(s, s.sub(new, old));
                            params.add(s, new);
                            i += LANES;
                        }
                        if p.g.copies() {
                            p.g.copy(s, from, to, p.w);
                        }
                    }
                    update.store(s, &mut norms.update, at + head);
                    params.store(s, &mut norms.params, at + head);
                } else {
                    while i < whole {
                        let (from, to) = (i, if p.g.copies() { whole.min(i + COPIED) } else { whole });
                        while i < to {
                            if ahead > 0 {
                                p.ask(s, i + ahead);
                            }
                            if S::PAIRED {
                                apply.halves::<S, G, STATES>(s, p, i);
                            } else {
                                apply.vector::<S, G, STATES>(s, p, i);
                            }
                            i += LANES;
                        }
                        if p.g.copies() {
                            p.g.copy(s, from, to, p.w);
                        }
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
struct Ends<'a, R, G, const STATES: usize> {
    apply: Apply<R>,
    p: Pointers<G, STATES>,
    i: usize,
    n: usize,
    /// Where element 0 is in the chunk.
    at: usize,
    norms: Option<&'a mut Norms>,
}

impl<R: Rule<STATES>, G: Form, const STATES: usize> Kernel for &mut Ends<'_, R, G, STATES> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: n ≤ 16 elements from i on are in bounds (Run).
        let (old, new) = unsafe { self.apply.edge::<S, G, STATES>(s, self.p, self.i, self.n) };
        let Some(norms) = &mut self.norms else { return };
        let place = self.at + self.i;
        if S::COMPACT { norms.add_apart(s, old, new, place) } else { norms.add(s, old, new, place) }
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
        if S::COMPACT {
            s.store_first(p, v, n);
        } else if n < LANES / 2 {
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
    /// As [`Apply::vector`], one half after the other: eight numbers of everything that a rule knows fit the registers, sixteen
    /// do not. The other half of each is computed in vain as it is written, and not as it is compiled.
    ///
    /// # Safety
    /// They are in bounds.
    #[inline(always)]
    unsafe fn halves<S: Simd, G: Form, const STATES: usize>(self, s: S, p: Pointers<G, STATES>, i: usize)
    where
        R: Rule<STATES>,
    {
        // SAFETY: the caller's contract.
        unsafe {
            let (_, new, states) = self.apart::<S, G, STATES>(s, p, i);
            s.store_h(p.w.add(i), s.halves(new).0);
            for k in 0..STATES {
                s.store_h(p.states[k].add(i), s.halves(states[k]).0);
            }
            // The first half of these is of no use: it is updated already.
            let (_, new, states) = self.apart::<S, G, STATES>(s, p, i);
            let i = i + LANES / 2;
            s.store_h(p.w.add(i), s.halves(new).1);
            for k in 0..STATES {
                s.store_h(p.states[k].add(i), s.halves(states[k]).1);
            }
        }
    }

    /// The old and the new parameters i to i + 16, and the new states.
    ///
    /// # Safety
    /// They are in bounds.
    #[inline(always)]
    unsafe fn apart<S: Simd, G: Form, const STATES: usize>(
        self,
        s: S,
        p: Pointers<G, STATES>,
        i: usize,
    ) -> (S::F, S::F, [S::F; STATES])
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
            let g = self.coef.of(s, p.g.load(s, i));
            let (new, states) = self.rule.update(s, old, g, states);
            (old, new, states)
        }
    }

    /// Updates elements i to i + 16; the old and the new parameters.
    ///
    /// # Safety
    /// They are in bounds.
    #[inline(always)]
    unsafe fn vector<S: Simd, G: Form, const STATES: usize>(
        self,
        s: S,
        p: Pointers<G, STATES>,
        i: usize,
    ) -> (S::F, S::F)
    where
        R: Rule<STATES>,
    {
        // SAFETY: the caller's contract.
        unsafe {
            let (old, new, states) = self.apart::<S, G, STATES>(s, p, i);
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
    unsafe fn edge<S: Simd, G: Form, const STATES: usize>(
        self,
        s: S,
        p: Pointers<G, STATES>,
        i: usize,
        rest: usize,
    ) -> (S::F, S::F)
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
            let g = self.coef.of(s, p.g.load_first(s, i, rest));
            let (new, states) = self.rule.update(s, old, g, states);
            store_end(s, p.w.add(i), new, rest);
            p.g.copy_first(s, i, rest, new);
            for k in 0..STATES {
                store_end(s, p.states[k].add(i), states[k], rest);
            }
            // A rule may make anything of the zeros past the end.
            (old, s.select(s.first(rest), new, s.zero()))
        }
    }
}
