//! Looking at tensors, in GB/s beside a plain sum of the same numbers in the same run: statistics, norms, clipping, unscaling.
//!
//! `cargo bench --bench stats -- [WORDS]` runs the cases whose line contains one of the words. `EVENKEEL_BENCH_THREADS` names the
//! thread counts (default `1,2`). The ceiling of what reads is a sum in f32 over sixty-four lanes; of what writes in place, too,
//! a scaling in place.

mod common;

use common::bandwidth::Streams;
use common::{Entry, contest, selected, values};
use evenkeel::Context;
use evenkeel::monitor::tensor_stats_f32;
use evenkeel::optim::{clip_by_value_f32, grad_norm_f32, unscale_f32};

const SIZES: [(&str, usize); 4] = [("1Ki", 1 << 10), ("64Ki", 64 << 10), ("1Mi", 1 << 20), ("32Mi", 32 << 20)];

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
    let (x, mut y) = (values(n, 1), values(n, 2));
    let mut sparse = x.clone();
    // A tenth of a tensor behind a ReLU.
    sparse.iter_mut().step_by(10).for_each(|x| *x = 0.0);
    let streams = Streams::new(if n < 1 << 16 { 1 } else { threads });
    let scaled = std::cell::RefCell::new(values(n, 3));
    let case = |what: &str, writes: bool, run: &mut dyn FnMut()| {
        if !selected(&format!("{what} n={size} t={threads}")) {
            return;
        }
        let mut entries = [
            Entry::new("evenkeel", run),
            Entry::new("ceiling", || match writes {
                true => streams.scale(&mut scaled.borrow_mut()),
                false => streams.read(&x),
            }),
        ];
        let times = contest(&mut entries);
        let gb = (n * if writes { 8 } else { 4 }) as f64 / 1e9;
        let (ours, ceiling) = (gb / times[0], gb / times[1]);
        let share = 100.0 * ours / ceiling;
        println!("{what:<26}{size:>6}{threads:>9}{:>12.0}{ours:>9.1}{ceiling:>10.1}{share:>7.0}%", times[0] * 1e9);
    };
    case("tensor_stats", false, &mut || {
        tensor_stats_f32(ctx, &x).expect("statistics");
    });
    case("tensor_stats, a tenth 0", false, &mut || {
        tensor_stats_f32(ctx, &sparse).expect("statistics");
    });
    case("grad_norm", false, &mut || {
        grad_norm_f32(ctx, &[&x], None).expect("a norm");
    });
    case("unscale", true, &mut || {
        unscale_f32(ctx, 1.0, &mut y).expect("a scale");
    });
    case("clip_by_value", true, &mut || clip_by_value_f32(ctx, 0.5, &mut y).expect("a limit"));
}
