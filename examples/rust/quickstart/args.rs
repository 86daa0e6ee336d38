//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

pub const HELP: &str = "\
Trains three networks of 16 layers on handwritten digits: one vanishes, one explodes, one learns.

Usage: quickstart [OPTIONS]

  --data PATH     the images                    [data/digits.csv of the repository]
  --out PATH      the plot, as SVG              [target/quickstart.svg of the repository]
  --threads N     0: EK_NUM_THREADS, else all CPUs that this process may use     [0]
  --seed N        of the split, the shuffles and the weights                     [1]
  --epochs N      passes over the training images                                [20]
  --help          this text

EK_ISA chooses the instruction set. Exit codes: 1 for a failure, 2 for unusable arguments or data.
";

/// What to do.
pub enum Command {
    Help,
    Run(Args),
}

pub struct Args {
    pub data: PathBuf,
    pub out: PathBuf,
    pub threads: usize,
    pub seed: u64,
    pub epochs: usize,
}

/// The choices on the command line, or why they are none.
pub fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut args = Args {
        data: concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.csv").into(),
        out: concat!(env!("CARGO_MANIFEST_DIR"), "/target/quickstart.svg").into(),
        threads: 0,
        seed: 1,
        epochs: 20,
    };
    while let Some(word) = words.next() {
        let name = word.to_str().unwrap_or_default();
        let mut value = || words.next().ok_or_else(|| format!("{name} needs a value; see --help"));
        match name {
            "--help" | "-h" => return Ok(Command::Help),
            "--data" => args.data = value()?.into(),
            "--out" => args.out = value()?.into(),
            "--threads" => args.threads = number(name, &value()?)?,
            "--seed" => args.seed = number(name, &value()?)?,
            "--epochs" => match number(name, &value()?)? {
                0 => return Err("--epochs is 0, expected at least 1".into()),
                n => args.epochs = n,
            },
            _ => return Err(format!("unknown argument {word:?}; see --help")),
        }
    }
    Ok(Command::Run(args))
}

fn number<T: std::str::FromStr>(name: &str, text: &OsStr) -> Result<T, String> {
    text.to_str().and_then(|t| t.parse().ok()).ok_or_else(|| format!("{name} is {text:?}, expected a whole number"))
}
