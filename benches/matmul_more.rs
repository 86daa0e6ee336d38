//! What else multiplies: f64, bf16 and f16 beside f32, batches of heads beside one at a time, and linear layers with their
//! activation, derivative or Σdw² folded in beside the bare product.
//!
//! `cargo bench --bench matmul_more -- [WORDS]`; `EVENKEEL_BENCH_THREADS` as for `matmul`.

mod common;

use common::{Entry, contest, fma_ceiling, selected, values};
use evenkeel::element::{bf16, f16};
use evenkeel::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};
use evenkeel::matmul::{Transpose, matmul_batched_f32, matmul_bf16, matmul_f16, matmul_f32, matmul_f64};
use evenkeel::{Activation, Context};

const NO: Transpose = Transpose::No;
const YES: Transpose = Transpose::Yes;

fn main() {
    let threads = std::env::var("EVENKEEL_BENCH_THREADS").unwrap_or("1,2".into());
    println!("FMA ceiling of one thread: {:.0} GFLOP/s; {}", fma_ceiling(), evenkeel::Isa::best().name());
    for threads in threads.split(',').filter_map(|t| t.parse::<usize>().ok()) {
        let ctx = Context::builder().num_threads(threads).build().expect("a context");
        println!("\n{threads} thread(s), GFLOP/s, and the ratio to the first");
        for (m, n, k) in [(512, 512, 512), (64, 1024, 1024), (16, 1024, 1024), (2, 1024, 1024)] {
            types(&ctx, m, n, k);
        }
        heads(&ctx);
        for (batch, out, input) in [(256, 512, 784), (64, 1024, 1024)] {
            fused(&ctx, batch, out, input);
        }
    }
}

/// Prints the speeds of entries that do the same work.
fn report(case: &str, flops: f64, entries: &mut [Entry<'_>]) {
    if !selected(case) {
        return;
    }
    let times = contest(entries);
    print!("{case:<30}");
    for (entry, time) in entries.iter().zip(&times) {
        print!("  {} {:.1} ({:.2})", entry.name, flops / time / 1e9, times[0] / time);
    }
    println!();
}

/// x·Wᵀ in every type; f64 counts twice, since its vectors hold half as many numbers.
fn types(ctx: &Context, m: usize, n: usize, k: usize) {
    let (a, b) = (values(m * k, 1), values(n * k, 2));
    let wide = |x: &[f32]| x.iter().map(|x| *x as f64).collect::<Vec<_>>();
    let brain = |x: &[f32]| x.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>();
    let half = |x: &[f32]| x.iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>();
    let (a64, b64, a16, b16, ah, bh) = (wide(&a), wide(&b), brain(&a), brain(&b), half(&a), half(&b));
    let (mut c, mut d, mut e, mut f) = (vec![0.0; m * n], vec![0.0; m * n], vec![0.0; m * n], vec![0.0; m * n]);
    let mut entries = [
        Entry::new("f32", || matmul_f32(ctx, NO, YES, m, n, k, 1.0, &a, k, &b, k, 0.0, &mut c, n).expect("f32")),
        Entry::new("bf16", || matmul_bf16(ctx, NO, YES, m, n, k, 1.0, &a16, k, &b16, k, 0.0, &mut d, n).expect("bf16")),
        Entry::new("f16", || matmul_f16(ctx, NO, YES, m, n, k, 1.0, &ah, k, &bh, k, 0.0, &mut e, n).expect("f16")),
        Entry::new("f64", || matmul_f64(ctx, NO, YES, m, n, k, 1.0, &a64, k, &b64, k, 0.0, &mut f, n).expect("f64")),
    ];
    report(&format!("types NT {m}x{n}x{k}"), 2.0 * (m * n * k) as f64, &mut entries);
}

/// q·kᵀ and p·v of 48 heads: at once, and one call after the other.
fn heads(ctx: &Context) {
    const HEADS: usize = 48;
    for (case, tb, m, n, k) in
        [("heads NT 48x512x512x64", YES, 512, 512, 64), ("heads NN 48x512x64x512", NO, 512, 64, 512)]
    {
        let (a, b) = (values(HEADS * m * k, 1), values(HEADS * n * k, 2));
        let (mut c, mut d) = (vec![0.0; HEADS * m * n], vec![0.0; HEADS * m * n]);
        let ldb = if tb == YES { k } else { n };
        let mut entries = [
            Entry::new("one by one", || {
                for (h, c) in c.chunks_exact_mut(m * n).enumerate() {
                    let (a, b) = (&a[h * m * k..], &b[h * n * k..]);
                    matmul_f32(ctx, NO, tb, m, n, k, 1.0, a, k, b, ldb, 0.0, c, n).expect("a head");
                }
            }),
            Entry::new("batched", || {
                matmul_batched_f32(
                    ctx,
                    NO,
                    tb,
                    HEADS,
                    m,
                    n,
                    k,
                    1.0,
                    &a,
                    k,
                    m * k,
                    &b,
                    ldb,
                    n * k,
                    0.0,
                    &mut d,
                    n,
                    m * n,
                )
                .expect("heads");
            }),
        ];
        report(case, 2.0 * (HEADS * m * n * k) as f64, &mut entries);
    }
}

/// A linear layer's three products beside the bare ones.
fn fused(ctx: &Context, batch: usize, out: usize, input: usize) {
    let (x, w, dz) = (values(batch * input, 1), values(out * input, 2), values(batch * out, 3));
    let (bias, z_prev) = (values(out, 4), values(batch * input, 5));
    let flops = 2.0 * (batch * out * input) as f64;
    let gelu = Activation::Gelu;
    let (mut c, mut y, mut z) = (vec![0.0; batch * out], vec![0.0; batch * out], vec![0.0; batch * out]);
    let mut y2 = y.clone();
    let mut entries = [
        Entry::new("bare", || {
            matmul_f32(ctx, NO, YES, batch, out, input, 1.0, &x, input, &w, input, 0.0, &mut c, out).expect("bare");
        }),
        Entry::new("bias + GELU", || {
            linear_forward_f32(ctx, gelu, 0.0, batch, input, out, &x, &w, Some(&bias), None, &mut y).expect("fused");
        }),
        Entry::new("bias + GELU, z kept", || {
            let z = Some(&mut z[..]);
            linear_forward_f32(ctx, gelu, 0.0, batch, input, out, &x, &w, Some(&bias), z, &mut y2).expect("fused");
        }),
    ];
    report(&format!("fused forward {batch}x{out}x{input}"), flops, &mut entries);

    let (mut c, mut dx) = (vec![0.0; batch * input], vec![0.0; batch * input]);
    let mut entries = [
        Entry::new("bare", || {
            matmul_f32(ctx, NO, NO, batch, input, out, 1.0, &dz, out, &w, input, 0.0, &mut c, input).expect("bare");
        }),
        Entry::new("times GELU'(z)", || {
            let z = Some(&z_prev[..]);
            linear_backward_input_f32(ctx, gelu, 0.0, batch, input, out, &dz, &w, z, &mut dx).expect("fused");
        }),
    ];
    report(&format!("fused dx {batch}x{input}x{out}"), flops, &mut entries);

    let (mut c, mut dw, mut sum) = (vec![0.0; out * input], vec![0.0; out * input], 0.0);
    let mut entries = [
        Entry::new("bare", || {
            matmul_f32(ctx, YES, NO, out, input, batch, 1.0, &dz, out, &x, input, 0.0, &mut c, input).expect("bare");
        }),
        Entry::new("with sum of squares", || {
            let sum = Some(&mut sum);
            linear_backward_weight_f32(ctx, batch, input, out, &dz, &x, false, &mut dw, None, sum).expect("fused");
        }),
    ];
    report(&format!("fused dw {out}x{input}x{batch}"), flops, &mut entries);
}
