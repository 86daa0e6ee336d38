//! Steady state allocates nothing: a counting allocator watches the second call of every kernel.
//!
//! One test in a binary of its own, so that no other thread allocates meanwhile.

use evenkeel::activation::{
    Activation, activation_backward_bf16, activation_backward_f32, activation_forward_bf16, activation_forward_f32,
};
use evenkeel::attention::{attention_backward_f32, attention_forward_f32};
use evenkeel::convert::{convert_f32_to_bf16, convert_f32_to_bf16_stochastic};
use evenkeel::data::{column_stats_f32, standardize_f32};
use evenkeel::gate::{highway_backward_f32, highway_forward_f32};
use evenkeel::init::{Distribution, init_he_f32, init_normal_f32, init_orthogonal_f32};
use evenkeel::linear::{linear_backward_input_f32, linear_backward_weight_f32, linear_forward_f32};
use evenkeel::loss::{cross_entropy_f32, mse_f32};
use evenkeel::matmul::{Transpose, matmul_batched_f32, matmul_bf16, matmul_f32};
use evenkeel::monitor::tensor_stats_f32;
use evenkeel::norm::*;
use evenkeel::optim::*;
use evenkeel::recurrent::*;
use evenkeel::residual::{residual_add_bf16, residual_add_f32};
use evenkeel::softmax::{
    log_softmax_forward_f32, softmax_backward_bf16, softmax_backward_f32, softmax_forward_bf16, softmax_forward_f32,
};
use evenkeel::spectral::{jacobian_norm_f32, spectral_norm_f32, spectral_radius_f32};
use evenkeel::{Context, Isa, bf16};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(p, layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the second call, after a first one has grown the workspace.
fn second_call(mut f: impl FnMut()) -> usize {
    f();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    f();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn steady_state_allocates_nothing() {
    one_thread_allocates_nothing();
    threads_cost_a_few_small_blocks();
    attention_over_16384_keys_takes_linear_workspace();
}

fn one_thread_allocates_nothing() {
    let mut failures = Vec::new();
    for isa in Isa::available().filter(|isa| *isa != Isa::Scalar) {
        let ctx = Context::builder().isa(isa).num_threads(1).build().unwrap();
        let mut check = |name: &str, f: &mut dyn FnMut()| {
            let n = second_call(f);
            if n != 0 {
                failures.push(format!("{name} on {}: {n} allocations", isa.name()));
            }
        };
        every_family(&ctx, &mut check);
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// With rayon, only its own queue may allocate: a few small blocks a call, never workspace.
fn threads_cost_a_few_small_blocks() {
    let ctx = Context::builder().num_threads(2).build().unwrap();
    let mut check = |name: &str, f: &mut dyn FnMut()| {
        let n = second_call(f);
        assert!(n <= 8, "{name}: {n} allocations");
    };
    every_family(&ctx, &mut check);
}

/// The logits alone would be 1 GiB. Workspace is a thread's: a new one starts with none.
fn attention_over_16384_keys_takes_linear_workspace() {
    let work = || {
        let ctx = Context::builder().num_threads(1).build().unwrap();
        let (n, d) = (16384, 8);
        let (x, lse) = (vec![0.5; n * d], &mut vec![0.0; n][..]);
        let (mut out, mut dq, mut dk, mut dv) = (x.clone(), x.clone(), x.clone(), x.clone());
        let before = BYTES.load(Ordering::Relaxed);
        attention_forward_f32(&ctx, 0.1, true, 1, 1, 1, n, n, d, &x, &x, &x, &mut out, lse).unwrap();
        let forward = BYTES.load(Ordering::Relaxed) - before;
        attention_backward_f32(&ctx, 0.1, true, 1, 1, 1, n, n, d, &x, &x, &x, &out, lse, &x, &mut dq, &mut dk, &mut dv)
            .unwrap();
        (forward, BYTES.load(Ordering::Relaxed) - before - forward)
    };
    let (forward, backward) = std::thread::spawn(work).join().unwrap();
    // Backward: delta, and a dq for seven of eight chunks of keys.
    let linear = 16384 * (1 + 7 * 8) * 4;
    assert!(forward <= 512 << 10 && backward <= linear + (1 << 20), "{forward} and {backward} bytes");
}

type Check<'a> = &'a mut dyn FnMut(&str, &mut dyn FnMut());

fn every_family(ctx: &Context, check: Check<'_>) {
    matmul(ctx, check);
    linear(ctx, check);
    rows(ctx, check);
    attention(ctx, check);
    norms(ctx, check);
    tensors(ctx, check);
    recurrent(ctx, check);
    flows(ctx, check);
    optimizers(ctx, check);
}

fn attention(ctx: &Context, check: Check<'_>) {
    for [heads, kv_heads, sq, sk, d] in [[4, 2, 100, 130, 20], [1, 1, 300, 1200, 64], [3, 1, 5, 7, 3]] {
        let (q_len, kv_len) = (heads * sq * d, kv_heads * sk * d);
        let (q, kv) = (vec![0.5; q_len], vec![0.25; kv_len]);
        let (mut out, mut lse, mut dq) = (q.clone(), vec![0.0; heads * sq], q.clone());
        let (mut dk, mut dv) = (kv.clone(), kv.clone());
        check("attention_forward_f32", &mut || {
            let (o, l) = (&mut out[..], &mut lse[..]);
            attention_forward_f32(ctx, 0.1, true, 1, heads, kv_heads, sq, sk, d, &q, &kv, &kv, o, l).unwrap();
        });
        check("attention_backward_f32", &mut || {
            attention_backward_f32(
                ctx, 0.1, true, 1, heads, kv_heads, sq, sk, d, &q, &kv, &kv, &out, &lse, &q, &mut dq, &mut dk, &mut dv,
            )
            .unwrap();
        });
    }
}

fn norms(ctx: &Context, check: Check<'_>) {
    for [batch, channels, spatial] in [[3, 10, 1], [300, 200, 1], [5, 16, 60], [40, 12, 9]] {
        let (cols, n) = (channels * spatial, batch * channels * spatial);
        let (x, mut y, mut dx, mut sum) = (vec![0.5; n], vec![0.25; n], vec![0.0; n], vec![0.0; n]);
        let (mut mean, mut rstd, half) =
            (vec![0.0; batch.max(channels)], vec![1.0; batch.max(channels)], vec![bf16::ONE; n]);
        let (mut dgamma, mut dbeta, mut half_y) = (vec![0.0; cols], vec![0.0; cols], half.clone());
        check("layer_norm_forward_bf16", &mut || {
            let g = Some(&half[..cols]);
            layer_norm_forward_bf16(ctx, 1e-5, batch, cols, &half, g, None, &mut half_y, None, None).unwrap();
        });
        check("add_layer_norm_forward_f32", &mut || {
            let (m, k) = (Some(&mut mean[..batch]), Some(&mut rstd[..batch]));
            add_layer_norm_forward_f32(ctx, 1e-5, batch, cols, &x, &x, None, None, &mut sum, &mut y, m, k).unwrap();
        });
        check("layer_norm_backward_f32", &mut || {
            let (m, k) = (&mean[..batch], &rstd[..batch]);
            let (d, g, b) = (Some(&mut dx[..]), Some(&mut dgamma[..]), Some(&mut dbeta[..]));
            layer_norm_backward_f32(ctx, batch, cols, &y, &x, m, k, None, false, d, g, b).unwrap();
        });
        check("rms_norm_backward_f32", &mut || {
            let (d, g) = (Some(&mut dx[..]), Some(&mut dgamma[..]));
            rms_norm_backward_f32(ctx, batch, cols, &y, &x, &rstd[..batch], None, false, d, g).unwrap();
        });
        check("group_norm_forward_f32", &mut || {
            group_norm_forward_f32(ctx, 1e-5, batch, channels, spatial, 2, &x, None, None, &mut y, None, None).unwrap();
        });
        let [m, k] = [vec![0.0; 2 * batch], vec![1.0; 2 * batch]];
        check("group_norm_backward_f32", &mut || {
            let (d, g, b) = (Some(&mut dx[..]), Some(&mut dgamma[..channels]), Some(&mut dbeta[..channels]));
            group_norm_backward_f32(ctx, batch, channels, spatial, 2, &y, &x, &m, &k, None, false, d, g, b).unwrap();
        });
        check("batch_norm_forward_train_f32", &mut || {
            let (m, k) = (&mut mean[..channels], &mut rstd[..channels]);
            batch_norm_forward_train_f32(
                ctx, 1e-5, 0.1, batch, channels, spatial, &x, None, None, None, None, &mut y, m, k,
            )
            .unwrap();
        });
        check("batch_norm_forward_infer_f32", &mut || {
            let (m, v) = (&mean[..channels], &rstd[..channels]);
            batch_norm_forward_infer_f32(ctx, 1e-5, batch, channels, spatial, &x, None, None, m, v, &mut y).unwrap();
        });
        check("batch_norm_backward_f32", &mut || {
            let (m, k) = (&mean[..channels], &rstd[..channels]);
            let (d, g, b) = (Some(&mut dx[..]), Some(&mut dgamma[..channels]), Some(&mut dbeta[..channels]));
            batch_norm_backward_f32(ctx, batch, channels, spatial, &y, &x, m, k, None, true, d, g, b).unwrap();
        });
    }
}

/// Gates, spectra, data and orthogonal weights.
fn flows(ctx: &Context, check: Check<'_>) {
    for (rows, cols) in [(3, 10), (40, 40), (100, 300)] {
        let (n, k) = (rows * cols, rows.min(cols));
        let (x, mut y, mut a, mut b) = (vec![0.5; n], vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let (mut mean, mut std) = (vec![0.0; cols], vec![0.0; cols]);
        check("highway_forward_f32", &mut || highway_forward_f32(ctx, &x, &x, &x, &mut y).unwrap());
        check("highway_backward_f32", &mut || {
            highway_backward_f32(ctx, &x, &x, &x, &x, &mut y, &mut a, &mut b).unwrap();
        });
        check("init_orthogonal_f32", &mut || init_orthogonal_f32(ctx, 1, 2, 1.0, rows, cols, &mut y).unwrap());
        check("spectral_norm_f32", &mut || _ = spectral_norm_f32(ctx, rows, cols, &y, cols, 0, 1e-6).unwrap());
        check("spectral_radius_f32", &mut || _ = spectral_radius_f32(ctx, k, &y, cols, 3).unwrap());
        check("jacobian_norm_f32", &mut || {
            let z = &x[..cols];
            jacobian_norm_f32(ctx, Activation::Tanh, 0.0, rows, cols, &y, z, 0, 1e-6).unwrap();
        });
        check("column_stats_f32", &mut || {
            column_stats_f32(ctx, rows, cols, &y, &mut mean, Some(&mut std), None, None).unwrap();
        });
        check("standardize_f32", &mut || standardize_f32(ctx, rows, cols, &mean, &std, 0.0, &y, &mut a).unwrap());
    }
}

fn linear(ctx: &Context, check: Check<'_>) {
    for (batch, input, out) in [(3, 40, 50), (64, 128, 100), (600, 60, 70)] {
        let (x, w, bias) = (vec![0.5; batch * input], vec![0.1; input * out], vec![0.2; out]);
        let (mut z, mut y, mut dx) = (vec![0.0; batch * out], vec![0.0; batch * out], vec![0.0; batch * input]);
        let (mut dw, mut dbias, mut sum) = (vec![0.0; input * out], vec![0.0; out], 0.0);
        check("linear_forward_f32", &mut || {
            let (z, y) = (Some(&mut z[..]), &mut y[..]);
            linear_forward_f32(ctx, Activation::Gelu, 0.0, batch, input, out, &x, &w, Some(&bias), z, y).unwrap();
        });
        check("linear_backward_input_f32", &mut || {
            let dx = &mut dx[..];
            linear_backward_input_f32(ctx, Activation::Tanh, 0.0, batch, input, out, &y, &w, Some(&x), dx).unwrap();
        });
        check("linear_backward_weight_f32", &mut || {
            let (dbias, sum) = (Some(&mut dbias[..]), Some(&mut sum));
            linear_backward_weight_f32(ctx, batch, input, out, &y, &x, true, &mut dw, dbias, sum).unwrap();
        });
    }
}

/// Families that work row by row or element by element.
fn rows(ctx: &Context, check: Check<'_>) {
    for (rows, cols) in [(3, 10), (200, 300), (2, 70_000)] {
        let n = rows * cols;
        let (x, mut y, mut dx) = (vec![0.5; n], vec![0.25; n], vec![0.0; n]);
        let targets = vec![1i64; rows];
        let (mut losses, mut mean) = (vec![0.0; rows], 0.0);
        check("activation_forward_f32", &mut || {
            activation_forward_f32(ctx, Activation::Mish, 0.0, &x, &mut y).unwrap();
        });
        check("activation_backward_f32", &mut || {
            activation_backward_f32(ctx, Activation::Mish, 0.0, &x, &y, &mut dx).unwrap();
        });
        let (h, mut h2, mut h3) =
            (vec![bf16::from_f32(0.5); n], vec![bf16::from_f32(0.25); n], vec![bf16::from_f32(0.0); n]);
        check("activation_forward_bf16", &mut || {
            activation_forward_bf16(ctx, Activation::Gelu, 0.0, &h, &mut h2).unwrap();
        });
        check("activation_backward_bf16", &mut || {
            activation_backward_bf16(ctx, Activation::Gelu, 0.0, &h, &h2, &mut h3).unwrap();
        });
        check("softmax_forward_bf16", &mut || softmax_forward_bf16(ctx, rows, cols, &h, &mut h2).unwrap());
        check("softmax_backward_bf16", &mut || softmax_backward_bf16(ctx, rows, cols, &h2, &h, &mut h3).unwrap());
        check("residual_add_bf16", &mut || residual_add_bf16(ctx, 1.0, &h, &h2, &mut h3).unwrap());
        check("residual_add_f32", &mut || residual_add_f32(ctx, 1.0, &x, &y, &mut dx).unwrap());
        check("softmax_forward_f32", &mut || softmax_forward_f32(ctx, rows, cols, &x, &mut y).unwrap());
        check("softmax_backward_f32", &mut || softmax_backward_f32(ctx, rows, cols, &y, &x, &mut dx).unwrap());
        check("log_softmax_forward_f32", &mut || log_softmax_forward_f32(ctx, rows, cols, &x, &mut dx).unwrap());
        check("cross_entropy_f32", &mut || {
            let (losses, mean) = (Some(&mut losses[..]), Some(&mut mean));
            cross_entropy_f32(ctx, 0.1, -1, 1.0, rows, cols, &x, &targets, losses, mean, Some(&mut dx)).unwrap();
        });
        check("mse_f32", &mut || mse_f32(ctx, 1.0, &x, &y, Some(&mut mean), Some(&mut dx)).unwrap());
        check("init_normal_f32", &mut || init_normal_f32(ctx, 1, 2, 0.0, 1.0, &mut dx).unwrap());
        check("init_he_f32", &mut || init_he_f32(ctx, 1, 2, Distribution::Uniform, 0.0, cols, &mut dx).unwrap());
    }
}

fn recurrent(ctx: &Context, check: Check<'_>) {
    for ([seq, batch, i, n], lengths) in
        [([3, 2, 5, 7], None), ([4, 40, 30, 60], None), ([9, 1, 20, 200], None), ([4, 3, 5, 40], Some(&[4, 0, 2][..]))]
    {
        let (s, wide) = (seq * batch * n, 4 * n);
        let (x, w, u, bias, first) = (
            vec![0.5; seq * batch * i],
            vec![0.1; wide * i],
            vec![0.1; wide * n],
            vec![0.1; wide],
            vec![0.3; batch * n],
        );
        let (mut h, mut c, mut z, mut zh) = (vec![0.0; s], vec![0.0; s], vec![0.0; 4 * s], vec![0.0; 3 * s]);
        let (mut dx, mut dw, mut du, mut db, mut db2) = (x.clone(), w.clone(), u.clone(), bias.clone(), bias.clone());
        let (mut dh0, mut dc0, mut norms) = (first.clone(), first.clone(), vec![0.0; seq]);
        let (dh, f, b) = (vec![0.2; s], Some(&first[..]), Some(&bias[..]));
        check("lstm_forward_f32", &mut || {
            lstm_forward_f32(ctx, seq, batch, i, n, &x, lengths, &w, &u, b, f, f, &mut h, &mut c, &mut z).unwrap();
        });
        check("lstm_backward_f32", &mut || {
            let (dx, db, norms) = (Some(&mut dx[..]), Some(&mut db[..]), Some(&mut norms[..]));
            let (dh0, dc0) = (Some(&mut dh0[..]), Some(&mut dc0[..]));
            lstm_backward_f32(
                ctx,
                seq,
                batch,
                i,
                n,
                &x,
                lengths,
                &w,
                &u,
                f,
                f,
                &h,
                &c,
                &z,
                Some(&dh),
                f,
                f,
                true,
                dx,
                &mut dw,
                &mut du,
                db,
                dh0,
                dc0,
                norms,
            )
            .unwrap();
        });
        let [w3, u3] = [&w[..3 * n * i], &u[..3 * n * n]];
        let (b3, z3) = (Some(&bias[..3 * n]), 0..3 * s);
        check("gru_forward_f32", &mut || {
            let z = &mut z[z3.clone()];
            gru_forward_f32(ctx, seq, batch, i, n, &x, lengths, w3, u3, b3, b3, f, &mut h, z, &mut zh).unwrap();
        });
        check("gru_backward_f32", &mut || {
            let (dx, db, db2) = (Some(&mut dx[..]), Some(&mut db[..3 * n]), Some(&mut db2[..3 * n]));
            let (dw, du, dh0) = (&mut dw[..3 * n * i], &mut du[..3 * n * n], Some(&mut dh0[..]));
            gru_backward_f32(
                ctx,
                seq,
                batch,
                i,
                n,
                &x,
                lengths,
                w3,
                u3,
                f,
                &h,
                &z[z3.clone()],
                &zh,
                Some(&dh),
                f,
                true,
                dx,
                dw,
                du,
                db,
                db2,
                dh0,
                None,
            )
            .unwrap();
        });
        let (w1, u1, tanh) = (&w[..n * i], &u[..n * n], Activation::Tanh);
        check("rnn_forward_f32", &mut || {
            let z = &mut z[..s];
            rnn_forward_f32(ctx, tanh, 0.0, seq, batch, i, n, &x, lengths, w1, u1, None, f, &mut h, z).unwrap();
        });
        check("rnn_backward_f32", &mut || {
            let (dx, dw, du, dh0) = (Some(&mut dx[..]), &mut dw[..n * i], &mut du[..n * n], Some(&mut dh0[..]));
            rnn_backward_f32(
                ctx,
                tanh,
                0.0,
                seq,
                batch,
                i,
                n,
                &x,
                lengths,
                w1,
                u1,
                f,
                &h,
                &z[..s],
                Some(&dh),
                None,
                false,
                dx,
                dw,
                du,
                None,
                dh0,
                None,
            )
            .unwrap();
        });
        check("lstm_cell_forward_f32", &mut || {
            let (c, h) = (&mut c[..batch * n], &mut h[..batch * n]);
            lstm_cell_forward_f32(ctx, batch, n, &z[..batch * wide], &first, c, h).unwrap();
        });
    }
}

fn tensors(ctx: &Context, check: Check<'_>) {
    let sizes = [0, 1, 7, 100_000, 33];
    let make = |v: f32| sizes.map(|n| vec![v; n]);
    let (mut params, mut grads, mut m, mut v) = (make(1.0), make(0.1), make(0.0), make(0.0));
    let clip = ClipOptions { mode: ClipMode::GlobalNorm, threshold: 1.0, ..ClipOptions::default() };
    check("grad_norm_f32", &mut || {
        grad_norm_f32(ctx, &grads.each_ref().map(|g| &g[..]), None).unwrap();
    });
    check("clip_by_norm_f32", &mut || {
        clip_by_norm_f32(ctx, 1.0, &mut grads.each_mut().map(|g| &mut g[..])).unwrap();
    });
    check("clip_adam_f32", &mut || {
        let (p, m, v) = (params.each_mut(), m.each_mut(), v.each_mut());
        let (mut p, mut m, mut v) = (p.map(|p| &mut p[..]), m.map(|m| &mut m[..]), v.map(|v| &mut v[..]));
        let g = grads.each_ref().map(|g| &g[..]);
        clip_adam_f32(ctx, &clip, &AdamOptions::default(), &mut p, &g, &mut m, &mut v).unwrap();
    });
    check("clip_sgd_f32", &mut || {
        let sgd = SgdOptions { momentum: 0.9, ..SgdOptions::default() };
        let (mut p, mut m) = (params.each_mut().map(|p| &mut p[..]), m.each_mut().map(|m| &mut m[..]));
        clip_sgd_f32(ctx, &clip, &sgd, &mut p, &grads.each_ref().map(|g| &g[..]), Some(&mut m)).unwrap();
    });
}

fn optimizers(ctx: &Context, check: Check<'_>) {
    let sizes = [0, 1, 7, 100_000, 33];
    let make = |v: f32| sizes.map(|n| vec![v; n]);
    let (mut params, grads, mut a, mut b, mut c) = (make(1.0), make(0.1), make(0.0), make(0.0), make(0.0));
    let half = sizes.map(|n| vec![bf16::ONE; n]);
    let mut copy = half.clone();
    let clip = ClipOptions { mode: ClipMode::Adaptive, threshold: 0.1, ..ClipOptions::default() };
    macro_rules! views {
        ($list:ident) => {
            &mut $list.each_mut().map(|t| &mut t[..])
        };
    }
    let g = grads.each_ref().map(|g| &g[..]);
    check("clip_rmsprop_f32", &mut || {
        let o = RmspropOptions { momentum: 0.9, centered: true, ..Default::default() };
        let (p, s) = (views!(params), views!(a));
        clip_rmsprop_f32(ctx, &clip, &o, p, &g, s, Some(&mut views!(b)[..]), Some(&mut views!(c)[..])).unwrap();
    });
    check("clip_adagrad_f32", &mut || {
        clip_adagrad_f32(ctx, &clip, &AdagradOptions::default(), views!(params), &g, views!(a)).unwrap();
    });
    check("clip_lion_f32", &mut || {
        clip_lion_f32(ctx, &clip, &LionOptions::default(), views!(params), &g, views!(a)).unwrap();
    });
    check("clip_adam_bf16", &mut || {
        let o = AdamOptions { stochastic_seed: Some(1), ..Default::default() };
        let (h, p) = (half.each_ref().map(|g| &g[..]), views!(params));
        clip_adam_bf16(ctx, &clip, &o, p, &h, views!(a), views!(b), Some(&mut views!(copy)[..])).unwrap();
    });
    check("convert_f32_to_bf16", &mut || convert_f32_to_bf16(ctx, &grads[3], &mut copy[3]).unwrap());
    check("convert_f32_to_bf16_stochastic", &mut || {
        convert_f32_to_bf16_stochastic(ctx, 1, &grads[3], &mut copy[3]).unwrap();
    });
    check("tensor_stats_f32", &mut || assert!(tensor_stats_f32(ctx, &grads[3]).is_ok()));
}

fn matmul(ctx: &Context, check: Check<'_>) {
    for (ta, tb) in [(Transpose::No, Transpose::No), (Transpose::No, Transpose::Yes), (Transpose::Yes, Transpose::No)] {
        for (m, n, k) in [(2, 50, 60), (40, 3, 100), (20, 20, 20), (200, 210, 300), (10, 200, 600)] {
            let (a, b, mut c) = (vec![1.0; m * k], vec![1.0; k * n], vec![0.0; m * n]);
            let lda = if ta == Transpose::No { k } else { m };
            let ldb = if tb == Transpose::No { n } else { k };
            check(&format!("matmul_f32 {m}x{n}x{k}"), &mut || {
                matmul_f32(ctx, ta, tb, m, n, k, 1.0, &a, lda, &b, ldb, 0.0, &mut c, n).unwrap();
            });
            let half = |x: &[f32]| x.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>();
            let (a16, b16) = (half(&a), half(&b));
            check(&format!("matmul_bf16 {m}x{n}x{k}"), &mut || {
                matmul_bf16(ctx, ta, tb, m, n, k, 1.0, &a16, lda, &b16, ldb, 0.0, &mut c, n).unwrap();
            });
            let mut all = vec![0.0; 5 * m * n];
            check(&format!("matmul_batched_f32 5x{m}x{n}x{k}"), &mut || {
                let c = &mut all[..];
                matmul_batched_f32(ctx, ta, tb, 5, m, n, k, 1.0, &a, lda, 0, &b, ldb, 0, 0.0, c, n, m * n).unwrap();
            });
        }
    }
}
