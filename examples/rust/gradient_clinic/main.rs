//! The whitepaper as pictures: what activations, initializations, norms, paths, clipping and warm-up do to gradients, on
//! handwritten digits.
//!
//! ```sh
//! cargo run --release --example gradient_clinic              # a few minutes
//! cargo run --release --example gradient_clinic -- --quick   # some seconds
//! ```
//!
//! It writes one HTML file that needs nothing else, and a CSV of every network measured. The numbers are the same in every
//! run and for any number of threads.

mod args;
mod attend;
mod chart;
mod clipping;
mod course;
#[path = "../common/digits.rs"]
mod digits;
mod figures;
mod html;
mod patient;
mod recipe;
mod report;
#[path = "../common/split.rs"]
mod split;
mod stack;
mod survey;
mod svg;
mod tables;
mod time;
mod transformer;
mod warmup;
mod words;

use args::{Args, Command};
use evenkeel::Context;
use indicatif::{ProgressBar, ProgressStyle};
use patient::Patient;
use report::Results;
use std::io::Write;
use std::path::Path;
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
            eprintln!("gradient_clinic: {}", failure.message);
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
    let results = examine(&ctx, &args, &digits).map_err(failed)?;

    let pictures = report::pictures(&results);
    save(&args.out, &report::html(&results, &pictures))?;
    save(&args.table, &tables::csv(&results.findings))?;
    for picture in args.pictures.iter().flat_map(|folder| pictures.iter().map(move |p| (folder.join(p.file), p))) {
        save(&picture.0, &picture.1.svg)?;
    }
    print(&report::summary(&results))?;
    eprintln!("report: {}", args.out.display());
    Ok(())
}

/// Runs all experiments, with a bar where somebody watches.
fn examine(ctx: &Context, args: &Args, digits: &digits::Digits) -> evenkeel::Result<Results> {
    let (quick, seed) = (args.quick, args.seed);
    let (width, batch, draws) = if quick { (64, 64, 1) } else { (128, 128, 3) };
    let plan = survey::Plan { width, batch, draws, depths: vec![4, 8, 16, 32, 64] };
    let patient = Patient::new(ctx, seed, digits)?;
    let seq = if quick { 128 } else { 256 };
    let reading = if quick { 6 } else { 20 };
    let size = transformer::Size::new(12, 4, 8);
    let (epochs, warmup) = if quick { (4, 40) } else { (10, 60) };
    let attending = warmup::Plan { size, epochs, lr: 3e-3, warmup };

    let bar = |what: &str, steps: u64| {
        let style = ProgressStyle::with_template("{prefix:22} {bar:36} {pos}/{len}  {elapsed}").expect("template");
        ProgressBar::new(steps).with_style(style).with_prefix(what.to_string())
    };
    let progress = bar("networks", (recipe::Recipe::all().len() * plan.depths.len()) as u64);
    let findings = survey::survey(ctx, seed, &plan, &patient, &|| progress.inc(1))?;
    progress.finish();
    let echoes = time::echoes(ctx, seed, seq, &patient)?;
    let progress = bar("recurrent training", clipping::steps(&patient, reading));
    let clipping = clipping::trainings(ctx, seed, reading, &patient, &|| progress.inc(1))?;
    progress.finish();
    let progress = bar("transformer training", warmup::steps(&patient, &attending));
    let comparison = warmup::comparison(ctx, seed, attending, &patient, &|| progress.inc(1))?;
    progress.finish();
    Ok(Results { quick, seed, plan, findings, echoes, clipping, comparison })
}

fn save(path: &Path, text: &str) -> Result<(), Failure> {
    let words = |e: std::io::Error| failed(format!("{}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(words)?;
    }
    std::fs::write(path, text).map_err(words)
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
