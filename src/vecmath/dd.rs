//! Sums of two floats: `hi` carries the value, `lo` what it lost.

use crate::simd::Simd;

/// hi + lo, with |lo| a few units in the last place of hi at most.
#[derive(Clone, Copy)]
pub struct Dd<F> {
    pub hi: F,
    pub lo: F,
}

/// a + b, exactly, for any a and b whose sum is finite.
#[inline(always)]
pub fn two_sum<S: Simd>(s: S, a: S::F, b: S::F) -> Dd<S::F> {
    let hi = s.add(a, b);
    let bb = s.sub(hi, a);
    Dd { hi, lo: s.add(s.sub(a, s.sub(hi, bb)), s.sub(b, bb)) }
}

/// a + b, exactly, where |a| ≥ |b| or a = 0.
#[inline(always)]
pub fn fast_two_sum<S: Simd>(s: S, a: S::F, b: S::F) -> Dd<S::F> {
    let hi = s.add(a, b);
    Dd { hi, lo: s.add(s.sub(a, hi), b) }
}

shared! {
    /// a·b, exactly, where nothing underflows.
    pub fn two_prod(s, a: S::F, b: S::F) -> Dd<S::F> {
        let hi = s.mul(a, b);
        let lo = if S::FUSED { s.fms(a, b, hi) } else { s.neg(rest(s, a, b, hi)) };
        Dd { hi, lo }
    }
}

/// c − a·b, exactly, where c is near a·b and nothing underflows.
#[inline(always)]
pub fn rest<S: Simd>(s: S, a: S::F, b: S::F, c: S::F) -> S::F {
    if S::FUSED {
        return s.fnma(a, b, c);
    }
    // Halves of 12 bits, whose products are exact (Dekker).
    let half = s.from_bits(s.splat_i(!0xfff));
    let (a1, b1) = (s.and(a, half), s.and(b, half));
    let (a2, b2) = (s.sub(a, a1), s.sub(b, b1));
    let c = s.sub(s.sub(c, s.mul(a1, b1)), s.mul(a1, b2));
    s.sub(s.sub(c, s.mul(a2, b1)), s.mul(a2, b2))
}

/// a + b where |a| ≥ |b.hi| or a = 0.
#[inline(always)]
pub fn fast_add<S: Simd>(s: S, a: S::F, b: Dd<S::F>) -> Dd<S::F> {
    let sum = fast_two_sum(s, a, b.hi);
    Dd { hi: sum.hi, lo: s.add(sum.lo, b.lo) }
}

/// a + b.
#[inline(always)]
pub fn add<S: Simd>(s: S, a: Dd<S::F>, b: Dd<S::F>) -> Dd<S::F> {
    let sum = two_sum(s, a.hi, b.hi);
    Dd { hi: sum.hi, lo: s.add(sum.lo, s.add(a.lo, b.lo)) }
}

/// a·b.
#[inline(always)]
pub fn mul<S: Simd>(s: S, a: Dd<S::F>, b: Dd<S::F>) -> Dd<S::F> {
    let p = two_prod(s, a.hi, b.hi);
    Dd { hi: p.hi, lo: s.fma(a.hi, b.lo, s.fma(a.lo, b.hi, p.lo)) }
}

/// a·b of a float and a sum.
#[inline(always)]
pub fn mul_f<S: Simd>(s: S, a: S::F, b: Dd<S::F>) -> Dd<S::F> {
    let p = two_prod(s, a, b.hi);
    Dd { hi: p.hi, lo: s.fma(a, b.lo, p.lo) }
}

/// a·b for a power of two.
#[inline(always)]
pub fn scale<S: Simd>(s: S, power: S::F, a: Dd<S::F>) -> Dd<S::F> {
    Dd { hi: s.mul(power, a.hi), lo: s.mul(power, a.lo) }
}

/// a².
#[inline(always)]
pub fn square<S: Simd>(s: S, a: Dd<S::F>) -> Dd<S::F> {
    let p = two_prod(s, a.hi, a.hi);
    Dd { hi: p.hi, lo: s.fma(s.add(a.hi, a.hi), a.lo, p.lo) }
}

shared! {
    /// a/b, with one division.
    pub fn div(s, a: Dd<S::F>, b: Dd<S::F>) -> Dd<S::F> {
        let r = s.div(s.splat(1.0), b.hi);
        let hi = s.mul(a.hi, r);
        let miss = s.add(rest(s, hi, b.hi, a.hi), s.fnma(hi, b.lo, a.lo));
        Dd { hi, lo: s.mul(miss, r) }
    }
}

shared! {
    /// a/b, with one division, rounded.
    pub fn div_round(s, a: Dd<S::F>, b: Dd<S::F>) -> S::F {
        let r = s.div(s.splat(1.0), b.hi);
        let hi = s.mul(a.hi, r);
        let miss = s.add(rest(s, hi, b.hi, a.hi), s.fnma(hi, b.lo, a.lo));
        s.fma(miss, r, hi)
    }
}

/// The float nearest to the sum, but for a few hundredths of a unit.
#[inline(always)]
pub fn round<S: Simd>(s: S, a: Dd<S::F>) -> S::F {
    s.add(a.hi, a.lo)
}

/// m ? a : b.
#[inline(always)]
pub fn select<S: Simd>(s: S, m: S::M, a: Dd<S::F>, b: Dd<S::F>) -> Dd<S::F> {
    Dd { hi: s.select(m, a.hi, b.hi), lo: s.select(m, a.lo, b.lo) }
}

/// c₀ + c₁·x + … + c₅·x⁵ by Estrin's rule: as many operations as Horner's, half as long a chain.
#[inline(always)]
pub fn estrin6<S: Simd>(s: S, c: &[f32; 6], x: S::F, x2: S::F) -> S::F {
    let pair = |i: usize| (s.splat(c[i + 1]), s.splat(c[i]));
    let (a, b, d) = (pair(0), pair(2), pair(4));
    let (a, b, d) = (s.fma(a.0, x, a.1), s.fma(b.0, x, b.1), s.fma(d.0, x, d.1));
    s.fma(s.fma(d, x2, b), x2, a)
}

/// c₀ + … + c₄·x⁴ likewise.
#[inline(always)]
pub fn estrin5<S: Simd>(s: S, c: &[f32; 5], x: S::F, x2: S::F) -> S::F {
    let (low, mid) = (s.fma(s.splat(c[1]), x, s.splat(c[0])), s.fma(s.splat(c[3]), x, s.splat(c[2])));
    s.fma(s.fma(s.splat(c[4]), x2, mid), x2, low)
}

/// c₀ + … + c₉·x⁹ likewise.
#[inline(always)]
pub fn estrin10<S: Simd>(s: S, c: &[f32; 10], x: S::F, x2: S::F) -> S::F {
    let pair = |i: usize| (s.splat(c[i + 1]), s.splat(c[i]));
    let (p, q, t, u, v) = (pair(0), pair(2), pair(4), pair(6), pair(8));
    let (p, q, t) = (s.fma(p.0, x, p.1), s.fma(q.0, x, q.1), s.fma(t.0, x, t.1));
    let (u, v) = (s.fma(u.0, x, u.1), s.fma(v.0, x, v.1));
    let x4 = s.mul(x2, x2);
    let (low, mid) = (s.fma(q, x2, p), s.fma(u, x2, t));
    s.fma(s.fma(v, x4, mid), x4, low)
}

/// The polynomial of these coefficients, lowest first, by Horner's rule.
#[inline(always)]
pub fn horner<S: Simd>(s: S, coefficients: &[f32], x: S::F) -> S::F {
    let (last, rest) = coefficients.split_last().expect("a polynomial has a coefficient");
    let mut sum = s.splat(*last);
    for &c in rest.iter().rev() {
        sum = s.fma(sum, x, s.splat(c));
    }
    sum
}
