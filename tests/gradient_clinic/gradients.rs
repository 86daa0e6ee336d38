//! The networks' gradients are those of their losses: derivatives along a direction against central differences.

use crate::digits;
use crate::patient::Patient;
use crate::recipe::{Act, Norm, Path, Recipe, Start};
use crate::stack::Stack;
use crate::transformer::{Order, Size, Transformer};
use evenkeel::Context;
use evenkeel::init::init_normal_f32;
use evenkeel::loss::cross_entropy_f32;

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum()
}

/// L = c·h[depth] for a random c. Sigmoid and tanh alone are smooth enough for differences.
#[test]
fn a_stacks_gradient_is_the_derivative_along_any_direction() {
    let ctx = Context::builder().num_threads(1).build().unwrap();
    let (batch, width, depth) = (8, 16, 3);
    let random = |stream| {
        let mut x = vec![0.0; batch * width];
        init_normal_f32(&ctx, 5, stream, 0.0, 1.0, &mut x).unwrap();
        x
    };
    let (x, c, direction) = (random(1), random(2), random(3));
    let mut stack = Stack::new(batch, width, depth);
    for act in [Act::Sigmoid, Act::Tanh] {
        for (norm, path) in Norm::ALL.into_iter().flat_map(|n| Path::ALL.map(|p| (n, p))) {
            stack.start(&ctx, 7, Recipe { act, start: Start::He, norm, path }, depth).unwrap();
            let mut loss = |step: f32| {
                for (h, (x, d)) in stack.h[0].iter_mut().zip(x.iter().zip(&direction)) {
                    *h = x + step * d;
                }
                stack.forward(&ctx).unwrap();
                dot(&c, &stack.h[depth])
            };
            let step = 1e-2;
            let difference = (loss(step) - loss(-step)) / (2.0 * step as f64);
            loss(0.0);
            let (mut dy, mut dx) = (c.clone(), vec![0.0; batch * width]);
            for l in (0..depth).rev() {
                stack.layer_backward(&ctx, l, &dy, &mut dx).unwrap();
                std::mem::swap(&mut dy, &mut dx);
            }
            let derivative = dot(&dy, &direction);
            // Third derivatives of three such layers are some tens; c and the direction have norm 11.
            assert!(
                (difference - derivative).abs() < 1e-2 * (1.0 + derivative.abs()),
                "{act:?} {norm:?} {path:?}: {difference} {derivative}"
            );
        }
    }
}

/// Along the gradient itself the derivative is its norm.
#[test]
fn a_transformers_gradient_is_that_of_its_loss() {
    let ctx = Context::builder().num_threads(1).build().unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.csv");
    let digits = digits::load(std::path::Path::new(path)).unwrap();
    let patient = Patient::new(&ctx, 1, &digits).unwrap();
    let images = &patient.split.train[..8];
    let labels = patient.labels(images);
    for order in [Order::Pre, Order::Post] {
        let mut model = Transformer::new(&ctx, 1, order, Size::new(2, 2, 4)).unwrap();
        let logits = model.forward(&ctx, &patient, images).unwrap();
        model.backward(&ctx, &logits, &labels).unwrap();
        let (start, grads) = (model.params.clone(), model.grads.clone());
        // Each tensor by itself, so that none hides behind a larger one.
        for (t, grad) in grads.iter().enumerate() {
            let norm = dot(grad, grad).sqrt();
            let mut loss = |step: f64| {
                model.params = start.clone();
                for (p, g) in model.params[t].iter_mut().zip(grad) {
                    *p += (step / norm.max(1e-9) * *g as f64) as f32;
                }
                let logits = model.forward(&ctx, &patient, images).unwrap();
                let mut loss = 0.0;
                let (rows, classes) = (labels.len(), digits::CLASSES);
                cross_entropy_f32(&ctx, 0.0, -1, 1.0, rows, classes, &logits, &labels, None, Some(&mut loss), None)
                    .unwrap();
                loss
            };
            let step = 1e-2;
            let difference = (loss(step) - loss(-step)) / (2.0 * step);
            // f32 rounds the loss to 1e-7 or so, and 1e-2 is the step; the rest is the third derivative.
            assert!((difference - norm).abs() < 2e-2 * norm + 1e-4, "tensor {t}: {difference} {norm}");
        }
    }
}
