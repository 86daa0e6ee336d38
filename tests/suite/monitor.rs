//! Tensor statistics and gradient flow.

use crate::common::{Rng, assert_same_bits, context, exact_contexts, isas, specification};
use evenkeel::monitor::{FLOW_FACTOR, FlowVerdict, TensorStats, gradient_flow, tensor_stats_f32};
use evenkeel::{Context, Error};

fn numbers(s: TensorStats) -> Vec<f64> {
    let counts = [s.count, s.zeros, s.subnormals, s.nans, s.infs].map(|c| c as f64);
    [&[s.l2, s.mean, s.rms, s.max_abs, s.min_abs_nonzero][..], &counts].concat()
}

const LENGTHS: [usize; 9] = [0, 1, 15, 16, 17, 1000, 16 * 1024, 16 * 1024 + 1, 100_003];

#[test]
fn stats_same_bits_everywhere() {
    for n in LENGTHS {
        let mut rng = Rng::new(n as u64);
        for x in [rng.vec(n, |r| r.normal()), rng.vec(n, |r| r.any_f32())] {
            let want = numbers(tensor_stats_f32(&specification(), &x).unwrap());
            for ctx in exact_contexts() {
                assert_same_bits(&format!("{ctx:?}"), &numbers(tensor_stats_f32(&ctx, &x).unwrap()), &want);
            }
        }
    }
}

/// Tensors behind a ReLU or a mask: any share of zeros, in blocks and alone, beside what is no normal number.
fn with_zeros(n: usize, rng: &mut Rng) -> Vec<Vec<f32>> {
    let mut every = |step: usize, zero: f32| {
        let mut x = rng.vec(n, |r| r.normal());
        x.iter_mut().skip(7).step_by(step).for_each(|x| *x = zero);
        x
    };
    let mut odd = every(10, 0.0);
    // One in some blocks only.
    for (i, bad) in [(2000, f32::NAN), (5000, 1e-40), (9000, f32::INFINITY), (12_000, f32::MIN_POSITIVE)] {
        odd.iter_mut().skip(i).take(1).for_each(|x| *x = bad);
    }
    let mut half = every(1 << 20, 0.0);
    half[n / 2..].fill(-0.0);
    vec![every(2, 0.0), every(10, -0.0), every(5000, 0.0), odd, half, vec![-0.0; n]]
}

#[test]
fn stats_of_zeros_are_the_same_everywhere() {
    for n in LENGTHS {
        for x in with_zeros(n, &mut Rng::new(n as u64 + 7)) {
            let want = numbers(tensor_stats_f32(&specification(), &x).unwrap());
            for ctx in exact_contexts() {
                assert_same_bits(&format!("{ctx:?}"), &numbers(tensor_stats_f32(&ctx, &x).unwrap()), &want);
            }
        }
    }
}

#[test]
fn stats_are_true() {
    for ctx in isas().map(|isa| context(isa, 2)) {
        for n in LENGTHS {
            let mut rng = Rng::new(n as u64 + 1);
            let kinds = vec![rng.vec(n, |r| r.normal()), rng.vec(n, |r| r.any_f32()), vec![0.0; n], vec![f32::NAN; n]];
            for x in [kinds, with_zeros(n, &mut rng)].concat() {
                let finite: Vec<f64> = x.iter().filter(|x| x.is_finite()).map(|&x| x as f64).collect();
                let sum_sq: f64 = finite.iter().map(|x| x * x).sum();
                let count = finite.len().max(1) as f64;
                let nonzero = finite.iter().filter(|x| **x != 0.0).map(|x| x.abs());
                let least = nonzero.fold(f64::INFINITY, f64::min);
                let stats = tensor_stats_f32(&ctx, &x).unwrap();
                let close = |got: f64, want: f64, scale: f64| {
                    assert!((got - want).abs() <= 1e-12 * scale, "{n}: {got:e}, not {want:e}: {stats:?}");
                };
                close(stats.l2, sum_sq.sqrt(), sum_sq.sqrt());
                close(stats.rms, (sum_sq / count).sqrt(), (sum_sq / count).sqrt());
                let sum_abs: f64 = finite.iter().map(|x| x.abs()).sum();
                close(stats.mean, finite.iter().sum::<f64>() / count, sum_abs / count);
                assert_eq!(stats.max_abs, finite.iter().fold(0.0, |m, x| x.abs().max(m)));
                assert_eq!(stats.min_abs_nonzero, if least.is_finite() { least } else { 0.0 });
                let of = |kind: fn(&f32) -> bool| x.iter().filter(|x| kind(x)).count() as u64;
                assert_eq!(
                    (stats.count, stats.zeros, stats.subnormals, stats.nans, stats.infs),
                    (
                        n as u64,
                        of(|x| *x == 0.0),
                        of(|x| x.is_subnormal()),
                        of(|x| x.is_nan()),
                        of(|x| x.is_infinite())
                    )
                );
            }
        }
    }
}

#[test]
fn stats_hold_at_the_ends_of_the_range() {
    for ctx in isas().map(|isa| context(isa, 1)) {
        for size in [f32::MAX, 1e30, 1e-30, f32::from_bits(1)] {
            let stats = tensor_stats_f32(&ctx, &vec![size; 1024]).unwrap();
            let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-13, "{size:e}: {stats:?}");
            close(stats.l2, 32.0 * size as f64);
            close(stats.rms, size as f64);
            close(stats.mean, size as f64);
        }
    }
}

#[test]
fn flushed_subnormals_count_as_zeros() {
    for isa in isas() {
        let ctx = Context::builder().isa(isa).num_threads(1).flush_subnormals(true).build().unwrap();
        let stats = tensor_stats_f32(&ctx, &[1e-40, 1.0, 0.0, -1e-45]).unwrap();
        if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            assert_eq!((stats.zeros, stats.subnormals, stats.min_abs_nonzero), (3, 0, 1.0));
        }
    }
}

/// L norms c·αⁿ, ordered from input to output.
fn norms(layers: usize, c: f64, alpha: f64) -> Vec<f64> {
    (0..layers).map(|l| c * alpha.powi((layers - 1 - l) as i32)).collect()
}

#[test]
fn flow_fits_the_rate() {
    for (layers, alpha, verdict, worst) in [
        (20, 0.9, FlowVerdict::Healthy, 0),
        (100, 0.9, FlowVerdict::Vanishing, 0),
        (10, 0.25, FlowVerdict::Vanishing, 0),
        (50, 1.3, FlowVerdict::Exploding, 0),
        (300, 1.0, FlowVerdict::Healthy, 0),
        (2, 1.0 / (1.01 * FLOW_FACTOR), FlowVerdict::Vanishing, 0),
        (2, 1.0 / (0.99 * FLOW_FACTOR), FlowVerdict::Healthy, 0),
        (2, 1.01 * FLOW_FACTOR, FlowVerdict::Exploding, 0),
        (2, 0.99 * FLOW_FACTOR, FlowVerdict::Healthy, 0),
    ] {
        for c in [1e-30, 1.0, 1e30] {
            let norms = norms(layers, c, alpha);
            let report = gradient_flow(&norms).unwrap();
            assert_eq!(report.verdict, verdict, "{layers} layers, {alpha}: {report:?}");
            assert!((report.rate / alpha - 1.0).abs() < 1e-9, "{alpha}: {report:?}");
            let spread = alpha.powi(layers as i32 - 1);
            assert!((report.spread / spread.max(1.0 / spread) - 1.0).abs() < 1e-9, "{report:?}");
            assert!(verdict == FlowVerdict::Healthy || report.worst_layer == worst, "{report:?}");
        }
    }
}

#[test]
fn flow_of_noisy_norms() {
    // Slope −2 a layer toward the input, noise that least squares must average: computed by hand from the sums.
    let y = [-6.5f64, -3.0, -2.5, 0.5];
    let report = gradient_flow(&y.map(f64::exp)).unwrap();
    // n = 3, 2, 1, 0; Σ(n − 1.5)(y − ȳ) = 1.5·(−6.5) + 0.5·(−3) − 0.5·(−2.5) − 1.5·0.5 = −10.75; Σ(n − 1.5)² = 5.
    assert!((report.rate - (-2.15f64).exp()).abs() < 1e-12, "{report:?}");
    // One layer that stands out of healthy ones is the worst.
    let report = gradient_flow(&[1.0, 1.1, 30.0, 0.9, 1.0]).unwrap();
    assert_eq!((report.verdict, report.worst_layer), (FlowVerdict::Healthy, 2));
}

#[test]
fn flow_of_zeros_and_nonfinite_norms() {
    let judge = |norms: &[f64]| {
        let report = gradient_flow(norms).unwrap();
        (report.verdict, report.worst_layer)
    };
    // Decayed to nothing: the last that shows it is the smallest.
    assert_eq!(judge(&[0.0, 0.0, 1e-40, 1e-20, 1.0]), (FlowVerdict::Vanishing, 0));
    // Cut off.
    assert_eq!(judge(&[0.0, 0.0, 1.0, 1.1, 0.9]), (FlowVerdict::Dead, 1));
    // A dead layer beside living ones, even while they vanish.
    assert_eq!(judge(&[1e-12, 1e-9, 0.0, 1e-3, 1.0]), (FlowVerdict::Dead, 2));
    assert_eq!(judge(&[0.0, 0.0, 0.0]), (FlowVerdict::Dead, 2));
    assert_eq!(judge(&[0.0, 1.0]), (FlowVerdict::Dead, 0));
    assert_eq!(judge(&[f64::NAN, 1.0, f64::INFINITY, 0.0]), (FlowVerdict::Nonfinite, 2));
    for norms in [&[][..], &[3.0]] {
        let report = gradient_flow(norms).unwrap();
        assert_eq!((report.verdict, report.rate, report.spread), (FlowVerdict::Healthy, 1.0, 1.0));
    }
    // The whole range of f64, whose ratio leaves it.
    let report = gradient_flow(&[1e-300, 1e300]).unwrap();
    assert_eq!((report.verdict, report.spread), (FlowVerdict::Vanishing, f64::INFINITY));
    let Err(Error::InvalidArgument { detail, .. }) = gradient_flow(&[1.0, -2.0]) else { panic!("accepted") };
    assert!(detail.contains("grad_norms[1] is -2"), "{detail}");
}
