//! The quickstarts in C and C++: they compile, link both ways, learn, and end in the same bytes however they run.

use crate::build::{Link, Program, compile, root};
use std::path::Path;

const DATA: &str = "data/digits.csv";

/// The accuracy that a quickstart printed.
#[track_caller]
fn accuracy(output: &str) -> f64 {
    let text = output.lines().find_map(|line| line.strip_prefix("held-out accuracy "));
    text.expect("it prints its accuracy").parse().expect("a number")
}

/// The weights after a run.
#[track_caller]
fn weights(program: &Program, dir: &Path, epochs: &str, env: &[(&str, &str)]) -> Vec<u8> {
    let file = dir.join("weights.f32");
    let _ = std::fs::remove_file(&file);
    program.run(&[DATA, file.to_str().expect("ASCII"), epochs], env);
    let bytes = std::fs::read(&file).expect("the weights were written");
    assert_eq!(bytes.len(), 4 * (64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10));
    bytes
}

#[test]
fn quickstarts_learn_in_c_and_cpp_linked_shared_and_static() {
    for source in ["examples/c/quickstart.c", "examples/cpp/quickstart.cpp"] {
        for link in [Link::Shared, Link::Static] {
            let output = compile(&root().join(source), link).run(&[DATA], &[]);
            let accuracy = accuracy(&output);
            assert!(accuracy > 0.95 && accuracy <= 1.0, "{source} {link:?}: {output}");
        }
    }
}

#[test]
fn training_gives_the_same_bytes_for_any_threads_and_executor() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let c = compile(&root().join("examples/c/quickstart.c"), Link::Shared);
    let cpp = compile(&root().join("examples/cpp/quickstart.cpp"), Link::Shared);
    let host = compile(&root().join("tests/c_api/train.c"), Link::Shared);
    let one = weights(&c, dir.path(), "20", &[("EK_NUM_THREADS", "1")]);
    for threads in ["2", "3", "8"] {
        assert!(weights(&c, dir.path(), "20", &[("EK_NUM_THREADS", threads)]) == one, "{threads} threads");
    }
    assert!(weights(&host, dir.path(), "20", &[]) == one, "a host's threads");
    assert!(weights(&cpp, dir.path(), "20", &[]) == one, "C++");
}

#[test]
fn training_gives_the_same_bytes_on_every_instruction_set() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let c = compile(&root().join("examples/c/quickstart.c"), Link::Shared);
    let best = weights(&c, dir.path(), "1", &[]);
    let mut isas: Vec<_> = evenkeel::Isa::available().filter(|isa| isa.is_fused()).collect();
    // `cargo build --release` puts a library without the specification where the tests' one was.
    isas.retain(|isa| *isa != evenkeel::Isa::Scalar || library_has_the_specification());
    for isa in isas {
        assert!(weights(&c, dir.path(), "1", &[("EK_ISA", isa.name())]) == best, "{}", isa.name());
    }
}

/// Whether the shared library was built with the feature `scalar`.
fn library_has_the_specification() -> bool {
    let probe = compile(&root().join("tests/c_api/context.c"), Link::Shared);
    probe.run(&["print"], &[("EK_ISA", "scalar")]).starts_with("scalar")
}

#[test]
fn quickstarts_say_what_is_wrong_with_their_data() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broken = dir.path().join("broken.csv");
    std::fs::write(&broken, "0,0,5,13,9").expect("a file");
    let broken = broken.to_str().expect("ASCII");
    for source in ["examples/c/quickstart.c", "examples/cpp/quickstart.cpp"] {
        let program = compile(&root().join(source), Link::Shared);
        assert!(program.fail(&[broken], &[]).contains("broken.csv: is cut off or malformed"), "{source}");
        assert!(program.fail(&["none.csv"], &[]).contains("none.csv: cannot be opened"), "{source}");
        let said = program.fail(&[DATA], &[("EK_ISA", "mmx")]);
        assert!(said.contains("EK_STATUS_INVALID_ARGUMENT: ek_context_create: EK_ISA is \"mmx\""), "{source}: {said}");
    }
}
