//! What a deep network is made of: one choice from each of four lists.

use evenkeel::Activation;
use evenkeel::init::{Distribution, init_he_f32, init_orthogonal_f32, init_uniform_f32, init_xavier_f32};
use evenkeel::{Context, Result};

/// Whitepaper §5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Sigmoid,
    Tanh,
    Relu,
    LeakyRelu,
}

/// Whitepaper §10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    Naive,
    Xavier,
    He,
    Orthogonal,
}

/// Whitepaper §12, §13.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Norm {
    None,
    Batch,
    Layer,
}

/// Whitepaper §14, §15.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    Plain,
    Residual,
    Highway,
}

/// One layer: h ↦ F(h) = φ(norm(W·h)), h + F(h), or σ(g)·F(h) + (1 − σ(g))·h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recipe {
    pub act: Act,
    pub start: Start,
    pub norm: Norm,
    pub path: Path,
}

impl Act {
    pub const ALL: [Act; 4] = [Act::Sigmoid, Act::Tanh, Act::Relu, Act::LeakyRelu];

    pub fn name(self) -> &'static str {
        match self {
            Act::Sigmoid => "sigmoid",
            Act::Tanh => "tanh",
            Act::Relu => "ReLU",
            Act::LeakyRelu => "leaky ReLU",
        }
    }

    /// The activation and its parameter, as evenkeel takes them.
    pub fn phi(self) -> (Activation, f32) {
        match self {
            Act::Sigmoid => (Activation::Sigmoid, 0.0),
            Act::Tanh => (Activation::Tanh, 0.0),
            Act::Relu => (Activation::Relu, 0.0),
            Act::LeakyRelu => (Activation::LeakyRelu, 0.1),
        }
    }

    /// What keeps the second moment through φ of a rectifier; 1 for the others.
    fn gain(self) -> f32 {
        match self {
            Act::Sigmoid | Act::Tanh => 1.0,
            Act::Relu | Act::LeakyRelu => (2.0 / (1.0 + self.phi().1.powi(2))).sqrt(),
        }
    }
}

impl Start {
    pub const ALL: [Start; 4] = [Start::Naive, Start::Xavier, Start::He, Start::Orthogonal];

    pub fn name(self) -> &'static str {
        match self {
            Start::Naive => "naive",
            Start::Xavier => "Xavier",
            Start::He => "He",
            Start::Orthogonal => "orthogonal",
        }
    }

    /// Fills a square matrix of `width`² weights.
    pub fn draw(self, ctx: &Context, seed: u64, stream: u64, act: Act, width: usize, w: &mut [f32]) -> Result {
        let normal = Distribution::Normal;
        match self {
            // What many libraries do unasked: uniform within 1/√n, which has a third of Xavier's variance.
            Start::Naive => {
                let a = 1.0 / (width as f32).sqrt();
                init_uniform_f32(ctx, seed, stream, -a, a, w)
            }
            Start::Xavier => init_xavier_f32(ctx, seed, stream, normal, 1.0, width, width, w),
            Start::He => init_he_f32(ctx, seed, stream, normal, act.phi().1, width, w),
            Start::Orthogonal => init_orthogonal_f32(ctx, seed, stream, act.gain(), width, width, w),
        }
    }
}

impl Norm {
    pub const ALL: [Norm; 3] = [Norm::None, Norm::Batch, Norm::Layer];

    pub fn name(self) -> &'static str {
        match self {
            Norm::None => "no norm",
            Norm::Batch => "batch norm",
            Norm::Layer => "layer norm",
        }
    }
}

impl Path {
    pub const ALL: [Path; 3] = [Path::Plain, Path::Residual, Path::Highway];

    pub fn name(self) -> &'static str {
        match self {
            Path::Plain => "plain",
            Path::Residual => "residual",
            Path::Highway => "highway",
        }
    }
}

impl Recipe {
    /// All 144, in the order of the lists.
    pub fn all() -> Vec<Recipe> {
        let mut all = Vec::new();
        for path in Path::ALL {
            for norm in Norm::ALL {
                for act in Act::ALL {
                    all.extend(Start::ALL.map(|start| Recipe { act, start, norm, path }));
                }
            }
        }
        all
    }
}
