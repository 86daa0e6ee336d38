//! How far back a network remembers: RNN, GRU and LSTM on two tasks whose answer was heard long ago (whitepaper §7, §11,
//! §16).
//!
//! ```sh
//! cargo run --release --example long_memory
//! ```
//!
//! It prints, for each network, with and without clipping, the gradient's rate per step before and after training, what
//! clipping met, and how many answers are right; then an RNN's rate against the spectral radius of its W_hh. The norm of
//! the gradient at every step is plotted to target/long_memory.svg, or to the path that is given.

#[allow(dead_code, reason = "another example's loader")]
#[path = "../common/digits.rs"]
mod digits;
mod model;
mod plot;
mod tasks;

use evenkeel::Context;
use evenkeel::monitor::gradient_flow;
use evenkeel::optim::{ClipMode, ClipOptions};
use model::{Kind, Model, Shape, spectral_radius};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tasks::{BATCH, Random, Task};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("long_memory: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut args = std::env::args_os().skip(1);
    let out = args.next().map_or(PathBuf::from("target/long_memory.svg"), PathBuf::from);
    if args.next().is_some() || out.to_str().is_some_and(|path| path.starts_with('-')) {
        return Err("expected at most one argument, the path of the plot".into());
    }
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.csv"));
    let digits = digits::load(data).map_err(|e| e.to_string())?;
    let ctx = Context::builder().build()?;

    println!(
        "{:<8}{:<6}{:>9}{:>12}{:>12}{:>12}{:>14}{:>9}",
        "task", "net", "clip", "α before", "α trained", "ρ trained", "largest norm", "right"
    );
    let mut lines = Vec::new();
    for task in [Task::Adding(100), Task::Digits(&digits)] {
        for kind in Kind::ALL {
            for clip in [None, Some(1.0)] {
                let o = train(&ctx, &task, kind, clip)?;
                let clip_text = clip.map_or("none".into(), |c| format!("{c}"));
                println!(
                    "{:<8}{:<6}{clip_text:>9}{:>12.3}{:>12.3}{:>12.3}{:>14.2}{:>8.1}%",
                    task.name(),
                    kind.name(),
                    rate(&o.before)?,
                    rate(&o.after)?,
                    o.radius,
                    o.largest,
                    100.0 * o.accuracy
                );
                if clip.is_some() && matches!(task, Task::Adding(_)) {
                    lines.push(plot::Line { name: kind.name(), norms: [o.before, o.after] });
                }
            }
        }
    }

    println!("\nAn RNN of 64 units over 300 steps, small inputs: the rate is the spectral radius of W_hh.");
    println!("{:>10}{:>10}{:>16}", "ρ", "α", "‖∂L/∂h_0‖");
    let mut rates = Vec::new();
    for radius in [0.3, 0.5, 0.7, 0.85, 0.95, 1.0, 1.05] {
        let norms = still_rnn(&ctx, radius)?;
        println!("{radius:>10.2}{:>10.3}{:>16.1e}", rate(&norms)?, norms[0]);
        rates.push((radius, rate(&norms)?));
    }
    let svg = plot::draw(&lines, &rates)?;
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&out, svg)?;
    println!("\nThe plot: {}", out.display());
    Ok(())
}

/// α of ‖∂L/∂h_t‖ ~ α^(steps to the end).
fn rate(norms: &[f64]) -> Result<f64, Failure> {
    Ok(gradient_flow(norms)?.rate)
}

struct Outcome {
    before: Vec<f64>,
    after: Vec<f64>,
    radius: f64,
    /// The largest gradient norm that a step met.
    largest: f64,
    accuracy: f64,
}

fn train(ctx: &Context, task: &Task<'_>, kind: Kind, clip: Option<f32>) -> Result<Outcome, Failure> {
    let (hidden, steps, lr) = match task {
        Task::Adding(_) => (48, 700, 4e-3),
        Task::Digits(_) => (64, 700, 3e-3),
    };
    let mut model = Model::new(ctx, kind, task.shape(hidden), 1)?;
    let clip = match clip {
        Some(threshold) => ClipOptions { mode: ClipMode::GlobalNorm, threshold, ..ClipOptions::default() },
        None => ClipOptions::default(),
    };
    let (mut random, mut dout) = (Random(7), vec![0.0; model.out.len()]);
    let (mut before, mut largest) = (Vec::new(), 0.0f64);
    for step in 0..steps {
        let batch = task.batch(&mut random);
        model.forward(ctx, &batch.x)?;
        task.loss(ctx, &batch, &model.out, &mut dout)?;
        model.backward(ctx, &batch.x, &dout)?;
        if step == 0 {
            before = model.norms.clone();
        }
        // The last tenth with a tenth of the rate.
        let lr = if step * 10 >= steps * 9 { lr / 10.0 } else { lr };
        largest = largest.max(model.update(ctx, lr, &clip)?.grad_norm);
    }
    let (mut right, mut asked) = (0, 0);
    for batch in task.held_out() {
        model.forward(ctx, &batch.x)?;
        let (r, a) = task.right(&batch, &model.out);
        (right, asked) = (right + r, asked + a);
    }
    let radius = spectral_radius(model.candidate(), hidden);
    Ok(Outcome { before, after: model.norms.clone(), radius, largest, accuracy: right as f64 / asked as f64 })
}

/// Step norms of an untrained RNN whose W_hh has this spectral radius, and whose states stay where tanh is straight.
fn still_rnn(ctx: &Context, radius: f64) -> Result<Vec<f64>, Failure> {
    let (seq, hidden) = (300, 64);
    let mut model =
        Model::new(ctx, Kind::Rnn, Shape { seq, batch: BATCH, input: 1, hidden, outputs: 1, distance: None }, 3)?;
    let factor = radius / spectral_radius(model.candidate(), hidden);
    model.params[1].iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
    let x: Vec<f32> = (0..seq * BATCH).map(|i| 1e-12 * (i as f32).sin()).collect();
    model.forward(ctx, &x)?;
    model.backward(ctx, &x, &[1.0; BATCH])?;
    Ok(model.norms)
}
