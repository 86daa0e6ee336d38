//! Spectra: matrices whose norms and radii are known, the same bits everywhere, what does not converge.

use crate::common::*;
use evenkeel::init::{init_normal_f32, init_orthogonal_f32};
use evenkeel::spectral::*;
use evenkeel::{Activation, Context, Error};

fn fast() -> Context {
    context(isas().next().expect("one"), 2)
}

fn norm(ctx: &Context, rows: usize, cols: usize, w: &[f32], tolerance: f64) -> Spectral {
    spectral_norm_f32(ctx, rows, cols, w, cols, 0, tolerance).expect("norm")
}

fn radius(ctx: &Context, n: usize, w: &[f32]) -> Spectral {
    spectral_radius_f32(ctx, n, w, n, 0).expect("radius")
}

#[track_caller]
fn is(what: &str, got: Spectral, want: f64, tolerance: f64) {
    let error = (got.value - want).abs();
    assert!(got.converged && error <= tolerance * want, "{what}: {got:?}, expected {want}, error {error:e}");
}

fn orthogonal(n: usize, seed: u64) -> Vec<f32> {
    let mut q = vec![0.0; n * n];
    init_orthogonal_f32(&fast(), seed, 0, 1.0, n, n, &mut q).expect("orthogonal");
    q
}

fn normal(rows: usize, cols: usize, seed: u64) -> Vec<f32> {
    let mut w = vec![0.0; rows * cols];
    init_normal_f32(&fast(), seed, 0, 0.0, 1.0, &mut w).expect("normal");
    w
}

/// Q·A·Qᵀ in f64, rounded once: the same spectrum without the form.
fn turned(n: usize, a: &[f64], seed: u64) -> Vec<f32> {
    let q = orthogonal(n, seed);
    let q = |i: usize, j: usize| q[i * n + j] as f64;
    let mut qa = vec![0.0; n * n];
    for i in 0..n {
        for k in 0..n {
            for j in 0..n {
                qa[i * n + j] += q(i, k) * a[k * n + j];
            }
        }
    }
    let dot = |i: usize, j: usize| (0..n).map(|k| qa[i * n + k] * q(j, k)).sum::<f64>() as f32;
    (0..n * n).map(|e| dot(e / n, e % n)).collect()
}

fn diagonal(n: usize, at: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..n * n).map(|e| if e / n == e % n { at(e / n) } else { 0.0 }).collect()
}

/// λ on the diagonal and 1 above it.
fn jordan(n: usize, lambda: f32) -> Vec<f32> {
    (0..n * n)
        .map(|e| {
            if e / n == e % n {
                lambda
            } else if e / n + 1 == e % n {
                1.0
            } else {
                0.0
            }
        })
        .collect()
}

#[test]
fn norms_and_radii_have_the_specifications_bits() {
    let shapes = [[1, 1], [3, 5], [16, 16], [17, 33], [130, 70], [5, 3000], [700, 47], [300, 300]];
    for [rows, cols] in shapes.into_iter().take(if quick() { 4 } else { 8 }) {
        let (w, z) = (normal(rows, cols, 1), normal(1, cols, 2));
        let all = |ctx: &Context| {
            let jacobian =
                jacobian_norm_f32(ctx, Activation::Tanh, 0.0, rows, cols, &w, &z, 0, 1e-9).expect("jacobian");
            let square = rows.min(cols);
            let rho = spectral_radius_f32(ctx, square, &w, cols, 6).expect("radius");
            [norm(ctx, rows, cols, &w, 1e-6), jacobian, rho].map(|s| s.value)
        };
        let want = all(&specification());
        for ctx in exact_contexts() {
            assert_same_bits(&format!("{rows}×{cols} {ctx:?}"), &all(&ctx), &want);
        }
    }
}

#[test]
fn norms_of_known_matrices() {
    for ctx in [fast(), context(isas().last().expect("one"), 1)] {
        let big = if ctx.isa() == evenkeel::Isa::Scalar || quick() { 64 } else { 512 };
        is("unit", norm(&ctx, 3, 3, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], 1e-6), 1.0, 1e-12);
        is("orthogonal", norm(&ctx, big, big, &orthogonal(big, 1), 1e-6), 1.0, 1e-6);
        for n in [2, 10, big] {
            let close = diagonal(n, |i| 1.0 - 0.5 * i as f64 / n as f64);
            is("diagonal", norm(&ctx, n, n, &close.iter().map(|x| *x as f32).collect::<Vec<_>>(), 1e-4), 1.0, 1e-4);
            if n <= 100 {
                is("turned diagonal", norm(&ctx, n, n, &turned(n, &close, 3), 1e-5), 1.0, 1e-5);
            }
            // One value a little above many.
            let spike: Vec<f32> = diagonal(n, |i| if i == 0 { 1.0 } else { 0.995 - 0.3 * i as f64 / n as f64 })
                .iter()
                .map(|x| *x as f32)
                .collect();
            is("spike", norm(&ctx, n, n, &spike, 1e-4), 1.0, 1e-4);
            // A shift has the norm 1; singular values of a Jordan block with λ = 1 are 2cos(kπ/(2n + 1)).
            is("shift", norm(&ctx, n, n, &jordan(n, 0.0), 1e-6), 1.0, 1e-9);
            let most = 2.0 * (std::f64::consts::PI / (2 * n + 1) as f64).cos();
            is("Jordan block", norm(&ctx, n, n, &jordan(n, 1.0), 1e-4), most, 1e-4);
        }
        // A product of two vectors.
        let (u, v) = (normal(90, 1, 5), normal(1, 70, 6));
        let outer: Vec<f32> = u.iter().flat_map(|u| v.iter().map(move |v| u * v)).collect();
        let length = |v: &[f32]| v.iter().map(|x| (*x as f64).powi(2)).sum::<f64>().sqrt();
        is("outer product", norm(&ctx, 90, 70, &outer, 1e-6), length(&u) * length(&v), 1e-6);
        assert_eq!(norm(&ctx, 4, 4, &[0.0; 16], 1e-6), Spectral { value: 0.0, converged: true, iterations: 1 });
        assert_eq!(norm(&ctx, 0, 4, &[], 1e-6).value, 0.0);
    }
}

/// Against the power method in f64, run far longer than it needs.
#[test]
fn norms_of_random_matrices_at_any_scale() {
    for [rows, cols] in [[1, 9], [9, 1], [40, 40], [60, 25], [25, 60], [200, 100]] {
        let w = normal(rows, cols, (rows * cols) as u64);
        let mut v = vec![1.0f64; cols];
        let mut want = 0.0;
        for _ in 0..3000 {
            let u: Vec<f64> = w.chunks(cols).map(|row| row.iter().zip(&v).map(|(w, v)| *w as f64 * v).sum()).collect();
            let mut z = vec![0.0; cols];
            for (row, u) in w.chunks(cols).zip(&u) {
                z.iter_mut().zip(row).for_each(|(z, w)| *z += u * *w as f64);
            }
            let length = z.iter().map(|z| z * z).sum::<f64>().sqrt();
            want = length.sqrt();
            v = z.iter().map(|z| z / length).collect();
        }
        for ctx in contexts() {
            for scale in [1.0, 1e30, 1e-30, 1e-38] {
                let scaled: Vec<f32> = w.iter().map(|x| x * scale).collect();
                // At 1e-38 the entries are subnormal and have lost digits.
                let tolerance = if scale == 1e-38 { 1e-5 } else { 1e-6 };
                is("random", norm(&ctx, rows, cols, &scaled, 1e-9), want * scale as f64, tolerance);
            }
            // Rows apart, and nothing of what is between them.
            let ldw = cols + 3;
            let mut apart = vec![f32::NAN; rows * ldw - 3];
            for i in 0..rows {
                apart[i * ldw..i * ldw + cols].copy_from_slice(&w[i * cols..(i + 1) * cols]);
            }
            is("apart", spectral_norm_f32(&ctx, rows, cols, &apart, ldw, 0, 1e-9).expect("norm"), want, 1e-9);
        }
    }
}

#[test]
fn a_jacobian_is_the_weights_times_the_slopes() {
    let (rows, cols) = (50, 70);
    let (w, z) = (normal(rows, cols, 1), normal(1, cols, 2));
    for ctx in contexts() {
        for (act, param) in [(Activation::Tanh, 0.0), (Activation::Sigmoid, 0.0), (Activation::LeakyRelu, 0.01)] {
            let mut slopes = vec![0.0; cols];
            evenkeel::activation::activation_derivative_f32(&ctx, act, param, &z, &mut slopes).expect("slopes");
            let scaled: Vec<f32> = w.chunks(cols).flat_map(|row| row.iter().zip(&slopes).map(|(w, d)| w * d)).collect();
            let got = jacobian_norm_f32(&ctx, act, param, rows, cols, &w, &z, 0, 1e-9).expect("jacobian");
            is("jacobian", got, norm(&ctx, rows, cols, &scaled, 1e-9).value, 1e-6);
        }
        let plain = jacobian_norm_f32(&ctx, Activation::Identity, 0.0, rows, cols, &w, &z, 0, 1e-9).expect("jacobian");
        assert_eq!(plain.value, norm(&ctx, rows, cols, &w, 1e-9).value);
        // Saturated far beyond what 1 − tanh² can show.
        let far = vec![30.0; cols];
        let got = jacobian_norm_f32(&ctx, Activation::Tanh, 0.0, rows, cols, &w, &far, 0, 1e-9).expect("jacobian");
        let slope = 4.0 * (-60f64).exp();
        is("saturated", got, slope * norm(&ctx, rows, cols, &w, 1e-9).value, 1e-6);
    }
}

#[test]
fn radii_of_known_matrices() {
    let ctx = fast();
    for n in [2, 3, 10, 64, 200] {
        is("orthogonal", radius(&ctx, n, &orthogonal(n, 1)), 1.0, 1e-5);
        let values = |i: usize| if i == 0 { -0.9 } else { 0.9 * (1.0 - i as f64 / n as f64) };
        is("diagonal", radius(&ctx, n, &diagonal(n, values).iter().map(|x| *x as f32).collect::<Vec<_>>()), 0.9, 1e-5);
        // One eigenvalue a little above many.
        let spike = diagonal(n, |i| if i == 1 { 1.0 } else { -0.999 });
        is("spike", radius(&ctx, n, &spike.iter().map(|x| *x as f32).collect::<Vec<_>>()), 1.0, 1e-4);
        is("Jordan block", radius(&ctx, n, &jordan(n, 0.5)), 0.5, 1e-4);
        is("Jordan block of −2", radius(&ctx, n, &jordan(n, -2.0)), 2.0, 1e-4);
        assert_eq!(radius(&ctx, n, &jordan(n, 0.0)).value, 0.0, "a power of a shift is 0");
        // A shift around: the roots of unity.
        let around: Vec<f32> = (0..n * n).map(|e| if (e / n + 1) % n == e % n { 1.0 } else { 0.0 }).collect();
        is("roots of unity", radius(&ctx, n, &around), 1.0, 1e-5);
    }
    // A Jordan block of a complex pair, in the order that hides its triangle.
    for n in [4, 40, 100] {
        let place = |i: usize| (7 * i + 3) % n;
        let mut w = vec![0.0; n * n];
        for i in 0..n {
            w[place(i) * n + place(i)] = 0.6;
            w[place(i) * n + place(i ^ 1)] = if i % 2 == 0 { -0.8 } else { 0.8 };
            if i + 2 < n {
                w[place(i) * n + place(i + 2)] = 1.0;
            }
        }
        if n % 7 != 0 {
            is("Jordan block of a pair", radius(&ctx, n, &w), 1.0, 1e-5);
        }
    }
    assert_eq!(radius(&ctx, 1, &[-3.0]).value, 3.0);
    assert_eq!(radius(&ctx, 0, &[]).value, 0.0);
    assert_eq!(radius(&ctx, 2, &[1.0, 1.0, -1.0, -1.0]).value, 0.0, "its square is 0");
}

#[test]
fn radii_of_complex_pairs_far_from_normal() {
    let ctx = fast();
    let mut rng = Rng::new(1);
    for _ in 0..samples(200) {
        // a ± √(bc), with b and c as unlike as may be.
        let (a, b, c) = (rng.normal(), rng.uniform(1.0, 1000.0), -rng.uniform(1e-3, 1.0));
        let w = [a, b, c, a];
        let square = b as f64 * c as f64;
        is("pair", radius(&ctx, 2, &w), ((a as f64).powi(2) - square).sqrt(), 1e-4);
    }
    // Blocks of rotation and growth above the diagonal, under a similarity that hides them.
    for (n, angle) in [(6, 0.3), (12, 1.0), (20, std::f64::consts::TAU / 3.0)] {
        let mut a = vec![0.0; n * n];
        for i in (0..n).step_by(2) {
            let r = if i == 0 { 1.1 } else { 0.7 };
            (a[i * n + i], a[i * n + i + 1]) = (r * angle.cos(), -r * angle.sin());
            (a[(i + 1) * n + i], a[(i + 1) * n + i + 1]) = (r * angle.sin(), r * angle.cos());
            for j in i + 2..n {
                a[i * n + j] = 0.1;
                a[(i + 1) * n + j] = -0.05;
            }
        }
        // Rounding to f32 moves eigenvalues by as much as their condition says; 1.1 stands alone.
        is("turned blocks", radius(&ctx, n, &turned(n, &a, 2)), 1.1, 1e-4);
    }
}

#[test]
fn radii_at_any_scale_and_of_rows_apart() {
    let ctx = fast();
    let n = 30;
    let w = normal(n, n, 4);
    let want = radius(&ctx, n, &w);
    for scale in [1e30f32, 1e-30, 1e37] {
        let scaled: Vec<f32> = w.iter().map(|x| x * scale).collect();
        is("scaled", radius(&ctx, n, &scaled), want.value * scale as f64, 1e-5);
    }
    let mut apart = vec![f32::NAN; n * 37 - 7];
    for i in 0..n {
        apart[i * 37..i * 37 + n].copy_from_slice(&w[i * n..(i + 1) * n]);
    }
    assert_eq!(spectral_radius_f32(&ctx, n, &apart, 37, 0).expect("radius"), want);
    // ρ ≤ ‖W‖, and of a normal matrix of independent entries about √n.
    assert!(want.value <= norm(&ctx, n, n, &w, 1e-9).value && (0.6..1.5).contains(&(want.value / 30f64.sqrt())));
}

#[test]
fn what_does_not_converge_says_so() {
    let ctx = fast();
    let w = normal(50, 50, 1);
    let exact = norm(&ctx, 50, 50, &w, 1e-12).value;
    let mut last = 0.0;
    for k in 1..8 {
        let got = spectral_norm_f32(&ctx, 50, 50, &w, 50, k, 1e-9).expect("norm");
        assert!(!got.converged && got.iterations == k && got.value > last && got.value < exact, "{got:?}");
        last = got.value;
    }
    let got = spectral_radius_f32(&ctx, 50, &w, 50, 3).expect("radius");
    assert!(!got.converged && got.iterations == 3 && got.value >= 0.5 * radius(&ctx, 50, &w).value, "{got:?}");
    for bad in [f32::NAN, f32::INFINITY] {
        let mut w = w.clone();
        w[777] = bad;
        let got = norm(&ctx, 50, 50, &w, 1e-6);
        assert!(!got.converged && got.value.is_nan(), "{got:?}");
        let got = radius(&ctx, 50, &w);
        assert!(!got.converged && got.value.is_nan(), "{got:?}");
    }
}

#[cfg(unix)]
#[test]
fn nothing_past_the_matrix_is_read() {
    let ctx = context(isas().next().expect("one"), 1);
    for cols in (1..=33).chain([100]) {
        for rows in [1, 3, 4, 5, 9] {
            let w = normal(rows, cols, 1);
            let want = norm(&ctx, rows, cols, &w, 1e-6);
            for place in [Guarded::at_end, Guarded::at_start] {
                assert_eq!(norm(&ctx, rows, cols, &place(&w), 1e-6), want);
            }
        }
    }
}

#[test]
fn bad_arguments_are_refused() {
    let ctx = specification();
    let w = [1.0; 12];
    let refuse = |want: &str, result: evenkeel::Result<Spectral>| {
        let error = result.expect_err(want);
        assert!(error.to_string().contains(want), "{error}");
        matches!(error, Error::InvalidSize { .. })
    };
    assert!(refuse("ldw is 3 but rows of w hold 4", spectral_norm_f32(&ctx, 3, 4, &w, 3, 0, 0.1)));
    assert!(refuse("w holds 12 elements, expected at least 14", spectral_norm_f32(&ctx, 3, 4, &w, 5, 0, 0.1)));
    assert!(!refuse("tolerance is NaN", spectral_norm_f32(&ctx, 3, 4, &w, 4, 0, f64::NAN)));
    assert!(refuse("w holds 12", spectral_radius_f32(&ctx, 4, &w, 4, 0)));
    let act = Activation::Celu;
    assert!(refuse("z_prev holds 3", jacobian_norm_f32(&ctx, act, 1.0, 3, 4, &w, &w[..3], 0, 0.1)));
    assert!(refuse("w holds 12", jacobian_norm_f32(&ctx, act, 1.0, 4, 4, &w, &w[..4], 0, 0.1)));
    assert!(!refuse("act_param is 0", jacobian_norm_f32(&ctx, act, 0.0, 3, 4, &w, &w[..4], 0, 0.1)));
}
