//! Recurrences in GFLOP/s, beside what our own product reaches on as many operations in one piece.
//!
//! `cargo bench --bench recurrent -- [WORDS]` runs the cases whose line contains one of the words, as in `lstm`, `both` or
//! `N=32`. `EVENKEEL_BENCH_THREADS` names the thread counts (default `1,2`). Operations are those of the products: with
//! G gates, 2·G·H·(I + H) forward and twice that backward, for each row of each step; cells have none, and are counted
//! as a step with its products would be, so that the same time is compared. Input features are as many as hidden units.

mod common;

use common::{Entry, contest, fma_ceiling, selected, values};
use evenkeel::matmul::{Transpose, matmul_f32};
use evenkeel::recurrent::*;
use evenkeel::{Activation, Context};

/// Steps, batch, hidden units.
const SHAPES: [[usize; 3]; 10] = [
    [128, 32, 256],
    [128, 32, 512],
    [50, 32, 256],
    [50, 32, 512],
    [128, 1, 256],
    [128, 1, 512],
    [128, 4, 256],
    [128, 8, 512],
    [128, 128, 256],
    [1000, 16, 64],
];

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    let isa = Context::global().expect("the default context").isa();
    println!("instruction set {}, {:.1} GFLOP/s of fused multiply-adds a core", isa.name(), fma_ceiling());
    println!(
        "{:<6}{:<10}{:>18}{:>9}{:>12}{:>10}{:>10}{:>7}",
        "what", "pass", "shape", "threads", "µs", "GFLOP/s", "product", "share"
    );
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        for shape in SHAPES {
            for (name, gates) in [("lstm", 4), ("gru", 3), ("rnn", 1)] {
                sequence(&ctx, threads, name, gates, shape);
            }
        }
        for [batch, hidden] in [[32, 256], [1, 256], [32, 1024]] {
            cells(&ctx, threads, batch, hidden);
        }
    }
}

fn sequence(ctx: &Context, threads: usize, name: &str, gates: usize, [seq, batch, hidden]: [usize; 3]) {
    let shape = format!("T={seq} N={batch} H={hidden}");
    let passes = ["forward", "both"];
    if !passes.iter().any(|pass| selected(&format!("t={threads} {name} {pass} {shape}"))) {
        return;
    }
    let (n, wide, rows) = (seq * batch * hidden, gates * hidden, seq * batch);
    let scale = |v: Vec<f32>, by: f32| v.into_iter().map(|x| x * by).collect::<Vec<f32>>();
    let by = 1.0 / (hidden as f32).sqrt();
    let (x, dh) = (values(n, 1), values(n, 2));
    let (w_ih, w_hh) = (scale(values(wide * hidden, 3), by), scale(values(wide * hidden, 4), by));
    let bias = scale(values(wide, 5), 0.5);
    let (mut h, mut c, mut z, mut zh) = (vec![0.0; n], vec![0.0; n], vec![0.0; gates * n], vec![0.0; gates * n]);
    let (mut dx, mut dw_ih, mut dw_hh) = (vec![0.0; n], vec![0.0; wide * hidden], vec![0.0; wide * hidden]);
    let (mut db, mut db2) = (vec![0.0; wide], vec![0.0; wide]);
    let mut run = |back: bool| {
        let (i, b, tanh) = (hidden, Some(&bias[..]), Activation::Tanh);
        let (dx, db, dh) = (Some(&mut dx[..]), Some(&mut db[..]), Some(&dh[..]));
        match name {
            "lstm" => {
                lstm_forward_f32(
                    ctx, seq, batch, i, hidden, &x, None, &w_ih, &w_hh, b, None, None, &mut h, &mut c, &mut z,
                )
                .unwrap();
                if back {
                    lstm_backward_f32(
                        ctx, seq, batch, i, hidden, &x, None, &w_ih, &w_hh, None, None, &h, &c, &z, dh, None, None,
                        false, dx, &mut dw_ih, &mut dw_hh, db, None, None, None,
                    )
                    .unwrap();
                }
            }
            "gru" => {
                gru_forward_f32(
                    ctx, seq, batch, i, hidden, &x, None, &w_ih, &w_hh, b, b, None, &mut h, &mut z, &mut zh,
                )
                .unwrap();
                if back {
                    let db2 = Some(&mut db2[..]);
                    gru_backward_f32(
                        ctx, seq, batch, i, hidden, &x, None, &w_ih, &w_hh, None, &h, &z, &zh, dh, None, false, dx,
                        &mut dw_ih, &mut dw_hh, db, db2, None, None,
                    )
                    .unwrap();
                }
            }
            _ => {
                rnn_forward_f32(ctx, tanh, 0.0, seq, batch, i, hidden, &x, None, &w_ih, &w_hh, b, None, &mut h, &mut z)
                    .unwrap();
                if back {
                    rnn_backward_f32(
                        ctx, tanh, 0.0, seq, batch, i, hidden, &x, None, &w_ih, &w_hh, None, &h, &z, dh, None, false,
                        dx, &mut dw_ih, &mut dw_hh, db, None, None,
                    )
                    .unwrap();
                }
            }
        }
    };
    // As many operations in one piece: the rows of all steps at once.
    let mut product = vec![0.0; rows * wide];
    let mut whole = |times: usize| {
        for _ in 0..times {
            let (no, yes) = (Transpose::No, Transpose::Yes);
            matmul_f32(ctx, no, yes, rows, wide, hidden, 1.0, &x, hidden, &w_ih, hidden, 0.0, &mut product, wide)
                .unwrap();
        }
    };
    for (pass, times) in passes.into_iter().zip([2, 6]) {
        if !selected(&format!("t={threads} {name} {pass} {shape}")) {
            continue;
        }
        let flops = (times * 2 * rows * wide * hidden) as f64;
        let back = pass == "both";
        let best = contest(&mut [Entry::new("evenkeel", || run(back)), Entry::new("product", || whole(times))]);
        let [ours, ceiling] = [flops / best[0] / 1e9, flops / best[1] / 1e9];
        println!(
            "{name:<6}{pass:<10}{shape:>18}{threads:>9}{:>12.0}{ours:>10.1}{ceiling:>10.1}{:>6.0}%",
            best[0] * 1e6,
            100.0 * ours / ceiling
        );
    }
}

fn cells(ctx: &Context, threads: usize, batch: usize, hidden: usize) {
    let shape = format!("N={batch} H={hidden}");
    let n = batch * hidden;
    let (z, zh, state, dh) = (values(4 * n, 1), values(3 * n, 2), values(n, 3), values(n, 4));
    let (mut c, mut h, mut dz, mut dzh, mut d) =
        (vec![0.0; n], vec![0.0; n], vec![0.0; 4 * n], vec![0.0; 3 * n], vec![0.0; n]);
    for name in ["lstm", "gru"] {
        if !selected(&format!("t={threads} {name} cell {shape}")) {
            continue;
        }
        let best = [false, true].map(|back| {
            contest(&mut [Entry::new("evenkeel", || {
                if name == "lstm" {
                    if back {
                        lstm_cell_backward_f32(ctx, batch, hidden, &z, &state, &c, &dh, None, &mut dz, &mut d).unwrap();
                    } else {
                        lstm_cell_forward_f32(ctx, batch, hidden, &z, &state, &mut c, &mut h).unwrap();
                    }
                } else {
                    let (z, dz) = (&z[..3 * n], &mut dz[..3 * n]);
                    if back {
                        gru_cell_backward_f32(ctx, batch, hidden, z, &zh, &state, &dh, dz, &mut dzh, &mut d).unwrap();
                    } else {
                        gru_cell_forward_f32(ctx, batch, hidden, z, &zh, &state, &mut h).unwrap();
                    }
                }
            })])[0]
        });
        let [forward, back] = best.map(|t| t * 1e9 / n as f64);
        println!(
            "{name:<6}{:<10}{shape:>18}{threads:>9}{:>12.2}   {forward:.2} + {back:.2} ns a unit, forward + back",
            "cell",
            (best[0] + best[1]) * 1e6,
        );
    }
}
