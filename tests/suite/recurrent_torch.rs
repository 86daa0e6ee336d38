//! PyTorch's weights give PyTorch's outputs and gradients: numbers that scripts/recurrent_vectors.py recorded.

use crate::common::{context, isas};
use crate::recurrent_cases::{Case, Kind};
use evenkeel::Activation;
use std::collections::HashMap;

struct Recorded {
    kind: String,
    dims: [usize; 4],
    lengths: Option<Vec<usize>>,
    tensors: HashMap<String, Vec<f32>>,
}

fn recorded() -> Vec<Recorded> {
    let mut cases: Vec<Recorded> = Vec::new();
    for line in include_str!("../data/recurrent.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().expect("a name");
        if name == "case" {
            let kind = words.next().expect("a kind").to_owned();
            let dims: Vec<usize> = words.map(|w| w.parse().expect("a dimension")).collect();
            cases.push(Recorded { kind, dims: dims.try_into().expect("four"), lengths: None, tensors: HashMap::new() });
            continue;
        }
        let case = cases.last_mut().expect("a case comes first");
        if name == "lengths" {
            case.lengths = Some(words.map(|w| w.parse().expect("a length")).collect());
        } else {
            case.tensors.insert(name.to_owned(), words.map(|w| w.parse().expect("a number")).collect());
        }
    }
    cases
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    // PyTorch sums in other orders: a few units of the largest entry, for each of up to 9 steps.
    let most = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= 4e-6 * most.max(0.1), "{what}: element {i} is {g:e}, PyTorch has {w:e}");
    }
}

#[test]
fn pytorch_has_the_same_outputs_and_gradients() {
    let all = recorded();
    assert_eq!(all.len(), 12);
    for ctx in isas().map(|isa| context(isa, 1)) {
        for r in &all {
            let [seq, batch, input, hidden] = r.dims;
            let kind = match r.kind.as_str() {
                "tanh" => Kind::Rnn(Activation::Tanh, 0.0),
                "relu" => Kind::Rnn(Activation::Relu, 0.0),
                "lstm" => Kind::Lstm,
                "gru" => Kind::Gru,
                other => panic!("kind {other}"),
            };
            let of = |name: &str| r.tensors.get(name).unwrap_or_else(|| panic!("{} has no {name}", r.kind)).clone();
            let gru = kind == Kind::Gru;
            let summed: Vec<f32> = of("b_ih").iter().zip(of("b_hh")).map(|(a, b)| a + b).collect();
            let lstm = |name: &str| (kind == Kind::Lstm).then(|| of(name));
            let mut dh = of("dh");
            if let Some(lengths) = &r.lengths {
                // PyTorch's outputs there are zeros that depend on nothing.
                for (at, row) in dh.chunks_mut(hidden).enumerate() {
                    if at / batch >= lengths[at % batch] {
                        row.fill(0.0);
                    }
                }
            }
            let case = Case {
                kind,
                seq,
                batch,
                input,
                hidden,
                x: of("x"),
                lengths: r.lengths.clone(),
                w_ih: of("w_ih"),
                w_hh: of("w_hh"),
                bias: Some(if gru { of("b_ih") } else { summed }),
                bias_h: gru.then(|| of("b_hh")),
                h0: Some(of("h0")),
                c0: lstm("c0"),
                dh: Some(dh),
                dh_last: Some(of("dh_last")),
                dc_last: lstm("dc_last"),
                old: None,
            };
            let got = case.run(&ctx);
            let what = |name: &str| format!("{} {:?} {name} on {ctx:?}", r.kind, r.dims);
            let mut out = got.h.clone();
            for (at, row) in out.chunks_mut(hidden).enumerate() {
                if r.lengths.as_ref().is_some_and(|n| at / batch >= n[at % batch]) {
                    row.fill(0.0);
                }
            }
            let last = (seq - 1) * batch * hidden;
            close(&what("out"), &out, &of("out"));
            close(&what("h_last"), &got.h[last..], &of("h_last"));
            for (name, got) in [("dx", &got.dx), ("dh0", &got.dh0), ("dw_ih", &got.dw_ih), ("dw_hh", &got.dw_hh)] {
                close(&what(name), got, &of(name));
            }
            close(&what("db_ih"), &got.dbias, &of("db_ih"));
            close(&what("db_hh"), if gru { &got.dbias_h } else { &got.dbias }, &of("db_hh"));
            if kind == Kind::Lstm {
                close(&what("c_last"), &got.c[last..], &of("c_last"));
                close(&what("dc0"), &got.dc0, &of("dc0"));
            }
        }
    }
}
