//! Norm, clip and update in GB/s, beside what the machine does when it scales an array of the same bytes in place.
//!
//! `cargo bench --bench optim -- [WORDS]` runs the cases whose line contains one of the words, as in `adam` or `small`.
//! `EVENKEEL_BENCH_THREADS` names the thread counts (default `1,2`). Traffic is counted ideally: each tensor that a
//! pass reads or writes once. The ceiling is a plain loop over as many bytes as the case touches, by turns with
//! it: on the case's threads from 64 MiB on, else on one.

mod common;

use common::{Entry, contest, selected, values};
use evenkeel::Context;
use evenkeel::monitor::tensor_stats_f32;
use evenkeel::optim::{
    AdagradOptions, AdamOptions, ClipMode, ClipOptions, LionOptions, Nonfinite, RmspropOptions, SecondMoment,
    SgdOptions, clip_adagrad_f32, clip_adam_f32, clip_by_norm_f32, clip_lion_f32, clip_rmsprop_f32, clip_sgd_f32,
    grad_norm_f32,
};

/// Tensors of a case: its name and its sizes.
fn lists() -> [(&'static str, Vec<usize>); 4] {
    let layer = [768, 768, 768 * 2304, 2304, 768 * 768, 768, 768, 768, 768 * 3072, 3072, 3072 * 768, 768];
    [
        ("tiny 4096", vec![4096]),
        ("small 2000 of 64", vec![64; 2000]),
        ("cache 256Ki", vec![256 * 1024]),
        // Two layers and a quarter of the embedding of GPT-2.
        ("memory 24M", [vec![12564 * 768], layer.repeat(2)].concat()),
    ]
}

fn split(sizes: &[usize], data: &mut [f32]) -> Vec<*mut [f32]> {
    let mut rest = data;
    let mut tensors = Vec::new();
    for &n in sizes {
        let (tensor, tail) = rest.split_at_mut(n);
        tensors.push(tensor as *mut [f32]);
        rest = tail;
    }
    tensors
}

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    let isa = Context::global().expect("the default context").isa();
    println!("instruction set {}", isa.name());
    println!("{:<20}{:<34}{:>8}{:>12}{:>10}{:>10}{:>8}", "list", "what", "threads", "µs", "GB/s", "ceiling", "share");
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        for (name, sizes) in lists() {
            measure(&ctx, threads, name, &sizes);
        }
    }
}

fn measure(ctx: &Context, threads: usize, list: &str, sizes: &[usize]) {
    let n: usize = sizes.iter().sum();
    let mut data: Vec<Vec<f32>> = (0..5).map(|seed| values(n, seed + 1)).collect();
    // A mean of squares is not negative.
    data[3].iter_mut().for_each(|v| *v = v.abs());
    let pointers: Vec<Vec<*mut [f32]>> = data.iter_mut().map(|d| split(sizes, d)).collect();
    // SAFETY: the pointers of one list are disjoint parts of a vector that lives to the end of this function; a case
    // makes its views from them one at a time, on one thread.
    let view = |k: usize| -> Vec<&mut [f32]> { pointers[k].iter().map(|p| unsafe { &mut **p }).collect() };
    // SAFETY: as above.
    let read = |k: usize| -> Vec<&[f32]> { pointers[k].iter().map(|p| unsafe { &**p }).collect() };
    let (mut w, g, mut a, mut b, mut c) = (view(0), read(1), view(2), view(3), view(4));
    let clip = ClipOptions { mode: ClipMode::GlobalNorm, threshold: 1.0, ..Default::default() };
    let known = ClipOptions { known_sum_sq: n as f64 / 3.0, ..clip };
    let plain = ClipOptions { nonfinite: Nonfinite::Propagate, ..Default::default() };
    let sgd = SgdOptions { lr: 1e-6, momentum: 0.9, ..Default::default() };
    let adamw = AdamOptions { lr: 1e-6, decoupled: true, weight_decay: 0.01, step: 100, ..Default::default() };
    let root = AdamOptions { second_moment: SecondMoment::Root, ..adamw };
    let rmsprop = RmspropOptions { lr: 1e-6, ..Default::default() };
    let (adagrad, lion) = (AdagradOptions::default(), LionOptions { lr: 1e-6, ..Default::default() });

    // Words an element: what each pass reads and writes.
    let case = |what: &str, words: usize, run: &mut dyn FnMut()| {
        if !selected(&format!("{list} {what}")) {
            return;
        }
        // The ceiling reads and writes every word it touches.
        let mut scaled = vec![1.0f32; (n * words).div_ceil(2)];
        let piece = scaled.len().div_ceil(threads);
        let mut entries = [
            Entry::new("evenkeel", run),
            Entry::new("scale in place", || {
                // Starting threads would cost more than a small array.
                if threads == 1 || n * words < 1 << 24 {
                    scale(&mut scaled);
                } else {
                    std::thread::scope(|s| scaled.chunks_mut(piece).for_each(|x| drop(s.spawn(|| scale(x)))));
                }
            }),
        ];
        let times = contest(&mut entries);
        let gb = (n * words * 4) as f64 / 1e9;
        let (ours, ceiling) = (gb / times[0], gb / times[1]);
        println!(
            "{list:<20}{what:<34}{threads:>8}{:>12.1}{ours:>10.1}{ceiling:>10.1}{:>7.0}%",
            times[0] * 1e6,
            100.0 * ours / ceiling
        );
    };
    case("grad_norm", 1, &mut || {
        grad_norm_f32(ctx, &g, None).expect("a norm");
    });
    case("clip_by_norm", 3, &mut || {
        // Over the limit every time: one element is put back.
        c[0][0] = 2.0;
        clip_by_norm_f32(ctx, 1.0, &mut c).expect("a clip");
    });
    case("sgd momentum, no clip", 5, &mut || {
        clip_sgd_f32(ctx, &plain, &sgd, &mut w, &g, Some(&mut a)).expect("a step");
    });
    case("clip + sgd momentum", 6, &mut || {
        clip_sgd_f32(ctx, &clip, &sgd, &mut w, &g, Some(&mut a)).expect("a step");
    });
    case("adamw, no clip", 7, &mut || {
        clip_adam_f32(ctx, &plain, &adamw, &mut w, &g, &mut a, &mut b).expect("a step");
    });
    case("clip + adamw", 8, &mut || {
        clip_adam_f32(ctx, &clip, &adamw, &mut w, &g, &mut a, &mut b).expect("a step");
    });
    case("clip + adamw, norm known", 7, &mut || {
        clip_adam_f32(ctx, &known, &adamw, &mut w, &g, &mut a, &mut b).expect("a step");
    });
    case("clip + adamw, root", 8, &mut || {
        clip_adam_f32(ctx, &clip, &root, &mut w, &g, &mut a, &mut b).expect("a step");
    });
    case("clip + rmsprop", 6, &mut || {
        clip_rmsprop_f32(ctx, &clip, &rmsprop, &mut w, &g, &mut b, None, None).expect("a step");
    });
    case("clip + adagrad", 6, &mut || {
        clip_adagrad_f32(ctx, &clip, &adagrad, &mut w, &g, &mut b).expect("a step");
    });
    case("clip + lion", 6, &mut || {
        clip_lion_f32(ctx, &clip, &lion, &mut w, &g, &mut a).expect("a step");
    });
    if let [one] = g[..] {
        case("tensor_stats", 1, &mut || {
            tensor_stats_f32(ctx, one).expect("stats");
        });
    }
}

#[inline(never)]
fn scale(x: &mut [f32]) {
    let factor = std::hint::black_box(1.0f32);
    x.iter_mut().for_each(|x| *x *= factor);
}
