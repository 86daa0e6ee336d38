//! Where frameworks lose gradients in clipping and in the update: sizes at which f32 or a half ends, sums too long for f32.

use crate::common::{context, isas, quick};
use evenkeel::optim::*;
use evenkeel::{Context, Isa, bf16, f16};

fn contexts() -> impl Iterator<Item = Context> {
    isas().map(|isa| context(isa, 1))
}

#[track_caller]
fn close(got: f64, want: f64, tolerance: f64) {
    assert!((got / want - 1.0).abs() <= tolerance, "{got:e}, not {want:e}");
}

/// The norm of 10⁹ elements; f32 sums stop growing at 2²⁴ in each lane.
#[test]
fn norms_of_a_thousand_million_elements() {
    let piece: Vec<f32> = (0..1_000_000).map(|i| if i % 2 == 0 { 1.0 } else { -0.7 }).collect();
    let sum: f64 = piece.iter().map(|&x| x as f64 * x as f64).sum();
    for isa in isas().filter(|isa| *isa != Isa::Scalar) {
        let pieces = if isa == isas().next().unwrap() && !quick() { 1000 } else { 10 };
        let grads = vec![&piece[..]; pieces];
        close(grad_norm_f32(&context(isa, 2), &grads, None).unwrap(), (sum * pieces as f64).sqrt(), 1e-12);
    }
}

/// −w after one plain step of rate 1 from 0: the clipped gradients.
fn applied_f16(ctx: &Context, limit: f32, g: &[f16]) -> (Vec<f32>, StepReport) {
    let mut w = vec![0.0f32; g.len()];
    let clip = ClipOptions { mode: ClipMode::GlobalNorm, threshold: limit, ..Default::default() };
    let sgd = SgdOptions { lr: 1.0, ..Default::default() };
    let report = clip_sgd_f16(ctx, &clip, &sgd, &mut [&mut w], &[g], None, None).unwrap();
    w.iter_mut().for_each(|w| *w = -*w);
    (w, report)
}

#[test]
fn norms_of_halves_are_not_halves() {
    for ctx in contexts() {
        // A norm of 76800, which no f16 holds.
        let (g, report) = applied_f16(&ctx, 1.0, &vec![f16::from_f32(300.0); 65536]);
        assert_eq!(report.grad_norm, 76_800.0);
        assert!(g.iter().all(|g| (g / 0.003_906_25 - 1.0).abs() < 1e-7));
        // One whose squares no f16 holds.
        let small = f16::from_f32(1e-4);
        let (_, report) = applied_f16(&ctx, 1.0, &vec![small; 65536]);
        close(report.grad_norm, 256.0 * small.to_f32() as f64, 1e-14);
        // 300 tensors in bf16, clipped to 1: a norm rounded to bf16 would be 1e-3 off.
        let tensor: Vec<bf16> = (0..100).map(|i| bf16::from_f32((i as f32 * 0.37).sin())).collect();
        let mut w = vec![vec![0.0f32; 100]; 300];
        let mut params: Vec<&mut [f32]> = w.iter_mut().map(|w| &mut w[..]).collect();
        let clip = ClipOptions { mode: ClipMode::GlobalNorm, ..Default::default() };
        let sgd = SgdOptions { lr: 1.0, ..Default::default() };
        let report = clip_sgd_bf16(&ctx, &clip, &sgd, &mut params, &vec![&tensor[..]; 300], None, None).unwrap();
        close(report.update_norm, 1.0, 1e-7);
    }
}

/// Clip factors and loss scales beyond f32, and gradients at both ends of it.
#[test]
fn factors_beyond_f32_are_applied() {
    for ctx in contexts() {
        for (g, limit, scale) in [
            (1e38f32, 1e-20f32, 1.0f32),
            (3e38, 1e-30, 1e30),
            (1e-38, 1e-44, 1.0),
            (1e-30, 1e-35, 1e-8),
            (1e30, 1e38, 1e-5),
        ] {
            let mut w = vec![0.0f32; 1024];
            let clip =
                ClipOptions { mode: ClipMode::GlobalNorm, threshold: limit, loss_scale: scale, ..Default::default() };
            let sgd = SgdOptions { lr: 1.0, ..Default::default() };
            let report = clip_sgd_f32(&ctx, &clip, &sgd, &mut [&mut w], &[&vec![g; 1024]], None).unwrap();
            let norm = 32.0 * g as f64 / scale as f64;
            let want = -(g as f64 / scale as f64) * (limit as f64 / norm).min(1.0);
            close(report.grad_norm, norm, 1e-12);
            // Half a unit in the last place, and what the lower part of a factor loses among subnormal numbers.
            let ulp = 2f64.powi(-149).max(want.abs() * 2f64.powi(-23));
            let allowed = 0.501 * ulp + 2f64.powi(-150);
            assert!(w.iter().all(|w| (*w as f64 - want).abs() <= allowed), "{g:e}: {:e}, not {want:e}", w[0]);
        }
    }
}

/// Adam of `steps` gradients on one parameter that starts at 0, and the rule in f64.
fn adam(ctx: &Context, o: AdamOptions, steps: u64, g: impl Fn(u64) -> f32) -> (f32, f64) {
    let (mut w, mut m, mut v) = ([0.0f32], [0.0f32], [0.0f32]);
    let (mut tw, mut tm, mut tv) = (0.0f64, 0.0f64, 0.0f64);
    for step in 1..=steps {
        let (adam, clip) = (AdamOptions { step, ..o }, ClipOptions::default());
        clip_adam_f32(ctx, &clip, &adam, &mut [&mut w], &[&[g(step)]], &mut [&mut m], &mut [&mut v]).unwrap();
        let g = g(step) as f64;
        tm = o.beta1 * tm + (1.0 - o.beta1) * g;
        tv = o.beta2 * tv + (1.0 - o.beta2) * g * g;
        let (c1, c2) = (1.0 - o.beta1.powi(step as i32), 1.0 - o.beta2.powi(step as i32));
        tw -= o.lr * (tm / c1) / ((tv / c2).sqrt() + o.eps);
    }
    (w[0], tw)
}

/// Adam's first steps do not depend on the size of the gradients, from one end of f32 to the other.
#[test]
fn adam_with_a_root_is_exact_adam_from_1e_minus_38_to_1e38() {
    let root = AdamOptions { second_moment: SecondMoment::Root, eps: 0.0, ..Default::default() };
    for ctx in contexts() {
        for g in [1e-38f32, 1e-37, 1e-30, 1e-22, 1e-10, 1.0, 1e19, 2e19, 1e25, 1e38, 3.4e38] {
            let (got, truth) = adam(&ctx, root, 10, |_| g);
            close(got as f64, truth, 1e-5);
            close(truth, -0.01, 1e-9);
            // Gradients that vary.
            let (got, truth) = adam(&ctx, root, 200, |t| g * (0.55 + 0.4 * (t as f32).sin()));
            close(got as f64, truth, 1e-5);
        }
        let usual = AdamOptions { eps: 1e-8, ..root };
        for spike in [1e20f32, 1e21, 1e38] {
            let (got, truth) = adam(&ctx, usual, 3000, |t| if t == 1 { spike } else { 0.01 });
            close(got as f64, truth, 1e-5);
            assert!(got < -0.006, "frozen");
        }
        // The plain square: right in its range, frozen for good beyond it, and never NaN.
        let square = AdamOptions { second_moment: SecondMoment::Square, ..root };
        for g in [1e-16f32, 1e-8, 1.0, 1e18, 1e19] {
            let (got, truth) = adam(&ctx, square, 10, |_| g);
            close(got as f64, truth, 1e-5);
        }
        assert_eq!(adam(&ctx, square, 10, |_| 1e25).0, 0.0);
    }
}

#[test]
fn adagrad_and_rmsprop_with_a_root_move_at_every_size() {
    let second_moment = SecondMoment::Root;
    let clip = ClipOptions::default();
    for ctx in contexts() {
        for g in [1e-37f32, 1e-20, 1.0, 1e20, 1e38] {
            let (mut w, mut s) = ([0.0f32], [0.0f32]);
            let mut truth = 0.0;
            for step in 1..=10u64 {
                let o = AdagradOptions { second_moment, eps: 0.0, step, ..Default::default() };
                clip_adagrad_f32(&ctx, &clip, &o, &mut [&mut w], &[&[g]], &mut [&mut s]).unwrap();
                truth -= 0.01 / (step as f64).sqrt();
            }
            close(w[0] as f64, truth, 1e-5);
            close(s[0] as f64, g as f64 * 10f64.sqrt(), 1e-5);
            for (momentum, centered) in [(0.0, false), (0.9, false), (0.0, true), (0.9, true)] {
                let o = RmspropOptions { second_moment, eps: 0.0, momentum, centered, ..Default::default() };
                let (mut w, mut s, mut b, mut a) = ([0.0f32], [0.0f32], [0.0f32], [0.0f32]);
                let (mut tw, mut ts, mut tb, mut ta) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
                for t in 1..=20 {
                    let g = g * (0.6 + 0.3 * (t as f32).cos());
                    let (b, a) = (Some(&mut [&mut b[..]][..]), Some(&mut [&mut a[..]][..]));
                    clip_rmsprop_f32(&ctx, &clip, &o, &mut [&mut w], &[&[g]], &mut [&mut s], b, a).unwrap();
                    let g = g as f64;
                    ts = o.alpha * ts + (1.0 - o.alpha) * g * g;
                    ta = o.alpha * ta + (1.0 - o.alpha) * g;
                    let variance = if centered { ts - ta * ta } else { ts };
                    tb = momentum * tb + g / variance.sqrt();
                    tw -= o.lr * tb;
                }
                // The state is a subnormal number at the lowest size.
                close(w[0] as f64, tw, if g < 1e-30 { 1e-4 } else { 1e-5 });
            }
        }
    }
}

/// f32 parameters behind halves: steps that a half would lose, an ε that is 0 in f16, a moment that would never decay in bf16.
#[test]
fn masters_keep_what_halves_would_lose() {
    let clip = ClipOptions::default();
    for ctx in contexts() {
        let (mut w, mut m, mut v, mut copy) = ([1.0f32], [0.0f32], [0.0f32], [bf16::ZERO]);
        for step in 1..=1000 {
            let o = AdamOptions { step, ..Default::default() };
            let copies = Some(&mut [&mut copy[..]][..]);
            let (m, v) = (&mut [&mut m[..]], &mut [&mut v[..]]);
            clip_adam_bf16(&ctx, &clip, &o, &mut [&mut w], &[&[bf16::ONE]], m, v, copies).unwrap();
            assert_eq!(copy[0], bf16::from_f32(w[0]));
        }
        // A thousand steps of 1e-3, each lost in a bf16 parameter of 1.
        assert!(w[0].abs() < 1e-4, "{}", w[0]);
        // A spike decays out of the second moment.
        let (mut w, mut m, mut v) = ([0.0f32], [0.0f32], [0.0f32]);
        for step in 1..=3000 {
            let g = bf16::from_f32(if step == 1 { 10.0 } else { 0.0 });
            let o = AdamOptions { step, ..Default::default() };
            let (m, v) = (&mut [&mut m[..]], &mut [&mut v[..]]);
            clip_adam_bf16(&ctx, &clip, &o, &mut [&mut w], &[&[g]], m, v, None).unwrap();
        }
        close(v[0] as f64, 0.1 * 0.999f64.powi(2999), 1e-4);
        let (mut w, mut m, mut v) = ([0.0f32], [0.0f32], [0.0f32]);
        for step in 1..=10 {
            let o = AdamOptions { step, ..Default::default() };
            let (m, v) = (&mut [&mut m[..]], &mut [&mut v[..]]);
            clip_adam_f16(&ctx, &clip, &o, &mut [&mut w], &[&[f16::from_f32(1e-3)]], m, v, None).unwrap();
        }
        close(w[0] as f64, -0.01, 2e-5);
    }
}

/// A thousand bf16 parameters of 1 that each step pushes by a sixteenth of their last place: rounding to nearest would lose every
/// step of a parameter that is only kept as its copy; by chance they follow on average.
#[test]
fn rounding_by_chance_keeps_small_steps_on_average() {
    for ctx in contexts() {
        let n = 1000;
        let (push, g) = (2f64.powi(-11), vec![bf16::ONE; n]);
        let mut copy = vec![bf16::ONE; n];
        for step in 0..100 {
            // No master copy survives from step to step.
            let mut w: Vec<f32> = copy.iter().map(|c| c.to_f32()).collect();
            let sgd = SgdOptions { lr: push, stochastic_seed: Some(step), ..Default::default() };
            let copies = Some(&mut [&mut copy[..]][..]);
            clip_sgd_bf16(&ctx, &ClipOptions::default(), &sgd, &mut [&mut w], &[&g], None, copies).unwrap();
        }
        let mean = copy.iter().map(|c| c.to_f32() as f64).sum::<f64>() / n as f64;
        // 100 draws of steps of 2⁻⁸: five standard deviations of the mean of a thousand.
        close(mean, 1.0 - 100.0 * push, 5.0 * 10.0 * 2f64.powi(-8) / 2.0 / (n as f64).sqrt());
    }
}
