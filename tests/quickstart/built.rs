//! Examples as programs: built in the profile of the test that asks for them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the example, and says where it is.
pub fn example(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let profile = deps.parent().and_then(Path::parent).unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--example", name]);
    build.arg("--target-dir").arg(profile.parent().unwrap());
    if profile.file_name().unwrap() != "debug" {
        build.arg("--profile").arg(profile.file_name().unwrap());
    }
    assert!(build.status().unwrap().success());
    profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
