//! Norms in GB/s, beside what memory does in the same run.
//!
//! `cargo bench --bench norm -- [WORDS]` runs the cases whose line contains one of the words, as in `layer`, `backward`
//! or `4096x768`. `EVENKEEL_BENCH_THREADS` names the thread counts (default `1,2`). Traffic is counted ideally: each
//! tensor read once or written once. The ceiling of a case is the better of plain and non-temporal copies (forward) or
//! triads (backward) of as many elements on as many threads, by turns with it.

mod common;

use common::bandwidth::Streams;
use common::{Entry, contest, selected, values};
use evenkeel::norm::*;
use evenkeel::{Context, bf16};

/// Rows and columns: in L1, in L2 and L3, in memory; short and long rows.
const ROWS: [[usize; 2]; 9] = [
    [4, 1024],
    [256, 1024],
    [4096, 768],
    [8192, 1024],
    [16384, 1024],
    [4096, 4096],
    [16384, 16],
    [16384, 64],
    [64, 100_000],
];

/// Batch, channels, spatial.
const CHANNELS: [[usize; 3]; 6] =
    [[16, 64, 1], [256, 1024, 1], [4096, 1024, 1], [16384, 1024, 1], [8, 64, 784], [32, 64, 3136]];

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    println!("instruction set {}", Context::global().expect("the default context").isa().name());
    println!(
        "{:<14}{:<10}{:>16}{:>9}{:>12}{:>9}{:>9}{:>9}{:>7}",
        "norm", "what", "shape", "threads", "µs", "Gelem/s", "GB/s", "ceiling", "share"
    );
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        for shape in ROWS {
            rows(&Bench { ctx: &ctx, threads }, shape);
        }
        for shape in CHANNELS {
            channels(&Bench { ctx: &ctx, threads }, shape);
        }
    }
}

struct Bench<'a> {
    ctx: &'a Context,
    threads: usize,
}

impl Bench<'_> {
    /// `words` tensors of `n` elements of `bytes` each go through.
    #[allow(clippy::too_many_arguments)]
    fn case(&self, name: &str, what: &str, shape: &str, n: usize, words: usize, bytes: usize, run: &mut dyn FnMut()) {
        if !selected(&format!("t={} {name} {what} {shape}", self.threads)) {
            return;
        }
        let elements = n * bytes / 4;
        let (a, b, mut y) = (values(elements, 8), values(elements, 9), vec![0.0; elements]);
        let streams = Streams::new(if n < 1 << 16 { 1 } else { self.threads });
        let second = (words > 2).then_some(&b[..]);
        let y = std::cell::RefCell::new(&mut y[..]);
        let mut entries = [
            Entry::new("evenkeel", run),
            Entry::new("plain", || streams.write(false, &a, second, &mut y.borrow_mut())),
            Entry::new("non-temporal", || streams.write(true, &a, second, &mut y.borrow_mut())),
        ];
        // Non-temporal stores of what caches hold are no ceiling, and leave other contestants with cold caches.
        let contestants = if n < 1 << 20 { 2 } else { 3 };
        let times = contest(&mut entries[..contestants]);
        let gb = |words: usize| (n * words * bytes) as f64 / 1e9;
        let ours = gb(words) / times[0];
        let ceiling = gb(words.clamp(2, 3)) / times[1..].iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "{name:<14}{what:<10}{shape:>16}{:>9}{:>12.1}{:>9.2}{ours:>9.1}{ceiling:>9.1}{:>6.0}%",
            self.threads,
            times[0] * 1e6,
            n as f64 / times[0] / 1e9,
            100.0 * ours / ceiling
        );
    }
}

fn rows(bench: &Bench<'_>, [rows, cols]: [usize; 2]) {
    let (ctx, n) = (bench.ctx, rows * cols);
    let shape = format!("{rows}x{cols}");
    let (x, dy) = (values(n, 1), values(n, 2));
    let (gamma, beta) = (values(cols, 3), values(cols, 4));
    let (mut y, mut sum) = (vec![0.0; n], vec![0.0; n]);
    let (mut mean, mut rstd) = (vec![0.0; rows], vec![0.0; rows]);
    let (mut dgamma, mut dbeta) = (vec![0.0; cols], vec![0.0; cols]);
    let (g, b) = (Some(&gamma[..]), Some(&beta[..]));
    bench.case("layer", "forward", &shape, n, 2, 4, &mut || {
        layer_norm_forward_f32(ctx, 1e-5, rows, cols, &x, g, b, &mut y, Some(&mut mean), Some(&mut rstd)).unwrap();
    });
    layer_norm_forward_f32(ctx, 1e-5, rows, cols, &x, g, b, &mut y, Some(&mut mean), Some(&mut rstd)).unwrap();
    bench.case("layer", "backward", &shape, n, 3, 4, &mut || {
        let (dx, dg, db) = (Some(&mut y[..]), Some(&mut dgamma[..]), Some(&mut dbeta[..]));
        layer_norm_backward_f32(ctx, rows, cols, &dy, &x, &mean, &rstd, g, false, dx, dg, db).unwrap();
    });
    bench.case("add + layer", "forward", &shape, n, 4, 4, &mut || {
        let (mean, rstd) = (Some(&mut mean[..]), Some(&mut rstd[..]));
        add_layer_norm_forward_f32(ctx, 1e-5, rows, cols, &x, &dy, g, b, &mut sum, &mut y, mean, rstd).unwrap();
    });
    bench.case("add + layer", "backward", &shape, n, 4, 4, &mut || {
        let (dg, db) = (Some(&mut dgamma[..]), Some(&mut dbeta[..]));
        let dsum = Some(&sum[..]);
        add_layer_norm_backward_f32(ctx, rows, cols, &dy, dsum, &x, &mean, &rstd, g, false, &mut y, dg, db).unwrap();
    });
    bench.case("rms", "forward", &shape, n, 2, 4, &mut || {
        rms_norm_forward_f32(ctx, 1e-5, rows, cols, &x, g, &mut y, Some(&mut rstd)).unwrap();
    });
    bench.case("rms", "backward", &shape, n, 3, 4, &mut || {
        let (dx, dg) = (Some(&mut y[..]), Some(&mut dgamma[..]));
        rms_norm_backward_f32(ctx, rows, cols, &dy, &x, &rstd, g, false, dx, dg).unwrap();
    });
    let narrow = |v: &[f32]| v.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<bf16>>();
    let [x, dy, gamma, beta, mut y] = [&x, &dy, &gamma, &beta, &y].map(|v| narrow(v));
    let (g, b) = (Some(&gamma[..]), Some(&beta[..]));
    bench.case("layer bf16", "forward", &shape, n, 2, 2, &mut || {
        layer_norm_forward_bf16(ctx, 1e-5, rows, cols, &x, g, b, &mut y, Some(&mut mean), Some(&mut rstd)).unwrap();
    });
    bench.case("layer bf16", "backward", &shape, n, 3, 2, &mut || {
        let (dx, dg, db) = (Some(&mut y[..]), Some(&mut dgamma[..]), Some(&mut dbeta[..]));
        layer_norm_backward_bf16(ctx, rows, cols, &dy, &x, &mean, &rstd, g, false, dx, dg, db).unwrap();
    });
}

fn channels(bench: &Bench<'_>, [batch, channels, spatial]: [usize; 3]) {
    let (ctx, n) = (bench.ctx, batch * channels * spatial);
    let shape = format!("{batch}x{channels}x{spatial}");
    let (x, dy, mut y) = (values(n, 1), values(n, 2), vec![0.0; n]);
    let (gamma, beta) = (values(channels, 3), values(channels, 4));
    let (mut mean, mut rstd) = (vec![0.0; channels], vec![0.0; channels]);
    let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
    let (g, b) = (Some(&gamma[..]), Some(&beta[..]));
    let mut train = |y: &mut [f32]| {
        let (m, k) = (&mut mean[..], &mut rstd[..]);
        batch_norm_forward_train_f32(ctx, 1e-5, 0.1, batch, channels, spatial, &x, g, b, None, None, y, m, k).unwrap();
    };
    // Two reads and a write where the tensor is in memory; counted as one read.
    bench.case("batch", "forward", &shape, n, 2, 4, &mut || train(&mut y));
    train(&mut y);
    let (m, k) = (&mean, &rstd);
    bench.case("batch", "infer", &shape, n, 2, 4, &mut || {
        batch_norm_forward_infer_f32(ctx, 1e-5, batch, channels, spatial, &x, g, b, m, k, &mut y).unwrap();
    });
    bench.case("batch", "backward", &shape, n, 3, 4, &mut || {
        let (dx, dg, db) = (Some(&mut y[..]), Some(&mut dgamma[..]), Some(&mut dbeta[..]));
        batch_norm_backward_f32(ctx, batch, channels, spatial, &dy, &x, m, k, g, false, dx, dg, db).unwrap();
    });
    let groups = 8;
    let (mut mean, mut rstd) = (vec![0.0; batch * groups], vec![0.0; batch * groups]);
    bench.case("group", "forward", &shape, n, 2, 4, &mut || {
        let (m, k) = (Some(&mut mean[..]), Some(&mut rstd[..]));
        group_norm_forward_f32(ctx, 1e-5, batch, channels, spatial, groups, &x, g, b, &mut y, m, k).unwrap();
    });
    bench.case("group", "backward", &shape, n, 3, 4, &mut || {
        let (dx, dg, db) = (Some(&mut y[..]), Some(&mut dgamma[..]), Some(&mut dbeta[..]));
        let (m, k) = (&mean, &rstd);
        group_norm_backward_f32(ctx, batch, channels, spatial, groups, &dy, &x, m, k, g, false, dx, dg, db).unwrap();
    });
}
