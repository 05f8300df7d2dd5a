//! Commands as a user gives them to build and install needm for the machine itself.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether this run stands for the host's own architecture; says so if not.
pub(crate) fn is_native() -> bool {
    let native = env::var_os("NEEDM_RUNNER").is_none()
        && env::var("NEEDM_ARCH").map_or(true, |arch| arch == env::consts::ARCH);
    if !native {
        eprintln!("skipped: only for the host's own architecture");
    }
    native
}

/// A command that builds as a user's shell would: what cargo and `qemu/test` have set for this
/// test is not for it.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let builds = ["CARGO_", "RUSTC", "RUSTDOC", "RUSTFLAGS", "NEEDM_"];
        if name != "CARGO_HOME" && builds.iter().any(|start| name.starts_with(start)) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it; what it printed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{error}", output.status);
    said
}
