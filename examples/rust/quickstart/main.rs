//! Three networks of 16 layers learn handwritten digits: one whose gradient vanishes, one whose gradient explodes,
//! one that learns. They differ only in what whitepaper §5, §10, §11 and §17 advise on.
//!
//! ```sh
//! cargo run --release --example quickstart
//! ```
//!
//! It prints each layer's gradient norm, the fitted rate, the verdict, losses and held-out accuracy, and plots the norms
//! against depth. The numbers are the same in every run and for any number of threads.

mod args;
#[path = "../common/digits.rs"]
mod digits;
mod network;
mod plot;
mod report;
#[path = "../common/split.rs"]
mod split;
mod train;

use args::{Args, Command};
use evenkeel::Context;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// What ended the run early, with its exit code.
struct Failure {
    message: String,
    code: u8,
}

/// Arguments or data that cannot be used.
fn unusable(message: impl ToString) -> Failure {
    Failure { message: message.to_string(), code: 2 }
}

fn failed(message: impl ToString) -> Failure {
    Failure { message: message.to_string(), code: 1 }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("quickstart: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run() -> Result<(), Failure> {
    let args = match args::parse(std::env::args_os().skip(1)).map_err(unusable)? {
        Command::Help => return print(args::HELP),
        Command::Run(args) => args,
    };
    let digits = digits::load(&args.data).map_err(unusable)?;
    let ctx = Context::builder().num_threads(args.threads).build().map_err(unusable)?;
    let outcomes = compute(&ctx, &args, &digits).map_err(failed)?;

    print(&report::closing(&outcomes))?;
    let svg = plot::draw(&outcomes).map_err(failed)?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder).map_err(|e| failed(format!("{}: {e}", folder.display())))?;
    }
    std::fs::write(&args.out, svg).map_err(|e| failed(format!("{}: {e}", args.out.display())))?;
    eprintln!("plot: {}", args.out.display());
    Ok(())
}

/// Trains the three networks, and reports on each as it finishes.
fn compute(ctx: &Context, args: &Args, digits: &digits::Digits) -> Result<Vec<train::Outcome>, String> {
    let split = split::split(ctx, args.seed, digits).map_err(|e| e.to_string())?;
    let words = |f: Failure| f.message;
    print(&report::opening(&split, args)).map_err(words)?;
    let plural = if ctx.num_threads() == 1 { "" } else { "s" };
    eprintln!("on {} with {} thread{plural}", ctx.isa().name(), ctx.num_threads());
    let visible = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let mut outcomes = Vec::new();
    for recipe in train::recipes() {
        let bar = report::progress_bar(visible, recipe.name, split.steps(train::BATCH, args.epochs));
        let outcome = train::train(ctx, &recipe, args, &split, &bar).map_err(|e| e.to_string())?;
        bar.finish_and_clear();
        print(&report::one(outcomes.len() + 1, &outcome)).map_err(words)?;
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Prints to standard output. A reader that has seen enough and closed the pipe ends the program quietly.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(failed(format!("standard output: {e}"))),
    }
}
