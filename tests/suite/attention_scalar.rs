//! The order of every sum of attention, one number at a time.

use super::attention::{Case, Data, Results};
use evenkeel::attention::{CHUNKS, KEY_BLOCK, KEY_CHUNK, QUERY_BLOCK};
use evenkeel::simd::{Scalar, Simd};
use evenkeel::vecmath;

/// Rows, and keys, that share the end of a sum on the diagonal.
const GROUP: usize = 16;

/// Each exponential, some at a time: the specification's vector has 16 lanes.
fn exps(x: &[f32]) -> Vec<f32> {
    let some = |x: &[f32]| {
        let lanes: [f32; 16] = std::array::from_fn(|i| x.get(i).copied().unwrap_or(0.0));
        Scalar.to_array(vecmath::exp_fall(Scalar, Scalar.from_array(lanes))).into_iter().take(x.len())
    };
    x.chunks(16).flat_map(some).collect()
}

fn exp(x: f32) -> f32 {
    exps(&[x])[0]
}

fn ln(x: f32) -> f32 {
    Scalar.to_array(vecmath::log(Scalar, Scalar.splat(x)))[0]
}

/// Number i into lane i mod 16, lanes folded by halves.
fn in_lanes(n: usize, add: impl Fn(usize, f32) -> f32) -> f32 {
    let mut lanes = [0.0; 16];
    for i in 0..n {
        lanes[i % 16] = add(i, lanes[i % 16]);
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |s, (a, b)| a.mul_add(*b, s))
}

struct Head<'a> {
    x: &'a Case,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    dout: &'a [f32],
}

impl Head<'_> {
    fn row<'b>(&self, m: &'b [f32], i: usize) -> &'b [f32] {
        &m[i * self.x.d..(i + 1) * self.x.d]
    }

    /// The keys that query i sees are the first so many.
    fn visible(&self, i: usize) -> usize {
        (0..self.x.sk).filter(|&j| self.x.sees(i, j)).count()
    }

    fn logit(&self, i: usize, j: usize) -> f32 {
        self.x.scale.mul_add(dot(self.row(self.q, i), self.row(self.k, j)), 0.0)
    }

    fn block_is_finite(&self, m: &[f32], from: usize, to: usize) -> bool {
        m[from * self.x.d..to * self.x.d].iter().all(|v| v.is_finite())
    }

    /// The keys over which query i sums in the block j0..end.
    fn sum_end(&self, i: usize, j0: usize, end: usize, left_out: bool) -> usize {
        let sharing = ((i / GROUP + 1) * GROUP).min(self.x.sq) - 1;
        end.min(self.visible(if left_out { i } else { sharing })).max(j0)
    }

    /// out and lse of query i.
    fn forward(&self, i: usize) -> (Vec<f32>, f32) {
        let (d, n) = (self.x.d, self.visible(i));
        let (mut out, mut m, mut l) = (vec![0.0; d], f32::NEG_INFINITY, 0f32);
        for j0 in (0..n).step_by(KEY_BLOCK) {
            let end = self.x.sk.min(j0 + KEY_BLOCK);
            let seen = n.min(end);
            let logits: Vec<f32> = (j0..seen).map(|j| self.logit(i, j)).collect();
            let top = logits.iter().fold(m, |m, &x| if x > m { x } else { m });
            let pivot = if top == f32::NEG_INFINITY { 0.0 } else { top };
            let factor = exp(m - pivot);
            let p = exps(&logits.iter().map(|x| x - pivot).collect::<Vec<_>>());
            l = l.mul_add(factor, in_lanes(p.len(), |j, s| s + p[j]));
            m = top;
            let sum_end = self.sum_end(i, j0, end, !self.block_is_finite(self.v, j0, end));
            for e in 0..d {
                let s =
                    (j0..sum_end).fold(0.0, |s, j| p.get(j - j0).copied().unwrap_or(0.0).mul_add(self.v[j * d + e], s));
                out[e] = if j0 == 0 { 1f32.mul_add(s, 0.0) } else { 1f32.mul_add(s, factor * out[e]) };
            }
        }
        let pivot = if m == f32::NEG_INFINITY { 0.0 } else { m };
        (out.iter().map(|y| if l == 0.0 { 0.0 } else { y / l }).collect(), pivot + ln(l))
    }
}

/// p and ds of every pair, zero where a query does not see.
fn pairs(h: &Head<'_>, out: &[f32], lse: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (sq, sk) = (h.x.sq, h.x.sk);
    let (mut p, mut ds) = (vec![0.0; sq * sk], vec![0.0; sq * sk]);
    for i in 0..sq {
        let (g, y) = (h.row(h.dout, i), h.row(out, i));
        let delta = in_lanes(h.x.d, |e, s| g[e].mul_add(y[e], s));
        let lse = if lse[i] == f32::NEG_INFINITY { f32::INFINITY } else { lse[i] };
        let n = h.visible(i);
        p[i * sk..i * sk + n].copy_from_slice(&exps(&(0..n).map(|j| h.logit(i, j) - lse).collect::<Vec<_>>()));
        for j in 0..n {
            ds[i * sk + j] = p[i * sk + j] * (dot(g, h.row(h.v, j)) - delta);
        }
    }
    (p, ds)
}

/// The dq of query i.
fn query_gradient(h: &Head<'_>, i: usize, ds: &[f32]) -> Vec<f32> {
    let Case { sq, sk, d, scale, .. } = *h.x;
    let length = KEY_CHUNK.max(sk.div_ceil(CHUNKS)).next_multiple_of(KEY_BLOCK);
    let n = h.visible(i);
    let mut dq = vec![0.0; d];
    for c0 in (0..n).step_by(length) {
        let mut part = vec![0.0; d];
        for j0 in (c0..n.min(c0 + length)).step_by(KEY_BLOCK) {
            let end = sk.min(j0 + KEY_BLOCK);
            let (i0, i1) = query_block(h, i, j0);
            let left_out = !(h.block_is_finite(h.k, j0, end)
                && h.block_is_finite(h.q, i0, i1)
                && h.block_is_finite(h.dout, i0, i1));
            let sum_end = h.sum_end(i, j0, end, left_out && h.visible(i0) < end);
            for e in 0..d {
                let s = (j0..sum_end).fold(0.0, |s, j| ds[i * sk + j].mul_add(h.k[j * d + e], s));
                part[e] = scale.mul_add(s, part[e]);
            }
        }
        for e in 0..d {
            dq[e] = if c0 == 0 { part[e] } else { dq[e] + part[e] };
        }
    }
    assert!(i < sq);
    dq
}

/// The block of queries around i whose first sees key j0.
fn query_block(h: &Head<'_>, i: usize, j0: usize) -> (usize, usize) {
    let first = (0..h.x.sq).find(|&i| h.x.sees(i, j0)).expect("i does");
    ((i / QUERY_BLOCK * QUERY_BLOCK).max(first), h.x.sq.min((i / QUERY_BLOCK + 1) * QUERY_BLOCK))
}

/// Adds what one head of queries gives key j.
fn key_gradient(h: &Head<'_>, j: usize, p: &[f32], ds: &[f32], dk: &mut [f32], dv: &mut [f32]) {
    let Case { sq, sk, d, scale, .. } = *h.x;
    let j0 = j / KEY_BLOCK * KEY_BLOCK;
    let end = sk.min(j0 + KEY_BLOCK);
    let Some(mut i) = (0..sq).find(|&i| h.x.sees(i, j0)) else { return };
    while i < sq {
        let (i0, i1) = query_block(h, i, j0);
        let finite =
            h.block_is_finite(h.k, j0, end) && h.block_is_finite(h.q, i0, i1) && h.block_is_finite(h.dout, i0, i1);
        // 16 keys share the first query, unless what is not finite is left out.
        let leader = if h.visible(i0) >= end {
            j0
        } else if finite {
            j0 + (j - j0) / GROUP * GROUP
        } else {
            j
        };
        let from = (i0..i1).find(|&i| h.x.sees(i, leader)).unwrap_or(i1);
        if from < i1 {
            for e in 0..d {
                let sum = |m: &[f32], g: &[f32]| (from..i1).fold(0.0, |s, i| m[i * sk + j].mul_add(g[i * d + e], s));
                dv[e] = 1f32.mul_add(sum(p, h.dout), dv[e]);
                dk[e] = scale.mul_add(sum(ds, h.q), dk[e]);
            }
        }
        i = i1;
    }
}

/// All results, forward and backward.
pub fn both(x: &Case, t: &Data) -> Results {
    let (sq, sk, d) = (x.sq, x.sk, x.d);
    let (mut dk, mut dv) = (vec![0.0; x.kv_len()], vec![0.0; x.kv_len()]);
    let (mut out, mut lse, mut dq) = (Vec::new(), Vec::new(), Vec::new());
    for head in 0..x.batch * x.heads {
        let (q, kv) = (head * sq * d..(head + 1) * sq * d, x.kv_head(head) * sk * d..(x.kv_head(head) + 1) * sk * d);
        let h = Head { x, q: &t.q[q.clone()], k: &t.k[kv.clone()], v: &t.v[kv.clone()], dout: &t.dout[q] };
        let (rows, sums): (Vec<_>, Vec<_>) = (0..sq).map(|i| h.forward(i)).unzip();
        let rows = rows.concat();
        let (p, ds) = pairs(&h, &rows, &sums);
        for i in 0..sq {
            dq.extend(query_gradient(&h, i, &ds));
        }
        for j in 0..sk {
            let at = kv.start + j * d..kv.start + (j + 1) * d;
            key_gradient(&h, j, &p, &ds, &mut dk[at.clone()], &mut dv[at]);
        }
        out.extend(rows);
        lse.extend(sums);
    }
    Results { out, lse, dq, dk, dv }
}
