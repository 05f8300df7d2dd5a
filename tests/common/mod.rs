//! What the harnesses share: where things are, how a program is compiled and run, and when
//! it has taken too long.
//!
//! The environment, all optional; `qemu/test` sets it. `NEEDM_ARCH`: the architecture;
//! `NEEDM_CC`: the C compiler for it; `NEEDM_LIB_DIR`: the folder of `libneedm.a` and
//! `libneedm.so`; `NEEDM_RUNNER`: the words before a program that run it under an emulator.
#![allow(dead_code)] // each harness uses a part

#[path = "../arch/table.rs"]
pub(crate) mod arch;
mod limit;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fs};

/// The exit status of a program in which all is well. An accident cannot give it.
pub(crate) const SUCCESS: i32 = 200;

/// How long a program may take. Nothing waits for this long unless it hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);

/// The root of the repository, in which the packages of some tests are further down.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().find(|folder| folder.join("include/needm.h").exists()).unwrap_or(package)
}

/// A file for what the tests make, among them programs and logs.
pub(crate) fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Whether programs run under an emulator.
pub(crate) fn is_emulated() -> bool {
    env::var_os("NEEDM_RUNNER").is_some()
}

/// How programs run, in one word: part of file names, and an argument of programs that
/// cannot read their environment.
pub(crate) fn manner() -> &'static str {
    if is_emulated() { "emulated" } else { "native" }
}

/// `NEEDM_RUNNER`, as words.
pub(crate) fn runner() -> Vec<String> {
    let runner = env::var("NEEDM_RUNNER").unwrap_or_default();
    runner.split_whitespace().map(str::to_owned).collect()
}

/// A command that runs a program of the architecture.
pub(crate) fn command(program: &Path) -> Command {
    let words = runner();
    let Some((first, rest)) = words.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

/// The C compiler for the architecture.
pub(crate) fn c_compiler() -> OsString {
    env::var_os("NEEDM_CC").unwrap_or_else(|| "cc".into())
}

/// Runs a compiler; what it said, if it failed.
pub(crate) fn try_compile(compiler: &mut Command) -> Result<(), String> {
    let output = compiler.output().expect("the compiler starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(text) }
}

/// Runs a compiler, which must succeed.
pub(crate) fn compile(compiler: &mut Command) {
    if let Err(text) = try_compile(compiler) {
        panic!("{compiler:?}:\n{text}");
    }
}

/// Runs one of the commands in `qemu`; the folder named in its last line.
pub(crate) fn build(command: &mut Command) -> PathBuf {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("a path");
    text.lines().last().expect("a folder").into()
}

/// The folder of the C libraries. They are built now unless `NEEDM_LIB_DIR` says where they
/// are.
pub(crate) fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match env::var_os("NEEDM_LIB_DIR") {
        Some(folder) => folder.into(),
        None => build(Command::new(root().join("qemu/build")).arg(arch::tested().name)),
    })
}

/// Runs a command to its end, or for [`LIMIT`]: its status, and what it wrote to standard
/// error, which is kept in `log`. Standard output is dropped.
pub(crate) fn run(command: &mut Command, log: &Path) -> (ExitStatus, String) {
    let file = fs::File::create(log).expect("a log");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let mut child = command.spawn().expect("the program starts");
    let status = limit::wait(&mut child, LIMIT);
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let status = status.unwrap_or_else(|| panic!("{command:?} runs after {LIMIT:?}:\n{text}"));
    (status, text)
}

/// Runs a command, which must end with [`SUCCESS`].
pub(crate) fn run_to_success(command: &mut Command, log: &Path) {
    let (status, text) = run(command, log);
    assert_eq!(status.code(), Some(SUCCESS), "{command:?}: {status}\n{text}");
}
