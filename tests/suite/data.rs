//! Column statistics and scaling: offsets, constants, gaps, the same bits everywhere.

use crate::common::*;
use evenkeel::data::*;
use evenkeel::{Context, Error};

#[derive(Clone, Debug, PartialEq)]
struct Stats {
    mean: Vec<f64>,
    std: Vec<f64>,
    min: Vec<f32>,
    max: Vec<f32>,
    nans: Vec<u64>,
}

fn stats(ctx: &Context, rows: usize, cols: usize, x: &[f32]) -> Stats {
    let (min, nans) = (vec![7.0; cols], vec![7; cols]);
    let mut s = Stats { mean: vec![7.0; cols], std: vec![7.0; cols], max: min.clone(), min, nans };
    let (std, min, max) = (Some(&mut s.std[..]), Some(&mut s.min[..]), Some(&mut s.max[..]));
    column_stats_counted_f32(ctx, rows, cols, x, &mut s.mean, std, min, max, &mut s.nans).expect("statistics");
    s
}

fn same(what: &str, got: &Stats, want: &Stats) {
    assert_same_bits(what, &got.mean, &want.mean);
    assert_same_bits(what, &got.std, &want.std);
    assert_same_bits(what, &got.min, &want.min);
    assert_same_bits(what, &got.max, &want.max);
    assert_eq!(got.nans, want.nans, "{what}");
}

fn fast() -> Context {
    context(isas().next().expect("one"), 2)
}

const SHAPES: [[usize; 2]; 12] = [
    [1, 1],
    [1, 33],
    [7, 1],
    [8, 16],
    [9, 15],
    [255, 17],
    [256, 3],
    [257, 64],
    [1000, 31],
    [3, 2500],
    [600, 1100],
    [20_000, 5],
];

#[test]
fn every_instruction_set_and_thread_count_gives_the_specifications_bits() {
    for [rows, cols] in SHAPES {
        let cols = if quick() { cols.min(33) } else { cols };
        let mut rng = Rng::new((rows * cols) as u64);
        let n = rows * cols;
        let gaps = |r: &mut Rng| if r.below(50) == 0 { f32::NAN } else { r.normal() };
        for x in [rng.vec(n, |r| r.normal()), rng.vec(n, gaps), rng.vec(n, |r| r.any_f32())] {
            let want = stats(&specification(), rows, cols, &x);
            let scale = |ctx: &Context| {
                let (mut y, mut z) = (vec![7.0; n], vec![7.0; n]);
                standardize_f32(ctx, rows, cols, &want.mean, &want.std, 1e-6, &x, &mut y).expect("standardize");
                rescale_f32(ctx, rows, cols, &want.min, &want.max, -1.0, 2.0, &x, &mut z).expect("rescale");
                [y, z]
            };
            let want_scaled = scale(&specification());
            for ctx in exact_contexts() {
                let what = format!("{rows}×{cols} {ctx:?}");
                same(&what, &stats(&ctx, rows, cols, &x), &want);
                for (got, want) in scale(&ctx).iter().zip(&want_scaled) {
                    assert_same_bits(&what, got, want);
                }
                let mut over = x.clone();
                standardize_in_place_f32(&ctx, rows, cols, &want.mean, &want.std, 1e-6, &mut over).expect("in place");
                assert_same_bits(&what, &over, &want_scaled[0]);
            }
        }
    }
}

/// Mean and deviation of a column's numbers in f64, by two passes with compensated sums.
fn truth(column: impl Iterator<Item = f32> + Clone) -> (f64, f64) {
    let sum = |values: &mut dyn Iterator<Item = f64>| {
        let (mut sum, mut lost) = (0.0f64, 0.0f64);
        for x in values {
            let t = sum + x;
            lost += if sum.abs() >= x.abs() { (sum - t) + x } else { (x - t) + sum };
            sum = t;
        }
        sum + lost
    };
    let n = column.clone().count() as f64;
    let mean = sum(&mut column.clone().map(f64::from)) / n;
    let squares = sum(&mut column.clone().map(|x| (x as f64 - mean).powi(2)));
    (mean, (squares / n).sqrt())
}

#[test]
fn offsets_scales_and_outliers_cost_nothing() {
    let kinds: [fn(&mut Rng, usize) -> f32; 9] = [
        |r, _| r.normal(),
        |r, _| 1e8 + 100.0 * r.normal(),
        |r, _| -1e8 + (8 * r.below(3)) as f32,
        |r, _| 1e30 * r.normal(),
        |r, _| 1e-30 * r.normal(),
        |r, _| 1e-42 * r.normal(),
        // The first element, which the sums are about, is far from all others.
        |r, i| if i == 0 { 1e6 } else { r.normal() },
        |r, _| 3e38 * r.uniform(-1.0, 1.0),
        |r, i| i as f32 + r.normal(),
    ];
    let cols = kinds.len();
    for rows in [1, 2, 100, 257, 10_000] {
        let mut rng = Rng::new(rows as u64);
        let x: Vec<f32> = (0..rows * cols).map(|e| kinds[e % cols](&mut rng, e / cols)).collect();
        for ctx in contexts() {
            let s = stats(&ctx, rows, cols, &x);
            for j in 0..cols {
                let column = (0..rows).map(|i| x[i * cols + j]);
                let (mean, std) = truth(column.clone());
                let what = format!("{rows} rows, column {j}, {ctx:?}");
                let allowed = 1e-11 * std + 4.0 * f64::EPSILON * mean.abs();
                assert!((s.mean[j] - mean).abs() <= allowed, "{what}: mean {:e}, expected {mean:e}", s.mean[j]);
                assert!((s.std[j] - std).abs() <= 1e-11 * std, "{what}: std {:e}, expected {std:e}", s.std[j]);
                assert_eq!(s.min[j], column.clone().fold(f32::INFINITY, f32::min), "{what}");
                assert_eq!(s.max[j], column.fold(f32::NEG_INFINITY, f32::max), "{what}");
            }
            assert_eq!(s.nans, vec![0; cols]);
        }
    }
}

#[test]
fn constant_columns_are_exact() {
    let values = [0.0, 0.1, 1e8, -3.3e38, 1e-45];
    for rows in [1, 255, 256, 257, 5000] {
        let x: Vec<f32> = (0..rows).flat_map(|_| values).collect();
        for ctx in contexts() {
            let s = stats(&ctx, rows, 5, &x);
            assert_eq!(s.mean, values.map(f64::from));
            assert_eq!(s.std, [0.0; 5]);
            let (mut y, mut z) = (vec![7.0; x.len()], vec![7.0; x.len()]);
            standardize_f32(&ctx, rows, 5, &s.mean, &s.std, 0.0, &x, &mut y).expect("standardize");
            rescale_f32(&ctx, rows, 5, &s.min, &s.max, 0.25, 1.0, &x, &mut z).expect("rescale");
            assert!(y.iter().all(|y| *y == 0.0) && z.iter().all(|z| *z == 0.25));
        }
    }
}

#[test]
fn gaps_are_left_out_and_counted() {
    let (rows, cols) = (3000, 20);
    for ctx in contexts() {
        let mut rng = Rng::new(1);
        let mut x = rng.vec(rows * cols, |r| 1e8 + 100.0 * r.normal());
        // Column 0: none. Columns 1 to 16: ever more. Column 17: all. Column 18: all but one. Column 19: the first rows.
        for i in 0..rows {
            for j in 1..17 {
                if rng.below(20) < j {
                    x[i * cols + j] = f32::NAN;
                }
            }
            x[i * cols + 17] = f32::NAN;
            if i != 1234 {
                x[i * cols + 18] = f32::NAN;
            }
            if i < 700 {
                x[i * cols + 19] = f32::NAN;
            }
        }
        let s = stats(&ctx, rows, cols, &x);
        for j in 0..cols {
            let column = (0..rows).map(|i| x[i * cols + j]).filter(|x| !x.is_nan());
            assert_eq!(s.nans[j], (rows - column.clone().count()) as u64, "column {j}");
            if j == 17 {
                assert!(s.mean[j].is_nan() && s.std[j].is_nan() && s.min[j].is_nan() && s.max[j].is_nan());
                continue;
            }
            let (mean, std) = truth(column.clone());
            assert!((s.mean[j] - mean).abs() <= 1e-11 * std + 4.0 * f64::EPSILON * mean, "column {j}: {}", s.mean[j]);
            assert!((s.std[j] - std).abs() <= 1e-10 * std, "column {j}: {}, expected {std}", s.std[j]);
            assert_eq!(s.min[j], column.clone().fold(f32::INFINITY, f32::min));
            assert_eq!(s.max[j], column.fold(f32::NEG_INFINITY, f32::max));
        }
        // The plain function says the same, and a gap stays a gap.
        let mut mean = vec![7.0; cols];
        column_stats_f32(&ctx, rows, cols, &x, &mut mean, None, None, None).expect("statistics");
        assert_same_bits("plain", &mean, &s.mean);
        let mut y = vec![7.0; x.len()];
        standardize_f32(&ctx, rows, cols, &s.mean, &s.std, 0.0, &x, &mut y).expect("standardize");
        assert!(x.iter().zip(&y).enumerate().all(|(i, (x, y))| i % cols == 17 || x.is_nan() == y.is_nan()));
    }
}

#[test]
fn infinite_entries_are_values() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for ctx in contexts() {
        for x in [[1.0, inf, 2.0], [inf, 1.0, 2.0], [1.0, 2.0, inf]] {
            let s = stats(&ctx, 3, 1, &x);
            assert!(s.mean[0] == f64::INFINITY && s.std[0].is_nan() && s.min[0] == 1.0 && s.max[0] == inf, "{s:?}");
        }
        let s = stats(&ctx, 3, 1, &[inf, -inf, 1.0]);
        assert!(s.mean[0].is_nan() && s.min[0] == -inf && s.max[0] == inf && s.nans[0] == 0, "{s:?}");
        let s = stats(&ctx, 3, 1, &[nan, -inf, 1.0]);
        assert!(s.mean[0] == f64::NEG_INFINITY && s.nans[0] == 1, "{s:?}");
    }
}

#[test]
fn standardized_data_has_mean_0_and_deviation_1() {
    let (rows, cols) = (4000, 33);
    let mut rng = Rng::new(2);
    let x: Vec<f32> =
        (0..rows * cols).map(|e| 1e4 * (e % cols) as f32 + (1 + e % cols) as f32 * rng.normal()).collect();
    for ctx in contexts() {
        let s = stats(&ctx, rows, cols, &x);
        let mut y = vec![7.0; x.len()];
        for eps in [0.0, 0.5] {
            standardize_f32(&ctx, rows, cols, &s.mean, &s.std, eps, &x, &mut y).expect("standardize");
            for (i, (x, y)) in x.iter().zip(&y).enumerate() {
                let want = (*x as f64 - s.mean[i % cols]) / (s.std[i % cols] + eps as f64);
                assert!(ulp_error(*y, want) <= 0.51, "{y}, expected {want}");
            }
        }
        standardize_f32(&ctx, rows, cols, &s.mean, &s.std, 0.0, &x, &mut y).expect("standardize");
        let again = stats(&ctx, rows, cols, &y);
        assert!(again.mean.iter().all(|m| m.abs() < 1e-7) && again.std.iter().all(|s| (s - 1.0).abs() < 1e-7));
    }
}

#[test]
fn rescaled_data_fills_its_range_exactly() {
    let (rows, cols) = (1000, 20);
    let mut rng = Rng::new(3);
    let x: Vec<f32> = (0..rows * cols)
        .map(|e| if e % cols == 0 { 3e38 * rng.uniform(-1.0, 1.0) } else { rng.binades(-20, 20) })
        .collect();
    for ctx in contexts() {
        let s = stats(&ctx, rows, cols, &x);
        for (low, high) in [(0.0f32, 1.0f32), (-1.0, 1.0), (0.1, 0.3), (-3e38, 3e38), (5.0, 5.0)] {
            let mut y = vec![7.0; x.len()];
            rescale_f32(&ctx, rows, cols, &s.min, &s.max, low, high, &x, &mut y).expect("rescale");
            for (i, (x, y)) in x.iter().zip(&y).enumerate() {
                let (min, max) = (s.min[i % cols] as f64, s.max[i % cols] as f64);
                let want = low as f64 + (*x as f64 - min) / (max - min) * (high as f64 - low as f64);
                let size = (low.abs() as f64).max(high.abs() as f64);
                assert!((*y as f64 - want).abs() <= 6e-8 * want.abs() + 1e-15 * size, "{y}, expected {want}");
                assert!((low..=high).contains(y), "{y} leaves [{low}, {high}]");
                assert!(*x as f64 != min || *y == low);
                assert!(*x as f64 != max || *y == high);
            }
        }
    }
}

#[test]
fn tensors_beyond_the_caches_have_the_bits_of_small_ones() {
    let ctx = fast();
    let cols = 64;
    let rows = (17 << 20) / 4 / cols;
    let mut rng = Rng::new(4);
    let x = repeated(&mut rng, rows * cols, |r| r.normal());
    let (mean, std) = (rng.vec(cols, |r| r.normal() as f64), rng.vec(cols, |r| 1.0 + r.unit()));
    let want: Vec<f32> = x
        .chunks(cols)
        .flat_map(|row| {
            let mut y = vec![7.0; cols];
            standardize_f32(&ctx, 1, cols, &mean, &std, 0.0, row, &mut y).expect("standardize");
            y
        })
        .collect();
    for offset in (0..17).step_by(if quick() { 15 } else { 1 }) {
        let mut room = vec![7.0; rows * cols + 16];
        let y = &mut room[offset..offset + rows * cols];
        standardize_f32(&ctx, rows, cols, &mean, &std, 0.0, &x, y).expect("standardize");
        assert_same_bits("streamed", y, &want);
    }
}

#[cfg(unix)]
#[test]
fn nothing_past_the_ends_is_touched() {
    let ctx = context(isas().next().expect("one"), 1);
    for cols in (1..=33).chain([100]) {
        for rows in [1, 5, 300] {
            let x = Rng::new(5).vec(rows * cols, |r| r.normal());
            let want = stats(&ctx, rows, cols, &x);
            for place in [Guarded::at_end, Guarded::at_start] {
                let (x, mut y) = (place(&x), place(&x));
                same("guarded", &stats(&ctx, rows, cols, &x), &want);
                standardize_f32(&ctx, rows, cols, &want.mean, &want.std, 0.0, &x, &mut y).expect("standardize");
                let (min, max) = (place(&want.min), place(&want.max));
                rescale_f32(&ctx, rows, cols, &min, &max, 0.0, 1.0, &x, &mut y).expect("rescale");
            }
        }
    }
}

#[test]
fn bad_arguments_are_refused_before_anything_is_written() {
    let ctx = specification();
    let (x, mut y, d, mut mean) = ([1.0; 6], [7.0; 6], [1.0; 3], [7.0; 3]);
    let refuse = |want: &str, result: evenkeel::Result| {
        let error = result.expect_err(want);
        assert!(error.to_string().contains(want), "{error}");
        matches!(error, Error::InvalidSize { .. })
    };
    assert!(refuse("x holds 6 elements, expected 9", column_stats_f32(&ctx, 3, 3, &x, &mut mean, None, None, None)));
    let mut short = [7.0; 2];
    assert!(refuse("std holds 2", column_stats_f32(&ctx, 2, 3, &x, &mut mean, Some(&mut short), None, None)));
    assert!(refuse("std holds 2", standardize_f32(&ctx, 2, 3, &d, &d[..2], 0.0, &x, &mut y)));
    assert!(refuse("y holds 6", standardize_f32(&ctx, 1, 3, &d, &d, 0.0, &x[..3], &mut y)));
    assert!(!refuse("eps is -1", standardize_f32(&ctx, 2, 3, &d, &d, -1.0, &x, &mut y)));
    assert!(!refuse("eps is NaN", standardize_f32(&ctx, 2, 3, &d, &d, f32::NAN, &x, &mut y)));
    assert!(refuse("max holds 2", rescale_f32(&ctx, 2, 3, &x[..3], &x[..2], 0.0, 1.0, &x, &mut y)));
    assert!(!refuse("low is 1 and high is 0", rescale_f32(&ctx, 2, 3, &x[..3], &x[..3], 1.0, 0.0, &x, &mut y)));
    assert_eq!((y, mean, short), ([7.0; 6], [7.0; 3], [7.0; 2]));
    // Nothing to do.
    column_stats_f32(&ctx, 0, 3, &[], &mut mean, None, None, None).expect("no rows");
    column_stats_f32(&ctx, 3, 0, &[], &mut [], None, None, None).expect("no columns");
    standardize_f32(&ctx, 0, 3, &d, &d, 0.0, &[], &mut []).expect("no rows");
    assert_eq!(mean, [7.0; 3]);
}
