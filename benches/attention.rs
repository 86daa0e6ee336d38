//! Attention in GFLOP/s, forward and backward, beside what the register tile does and the machine's FMA ceiling.
//!
//! `cargo bench --bench attention -- [WORDS]` runs the cases whose line contains one of the words, as in `causal` or
//! `512x512x64`. `EVENKEEL_BENCH_THREADS` names the thread counts (default `1,2`). A forward pass counts 4·d operations
//! for each pair of a query and a key that it sees, a backward pass 10·d; in a causal square that is half of it, as
//! others count. The products beside it are those of the heads' logits and outputs, all pairs counted, without a
//! softmax between them.

mod common;

use common::{Entry, contest, fma_ceiling, selected, values};
use evenkeel::Context;
use evenkeel::attention::*;
use evenkeel::matmul::{Transpose, matmul_batched_f32};

#[derive(Clone, Copy)]
struct Case {
    causal: bool,
    batch: usize,
    heads: usize,
    kv_heads: usize,
    seq_q: usize,
    seq_k: usize,
    head_dim: usize,
}

const fn causal(batch: usize, heads: usize, seq: usize, head_dim: usize) -> Case {
    Case { causal: true, batch, heads, kv_heads: heads, seq_q: seq, seq_k: seq, head_dim }
}

/// GPT-2's heads, longer and shorter; grouped heads; a head too short for a block; a few new queries against many keys.
const CASES: [Case; 10] = [
    causal(4, 12, 512, 64),
    Case { causal: false, ..causal(4, 12, 512, 64) },
    causal(4, 12, 1024, 64),
    causal(1, 8, 2048, 128),
    Case { kv_heads: 2, ..causal(1, 8, 1024, 128) },
    causal(1, 2, 4096, 64),
    causal(8, 8, 128, 32),
    causal(32, 4, 33, 16),
    causal(2, 8, 512, 80),
    Case { seq_q: 16, ..causal(1, 8, 2048, 64) },
];

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    let ceiling = fma_ceiling();
    println!("FMA ceiling of one thread: {ceiling:.0} GFLOP/s");
    println!("instruction set {}", Context::global().expect("the default context").isa().name());
    println!(
        "{:<34}{:>8}{:>10}{:>9}{:>10}{:>9}{:>10}{:>9}{:>10}",
        "batch, heads, queries x keys x d",
        "threads",
        "forward",
        "ceiling",
        "backward",
        "ceiling",
        "both",
        "ceiling",
        "products"
    );
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        for case in CASES {
            measure(&ctx, threads, ceiling, case);
        }
    }
}

fn measure(ctx: &Context, threads: usize, ceiling: f64, case: Case) {
    let Case { causal, batch, heads, kv_heads, seq_q, seq_k, head_dim } = case;
    let kind = if causal { "causal" } else { "full" };
    let groups = if kv_heads == heads { format!("{heads}") } else { format!("{heads}/{kv_heads}") };
    let name = format!("{kind} {batch}, {groups}, {seq_q}x{seq_k}x{head_dim}");
    if !selected(&format!("{name} t={threads}")) {
        return;
    }
    let scale = 1.0 / (head_dim as f32).sqrt();
    let (q_len, kv_len) = (batch * heads * seq_q * head_dim, batch * kv_heads * seq_k * head_dim);
    let (q, dout, k, v) = (values(q_len, 1), values(q_len, 2), values(kv_len, 3), values(kv_len, 4));
    let (mut out, mut lse) = (vec![0.0; q_len], vec![0.0; batch * heads * seq_q]);
    let (mut dq, mut dk, mut dv) = (vec![0.0; q_len], vec![0.0; kv_len], vec![0.0; kv_len]);
    let forward = |out: &mut [f32], lse: &mut [f32]| {
        attention_forward_f32(ctx, scale, causal, batch, heads, kv_heads, seq_q, seq_k, head_dim, &q, &k, &v, out, lse)
            .expect("valid");
    };
    forward(&mut out, &mut lse);
    let (kept_out, kept_lse) = (out.clone(), lse.clone());
    // The products of one item at a time, so that the logits stay in cache as they do here.
    let (items, square) = (batch * kv_heads, seq_q * (heads / kv_heads));
    let (mut logits, mut y) = (vec![0.0; square * seq_k], vec![0.0; square * head_dim]);
    let mut entries = [
        Entry::new("forward", || forward(&mut out, &mut lse)),
        Entry::new("backward", || {
            attention_backward_f32(
                ctx, scale, causal, batch, heads, kv_heads, seq_q, seq_k, head_dim, &q, &k, &v, &kept_out, &kept_lse,
                &dout, &mut dq, &mut dk, &mut dv,
            )
            .expect("valid");
        }),
        Entry::new("products", || {
            let (m, n, d) = (square, seq_k, head_dim);
            for item in 0..items.min(4) {
                let (q, k) = (&q[item * m * d..(item + 1) * m * d], &k[item * n * d..(item + 1) * n * d]);
                let v = &v[item * n * d..(item + 1) * n * d];
                let (no, yes) = (Transpose::No, Transpose::Yes);
                matmul_batched_f32(ctx, no, yes, 1, m, n, d, scale, q, d, 0, k, d, 0, 0.0, &mut logits, n, 0)
                    .expect("valid");
                matmul_batched_f32(ctx, no, no, 1, m, d, n, 1.0, &logits, n, 0, v, d, 0, 0.0, &mut y, d, 0)
                    .expect("valid");
            }
        }),
    ];
    let times = contest(&mut entries);
    let pairs: usize = (0..seq_q).map(|i| if causal { (i + 1 + seq_k).saturating_sub(seq_q) } else { seq_k }).sum();
    // A causal square is counted as half of it.
    let pairs = if causal && seq_q == seq_k { (seq_q * seq_k) as f64 / 2.0 } else { pairs as f64 };
    let work = 2.0 * (batch * heads * head_dim) as f64 * pairs / 1e9;
    let products = 4.0 * (items.min(4) * square * seq_k * head_dim) as f64 / 1e9 / times[2];
    let share = |gflops: f64| 100.0 * gflops / (ceiling * threads as f64);
    let (f, b, both) = (2.0 * work / times[0], 5.0 * work / times[1], 7.0 * work / (times[0] + times[1]));
    println!(
        "{name:<34}{threads:>8}{f:>10.1}{:>8.0}%{b:>10.1}{:>8.0}%{both:>10.1}{:>8.0}%{products:>10.1}",
        share(f),
        share(b),
        share(both)
    );
}
