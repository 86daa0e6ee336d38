//! The committed header and the list of exported symbols against what the sources make.

use crate::build::{library_dir, root};
use std::collections::BTreeSet;
use std::process::Command;

/// Whether committed files are to be refreshed rather than compared.
fn bless() -> bool {
    std::env::var_os("EVENKEEL_BLESS").is_some_and(|v| v == "1")
}

#[track_caller]
fn compare(path: &str, generated: &str) {
    let committed = root().join(path);
    if bless() {
        std::fs::write(&committed, generated).expect("the file can be written");
        return;
    }
    let text = std::fs::read_to_string(&committed).unwrap_or_default();
    let line = text.lines().zip(generated.lines()).take_while(|(a, b)| a == b).count();
    assert!(
        text == generated,
        "{path} differs from what the sources make, from line {} on:\n  {path}: {:?}\n  sources: {:?}\n\
         EVENKEEL_BLESS=1 cargo test --release --test c_api header refreshes it",
        line + 1,
        text.lines().nth(line),
        generated.lines().nth(line)
    );
}

const GENERATED: &str = include_str!(concat!(env!("OUT_DIR"), "/evenkeel.h"));

#[test]
fn header_is_what_the_sources_generate() {
    compare("include/evenkeel.h", GENERATED);
}

/// The functions that the header declares, in its order.
pub fn declared() -> Vec<&'static str> {
    let (_, functions) = GENERATED.split_once("extern \"C\"").expect("the functions are in a C++ guard");
    let name = |prototype: &'static str| {
        let head = prototype.split('(').next()?;
        head.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()
    };
    functions.split("EK_API").skip(1).filter_map(name).collect()
}

#[test]
fn header_symbols_are_what_the_library_exports() {
    let library = library_dir().join("libevenkeel.so");
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output().expect("nm runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are ASCII");
    let exported: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let list: String = exported.iter().map(|name| format!("{name}\n")).collect();
    compare("tests/c_api/symbols.txt", &list);
    assert_eq!(exported, declared().into_iter().collect(), "what the header declares");
    assert!(exported.iter().all(|name| name.starts_with("ek_")));
}

#[test]
fn header_includes_nothing_else() {
    let includes: Vec<&str> = GENERATED.lines().filter(|l| l.starts_with("#include")).collect();
    assert_eq!(includes, ["#include <stdbool.h>", "#include <stddef.h>", "#include <stdint.h>"]);
}
