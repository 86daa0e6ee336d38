//! Highway connections: the specification's bits, truth where gates are shut, ends of buffers.

use crate::common::*;
use evenkeel::gate::*;
use evenkeel::{Context, Error};

fn forward(ctx: &Context, [g, h, x]: [&[f32]; 3]) -> Vec<f32> {
    let mut y = vec![f32::NAN; g.len()];
    highway_forward_f32(ctx, g, h, x, &mut y).expect("forward");
    y
}

fn backward(ctx: &Context, [g, h, x, dy]: [&[f32]; 4]) -> [Vec<f32>; 3] {
    let [mut dg, mut dh, mut dx] = [(); 3].map(|()| vec![f32::NAN; g.len()]);
    highway_backward_f32(ctx, g, h, x, dy, &mut dg, &mut dh, &mut dx).expect("backward");
    [dg, dh, dx]
}

fn sigma(z: f64) -> f64 {
    if z < 0.0 { z.exp() / (1.0 + z.exp()) } else { 1.0 / (1.0 + (-z).exp()) }
}

#[test]
fn every_instruction_set_and_thread_count_gives_the_specifications_bits() {
    for n in (0..=34).chain([1000, 16_384, 16_389, 70_003]) {
        let mut rng = Rng::new(n as u64);
        for kind in 0..2 {
            let gates = rng.vec(n + 3, |r| if kind == 0 { r.any_f32() } else { 20.0 * r.normal() });
            let [h, x, dy] = [(); 3].map(|()| rng.vec(n + 3, |r| if kind == 0 { r.any_f32() } else { r.normal() }));
            // Unaligned, and each in its own way.
            let inputs = [&gates[1..n + 1], &h[2..n + 2], &x[3..n + 3], &dy[..n]];
            let want_y = forward(&specification(), [inputs[0], inputs[1], inputs[2]]);
            let want = backward(&specification(), inputs);
            for ctx in exact_contexts() {
                let what = format!("{n} {ctx:?}");
                assert_same_bits(&what, &forward(&ctx, [inputs[0], inputs[1], inputs[2]]), &want_y);
                for (got, want) in backward(&ctx, inputs).iter().zip(&want) {
                    assert_same_bits(&what, got, want);
                }
            }
        }
    }
}

#[test]
fn tensors_beyond_the_caches_have_the_bits_of_small_ones() {
    let n = (4 << 20) + 37;
    let mut rng = Rng::new(5);
    let [g, h, x, dy] = [(); 4].map(|()| repeated(&mut rng, n, |r| 4.0 * r.normal()));
    let ctx = context(isas().next().expect("one"), 2);
    let want_y: Vec<f32> = (0..n)
        .step_by(10_000)
        .flat_map(|i| {
            let r = i..n.min(i + 10_000);
            forward(&ctx, [&g[r.clone()], &h[r.clone()], &x[r]])
        })
        .collect();
    let mut want: [Vec<f32>; 3] = Default::default();
    for i in (0..n).step_by(10_000) {
        let r = i..n.min(i + 10_000);
        let part = backward(&ctx, [&g[r.clone()], &h[r.clone()], &x[r.clone()], &dy[r]]);
        want.iter_mut().zip(part).for_each(|(want, part)| want.extend(part));
    }
    // Outputs aligned alike, at an odd place, and each in its own way.
    for offsets in [[1, 0, 7], [5, 5, 5], [0, 0, 0]].into_iter().take(if quick() { 2 } else { 3 }) {
        let mut room = [(); 3].map(|()| vec![f32::NAN; n + 7]);
        let [a, b, c] = &mut room;
        let [a, b, c] = [&mut a[offsets[0]..][..n], &mut b[offsets[1]..][..n], &mut c[offsets[2]..][..n]];
        highway_forward_f32(&ctx, &g, &h, &x, a).expect("forward");
        assert_same_bits("y", a, &want_y);
        highway_backward_f32(&ctx, &g, &h, &x, &dy, a, b, c).expect("backward");
        for (got, want) in [a, b, c].into_iter().zip(&want) {
            assert_same_bits("gradients", got, want);
        }
    }
}

#[cfg(unix)]
#[test]
fn nothing_past_the_ends_is_touched() {
    let ctx = context(isas().next().expect("one"), 1);
    for n in (1..=33).chain([1000]) {
        let mut rng = Rng::new(n as u64);
        for place in [Guarded::at_end, Guarded::at_start] {
            let values = [(); 7].map(|()| rng.vec(n, |r| r.normal()));
            let [g, h, x, dy, mut a, mut b, mut c] = values.each_ref().map(|v| place(v));
            highway_forward_f32(&ctx, &g, &h, &x, &mut a).expect("forward");
            highway_backward_f32(&ctx, &g, &h, &x, &dy, &mut a, &mut b, &mut c).expect("backward");
        }
    }
}

/// Gates from wide open to shut so far that σ is subnormal.
fn gates(rng: &mut Rng, n: usize) -> Vec<f32> {
    let every = (-1040..=1040).map(|i| i as f32 / 10.0);
    let mut gates: Vec<f32> = every.chain([0.0, -0.0, 1e-30, -1e-30, 1e-45]).collect();
    gates.extend(rng.vec(n, |r| r.binades(-30, 5)));
    gates.extend(rng.vec(n, |r| r.uniform(-104.0, 104.0)));
    gates
}

#[test]
fn the_gate_and_its_carry_are_true_however_far_it_is_shut() {
    let mut worst = 0f64;
    for ctx in contexts() {
        let ulps = if ctx.isa().is_fused() { 3.0 } else { 4.0 };
        let g = gates(&mut Rng::new(1), samples(100_000));
        let (zero, one) = (vec![0.0; g.len()], vec![1.0; g.len()]);
        let opens = forward(&ctx, [&g, &one, &zero]);
        let carries = forward(&ctx, [&g, &zero, &one]);
        for ((g, open), carry) in g.iter().zip(opens).zip(carries) {
            for (got, want) in [(open, sigma(*g as f64)), (carry, sigma(-*g as f64))] {
                let error = ulp_error(got, want);
                assert!(error <= ulps, "{ctx:?}: gate {g}: {got:e}, expected {want:e}: {error} ULP");
                worst = worst.max(error);
            }
        }
    }
    assert!(worst > 0.3, "an error this small means that nothing was compared: {worst}");
}

#[test]
fn gradients_are_those_of_the_formula_in_f64() {
    const ULP: f64 = 1.1920929e-7; // 2⁻²³
    for ctx in contexts() {
        let ulps = if ctx.isa().is_fused() { 1.0 } else { 1.5 };
        let mut rng = Rng::new(2);
        let g = gates(&mut rng, samples(50_000));
        for scale in [1.0, 65_536.0, 1e-20] {
            let [h, x] = [(); 2].map(|()| rng.vec(g.len(), |r| r.normal()));
            let dy = rng.vec(g.len(), |r| scale * r.normal());
            let [h64, x64, dy64] = [&h, &x, &dy].map(|v| v.iter().map(|v| *v as f64).collect::<Vec<_>>());
            let y = forward(&ctx, [&g, &h, &x]);
            let [dg, dh, dx] = backward(&ctx, [&g, &h, &x, &dy]);
            for i in 0..g.len() {
                let (open, carry) = (sigma(g[i] as f64), sigma(-g[i] as f64));
                // Below the smallest float a result, or a factor of one, has no digits to lose.
                let floor = 2f64.powi(-149);
                let close = |what: &str, got: f32, want: f64, size: f64, bound: f64, floor: f64| {
                    let error = (got as f64 - want).abs();
                    let allowed = ulps * bound * ULP * size + floor;
                    assert!(error <= allowed, "{what} at {}: {got:e}, expected {want:e}, error {error:e}", g[i]);
                };
                let (oh, cx) = (open * h64[i], carry * x64[i]);
                close(
                    "y",
                    y[i],
                    oh + cx,
                    oh.abs().max(cx.abs()),
                    5.0,
                    4.0 * floor * (1.0 + h64[i].abs() + x64[i].abs()),
                );
                let loose = 2.0 * floor * (1.0 + dy64[i].abs());
                close("dh", dh[i], dy64[i] * open, (dy64[i] * open).abs(), 4.0, loose);
                close("dx", dx[i], dy64[i] * carry, (dy64[i] * carry).abs(), 4.0, loose);
                let difference = (h[i] - x[i]) as f64;
                let want = dy64[i] * difference * open * carry;
                close("dgate_z", dg[i], want, want.abs(), 8.0, 2.0 * floor * (1.0 + (dy64[i] * difference).abs()));
            }
        }
    }
}

#[test]
fn the_formula_is_the_derivative() {
    let mut rng = Rng::new(3);
    for _ in 0..1000 {
        let [g, h, x] = rng.array::<_, 3>(|r| 2.0 * r.normal()).map(f64::from);
        let y = |g: f64, h: f64, x: f64| sigma(g) * h + sigma(-g) * x;
        let e = 1e-6;
        let numeric = [
            (y(g + e, h, x) - y(g - e, h, x)) / (2.0 * e),
            (y(g, h + e, x) - y(g, h - e, x)) / (2.0 * e),
            (y(g, h, x + e) - y(g, h, x - e)) / (2.0 * e),
        ];
        let [g, h, x] = [g, h, x].map(|v| [v as f32]);
        let got = backward(&specification(), [&g, &h, &x, &[1.0]]);
        for (got, want) in got.iter().zip(numeric) {
            assert!((got[0] as f64 - want).abs() < 1e-6, "{got:?}, expected {want}");
        }
    }
}

#[test]
fn limits() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for ctx in contexts() {
        assert_eq!(forward(&ctx, [&[inf, -inf, 500.0, -500.0], &[2.0; 4], &[3.0; 4]]), [2.0, 3.0, 2.0, 3.0]);
        assert!(forward(&ctx, [&[nan, 0.0, 0.0], &[1.0, nan, 1.0], &[1.0, 1.0, nan]]).iter().all(|y| y.is_nan()));
        // Between h and x, also where their sum is beyond the floats.
        let y = forward(&ctx, [&[0.0, 0.0, 0.1], &[f32::MAX, 3e38, -3e38], &[f32::MAX, 3e38, -3e38]]);
        assert!(y.iter().all(|y| y.is_finite()), "{y:?}");
        let [dg, dh, dx] = backward(&ctx, [&[-inf, inf], &[2.0, 2.0], &[3.0, 3.0], &[1.0, 1.0]]);
        assert_eq!((dg, dh, dx), (vec![0.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0]));
    }
}

#[test]
fn lengths_that_differ_are_refused_before_anything_is_written() {
    let ctx = specification();
    let mut y = [7.0; 4];
    let refuse = |want: &str, result: evenkeel::Result| {
        let error = result.expect_err(want);
        assert!(matches!(error, Error::InvalidSize { .. }) && error.to_string().contains(want), "{error}");
    };
    let (four, three) = ([0.0; 4], [0.0; 3]);
    refuse("highway_forward_f32: h holds 3", highway_forward_f32(&ctx, &four, &three, &four, &mut y));
    refuse("x holds 3", highway_forward_f32(&ctx, &four, &four, &three, &mut y));
    refuse("y holds 4 elements, expected 3", highway_forward_f32(&ctx, &three, &three, &three, &mut y));
    let (mut a, mut b) = ([7.0; 4], [7.0; 3]);
    refuse("dy holds 3", highway_backward_f32(&ctx, &four, &four, &four, &three, &mut y, &mut a, &mut [7.0; 4]));
    refuse("dh holds 3", highway_backward_f32(&ctx, &four, &four, &four, &four, &mut y, &mut b, &mut a));
    refuse("dx holds 3", highway_backward_f32(&ctx, &four, &four, &four, &four, &mut y, &mut a, &mut b));
    assert_eq!((y, a, b), ([7.0; 4], [7.0; 4], [7.0; 3]));
}
