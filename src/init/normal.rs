//! Normal numbers: Box–Muller on pairs of words, 16 pairs at a time.

use crate::random::{WORDS, Words};
use crate::simd::{Kernel, LANES, Simd};
use crate::vecmath;
use std::f32::consts::FRAC_PI_2;

pub(super) struct Normal<'a> {
    pub(super) words: Words,
    pub(super) mean: f32,
    pub(super) std: f32,
    pub(super) w: &'a mut [f32],
}

impl Kernel for Normal<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (mean, std) = (s.splat(self.mean), s.splat(self.std));
        for out in self.w.chunks_mut(WORDS) {
            let words = self.words.next(s);
            for (&[radius, angle], out) in words.as_chunks::<2>().0.iter().zip(out.chunks_mut(2 * LANES)) {
                let r = radius_of(s, radius);
                let (cos, sin) = cos_sin(s, angle);
                let (p, n) = (out.as_mut_ptr(), out.len());
                // SAFETY: out holds n floats, and the second half is written only if there is one.
                unsafe {
                    s.store_up_to(p, s.fma(s.mul(r, cos), std, mean), n);
                    if n > LANES {
                        s.store_up_to(p.add(LANES), s.fma(s.mul(r, sin), std, mean), n - LANES);
                    }
                }
            }
        }
    }
}

/// √(−2 ln u), u = ((word >> 1) | 1)/2³¹: never 0, and 1 where it rounds to it.
#[inline(always)]
fn radius_of<S: Simd>(s: S, word: S::I) -> S::F {
    let odd = s.or_i(s.shr_i::<1>(word), s.splat_i(1));
    let u = s.mul(s.from_int(odd), s.splat(1.0 / (1u32 << 31) as f32));
    s.sqrt(s.mul(s.splat(-2.0), vecmath::log(s, u)))
}

// scripts/sincos_quarter.py: sin(π/2·f) = f·P(f²) and cos(π/2·f) = 1 + f²·Q(f²) for |f| ≤ 1/2.
const SIN: [f32; 4] = [FRAC_PI_2, -6.459635e-01, 7.968022e-02, -4.602149e-03]; // error 5.29e-08
const COS: [f32; 4] = [-1.2337005e+00, 2.536694e-01, -2.0861529e-02, 9.067399e-04]; // error 3.64e-08

/// cos θ and sin θ, θ = 2π·word/2³², to about 1 ULP of 1.
#[inline(always)]
fn cos_sin<S: Simd>(s: S, word: S::I) -> (S::F, S::F) {
    // θ is `quarter` quarter turns and a rest f of at most half of one.
    let quarter = s.shr_i::<30>(s.add_i(word, s.splat_i(1 << 29)));
    let rest = s.sub_i(word, s.shl_i::<30>(quarter));
    let f = s.mul(s.from_int(rest), s.splat(1.0 / (1 << 30) as f32));
    let f2 = s.mul(f, f);
    let poly = |c: [f32; 4]| {
        let p = s.fma(s.splat(c[3]), f2, s.splat(c[2]));
        s.fma(s.fma(p, f2, s.splat(c[1])), f2, s.splat(c[0]))
    };
    let sin = s.mul(f, poly(SIN));
    let cos = s.fma(poly(COS), f2, s.splat(1.0));
    // A quarter turn takes (cos, sin) to (−sin, cos).
    let odd = s.eq_i(s.and_i(quarter, s.splat_i(1)), s.splat_i(1));
    let sign = |bit: S::I| s.from_bits(s.shl_i::<30>(s.and_i(bit, s.splat_i(2))));
    let (c, d) = (s.select(odd, sin, cos), s.select(odd, cos, sin));
    (s.xor(c, sign(s.add_i(quarter, s.splat_i(1)))), s.xor(d, sign(quarter)))
}
