//! Orthogonal initialization: orthonormal, uniform over the group, the same bits everywhere.

use crate::common::*;
use evenkeel::init::init_orthogonal_f32;
use evenkeel::{Context, Error};

fn orthogonal(ctx: &Context, seed: u64, gain: f32, rows: usize, cols: usize) -> Vec<f32> {
    let mut w = vec![f32::NAN; rows * cols];
    init_orthogonal_f32(ctx, seed, 3, gain, rows, cols, &mut w).expect("orthogonal");
    w
}

fn fast() -> Context {
    context(isas().next().expect("one"), 2)
}

/// The largest entry of |QᵀQ − I| and the largest sum of a row of it, in f64, for vectors of the shorter side.
fn off_unity(w: &[f32], rows: usize, cols: usize) -> (f64, f64) {
    let n = rows.min(cols);
    let at = |i: usize, j: usize| (if rows >= cols { w[i * cols + j] } else { w[j * cols + i] }) as f64;
    let vectors: Vec<Vec<f64>> = (0..n).map(|j| (0..rows.max(cols)).map(|i| at(i, j)).collect()).collect();
    let (mut entry, mut row) = (0f64, 0f64);
    for (i, a) in vectors.iter().enumerate() {
        let mut sum = 0.0;
        for (j, b) in vectors.iter().enumerate() {
            let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            let error = (dot - if i == j { 1.0 } else { 0.0 }).abs();
            entry = entry.max(error);
            sum += error;
        }
        row = row.max(sum);
    }
    (entry, row)
}

const SHAPES: [[usize; 2]; 14] = [
    [1, 1],
    [2, 2],
    [3, 1],
    [1, 7],
    [16, 16],
    [17, 5],
    [5, 17],
    [64, 64],
    [65, 65],
    [66, 130],
    [200, 129],
    [300, 64],
    [1, 700],
    [333, 333],
];

#[test]
fn every_instruction_set_and_thread_count_gives_the_specifications_bits() {
    for [rows, cols] in SHAPES.into_iter().filter(|[rows, cols]| !quick() || rows * cols < 9000) {
        let want = orthogonal(&specification(), 1, 1.25, rows, cols);
        for ctx in exact_contexts() {
            assert_same_bits(&format!("{rows}×{cols} {ctx:?}"), &orthogonal(&ctx, 1, 1.25, rows, cols), &want);
        }
    }
}

#[test]
fn vectors_of_the_shorter_side_are_orthonormal() {
    for ctx in contexts().filter(|ctx| ctx.isa() != evenkeel::Isa::Scalar) {
        for [rows, cols] in SHAPES {
            let w = orthogonal(&ctx, 2, 1.0, rows, cols);
            let (entry, row) = off_unity(&w, rows, cols);
            assert!(entry <= 1e-7 && row <= 1e-6, "{rows}×{cols} {ctx:?}: entry {entry:e}, row {row:e}");
        }
    }
}

/// What rounding an exact matrix to f32 leaves, for n a power of 4: errors are uniform in a unit in the last place, so that
/// entries of QᵀQ − I beside the diagonal have the deviation 3.6e-8/√n, and 8.8e-8/√n on it. Five of these at most, and a row's
/// sum of n · 0.8 · 3.6e-8/√n with a fifth to spare.
#[test]
fn at_1024_nothing_is_lost_but_the_rounding_to_f32() {
    let n = if quick() { 256 } else { 1024 };
    let (entry, row) = off_unity(&orthogonal(&fast(), 0, 1.0, n, n), n, n);
    let root = (n as f64).sqrt();
    assert!(entry <= 4.4e-7 / root && row <= 3.5e-8 * root, "entry {entry:e}, row {row:e}");
}

#[test]
fn gain_scales_and_seeds_differ() {
    let ctx = fast();
    let one = orthogonal(&ctx, 9, 1.0, 40, 30);
    assert_same_bits("gain 2", &orthogonal(&ctx, 9, 2.0, 40, 30), &one.iter().map(|w| 2.0 * w).collect::<Vec<_>>());
    assert_same_bits("gain −1", &orthogonal(&ctx, 9, -1.0, 40, 30), &one.iter().map(|w| -w).collect::<Vec<_>>());
    assert!(orthogonal(&ctx, 9, 0.0, 40, 30).iter().all(|w| *w == 0.0));
    assert_ne!(orthogonal(&ctx, 10, 1.0, 40, 30), one);
    let mut other = vec![0.0; 1200];
    init_orthogonal_f32(&ctx, 9, 4, 1.0, 40, 30, &mut other).expect("orthogonal");
    assert_ne!(other, one);
    // A wide matrix is the transpose of the tall one.
    let wide = orthogonal(&ctx, 9, 1.0, 30, 40);
    assert!((0..1200).all(|i| same_bits(wide[i], one[i % 40 * 30 + i / 40])));
}

/// The largest distance of the empirical distribution from `cdf`, times √n: above 1.95 once in a thousand.
fn kolmogorov_smirnov(mut x: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    let distance = |(i, v): (usize, &f64)| (cdf(*v) - i as f64 / n).abs().max((cdf(*v) - (i + 1) as f64 / n).abs());
    x.iter().enumerate().map(distance).fold(0.0, f64::max) * n.sqrt()
}

/// Haar measure is known by what it does: of O(3) an entry is uniform in [−1, 1], the determinant has either sign half of
/// the time, and the angle of a rotation has the density (1 − cos θ)/π. QR without the signs fails each of them.
#[test]
fn matrices_are_uniform_over_the_group() {
    let ctx = fast();
    let draws = if quick() { 2_000 } else { 20_000 };
    let (mut entries, mut angles, mut proper) = (vec![Vec::new(); 9], Vec::new(), 0);
    for seed in 0..draws {
        let w = orthogonal(&ctx, seed, 1.0, 3, 3);
        let q = |i: usize, j: usize| w[3 * i + j] as f64;
        (0..9).for_each(|i| entries[i].push(w[i] as f64));
        let minor = |j: usize| q(1, (j + 1) % 3) * q(2, (j + 2) % 3) - q(1, (j + 2) % 3) * q(2, (j + 1) % 3);
        let determinant: f64 = (0..3).map(|j| q(0, j) * minor(j)).sum();
        assert!((determinant.abs() - 1.0).abs() < 1e-6);
        if determinant > 0.0 {
            proper += 1;
            let trace = q(0, 0) + q(1, 1) + q(2, 2);
            angles.push(((trace - 1.0) / 2.0).clamp(-1.0, 1.0).acos());
        }
    }
    let deviation = (proper as f64 - draws as f64 / 2.0) / (draws as f64 / 4.0).sqrt();
    assert!(deviation.abs() < 4.0, "{proper} of {draws} are rotations");
    for (i, entries) in entries.into_iter().enumerate() {
        let ks = kolmogorov_smirnov(entries, |x| (x + 1.0) / 2.0);
        assert!(ks < 2.2, "entry {i}: KS {ks}");
    }
    let ks = kolmogorov_smirnov(angles, |t| (t - t.sin()) / std::f64::consts::PI);
    assert!(ks < 1.95, "angles: KS {ks}");
}

/// Of a uniform matrix of order n the traces of the first powers are independent and nearly normal, of variance
/// 1, 2, 3 and mean 0, 1, 0 (Diaconis and Shahshahani 1994).
#[test]
fn traces_of_powers_are_those_of_a_uniform_matrix() {
    let ctx = fast();
    let (n, draws) = (20, if quick() { 400 } else { 4000 });
    let (mut sums, mut squares) = ([0.0; 2], [0.0; 2]);
    for seed in 0..draws {
        let w = orthogonal(&ctx, seed, 1.0, n, n);
        let first: f64 = (0..n).map(|i| w[i * n + i] as f64).sum();
        let second: f64 = (0..n * n).map(|i| w[i] as f64 * w[i % n * n + i / n] as f64).sum();
        for (k, trace) in [first, second - 1.0].into_iter().enumerate() {
            sums[k] += trace;
            squares[k] += trace * trace;
        }
    }
    let draws = draws as f64;
    for (k, variance) in [(0, 1.0), (1, 2.0)] {
        assert!(
            (sums[k] / draws).abs() < 4.0 * (variance / draws).sqrt(),
            "trace of power {}: {}",
            k + 1,
            sums[k] / draws
        );
        let spread = 4.0 * variance * (2.0 / draws).sqrt();
        assert!((squares[k] / draws - variance).abs() < spread, "power {}: variance {}", k + 1, squares[k] / draws);
    }
}

#[test]
fn bad_arguments_are_refused_before_anything_is_written() {
    let ctx = specification();
    let mut w = [7.0; 6];
    let error = init_orthogonal_f32(&ctx, 0, 0, f32::NAN, 2, 3, &mut w).expect_err("gain");
    assert!(matches!(error, Error::InvalidArgument { .. }) && error.to_string().contains("gain is NaN"), "{error}");
    let error = init_orthogonal_f32(&ctx, 0, 0, 1.0, 2, 4, &mut w).expect_err("size");
    assert!(matches!(error, Error::InvalidSize { .. }) && error.to_string().contains("w holds 6 elements, expected 8"));
    let error = init_orthogonal_f32(&ctx, 0, 0, 1.0, usize::MAX, 4, &mut w).expect_err("size");
    assert!(matches!(error, Error::InvalidSize { .. }));
    assert_eq!(w, [7.0; 6]);
    init_orthogonal_f32(&ctx, 0, 0, 1.0, 0, 4, &mut []).expect("nothing to do");
    init_orthogonal_f32(&ctx, 0, 0, 1.0, 4, 0, &mut []).expect("nothing to do");
}
