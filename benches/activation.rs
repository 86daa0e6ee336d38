//! Activations in Gelem/s, and in GB/s beside what memory does in the same run.
//!
//! `cargo bench --bench activation -- [WORDS]` runs the cases whose line contains one of the words, as in `Tanh`,
//! `backward` or `4Ki`. `EVENKEEL_BENCH_THREADS` names the thread counts (default `1,2`). Traffic is counted ideally:
//! each input read once, the output written once. The ceiling of a case is the better of plain and non-temporal copies
//! (one input) or triads (two) of as many elements on as many threads, by turns with it.

mod common;

use common::bandwidth::Streams;
use common::{Entry, contest, selected, values};
use evenkeel::activation::*;
use evenkeel::{Activation, Context};

const SIZES: [(&str, usize); 4] = [("64", 64), ("4Ki", 4 << 10), ("256Ki", 256 << 10), ("16Mi", 16 << 20)];

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    println!("instruction set {}", Context::global().expect("the default context").isa().name());
    println!(
        "{:<14}{:<14}{:>7}{:>9}{:>10}{:>10}{:>9}{:>9}{:>7}",
        "activation", "what", "n", "threads", "ns", "Gelem/s", "GB/s", "ceiling", "share"
    );
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        for (name, n) in SIZES {
            measure(&ctx, threads, name, n);
        }
    }
}

fn measure(ctx: &Context, threads: usize, size: &str, n: usize) {
    let z: Vec<f32> = values(n, 1).iter().map(|v| 6.0 * v).collect();
    let (dy, mut y) = (values(n, 2), vec![0.0; n]);
    let mut other = vec![0.0; n];
    let streams = Streams::new(if n < 1 << 16 { 1 } else { threads });
    for act in Activation::ALL {
        let p = 0.5;
        let mut case = |what: &str, inputs: usize, run: &mut dyn FnMut(&mut [f32])| {
            if !selected(&format!("{act:?} {what} n={size} t={threads}")) {
                return;
            }
            let second = (inputs == 2).then_some(&dy[..]);
            let other = std::cell::RefCell::new(&mut other[..]);
            let mut entries = [
                Entry::new("evenkeel", || run(&mut y)),
                Entry::new("plain", || streams.write(false, &z, second, &mut other.borrow_mut())),
                Entry::new("non-temporal", || streams.write(true, &z, second, &mut other.borrow_mut())),
            ];
            // Non-temporal stores of what caches hold are no ceiling, and leave other contestants with cold caches.
            let contestants = if n < 1 << 20 { 2 } else { 3 };
            let times = contest(&mut entries[..contestants]);
            let gb = (n * (inputs + 1) * 4) as f64 / 1e9;
            let (ours, ceiling) = (gb / times[0], gb / times[1..].iter().copied().fold(f64::INFINITY, f64::min));
            println!(
                "{:<14}{what:<14}{size:>7}{threads:>9}{:>10.0}{:>10.2}{ours:>9.1}{ceiling:>9.1}{:>6.0}%",
                format!("{act:?}"),
                times[0] * 1e9,
                n as f64 / times[0] / 1e9,
                100.0 * ours / ceiling
            );
        };
        case("forward", 1, &mut |y| activation_forward_f32(ctx, act, p, &z, y).expect("valid"));
        case("derivative", 1, &mut |y| activation_derivative_f32(ctx, act, p, &z, y).expect("valid"));
        case("backward", 2, &mut |y| activation_backward_f32(ctx, act, p, &z, &dy, y).expect("valid"));
        if act.has_derivative_from_output(p) {
            case("from output", 2, &mut |y| {
                activation_backward_from_output_f32(ctx, act, p, &z, &dy, y).expect("valid");
            });
        }
    }
}
