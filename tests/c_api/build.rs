//! Compiling and running C and C++ programs against the libraries that cargo built beside this test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo put the libraries of this very build: the test executable's own directory.
pub fn library_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("this test has a path");
    exe.parent().expect("in a directory").to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Shared,
    Static,
}

/// What the static library needs of the system.
const SYSTEM_LIBRARIES: [&str; 5] = ["-lpthread", "-ldl", "-lm", "-lrt", "-lgcc_s"];

/// A compiled program in a directory of its own.
pub struct Program {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

/// Compiles `source` (.c as C99, .cpp as C++11) with every warning an error.
#[track_caller]
pub fn compile(source: &Path, link: Link) -> Program {
    let cpp = source.extension().is_some_and(|e| e == "cpp");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("program");
    let target = env!("C_API_TARGET");
    let compiler = cc::Build::new()
        .cpp(cpp)
        .cargo_metadata(false)
        .target(target)
        .host(target)
        .opt_level(1)
        .out_dir(dir.path())
        .get_compiler();
    let libraries = library_dir();
    let mut command: Command = compiler.to_command();
    command
        .arg(if cpp { "-std=c++11" } else { "-std=c99" })
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .arg("-I")
        .arg(root().join("include"))
        .arg(source)
        .arg("-o")
        .arg(&path);
    match link {
        Link::Shared => {
            command.arg("-L").arg(&libraries).arg("-levenkeel").arg(format!("-Wl,-rpath,{}", libraries.display()));
            command.args(["-lpthread", "-lm"]);
        }
        Link::Static => {
            command.arg(libraries.join("libevenkeel.a")).args(SYSTEM_LIBRARIES);
        }
    }
    let output = command.output().expect("the compiler runs");
    assert!(output.status.success(), "{source:?}: {}", String::from_utf8_lossy(&output.stderr));
    Program { path, _dir: dir }
}

impl Program {
    /// Runs it in the repository's root, with nothing of this process's EK_ environment; it must succeed.
    #[track_caller]
    pub fn run(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let output = self.output(args, env);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?} {env:?}: {}\n{out}{err}", output.status);
        out
    }

    /// As [`Program::run`], but it must exit with a failure; returns what it says about it.
    #[track_caller]
    pub fn fail(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let output = self.output(args, env);
        assert_eq!(output.status.code(), Some(1), "{args:?} {env:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn output(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = Command::new(&self.path);
        command.current_dir(root()).args(args).env_remove("EK_ISA").env_remove("EK_NUM_THREADS");
        // Cargo sets it, and it goes before the path in the program: to a library of an earlier build.
        command.env_remove("LD_LIBRARY_PATH");
        command.envs(env.iter().copied()).output().expect("the program starts")
    }
}
