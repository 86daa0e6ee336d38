//! Softmax, log-softmax and cross-entropy in Gelem/s, and in GB/s beside what memory does in the same run.
//!
//! `cargo bench --bench softmax -- [WORDS]` runs the cases whose line contains one of the words, as in `backward` or
//! `512x32000`. `EVENKEEL_BENCH_THREADS` names the thread counts (default `1,2`). Traffic is counted ideally: each input
//! read once, the output written once. The ceiling of a case is the better of plain and non-temporal copies (one input)
//! or triads (two) of as many elements on as many threads, by turns with it.

mod common;

use common::bandwidth::Streams;
use common::{Entry, contest, selected, values};
use evenkeel::loss::cross_entropy_f32;
use evenkeel::softmax::*;
use evenkeel::{Context, bf16};
use std::cell::RefCell;

/// From the first-level cache to memory, by rows of 8 to 128k columns.
const SHAPES: [[usize; 2]; 7] =
    [[8, 512], [512, 512], [4096, 512], [65536, 8], [16384, 64], [512, 32000], [32, 128 << 10]];

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    println!("instruction set {}", Context::global().expect("the default context").isa().name());
    println!(
        "{:<12}{:<22}{:>8}{:>10}{:>10}{:>9}{:>9}{:>7}",
        "shape", "what", "threads", "µs", "Gelem/s", "GB/s", "ceiling", "share"
    );
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        for shape in SHAPES {
            measure(&ctx, threads, shape);
        }
    }
}

fn measure(ctx: &Context, threads: usize, [rows, cols]: [usize; 2]) {
    let n = rows * cols;
    let x: Vec<f32> = values(n, 1).iter().map(|v| 6.0 * v).collect();
    let (dy, mut y, mut out, mut other) = (values(n, 2), vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    softmax_forward_f32(ctx, rows, cols, &x, &mut y).expect("valid");
    let mut log_y = vec![0.0; n];
    log_softmax_forward_f32(ctx, rows, cols, &x, &mut log_y).expect("valid");
    let halves: Vec<bf16> = x.iter().map(|&v| bf16::from_f32(v)).collect();
    let mut halves_out = vec![bf16::from_f32(0.0); n];
    let targets: Vec<i64> = (0..rows).map(|r| (r * 7 % cols) as i64).collect();
    let streams = Streams::new(if n < 1 << 16 { 1 } else { threads });
    let mut case = |what: &str, inputs: usize, bytes: usize, run: &mut dyn FnMut(&mut [f32])| {
        if !selected(&format!("{rows}x{cols} {what} t={threads}")) {
            return;
        }
        // As many bytes as the case moves.
        let len = n * bytes / 4;
        let second = (inputs == 2).then_some(&dy[..len]);
        let other = RefCell::new(&mut other[..len]);
        let mut entries = [
            Entry::new("evenkeel", || run(&mut out)),
            Entry::new("plain", || streams.write(false, &x[..len], second, &mut other.borrow_mut())),
            Entry::new("non-temporal", || streams.write(true, &x[..len], second, &mut other.borrow_mut())),
        ];
        let contestants = if n < 1 << 20 { 2 } else { 3 };
        let times = contest(&mut entries[..contestants]);
        let gb = (n * (inputs + 1) * bytes) as f64 / 1e9;
        let (ours, ceiling) = (gb / times[0], gb / times[1..].iter().copied().fold(f64::INFINITY, f64::min));
        println!(
            "{:<12}{what:<22}{threads:>8}{:>10.1}{:>10.2}{ours:>9.1}{ceiling:>9.1}{:>6.0}%",
            format!("{rows}x{cols}"),
            times[0] * 1e6,
            n as f64 / times[0] / 1e9,
            100.0 * ours / ceiling
        );
    };
    case("softmax", 1, 4, &mut |out| softmax_forward_f32(ctx, rows, cols, &x, out).expect("valid"));
    case("softmax backward", 2, 4, &mut |out| softmax_backward_f32(ctx, rows, cols, &y, &dy, out).expect("valid"));
    case("log_softmax", 1, 4, &mut |out| log_softmax_forward_f32(ctx, rows, cols, &x, out).expect("valid"));
    case("log_softmax backward", 2, 4, &mut |out| {
        log_softmax_backward_f32(ctx, rows, cols, &log_y, &dy, out).expect("valid");
    });
    case("cross_entropy", 1, 4, &mut |out| {
        let mut mean = 0.0;
        cross_entropy_f32(ctx, 0.0, -100, 1.0, rows, cols, &x, &targets, None, Some(&mut mean), Some(out))
            .expect("valid");
    });
    case("softmax bf16", 1, 2, &mut |_| {
        softmax_forward_bf16(ctx, rows, cols, &halves, &mut halves_out).expect("valid");
    });
}
