//! Programs in C and C++.

use crate::build::{Link, compile, root};
use crate::header::declared;

/// A program's source in a temporary file.
fn source(dir: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("the source can be written");
    path
}

#[test]
fn every_declared_function_has_an_address_in_both_libraries() {
    let names = declared();
    assert!(names.len() > 10);
    let table: String = names.iter().map(|n| format!("    (function){n},\n")).collect();
    let text = format!(
        "#include \"evenkeel.h\"\n#include <stdio.h>\ntypedef void (*function)(void);\n\
         static const function table[] = {{\n{table}}};\n\
         int main(void) {{\n    size_t n = 0;\n    size_t i;\n    for (i = 0; i < sizeof table / sizeof table[0]; i++) n += table[i] != 0;\n    printf(\"%d\\n\", (int)n);\n    return 0;\n}}\n"
    );
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in ["addresses.c", "addresses.cpp"] {
        for link in [Link::Shared, Link::Static] {
            let out = compile(&source(&dir, name, &text), link).run(&[], &[]);
            assert_eq!(out.trim(), names.len().to_string(), "{name} {link:?}");
        }
    }
}

#[test]
fn context_and_version() {
    let program = compile(&root().join("tests/c_api/context.c"), Link::Shared);
    program.run(&[], &[]);
    program.run(&["malformed"], &[("EK_ISA", "mmx")]);
    program.run(&["malformed"], &[("EK_NUM_THREADS", "many")]);
    let plain = if cfg!(target_arch = "aarch64") { "neon" } else { "portable" };
    assert_eq!(program.run(&["print"], &[("EK_ISA", plain), ("EK_NUM_THREADS", "3")]), format!("{plain} 3\n"));
}

/// Every status-returning function with tensors stands in one of these tables.
#[test]
fn arguments_of_every_function_are_checked() {
    let sources =
        ["args.c", "lists.c", "context.c", "args_norm.h", "args_recurrent.h", "args_flow.h", "args_convert.h"]
            .map(|name| format!("tests/c_api/{name}"));
    let text = sources.each_ref().map(|path| std::fs::read_to_string(root().join(path)).expect("a source")).concat();
    for name in declared() {
        assert!(text.contains(&format!("{name}(")), "{name} is in none of {sources:?}");
    }
    for path in &sources[..2] {
        for link in [Link::Shared, Link::Static] {
            compile(&root().join(path), link).run(&[], &[]);
            compile(&root().join(path), link).run(&[], &[("EK_NUM_THREADS", "1")]);
        }
    }
}

#[test]
fn threads_forks_and_hosts() {
    compile(&root().join("tests/c_api/threads.c"), Link::Shared).run(&[], &[]);
}

#[test]
fn many_threads_and_contexts_at_once() {
    compile(&root().join("tests/c_api/stress.c"), Link::Shared).run(&[], &[]);
}
