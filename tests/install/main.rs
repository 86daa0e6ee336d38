//! Installation as a C library: pkg-config and CMake find it, programs in C and C++ build against it, shared and static,
//! also after the tree was moved.

#[path = "../tools/mod.rs"]
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;
use tools::{have, library_dir, root, run};

const DATA: &str = "data/digits.csv";

/// A temporary folder with the library of this build installed below `prefix`.
fn install(options: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = dir.path().join("first");
    let from = library_dir();
    let mut script = Command::new(root().join("scripts/install.sh"));
    run(script.arg("--from").arg(&from).args(options).arg(&first));
    // All tests use the tree in another place than it was installed to.
    let prefix = dir.path().join("moved here");
    std::fs::rename(&first, &prefix).expect("the tree moves");
    (dir, prefix)
}

/// What pkg-config says, each word by itself.
fn pkg_config(prefix: &Path, libdir: &str, args: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", prefix.join(libdir).join("pkgconfig")).args(args).arg("evenkeel");
    // Blanks in paths come escaped.
    let text = run(&mut command).replace("\\ ", "\0");
    text.split_whitespace().map(|word| word.replace('\0', " ")).collect()
}

#[track_caller]
fn learns(output: &str) {
    let text = output.lines().find_map(|line| line.strip_prefix("held-out accuracy "));
    let accuracy: f64 = text.expect("it prints its accuracy").parse().expect("a number");
    assert!(accuracy > 0.95 && accuracy <= 1.0, "{output}");
}

/// Builds both quickstarts with the flags of pkg-config and runs them.
fn quickstarts_by_pkg_config(prefix: &Path, libdir: &str, linking: &[&str]) {
    for (compiler, standard, source) in
        [("cc", "-std=c99", "examples/c/quickstart.c"), ("c++", "-std=c++11", "examples/cpp/quickstart.cpp")]
    {
        let program = prefix.join("program");
        let mut command = Command::new(compiler);
        command.args([standard, "-Wall", "-Wextra", "-Werror", source, "-o"]).arg(&program);
        command.args(pkg_config(prefix, libdir, &[&["--cflags", "--libs"], linking].concat()));
        run(command.arg("-lm"));
        let mut command = Command::new(&program);
        learns(&run(command.arg(DATA).env("LD_LIBRARY_PATH", prefix.join(libdir))));
    }
}

#[test]
fn programs_build_by_pkg_config() {
    if !have(&["pkg-config", "cc", "c++", "strip"]) {
        return;
    }
    let (_dir, prefix) = install(&["--libdir", "lib/some-machine"]);
    let libdir = "lib/some-machine";
    assert_eq!(pkg_config(&prefix, libdir, &["--modversion"]), [evenkeel_version()]);
    quickstarts_by_pkg_config(&prefix, libdir, &[]);
    let (_dir, prefix) = install(&["--static-only"]);
    assert!(!prefix.join("lib/libevenkeel.so").exists());
    quickstarts_by_pkg_config(&prefix, "lib", &["--static"]);
}

/// Builds and runs the programs of tests/install/project, with every target of the package.
fn programs_of_the_project_by_cmake(prefix: &Path) {
    let build = prefix.join("build");
    let mut command = Command::new("cmake");
    command.arg("-S").arg(root().join("tests/install/project")).arg("-B").arg(&build);
    command.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()));
    command.arg(format!("-DSOURCES={}", root().display())).arg("-DWANTED=0.1");
    run(&mut command);
    run(Command::new("cmake").arg("--build").arg(&build));
    for program in ["c_shared", "c_static", "cpp_shared", "cpp_static", "cpp_default"] {
        learns(&run(Command::new(build.join(program)).arg(DATA)));
    }
}

#[test]
fn programs_build_by_cmake() {
    if !have(&["cmake", "cc", "c++", "make", "strip"]) {
        return;
    }
    let (_dir, prefix) = install(&[]);
    programs_of_the_project_by_cmake(&prefix);
    // Another minor version below 1.0, or a newer one, is another library.
    for wanted in ["0.2", "1.0", "0.1.999"] {
        let mut command = Command::new("cmake");
        command.arg("-S").arg(root().join("tests/install/project")).arg("-B").arg(prefix.join(wanted));
        command.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()));
        command.arg(format!("-DSOURCES={}", root().display())).arg(format!("-DWANTED={wanted}"));
        let output = command.output().expect("cmake runs");
        assert!(!output.status.success(), "{wanted} was found");
        assert!(String::from_utf8_lossy(&output.stderr).contains("evenkeel"), "{wanted}");
    }
}

/// The version in Cargo.toml.
fn evenkeel_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn exports_the_functions_of_the_header_alone(library: &Path) {
    let symbols = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library));
    let mut symbols: Vec<_> = symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    symbols.sort_unstable();
    let listed = std::fs::read_to_string(root().join("tests/c_api/symbols.txt")).expect("the list");
    assert_eq!(symbols, listed.lines().collect::<Vec<_>>());
}

#[test]
fn the_shared_library_has_its_abi_version_and_nothing_but_the_functions_of_the_header() {
    if !have(&["cc", "strip", "readelf", "nm"]) {
        return;
    }
    let (_dir, prefix) = install(&["--shared-only"]);
    let library = prefix.join("lib").join(format!("libevenkeel.so.{}", evenkeel_version()));
    let dynamic = run(Command::new("readelf").arg("-d").arg(&library));
    let mut parts = evenkeel_version().split('.');
    let (major, minor) = (parts.next().expect("a major version"), parts.next().expect("a minor version"));
    let abi = if major == "0" { format!("0.{minor}") } else { major.to_owned() };
    assert!(dynamic.contains(&format!("soname: [libevenkeel.so.{abi}]")), "{dynamic}");
    for link in [format!("libevenkeel.so.{abi}"), "libevenkeel.so".to_owned()] {
        let target = prefix.join("lib").join(link).canonicalize().expect("a link that leads somewhere");
        assert_eq!(target, library.canonicalize().expect("a file"));
    }
    exports_the_functions_of_the_header_alone(&library);
}

/// Every file and link below a folder, with its path from there.
fn files(dir: &Path) -> Vec<String> {
    let found = run(Command::new("find").args([".", "!", "-type", "d"]).current_dir(dir));
    let mut found: Vec<String> = found.lines().map(str::to_owned).collect();
    found.sort_unstable();
    found
}

#[test]
#[ignore = "cargo-c builds the library anew: minutes"]
fn cargo_c_installs_what_the_script_does() {
    if !have(&["cargo-cinstall", "pkg-config", "cmake", "cc", "c++", "strip", "readelf", "nm"]) {
        return;
    }
    let (_script, wanted) = install(&[]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let prefix = dir.path().join("prefix");
    let mut command = Command::new("cargo");
    command.args(["cinstall", "--release", "--libdir", "lib"]);
    // In a folder of its own: cargo-c is another cargo, and each would undo what the other built.
    command.arg("--target-dir").arg(root().join("target/cargo-c"));
    run(command.arg("--prefix").arg(&prefix));
    assert_eq!(files(&prefix), files(&wanted));
    let header = |prefix: &Path| std::fs::read(prefix.join("include/evenkeel.h")).expect("a header");
    assert!(header(&prefix) == header(&wanted));
    for field in ["--modversion", "--libs-only-l"] {
        assert_eq!(pkg_config(&prefix, "lib", &[field]), pkg_config(&wanted, "lib", &[field]));
    }
    let soname = |prefix: &Path| {
        let dynamic = run(Command::new("readelf").arg("-d").arg(prefix.join("lib/libevenkeel.so")));
        dynamic.lines().find(|line| line.contains("SONAME")).expect("a soname").to_owned()
    };
    assert_eq!(soname(&prefix), soname(&wanted));
    exports_the_functions_of_the_header_alone(&prefix.join("lib/libevenkeel.so"));
    quickstarts_by_pkg_config(&prefix, "lib", &[]);
    programs_of_the_project_by_cmake(&prefix);
    for file in files(&prefix).iter().filter(|file| file.contains(".so")) {
        std::fs::remove_file(prefix.join(file)).expect("it was there");
    }
    quickstarts_by_pkg_config(&prefix, "lib", &["--static"]);
}

#[test]
fn two_static_libraries_of_rust_in_one_program() {
    if !have(&["cc", "rustc"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(
        path("other.rs"),
        "use std::collections::HashMap;\n\
         #[unsafe(no_mangle)]\n\
         pub extern \"C\" fn other_answer(n: u32) -> u32 {\n\
             let map: HashMap<u32, String> = (0..n).map(|i| (i, i.to_string())).collect();\n\
             let caught = std::panic::catch_unwind(|| if n > 0 { panic!(\"none\") });\n\
             map.values().map(|s| s.len() as u32).sum::<u32>() + caught.is_err() as u32\n\
         }\n",
    )
    .expect("a source");
    std::fs::write(
        path("both.c"),
        "#include \"evenkeel.h\"\n#include <stdint.h>\n#include <stdio.h>\n\
         uint32_t other_answer(uint32_t n);\n\
         int main(void) {\n\
             const float a[2] = {1, 2}, b[2] = {3, 4};\n    float c = 0;\n\
             if (ek_matmul_f32(NULL, 0, 0, 1, 1, 2, 1, a, 2, b, 1, 0, &c, 1) != EK_STATUS_OK) return 1;\n\
             if (ek_matmul_f32(NULL, 7, 0, 1, 1, 2, 1, a, 2, b, 1, 0, &c, 1) != EK_STATUS_INVALID_ARGUMENT) return 2;\n\
             printf(\"%g %u\\n\", c, (unsigned)other_answer(12));\n    return 0;\n}\n",
    )
    .expect("a source");
    let other = path("libother.a");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "-O", "--crate-type=staticlib", "-o"]).arg(&other).arg(path("other.rs"));
    run(&mut rustc);
    let ours = library_dir().join("libevenkeel.a");
    for archives in [[&ours, &other], [&other, &ours]] {
        let program = path("both");
        let mut command = Command::new("cc");
        command.arg("-I").arg(root().join("include")).arg(path("both.c")).arg("-o").arg(&program);
        run(command.args(archives).args(["-lpthread", "-ldl", "-lm", "-lgcc_s"]));
        assert!(run(&mut Command::new(&program)).starts_with("11 15"), "{archives:?}");
    }
}

#[test]
fn the_c_reference_is_made_without_a_warning() {
    if have(&["doxygen"]) {
        run(&mut Command::new(root().join("scripts/reference.sh")));
        let page = std::fs::read_to_string(root().join("target/reference/html/evenkeel_8h.html")).expect("a page");
        let symbols = std::fs::read_to_string(root().join("tests/c_api/symbols.txt")).expect("the list");
        let missing: Vec<_> = symbols.lines().filter(|name| !page.contains(*name)).collect();
        assert!(missing.is_empty(), "not in the reference: {missing:?}");
    }
}

#[test]
fn the_abi_is_that_of_the_baseline() {
    if have(&["cc", "abidw", "abidiff"]) {
        run(&mut Command::new(root().join("tests/abi/check.sh")));
    }
}
