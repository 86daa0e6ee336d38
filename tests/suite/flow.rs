//! The verdict on gradients of real chains of layers, as the kernels compute them.

use crate::common::{Rng, context, isas};
use evenkeel::linear::{linear_backward_input_f32, linear_forward_f32};
use evenkeel::monitor::{FlowReport, FlowVerdict, gradient_flow};
use evenkeel::optim::grad_norm_f32;
use evenkeel::{Activation, Context};

const WIDTH: usize = 24;
const BATCH: usize = 8;

/// ‖∂L/∂z‖ of each of `layers` equal layers under a gradient of ones, from input to output.
fn chain(ctx: &Context, act: Activation, layers: usize, w: &[f32]) -> FlowReport {
    let mut rng = Rng::new(9);
    let mut x = rng.vec(BATCH * WIDTH, |r| r.normal());
    let mut z = vec![vec![0.0f32; BATCH * WIDTH]; layers];
    for z in &mut z {
        let mut y = vec![0.0; BATCH * WIDTH];
        linear_forward_f32(ctx, act, 0.0, BATCH, WIDTH, WIDTH, &x, w, None, Some(z), &mut y).unwrap();
        x = y;
    }
    let mut delta = vec![1.0f32; BATCH * WIDTH];
    let mut norms = vec![0.0; layers];
    for l in (0..layers).rev() {
        norms[l] = grad_norm_f32(ctx, &[&delta], None).unwrap();
        if l > 0 {
            let mut below = vec![0.0; BATCH * WIDTH];
            linear_backward_input_f32(ctx, act, 0.0, BATCH, WIDTH, WIDTH, &delta, w, Some(&z[l - 1]), &mut below)
                .unwrap();
            delta = below;
        }
    }
    gradient_flow(&norms).unwrap()
}

/// A permutation times α: each layer changes a norm by exactly α.
fn permutation(alpha: f32) -> Vec<f32> {
    let mut w = vec![0.0; WIDTH * WIDTH];
    (0..WIDTH).for_each(|i| w[i * WIDTH + (i * 7 + 3) % WIDTH] = alpha);
    w
}

#[test]
fn linear_chains_have_their_rate() {
    let ctx = context(isas().next().unwrap(), 1);
    for (alpha, layers, verdict) in [
        (1.0, 60, FlowVerdict::Healthy),
        (0.5, 30, FlowVerdict::Vanishing),
        (0.9, 20, FlowVerdict::Healthy),
        (0.9, 100, FlowVerdict::Vanishing),
        (2.0, 30, FlowVerdict::Exploding),
        (1.25, 40, FlowVerdict::Exploding),
    ] {
        let report = chain(&ctx, Activation::Identity, layers, &permutation(alpha));
        assert_eq!(report.verdict, verdict, "{alpha}, {layers}: {report:?}");
        assert!((report.rate / alpha as f64 - 1.0).abs() < 1e-6, "{alpha}: {report:?}");
    }
    // A gradient that leaves f32 on its way is not finite any more, one that ends in zeros has vanished.
    let report = chain(&ctx, Activation::Identity, 60, &permutation(8.0));
    assert_eq!(report.verdict, FlowVerdict::Nonfinite, "{report:?}");
    let report = chain(&ctx, Activation::Identity, 90, &permutation(0.25));
    assert_eq!(report.verdict, FlowVerdict::Vanishing, "{report:?}");
}

#[test]
fn networks_vanish_and_explode_as_their_weights_say() {
    let ctx = context(isas().next().unwrap(), 1);
    let mut rng = Rng::new(1);
    let mut weights = |gain: f32| rng.vec(WIDTH * WIDTH, |r| gain * r.normal() / (WIDTH as f32).sqrt());
    // σ' is at most a quarter.
    let report = chain(&ctx, Activation::Sigmoid, 16, &weights(1.0));
    assert!(report.verdict == FlowVerdict::Vanishing && report.rate < 0.35 && report.worst_layer == 0, "{report:?}");
    let report = chain(&ctx, Activation::Identity, 16, &weights(4.0));
    assert!(report.verdict == FlowVerdict::Exploding && report.rate > 2.0 && report.worst_layer == 0, "{report:?}");
    // ReLU and He's √2 keep a gradient alive.
    let report = chain(&ctx, Activation::Relu, 8, &weights(2f32.sqrt()));
    assert_eq!(report.verdict, FlowVerdict::Healthy, "{report:?}");
    // Units that are all off pass nothing on: dead, not vanishing.
    let report = chain(&ctx, Activation::Relu, 4, &vec![0.0; WIDTH * WIDTH]);
    assert_eq!(report.verdict, FlowVerdict::Dead, "{report:?}");
}
