//! Update rules against PyTorch's, step by step, as recorded by scripts/torch_optimizers.py.

use crate::common::{context, isas};
use evenkeel::Context;
use evenkeel::optim::*;

const RECORD: &str = include_str!("data/torch_optimizers.txt");

/// 100 steps of PyTorch may differ by this much, of parameters of magnitude 1.
const TOLERANCE: f32 = 1e-6;

fn numbers(words: &str) -> Vec<f32> {
    words.split(' ').map(|w| f32::from_bits(u32::from_str_radix(w, 16).expect("hexadecimal"))).collect()
}

/// One case: the optimizer, its options, and the parameters after some steps.
struct Case<'a> {
    name: &'a str,
    options: Vec<(&'a str, &'a str)>,
    after: Vec<(u64, Vec<f32>)>,
}

impl Case<'_> {
    fn number(&self, key: &str, default: f64) -> f64 {
        self.options.iter().find(|(k, _)| *k == key).map_or(default, |(_, v)| v.parse().expect("a number"))
    }
    fn flag(&self, key: &str) -> bool {
        self.options.contains(&(key, "True"))
    }

    /// One step on parameters w, states a, b, c.
    fn step(&self, ctx: &Context, step: u64, w: &mut [f32], g: &[f32], [a, b, c]: [&mut [f32]; 3]) {
        let lr = self.number("lr", 0.0);
        let weight_decay = self.number("weight_decay", 0.0);
        let momentum = self.number("momentum", 0.0);
        let clip = match self.number("clip", 0.0) {
            0.0 => ClipOptions::default(),
            c => ClipOptions { mode: ClipMode::GlobalNorm, threshold: c as f32, ..Default::default() },
        };
        let (w, g) = (&mut [w][..], &[g][..]);
        match self.name {
            "sgd" => {
                let dampening = self.number("dampening", 0.0);
                let (nesterov, first_step) = (self.flag("nesterov"), step == 1);
                let o =
                    SgdOptions { lr, momentum, dampening, weight_decay, nesterov, first_step, stochastic_seed: None };
                clip_sgd_f32(ctx, &clip, &o, w, g, Some(&mut [a]))
            }
            "adam" | "adamw" => {
                let (eps, beta2) = (self.number("eps", 1e-8), self.number("beta2", 0.999));
                let decoupled = self.name == "adamw";
                let o = AdamOptions { lr, weight_decay, eps, beta2, decoupled, step, ..Default::default() };
                clip_adam_f32(ctx, &clip, &o, w, g, &mut [a], &mut [b])
            }
            "rmsprop" => {
                let (alpha, centered) = (self.number("alpha", 0.99), self.flag("centered"));
                let o = RmspropOptions { lr, weight_decay, alpha, centered, momentum, ..Default::default() };
                clip_rmsprop_f32(ctx, &clip, &o, w, g, &mut [a], Some(&mut [b]), Some(&mut [c]))
            }
            "adagrad" => {
                let lr_decay = self.number("lr_decay", 0.0);
                let o = AdagradOptions { lr, lr_decay, weight_decay, step, ..Default::default() };
                clip_adagrad_f32(ctx, &clip, &o, w, g, &mut [a])
            }
            other => panic!("{other}?"),
        }
        .unwrap();
    }
}

#[test]
fn a_hundred_steps_are_pytorchs() {
    let (mut start, mut gradients, mut cases) = (Vec::new(), Vec::new(), Vec::<Case<'_>>::new());
    for line in RECORD.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').expect("a kind and its numbers");
        match kind {
            "start" => start = numbers(rest),
            "gradient" => gradients.push(numbers(rest)),
            "case" => {
                let (name, options) = rest.split_once(' ').expect("a name and options");
                let options = options.split(' ').map(|o| o.split_once('=').expect("key=value")).collect();
                cases.push(Case { name, options, after: Vec::new() });
            }
            "after" => {
                let (step, w) = rest.split_once(' ').expect("a step and parameters");
                let after = (step.parse().expect("a step"), numbers(w));
                cases.last_mut().expect("a case").after.push(after);
            }
            other => panic!("{other}?"),
        }
    }
    assert_eq!((gradients.len(), cases.len()), (100, 16));
    for ctx in isas().map(|isa| context(isa, 1)) {
        for case in &cases {
            let mut w = start.clone();
            let [mut a, mut b, mut c] = [0; 3].map(|_| vec![0.0; w.len()]);
            let mut seen = 0;
            for (step, g) in (1..).zip(&gradients) {
                case.step(&ctx, step, &mut w, g, [&mut a, &mut b, &mut c]);
                for (_, want) in case.after.iter().filter(|(at, _)| *at == step) {
                    seen += 1;
                    for (got, want) in w.iter().zip(want) {
                        let what = (case.name, &case.options, step, ctx.isa().name());
                        assert!(
                            (got - want).abs() <= TOLERANCE * want.abs().max(1.0),
                            "{what:?}: {got:e}, not {want:e}"
                        );
                    }
                }
            }
            assert_eq!(seen, 6);
        }
    }
}
