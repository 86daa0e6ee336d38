//! Norm, clip and update in GB/s, beside what the machine does when it scales and reads arrays of the same bytes.
//!
//! `cargo bench --bench optim -- [WORDS]` runs the cases whose line contains one of the words, as in `adam` or `100 of`.
//! `EVENKEEL_BENCH_THREADS` names the thread counts (default `1,2`), `EVENKEEL_BENCH_LISTS` lists of tensors (default all). Traffic is counted ideally: each tensor that a pass reads or
//! writes once, so that AdamW moves 28 bytes a parameter, and 4 more where the norm has to be computed first.
//!
//! By turns with each case, on as many threads: `scaling` is a plain loop that multiplies an array of half as many bytes in
//! place; `share` is the case's part of its speed. Since memory is read alone more slowly than it is read and written, `floor` is
//! the time of scaling the update's bytes and of reading the norm's, and `of floor` its part of the case's time.

mod common;

use common::bandwidth::Streams;
use common::{Entry, contest, selected, values};
use evenkeel::optim::*;
use evenkeel::{Context, bf16};
use std::cell::RefCell;

/// Tensors of a case: its name and its sizes.
fn lists() -> [(&'static str, Vec<usize>); 7] {
    let layer = [768, 768, 768 * 2304, 2304, 768 * 768, 768, 768, 768, 768 * 3072, 3072, 3072 * 768, 768];
    [
        ("1 of 4096", vec![4096]),
        ("1 of 16Ki", vec![16 * 1024]),
        // All of AdamW in the second-level cache.
        ("100 of 100", vec![100; 100]),
        ("100 of 1000", vec![1000; 100]),
        ("2000 of 64", vec![64; 2000]),
        ("1 of 256Ki", vec![256 * 1024]),
        // GPT-2: two embeddings, twelve layers, a norm.
        ("148 of 124M", [vec![50257 * 768, 1024 * 768], layer.repeat(12), vec![768; 2]].concat()),
    ]
}

fn cut<'a, T>(sizes: &[usize], mut data: &'a mut [T]) -> Vec<&'a mut [T]> {
    sizes.iter().map(|&n| data.split_off_mut(..n).expect("long enough")).collect()
}

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    println!("instruction set {}", Context::global().expect("the default context").isa().name());
    println!(
        "{:<12}{:<26}{:>8}{:>11}{:>8}{:>9}{:>7}{:>10}",
        "tensors", "what", "threads", "µs", "GB/s", "scaling", "share", "of floor"
    );
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        for (name, sizes) in lists() {
            measure(&ctx, threads, name, &sizes);
        }
    }
}

fn measure(ctx: &Context, threads: usize, list: &str, sizes: &[usize]) {
    let wanted = |what: &str| selected(&format!("{list} {what} t={threads}"));
    if std::env::var("EVENKEEL_BENCH_LISTS").is_ok_and(|only| !only.split(',').any(|name| name == list)) {
        return;
    }
    let n: usize = sizes.iter().sum();
    let [mut w, mut g, mut a, mut b] = [1, 2, 3, 4].map(|seed| values(n, seed));
    // A mean of squares is not negative.
    b.iter_mut().for_each(|v| *v = v.abs());
    let mut halves: Vec<bf16> = g.iter().map(|&g| bf16::from_f32(g)).collect();
    let mut copies = halves.clone();
    let (mut w, mut a, mut b) = (cut(sizes, &mut w), cut(sizes, &mut a), cut(sizes, &mut b));
    let g = RefCell::new(cut(sizes, &mut g));
    let halves: Vec<&[bf16]> = cut(sizes, &mut halves).into_iter().map(|t| &*t).collect();
    let mut copies = cut(sizes, &mut copies);

    // Starting threads costs more than a small array is worth.
    let streams = Streams::new(if n < 1 << 20 { 1 } else { threads });
    let scaled = RefCell::new(vec![1.0f32; 4 * n]);
    // Bytes an element of the pass that updates, and of the pass that only reads.
    let case = |what: &str, updated: usize, read: usize, run: &mut dyn FnMut()| {
        if !wanted(what) {
            return;
        }
        let scale = |bytes: usize| streams.scale(&mut scaled.borrow_mut()[..n * bytes / 8]);
        let mut entries = [
            Entry::new("evenkeel", run),
            Entry::new("scaling all", || scale(updated + read)),
            Entry::new("scaling", || scale(updated)),
            Entry::new("reading", || streams.read(&scaled.borrow()[..n * read / 4])),
        ];
        let times = contest(&mut entries);
        let gb = (n * (updated + read)) as f64 / 1e9;
        let floor = if updated > 0 { times[2] } else { 0.0 } + if read > 0 { times[3] } else { 0.0 };
        println!(
            "{list:<12}{what:<26}{threads:>8}{:>11.1}{:>8.1}{:>9.1}{:>6.0}%{:>9.0}%",
            times[0] * 1e6,
            gb / times[0],
            gb / times[1],
            100.0 * times[1] / times[0],
            100.0 * floor / times[0]
        );
    };

    // A step in C without a report.
    let plain = ClipOptions { report_norms: false, ..Default::default() };
    let clip = ClipOptions { mode: ClipMode::GlobalNorm, threshold: 1.0, ..plain };
    let report = ClipOptions { report_norms: true, ..clip };
    let known = ClipOptions { known_sum_sq: n as f64 / 3.0, ..clip };
    let sgd = SgdOptions { lr: 1e-6, ..Default::default() };
    let momentum = SgdOptions { momentum: 0.9, ..sgd };
    let adamw = AdamOptions { lr: 1e-6, decoupled: true, weight_decay: 0.01, step: 100, ..Default::default() };
    let root = AdamOptions { second_moment: SecondMoment::Root, ..adamw };
    let chance = AdamOptions { stochastic_seed: Some(1), ..adamw };
    let rmsprop = RmspropOptions { lr: 1e-6, ..Default::default() };
    let (adagrad, lion) =
        (AdagradOptions { lr: 1e-6, ..Default::default() }, LionOptions { lr: 1e-6, ..Default::default() });

    case("grad_norm", 0, 4, &mut || {
        let g = g.borrow();
        let g: Vec<&[f32]> = g.iter().map(|t| &**t).collect();
        grad_norm_f32(ctx, &g, None).expect("a norm");
    });
    case("clip_by_norm", 8, 4, &mut || {
        let mut g = g.borrow_mut();
        // Over the limit every time: one element is put back.
        g[0][0] = 2.0;
        clip_by_norm_f32(ctx, 1.0, &mut g).expect("a clip");
    });
    // Clipping has left a norm of 1: gradients of everyday size again.
    let g = g.into_inner().into_iter().map(|t| {
        t.iter_mut().enumerate().for_each(|(i, g)| *g = (i % 17) as f32 / 17.0 - 0.4);
        &*t
    });
    let g: Vec<&[f32]> = g.collect();
    case("sgd, norm known", 12, 0, &mut || {
        clip_sgd_f32(ctx, &known, &sgd, &mut w, &g, None).expect("a step");
    });
    case("clip + sgd", 12, 4, &mut || {
        clip_sgd_f32(ctx, &clip, &sgd, &mut w, &g, None).expect("a step");
    });
    case("clip + sgd, report", 12, 4, &mut || {
        clip_sgd_f32(ctx, &report, &sgd, &mut w, &g, None).expect("a step");
    });
    case("clip + sgd momentum", 20, 4, &mut || {
        clip_sgd_f32(ctx, &clip, &momentum, &mut w, &g, Some(&mut a)).expect("a step");
    });
    case("clip + adamw", 28, 4, &mut || {
        clip_adam_f32(ctx, &clip, &adamw, &mut w, &g, &mut a, &mut b).expect("a step");
    });
    case("clip + adamw, report", 28, 4, &mut || {
        clip_adam_f32(ctx, &report, &adamw, &mut w, &g, &mut a, &mut b).expect("a step");
    });
    case("adamw, norm known", 28, 0, &mut || {
        clip_adam_f32(ctx, &known, &adamw, &mut w, &g, &mut a, &mut b).expect("a step");
    });
    case("clip + adamw, root", 28, 4, &mut || {
        clip_adam_f32(ctx, &clip, &root, &mut w, &g, &mut a, &mut b).expect("a step");
    });
    case("clip + adamw, bf16", 28, 2, &mut || {
        clip_adam_bf16(ctx, &clip, &adamw, &mut w, &halves, &mut a, &mut b, Some(&mut copies)).expect("a step");
    });
    case("clip + adamw, by chance", 28, 2, &mut || {
        clip_adam_bf16(ctx, &clip, &chance, &mut w, &halves, &mut a, &mut b, Some(&mut copies)).expect("a step");
    });
    case("clip + rmsprop", 20, 4, &mut || {
        clip_rmsprop_f32(ctx, &clip, &rmsprop, &mut w, &g, &mut b, None, None).expect("a step");
    });
    case("clip + adagrad", 20, 4, &mut || {
        clip_adagrad_f32(ctx, &clip, &adagrad, &mut w, &g, &mut b).expect("a step");
    });
    case("clip + lion", 20, 4, &mut || {
        clip_lion_f32(ctx, &clip, &lion, &mut w, &g, &mut a).expect("a step");
    });
}
