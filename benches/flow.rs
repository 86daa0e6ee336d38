//! Starting and flowing: random tensors in Gelem/s, orthogonal matrices and spectra in milliseconds, highway connections and
//! the scaling of data in GB/s beside what memory does in the same run.
//!
//! `cargo bench --bench flow -- [WORDS]` runs the cases whose line contains one of the words, as in `init`, `highway` or
//! `n=1024`. `EVENKEEL_BENCH_THREADS` names the thread counts (default `1,2`). Traffic is counted ideally: each input read
//! once, each output written once. The ceiling is the better of plain and non-temporal triads (two inputs, one output) of as
//! many elements, by turns; that of statistics, which write nothing, a sum.

mod common;

use common::bandwidth::Streams;
use common::{Entry, contest, selected, values};
use evenkeel::data::*;
use evenkeel::gate::*;
use evenkeel::init::*;
use evenkeel::spectral::*;
use evenkeel::{Activation, Context};
use std::cell::RefCell;

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    println!("instruction set {}", Context::global().expect("the default context").isa().name());
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        random(&ctx, threads);
        matrices(&ctx, threads);
        for (name, n) in [("256Ki", 256 << 10), ("16Mi", 16 << 20)] {
            streams(&ctx, threads, name, n);
        }
    }
}

fn best(run: impl FnMut()) -> f64 {
    contest(&mut [Entry::new("evenkeel", run)])[0]
}

fn random(ctx: &Context, threads: usize) {
    let n = 256 << 10;
    let mut w = vec![0.0; n];
    let mut case = |name: &str, run: &mut dyn FnMut(&mut [f32])| {
        if selected(&format!("init {name} n=256Ki t={threads}")) {
            let time = best(|| run(&mut w));
            println!("init {name:<24}{threads:>2} threads {:>8.2} Gelem/s", n as f64 / time / 1e9);
        }
    };
    case("uniform", &mut |w| init_uniform_f32(ctx, 1, 2, -1.0, 1.0, w).expect("valid"));
    case("normal", &mut |w| init_normal_f32(ctx, 1, 2, 0.0, 1.0, w).expect("valid"));
}

fn matrices(ctx: &Context, threads: usize) {
    for n in [256, 512, 1024] {
        let case = |name: &str, run: &mut dyn FnMut()| {
            if selected(&format!("{name} n={n} t={threads}")) {
                println!("{name:<24}n = {n:<5}{threads:>2} threads {:>8.2} ms", best(run) * 1e3);
            }
        };
        let mut w = vec![0.0; n * n];
        case("init orthogonal", &mut || init_orthogonal_f32(ctx, 1, 2, 1.0, n, n, &mut w).expect("valid"));
        let mut w = vec![0.0; n * n];
        init_xavier_f32(ctx, 1, 2, Distribution::Normal, 1.0, n, n, &mut w).expect("valid");
        let z = values(n, 3);
        for tolerance in [1e-4, 1e-8] {
            let name = format!("spectral norm {tolerance:e}");
            case(&name, &mut || assert!(spectral_norm_f32(ctx, n, n, &w, n, 0, tolerance).expect("valid").converged));
        }
        case("jacobian norm 1e-4", &mut || {
            let norm = jacobian_norm_f32(ctx, Activation::Tanh, 0.0, n, n, &w, &z, 0, 1e-4).expect("valid");
            assert!(norm.converged);
        });
        case("spectral radius", &mut || assert!(spectral_radius_f32(ctx, n, &w, n, 0).expect("valid").converged));
    }
}

fn streams(ctx: &Context, threads: usize, size: &str, n: usize) {
    let [g, h, x, dy] = [1, 2, 3, 4].map(|seed| values(n, seed));
    let [mut a, mut b, mut c] = [(); 3].map(|()| vec![0.0; n]);
    let other = RefCell::new(vec![0.0; n]);
    let streams = Streams::new(threads);
    let case = |name: &str, arrays: usize, writes: bool, run: &mut dyn FnMut()| {
        if !selected(&format!("{name} n={size} t={threads}")) {
            return;
        }
        let mut entries = vec![Entry::new("evenkeel", run)];
        if writes {
            entries.push(Entry::new("plain", || streams.write(false, &g, Some(&h), &mut other.borrow_mut())));
            if n >= 1 << 20 {
                entries.push(Entry::new("past", || streams.write(true, &g, Some(&h), &mut other.borrow_mut())));
            }
        } else {
            entries.push(Entry::new("read", || streams.read(&g)));
        }
        let times = contest(&mut entries);
        let bytes = 4.0 * n as f64 / 1e9;
        let ceiling = times[1..].iter().map(|t| bytes * if writes { 3.0 } else { 1.0 } / t).fold(0.0, f64::max);
        let ours = bytes * arrays as f64 / times[0];
        println!(
            "{name:<24}n = {size:<6}{threads:>2} threads {ours:>8.1} GB/s, ceiling {ceiling:>6.1} ({:.0}%), {:.3} ns",
            100.0 * ours / ceiling,
            1e9 * times[0] / n as f64
        );
    };
    case("highway forward", 4, true, &mut || highway_forward_f32(ctx, &g, &h, &x, &mut a).expect("valid"));
    case("highway backward", 7, true, &mut || {
        highway_backward_f32(ctx, &g, &h, &x, &dy, &mut a, &mut b, &mut c).expect("valid");
    });
    let cols = 64;
    let (mut mean, mut std) = (vec![0.0; cols], vec![0.0; cols]);
    let (mut min, mut max) = (vec![0.0; cols], vec![0.0; cols]);
    let mut stats = |x: &[f32]| {
        let (std, min, max) = (Some(&mut std[..]), Some(&mut min[..]), Some(&mut max[..]));
        column_stats_f32(ctx, n / cols, cols, x, &mut mean, std, min, max).expect("valid");
    };
    case("column stats, 64 columns", 1, false, &mut || stats(&x));
    stats(&x);
    case("standardize, 64 columns", 2, true, &mut || {
        standardize_f32(ctx, n / cols, cols, &mean, &std, 1e-6, &x, &mut a).expect("valid");
    });
    case("rescale, 64 columns", 2, true, &mut || {
        rescale_f32(ctx, n / cols, cols, &min, &max, 0.0, 1.0, &x, &mut a).expect("valid");
    });
}
