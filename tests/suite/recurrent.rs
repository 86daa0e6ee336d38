//! Recurrences: their bits. The orders stated as a program, every instruction set and number of threads, a row alone and in
//! a batch, the cells, and bad arguments.

use crate::common::*;
use crate::recurrent_cases::{Case, KINDS, Kind, Results};
use evenkeel::activation::{activation_backward_f32, activation_forward_f32};
use evenkeel::matmul::{Transpose, matmul_f32};
use evenkeel::recurrent::*;
use evenkeel::simd::{Scalar, Simd};
use evenkeel::vecmath::{Gate, gate_finish, gate_start, squash_finish, squash_start};
use evenkeel::{Activation, Context, Isa};

#[track_caller]
fn assert_same(what: &str, got: &Results, want: &Results) {
    for ((name, got), (_, want)) in got.tensors().iter().zip(want.tensors()) {
        assert_same_bits(&format!("{what}: {name}"), got, want);
    }
    assert_same_bits(&format!("{what}: norms"), &got.norms, &want.norms);
}

/// φ, σ, … of one number by the specification.
struct Functions(Context);

impl Functions {
    fn phi(&self, act: Activation, param: f32, z: f32) -> f32 {
        let mut y = [0.0];
        activation_forward_f32(&self.0, act, param, &[z], &mut y).unwrap();
        y[0]
    }
    fn gate(&self, z: f32) -> Gate<[f32; 16]> {
        let z = Scalar.splat(z);
        gate_finish(Scalar, z, gate_start(Scalar, z))
    }
    fn sigmoid(&self, z: f32) -> f32 {
        self.gate(z).open[0]
    }
    fn sigmoid_slope(&self, z: f32) -> f32 {
        self.gate(z).slope[0]
    }
    fn squash(&self, z: f32) -> ([f32; 16], [f32; 16]) {
        let z = Scalar.splat(z);
        squash_finish(Scalar, z, squash_start(Scalar, z))
    }
    fn tanh(&self, z: f32) -> f32 {
        self.squash(z).0[0]
    }
    fn sech2(&self, z: f32) -> f32 {
        self.squash(z).1[0]
    }
}

/// The orders of the module's page as a program, one row at a time, for gradients that f32 holds.
fn specified(case: &Case) -> Results {
    let scalar = || Context::builder().isa(Isa::Scalar).num_threads(1).batch_invariant(true).build().unwrap();
    let (ctx, f) = (scalar(), Functions(scalar()));
    let Case { kind, seq, batch, input, hidden, ref x, ref w_ih, ref w_hh, .. } = *case;
    let (wide, gru, lstm) = (case.wide(), kind == Kind::Gru, kind == Kind::Lstm);
    let (no, yes) = (Transpose::No, Transpose::Yes);
    let product = |n: usize, k: usize, a: &[f32], b: &[f32], transposed: bool, beta: f32, c: &mut [f32]| {
        let (trans, ldb) = if transposed { (yes, k) } else { (no, n) };
        matmul_f32(&ctx, no, trans, 1, n, k, 1.0, a, k, b, ldb, beta, c, n).unwrap();
    };
    let zeros = vec![0.0f32; hidden];
    let state = |v: &[f32], t: usize, b: usize| v[(t * batch + b) * hidden..][..hidden].to_vec();
    let first = |v: &Option<Vec<f32>>, b: usize| v.as_ref().map_or(zeros.clone(), |v| state(v, 0, b));
    let live = |t: usize, b: usize| case.lengths.as_ref().is_none_or(|n| t < n[b]);
    let add_bias = |z: &mut [f32], bias: &Option<Vec<f32>>| {
        if let Some(bias) = bias {
            z.iter_mut().zip(bias).for_each(|(z, b)| *z += b);
        }
    };
    let mut out = Results::default();
    let mut rows: Vec<(usize, usize)> = Vec::new();
    for t in 0..seq {
        for b in 0..batch {
            let (h_prev, c_prev) = if t == 0 {
                (first(&case.h0, b), first(&case.c0, b))
            } else {
                (state(&out.h, t - 1, b), if lstm { state(&out.c, t - 1, b) } else { Vec::new() })
            };
            let (mut z, mut zh) = (vec![0.0; wide], vec![0.0; if gru { wide } else { 0 }]);
            if !live(t, b) {
                out.h.extend(h_prev);
                out.c.extend(if lstm { c_prev } else { Vec::new() });
            } else {
                rows.push((t, b));
                product(wide, input, &x[(t * batch + b) * input..][..input], w_ih, true, 0.0, &mut z);
                if t > 0 || case.h0.is_some() {
                    let (to, beta) = if gru { (&mut zh, 0.0) } else { (&mut z, 1.0) };
                    product(wide, hidden, &h_prev, w_hh, true, beta, to);
                }
                add_bias(&mut z, &case.bias);
                add_bias(&mut zh, &case.bias_h);
                for u in 0..hidden {
                    let z = |g: usize| z[g * hidden + u];
                    match kind {
                        Kind::Rnn(act, param) => out.h.push(f.phi(act, param, z(0))),
                        Kind::Lstm => {
                            let c = f.sigmoid(z(1)).mul_add(c_prev[u], f.sigmoid(z(0)) * f.tanh(z(2)));
                            out.c.push(c);
                            out.h.push(f.sigmoid(z(3)) * f.tanh(c));
                        }
                        Kind::Gru => {
                            let y = |g: usize| zh[g * hidden + u];
                            let n = f.tanh(f.sigmoid(z(0) + y(0)).mul_add(y(2), z(2)));
                            let keep = z(1) + y(1);
                            out.h.push(f.sigmoid(keep).mul_add(h_prev[u], f.sigmoid(-keep) * n));
                        }
                    }
                }
            }
            out.z.extend(z);
            out.zh.extend(zh);
        }
    }

    let (mut dz, mut dzh) = (vec![0.0f32; out.z.len()], vec![0.0f32; out.zh.len()]);
    out.norms = vec![0.0; seq];
    let mut norms = vec![vec![0.0f64; batch]; seq];
    for b in 0..batch {
        let (mut dh, mut dc) = (first(&case.dh_last, b), first(&case.dc_last, b));
        for t in (0..seq).rev() {
            if let Some(upstream) = &case.dh {
                dh.iter_mut().zip(&state(upstream, t, b)).for_each(|(d, u)| *d += u);
            }
            let mut lanes = [0.0f64; 16];
            dh.iter().enumerate().for_each(|(i, d)| lanes[i % 16] = (*d as f64).mul_add(*d as f64, lanes[i % 16]));
            for half in [8, 4, 2, 1] {
                (0..half).for_each(|i| lanes[i] += lanes[i + half]);
            }
            norms[t][b] = lanes[0].sqrt();
            if !live(t, b) {
                continue;
            }
            let (h_prev, c_prev) = if t == 0 {
                (first(&case.h0, b), first(&case.c0, b))
            } else {
                (state(&out.h, t - 1, b), if lstm { state(&out.c, t - 1, b) } else { Vec::new() })
            };
            let row = (t * batch + b) * wide;
            let mut rest = zeros.clone();
            for u in 0..hidden {
                let at = |g: usize| row + g * hidden + u;
                let z = |g: usize| out.z[at(g)];
                match kind {
                    Kind::Rnn(act, param) => {
                        let mut d = [0.0];
                        activation_backward_f32(&ctx, act, param, &[z(0)], &[dh[u]], &mut d).unwrap();
                        dz[at(0)] = d[0];
                    }
                    Kind::Lstm => {
                        let c = state(&out.c, t, b)[u];
                        let d = (dh[u] * f.sigmoid(z(3))).mul_add(f.sech2(c), dc[u]);
                        dz[at(0)] = d * f.tanh(z(2)) * f.sigmoid_slope(z(0));
                        dz[at(1)] = d * c_prev[u] * f.sigmoid_slope(z(1));
                        dz[at(2)] = d * f.sigmoid(z(0)) * f.sech2(z(2));
                        dz[at(3)] = dh[u] * f.tanh(c) * f.sigmoid_slope(z(3));
                        dc[u] = d * f.sigmoid(z(1));
                    }
                    Kind::Gru => {
                        let y = |g: usize| out.zh[at(g)];
                        let (reset, keep) = (z(0) + y(0), z(1) + y(1));
                        let inner = f.sigmoid(reset).mul_add(y(2), z(2));
                        dz[at(2)] = dh[u] * f.sigmoid(-keep) * f.sech2(inner);
                        dzh[at(2)] = dz[at(2)] * f.sigmoid(reset);
                        dz[at(0)] = dz[at(2)] * y(2) * f.sigmoid_slope(reset);
                        dz[at(1)] = dh[u] * (h_prev[u] - f.tanh(inner)) * f.sigmoid_slope(keep);
                        (dzh[at(0)], dzh[at(1)]) = (dz[at(0)], dz[at(1)]);
                        rest[u] = dh[u] * f.sigmoid(keep);
                    }
                }
            }
            let from = if gru { &dzh } else { &dz };
            product(hidden, wide, &from[row..row + wide], w_hh, false, 1.0, &mut rest);
            dh = rest;
        }
        out.dh0.extend(dh);
        out.dc0.extend(if lstm { dc } else { Vec::new() });
    }
    for t in 0..seq {
        // As the library joins the rows: brought near 1 by a power of two.
        let most = norms[t].iter().copied().fold(0.0, f64::max);
        let power = 2f64.powi((most.to_bits() >> 52) as i32 - 1023);
        let sum = norms[t].iter().fold(0.0f64, |sum, n| (n / power).mul_add(n / power, sum));
        out.norms[t] = if most == 0.0 { 0.0 } else { sum.sqrt() * power };
    }

    // Sums over all rows that are within their length, in the order of time, then batch.
    let gather = |v: &[f32], n: usize, rows: &[(usize, usize)]| -> Vec<f32> {
        rows.iter().flat_map(|&(t, b)| v[(t * batch + b) * n..][..n].to_vec()).collect()
    };
    let old = |n: usize| vec![case.old.unwrap_or(0.0); n];
    let weight = |dz: &[f32], rows: &[f32], n: usize, k: usize, beta: f32, dw: &mut [f32]| {
        matmul_f32(&ctx, yes, no, wide, n, k, 1.0, dz, wide, rows, n, beta, dw, n).unwrap();
    };
    let beta = if case.old.is_some() { 1.0 } else { 0.0 };
    out.dx = vec![0.0; seq * batch * input];
    for &(t, b) in &rows {
        let at = t * batch + b;
        product(input, wide, &dz[at * wide..][..wide], w_ih, false, 0.0, &mut out.dx[at * input..][..input]);
    }
    let split = rows.iter().filter(|(t, _)| *t == 0).count();
    let all = gather(&dz, wide, &rows);
    out.dw_ih = old(wide * input);
    weight(&all, &gather(x, input, &rows), input, rows.len(), beta, &mut out.dw_ih);
    let all_h = if gru { gather(&dzh, wide, &rows) } else { all.clone() };
    let before: Vec<(usize, usize)> = rows[split..].iter().map(|&(t, b)| (t - 1, b)).collect();
    out.dw_hh = old(wide * hidden);
    let mut beta = beta;
    if let Some(h0) = &case.h0 {
        weight(&all_h, &gather(h0, hidden, &rows[..split]), hidden, split, beta, &mut out.dw_hh);
        beta = 1.0;
    }
    weight(&all_h[split * wide..], &gather(&out.h, hidden, &before), hidden, before.len(), beta, &mut out.dw_hh);
    let columns = |dz: &[f32]| -> Vec<f32> {
        (0..wide)
            .map(|j| {
                let blocks = dz.chunks(256 * wide);
                let sum =
                    blocks.map(|b| b.chunks(wide).fold(0.0f32, |s, row| s + row[j])).fold(0.0f64, |s, b| s + b as f64);
                (sum + case.old.unwrap_or(0.0) as f64) as f32
            })
            .collect()
    };
    out.dbias = columns(&all);
    out.dbias_h = if gru { columns(&all_h) } else { Vec::new() };
    out
}

fn shapes() -> Vec<[usize; 4]> {
    let mut shapes = vec![[1, 1, 1, 1], [3, 2, 5, 7], [5, 7, 3, 16], [4, 3, 17, 33], [2, 13, 4, 31], [3, 5, 1, 70]];
    if !quick() {
        // More than one block of k in every product, more than one tile of rows.
        shapes.extend([[6, 1, 30, 130], [70, 5, 9, 20], [3, 100, 8, 65], [2, 2, 300, 290]]);
    }
    shapes
}

#[test]
fn the_orders_are_those_of_the_page() {
    for kind in KINDS {
        for (i, dims) in shapes().into_iter().enumerate() {
            let mut case = Case::new(kind, dims, i as u64);
            case.old = (i % 2 == 0).then_some(0.5);
            let case = match i % 3 {
                0 => case,
                1 => case.with_lengths(i as u64),
                _ => case.without(0x7f & !(1 << 4)),
            };
            assert_same(&format!("{kind:?} {dims:?}"), &case.run(&specification()), &specified(&case));
        }
    }
}

#[test]
fn every_instruction_set_and_number_of_threads_has_the_specified_bits() {
    for kind in KINDS {
        for (i, dims) in shapes().into_iter().enumerate() {
            let case = Case::new(kind, dims, 20 + i as u64);
            let case = if i % 2 == 1 { case.with_lengths(i as u64) } else { case };
            let want = case.run(&specification());
            for ctx in exact_contexts() {
                assert_same(&format!("{kind:?} {dims:?} on {ctx:?}"), &case.run(&ctx), &want);
            }
        }
    }
}

/// The same where exponents move at every few steps, some rows' and not others'.
#[test]
fn bits_below_and_above_f32() {
    for kind in [Kind::Rnn(Activation::Tanh, 0.0), Kind::Rnn(Activation::LeakyRelu, 1e-6), Kind::Lstm, Kind::Gru] {
        for scale in [0.01, 30.0] {
            let mut case = Case::new(kind, [60, 5, 2, 36], 4).with_lengths(9);
            case.w_hh.iter_mut().for_each(|w| *w *= scale);
            // One row has something coming in at every step.
            let dh = case.dh.as_mut().unwrap();
            dh.chunks_mut(36).enumerate().filter(|(row, _)| row % 5 != 3).for_each(|(_, d)| d.fill(0.0));
            let want = case.run(&specification());
            for ctx in exact_contexts() {
                assert_same(&format!("{kind:?} at {scale} on {ctx:?}"), &case.run(&ctx), &want);
            }
        }
    }
}

#[test]
fn a_row_alone_is_the_row_in_a_batch() {
    for isa in isas() {
        for invariant in [false, true] {
            let ctx = Context::builder().isa(isa).num_threads(2).batch_invariant(invariant).build().unwrap();
            for kind in KINDS {
                for dims in [[5, 9, 6, 40], [8, 40, 3, 17]] {
                    let case = Case::new(kind, dims, 5).with_lengths(3);
                    let all = case.run(&ctx);
                    for row in [0, 1, 4, 8] {
                        let alone = case.row(row).run(&ctx);
                        for ((name, got), (_, all)) in alone.tensors().iter().zip(all.tensors()) {
                            let n = match *name {
                                "dx" => case.input,
                                "h" | "c" | "dh0" | "dc0" => case.hidden,
                                "z" | "zh" => case.wide(),
                                _ => continue,
                            };
                            let want: Vec<f32> =
                                all.chunks(n).skip(row).step_by(case.batch).flatten().copied().collect();
                            assert_same_bits(&format!("{kind:?} row {row}: {name}"), got, &want);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_asked_for_changes_nothing_else() {
    let ctx = Context::builder().num_threads(2).build().unwrap();
    for kind in KINDS {
        let case = Case::new(kind, [6, 5, 4, 20], 1).with_lengths(2);
        let want = case.run(&ctx);
        for mask in 0..32 {
            let wants = std::array::from_fn(|i| mask >> i & 1 == 1);
            let mut got = case.forward(&ctx);
            case.backward(&ctx, &mut got, wants);
            for ((name, got), (_, want)) in got.tensors().iter().zip(want.tensors()) {
                if !got.is_empty() {
                    assert_same_bits(name, got, want);
                }
            }
            if wants[4] {
                assert_same_bits("norms", &got.norms, &want.norms);
            }
        }
    }
}

#[test]
fn full_lengths_are_no_lengths() {
    let ctx = Context::builder().build().unwrap();
    for kind in KINDS {
        let mut case = Case::new(kind, [6, 5, 4, 20], 1);
        let want = case.run(&ctx);
        case.lengths = Some(vec![6; 5]);
        assert_same("full lengths", &case.run(&ctx), &want);
    }
}

/// The cells are a step of a sequence.
#[test]
fn cells_are_steps() {
    for (batch, hidden) in [(1, 1), (3, 17), (40, 50), (2, 2100)] {
        let mut rng = Rng::new(hidden as u64);
        let mut draw = |n: usize| -> Vec<f32> { rng.vec(n, |rng| rng.uniform(-20.0, 20.0)) };
        let n = batch * hidden;
        let (z, zh, state, other) = (draw(4 * n), draw(3 * n), draw(n), draw(n));
        let (dh, dc) = (draw(n), draw(n));
        let f = Functions(specification());
        let run = |ctx: &Context| {
            let z3 = &z[..3 * n];
            let mut out: Vec<Vec<f32>> =
                [n, n, 4 * n, n, 4 * n, n, n, 3 * n, 3 * n, n].map(|n| vec![f32::NAN; n]).into();
            let [c, h, dz, dc_prev, dz2, dc2, hg, dzx, dzh, dhp] = &mut out[..] else { unreachable!() };
            lstm_cell_forward_f32(ctx, batch, hidden, &z, &state, c, h).unwrap();
            lstm_cell_backward_f32(ctx, batch, hidden, &z, &state, c, &dh, Some(&dc), dz, dc_prev).unwrap();
            lstm_cell_backward_f32(ctx, batch, hidden, &z, &state, c, &dh, None, dz2, dc2).unwrap();
            gru_cell_forward_f32(ctx, batch, hidden, z3, &zh, &other, hg).unwrap();
            gru_cell_backward_f32(ctx, batch, hidden, z3, &zh, &other, &dh, dzx, dzh, dhp).unwrap();
            out
        };
        let want = run(&specification());
        for (at, c) in want[0].iter().enumerate().step_by(7) {
            let (row, u) = (at / hidden, at % hidden);
            let z = |g: usize| z[row * 4 * hidden + g * hidden + u];
            assert_eq!(*c, f.sigmoid(z(1)).mul_add(state[at], f.sigmoid(z(0)) * f.tanh(z(2))));
            assert_eq!(want[1][at], f.sigmoid(z(3)) * f.tanh(*c));
            let d = (dh[at] * f.sigmoid(z(3))).mul_add(f.sech2(*c), dc[at]);
            assert_eq!(want[3][at], d * f.sigmoid(z(1)));
            assert_eq!(want[2][row * 4 * hidden + hidden + u], d * state[at] * f.sigmoid_slope(z(1)));
        }
        for ctx in exact_contexts() {
            for (i, (got, want)) in run(&ctx).iter().zip(&want).enumerate() {
                assert_same_bits(&format!("{batch}x{hidden} output {i} on {ctx:?}"), got, want);
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn no_cell_reads_past_its_tensors() {
    for isa in exact_isas() {
        let ctx = context(isa, 1);
        for hidden in 1..=33 {
            for at in [Guarded::at_end, Guarded::at_start] {
                let of = |n: usize| at(&vec![0.25f32; n * 2 * hidden]);
                let (z, s, mut c, mut h, mut dz, mut dzh) = (of(4), of(1), of(1), of(1), of(4), of(3));
                lstm_cell_forward_f32(&ctx, 2, hidden, &z, &s, &mut c, &mut h).unwrap();
                lstm_cell_backward_f32(&ctx, 2, hidden, &z, &s, &c, &s, None, &mut dz, &mut h).unwrap();
                let (z3, mut dzx) = (of(3), of(3));
                gru_cell_forward_f32(&ctx, 2, hidden, &z3, &z3, &s, &mut h).unwrap();
                gru_cell_backward_f32(&ctx, 2, hidden, &z3, &z3, &s, &s, &mut dzx, &mut dzh, &mut h).unwrap();
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn no_sequence_reads_past_its_tensors() {
    for isa in exact_isas() {
        let ctx = context(isa, 1);
        for (batch, input, hidden) in [(1, 3, 5), (3, 1, 17), (7, 18, 16), (2, 5, 33)] {
            for at in [Guarded::at_end, Guarded::at_start] {
                let (seq, of) = (3, |n: usize| at(&vec![0.25f32; n]));
                let n = seq * batch * hidden;
                let (x, w_ih, w_hh, bias) =
                    (of(seq * batch * input), of(4 * hidden * input), of(4 * hidden * hidden), of(4 * hidden));
                let (s, mut h, mut c, mut z) = (of(batch * hidden), of(n), of(n), of(4 * n));
                lstm_forward_f32(
                    &ctx,
                    seq,
                    batch,
                    input,
                    hidden,
                    &x,
                    None,
                    &w_ih,
                    &w_hh,
                    Some(&bias),
                    Some(&s),
                    Some(&s),
                    &mut h,
                    &mut c,
                    &mut z,
                )
                .unwrap();
                let (mut dx, mut dw_ih, mut dw_hh, mut db) =
                    (of(seq * batch * input), of(4 * hidden * input), of(4 * hidden * hidden), of(4 * hidden));
                let (mut dh0, mut dc0) = (of(batch * hidden), of(batch * hidden));
                lstm_backward_f32(
                    &ctx,
                    seq,
                    batch,
                    input,
                    hidden,
                    &x,
                    None,
                    &w_ih,
                    &w_hh,
                    Some(&s),
                    Some(&s),
                    &h,
                    &c,
                    &z,
                    Some(&h),
                    Some(&s),
                    Some(&s),
                    true,
                    Some(&mut dx),
                    &mut dw_ih,
                    &mut dw_hh,
                    Some(&mut db),
                    Some(&mut dh0),
                    Some(&mut dc0),
                    None,
                )
                .unwrap();
            }
        }
    }
}

#[test]
fn nothing_to_do_is_done() {
    let ctx = Context::builder().build().unwrap();
    for kind in KINDS {
        for dims in [[0, 3, 2, 4], [3, 0, 2, 4], [3, 2, 0, 4], [3, 2, 4, 0], [0, 0, 0, 0]] {
            let case = Case::new(kind, dims, 1);
            let out = case.run(&ctx);
            if dims[0] * dims[1] == 0 {
                // No step is in any sum, and what arrives at the last state is the gradient of the first.
                assert!(out.dw_hh.iter().chain(&out.dw_ih).chain(&out.dbias).all(|d| same_bits(*d, 0.0)), "{dims:?}");
                assert_eq!(out.dh0, case.dh_last.clone().unwrap());
            }
            assert!(out.tensors().iter().all(|(_, v)| v.iter().all(|x| !x.is_nan())), "{kind:?} {dims:?}");
        }
    }
}

#[test]
fn bad_arguments_are_named_and_change_nothing() {
    let ctx = Context::builder().isa(Isa::Scalar).build().unwrap();
    let (mut h, mut c, mut z) = ([7.0f32; 12], [7.0f32; 12], [7.0f32; 48]);
    let (x, w_ih, w_hh) = ([0.0f32; 8], [0.0f32; 24], [0.0f32; 36]);
    let mut lstm = |x: &[f32], lengths: Option<&[usize]>, w_hh: &[f32], bias: Option<&[f32]>| {
        let e = lstm_forward_f32(&ctx, 2, 2, 2, 3, x, lengths, &w_ih, w_hh, bias, None, None, &mut h, &mut c, &mut z);
        e.unwrap_err().to_string()
    };
    assert_eq!(lstm(&x[1..], None, &w_hh, None), "lstm_forward_f32: x holds 7 elements, expected 8");
    assert_eq!(lstm(&x, Some(&[1, 3]), &w_hh, None), "lstm_forward_f32: lengths[1] is 3, but seq is 2");
    assert_eq!(lstm(&x, Some(&[1]), &w_hh, None), "lstm_forward_f32: lengths holds 1 elements, expected 2");
    assert_eq!(lstm(&x, None, &w_hh[1..], None), "lstm_forward_f32: w_hh holds 35 elements, expected 36");
    assert_eq!(lstm(&x, None, &w_hh, Some(&x)), "lstm_forward_f32: bias holds 8 elements, expected 12");
    assert!(h.iter().chain(&c).chain(&z).all(|v| *v == 7.0));

    let (mut dw_ih, mut dw_hh, mut db) = ([7.0f32; 24], [7.0f32; 36], [7.0f32; 12]);
    let mut norms = [7.0; 3];
    let e = lstm_backward_f32(
        &ctx,
        2,
        2,
        2,
        3,
        &x,
        None,
        &w_ih,
        &w_hh,
        None,
        None,
        &h,
        &c,
        &z,
        None,
        None,
        None,
        false,
        None,
        &mut dw_ih,
        &mut dw_hh,
        Some(&mut db),
        None,
        None,
        Some(&mut norms),
    );
    assert_eq!(e.unwrap_err().to_string(), "lstm_backward_f32: step_norms holds 3 elements, expected 2");
    let e = rnn_forward_f32(
        &ctx,
        Activation::Elu,
        f32::NAN,
        1,
        1,
        1,
        1,
        &[0.0],
        None,
        &[0.0],
        &[0.0],
        None,
        None,
        &mut h[..1],
        &mut z[..1],
    );
    assert!(e.unwrap_err().to_string().starts_with("rnn_forward_f32: act_param is NaN"));
    let e = gru_cell_forward_f32(&ctx, 1, 2, &[0.0; 6], &[0.0; 5], &[0.0; 2], &mut [0.0; 2]);
    assert_eq!(e.unwrap_err().to_string(), "gru_cell_forward_f32: zh holds 5 elements, expected 6");
    let e = lstm_cell_forward_f32(&ctx, usize::MAX / 2, 3, &[], &[], &mut [], &mut []);
    assert!(e.unwrap_err().to_string().contains("more than this machine can address"));
    assert!(norms == [7.0; 3] && dw_ih.iter().chain(&dw_hh).chain(&db).all(|v| *v == 7.0));
}
