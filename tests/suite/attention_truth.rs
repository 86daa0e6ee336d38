//! Attention in f64, and how far each result may be from it: what one rounding of every step in f32 can move, computed
//! along with the values.

use super::attention::Case;

/// A value, and the most that f32 arithmetic of any order may be off.
pub type Bounded = (Vec<f64>, Vec<f64>);

pub struct Truth {
    pub out: Bounded,
    pub lse: Bounded,
    pub dq: Bounded,
    pub dk: Bounded,
    pub dv: Bounded,
}

/// Half a unit in the last place of 1, a little more for products of errors.
const U: f64 = 1.05 / (1u64 << 24) as f64;
/// Below this f32 has fewer digits.
const TINY: f64 = 1e-37;

/// Forward and backward by their formulas. Errors grow by first order: bounds below about 0.1 mean something.
pub fn truth(x: &Case, q: &[f32], k: &[f32], v: &[f32], dout: &[f32]) -> Truth {
    let (sq, sk, d) = (x.sq, x.sk, x.d);
    let scale = x.scale as f64;
    let zero = |n: usize| (vec![0.0; n], vec![TINY; n]);
    let (heads, q_len, kv_len) = (x.batch * x.heads, x.q_len(), x.kv_len());
    let mut t = Truth { out: zero(q_len), lse: zero(heads * sq), dq: zero(q_len), dk: zero(kv_len), dv: zero(kv_len) };
    for head in 0..heads {
        for i in 0..sq {
            let qi = (head * sq + i) * d;
            let kj = |j: usize| (x.kv_head(head) * sk + j) * d;
            let n = (0..sk).filter(|&j| x.sees(i, j)).count();
            if n == 0 {
                t.lse.0[head * sq + i] = f64::NEG_INFINITY;
                continue;
            }
            // Logits, and by how much each may be off: the product's rounding and that of the difference to the maximum.
            let dot = |a: &[f32], at: usize, b: &[f32], bt: usize| -> (f64, f64) {
                (0..d).fold((0.0, 0.0), |(s, m), e| {
                    let p = a[at + e] as f64 * b[bt + e] as f64;
                    (s + p, m + p.abs())
                })
            };
            let logits: Vec<(f64, f64)> = (0..n)
                .map(|j| {
                    let (s, m) = dot(q, qi, k, kj(j));
                    (scale * s, (d + 2) as f64 * U * m * scale.abs() + TINY)
                })
                .collect();
            let top = logits.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.0));
            let sum: f64 = logits.iter().map(|x| (x.0 - top).exp()).sum();
            let lse = top + sum.ln();
            // Rescaling at each block of keys, an exponential, a sum.
            let steps = (n + 8 + 4 * n.div_ceil(128)) as f64 * U;
            let p: Vec<f64> = logits.iter().map(|x| (x.0 - lse).exp()).collect();
            let off: Vec<f64> = logits.iter().map(|x| x.1 + (top - x.0) * U).collect();
            // exp beyond its range is 0, whatever the distance.
            let moved: f64 = p.iter().zip(&off).map(|(p, e)| if *p > 0.0 { p * e } else { 0.0 }).sum();
            t.lse.0[head * sq + i] = lse;
            t.lse.1[head * sq + i] += moved + steps + 2.0 * lse.abs() * U;
            let mut out_off = vec![0.0; d];
            for e in 0..d {
                let (mut s, mut m) = (0.0, 0.0);
                for j in 0..n {
                    let pv = p[j] * v[kj(j) + e] as f64;
                    s += pv;
                    m += if pv != 0.0 { pv.abs() * (off[j] + moved + 2.0 * steps) } else { 0.0 };
                }
                t.out.0[qi + e] = s;
                t.out.1[qi + e] += m;
                out_off[e] = m;
            }
            // Backward.
            let mut delta = (0.0, 0.0);
            for e in 0..d {
                let (g, o) = (dout[qi + e] as f64, t.out.0[qi + e]);
                delta.0 += g * o;
                delta.1 += g.abs() * (out_off[e] + o.abs() * (d + 2) as f64 * U);
            }
            for j in 0..n {
                let (dp, m) = dot(dout, qi, v, kj(j));
                let relative = logits[j].1 + 2.0 * lse.abs() * U + (lse - logits[j].0) * U + moved + steps;
                let p_off = if p[j] > 0.0 { p[j] * relative } else { 0.0 } + TINY;
                let ds = p[j] * (dp - delta.0);
                let cancelled = (d + 2) as f64 * U * m + delta.1 + U * (dp.abs() + delta.0.abs());
                let ds_off = ds.abs() * (relative.min(1e9) + 2.0 * U) + p[j] * cancelled + TINY;
                for e in 0..d {
                    let (ki, ei) = (kj(j) + e, qi + e);
                    let (qv, kv, g) = (q[ei] as f64, k[ki] as f64, dout[ei] as f64);
                    t.dq.0[ei] += scale * ds * kv;
                    t.dq.1[ei] += (scale * kv).abs() * (ds_off + ds.abs() * (sk + 8) as f64 * U);
                    t.dk.0[ki] += scale * ds * qv;
                    t.dk.1[ki] += (scale * qv).abs() * (ds_off + ds.abs() * (sq * x.shared_by() + 8) as f64 * U);
                    t.dv.0[ki] += p[j] * g;
                    t.dv.1[ki] += g.abs() * (p_off + p[j] * (sq * x.shared_by() + 8) as f64 * U);
                }
            }
        }
    }
    t
}
