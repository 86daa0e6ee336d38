//! Examples as programs: built in the profile of the test that asks for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// An example, built when it first runs.
pub struct Example {
    name: &'static str,
    path: OnceLock<PathBuf>,
}

impl Example {
    pub const fn new(name: &'static str) -> Example {
        Example { name, path: OnceLock::new() }
    }

    fn build(&self) -> PathBuf {
        let deps = std::env::current_exe().unwrap();
        let profile = deps.parent().and_then(Path::parent).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--example", self.name]);
        build.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.file_name().unwrap() != "debug" {
            build.arg("--profile").arg(profile.file_name().unwrap());
        }
        assert!(build.status().unwrap().success());
        profile.join("examples").join(format!("{}{}", self.name, std::env::consts::EXE_SUFFIX))
    }

    pub fn run(&self, args: &[&str]) -> Output {
        Command::new(self.path.get_or_init(|| self.build())).args(args).output().unwrap()
    }

    /// Asserts exit code 2, nothing on standard output, and `expected` in the message.
    pub fn refuses(&self, args: &[&str], expected: &str) {
        let output = self.run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty());
        let named = stderr.starts_with(&format!("{}: ", self.name));
        assert!(named && stderr.contains(expected), "{args:?}: {stderr}");
    }
}
