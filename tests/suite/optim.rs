//! Clip and update: the same bits everywhere, PyTorch's rules restated in f64, extremes, bad arguments.

use crate::common::{
    Rng, assert_close, assert_same_bits, context, exact_contexts, exact_isas, isas, quick, same_bits, specification,
};
use evenkeel::optim::{
    AdagradOptions, AdamOptions, ClipMode, ClipOptions, LionOptions, Nonfinite, RmspropOptions, SecondMoment,
    SgdOptions, StepReport, clip_adagrad_f32, clip_adam_f32, clip_by_norm_f32, clip_by_value_f32, clip_lion_f32,
    clip_rmsprop_f32, clip_sgd_f32, grad_norm_f32, unscale_f32,
};
use evenkeel::{Context, Error, Isa};

/// Tensors of one list, and views of them.
type Tensors = Vec<Vec<f32>>;

fn views(tensors: &Tensors) -> Vec<&[f32]> {
    tensors.iter().map(|t| &t[..]).collect()
}

fn views_mut(tensors: &mut Tensors) -> Vec<&mut [f32]> {
    tensors.iter_mut().map(|t| &mut t[..]).collect()
}

fn tensors(sizes: &[usize], mut f: impl FnMut() -> f32) -> Tensors {
    sizes.iter().map(|&n| (0..n).map(|_| f()).collect()).collect()
}

/// Empty, tiny, every tail, one chunk and its neighbours, several chunks.
fn sizes() -> &'static [usize] {
    if quick() {
        return &[0, 1, 15, 16, 17, 33, 0, 20_011, 7];
    }
    &[0, 1, 15, 16, 17, 33, 0, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 50_021, 7]
}

/// Contexts that must agree with the specification, a host executor among them.
fn all_contexts() -> impl Iterator<Item = Context> {
    let host = Context::builder().num_threads(3).parallel_for(|tasks, task| {
        std::thread::scope(|scope| (0..tasks).for_each(|i| drop(scope.spawn(move || task(i)))));
    });
    let host = host.isa(exact_isas().next().unwrap_or(Isa::Scalar)).build().unwrap();
    exact_contexts().chain((!quick()).then_some(host))
}

fn assert_same_report(what: &str, got: StepReport, want: StepReport) {
    let numbers = |r: StepReport| [r.grad_norm, r.clip_factor, r.update_norm, r.param_norm];
    assert_same_bits(what, &numbers(got), &numbers(want));
    assert_eq!((got.nonfinite, got.skipped), (want.nonfinite, want.skipped), "{what}");
}

fn flat(tensors: &Tensors) -> Vec<f32> {
    tensors.concat()
}

// Norms, clipping, unscaling.

#[test]
fn norms_and_clips_same_bits_everywhere() {
    let mut rng = Rng::new(1);
    for spread in [false, true] {
        let grads = tensors(sizes(), || if spread { rng.finite() } else { rng.normal() });
        let run = |ctx: &Context| {
            let mut each = vec![f64::NAN; sizes().len()];
            let norm = grad_norm_f32(ctx, &views(&grads), Some(&mut each)).unwrap();
            each.push(norm);
            let mut clipped = grads.clone();
            each.push(clip_by_norm_f32(ctx, 0.37, &mut views_mut(&mut clipped)).unwrap());
            let mut limited = flat(&grads);
            clip_by_value_f32(ctx, 0.5, &mut limited).unwrap();
            let mut unscaled = flat(&grads);
            each.push(unscale_f32(ctx, 0.3, &mut unscaled).unwrap() as f64);
            (each, [flat(&clipped), limited, unscaled].concat())
        };
        let want = run(&specification());
        for ctx in all_contexts() {
            let got = run(&ctx);
            assert_same_bits(&format!("{ctx:?} norms"), &got.0, &want.0);
            assert_same_bits(&format!("{ctx:?} gradients"), &got.1, &want.1);
        }
    }
}

#[test]
fn norm_is_true() {
    let mut rng = Rng::new(2);
    let grads = tensors(sizes(), || rng.normal());
    let square = |t: &Vec<f32>| t.iter().map(|&g| (g as f64).powi(2)).sum::<f64>();
    for ctx in isas().map(|isa| context(isa, 2)) {
        let mut each = vec![f64::NAN; sizes().len()];
        let norm = grad_norm_f32(&ctx, &views(&grads), Some(&mut each)).unwrap();
        let truth = grads.iter().map(square).sum::<f64>().sqrt();
        assert!((norm / truth - 1.0).abs() < 1e-13, "{norm} {truth}");
        for (tensor, norm) in grads.iter().zip(each) {
            assert!((norm - square(tensor).sqrt()).abs() <= 1e-13 * norm);
        }
        assert_eq!(grad_norm_f32(&ctx, &[], None), Ok(0.0));
        assert_eq!(clip_by_norm_f32(&ctx, 1.0, &mut []), Ok(0.0));
    }
}

/// 1024 elements of one size: the norm is 32 times it, whatever it is; clipping reaches the limit.
#[test]
fn norms_hold_at_the_ends_of_the_range() {
    for ctx in isas().map(|isa| context(isa, 1)) {
        for size in [1e18f32, 1e19, 1e20, 1e30, 1e38, f32::MAX, 1e-20, 1e-23, 1e-30, 1e-38, f32::from_bits(1)] {
            let mut g = vec![size; 1024];
            let truth = 32.0 * size as f64;
            let norm = grad_norm_f32(&ctx, &[&g], None).unwrap();
            assert!((norm / truth - 1.0).abs() < 1e-14, "{size:e}: {norm:e}");
            // To a quarter of the norm: exact, unless that leaves f32.
            let limit = (truth / 4.0).min(3e38) as f32;
            assert_eq!(clip_by_norm_f32(&ctx, limit, &mut [&mut g]), Ok(norm));
            let want = (limit as f64 / truth * size as f64) as f32;
            assert!(g.iter().all(|&g| g == want), "{size:e}: {:e}, not {want:e}", g[0]);
        }
        // Limits of everyday size.
        for (size, limit, want) in [(1e30f32, 1.0f32, 0.03125f32), (1e-20, 1e-20, 3.125e-22), (1e-7, 1e-7, 3.125e-9)] {
            let mut g = vec![size; 1024];
            clip_by_norm_f32(&ctx, limit, &mut [&mut g]).unwrap();
            assert!(g.iter().all(|&g| (g / want - 1.0).abs() < 2e-7), "{size:e}: {:e}", g[0]);
        }
        // Under the limit nothing changes, and exactly at it.
        let mut g = vec![3.0f32, 4.0];
        assert_eq!(clip_by_norm_f32(&ctx, 5.0, &mut [&mut g]), Ok(5.0));
        assert_eq!(g, [3.0, 4.0]);
    }
}

#[test]
fn a_nonfinite_norm_clips_nothing() {
    for ctx in isas().map(|isa| context(isa, 1)) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut g = vec![7.0f32; 1024];
            g[777] = bad;
            let before = g.clone();
            assert!(!clip_by_norm_f32(&ctx, 1.0, &mut [&mut g]).unwrap().is_finite());
            assert_same_bits("untouched", &g, &before);
        }
    }
}

#[test]
fn clip_by_value_limits_and_keeps_nan() {
    for ctx in isas().map(|isa| context(isa, 1)) {
        let mut g = [-2.0f32, -0.5, -0.0, 0.25, 0.5, 1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        clip_by_value_f32(&ctx, 0.5, &mut g).unwrap();
        assert_same_bits("clip", &g, &[-0.5, -0.5, -0.0, 0.25, 0.5, 0.5, 0.5, -0.5, f32::NAN]);
    }
}

#[test]
fn unscale_divides_and_counts() {
    for ctx in isas().map(|isa| context(isa, 2)) {
        for n in [0, 1, 17, 40_000] {
            let mut rng = Rng::new(3);
            let g = rng.vec(n, |r| r.any_f32());
            for scale in [65536.0f32, 1.0, 3.0, 1e-3] {
                let mut got = g.clone();
                let count = unscale_f32(&ctx, scale, &mut got).unwrap();
                for (i, (&g, &got)) in g.iter().zip(&got).enumerate() {
                    let want = g as f64 / scale as f64;
                    let close = (got as f64 - want).abs() <= want.abs() * 6e-8 + 1e-45;
                    assert!(close || same_bits(got, want as f32), "{i}: {g:e} / {scale} is {got:e}");
                }
                assert_eq!(count, got.iter().filter(|g| !g.is_finite()).count() as u64);
            }
        }
    }
}

// Rules, restated in f64.

/// State of one parameter, in f64.
#[derive(Clone, Copy, Default)]
struct Truth {
    w: f64,
    a: f64,
    b: f64,
    c: f64,
}

fn sgd_truth(o: &SgdOptions, t: &mut Truth, g: f64) {
    let mut g = g + o.weight_decay * t.w;
    if o.momentum != 0.0 {
        t.a = if o.first_step { g } else { o.momentum * t.a + (1.0 - o.dampening) * g };
        g = if o.nesterov { g + o.momentum * t.a } else { t.a };
    }
    t.w -= o.lr * g;
}

fn adam_truth(o: &AdamOptions, t: &mut Truth, g: f64) {
    let g = if o.decoupled { g } else { g + o.weight_decay * t.w };
    if o.decoupled {
        t.w *= 1.0 - o.lr * o.weight_decay;
    }
    t.a = o.beta1 * t.a + (1.0 - o.beta1) * g;
    t.b = o.beta2 * t.b + (1.0 - o.beta2) * g * g;
    let (c1, c2) = (1.0 - o.beta1.powi(o.step as i32), 1.0 - o.beta2.powi(o.step as i32));
    t.w -= o.lr * (t.a / c1) / ((t.b / c2).sqrt() + o.eps);
}

/// Runs 100 steps on every ISA beside `truth` on the same gradients; parameters must agree to `tolerance`.
fn follow(
    what: &str,
    tolerance: f64,
    mut step: impl FnMut(&Context, u64, &mut Tensors, &Tensors, [&mut Tensors; 3]),
    truth: impl Fn(u64, &mut Truth, f64),
) {
    let sizes = [5, 0, 40];
    for ctx in isas().map(|isa| context(isa, 1)) {
        let mut rng = Rng::new(4);
        let mut w = tensors(&sizes, || rng.normal());
        let [mut a, mut b, mut c] = [0; 3].map(|_| tensors(&sizes, || 0.0));
        let mut truths: Vec<Truth> = flat(&w).iter().map(|&w| Truth { w: w as f64, ..Truth::default() }).collect();
        let means: Vec<f32> = rng.vec(45, |r| r.normal());
        for t in 1..=100 {
            let mut i = 0;
            let g = tensors(&sizes, || {
                i += 1;
                means[i - 1] + rng.normal()
            });
            step(&ctx, t, &mut w, &g, [&mut a, &mut b, &mut c]);
            truths.iter_mut().zip(flat(&g)).for_each(|(s, g)| truth(t, s, g as f64));
        }
        let want: Vec<f64> = truths.iter().map(|t| t.w).collect();
        assert_close(&format!("{what} on {}", ctx.isa().name()), &flat(&w), &want, |i| {
            tolerance * want[i].abs().max(1.0)
        });
    }
}

#[test]
fn sgd_follows_its_rule() {
    let plain = SgdOptions { lr: 0.01, ..Default::default() };
    for (momentum, dampening, weight_decay, nesterov, first) in [
        (0.0, 0.0, 0.0, false, false),
        (0.0, 0.0, 0.1, false, false),
        (0.9, 0.0, 0.0, false, false),
        (0.9, 0.3, 0.01, false, true),
        (0.9, 0.0, 0.01, true, false),
    ] {
        let sgd = SgdOptions { momentum, dampening, weight_decay, nesterov, ..plain };
        let at = |t| SgdOptions { first_step: first && t == 1, ..sgd };
        follow(
            &format!("{sgd:?}"),
            3e-6,
            |ctx, t, w, g, [a, ..]| {
                if at(t).first_step {
                    // Not read at the first step.
                    a.iter_mut().flatten().for_each(|a| *a = f32::NAN);
                }
                let (mut w, mut a) = (views_mut(w), views_mut(a));
                let state = (momentum != 0.0).then_some(&mut a[..]);
                clip_sgd_f32(ctx, &ClipOptions::default(), &at(t), &mut w, &views(g), state).unwrap();
            },
            |t, s, g| sgd_truth(&at(t), s, g),
        );
    }
}

#[test]
fn adam_follows_its_rule() {
    let default = AdamOptions { lr: 0.01, ..Default::default() };
    for second_moment in [SecondMoment::Square, SecondMoment::Root] {
        for (weight_decay, decoupled, eps, beta2) in
            [(0.0, false, 1e-8, 0.999), (0.1, false, 1e-3, 0.99), (0.1, true, 1e-8, 0.95), (0.0, false, 0.0, 0.9999)]
        {
            let at = |step| AdamOptions { weight_decay, decoupled, eps, beta2, second_moment, step, ..default };
            follow(
                &format!("{:?}", at(1)),
                4e-6,
                |ctx, t, w, g, [a, b, _]| {
                    let (mut w, mut a, mut b) = (views_mut(w), views_mut(a), views_mut(b));
                    clip_adam_f32(ctx, &ClipOptions::default(), &at(t), &mut w, &views(g), &mut a, &mut b).unwrap();
                },
                |t, s, g| adam_truth(&at(t), s, g),
            );
        }
    }
}

#[test]
fn rmsprop_follows_its_rule() {
    for (momentum, centered, weight_decay) in
        [(0.0, false, 0.1), (0.9, false, 0.0), (0.0, true, 0.0), (0.5, true, 0.01)]
    {
        let o = RmspropOptions { lr: 0.002, momentum, centered, weight_decay, ..Default::default() };
        follow(
            &format!("{o:?}"),
            1e-5,
            |ctx, _, w, g, [a, b, c]| {
                let [mut w, mut a, mut b, mut c] = [w, a, b, c].map(views_mut);
                let (b, c) = ((momentum != 0.0).then_some(&mut b[..]), centered.then_some(&mut c[..]));
                clip_rmsprop_f32(ctx, &ClipOptions::default(), &o, &mut w, &views(g), &mut a, b, c).unwrap();
            },
            |_, t, g| {
                let g = g + o.weight_decay * t.w;
                t.a = o.alpha * t.a + (1.0 - o.alpha) * g * g;
                t.c = o.alpha * t.c + (1.0 - o.alpha) * g;
                let variance = if centered { t.a - t.c * t.c } else { t.a };
                t.b = momentum * t.b + g / (variance.sqrt() + o.eps);
                t.w -= o.lr * t.b;
            },
        );
    }
}

#[test]
fn adagrad_follows_its_rule() {
    for (lr_decay, weight_decay) in [(0.0, 0.0), (0.01, 0.1)] {
        let at = |step| AdagradOptions { lr_decay, weight_decay, step, ..Default::default() };
        follow(
            &format!("{:?}", at(1)),
            3e-6,
            |ctx, t, w, g, [a, ..]| {
                let (mut w, mut a) = (views_mut(w), views_mut(a));
                clip_adagrad_f32(ctx, &ClipOptions::default(), &at(t), &mut w, &views(g), &mut a).unwrap();
            },
            |step, t, g| {
                let g = g + weight_decay * t.w;
                t.a += g * g;
                t.w -= 0.01 / (1.0 + (step - 1) as f64 * lr_decay) * g / (t.a.sqrt() + 1e-10);
            },
        );
    }
}

#[test]
fn lion_follows_its_rule() {
    let o = LionOptions { lr: 1e-3, weight_decay: 0.1, ..Default::default() };
    follow(
        "lion",
        // Every step rounds a parameter twice.
        100.0 * 2.0 * 2f64.powi(-24),
        |ctx, _, w, g, [a, ..]| {
            let (mut w, mut a) = (views_mut(w), views_mut(a));
            clip_lion_f32(ctx, &ClipOptions::default(), &o, &mut w, &views(g), &mut a).unwrap();
        },
        |_, t, g| {
            t.w -= o.lr * o.weight_decay * t.w;
            t.w -= o.lr * (o.beta1 * t.a + (1.0 - o.beta1) * g).signum();
            t.a = o.beta2 * t.a + (1.0 - o.beta2) * g;
        },
    );
    // Nothing to follow: nothing moves.
    for ctx in isas().map(|isa| context(isa, 1)) {
        let (mut w, mut m) = ([1.0f32, 1.0, 1.0], [0.0f32, -0.0, 0.0]);
        let clip = ClipOptions { nonfinite: Nonfinite::Propagate, ..Default::default() };
        let o = LionOptions { lr: 0.5, ..o };
        let o = LionOptions { weight_decay: 0.0, ..o };
        clip_lion_f32(&ctx, &clip, &o, &mut [&mut w], &[&[0.0, -0.0, f32::NAN]], &mut [&mut m]).unwrap();
        assert_same_bits("sign of nothing", &w, &[1.0, 1.0, f32::NAN]);
    }
}

/// Adam of `steps` gradients `g(t)` on one parameter that starts at 0.
fn adam_of(ctx: &Context, eps: f64, second_moment: SecondMoment, steps: u64, g: impl Fn(u64) -> f32) -> f32 {
    let (mut w, mut m, mut v) = ([0.0f32], [0.0f32], [0.0f32]);
    for step in 1..=steps {
        let adam = AdamOptions { eps, second_moment, step, ..Default::default() };
        let clip = ClipOptions::default();
        clip_adam_f32(ctx, &clip, &adam, &mut [&mut w], &[&[g(step)]], &mut [&mut m], &mut [&mut v]).unwrap();
    }
    w[0]
}

/// Gradients whose squares leave f32 still move a parameter as they should when the state is the root.
#[test]
fn adam_with_root_holds_at_the_ends_of_the_range() {
    let close = |got: f32, want: f64| assert!((got as f64 / want - 1.0).abs() < 1e-4, "{got:e}, not {want:e}");
    for ctx in isas().map(|isa| context(isa, 1)) {
        for g in [1e19f32, 2e19, 1e25, 1e38, 3.4e38] {
            close(adam_of(&ctx, 1e-8, SecondMoment::Root, 10, |_| g), -0.01);
        }
        for g in [1e-10f32, 1e-18, 1e-22, 1e-30] {
            close(adam_of(&ctx, 1e-37, SecondMoment::Root, 10, |_| g), -0.01);
        }
        // A spike, then 3000 ordinary gradients: the truth is the rule in f64.
        let spike = |t: u64| if t == 1 { 1e21f32 } else { 0.01 };
        let mut truth = Truth::default();
        (1..=3000).for_each(|step| {
            adam_truth(&AdamOptions { step, ..Default::default() }, &mut truth, spike(step) as f64);
        });
        close(adam_of(&ctx, 1e-8, SecondMoment::Root, 3000, spike), truth.w);
        // PyTorch's state freezes there, and so does ours when asked for it; it never becomes NaN.
        assert_eq!(adam_of(&ctx, 1e-8, SecondMoment::Square, 10, |_| 1e25), 0.0);
        // No gradient and no ε: nothing moves.
        assert_eq!(adam_of(&ctx, 0.0, SecondMoment::Square, 3, |_| 0.0), 0.0);
        assert_eq!(adam_of(&ctx, 0.0, SecondMoment::Root, 3, |_| 0.0), 0.0);
    }
}

// Clipping inside a step.

/// One plain step of lr 1 on w = 0: −w is the gradient as it was applied.
fn applied(ctx: &Context, clip: &ClipOptions, g: &Tensors) -> (Tensors, StepReport) {
    let mut w: Tensors = g.iter().map(|t| vec![0.0; t.len()]).collect();
    let sgd = SgdOptions { lr: 1.0, ..Default::default() };
    let report = clip_sgd_f32(ctx, clip, &sgd, &mut views_mut(&mut w), &views(g), None).unwrap();
    w.iter_mut().flatten().for_each(|w| *w = -*w);
    (w, report)
}

#[test]
fn clip_modes_apply_what_they_say() {
    let g: Tensors = vec![vec![3.0, 4.0], vec![], vec![0.0, 0.0], vec![12.0; 4]];
    let norm = (25.0f64 + 576.0).sqrt();
    for ctx in isas().map(|isa| context(isa, 1)) {
        for loss_scale in [1.0f32, 1024.0, 3.0] {
            let scaled: Tensors = g.iter().map(|t| t.iter().map(|g| g * loss_scale).collect()).collect();
            for (mode, threshold, factors) in [
                (ClipMode::None, f32::NAN, [1.0; 4]),
                (ClipMode::GlobalNorm, 1.0, [1.0 / norm; 4]),
                (ClipMode::GlobalNorm, 1e-30, [1e-30f32 as f64 / norm; 4]),
                (ClipMode::GlobalNorm, 25.0, [1.0; 4]),
                (ClipMode::TensorNorm, 10.0, [1.0, 1.0, 1.0, 10.0 / 24.0]),
                (ClipMode::Adaptive, 100.0, [0.1 / 5.0, 1.0, 1.0, 0.1 / 24.0]),
            ] {
                let clip = ClipOptions { mode, threshold, loss_scale, ..Default::default() };
                let (got, report) = applied(&ctx, &clip, &scaled);
                for ((got, g), factor) in got.iter().zip(&g).zip(factors) {
                    let want: Vec<f64> = g.iter().map(|&g| g as f64 * factor).collect();
                    assert_close(&format!("{clip:?}"), got, &want, |i| 2e-7 * want[i]);
                }
                assert!((report.grad_norm / norm - 1.0).abs() < 1e-14, "{clip:?}: {report:?}");
                let least = factors.into_iter().fold(1.0, f64::min);
                assert!((report.clip_factor / least - 1.0).abs() < 1e-14, "{clip:?}: {report:?}");
                let moved = flat(&got).iter().map(|&w| (w as f64).powi(2)).sum::<f64>().sqrt();
                assert!((report.update_norm - moved).abs() <= 1e-14 * moved, "{report:?}");
                assert_eq!(report.param_norm, report.update_norm);
                assert_eq!((report.nonfinite, report.skipped), (0, false));
                // The known norm changes nothing.
                let sum = flat(&scaled).iter().map(|&g| (g as f64).powi(2)).sum();
                let (again, known) = applied(&ctx, &ClipOptions { known_sum_sq: sum, ..clip }, &scaled);
                assert_same_bits("known norm", &flat(&again), &flat(&got));
                assert_same_report("known norm", known, report);
                // Nor does the policy, when all is finite.
                let (again, free) = applied(&ctx, &ClipOptions { nonfinite: Nonfinite::Propagate, ..clip }, &scaled);
                assert_same_bits("policy", &flat(&again), &flat(&got));
                assert_same_report("policy", free, report);
            }
            let clip = ClipOptions { mode: ClipMode::Value, threshold: 3.5, loss_scale, ..Default::default() };
            let (got, report) = applied(&ctx, &clip, &scaled);
            assert_eq!(got, [vec![3.0, 3.5], vec![], vec![0.0, 0.0], vec![3.5; 4]]);
            assert_eq!(report.clip_factor, 1.0);
        }
        // Adaptive clipping follows the parameters.
        let (mut w, clip) =
            ([6.0f32, 8.0], ClipOptions { mode: ClipMode::Adaptive, threshold: 0.1, ..Default::default() });
        let sgd = SgdOptions { lr: 1.0, ..Default::default() };
        let report = clip_sgd_f32(&ctx, &clip, &sgd, &mut [&mut w], &[&[0.0, 100.0]], None).unwrap();
        assert!((report.clip_factor - 0.01).abs() < 1e-9 && (w[1] - 7.0).abs() < 1e-6, "{report:?} {w:?}");
    }
}

#[test]
fn a_known_norm_is_believed() {
    let g: Tensors = vec![vec![3.0, 4.0]];
    let clip = ClipOptions { mode: ClipMode::GlobalNorm, known_sum_sq: 100.0, ..Default::default() };
    for ctx in isas().map(|isa| context(isa, 1)) {
        let (w, report) = applied(&ctx, &clip, &g);
        assert_eq!((report.grad_norm, report.clip_factor), (10.0, 0.1));
        assert_same_bits("w", &w[0], &[0.3, 0.4]);
        // Another machine's gradients were not finite: this one skips too.
        for known_sum_sq in [f64::INFINITY, f64::NAN] {
            let (w, report) = applied(&ctx, &ClipOptions { known_sum_sq, ..clip }, &g);
            assert!(report.skipped && report.nonfinite == 0);
            assert_eq!(flat(&w), [0.0, 0.0]);
        }
    }
}

#[test]
fn nonfinite_gradients_skip_or_show() {
    for ctx in isas().map(|isa| context(isa, 2)) {
        for mode in [ClipMode::None, ClipMode::GlobalNorm, ClipMode::TensorNorm, ClipMode::Value, ClipMode::Adaptive] {
            let mut g: Tensors = vec![vec![0.5; 40_000], vec![0.5; 1024]];
            (g[0][33_333], g[1][1000]) = (f32::NAN, f32::NEG_INFINITY);
            let clip = ClipOptions { mode, ..Default::default() };
            let w: Tensors = vec![vec![0.25; 40_000], vec![0.25; 1024]];
            let (mut got, mut m, mut v) = (w.clone(), w.clone(), w.clone());
            let report = clip_adam_f32(
                &ctx,
                &clip,
                &AdamOptions::default(),
                &mut views_mut(&mut got),
                &views(&g),
                &mut views_mut(&mut m),
                &mut views_mut(&mut v),
            )
            .unwrap();
            assert!(report.skipped && report.nonfinite == 2 && !report.grad_norm.is_finite(), "{report:?}");
            assert_eq!((report.update_norm, report.param_norm), (0.0, 41_024f64.sqrt() / 4.0));
            assert!(got == w && m == w && v == w, "{mode:?}: something was written");
            // Taken all the same: no healthy gradient turns into a silent zero.
            let clip = ClipOptions { nonfinite: Nonfinite::Propagate, ..clip };
            let (applied, report) = applied(&ctx, &clip, &g);
            assert!(!report.skipped && report.nonfinite == 2 && !report.grad_norm.is_finite(), "{report:?}");
            assert!(applied[0][33_333].is_nan() && applied[1][1000] != 0.0);
            let healthy = match mode {
                ClipMode::None | ClipMode::Value => 0.5,
                _ => f32::NAN,
            };
            assert!(same_bits(applied[0][0], healthy) && same_bits(applied[1][0], healthy), "{mode:?}");
        }
        // A scale so small that finite gradients leave f32.
        let clip = ClipOptions { loss_scale: 1e-10, ..Default::default() };
        let (w, report) = applied(&ctx, &clip, &vec![vec![1.0, 1e30]]);
        assert!(report.skipped && report.nonfinite == 1);
        assert_eq!(flat(&w), [0.0, 0.0]);
    }
}

// The same bits everywhere.

/// Three steps of `step` on all of [`sizes`], gradients ordinary and of all sizes; states of four lists.
fn assert_steps_agree(
    what: &str,
    step: impl Fn(&Context, &ClipOptions, u64, &mut [&mut [f32]], &[&[f32]], [&mut [&mut [f32]]; 3]) -> StepReport,
) {
    let clips = [
        ClipOptions { mode: ClipMode::GlobalNorm, threshold: 0.5, loss_scale: 3.0, ..Default::default() },
        ClipOptions { mode: ClipMode::Value, threshold: 0.5, nonfinite: Nonfinite::Propagate, ..Default::default() },
        ClipOptions { mode: ClipMode::Adaptive, threshold: 0.01, ..Default::default() },
        ClipOptions { mode: ClipMode::TensorNorm, threshold: 0.5, ..Default::default() },
        ClipOptions { mode: ClipMode::None, loss_scale: 0.3, ..Default::default() },
    ];
    for (seed, clip) in clips.into_iter().enumerate() {
        let mut rng = Rng::new(seed as u64);
        let start = tensors(sizes(), || rng.normal());
        let grads: Vec<Tensors> =
            (0..3).map(|_| tensors(sizes(), || if seed == 1 { rng.finite() } else { rng.normal() })).collect();
        let run = |ctx: &Context, clip: &ClipOptions| {
            let zeros = || sizes().iter().map(|&n| vec![0.0f32; n]).collect::<Tensors>();
            let (mut w, mut a, mut b, mut c) = (start.clone(), zeros(), zeros(), zeros());
            let reports: Vec<StepReport> = grads
                .iter()
                .zip(1..)
                .map(|(g, t)| {
                    let states = [&mut views_mut(&mut a)[..], &mut views_mut(&mut b), &mut views_mut(&mut c)];
                    step(ctx, clip, t, &mut views_mut(&mut w), &views(g), states)
                })
                .collect();
            ([flat(&w), flat(&a), flat(&b), flat(&c)].concat(), reports)
        };
        let want = run(&specification(), &clip);
        for ctx in all_contexts().skip(if quick() { all_contexts().count() - 1 } else { 0 }) {
            let got = run(&ctx, &clip);
            assert_same_bits(&format!("{what}, {clip:?}, {ctx:?}"), &got.0, &want.0);
            for (got, want) in got.1.into_iter().zip(&want.1) {
                assert_same_report(&format!("{what}, {clip:?}, {ctx:?}"), got, *want);
            }
            // The norms of the report change nothing else.
            let free = run(&ctx, &ClipOptions { report_norms: false, ..clip });
            assert_same_bits(&format!("{what}, {clip:?}, {ctx:?}, no norms"), &free.0, &want.0);
            for (got, want) in free.1.into_iter().zip(&want.1) {
                let want = StepReport { update_norm: 0.0, param_norm: 0.0, ..*want };
                assert_same_report(&format!("{what}, {clip:?}, {ctx:?}, no norms"), got, want);
            }
        }
    }
}

#[test]
fn sgd_same_bits_everywhere() {
    for momentum in [0.0, 0.9] {
        let sgd = SgdOptions { lr: 0.1, momentum, nesterov: momentum > 0.0, weight_decay: 0.01, ..Default::default() };
        assert_steps_agree("sgd", |ctx, clip, _, w, g, [a, ..]| clip_sgd_f32(ctx, clip, &sgd, w, g, Some(a)).unwrap());
    }
}

#[test]
fn adam_same_bits_everywhere() {
    for (second_moment, decoupled) in [(SecondMoment::Square, false), (SecondMoment::Root, true)] {
        assert_steps_agree("adam", |ctx, clip, step, w, g, [a, b, _]| {
            let adam = AdamOptions { second_moment, decoupled, weight_decay: 0.1, step, ..Default::default() };
            clip_adam_f32(ctx, clip, &adam, w, g, a, b).unwrap()
        });
    }
}

#[test]
fn rmsprop_same_bits_everywhere() {
    for (momentum, centered) in [(0.0, false), (0.9, false), (0.0, true), (0.9, true)] {
        let o = RmspropOptions { momentum, centered, weight_decay: 0.01, ..Default::default() };
        assert_steps_agree("rmsprop", |ctx, clip, _, w, g, [a, b, c]| {
            clip_rmsprop_f32(ctx, clip, &o, w, g, a, Some(b), Some(c)).unwrap()
        });
    }
}

#[test]
fn adagrad_and_lion_same_bits_everywhere() {
    assert_steps_agree("adagrad", |ctx, clip, step, w, g, [a, ..]| {
        let o = AdagradOptions { weight_decay: 0.01, step, ..Default::default() };
        clip_adagrad_f32(ctx, clip, &o, w, g, a).unwrap()
    });
    assert_steps_agree("lion", |ctx, clip, _, w, g, [a, ..]| {
        let o = LionOptions { weight_decay: 0.01, ..Default::default() };
        clip_lion_f32(ctx, clip, &o, w, g, a).unwrap()
    });
}

// Arguments.

/// `call` fails, says every one of `parts`, and leaves w, m and v as they were.
fn assert_refused(parts: &[&str], call: impl Fn(&Context, &mut [f32], &mut [f32], &mut [f32]) -> Result<(), Error>) {
    let ctx = context(isas().next().unwrap(), 1);
    let (mut w, mut m, mut v) = ([1.0f32; 3], [2.0f32; 3], [3.0f32; 3]);
    let text = call(&ctx, &mut w, &mut m, &mut v).expect_err(parts[0]).to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{text:?} does not say {parts:?}");
    assert_eq!((w, m, v), ([1.0; 3], [2.0; 3], [3.0; 3]));
}

#[test]
fn bad_arguments_are_named_and_write_nothing() {
    let g = [1.0f32; 3];
    let clip = ClipOptions::default();
    for (change, parts) in [
        (SgdOptions { lr: -1.0, ..Default::default() }, ["lr is -1", "at least 0"]),
        (SgdOptions { lr: f64::NAN, ..Default::default() }, ["lr is NaN", "finite"]),
        (SgdOptions { weight_decay: f64::INFINITY, ..Default::default() }, ["weight_decay is inf", "finite"]),
        (SgdOptions { momentum: -0.1, ..Default::default() }, ["momentum is -0.1", "at least 0"]),
        (SgdOptions { dampening: f64::NAN, ..Default::default() }, ["dampening is NaN", "finite"]),
        (SgdOptions { nesterov: true, ..Default::default() }, ["nesterov", "momentum is 0"]),
        (SgdOptions { momentum: 0.9, ..Default::default() }, ["momentum is 0.9", "no momentum tensors"]),
    ] {
        assert_refused(&["clip_sgd_f32", parts[0], parts[1]], |ctx, w, _, _| {
            clip_sgd_f32(ctx, &clip, &change, &mut [w], &[&g], None).map(drop)
        });
    }
    for (change, part) in [
        (AdamOptions { lr: f64::NAN, ..Default::default() }, "lr is NaN"),
        (AdamOptions { eps: -1e-8, ..Default::default() }, "eps is -0.00000001"),
        (AdamOptions { beta1: 1.0, ..Default::default() }, "beta1 is 1,"),
        (AdamOptions { beta2: -0.5, ..Default::default() }, "beta2 is -0.5"),
        (AdamOptions { step: 0, ..Default::default() }, "step is 0"),
    ] {
        assert_refused(&["clip_adam_f32", part], |ctx, w, m, v| {
            clip_adam_f32(ctx, &clip, &change, &mut [w], &[&g], &mut [m], &mut [v]).map(drop)
        });
    }
    for (change, part) in [
        (RmspropOptions { alpha: 1.5, ..Default::default() }, "alpha is 1.5"),
        (RmspropOptions { eps: f64::NAN, ..Default::default() }, "eps is NaN"),
        (RmspropOptions { momentum: 0.5, ..Default::default() }, "no momentum tensors"),
        (RmspropOptions { centered: true, ..Default::default() }, "no grad_avg tensors"),
    ] {
        assert_refused(&["clip_rmsprop_f32", part], |ctx, w, m, _| {
            clip_rmsprop_f32(ctx, &clip, &change, &mut [w], &[&g], &mut [m], None, None).map(drop)
        });
    }
    for (change, part) in [
        (AdagradOptions { lr_decay: -1.0, ..Default::default() }, "lr_decay is -1"),
        (AdagradOptions { step: 0, ..Default::default() }, "step is 0"),
    ] {
        assert_refused(&["clip_adagrad_f32", part], |ctx, w, m, _| {
            clip_adagrad_f32(ctx, &clip, &change, &mut [w], &[&g], &mut [m]).map(drop)
        });
    }
    assert_refused(&["clip_lion_f32", "beta2 is 1,"], |ctx, w, m, _| {
        let o = LionOptions { beta2: 1.0, ..Default::default() };
        clip_lion_f32(ctx, &clip, &o, &mut [w], &[&g], &mut [m]).map(drop)
    });
    for (change, part) in [
        (ClipOptions { mode: ClipMode::GlobalNorm, threshold: 0.0, ..clip }, "threshold is 0"),
        (ClipOptions { mode: ClipMode::Value, threshold: f32::NAN, ..clip }, "threshold is NaN"),
        (ClipOptions { loss_scale: 0.0, ..clip }, "loss_scale is 0"),
        (ClipOptions { loss_scale: f32::INFINITY, ..clip }, "loss_scale is inf"),
    ] {
        assert_refused(&["clip_adam_f32", part], |ctx, w, m, v| {
            let adam = AdamOptions::default();
            clip_adam_f32(ctx, &change, &adam, &mut [w], &[&g], &mut [m], &mut [v]).map(drop)
        });
    }
    // Lists that do not fit each other.
    let adam = AdamOptions::default();
    assert_refused(&["grads[0] holds 2 elements", "params[0] holds 3"], |ctx, w, m, v| {
        clip_adam_f32(ctx, &clip, &adam, &mut [w], &[&g[..2]], &mut [m], &mut [v]).map(drop)
    });
    assert_refused(&["grads holds 2 tensors", "params holds 1"], |ctx, w, m, v| {
        clip_adam_f32(ctx, &clip, &adam, &mut [w], &[&g, &g], &mut [m], &mut [v]).map(drop)
    });
    assert_refused(&["v[0] holds 1 elements"], |ctx, w, m, v| {
        clip_adam_f32(ctx, &clip, &adam, &mut [w], &[&g], &mut [m], &mut [&mut v[..1]]).map(drop)
    });
    assert_refused(&["momentum holds 0 tensors"], |ctx, w, _, _| {
        let sgd = SgdOptions { momentum: 0.5, ..Default::default() };
        clip_sgd_f32(ctx, &clip, &sgd, &mut [w], &[&g], Some(&mut [])).map(drop)
    });
    assert_refused(&["clip_by_norm_f32", "max_norm is -1"], |ctx, w, _, _| {
        clip_by_norm_f32(ctx, -1.0, &mut [w]).map(drop)
    });
    assert_refused(&["clip_by_value_f32", "limit is NaN"], |ctx, w, _, _| clip_by_value_f32(ctx, f32::NAN, w));
    assert_refused(&["unscale_f32", "loss_scale is -2"], |ctx, w, _, _| unscale_f32(ctx, -2.0, w).map(drop));
    assert_refused(&["grad_norm_f32", "tensor_norms holds 2 elements, expected 1"], |ctx, w, _, _| {
        grad_norm_f32(ctx, &[w], Some(&mut [0.0; 2])).map(drop)
    });
}
