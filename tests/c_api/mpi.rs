//! Training across MPI ranks: `examples/c/data_parallel.c` under `mpirun`, where there is one.

use crate::build::{library_dir, root};
use std::path::Path;
use std::process::Command;

/// Whether MPI is here; `EVENKEEL_REQUIRE_MPI` makes its absence a failure.
fn mpi_is_here() -> bool {
    let answers = |program| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
    let here = answers("mpicc") && answers("mpirun");
    assert!(here || std::env::var_os("EVENKEEL_REQUIRE_MPI").is_none(), "EVENKEEL_REQUIRE_MPI is set, and MPI missing");
    here
}

/// The weights after two epochs, and what was printed. `poisoned`: the step at which the last rank meets a NaN.
#[track_caller]
fn train(program: &Path, dir: &Path, ranks: u32, poisoned: u32) -> (Vec<f32>, String) {
    let weights = dir.join("weights");
    let out = Command::new("mpirun")
        .args(["--oversubscribe", "-n", &ranks.to_string()])
        .arg(program)
        .arg(root().join("data/digits.csv"))
        .arg(&weights)
        .args(["2", &poisoned.to_string()])
        // Cargo sets it, and it goes before the path in the program: to a library of an earlier build.
        .env_remove("LD_LIBRARY_PATH")
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        // A path without the blanks or the length that its sockets do not bear.
        .env("TMPDIR", "/tmp")
        .output()
        .expect("mpirun starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{ranks} ranks: {text}{}", String::from_utf8_lossy(&out.stderr));
    let bytes = std::fs::read(weights).expect("the weights were written");
    assert_eq!(bytes.len(), 4 * (64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10));
    let weights = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_ne_bytes(*b)).collect();
    (weights, text)
}

#[test]
fn ranks_train_as_one() {
    if !mpi_is_here() {
        eprintln!("skipped: no mpicc or mpirun");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("data_parallel");
    let libraries = library_dir();
    let out = Command::new("mpicc")
        .args(["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root().join("include"))
        .arg(root().join("examples/c/data_parallel.c"))
        .arg("-L")
        .arg(&libraries)
        .args(["-levenkeel", "-lm"])
        .arg(format!("-Wl,-rpath,{}", libraries.display()))
        .arg("-o")
        .arg(&program)
        .output()
        .expect("mpicc starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for poisoned in [0, 7] {
        let (alone, text) = train(&program, dir.path(), 1, poisoned);
        let skipped = format!("{} steps skipped, weights agree", (poisoned > 0) as u32);
        assert!(text.contains(&skipped), "{text}");
        for ranks in [2, 4] {
            let (together, text) = train(&program, dir.path(), ranks, poisoned);
            assert!(text.contains(&format!("{ranks} ranks, {skipped}")), "{text}");
            // 28 steps of rate 0.1 with momentum 0.9 move a weight by at most 28 units of clipped gradient, each of whose sums was
            // rounded in another order: a few units in the last place of 1.
            for (a, b) in alone.iter().zip(&together) {
                assert!((a - b).abs() <= 2e-6, "{ranks} ranks: {a} and {b}");
            }
        }
        assert!(alone.iter().all(|w| w.is_finite()));
    }
}
