//! Random tensors: their recipe, their distribution, and that an element depends on its place alone.

use crate::common::*;
use evenkeel::init::*;
use evenkeel::{Context, Error};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn uniform(ctx: &Context, seed: u64, stream: u64, n: usize) -> Vec<f32> {
    let mut w = vec![f32::NAN; n];
    init_uniform_f32(ctx, seed, stream, -1.0, 1.0, &mut w).expect("uniform");
    w
}

fn normal(ctx: &Context, seed: u64, stream: u64, n: usize) -> Vec<f32> {
    let mut w = vec![f32::NAN; n];
    init_normal_f32(ctx, seed, stream, 0.0, 1.0, &mut w).expect("normal");
    w
}

type Draw = fn(&Context, u64, u64, usize) -> Vec<f32>;

const BOTH: [Draw; 2] = [uniform, normal];

/// The fastest instruction set on every CPU: its bits are the specification's, as one test here says.
fn fast() -> Context {
    context(isas().next().expect("one"), 2)
}

fn words(seed: u64, stream: u64, n: usize) -> Vec<u32> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(stream);
    (0..n).map(|_| rng.next_u32()).collect()
}

#[test]
fn every_instruction_set_and_thread_count_gives_the_specifications_bits() {
    for n in [0, 1, 15, 16, 17, 31, 33, 511, 513, 16_384, 16_385, 100_003] {
        for f in BOTH {
            let want = f(&specification(), 42, 3, n);
            for ctx in exact_contexts() {
                assert_same_bits(&format!("{n} {ctx:?}"), &f(&ctx, 42, 3, n), &want);
            }
        }
    }
}

#[test]
fn an_element_depends_on_its_place_alone() {
    let ctx = fast();
    for f in BOTH {
        let long = f(&ctx, 9, 1, 70_001);
        for n in [1, 10, 16, 20, 100, 16_400, 50_000] {
            assert_same_bits("prefix", &f(&ctx, 9, 1, n), &long[..n]);
        }
    }
}

#[test]
fn uniform_numbers_follow_their_recipe() {
    let n = 40_000;
    for (low, high) in [(-1.0f32, 1.0f32), (0.0, 1.0), (-3.0, -2.5), (f32::MIN, f32::MAX), (1.0, 1.0 + f32::EPSILON)] {
        let mut w = vec![f32::NAN; n];
        init_uniform_f32(&fast(), 77, 5, low, high, &mut w).expect("uniform");
        for (word, got) in words(77, 5, n).into_iter().zip(w) {
            let u = (word >> 8) as f64 / (1 << 24) as f64;
            let want = ((high as f64 - low as f64).mul_add(u, low as f64) as f32).min(high.next_down());
            assert!(same_bits(got, want), "[{low}, {high}): {got}, expected {want}");
            assert!(low <= got && got < high);
        }
    }
}

#[test]
fn normal_numbers_follow_their_recipe() {
    let n = 32 * 2000;
    let word = words(11, 12, n);
    for ctx in contexts() {
        let mut w = vec![f32::NAN; n];
        init_normal_f32(&ctx, 11, 12, 0.5, 2.0, &mut w).expect("normal");
        for (i, got) in w.into_iter().enumerate() {
            let pair = i / 32 * 32 + i % 16;
            // The radius has 24 bits of its word, which matters next to u = 1 only.
            let u = ((word[pair] >> 1 | 1) as f32) as f64 / 2f64.powi(31);
            let angle = std::f64::consts::TAU * word[pair + 16] as f64 / 2f64.powi(32);
            let z = (-2.0 * u.ln()).sqrt() * if i % 32 < 16 { angle.cos() } else { angle.sin() };
            let want = 2.0 * z + 0.5;
            assert!((got as f64 - want).abs() <= 4e-6, "{ctx:?}: element {i} is {got}, expected {want}");
        }
    }
}

#[test]
fn equal_bounds_and_no_deviation_give_constants() {
    let ctx = fast();
    let mut w = [f32::NAN; 40];
    init_uniform_f32(&ctx, 1, 1, 0.1, 0.1, &mut w).expect("low = high");
    assert_eq!(w, [0.1; 40]);
    init_normal_f32(&ctx, 1, 1, -0.3, 0.0, &mut w).expect("std = 0");
    assert_eq!(w, [-0.3; 40]);
}

/// The largest distance of the empirical distribution from `cdf`, times √n: above 1.95 once in a thousand.
fn kolmogorov_smirnov(mut x: Vec<f32>, cdf: impl Fn(f64) -> f64) -> f64 {
    x.sort_by(f32::total_cmp);
    let n = x.len() as f64;
    let distance = |(i, v): (usize, &f32)| {
        let p = cdf(*v as f64);
        (p - i as f64 / n).abs().max((p - (i + 1) as f64 / n).abs())
    };
    x.iter().enumerate().map(distance).fold(0.0, f64::max) * n.sqrt()
}

/// Φ by Simpson's rule on a table, good to 1e-10.
fn normal_cdf() -> impl Fn(f64) -> f64 {
    let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    const STEPS: usize = 16_000;
    let h = 16.0 / STEPS as f64;
    let mut table = vec![0.0];
    for i in 0..STEPS {
        let a = -8.0 + i as f64 * h;
        table.push(table[i] + h / 6.0 * (density(a) + 4.0 * density(a + h / 2.0) + density(a + h)));
    }
    move |x: f64| {
        let t = ((x + 8.0) / h).clamp(0.0, STEPS as f64 - 1.0);
        let (i, part) = (t.floor() as usize, t.fract());
        table[i] + part * (table[i + 1] - table[i])
    }
}

fn moments(x: &[f32]) -> [f64; 4] {
    let n = x.len() as f64;
    let mean = x.iter().map(|&v| v as f64).sum::<f64>() / n;
    let central = |k: i32| x.iter().map(|&v| (v as f64 - mean).powi(k)).sum::<f64>() / n;
    let var = central(2);
    [mean, var, central(3) / var.powf(1.5), central(4) / (var * var)]
}

#[test]
fn the_distributions_are_what_they_say() {
    let ctx = fast();
    let n = if quick() { 100_000 } else { 1_000_000 };
    let sigmas = 5.0 / (n as f64).sqrt();
    let cdf = normal_cdf();
    for (seed, stream) in [(0, 0), (1, 0), (0, 1), (u64::MAX, u64::MAX)] {
        let u = uniform(&ctx, seed, stream, n);
        let [mean, var, _, kurtosis] = moments(&u);
        assert!(mean.abs() < sigmas * (1f64 / 3.0).sqrt(), "mean {mean}");
        assert!((var - 1.0 / 3.0).abs() < sigmas * (4f64 / 45.0).sqrt(), "variance {var}");
        assert!((kurtosis - 1.8).abs() < 0.02, "kurtosis {kurtosis}");
        let ks = kolmogorov_smirnov(u, |x| (x + 1.0) / 2.0);
        assert!(ks < 1.95, "uniform ({seed}, {stream}): KS {ks}");

        let z = normal(&ctx, seed, stream, n);
        let [mean, var, skew, kurtosis] = moments(&z);
        assert!(mean.abs() < sigmas, "mean {mean}");
        assert!((var - 1.0).abs() < sigmas * 2f64.sqrt(), "variance {var}");
        assert!(skew.abs() < sigmas * 6f64.sqrt(), "skewness {skew}");
        assert!((kurtosis - 3.0).abs() < sigmas * 24f64.sqrt(), "kurtosis {kurtosis}");
        assert!(z.iter().any(|v| v.abs() > if quick() { 4.0 } else { 4.5 }), "no tail");
        // Box and Muller's pairs are independent of each other.
        let pairs = z.chunks_exact(32).flat_map(|b| (0..16).map(|j| (b[j] as f64, b[j + 16] as f64)));
        let (mut plain, mut squares) = (0.0, 0.0);
        for (a, b) in pairs {
            plain += a * b;
            squares += (a * a - 1.0) * (b * b - 1.0);
        }
        let limit = 5.0 * (n as f64 / 2.0).sqrt();
        assert!(plain.abs() < limit && squares.abs() < 2.0 * limit, "correlation {plain} {squares}");
        let ks = kolmogorov_smirnov(z, &cdf);
        assert!(ks < 1.95, "normal ({seed}, {stream}): KS {ks}");
    }
}

#[test]
fn seeds_and_streams_are_independent() {
    let ctx = fast();
    let n = 200_000;
    for f in BOTH {
        let tensors: Vec<Vec<f32>> =
            [(0, 0), (0, 1), (1, 0), (1, 1), (0, 1 << 63)].map(|(seed, stream)| f(&ctx, seed, stream, n)).into();
        for (i, a) in tensors.iter().enumerate() {
            for b in &tensors[..i] {
                let correlation: f64 = a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum();
                assert!(correlation.abs() < 5.0 * (n as f64).sqrt(), "correlation {correlation}");
                assert!(a.iter().zip(b).filter(|(a, b)| a == b).count() < 10);
            }
        }
    }
}

#[test]
fn xavier_and_he_have_their_variances() {
    let ctx = fast();
    let mut w = vec![0.0; 400_000];
    for d in [Distribution::Uniform, Distribution::Normal] {
        for (gain, fan_in, fan_out) in [(1.0f32, 100, 300), (5.0 / 3.0, 1, 1), (0.1, 4096, 11_008)] {
            init_xavier_f32(&ctx, 3, 4, d, gain, fan_in, fan_out, &mut w).expect("xavier");
            check(&w, d, (gain as f64).powi(2) * 2.0 / (fan_in + fan_out) as f64);
        }
        for (slope, fan_in) in [(0.0f32, 100), (0.01, 784), (1.0, 7)] {
            init_he_f32(&ctx, 3, 4, d, slope, fan_in, &mut w).expect("he");
            check(&w, d, 2.0 / ((1.0 + (slope as f64).powi(2)) * fan_in as f64));
        }
        init_xavier_f32(&ctx, 3, 4, d, 0.0, 5, 5, &mut w).expect("gain 0");
        assert!(w.iter().all(|&v| v == 0.0));
        init_he_f32(&ctx, 3, 4, d, 0.0, usize::MAX, &mut w).expect("a huge fan");
        init_xavier_f32(&ctx, 3, 4, d, 1.0, usize::MAX, usize::MAX, &mut w).expect("huge fans");
    }
    fn check(w: &[f32], d: Distribution, variance: f64) {
        let [mean, var, _, kurtosis] = moments(w);
        let n = w.len() as f64;
        assert!(mean.abs() < 5.0 * (variance / n).sqrt(), "mean {mean}");
        let (want, spread) = if d == Distribution::Uniform { (1.8, 0.8) } else { (3.0, 2.0) };
        assert!((var / variance - 1.0).abs() < 5.0 * (spread / n).sqrt(), "variance {var}, expected {variance}");
        assert!((kurtosis - want).abs() < 0.1, "kurtosis {kurtosis}");
    }
}

#[test]
fn an_initialization_is_a_scaled_plain_one() {
    let ctx = fast();
    let (mut a, mut b) = (vec![0.0; 1000], vec![0.0; 1000]);
    init_he_f32(&ctx, 1, 2, Distribution::Normal, 0.0, 50, &mut a).expect("he");
    init_normal_f32(&ctx, 1, 2, 0.0, 0.2, &mut b).expect("normal");
    assert_same_bits("he", &a, &b);
    let limit = (6.0f64 / 50.0).sqrt() as f32;
    init_xavier_f32(&ctx, 1, 2, Distribution::Uniform, 1.0, 20, 30, &mut a).expect("xavier");
    init_uniform_f32(&ctx, 1, 2, -limit, limit, &mut b).expect("uniform");
    assert_same_bits("xavier", &a, &b);
}

#[test]
fn bad_arguments_are_refused_before_anything_is_written() {
    let ctx = specification();
    let refuse = |want: &str, f: &dyn Fn(&mut [f32]) -> evenkeel::Result| {
        let mut w = [7.0; 20];
        let error = f(&mut w).expect_err(want);
        assert!(matches!(error, Error::InvalidArgument { .. }) && error.to_string().contains(want), "{error}");
        assert_eq!(w, [7.0; 20]);
    };
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    refuse("low is NaN", &|w| init_uniform_f32(&ctx, 0, 0, nan, 1.0, w));
    refuse("high is inf", &|w| init_uniform_f32(&ctx, 0, 0, 0.0, inf, w));
    refuse("low is 2 and high is 1", &|w| init_uniform_f32(&ctx, 0, 0, 2.0, 1.0, w));
    refuse("mean is NaN", &|w| init_normal_f32(&ctx, 0, 0, nan, 1.0, w));
    refuse("std is -1", &|w| init_normal_f32(&ctx, 0, 0, 0.0, -1.0, w));
    refuse("std is inf", &|w| init_normal_f32(&ctx, 0, 0, 0.0, inf, w));
    for d in [Distribution::Uniform, Distribution::Normal] {
        refuse("gain is NaN", &|w| init_xavier_f32(&ctx, 0, 0, d, nan, 1, 1, w));
        refuse("gain is -2", &|w| init_xavier_f32(&ctx, 0, 0, d, -2.0, 1, 1, w));
        refuse("fan_in is 0", &|w| init_xavier_f32(&ctx, 0, 0, d, 1.0, 0, 1, w));
        refuse("fan_out is 0", &|w| init_xavier_f32(&ctx, 0, 0, d, 1.0, 1, 0, w));
        refuse("negative_slope is inf", &|w| init_he_f32(&ctx, 0, 0, d, inf, 1, w));
        refuse("fan_in is 0", &|w| init_he_f32(&ctx, 0, 0, d, 0.0, 0, w));
    }
    refuse("f32 cannot hold", &|w| init_xavier_f32(&ctx, 0, 0, Distribution::Uniform, f32::MAX, 1, 1, w));
    assert_eq!(Distribution::from_i32(1), Some(Distribution::Normal));
    assert_eq!(Distribution::from_i32(2), None);
}
