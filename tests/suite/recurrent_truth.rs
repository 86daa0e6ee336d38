//! Recurrences against a backward pass through time in f64: ordinary, saturated, and over a thousand steps.

use crate::common::{context, isas, quick};
use crate::recurrent_cases::{Case, KINDS, Kind, Results};
use evenkeel::{Activation, Context};

/// The gradients in f64, of exactly the function that is computed: past its length a row's state stays as it was.
struct Truth {
    h: Vec<f64>,
    dx: Vec<f64>,
    dw_ih: Vec<f64>,
    dw_hh: Vec<f64>,
    dbias: Vec<f64>,
    dbias_h: Vec<f64>,
    dh0: Vec<f64>,
    dc0: Vec<f64>,
    norms: Vec<f64>,
}

fn sigmoid(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    if z < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

fn sigmoid_slope(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    e / (1.0 + e).powi(2)
}

fn sech2(z: f64) -> f64 {
    4.0 * sigmoid_slope(2.0 * z)
}

fn phi(act: Activation, param: f32, z: f64) -> (f64, f64) {
    match act {
        Activation::Tanh => (z.tanh(), sech2(z)),
        Activation::LeakyRelu if z > 0.0 => (z, 1.0),
        Activation::LeakyRelu => (z * param as f64, param as f64),
        _ => panic!("{act:?} has no truth here"),
    }
}

fn wide_of(v: &Option<Vec<f32>>, n: usize) -> Vec<f64> {
    v.as_ref().map_or(vec![0.0; n], |v| v.iter().map(|&v| v as f64).collect())
}

impl Truth {
    fn of(case: &Case) -> Truth {
        let Case { kind, seq, batch, input, hidden, ref x, ref w_ih, ref w_hh, .. } = *case;
        let wide = case.wide();
        let states = batch * hidden;
        let gru = kind == Kind::Gru;
        let (bias, bias_h) = (wide_of(&case.bias, wide), wide_of(&case.bias_h, wide));
        // Step 0 is before the first.
        let mut h = wide_of(&case.h0, states);
        let mut c = wide_of(&case.c0, states);
        let (mut zx, mut zh) = (Vec::new(), Vec::new());
        let live = |t: usize, b: usize| case.lengths.as_ref().is_none_or(|n| t < n[b]);
        for t in 0..seq {
            for b in 0..batch {
                for j in 0..wide {
                    let from_x: f64 =
                        (0..input).map(|i| x[(t * batch + b) * input + i] as f64 * w_ih[j * input + i] as f64).sum();
                    let from_h: f64 =
                        (0..hidden).map(|i| h[t * states + b * hidden + i] * w_hh[j * hidden + i] as f64).sum();
                    zx.push(from_x + bias[j] + if gru { 0.0 } else { from_h });
                    zh.push(from_h + bias_h[j]);
                }
            }
            for b in 0..batch {
                for u in 0..hidden {
                    let z = |g: usize| zx[(t * batch + b) * wide + g * hidden + u];
                    let y = |g: usize| zh[(t * batch + b) * wide + g * hidden + u];
                    let (h_prev, c_prev) = (h[t * states + b * hidden + u], c[t * states + b * hidden + u]);
                    if !live(t, b) {
                        h.push(h_prev);
                        c.push(c_prev);
                        continue;
                    }
                    match kind {
                        Kind::Rnn(act, param) => {
                            h.push(phi(act, param, z(0)).0);
                            c.push(0.0);
                        }
                        Kind::Lstm => {
                            let new = sigmoid(z(1)) * c_prev + sigmoid(z(0)) * z(2).tanh();
                            c.push(new);
                            h.push(sigmoid(z(3)) * new.tanh());
                        }
                        Kind::Gru => {
                            let n = (z(2) + sigmoid(z(0) + y(0)) * y(2)).tanh();
                            let keep = z(1) + y(1);
                            h.push(sigmoid(-keep) * n + sigmoid(keep) * h_prev);
                            c.push(0.0);
                        }
                    }
                }
            }
        }

        let mut dh = wide_of(&case.dh_last, states);
        let mut dc = wide_of(&case.dc_last, states);
        let old = case.old.unwrap_or(0.0) as f64;
        let mut out = Truth {
            h: h[states..].to_vec(),
            dx: vec![0.0; seq * batch * input],
            dw_ih: vec![old; wide * input],
            dw_hh: vec![old; wide * hidden],
            dbias: vec![old; wide],
            dbias_h: vec![old; wide],
            dh0: Vec::new(),
            dc0: Vec::new(),
            norms: vec![0.0; seq],
        };
        for t in (0..seq).rev() {
            if let Some(upstream) = &case.dh {
                dh.iter_mut().zip(&upstream[t * states..]).for_each(|(d, u)| *d += *u as f64);
            }
            // Squares of 1e-170 are no numbers.
            let most = dh.iter().fold(0.0f64, |m, d| m.max(d.abs()));
            let sum: f64 = dh.iter().map(|d| (d / most.max(f64::MIN_POSITIVE)).powi(2)).sum();
            out.norms[t] = most * sum.sqrt();
            for b in 0..batch {
                if !live(t, b) {
                    continue;
                }
                let (mut dzx, mut dzh) = (vec![0.0; wide], vec![0.0; wide]);
                let mut before = vec![0.0; hidden];
                for u in 0..hidden {
                    let z = |g: usize| zx[(t * batch + b) * wide + g * hidden + u];
                    let y = |g: usize| zh[(t * batch + b) * wide + g * hidden + u];
                    let at = b * hidden + u;
                    let (h_prev, c_prev, c_now) = (h[t * states + at], c[t * states + at], c[(t + 1) * states + at]);
                    let d = dh[at];
                    match kind {
                        Kind::Rnn(act, param) => dzx[u] = d * phi(act, param, z(0)).1,
                        Kind::Lstm => {
                            let d_state = dc[at] + d * sigmoid(z(3)) * sech2(c_now);
                            dzx[u] = d_state * z(2).tanh() * sigmoid_slope(z(0));
                            dzx[hidden + u] = d_state * c_prev * sigmoid_slope(z(1));
                            dzx[2 * hidden + u] = d_state * sigmoid(z(0)) * sech2(z(2));
                            dzx[3 * hidden + u] = d * c_now.tanh() * sigmoid_slope(z(3));
                            dc[at] = d_state * sigmoid(z(1));
                        }
                        Kind::Gru => {
                            let (reset, keep) = (z(0) + y(0), z(1) + y(1));
                            let inner = z(2) + sigmoid(reset) * y(2);
                            dzx[2 * hidden + u] = d * sigmoid(-keep) * sech2(inner);
                            dzh[2 * hidden + u] = dzx[2 * hidden + u] * sigmoid(reset);
                            dzx[u] = dzx[2 * hidden + u] * y(2) * sigmoid_slope(reset);
                            // h_prev − n without cancellation where n is computed anew.
                            dzx[hidden + u] = d * (h_prev - inner.tanh()) * sigmoid_slope(keep);
                            (dzh[u], dzh[hidden + u]) = (dzx[u], dzx[hidden + u]);
                            before[u] = d * sigmoid(keep);
                        }
                    }
                }
                if !gru {
                    dzh.clone_from(&dzx);
                }
                for j in 0..wide {
                    for i in 0..input {
                        let at = (t * batch + b) * input + i;
                        out.dx[at] += dzx[j] * w_ih[j * input + i] as f64;
                        out.dw_ih[j * input + i] += dzx[j] * x[at] as f64;
                    }
                    for i in 0..hidden {
                        before[i] += dzh[j] * w_hh[j * hidden + i] as f64;
                        out.dw_hh[j * hidden + i] += dzh[j] * h[t * states + b * hidden + i];
                    }
                    out.dbias[j] += dzx[j];
                    out.dbias_h[j] += dzh[j];
                }
                dh[b * hidden..(b + 1) * hidden].copy_from_slice(&before);
            }
        }
        (out.dh0, out.dc0) = (dh, dc);
        out
    }
}

/// The largest error of a tensor beside its largest entry, less what rounding takes from subnormal numbers.
fn relative(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let most = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
    let error = got.iter().zip(want).fold(0.0f64, |e, (g, w)| {
        if g.is_nan() { f64::INFINITY } else { e.max((*g as f64 - w).abs() - 2f64.powi(-150)) }
    });
    if error <= 0.0 { 0.0 } else { error / most.max(f64::MIN_POSITIVE) }
}

#[track_caller]
fn check(what: &str, case: &Case, got: &Results, tolerance: f64) {
    let truth = Truth::of(case);
    let (lstm, gru, none) = (case.kind == Kind::Lstm, case.kind == Kind::Gru, Vec::new());
    for (name, got, want) in [
        ("h", &got.h, &truth.h),
        ("dx", &got.dx, &truth.dx),
        ("dw_ih", &got.dw_ih, &truth.dw_ih),
        ("dw_hh", &got.dw_hh, &truth.dw_hh),
        ("dbias", &got.dbias, &truth.dbias),
        ("dbias_h", &got.dbias_h, if gru { &truth.dbias_h } else { &none }),
        ("dh0", &got.dh0, &truth.dh0),
        ("dc0", &got.dc0, if lstm { &truth.dc0 } else { &none }),
    ] {
        let error = relative(got, want);
        assert!(error <= tolerance, "{what} {:?}: {name} is off by {error:e} of its largest entry", case.kind);
    }
    for (t, (got, want)) in got.norms.iter().zip(&truth.norms).enumerate() {
        let error = (got - want).abs() / want.max(f64::MIN_POSITIVE);
        assert!(error <= tolerance || got == want, "{what} {:?}: norm {t} is {got:e}, expected {want:e}", case.kind);
    }
}

/// What f32 may lose: units in the last place, a few for each of the steps and terms that a gradient went through.
fn tolerance(case: &Case) -> f64 {
    let terms = (case.input + case.wide() + case.batch) as f64;
    f32::EPSILON as f64 * (8.0 + terms.sqrt()) * (4.0 + 4.0 * (case.seq as f64).sqrt())
}

#[test]
fn gradients_are_true() {
    for ctx in isas().map(|isa| context(isa, 2)) {
        for kind in KINDS {
            for (i, dims) in [
                [1, 1, 1, 1],
                [2, 3, 1, 2],
                [7, 2, 5, 3],
                [20, 5, 3, 17],
                [50, 9, 16, 33],
                [3, 64, 20, 40],
                [5, 2, 9, 257],
                [3, 5, 64, 512],
            ]
            .into_iter()
            .enumerate()
            {
                if quick() && dims[0] * dims[3] > 700 {
                    continue;
                }
                let mut case = Case::new(kind, dims, 7 + i as u64);
                case.old = (i % 2 == 1).then_some(0.75);
                check(&format!("{dims:?} on {ctx:?}"), &case, &case.run(&ctx), tolerance(&case));
            }
        }
    }
}

#[test]
fn every_argument_that_may_be_missing() {
    let ctx = Context::builder().build().unwrap();
    for kind in KINDS {
        for mask in 0..128 {
            let case = Case::new(kind, [6, 4, 3, 18], mask as u64).without(mask);
            let case = if mask % 3 == 0 { case.with_lengths(mask as u64) } else { case };
            check(&format!("without {mask:b}"), &case, &case.run(&ctx), tolerance(&case));
        }
    }
}

#[test]
fn lengths_hold_states_and_end_gradients() {
    let ctx = Context::builder().build().unwrap();
    for kind in KINDS {
        for seed in 0..6 {
            let mut case = Case::new(kind, [9, 7, 5, 20], seed).with_lengths(seed);
            if seed == 1 {
                case.lengths = Some(vec![9; 7]);
            }
            if seed == 2 {
                case.lengths = Some(vec![0; 7]);
            }
            let lengths = case.lengths.clone().unwrap();
            let plain = case.run(&ctx);
            check("with lengths", &case, &plain, tolerance(&case));
            // What stands past a length is read by nobody.
            for t in 0..case.seq {
                for b in (0..case.batch).filter(|&b| t >= lengths[b]) {
                    let row = (t * case.batch + b) * case.input;
                    assert!(plain.dx[row..row + case.input].iter().all(|d| *d == 0.0));
                    case.x[row..row + case.input].fill(f32::NAN);
                }
            }
            let again = case.run(&ctx);
            for ((name, a), (_, b)) in plain.tensors().iter().zip(again.tensors()) {
                crate::common::assert_same_bits(name, b, a);
            }
        }
    }
}

#[test]
fn saturated_gates_keep_their_gradients() {
    let ctx = Context::builder().build().unwrap();
    for (kind, gate, levels) in
        [(Kind::Lstm, 1, &[12.0f32, 17.0, 25.0, 40.0, 80.0][..]), (Kind::Gru, 1, &[10.0, 17.0, 25.0, 40.0, 80.0][..])]
    {
        for &level in levels {
            for sign in [1.0, -1.0] {
                let mut case = Case::new(kind, [50, 3, 4, 8], 3);
                (case.dh, case.bias_h) = (None, None);
                let bias = case.bias.as_mut().unwrap();
                bias[gate * 8..(gate + 1) * 8].fill(sign * level);
                // The pre-activations come from the bias alone, so that f64 has the same.
                case.w_ih[gate * 8 * 4..(gate + 1) * 8 * 4].fill(0.0);
                case.w_hh[gate * 8 * 8..(gate + 1) * 8 * 8].fill(0.0);
                let got = case.run(&ctx);
                let truth = Truth::of(&case);
                let of = gate * 8..(gate + 1) * 8;
                let error = relative(&got.dbias[of.clone()], &truth.dbias[of.clone()]);
                assert!(error < 1e-5, "{kind:?} at {level}: dbias of the gate is off by {error:e}");
                assert!(got.dbias[of].iter().all(|d| *d != 0.0));
                check(&format!("gate at {}", sign * level), &case, &got, 2e-5);
            }
        }
    }
}

#[test]
fn every_gate_of_an_lstm_saturated() {
    let ctx = Context::builder().build().unwrap();
    let mut case = Case::new(Kind::Lstm, [12, 2, 1, 6], 5);
    (case.h0, case.c0, case.dh) = (None, None, None);
    case.bias.as_mut().unwrap().fill(10.0);
    let got = case.run(&ctx);
    let truth = Truth::of(&case);
    for gate in 0..4 {
        let of = gate * 6..(gate + 1) * 6;
        let error = relative(&got.dbias[of.clone()], &truth.dbias[of.clone()]);
        assert!(error < 1e-4, "gate {gate}: {error:e}");
        assert!(got.dbias[of].iter().all(|d| *d != 0.0));
    }
}

/// W_hh = radius times a rotation of pairs of units, so that its spectral radius is known.
fn rotations(hidden: usize, radius: f64) -> Vec<f32> {
    let mut w = vec![0.0; hidden * hidden];
    for pair in 0..hidden / 2 {
        let (sin, cos) = (0.3 + pair as f64).sin_cos();
        let (i, j) = (2 * pair, 2 * pair + 1);
        w[i * hidden + i] = (radius * cos) as f32;
        w[j * hidden + j] = (radius * cos) as f32;
        w[i * hidden + j] = (-radius * sin) as f32;
        w[j * hidden + i] = (radius * sin) as f32;
    }
    w
}

fn long(radius: f64, seq: usize, batch: usize) -> Case {
    let mut case = Case::new(Kind::Rnn(Activation::Tanh, 0.0), [seq, batch, 2, 32], 11);
    case.w_hh = rotations(32, radius);
    case.x.iter_mut().for_each(|x| *x *= 0.05);
    case.w_ih.iter_mut().for_each(|w| *w *= 0.1);
    (case.bias, case.dh) = (None, None);
    case
}

/// Spectral radius 0.85 over a thousand steps: 1e-70, which f32 cannot hold.
#[test]
fn a_gradient_vanishes_over_a_thousand_steps_and_is_still_true() {
    let ctx = Context::builder().build().unwrap();
    for radius in [0.95, 0.92, 0.85, 0.6] {
        let case = long(radius, 1000, 2);
        let got = case.run(&ctx);
        let truth = Truth::of(&case);
        for (t, (got, want)) in got.norms.iter().zip(&truth.norms).enumerate() {
            assert!(
                *got > 0.0 && (got / want - 1.0).abs() < 1e-4,
                "radius {radius}, step {t}: {got:e}, truth {want:e}"
            );
        }
        if radius == 0.85 {
            assert!(got.norms[0] < 1e-69, "{:e}", got.norms[0]);
        }
        // What f32 can hold comes out right: the weights see mostly the last steps.
        for (name, got, want) in
            [("dw_ih", &got.dw_ih, &truth.dw_ih), ("dw_hh", &got.dw_hh, &truth.dw_hh), ("dx", &got.dx, &truth.dx)]
        {
            let error = relative(got, want);
            assert!(error < 1e-4, "radius {radius}: {name} {error:e}");
        }
    }
}

/// A gradient that passes through steps far below f32 and grows again is right where it arrives.
#[test]
fn a_gradient_comes_back_from_below_f32() {
    let ctx = Context::builder().build().unwrap();
    let mut case = Case::new(Kind::Rnn(Activation::LeakyRelu, 1e-5), [46, 3, 2, 4], 2);
    (case.bias, case.dh, case.h0) = (None, None, None);
    (case.w_ih, case.w_hh) = (vec![0.0; 8], vec![0.0; 16]);
    for u in 0..4 {
        case.w_hh[u * 4 + u] = 50.0;
        case.w_ih[u * 2] = 1.0;
    }
    // From step 44 back to 22 units are below zero, where a gradient is multiplied by 5e-4 at each step; before that, and
    // in the last two, by 50.
    for (i, x) in case.x.iter_mut().enumerate() {
        *x = match i / (3 * 2) {
            _ if i % 2 == 1 => 0.0,
            0..22 => 1e-30,
            22..44 => -1e30,
            _ => 1e30,
        };
    }
    let got = case.run(&ctx);
    let truth = Truth::of(&case);
    let least = truth.norms.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(least < 1e-66, "{least:e}");
    assert!(truth.norms[0] > 1e-34, "{:e}", truth.norms[0]);
    for (t, (got, want)) in got.norms.iter().zip(&truth.norms).enumerate() {
        assert!((got / want - 1.0).abs() < 1e-4, "step {t}: {got:e}, truth {want:e}");
    }
    let error = relative(&got.dh0, &truth.dh0);
    assert!(error < 1e-4, "dh0 is off by {error:e} of its largest entry");
}

/// An exploding gradient is still a number where f32 would have infinity.
#[test]
fn a_gradient_explodes_past_f32() {
    let ctx = Context::builder().build().unwrap();
    let mut case = Case::new(Kind::Rnn(Activation::LeakyRelu, 1.0), [200, 2, 2, 8], 2);
    case.w_hh = rotations(8, 3.0);
    (case.bias, case.dh) = (None, None);
    case.x.fill(0.0);
    case.h0 = None;
    let got = case.run(&ctx);
    let truth = Truth::of(&case);
    assert!(truth.norms[0] > 1e90);
    for (t, (got, want)) in got.norms.iter().zip(&truth.norms).enumerate() {
        assert!((got / want - 1.0).abs() < 1e-4, "step {t}: {got:e}, truth {want:e}");
    }
}

#[test]
fn a_forget_bias_of_eight_over_a_thousand_steps() {
    let ctx = Context::builder().build().unwrap();
    let mut case = Case::new(Kind::Lstm, [1000, 2, 3, 6], 8);
    case.bias.as_mut().unwrap()[6..12].fill(8.0);
    case.dh = None;
    check("forget bias 8", &case, &case.run(&ctx), 2e-4);
    let mut case = Case::new(Kind::Gru, [1000, 2, 3, 6], 8);
    case.bias.as_mut().unwrap()[6..12].fill(6.0);
    case.dh = None;
    check("update bias 6", &case, &case.run(&ctx), 2e-4);
}
