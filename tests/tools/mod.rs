//! What tests that run other programs share: where the libraries of this build are, which tools the machine has.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo put the libraries of this very build: the test executable's own directory.
pub fn library_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("this test has a path");
    exe.parent().expect("in a directory").to_owned()
}

/// Whether the machine has all of `tools`. Says so where it has not; with EVENKEEL_REQUIRE_TOOLS=1 that is a failure.
#[track_caller]
pub fn have(tools: &[&str]) -> bool {
    let missing = |tool: &&&str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().expect("sh runs");
        !found.status.success()
    };
    let missing: Vec<_> = tools.iter().filter(missing).collect();
    if !missing.is_empty() {
        let required = std::env::var_os("EVENKEEL_REQUIRE_TOOLS").is_some_and(|v| v == "1");
        assert!(!required, "missing: {missing:?}");
        eprintln!("skipped: this machine lacks {missing:?}");
    }
    missing.is_empty()
}

/// Runs `command` in the repository's root unless it says otherwise, with nothing of this process's EK_ environment; it
/// must succeed. Returns its standard output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    // Cargo sets LD_LIBRARY_PATH, and it goes before the path in a program: to a library of an earlier build.
    for name in ["EK_ISA", "EK_NUM_THREADS", "LD_LIBRARY_PATH"] {
        if !command.get_envs().any(|(set, _)| set == name) {
            command.env_remove(name);
        }
    }
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}{errors}", output.status);
    text
}
