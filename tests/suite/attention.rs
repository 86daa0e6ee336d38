//! Attention against its specification, f64, and the inputs where others go wrong.

use super::attention_scalar;
use super::attention_truth::{Bounded, truth};
use crate::common::*;
use evenkeel::attention::*;
use evenkeel::{Context, Error};
use proptest::prelude::{ProptestConfig, proptest};

#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub scale: f32,
    pub causal: bool,
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub sq: usize,
    pub sk: usize,
    pub d: usize,
}

impl Case {
    /// One head of its own keys.
    fn plain(causal: bool, sq: usize, sk: usize, d: usize) -> Case {
        let scale = 1.0 / (d as f32).sqrt();
        Case { scale, causal, batch: 1, heads: 1, kv_heads: 1, sq, sk, d }
    }
    pub fn q_len(&self) -> usize {
        self.batch * self.heads * self.sq * self.d
    }
    pub fn kv_len(&self) -> usize {
        self.batch * self.kv_heads * self.sk * self.d
    }
    pub fn lse_len(&self) -> usize {
        self.batch * self.heads * self.sq
    }
    pub fn shared_by(&self) -> usize {
        self.heads / self.kv_heads
    }
    /// The head of keys and values of a head of queries, both counted through the batch.
    pub fn kv_head(&self, head: usize) -> usize {
        head / self.heads * self.kv_heads + head % self.heads / self.shared_by()
    }
    /// The module's rule: the last query sees all keys.
    pub fn sees(&self, i: usize, j: usize) -> bool {
        !self.causal || j as i64 <= i as i64 + (self.sk as i64 - self.sq as i64)
    }
}

/// q, k, v, dout.
pub struct Data {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
    pub dout: Vec<f32>,
}

impl Data {
    fn normal(rng: &mut Rng, x: &Case) -> Data {
        let q = rng.vec(x.q_len(), Rng::normal);
        let k = rng.vec(x.kv_len(), Rng::normal);
        let v = rng.vec(x.kv_len(), Rng::normal);
        Data { q, k, v, dout: rng.vec(x.q_len(), Rng::normal) }
    }
}

#[derive(Clone)]
pub struct Results {
    pub out: Vec<f32>,
    pub lse: Vec<f32>,
    pub dq: Vec<f32>,
    pub dk: Vec<f32>,
    pub dv: Vec<f32>,
}

impl Results {
    fn unwritten(x: &Case) -> Results {
        let (q, kv) = (vec![f32::NAN; x.q_len()], vec![f32::NAN; x.kv_len()]);
        Results { out: q.clone(), lse: vec![f32::NAN; x.lse_len()], dq: q, dk: kv.clone(), dv: kv }
    }

    fn named(&self) -> [(&'static str, &[f32]); 5] {
        [("out", &self.out), ("lse", &self.lse), ("dq", &self.dq), ("dk", &self.dk), ("dv", &self.dv)]
    }
}

fn forward(ctx: &Context, x: &Case, t: &Data, out: &mut [f32], lse: &mut [f32]) -> evenkeel::Result {
    let Case { scale, causal, batch, heads, kv_heads, sq, sk, d } = *x;
    attention_forward_f32(ctx, scale, causal, batch, heads, kv_heads, sq, sk, d, &t.q, &t.k, &t.v, out, lse)
}

/// Forward, then backward from its results.
fn both(ctx: &Context, x: &Case, t: &Data) -> Results {
    let mut r = Results::unwritten(x);
    forward(ctx, x, t, &mut r.out, &mut r.lse).expect("forward");
    let Case { scale, causal, batch, heads, kv_heads, sq, sk, d } = *x;
    attention_backward_f32(
        ctx, scale, causal, batch, heads, kv_heads, sq, sk, d, &t.q, &t.k, &t.v, &r.out, &r.lse, &t.dout, &mut r.dq,
        &mut r.dk, &mut r.dv,
    )
    .expect("backward");
    r
}

#[track_caller]
fn assert_same(what: &str, got: &Results, want: &Results) {
    for ((name, got), (_, want)) in got.named().into_iter().zip(want.named()) {
        assert_same_bits(&format!("{name} of {what}"), got, want);
    }
}

#[track_caller]
fn assert_true(what: &str, x: &Case, t: &Data, got: &Results) {
    let want = truth(x, &t.q, &t.k, &t.v, &t.dout);
    let pairs: [(&str, &[f32], &Bounded); 5] = [
        ("out", &got.out, &want.out),
        ("lse", &got.lse, &want.lse),
        ("dq", &got.dq, &want.dq),
        ("dk", &got.dk, &want.dk),
        ("dv", &got.dv, &want.dv),
    ];
    for (name, got, (value, off)) in pairs {
        assert_close(&format!("{name} of {what} {x:?}"), got, value, |i| off[i]);
    }
}

/// Tails of vectors, tiles, blocks and chunks; more queries than keys, and fewer; heads that share keys.
fn shapes() -> Vec<Case> {
    let mut all = Vec::new();
    if quick() {
        return few_shapes();
    }
    for causal in [false, true] {
        for (sq, sk, d) in [
            (1, 1, 1),
            (1, 130, 64),
            (2, 3, 7),
            (5, 5, 16),
            (17, 16, 8),
            (47, 48, 33),
            (64, 64, 64),
            (96, 129, 17),
            (129, 127, 24),
            (200, 63, 20),
            (63, 200, 100),
            (131, 131, 256),
            (257, 300, 48),
        ] {
            all.push(Case::plain(causal, sq, sk, d));
        }
        all.push(Case { batch: 2, heads: 6, kv_heads: 2, ..Case::plain(causal, 70, 90, 32) });
        all.push(Case { batch: 3, heads: 4, kv_heads: 1, ..Case::plain(causal, 30, 20, 12) });
        // Some chunks of keys.
        all.push(Case::plain(causal, 40, 1100, 8));
        all.push(Case { heads: 4, kv_heads: 2, ..Case::plain(causal, 600, 600, 4) });
    }
    all
}

/// As [`shapes`], for emulators: every tail and every path with as few numbers as reach it.
fn few_shapes() -> Vec<Case> {
    let mut all = Vec::new();
    for causal in [false, true] {
        for (sq, sk, d) in [
            (1, 1, 1),
            (1, 130, 20),
            (2, 3, 7),
            (17, 16, 8),
            (49, 47, 5),
            (66, 129, 2),
            (130, 20, 3),
            (16, 20, 64),
            (18, 21, 33),
            (9, 7, 256),
            (17, 530, 2),
        ] {
            all.push(Case::plain(causal, sq, sk, d));
        }
        all.push(Case { batch: 2, heads: 6, kv_heads: 2, ..Case::plain(causal, 7, 18, 9) });
    }
    // Long enough for threads.
    all.push(Case { heads: 2, kv_heads: 1, ..Case::plain(true, 110, 140, 17) });
    all
}

#[test]
fn the_specification_is_what_the_scalar_program_says() {
    let mut rng = Rng::new(1);
    let spec = specification();
    for x in shapes() {
        let t = Data::normal(&mut rng, &x);
        assert_same(&format!("{x:?}"), &both(&spec, &x, &t), &attention_scalar::both(&x, &t));
    }
}

#[test]
fn every_instruction_set_and_thread_count_gives_the_specifications_bits() {
    let mut rng = Rng::new(2);
    let spec = specification();
    let contexts: Vec<Context> = exact_contexts().collect();
    for x in shapes() {
        let t = Data::normal(&mut rng, &x);
        let want = both(&spec, &x, &t);
        for ctx in &contexts {
            assert_same(&format!("{x:?} {ctx:?}"), &both(ctx, &x, &t), &want);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: samples(48) as u32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_shape_has_the_specifications_bits_and_is_true(
        causal: bool, batch in 1usize..3, kv_heads in 1usize..3, shared_by in 1usize..4,
        sq in 1..samples(400).min(180), sk in 1..samples(600).min(180), d in 1..samples(400).min(80), spread in 0i32..4, seed: u64,
    ) {
        let scale = (d as f32).sqrt().recip() * [1.0, 0.0, -2.0, 20.0][spread as usize];
        let x = Case { scale, causal, batch, heads: kv_heads * shared_by, kv_heads, sq, sk, d };
        let t = Data::normal(&mut Rng::new(seed), &x);
        let want = attention_scalar::both(&x, &t);
        for ctx in exact_contexts() {
            assert_same(&format!("{x:?} {ctx:?}"), &both(&ctx, &x, &t), &want);
        }
        assert_true("any shape", &x, &t, &want);
    }
}

#[test]
fn results_are_true() {
    let mut rng = Rng::new(3);
    for ctx in contexts() {
        for x in shapes() {
            let t = Data::normal(&mut rng, &x);
            assert_true(&format!("{ctx:?}"), &x, &t, &both(&ctx, &x, &t));
        }
    }
}

#[test]
fn logits_of_ten_thousand_and_equal_rows() {
    let mut rng = Rng::new(4);
    for ctx in contexts() {
        for causal in [false, true] {
            let x = if quick() { Case::plain(causal, 18, 140, 3) } else { Case::plain(causal, 70, 150, 16) };
            let mut t = Data::normal(&mut rng, &x);
            // Logits of about ±1e4: each row is decided by one key, or by two.
            let wide = Case { scale: 1e3, ..x };
            assert_true("wide", &wide, &t, &both(&ctx, &wide, &t));
            // Gradients of 1e30 and of 1e-30.
            for size in [1e30, 1e-30] {
                let scaled = Data { dout: t.dout.iter().map(|g| g * size).collect(), ..Data::normal(&mut rng, &x) };
                assert_true("scaled", &x, &scaled, &both(&ctx, &x, &scaled));
            }
            // All keys are alike: a mean.
            let first = t.k[..x.d].to_vec();
            t.k.chunks_mut(x.d).for_each(|k| k.copy_from_slice(&first));
            assert_true("equal", &x, &t, &both(&ctx, &x, &t));
        }
    }
}

#[test]
fn logits_beyond_f32() {
    let x = Case { scale: 1.0, ..Case::plain(false, 1, 3, 1) };
    let huge = |k: [f32; 3]| Data { q: vec![1e30], k: k.to_vec(), v: vec![1.0, 2.0, 4.0], dout: vec![1.0] };
    for ctx in contexts() {
        // −Inf gets probability 0.
        let r = both(&ctx, &x, &huge([-1e30, 0.0, 0.0]));
        assert_eq!((r.out[0], r.dv.as_slice()), (3.0, &[0.0, 0.5, 0.5][..]));
        // A row of −Inf alone is like one that sees nothing.
        let r = both(&ctx, &x, &huge([-1e30; 3]));
        assert_eq!((r.out[0], r.lse[0]), (0.0, f32::NEG_INFINITY));
        assert!(r.dv.iter().chain(&r.dk).chain(&r.dq).all(|&g| g == 0.0));
        // +Inf has no softmax.
        let r = both(&ctx, &x, &huge([1e30, 0.0, 0.0]));
        assert!(r.out[0].is_nan() && r.lse[0].is_nan());
    }
}

#[test]
fn rows_that_see_nothing_have_zeros() {
    let mut rng = Rng::new(5);
    for ctx in contexts() {
        for (sq, sk) in [(5, 2), (200, 100), (130, 0), (3, 0), (0, 3)] {
            let x = Case { heads: 2, ..Case::plain(true, sq, sk, if quick() { 2 } else { 20 }) };
            let t = Data::normal(&mut rng, &x);
            let r = both(&ctx, &x, &t);
            for row in 0..x.lse_len() {
                let blind = row % sq < sq - sk.min(sq);
                let range = row * x.d..(row + 1) * x.d;
                assert_eq!(r.lse[row] == f32::NEG_INFINITY, blind, "{ctx:?} {x:?} lse {row}");
                assert_eq!(r.out[range.clone()].iter().all(|&v| v == 0.0), blind, "{ctx:?} {x:?} out {row}");
                assert!(!blind || r.dq[range].iter().all(|&v| v == 0.0), "{ctx:?} {x:?} dq {row}");
            }
            assert!(r.dk.iter().chain(&r.dv).all(|v| if sq == 0 { *v == 0.0 } else { v.is_finite() }));
        }
    }
}

/// Puts NaN and infinity into a key, a value, a query or a gradient: nobody who does not see it changes.
#[test]
fn what_is_not_finite_reaches_those_who_see_it_alone() {
    let mut rng = Rng::new(6);
    let spec = specification();
    let shapes = [(70, 70, 20), (140, 300, 20), (300, 140, 20)];
    for (sq, sk, d) in if quick() { [(20, 20, 20), (18, 140, 4), (70, 34, 4)] } else { shapes } {
        let x = Case::plain(true, sq, sk, d);
        let clean = Data::normal(&mut rng, &x);
        let before = both(&spec, &x, &clean);
        for bad in [f32::NAN, f32::INFINITY] {
            for at in [0, sk / 2, sk - 1] {
                for what in ["k", "v", "q", "dout"] {
                    let mut t =
                        Data { q: clean.q.clone(), k: clean.k.clone(), v: clean.v.clone(), dout: clean.dout.clone() };
                    // The query that sees key `at` first, if any does.
                    let row = (0..sq).find(|&i| x.sees(i, at)).expect("the last query sees all");
                    match what {
                        "k" => t.k[at * x.d + 3] = bad,
                        "v" => t.v[at * x.d + 3] = bad,
                        "q" => t.q[row * x.d + 3] = bad,
                        _ => t.dout[row * x.d + 3] = bad,
                    }
                    let r = both(&spec, &x, &t);
                    assert_same(what, &r, &attention_scalar::both(&x, &t));
                    for ctx in exact_contexts() {
                        assert_same(&format!("{what} {ctx:?}"), &both(&ctx, &x, &t), &r);
                    }
                    for i in 0..sq {
                        let touched = if what == "k" || what == "v" { i >= row } else { i == row };
                        for e in 0..x.d {
                            let (y, g) = (r.out[i * x.d + e], r.dq[i * x.d + e]);
                            let same = same_bits(y, before.out[i * x.d + e]) && same_bits(g, before.dq[i * x.d + e]);
                            assert!(
                                touched || same || y == 0.0 && g == 0.0,
                                "{what} {bad} at {at}: row {i} is {y}, {g}"
                            );
                        }
                        let shows = r.out[i * x.d..(i + 1) * x.d].iter().any(|v| !v.is_finite());
                        // An infinite logit may be −Inf, which has probability 0.
                        let certain = what == "v" || what != "dout" && bad.is_nan();
                        assert!(shows == (touched && certain) || touched && !certain, "{what} {bad} at {at}: row {i}");
                    }
                    for j in 0..sk {
                        // Keys that no query sees in whose gradients the bad number stands.
                        let last = if what == "k" || what == "v" { true } else { x.sees(row, j) };
                        let range = j * x.d..(j + 1) * x.d;
                        let finite = r.dk[range.clone()].iter().chain(&r.dv[range]).all(|v| v.is_finite());
                        assert!(last || finite, "{what} {bad} at {at}: key {j}");
                    }
                }
            }
        }
    }
}

#[test]
fn sixteen_thousand_keys() {
    // Linear in memory: a matrix of 16384² floats would be 1 GiB. Checked on some rows and keys.
    if quick() {
        return;
    }
    let n = 16384;
    let x = Case { heads: 2, kv_heads: 1, ..Case::plain(true, n, n, 8) };
    let t = Data::normal(&mut Rng::new(7), &x);
    let contexts: Vec<Context> = exact_contexts().take(3).collect();
    let r = both(&contexts[0], &x, &t);
    for ctx in &contexts[1..] {
        assert_same(&format!("{ctx:?}"), &both(ctx, &x, &t), &r);
    }
    // Row i of the long sequence is the last row of the sequence that ends with it.
    for i in [0, 1, 127, 128, 1000, n / 2 + 5, n - 1] {
        let short = Case { heads: 1, sq: 1, sk: i + 1, ..x };
        let cut = Data {
            q: t.q[i * x.d..(i + 1) * x.d].to_vec(),
            k: t.k[..(i + 1) * x.d].to_vec(),
            v: t.v[..(i + 1) * x.d].to_vec(),
            dout: t.dout[i * x.d..(i + 1) * x.d].to_vec(),
        };
        let want = truth(&short, &cut.q, &cut.k, &cut.v, &cut.dout);
        assert_close("out", &r.out[i * x.d..(i + 1) * x.d], &want.out.0, |e| want.out.1[e]);
        assert_close("dq", &r.dq[i * x.d..(i + 1) * x.d], &want.dq.0, |e| want.dq.1[e]);
    }
    // The gradient of key j, from the definition, with the rows' own lse.
    for j in [0, 77, n / 2, n - 1] {
        let (mut dv, mut size) = (vec![0.0; x.d], vec![1e-30; x.d]);
        for row in (0..2 * n).filter(|row| row % n >= j) {
            let s: f64 = (0..x.d).map(|e| t.q[row * x.d + e] as f64 * t.k[j * x.d + e] as f64).sum();
            let p = (x.scale as f64 * s - r.lse[row] as f64).exp();
            for e in 0..x.d {
                dv[e] += p * t.dout[row * x.d + e] as f64;
                size[e] += p * t.dout[row * x.d + e].abs() as f64;
            }
        }
        assert_close("dv", &r.dv[j * x.d..(j + 1) * x.d], &dv, |e| 1e-4 * size[e]);
    }
}

#[test]
fn a_heads_bits_do_not_depend_on_what_stands_beside_it() {
    let mut rng = Rng::new(8);
    let ctx = context(isas().next().expect("one"), 2);
    let one = if quick() { Case::plain(true, 18, 530, 3) } else { Case::plain(true, 150, 600, 16) };
    let x = Case { batch: 3, heads: 4, kv_heads: 2, ..one };
    let t = Data::normal(&mut rng, &x);
    let all = both(&ctx, &x, &t);
    let one = Case { batch: 1, heads: 2, kv_heads: 1, ..x };
    for item in 0..x.batch * x.kv_heads {
        let q = item * one.q_len()..(item + 1) * one.q_len();
        let kv = item * one.kv_len()..(item + 1) * one.kv_len();
        let part = Data {
            q: t.q[q.clone()].to_vec(),
            k: t.k[kv.clone()].to_vec(),
            v: t.v[kv.clone()].to_vec(),
            dout: t.dout[q.clone()].to_vec(),
        };
        let r = both(&ctx, &one, &part);
        assert_same_bits("out", &r.out, &all.out[q.clone()]);
        assert_same_bits("dq", &r.dq, &all.dq[q]);
        assert_same_bits("dk", &r.dk, &all.dk[kv.clone()]);
        assert_same_bits("dv", &r.dv, &all.dv[kv]);
    }
}

#[cfg(unix)]
#[test]
fn nothing_outside_the_slices_is_touched() {
    let mut rng = Rng::new(9);
    for ctx in contexts().chain([context(isas().next().expect("one"), 3)]) {
        for x in shapes().into_iter().filter(|x| x.sq * x.sk < if quick() { 1000 } else { 30_000 }) {
            let t = Data::normal(&mut rng, &x);
            let want = both(&ctx, &x, &t);
            for place in [Guarded::at_end, Guarded::at_start] {
                let [q, k, v, dout] = [&t.q, &t.k, &t.v, &t.dout].map(|s| place(s));
                let blank = Results::unwritten(&x);
                let [mut out, mut lse] = [&blank.out, &blank.lse].map(|s| place(s));
                let [mut dq, mut dk, mut dv] = [&blank.dq, &blank.dk, &blank.dv].map(|s| place(s));
                let Case { scale, causal, batch, heads, kv_heads, sq, sk, d } = x;
                attention_forward_f32(
                    &ctx, scale, causal, batch, heads, kv_heads, sq, sk, d, &q, &k, &v, &mut out, &mut lse,
                )
                .expect("forward");
                attention_backward_f32(
                    &ctx, scale, causal, batch, heads, kv_heads, sq, sk, d, &q, &k, &v, &out, &lse, &dout, &mut dq,
                    &mut dk, &mut dv,
                )
                .expect("backward");
                let got =
                    Results { out: out.to_vec(), lse: lse.to_vec(), dq: dq.to_vec(), dk: dk.to_vec(), dv: dv.to_vec() };
                assert_same(&format!("{x:?}"), &got, &want);
            }
        }
    }
}

#[test]
fn empty_dimensions() {
    for ctx in contexts() {
        for (batch, heads, kv_heads) in [(0, 4, 2), (2, 0, 2), (2, 0, 0)] {
            let x = Case { batch, heads, kv_heads, ..Case::plain(true, 5, 6, 8) };
            let r = both(&ctx, &x, &Data::normal(&mut Rng::new(1), &x));
            assert!(r.dk.iter().chain(&r.dv).all(|&v| v == 0.0), "{x:?}");
        }
        // Without dimensions all logits are 0, whatever the scale.
        let x = Case::plain(true, 3, 3, 0);
        let r = both(&ctx, &x, &Data::normal(&mut Rng::new(1), &x));
        assert_eq!(r.lse, [0.0, 2f32.ln(), 3f32.ln()]);
        let x = Case::plain(false, 2, 0, 4);
        let r = both(&ctx, &x, &Data::normal(&mut Rng::new(1), &x));
        assert!(r.lse.iter().all(|&l| l == f32::NEG_INFINITY) && r.out.iter().chain(&r.dq).all(|&v| v == 0.0));
    }
}

#[test]
fn bad_arguments_are_named_and_nothing_is_written() {
    let ctx = &specification();
    let message = |x: Case, lengths: [usize; 5]| -> Error {
        let [q, kv, out, lse, dkv] = lengths;
        let t = [vec![0.0; q], vec![0.0; kv]];
        let Case { scale, causal, batch, heads, kv_heads, sq, sk, d } = x;
        let (mut y, mut l, mut dk, mut dv) = (vec![7.0; out], vec![7.0; lse], vec![7.0; dkv], vec![7.0; kv]);
        let forward = attention_forward_f32(
            ctx, scale, causal, batch, heads, kv_heads, sq, sk, d, &t[0], &t[1], &t[1], &mut y, &mut l,
        );
        let lse = l.clone();
        let backward = attention_backward_f32(
            ctx, scale, causal, batch, heads, kv_heads, sq, sk, d, &t[0], &t[1], &t[1], &t[0], &lse, &t[0], &mut y,
            &mut dk, &mut dv,
        );
        if forward.is_ok() {
            // Only the backward pass has what is wrong.
            return backward.expect_err("a bad argument");
        }
        assert!(backward.is_err() && [y, l, dk, dv].concat().iter().all(|&v| v == 7.0));
        forward.expect_err("a bad argument")
    };
    let x = Case { batch: 2, heads: 6, kv_heads: 3, ..Case::plain(true, 4, 5, 8) };
    let good = [x.q_len(), x.kv_len(), x.q_len(), x.lse_len(), x.kv_len()];
    let text = |x, lengths| message(x, lengths).to_string();
    assert_eq!(
        text(Case { kv_heads: 4, ..x }, good),
        "attention_forward_f32: kv_heads is 4, which does not divide heads = 6"
    );
    assert_eq!(
        text(Case { kv_heads: 0, ..x }, good),
        "attention_forward_f32: kv_heads is 0, which does not divide heads = 6"
    );
    let e = message(Case { d: 257, ..x }, good);
    assert!(matches!(e, Error::Unsupported { .. }));
    assert_eq!(e.to_string(), "attention_forward_f32: head_dim is 257, at most 256");
    for (at, want) in [
        (0, "attention_forward_f32: q holds 383 elements, expected 384"),
        (1, "attention_forward_f32: k holds 239 elements, expected 240"),
        (2, "attention_forward_f32: out holds 383 elements, expected 384"),
        (3, "attention_forward_f32: lse holds 47 elements, expected 48"),
        (4, "attention_backward_f32: dk holds 239 elements, expected 240"),
    ] {
        let mut lengths = good;
        lengths[at] -= 1;
        assert_eq!(text(x, lengths), want);
    }
    let huge = usize::MAX / 4;
    assert!(matches!(message(Case { sk: huge, ..x }, good), Error::InvalidSize { .. }));
    assert!(matches!(message(Case { sq: huge, d: 0, ..x }, good), Error::InvalidSize { .. }));
}
