//! The gates of one row: what a cell computes once its pre-activations are known, and back.
//!
//! Derivatives are those of the pre-activations, from e = exp(−|z|); nothing is taken from a gate that rounded to 1.

use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath::{Decay, decay_abs, sech2_from, sigmoid_derivative_from, sigmoid_from, tanh, tanh_fall, tanh_from};

#[inline(always)]
fn sigmoid_pair<S: Simd>(s: S, z: S::F) -> (S::F, Decay<S::F>) {
    let d = decay_abs(s, z);
    (sigmoid_from(s, z, d), d)
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

impl Kernel for &LstmForward {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let LstmForward { n, gate, z, bias, c_prev, c, h } = *self;
        for j in (0..n).step_by(LANES) {
            let width = n - j;
            // SAFETY: elements j to n, tails masked (the promise of LstmForward).
            unsafe {
                let mut zs = [s.zero(); 4];
                for g in 0..4 {
                    zs[g] = with_bias(s, z, bias, g * gate + j, width);
                }
                let i = sigmoid_pair(s, zs[0]).0;
                let f = sigmoid_pair(s, zs[1]).0;
                let g = tanh(s, zs[2]);
                let state = s.fma(f, s.load_up_to(c_prev.add(j), width), s.mul(i, g));
                let o = sigmoid_pair(s, zs[3]).0;
                s.store_up_to(c.add(j), state, width);
                s.store_up_to(h.add(j), s.mul(o, tanh(s, state)), width);
            }
        }
    }
}

/// A pre-activation, to which the bias is added.
///
/// # Safety
/// `width` elements at `at` (or a vector of them), in z and, where it is not null, in the bias.
#[inline(always)]
unsafe fn with_bias<S: Simd>(s: S, z: *mut f32, bias: *const f32, at: usize, width: usize) -> S::F {
    // SAFETY: the contract.
    unsafe {
        let v = s.load_up_to(z.add(at), width);
        if bias.is_null() {
            return v;
        }
        let v = s.add(v, s.load_up_to(bias.add(at), width));
        s.store_up_to(z.add(at), v, width);
        v
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

impl Kernel for &LstmBackward {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let LstmBackward { n, gate, z, c_prev, c, dh, dc, dz, dc_prev } = *self;
        for j in (0..n).step_by(LANES) {
            let width = n - j;
            // SAFETY: elements j to n, tails masked (the promise); dc is read before dc_prev is written.
            unsafe {
                let dh = s.load_up_to(dh.add(j), width);
                let dc = if dc.is_null() { s.zero() } else { s.load_up_to(dc.add(j), width) };
                let fall = tanh_fall(s, s.load_up_to(c.add(j), width));
                let zo = s.load_up_to(z.add(3 * gate + j), width);
                let (o, decay) = sigmoid_pair(s, zo);
                let dzo = s.mul(
                    s.mul(dh, tanh_from(s, s.load_up_to(c.add(j), width), fall)),
                    sigmoid_derivative_from(s, decay),
                );
                s.store_up_to(dz.add(3 * gate + j), dzo, width);
                let dc = s.fma(s.mul(dh, o), sech2_from(s, fall), dc);

                let (f, decay) = sigmoid_pair(s, s.load_up_to(z.add(gate + j), width));
                let c_prev = s.load_up_to(c_prev.add(j), width);
                s.store_up_to(dz.add(gate + j), s.mul(s.mul(dc, c_prev), sigmoid_derivative_from(s, decay)), width);
                s.store_up_to(dc_prev.add(j), s.mul(dc, f), width);

                let (i, decay) = sigmoid_pair(s, s.load_up_to(z.add(j), width));
                let zg = s.load_up_to(z.add(2 * gate + j), width);
                let fall = tanh_fall(s, zg);
                let dzi = s.mul(s.mul(dc, tanh_from(s, zg, fall)), sigmoid_derivative_from(s, decay));
                s.store_up_to(dz.add(j), dzi, width);
                s.store_up_to(dz.add(2 * gate + j), s.mul(s.mul(dc, i), sech2_from(s, fall)), width);
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

impl Kernel for &GruForward {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let GruForward { n, gate, zx, zh, bias_x, bias_h, h_prev, h } = *self;
        for j in (0..n).step_by(LANES) {
            let width = n - j;
            // SAFETY: elements j to n, tails masked (the promise).
            unsafe {
                let mut xs = [s.zero(); 3];
                let mut hs = [s.zero(); 3];
                for g in 0..3 {
                    xs[g] = with_bias(s, zx, bias_x, g * gate + j, width);
                    hs[g] = with_bias(s, zh, bias_h, g * gate + j, width);
                }
                let r = sigmoid_pair(s, s.add(xs[0], hs[0])).0;
                let z = s.add(xs[1], hs[1]);
                let (keep, decay) = sigmoid_pair(s, z);
                let take = sigmoid_from(s, s.neg(z), decay);
                let new = tanh(s, s.fma(r, hs[2], xs[2]));
                let old = s.load_up_to(h_prev.add(j), width);
                s.store_up_to(h.add(j), s.fma(keep, old, s.mul(take, new)), width);
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

impl Kernel for &GruBackward {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let GruBackward { n, gate, zx, zh, h_prev, dh, dzx, dzh, rest } = *self;
        for j in (0..n).step_by(LANES) {
            let width = n - j;
            // SAFETY: elements j to n, tails masked (the promise).
            unsafe {
                let dh = s.load_up_to(dh.add(j), width);
                let mut sums = [s.zero(); 2];
                for g in 0..2 {
                    let x = s.load_up_to(zx.add(g * gate + j), width);
                    sums[g] = s.add(x, s.load_up_to(zh.add(g * gate + j), width));
                }
                let [r, z] = sums;
                let (r, r_decay) = sigmoid_pair(s, r);
                let (keep, z_decay) = sigmoid_pair(s, z);
                let take = sigmoid_from(s, s.neg(z), z_decay);
                let hn = s.load_up_to(zh.add(2 * gate + j), width);
                let zn = s.fma(r, hn, s.load_up_to(zx.add(2 * gate + j), width));
                let fall = tanh_fall(s, zn);
                let new = tanh_from(s, zn, fall);
                let old = s.load_up_to(h_prev.add(j), width);

                let dzz = s.mul(s.mul(dh, s.sub(old, new)), sigmoid_derivative_from(s, z_decay));
                let dzn = s.mul(s.mul(dh, take), sech2_from(s, fall));
                let dzr = s.mul(s.mul(dzn, hn), sigmoid_derivative_from(s, r_decay));
                s.store_up_to(dzx.add(j), dzr, width);
                s.store_up_to(dzh.add(j), dzr, width);
                s.store_up_to(dzx.add(gate + j), dzz, width);
                s.store_up_to(dzh.add(gate + j), dzz, width);
                s.store_up_to(dzx.add(2 * gate + j), dzn, width);
                s.store_up_to(dzh.add(2 * gate + j), s.mul(dzn, r), width);
                s.store_up_to(rest.add(j), s.mul(dh, keep), width);
            }
        }
    }
}
