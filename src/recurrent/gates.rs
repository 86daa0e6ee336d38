//! The gates of one row: what a cell computes once its pre-activations are known, and back.
//!
//! Derivatives are those of the pre-activations, from e = exp(−|z|); nothing is taken from a gate that rounded to 1.

use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath::{Gate, decay_abs, gate, sigmoid, sigmoid_from, tanh, tanh_and_slope};

/// A row of units, computed a vector of them at a time.
trait Row {
    fn units(&self) -> usize;

    /// The units from j on: a vector of them, or, if `PART`, the `n` < 16 that are left.
    ///
    /// # Safety
    /// There are as many.
    unsafe fn vector<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize);
}

#[inline(always)]
fn walk<S: Simd, R: Row>(s: S, row: &R) {
    let n = row.units();
    let whole = if S::COMPACT { 0 } else { n / LANES * LANES };
    for j in (0..whole).step_by(LANES) {
        // SAFETY: j + 16 <= n.
        unsafe { row.vector::<S, false>(s, j, LANES) };
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
        unsafe { self.row.vector::<S, true>(s, self.j, LANES.min(self.row.units() - self.j)) };
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

/// `n` units of one row. Gates stand `gate` elements apart.
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
    unsafe fn vector<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize) {
        let LstmForward { gate: apart, z, bias, c_prev, c, h, .. } = *self;
        // SAFETY: units from j on (the contract and the promise of LstmForward).
        unsafe {
            let mut zs = [s.zero(); 4];
            for g in 0..4 {
                zs[g] = with_bias::<S, PART>(s, z, bias, g * apart + j, n);
            }
            let i = sigmoid(s, zs[0]);
            let f = sigmoid(s, zs[1]);
            let g = tanh(s, zs[2]);
            let state = s.fma(f, get::<S, PART>(s, c_prev.add(j), n), s.mul(i, g));
            let o = sigmoid(s, zs[3]);
            put::<S, PART>(s, c.add(j), state, n);
            put::<S, PART>(s, h.add(j), s.mul(o, tanh(s, state)), n);
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
    unsafe fn vector<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize) {
        let LstmBackward { gate: apart, z, c_prev, c, dh, dc, dz, dc_prev, .. } = *self;
        // SAFETY: units from j on (the contract and the promise); dc is read before dc_prev is written.
        unsafe {
            let dh = get::<S, PART>(s, dh.add(j), n);
            let dc = if dc.is_null() { s.zero() } else { get::<S, PART>(s, dc.add(j), n) };
            let o = gate(s, get::<S, PART>(s, z.add(3 * apart + j), n));
            let (tanh_c, slope) = tanh_and_slope(s, get::<S, PART>(s, c.add(j), n));
            put::<S, PART>(s, dz.add(3 * apart + j), s.mul(s.mul(dh, tanh_c), o.slope), n);
            let dc = s.fma(s.mul(dh, o.open), slope, dc);

            let f = gate(s, get::<S, PART>(s, z.add(apart + j), n));
            let c_prev = get::<S, PART>(s, c_prev.add(j), n);
            put::<S, PART>(s, dz.add(apart + j), s.mul(s.mul(dc, c_prev), f.slope), n);
            put::<S, PART>(s, dc_prev.add(j), s.mul(dc, f.open), n);

            let i = gate(s, get::<S, PART>(s, z.add(j), n));
            let (g, slope) = tanh_and_slope(s, get::<S, PART>(s, z.add(2 * apart + j), n));
            put::<S, PART>(s, dz.add(j), s.mul(s.mul(dc, g), i.slope), n);
            put::<S, PART>(s, dz.add(2 * apart + j), s.mul(s.mul(dc, i.open), slope), n);
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
    unsafe fn vector<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize) {
        let GruForward { gate: apart, zx, zh, bias_x, bias_h, h_prev, h, .. } = *self;
        // SAFETY: units from j on (the contract and the promise).
        unsafe {
            let mut xs = [s.zero(); 3];
            let mut hs = [s.zero(); 3];
            for g in 0..3 {
                xs[g] = with_bias::<S, PART>(s, zx, bias_x, g * apart + j, n);
                hs[g] = with_bias::<S, PART>(s, zh, bias_h, g * apart + j, n);
            }
            let r = sigmoid(s, s.add(xs[0], hs[0]));
            let z = s.add(xs[1], hs[1]);
            let decay = decay_abs(s, z);
            let (keep, take) = (sigmoid_from(s, z, decay), sigmoid_from(s, s.neg(z), decay));
            let new = tanh(s, s.fma(r, hs[2], xs[2]));
            let old = get::<S, PART>(s, h_prev.add(j), n);
            put::<S, PART>(s, h.add(j), s.fma(keep, old, s.mul(take, new)), n);
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
    unsafe fn vector<S: Simd, const PART: bool>(&self, s: S, j: usize, n: usize) {
        let GruBackward { gate: apart, zx, zh, h_prev, dh, dzx, dzh, rest, .. } = *self;
        // SAFETY: units from j on (the contract and the promise).
        unsafe {
            let dh = get::<S, PART>(s, dh.add(j), n);
            let mut sums = [s.zero(); 2];
            for g in 0..2 {
                let x = get::<S, PART>(s, zx.add(g * apart + j), n);
                sums[g] = s.add(x, get::<S, PART>(s, zh.add(g * apart + j), n));
            }
            let r = gate(s, sums[0]);
            let Gate { open: keep, shut: take, slope } = gate(s, sums[1]);
            let hn = get::<S, PART>(s, zh.add(2 * apart + j), n);
            let (new, steep) = tanh_and_slope(s, s.fma(r.open, hn, get::<S, PART>(s, zx.add(2 * apart + j), n)));
            let old = get::<S, PART>(s, h_prev.add(j), n);

            let dzz = s.mul(s.mul(dh, s.sub(old, new)), slope);
            let dzn = s.mul(s.mul(dh, take), steep);
            let dzr = s.mul(s.mul(dzn, hn), r.slope);
            put::<S, PART>(s, dzx.add(j), dzr, n);
            put::<S, PART>(s, dzh.add(j), dzr, n);
            put::<S, PART>(s, dzx.add(apart + j), dzz, n);
            put::<S, PART>(s, dzh.add(apart + j), dzz, n);
            put::<S, PART>(s, dzx.add(2 * apart + j), dzn, n);
            put::<S, PART>(s, dzh.add(2 * apart + j), s.mul(dzn, r.open), n);
            put::<S, PART>(s, rest.add(j), s.mul(dh, keep), n);
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
