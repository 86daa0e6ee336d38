//! Programs in other languages: each trains the digits through the C functions to the very bytes of the program in C.
//! The Python package and what is generated from the header are tested too. A language that the machine lacks is skipped;
//! tests/languages/tools.sh installs all of them.

#[path = "../tools/mod.rs"]
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;
use tools::{have, library_dir, root, run};

const DATA: &str = "data/digits.csv";
const EPOCHS: &str = "20";

/// The shared library of this build.
fn library() -> PathBuf {
    library_dir().join("libevenkeel.so")
}

/// The weights that the quickstart in C ends with.
fn weights_in_c(dir: &Path) -> Vec<u8> {
    let (program, weights) = (dir.join("in_c"), dir.join("in_c.f32"));
    let mut command = Command::new("cc");
    command.args(["-std=c99", "-O1", "-Iinclude", "examples/c/quickstart.c", "-o"]).arg(&program);
    run(command.arg(library_dir().join("libevenkeel.a")).args(["-lpthread", "-ldl", "-lm", "-lgcc_s"]));
    run(Command::new(&program).arg(DATA).arg(&weights).arg(EPOCHS));
    std::fs::read(weights).expect("the weights were written")
}

/// Runs a quickstart with `command`, whose arguments are complete but for data, weights and epochs.
#[track_caller]
fn trains_as_in_c(command: &mut Command) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let weights = dir.path().join("weights.f32");
    command.env("EVENKEEL_LIBRARY", library()).env("LD_LIBRARY_PATH", library_dir());
    let output = run(command.arg(DATA).arg(&weights).arg(EPOCHS));
    let text = output.lines().find_map(|line| line.strip_prefix("held-out accuracy ")).expect("it prints its accuracy");
    let accuracy: f64 = text.parse().expect("a number");
    assert!(accuracy > 0.95 && accuracy <= 1.0, "{output}");
    let bytes = std::fs::read(&weights).expect("the weights were written");
    assert!(bytes == weights_in_c(dir.path()), "other weights than in C\n{output}");
}

/// A Python with NumPy and pytest: EVENKEEL_PYTHON, that of tools.sh, or the system's.
fn interpreter() -> Option<PathBuf> {
    let target = library_dir().join("../../languages/venv/bin/python");
    let named = std::env::var_os("EVENKEEL_PYTHON").map(PathBuf::from);
    let candidates = named.into_iter().chain([target, PathBuf::from("python3")]);
    let works = |path: &PathBuf| {
        let output = Command::new(path).args(["-c", "import numpy, pytest"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().find(works);
    if found.is_none() {
        have(&["python3-with-numpy-and-pytest"]);
    }
    found
}

fn python_command() -> Option<Command> {
    let mut command = Command::new(interpreter()?);
    command.env("EVENKEEL_LIBRARY", library()).env("PYTHONPATH", root().join("python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

#[test]
fn python() {
    if let Some(mut command) = python_command() {
        trains_as_in_c(command.arg("examples/python/quickstart.py"));
    }
}

#[test]
fn python_package() {
    if let Some(mut command) = python_command() {
        run(command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "python/tests"]));
    }
}

#[test]
fn python_package_is_typed() {
    let Some(mut command) = python_command() else { return };
    let mypy = Command::new(interpreter().expect("it was there")).args(["-c", "import mypy"]).output();
    if mypy.is_ok_and(|output| output.status.success()) {
        let cache = tempfile::tempdir().expect("a temporary directory");
        command.args(["-m", "mypy", "--strict", "--ignore-missing-imports", "--cache-dir"]).arg(cache.path());
        run(command.args(["--exclude", "torch.py", "python/evenkeel"]));
    }
}

#[test]
fn generated_files_are_current() {
    if have(&["python3"]) {
        run(Command::new("python3").arg("-B").args(["scripts/bindings", "--check"]));
    }
}

#[test]
fn javascript() {
    let koffi = root().join("examples/javascript/node_modules/koffi");
    if have(&["node"]) && (koffi.exists() || have(&["koffi"])) {
        trains_as_in_c(Command::new("node").arg("examples/javascript/quickstart.mjs"));
    }
}

#[test]
fn lua() {
    if have(&["luajit"]) {
        trains_as_in_c(Command::new("luajit").arg("examples/lua/quickstart.lua"));
    }
}

#[test]
fn ruby() {
    if have(&["ruby"]) {
        trains_as_in_c(Command::new("ruby").arg("examples/ruby/quickstart.rb"));
    }
}

#[test]
fn fortran() {
    if !have(&["gfortran"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("quickstart");
    let mut command = Command::new("gfortran");
    command.args(["-std=f2008", "-Wall", "-O1", "-J"]).arg(dir.path()).arg("-L").arg(library_dir());
    run(command.args(["examples/fortran/quickstart.f90", "-levenkeel", "-o"]).arg(&program));
    trains_as_in_c(&mut Command::new(&program));
}

#[test]
fn go() {
    if !have(&["go", "cc"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("quickstart");
    let mut command = Command::new("go");
    command.env("CGO_CFLAGS", format!("-I{}", root().join("include").display()));
    command.env("CGO_LDFLAGS", format!("-L{} -levenkeel", library_dir().display()));
    command.env("GO111MODULE", "off").env("GOCACHE", dir.path().join("cache")).env("GOFLAGS", "-p=2");
    run(command.args(["build", "-o"]).arg(&program).arg("examples/go/quickstart.go"));
    trains_as_in_c(&mut Command::new(&program));
}
