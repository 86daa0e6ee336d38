//! Conversions between f32 and the halves, in GB/s beside copies of the same bytes in the same run.
//!
//! `cargo bench --bench convert -- [WORDS]` runs the cases whose line contains one of the words, as in `bf16` or `16Mi`.
//! `EVENKEEL_BENCH_THREADS` names the thread counts (default `1,2`). Traffic is the input read once and the output written once;
//! the ceiling is the better of a plain and a non-temporal copy of as many bytes on as many threads, by turns.

mod common;

use common::bandwidth::Streams;
use common::{Entry, contest, selected, values};
use evenkeel::convert::*;
use evenkeel::{Context, bf16, f16};

const SIZES: [(&str, usize); 4] = [("1Ki", 1 << 10), ("64Ki", 64 << 10), ("1Mi", 1 << 20), ("16Mi", 16 << 20)];

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    println!("instruction set {}", Context::global().expect("the default context").isa().name());
    println!("{:<26}{:>6}{:>9}{:>12}{:>9}{:>10}{:>8}", "what", "n", "threads", "ns", "GB/s", "ceiling", "share");
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        for (name, n) in SIZES {
            measure(&ctx, threads, name, n);
        }
    }
}

fn measure(ctx: &Context, threads: usize, size: &str, n: usize) {
    let (x, mut wide) = (values(n, 1), vec![0.0f32; n]);
    let (mut b, mut h) = (vec![bf16::ONE; n], vec![f16::ONE; n]);
    let streams = Streams::new(if n < 1 << 16 { 1 } else { threads });
    // As many bytes read and written: three quarters of n floats.
    let (from, to) = (values(3 * n / 4, 2), std::cell::RefCell::new(vec![0.0f32; 3 * n / 4]));
    let case = |what: &str, run: &mut dyn FnMut()| {
        if !selected(&format!("{what} n={size} t={threads}")) {
            return;
        }
        let mut entries = [
            Entry::new("evenkeel", run),
            Entry::new("plain", || streams.write(false, &from, None, &mut to.borrow_mut())),
            Entry::new("non-temporal", || streams.write(true, &from, None, &mut to.borrow_mut())),
        ];
        // Non-temporal stores of what caches hold are no ceiling.
        let contestants = if n < 1 << 21 { 2 } else { 3 };
        let times = contest(&mut entries[..contestants]);
        let gb = (n * 6) as f64 / 1e9;
        let (ours, ceiling) = (gb / times[0], gb / times[1..].iter().copied().fold(f64::INFINITY, f64::min));
        let share = 100.0 * ours / ceiling;
        println!("{what:<26}{size:>6}{threads:>9}{:>12.0}{ours:>9.1}{ceiling:>10.1}{share:>7.0}%", times[0] * 1e9);
    };
    case("f32 to bf16", &mut || convert_f32_to_bf16(ctx, &x, &mut b).expect("valid"));
    case("bf16 to f32", &mut || convert_bf16_to_f32(ctx, &b, &mut wide).expect("valid"));
    case("f32 to f16", &mut || convert_f32_to_f16(ctx, &x, &mut h).expect("valid"));
    case("f16 to f32", &mut || convert_f16_to_f32(ctx, &h, &mut wide).expect("valid"));
    case("f32 to bf16 by chance", &mut || convert_f32_to_bf16_stochastic(ctx, 1, &x, &mut b).expect("valid"));
    case("f32 to f16 by chance", &mut || convert_f32_to_f16_stochastic(ctx, 1, &x, &mut h).expect("valid"));
}
