//! The gates of one row: what a cell computes once its pre-activations are known, and back.
//!
//! Derivatives are those of the pre-activations, from e = exp(−|z|); nothing is taken from a gate that rounded to 1.

use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath::{Gate, gate_finish, gate_start, squash_finish, squash_start};
use std::mem::MaybeUninit;

/// Units that pass through each stage together. What stays between stages is then in the nearest cache, and the chains of
/// operations are short enough for the CPU to overlap several.
const BLOCK: usize = 4 * LANES;

/// A row of units, computed a block at a time.
trait Row {
    fn units(&self) -> usize;

    /// `n` units from j on: whole vectors, [`BLOCK`] at most, or, if `PART`, 16 at most.
    ///
    /// # Safety
    /// There are as many.
    unsafe fn block<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize);
}

#[inline(always)]
fn walk<S: Simd, R: Row>(s: S, row: &R) {
    let n = row.units();
    let whole = if S::COMPACT { 0 } else { n / LANES * LANES };
    for j in (0..whole).step_by(BLOCK) {
        // SAFETY: whole vectors up to `whole` <= n.
        unsafe { row.block::<S, false>(s, j, BLOCK.min(whole - j)) };
    }
    for j in (whole..n).step_by(LANES) {
        s.outline(&Part { row, j });
    }
}

/// Masked, in a function of its own.
struct Part<'a, R> {
    row: &'a R,
    j: usize,
}

impl<R: Row> Kernel for &Part<'_, R> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: min(16, n − j) units from j on are within n.
        unsafe { self.row.block::<S, true>(s, self.j, LANES.min(self.row.units() - self.j)) };
    }
}

/// What stays between two stages.
#[repr(align(64))]
struct Kept<const N: usize>([[MaybeUninit<f32>; BLOCK]; N]);

impl<const N: usize> Kept<N> {
    #[inline(always)]
    fn new() -> Self {
        Kept([const { [const { MaybeUninit::uninit() }; BLOCK] }; N])
    }

    /// # Safety
    /// v + 16 ≤ [`BLOCK`].
    #[inline(always)]
    unsafe fn put<S: Simd, const M: usize>(&mut self, s: S, first: usize, v: usize, values: [S::F; M]) {
        for k in 0..M {
            // SAFETY: the contract.
            unsafe { s.store(self.0[first + k].as_mut_ptr().add(v).cast(), values[k]) };
        }
    }

    /// # Safety
    /// v + 16 ≤ [`BLOCK`], and as many were put there.
    #[inline(always)]
    unsafe fn get<S: Simd, const M: usize>(&self, s: S, first: usize, v: usize) -> [S::F; M] {
        let mut values = [s.zero(); M];
        for k in 0..M {
            // SAFETY: the contract.
            values[k] = unsafe { s.load(self.0[first + k].as_ptr().add(v).cast()) };
        }
        values
    }
}

/// # Safety
/// 16 elements at `p`, or `n` if `PART`.
#[inline(always)]
unsafe fn get<S: Simd, const PART: bool>(s: S, p: *const f32, n: usize) -> S::F {
    // SAFETY: the contract.
    unsafe { if PART { s.load_first(p, n) } else { s.load(p) } }
}

/// # Safety
/// 16 elements at `p`, or `n` if `PART`.
#[inline(always)]
unsafe fn put<S: Simd, const PART: bool>(s: S, p: *mut f32, v: S::F, n: usize) {
    // SAFETY: the contract.
    unsafe { if PART { s.store_first(p, v, n) } else { s.store(p, v) } }
}

/// Asks for `n` elements at `p`, or for nothing, should there be none.
#[inline(always)]
fn ask<S: Simd>(s: S, p: *const f32, n: usize) {
    for v in (0..n).step_by(LANES) {
        s.prefetch(p.wrapping_add(v));
    }
}

/// A pre-activation, to which the bias is added.
///
/// # Safety
/// As [`get`], in z and, where it is not null, in the bias.
#[inline(always)]
unsafe fn with_bias<S: Simd, const PART: bool>(s: S, z: *mut f32, bias: *const f32, at: usize, n: usize) -> S::F {
    // SAFETY: the contract.
    unsafe {
        let v = get::<S, PART>(s, z.add(at), n);
        if bias.is_null() {
            return v;
        }
        let v = s.add(v, get::<S, PART>(s, bias.add(at), n));
        put::<S, PART>(s, z.add(at), v, n);
        v
    }
}

/// `n` units of one row. Gates stand `gate` elements apart, which is also how states of the next row follow: those that
/// come from afar are asked for.
///
/// Whoever makes one promises that all pointers hold as many elements, that outputs overlap nothing else, and that this
/// thread alone has them. So it is for all structs here.
pub(super) struct LstmForward {
    pub n: usize,
    pub gate: usize,
    pub z: *mut f32,
    /// Added to z, which is then written: the same layout; null for none.
    pub bias: *const f32,
    pub c_prev: *const f32,
    pub c: *mut f32,
    pub h: *mut f32,
}

impl Row for LstmForward {
    #[inline(always)]
    fn units(&self) -> usize {
        self.n
    }

    #[inline(always)]
    unsafe fn block<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize) {
        let LstmForward { gate: apart, z, bias, c_prev, c, h, .. } = *self;
        let mut kept = Kept::<5>::new();
        ask(s, c.wrapping_add(apart + j), n);
        ask(s, h.wrapping_add(apart + j), n);
        // SAFETY: units from j on (the contract and the promise of LstmForward); a stage takes what one before it kept.
        unsafe {
            for v in (0..n).step_by(LANES) {
                for (k, g) in [(0, 0), (1, 1), (2, 3)] {
                    let x = with_bias::<S, PART>(s, z, bias, g * apart + j + v, n);
                    kept.put(s, k, v, [gate_start(s, x)]);
                }
                let x = with_bias::<S, PART>(s, z, bias, 2 * apart + j + v, n);
                kept.put(s, 3, v, squash_start(s, x));
            }
            for v in (0..n).step_by(LANES) {
                let at = j + v;
                let [i, f] = kept.get(s, 0, v);
                let i = gate_finish(s, get::<S, PART>(s, z.add(at), n), i).open;
                let f = gate_finish(s, get::<S, PART>(s, z.add(apart + at), n), f).open;
                let g = squash_finish(s, get::<S, PART>(s, z.add(2 * apart + at), n), kept.get(s, 3, v)).0;
                let state = s.fma(f, get::<S, PART>(s, c_prev.add(at), n), s.mul(i, g));
                put::<S, PART>(s, c.add(at), state, n);
            }
            for v in (0..n).step_by(LANES) {
                let state = get::<S, PART>(s, c.add(j + v), n);
                kept.put(s, 3, v, squash_start(s, state));
            }
            for v in (0..n).step_by(LANES) {
                let at = j + v;
                let [o] = kept.get(s, 2, v);
                let o = gate_finish(s, get::<S, PART>(s, z.add(3 * apart + at), n), o).open;
                let tanh = squash_finish(s, get::<S, PART>(s, c.add(at), n), kept.get(s, 3, v)).0;
                put::<S, PART>(s, h.add(at), s.mul(o, tanh), n);
            }
        }
    }
}

/// ∂c arrives and leaves in `dc`; `dz` is written; ∂h_prev is the product of `dz` with the weights.
pub(super) struct LstmBackward {
    pub n: usize,
    pub gate: usize,
    pub z: *const f32,
    pub c_prev: *const f32,
    pub c: *const f32,
    pub dh: *const f32,
    /// Null for zeros.
    pub dc: *const f32,
    pub dz: *mut f32,
    /// May be `dc`.
    pub dc_prev: *mut f32,
}

impl Row for LstmBackward {
    #[inline(always)]
    fn units(&self) -> usize {
        self.n
    }

    #[inline(always)]
    unsafe fn block<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize) {
        let LstmBackward { gate: apart, z, c_prev, c, dh, dc, dz, dc_prev, .. } = *self;
        let mut kept = Kept::<7>::new();
        for g in 4..8 {
            ask(s, z.wrapping_add(g * apart + j), n);
            ask(s, dz.wrapping_add(g * apart + j), n);
        }
        ask(s, c_prev.wrapping_add(apart + j), n);
        // SAFETY: units from j on (the contract and the promise); a stage takes what one before it kept; dc is read before
        // dc_prev is written.
        unsafe {
            for v in (0..n).step_by(LANES) {
                for (k, g) in [(0, 0), (1, 1), (2, 3)] {
                    let x = get::<S, PART>(s, z.add(g * apart + j + v), n);
                    kept.put(s, k, v, [gate_start(s, x)]);
                }
                kept.put(s, 3, v, squash_start(s, get::<S, PART>(s, z.add(2 * apart + j + v), n)));
                kept.put(s, 5, v, squash_start(s, get::<S, PART>(s, c.add(j + v), n)));
            }
            for v in (0..n).step_by(LANES) {
                let at = j + v;
                let dh = get::<S, PART>(s, dh.add(at), n);
                let dc = if dc.is_null() { s.zero() } else { get::<S, PART>(s, dc.add(at), n) };
                let [i, f, o] = kept.get(s, 0, v);
                let o = gate_finish(s, get::<S, PART>(s, z.add(3 * apart + at), n), o);
                let (tanh_c, slope) = squash_finish(s, get::<S, PART>(s, c.add(at), n), kept.get(s, 5, v));
                put::<S, PART>(s, dz.add(3 * apart + at), s.mul(s.mul(dh, tanh_c), o.slope), n);
                let dc = s.fma(s.mul(dh, o.open), slope, dc);

                let f = gate_finish(s, get::<S, PART>(s, z.add(apart + at), n), f);
                let c_prev = get::<S, PART>(s, c_prev.add(at), n);
                put::<S, PART>(s, dz.add(apart + at), s.mul(s.mul(dc, c_prev), f.slope), n);
                put::<S, PART>(s, dc_prev.add(at), s.mul(dc, f.open), n);

                let i = gate_finish(s, get::<S, PART>(s, z.add(at), n), i);
                let (g, slope) = squash_finish(s, get::<S, PART>(s, z.add(2 * apart + at), n), kept.get(s, 3, v));
                put::<S, PART>(s, dz.add(at), s.mul(s.mul(dc, g), i.slope), n);
                put::<S, PART>(s, dz.add(2 * apart + at), s.mul(s.mul(dc, i.open), slope), n);
            }
        }
    }
}

pub(super) struct GruForward {
    pub n: usize,
    pub gate: usize,
    pub zx: *mut f32,
    pub zh: *mut f32,
    /// Added to zx and zh, which are then written; null for none.
    pub bias_x: *const f32,
    pub bias_h: *const f32,
    pub h_prev: *const f32,
    pub h: *mut f32,
}

impl Row for GruForward {
    #[inline(always)]
    fn units(&self) -> usize {
        self.n
    }

    #[inline(always)]
    unsafe fn block<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize) {
        let GruForward { gate: apart, zx, zh, bias_x, bias_h, h_prev, h, .. } = *self;
        let mut kept = Kept::<7>::new();
        for g in 3..6 {
            ask(s, zx.wrapping_add(g * apart + j), n);
        }
        ask(s, h.wrapping_add(apart + j), n);
        // SAFETY: units from j on (the contract and the promise); a stage takes what one before it kept.
        unsafe {
            for v in (0..n).step_by(LANES) {
                for g in 0..2 {
                    let x = with_bias::<S, PART>(s, zx, bias_x, g * apart + j + v, n);
                    let z = s.add(x, with_bias::<S, PART>(s, zh, bias_h, g * apart + j + v, n));
                    kept.put(s, 2 * g, v, [z, gate_start(s, z)]);
                }
            }
            for v in (0..n).step_by(LANES) {
                let x = with_bias::<S, PART>(s, zx, bias_x, 2 * apart + j + v, n);
                let y = with_bias::<S, PART>(s, zh, bias_h, 2 * apart + j + v, n);
                let [z, e] = kept.get(s, 0, v);
                kept.put(s, 4, v, [s.fma(gate_finish(s, z, e).open, y, x)]);
            }
            for v in (0..n).step_by(LANES) {
                let [x] = kept.get(s, 4, v);
                kept.put(s, 5, v, squash_start(s, x));
            }
            for v in (0..n).step_by(LANES) {
                let [z, e, x] = kept.get(s, 2, v);
                let Gate { open: keep, shut: take, .. } = gate_finish(s, z, e);
                let new = squash_finish(s, x, kept.get(s, 5, v)).0;
                let old = get::<S, PART>(s, h_prev.add(j + v), n);
                put::<S, PART>(s, h.add(j + v), s.fma(keep, old, s.mul(take, new)), n);
            }
        }
    }
}

/// `dzx` and `dzh` are written, and in `rest` what reaches ∂h_prev past the product of `dzh` with the weights.
pub(super) struct GruBackward {
    pub n: usize,
    pub gate: usize,
    pub zx: *const f32,
    pub zh: *const f32,
    pub h_prev: *const f32,
    pub dh: *const f32,
    pub dzx: *mut f32,
    pub dzh: *mut f32,
    pub rest: *mut f32,
}

impl Row for GruBackward {
    #[inline(always)]
    fn units(&self) -> usize {
        self.n
    }

    #[inline(always)]
    unsafe fn block<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize) {
        let GruBackward { gate: apart, zx, zh, h_prev, dh, dzx, dzh, rest, .. } = *self;
        let mut kept = Kept::<9>::new();
        for g in 3..6 {
            for p in [zx, zh, dzx, dzh] {
                ask(s, p.wrapping_add(g * apart + j), n);
            }
        }
        ask(s, h_prev.wrapping_add(apart + j), n);
        // SAFETY: units from j on (the contract and the promise); a stage takes what one before it kept.
        unsafe {
            for v in (0..n).step_by(LANES) {
                for g in 0..2 {
                    let x = get::<S, PART>(s, zx.add(g * apart + j + v), n);
                    let z = s.add(x, get::<S, PART>(s, zh.add(g * apart + j + v), n));
                    kept.put(s, 2 * g, v, [z, gate_start(s, z)]);
                }
            }
            for v in (0..n).step_by(LANES) {
                let [z, e] = kept.get(s, 0, v);
                let r = gate_finish(s, z, e);
                let y = get::<S, PART>(s, zh.add(2 * apart + j + v), n);
                let z = s.fma(r.open, y, get::<S, PART>(s, zx.add(2 * apart + j + v), n));
                kept.put(s, 4, v, [r.open, r.slope, z]);
                kept.put(s, 7, v, squash_start(s, z));
            }
            for v in (0..n).step_by(LANES) {
                let at = j + v;
                let dh = get::<S, PART>(s, dh.add(at), n);
                let [z, e] = kept.get(s, 2, v);
                let Gate { open: keep, shut: take, slope } = gate_finish(s, z, e);
                let hn = get::<S, PART>(s, zh.add(2 * apart + at), n);
                let [r, r_slope, z] = kept.get(s, 4, v);
                let (new, steep) = squash_finish(s, z, kept.get(s, 7, v));
                let old = get::<S, PART>(s, h_prev.add(at), n);

                let dzz = s.mul(s.mul(dh, s.sub(old, new)), slope);
                let dzn = s.mul(s.mul(dh, take), steep);
                let dzr = s.mul(s.mul(dzn, hn), r_slope);
                put::<S, PART>(s, dzx.add(at), dzr, n);
                put::<S, PART>(s, dzh.add(at), dzr, n);
                put::<S, PART>(s, dzx.add(apart + at), dzz, n);
                put::<S, PART>(s, dzh.add(apart + at), dzz, n);
                put::<S, PART>(s, dzx.add(2 * apart + at), dzn, n);
                put::<S, PART>(s, dzh.add(2 * apart + at), s.mul(dzn, r), n);
                put::<S, PART>(s, rest.add(at), s.mul(dh, keep), n);
            }
        }
    }
}

macro_rules! rows {
    ($($row:ident)*) => {$(
        impl Kernel for &$row {
            type Out = ();

            #[inline(always)]
            fn run<S: Simd>(self, s: S) {
                walk(s, self);
            }
        }
    )*};
}
rows!(LstmForward LstmBackward GruForward GruBackward);
