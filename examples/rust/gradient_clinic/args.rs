//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

pub const HELP: &str = "\
Measures how gradients flow through 144 kinds of deep networks, recurrent networks and a small transformer, all on
handwritten digits, and writes a report with pictures.

Usage: gradient_clinic [OPTIONS]

  --quick         smaller networks and shorter trainings
  --data PATH     the images                        [data/digits.csv of the repository]
  --out PATH      the report, as one HTML file      [target/gradient_clinic.html of the repository]
  --table PATH    every network measured, as CSV    [--out with the ending .csv]
  --pictures DIR  each picture also as an SVG file there
  --threads N     0: EK_NUM_THREADS, else all CPUs that this process may use     [0]
  --seed N        of all that is random                                          [1]
  --help          this text

EK_ISA chooses the instruction set. Exit codes: 1 for a failure, 2 for unusable arguments or data.
";

/// What to do.
pub enum Command {
    Help,
    Run(Args),
}

pub struct Args {
    pub quick: bool,
    pub data: PathBuf,
    pub out: PathBuf,
    pub table: PathBuf,
    pub pictures: Option<PathBuf>,
    pub threads: usize,
    pub seed: u64,
}

/// The choices on the command line, or why they are none.
pub fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut args = Args {
        quick: false,
        data: concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.csv").into(),
        out: concat!(env!("CARGO_MANIFEST_DIR"), "/target/gradient_clinic.html").into(),
        table: PathBuf::new(),
        pictures: None,
        threads: 0,
        seed: 1,
    };
    let mut table = None;
    while let Some(word) = words.next() {
        let name = word.to_str().unwrap_or_default();
        let mut value = || words.next().ok_or_else(|| format!("{name} needs a value; see --help"));
        match name {
            "--help" | "-h" => return Ok(Command::Help),
            "--quick" => args.quick = true,
            "--data" => args.data = value()?.into(),
            "--out" => args.out = value()?.into(),
            "--table" => table = Some(value()?.into()),
            "--pictures" => args.pictures = Some(value()?.into()),
            "--threads" => args.threads = number(name, &value()?)?,
            "--seed" => args.seed = number(name, &value()?)?,
            _ => return Err(format!("unknown argument {word:?}; see --help")),
        }
    }
    args.table = table.unwrap_or_else(|| args.out.with_extension("csv"));
    Ok(Command::Run(args))
}

fn number<T: std::str::FromStr>(name: &str, text: &OsStr) -> Result<T, String> {
    text.to_str().and_then(|t| t.parse().ok()).ok_or_else(|| format!("{name} is {text:?}, expected a whole number"))
}
