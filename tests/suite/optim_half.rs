//! Steps on gradients in half the width, and what no split into tensors changes.

use crate::common::{
    Rng, assert_same_bits, context, exact_contexts, exact_isas, isas, quick, repeated, specification, to_even,
};
use evenkeel::convert::{convert_f32_to_bf16, convert_f32_to_bf16_stochastic};
use evenkeel::optim::*;
use evenkeel::{Context, bf16, f16};

/// One step's results: parameters, both states, the copies' bits; the report.
type Done = (Vec<f32>, Vec<u16>, StepReport);

fn cut<'a, T>(sizes: &[usize], mut data: &'a mut [T]) -> Vec<&'a mut [T]> {
    sizes.iter().map(|&n| data.split_off_mut(..n).expect("long enough")).collect()
}

fn read<'a, T>(sizes: &[usize], mut data: &'a [T]) -> Vec<&'a [T]> {
    sizes.iter().map(|&n| data.split_off(..n).expect("long enough")).collect()
}

macro_rules! half_steps {
    ($adam:ident, $sgd:ident, $type:ty, $clip_adam:ident, $clip_sgd:ident) => {
        fn $adam(ctx: &Context, sizes: &[usize], clip: &ClipOptions, o: &AdamOptions, w: &[f32], g: &[$type]) -> Done {
            let (mut w, mut m, mut v) = (w.to_vec(), vec![0.01f32; w.len()], vec![0.02f32; w.len()]);
            let mut copy = vec![<$type>::NAN; w.len()];
            let [a, b, c] = [&mut w, &mut m, &mut v].map(|t| cut(sizes, t));
            let (mut a, mut b, mut c, mut copies) = (a, b, c, cut(sizes, &mut copy));
            let g = read(sizes, g);
            let report = $clip_adam(ctx, clip, o, &mut a, &g, &mut b, &mut c, Some(&mut copies)).unwrap();
            let copy = to_even(&w, &copy);
            ([w, m, v].concat(), copy.iter().map(|h| h.to_bits()).collect(), report)
        }

        fn $sgd(ctx: &Context, sizes: &[usize], clip: &ClipOptions, o: &SgdOptions, w: &[f32], g: &[$type]) -> Done {
            let (mut w, mut m) = (w.to_vec(), vec![0.01f32; w.len()]);
            let mut copy = vec![<$type>::NAN; w.len()];
            let (mut a, mut b, mut copies) = (cut(sizes, &mut w), cut(sizes, &mut m), cut(sizes, &mut copy));
            let g = read(sizes, g);
            let report = $clip_sgd(ctx, clip, o, &mut a, &g, Some(&mut b), Some(&mut copies)).unwrap();
            let copy = to_even(&w, &copy);
            ([w, m].concat(), copy.iter().map(|h| h.to_bits()).collect(), report)
        }
    };
}
half_steps!(adam_bf16, sgd_bf16, bf16, clip_adam_bf16, clip_sgd_bf16);
half_steps!(adam_f16, sgd_f16, f16, clip_adam_f16, clip_sgd_f16);

const SIZES: [usize; 8] = [0, 1, 17, 16 * 1024 - 5, 33, 0, 20_011, 1024];

fn total(sizes: &[usize]) -> usize {
    sizes.iter().sum()
}

#[track_caller]
fn assert_same(what: &str, got: &Done, want: &Done) {
    assert_same_bits(what, &got.0, &want.0);
    assert_eq!(got.1, want.1, "{what}: copies");
    let numbers = |r: &StepReport| [r.grad_norm, r.clip_factor, r.update_norm, r.param_norm];
    assert_same_bits(what, &numbers(&got.2), &numbers(&want.2));
    let counts = |r: &StepReport| (r.nonfinite, r.skipped, r.first_nonfinite);
    assert_eq!(counts(&got.2), counts(&want.2), "{what}");
}

fn clips() -> [ClipOptions; 4] {
    [
        ClipOptions { mode: ClipMode::GlobalNorm, threshold: 0.5, loss_scale: 128.0, ..Default::default() },
        ClipOptions { mode: ClipMode::Value, threshold: 0.5, nonfinite: Nonfinite::Propagate, ..Default::default() },
        ClipOptions { mode: ClipMode::Adaptive, threshold: 0.01, ..Default::default() },
        // A factor that f32 does not hold.
        ClipOptions { mode: ClipMode::GlobalNorm, threshold: 1e-30, loss_scale: 3.0, ..Default::default() },
    ]
}

#[test]
fn halves_same_bits_everywhere() {
    let mut rng = Rng::new(1);
    let n = total(&SIZES);
    let (w, g) = (rng.vec(n, |r| r.normal()), rng.vec(n, |r| r.normal()));
    let (b, h): (Vec<bf16>, Vec<f16>) = g.iter().map(|&g| (bf16::from_f32(g), f16::from_f32(g))).unzip();
    for clip in clips() {
        for stochastic_seed in [None, Some(9)] {
            let adam = AdamOptions { stochastic_seed, step: 3, weight_decay: 0.1, ..Default::default() };
            let sgd = SgdOptions { stochastic_seed, momentum: 0.9, lr: 0.1, ..Default::default() };
            let run = |ctx: &Context| {
                [
                    adam_bf16(ctx, &SIZES, &clip, &adam, &w, &b),
                    adam_f16(ctx, &SIZES, &clip, &adam, &w, &h),
                    sgd_bf16(ctx, &SIZES, &clip, &sgd, &w, &b),
                    sgd_f16(ctx, &SIZES, &clip, &sgd, &w, &h),
                ]
            };
            let want = run(&specification());
            for ctx in exact_contexts() {
                for (got, want) in run(&ctx).iter().zip(&want) {
                    assert_same(&format!("{clip:?} on {ctx:?}"), got, want);
                }
            }
        }
    }
}

/// A step on halves is the step on the same gradients in f32, and its copies are the new parameters, rounded.
#[test]
fn halves_are_f32_steps() {
    let mut rng = Rng::new(2);
    let n = total(&SIZES);
    let w = rng.vec(n, |r| r.normal());
    for ctx in isas().map(|isa| context(isa, 2)) {
        for clip in clips() {
            let g = rng.vec(n, |r| bf16::from_f32(r.normal()));
            let wide: Vec<f32> = g.iter().map(|g| g.to_f32()).collect();
            let adam = AdamOptions { step: 7, ..Default::default() };
            let (all, copy, report) = adam_bf16(&ctx, &SIZES, &clip, &adam, &w, &g);
            let (mut p, mut m, mut v) = (w.clone(), vec![0.01f32; n], vec![0.02f32; n]);
            let [mut a, mut b, mut c] = [&mut p, &mut m, &mut v].map(|t| cut(&SIZES, t));
            let want = clip_adam_f32(&ctx, &clip, &adam, &mut a, &read(&SIZES, &wide), &mut b, &mut c).unwrap();
            assert_eq!(report, want);
            assert_same_bits("parameters and states", &all, &[&p[..], &m, &v].concat());
            let mut rounded = vec![bf16::ZERO; n];
            convert_f32_to_bf16(&ctx, &p, &mut rounded).unwrap();
            assert!(copy.iter().zip(&rounded).all(|(c, r)| *c == r.to_bits()));
            // Without copies the same.
            let (mut p, mut m, mut v) = (w.clone(), vec![0.01f32; n], vec![0.02f32; n]);
            let [mut a, mut b, mut c] = [&mut p, &mut m, &mut v].map(|t| cut(&SIZES, t));
            clip_adam_bf16(&ctx, &clip, &adam, &mut a, &read(&SIZES, &g), &mut b, &mut c, None).unwrap();
            assert_same_bits("without copies", &all[..n], &p);
        }
    }
}

/// Copies by chance are those of one tensor under the same seed, whatever the tensors.
#[test]
fn copies_by_chance_follow_the_place() {
    let mut rng = Rng::new(3);
    let n = total(&SIZES);
    let (w, g) = (rng.vec(n, |r| r.normal()), vec![bf16::ZERO; n]);
    for ctx in isas().map(|isa| context(isa, 2)) {
        let sgd = SgdOptions { stochastic_seed: Some(77), ..Default::default() };
        let clip = ClipOptions::default();
        let (_, copy, _) = sgd_bf16(&ctx, &SIZES, &clip, &sgd, &w, &g);
        let mut want = vec![bf16::ZERO; n];
        convert_f32_to_bf16_stochastic(&ctx, 77, &w, &mut want).unwrap();
        assert!(copy.iter().zip(&want).all(|(c, r)| *c == r.to_bits()));
        // Adam draws anew at each step.
        let at = |step| AdamOptions { stochastic_seed: Some(77), step, lr: 0.0, ..Default::default() };
        let one = adam_bf16(&ctx, &SIZES, &clip, &at(1), &w, &g).1;
        let two = adam_bf16(&ctx, &SIZES, &clip, &at(2), &w, &g).1;
        assert!(one.iter().zip(&two).filter(|(a, b)| a != b).count() > n / 5);
    }
}

/// Copies of 16 MiB go past the caches.
#[test]
fn large_copies_are_the_same() {
    let sizes = [3, (8 << 20) + 5, 1000];
    let n = total(&sizes);
    let w = repeated(&mut Rng::new(4), n, |r| r.uniform(-1.0, 1.0));
    let g = vec![bf16::ONE; n];
    for isa in exact_isas().take(1) {
        let ctx = context(isa, 2);
        let sgd = SgdOptions { lr: 0.25, ..Default::default() };
        let (all, copy, _) = sgd_bf16(&ctx, &sizes, &ClipOptions::default(), &sgd, &w, &g);
        let fits = |i: &usize| all[*i] == w[*i] - 0.25 && copy[*i] == bf16::from_f32(all[*i]).to_bits();
        assert_eq!((0..n).find(|i| !fits(i)), None);
    }
}

/// The same elements in other tensors: the same bits of the norm, the report, the parameters.
#[test]
fn no_split_changes_a_sum() {
    let n = if quick() { 45_003 } else { 70_003 };
    let splits: [Vec<usize>; 5] = [
        vec![n],
        vec![1, 2, 3, n - 6],
        vec![16 * 1024, 16 * 1024 - 1, 0, n - 32 * 1024 + 1],
        (0..n).step_by(7).map(|i| 7.min(n - i)).collect(),
        vec![n - 40_000, 39_999, 1],
    ];
    for ctx in isas().map(|isa| context(isa, 3)) {
        let mut rng = Rng::new(5);
        for spread in [true, false].into_iter().take(if quick() { 1 } else { 2 }) {
            let mut draw = |n| rng.vec(n, |r| if spread { r.binades(-100, 20) } else { r.normal() });
            let (w, g) = (draw(n), draw(n));
            let halves: Vec<bf16> = g.iter().map(|&g| bf16::from_f32(g)).collect();
            let norm = grad_norm_f32(&ctx, &[&g], None).unwrap();
            let clip = ClipOptions { mode: ClipMode::GlobalNorm, threshold: 0.5, ..Default::default() };
            let step = |sizes: &[usize]| {
                let mut p = w.clone();
                let sgd = SgdOptions { lr: 0.1, ..Default::default() };
                let r = clip_sgd_f32(&ctx, &clip, &sgd, &mut cut(sizes, &mut p), &read(sizes, &g), None).unwrap();
                (p, vec![], r)
            };
            let adam = AdamOptions { stochastic_seed: Some(1), ..Default::default() };
            let (want, want_half) = (step(&splits[0]), adam_bf16(&ctx, &splits[0], &clip, &adam, &w, &halves));
            for sizes in &splits {
                let mut each = vec![0.0; sizes.len()];
                let views = read(sizes, &g);
                assert_eq!(grad_norm_f32(&ctx, &views, None).unwrap().to_bits(), norm.to_bits());
                assert_eq!(grad_norm_f32(&ctx, &views, Some(&mut each)).unwrap().to_bits(), norm.to_bits());
                let together = each.iter().map(|n| n * n).sum::<f64>().sqrt();
                assert!((together / norm - 1.0).abs() < 1e-13);
                assert_same("f32", &step(sizes), &want);
                assert_same("bf16", &adam_bf16(&ctx, sizes, &clip, &adam, &w, &halves), &want_half);
                let mut clipped = g.clone();
                let before = clip_by_norm_f32(&ctx, 0.5, &mut cut(sizes, &mut clipped)).unwrap();
                assert_eq!(before.to_bits(), norm.to_bits());
            }
        }
    }
}

/// Lists larger than caches are read several chunks at a time: the same sums as of tensors too small for that.
#[test]
fn no_split_changes_a_large_sum() {
    let n = (5 << 20) + 77;
    let g = Rng::new(6).vec(n, |r| r.normal());
    let small: Vec<usize> = (0..n).step_by(10_000).map(|i| 10_000.min(n - i)).collect();
    let three = [1_000_003, 2, n - 1_000_005];
    for (isa, threads) in exact_isas().map(|isa| (isa, 1)).chain(exact_isas().map(|isa| (isa, 3))) {
        let ctx = context(isa, threads);
        let want = grad_norm_f32(&ctx, &read(&small, &g), None).unwrap();
        assert_eq!(grad_norm_f32(&ctx, &[&g], None).unwrap().to_bits(), want.to_bits());
        let views = read(&three, &g);
        assert_eq!(grad_norm_f32(&ctx, &views, None).unwrap().to_bits(), want.to_bits());
        let mut each = [0.0; 3];
        assert_eq!(grad_norm_f32(&ctx, &views, Some(&mut each)).unwrap().to_bits(), want.to_bits());
        for (norm, tensor) in each.iter().zip(views) {
            // A thousand at a time: one long sum in f64 would itself be a few 1e-13 off.
            let sums = tensor.chunks(1000).map(|x| x.iter().map(|&x| x as f64 * x as f64).sum::<f64>());
            let truth = sums.sum::<f64>().sqrt();
            assert!((norm / truth - 1.0).abs() < 1e-13, "{norm} {truth}");
        }
    }
}

#[test]
fn the_first_bad_gradient_is_named() {
    let sizes = [40_000, 0, 9, 30_000];
    let n = total(&sizes);
    for ctx in isas().map(|isa| context(isa, 2)) {
        let (w, mut g) = (vec![1.0f32; n], vec![f16::ONE; n]);
        let (sgd, clip) = (SgdOptions::default(), ClipOptions::default());
        assert_eq!(sgd_f16(&ctx, &sizes, &clip, &sgd, &w, &g).2.first_nonfinite, None);
        for (place, tensor, element) in
            [(n - 1, 3, 29_999), (45_000, 3, 4991), (40_003, 2, 3), (39_999, 0, 39_999), (0, 0, 0)]
        {
            g[place] = if place % 2 == 0 { f16::NAN } else { f16::NEG_INFINITY };
            let (all, copy, report) = sgd_f16(&ctx, &sizes, &clip, &sgd, &w, &g);
            assert!(report.skipped && report.first_nonfinite == Some((tensor, element)), "{report:?}");
            assert!(all[..n] == w && copy.iter().all(|c| *c == f16::NAN.to_bits()), "something was written");
        }
    }
}

#[test]
fn halves_name_bad_lists() {
    let ctx = context(isas().next().unwrap(), 1);
    let (mut w, mut m, mut v) = ([1.0f32; 3], [0.0f32; 3], [0.0f32; 3]);
    let (g, mut copy) = ([bf16::ONE; 3], [bf16::ONE; 2]);
    let (clip, adam) = (ClipOptions::default(), AdamOptions::default());
    let copies = Some(&mut [&mut copy[..]][..]);
    let text = clip_adam_bf16(&ctx, &clip, &adam, &mut [&mut w], &[&g], &mut [&mut m], &mut [&mut v], copies)
        .expect_err("lengths differ")
        .to_string();
    assert_eq!(text, "clip_adam_bf16: params_bf16[0] holds 2 elements, but params[0] holds 3");
    let text = clip_sgd_f16(&ctx, &clip, &SgdOptions::default(), &mut [&mut w], &[], None, None)
        .expect_err("counts differ")
        .to_string();
    assert_eq!(text, "clip_sgd_f16: grads holds 0 tensors, but params holds 1");
    assert_eq!((w, copy), ([1.0; 3], [bf16::ONE; 2]));
}
