//! Builds of needm to compare, each linked to `compare/driver.c`, which does the same work with
//! all of them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A row of the driver: what it repeats.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) counts: Counts,
}

/// How the instructions and the system calls of a row are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Those of one more repetition, less those of a plain call. They are the same with every
    /// compiler, because only assembly runs.
    OfAssembly,
    /// The same; they depend on the compiler.
    OfRust,
    /// Those of a thread's callback and of needm's part in its exit.
    OfThreads,
    /// They differ from run to run.
    None,
}

impl Case {
    const fn new(name: &'static str, counts: Counts) -> Self {
        Self { name, counts }
    }
}

/// The row that all counts are over.
pub(crate) const PLAIN: &str = "plain";
/// Threads that do not call back.
pub(crate) const THREADS: &str = "threads";

/// The rows of `compare/driver.c`.
pub(crate) const CASES: &[Case] = &[
    Case::new(PLAIN, Counts::None),
    Case::new("bound", Counts::OfAssembly),
    Case::new("bound-without-fp-control", Counts::OfAssembly),
    Case::new("per-call", Counts::OfAssembly),
    Case::new("per-call-without-fp-control", Counts::OfAssembly),
    Case::new("frame", Counts::OfRust),
    Case::new("nested", Counts::OfRust),
    Case::new("deferred", Counts::OfRust),
    Case::new("panic", Counts::OfRust),
    Case::new("fault", Counts::OfRust),
    Case::new("attach-detach", Counts::OfRust),
    Case::new("stop-the-world", Counts::OfRust),
    Case::new(THREADS, Counts::None),
    Case::new("thread-with-one", Counts::OfThreads),
    Case::new("thread-with-one-per-call", Counts::OfThreads),
    Case::new("crowd", Counts::None),
];

/// A build: the driver that it was linked to.
pub(crate) struct Build {
    driver: PathBuf,
}

/// The top of the working tree.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where builds to compare go.
fn folder() -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("compare")
}

/// Runs a command. What it prints goes to standard error.
fn run(command: &mut Command) -> Result<(), String> {
    let status = command.stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// What a command prints, in one line.
pub(crate) fn said(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).current_dir(root()).output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().into())
        }
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

impl Build {
    /// The working tree as it is.
    pub(crate) fn own() -> Result<Self, String> {
        Self::of_tree(&root(), "own")
    }

    /// A driver or a `libneedm.a` that was kept, or a commit.
    pub(crate) fn before(what: &str) -> Result<Self, String> {
        let path = Path::new(what);
        if path.is_file() {
            return match path.extension().and_then(OsStr::to_str) {
                Some("a") => Self::of_library(path, "before"),
                _ => Ok(Self { driver: path.canonicalize().map_err(|error| error.to_string())? }),
            };
        }
        let commit = said("git", &["rev-parse", "--verify", &format!("{what}^{{commit}}")])
            .map_err(|why| format!("{what} is neither a file nor a commit: {why}"))?;
        let tree = folder().join("tree");
        let git = |args: &[&OsStr]| run(Command::new("git").args(args).current_dir(root()));
        // What an interrupted run has left.
        let remove = ["worktree", "remove", "--force"].map(OsStr::new);
        if tree.exists() {
            git(&[&remove[..], &[tree.as_os_str()]].concat())?;
        }
        let add = ["worktree", "add", "--detach"].map(OsStr::new);
        git(&[&add[..], &[tree.as_os_str(), OsStr::new(&commit)]].concat())?;
        let build = Self::of_tree(&tree, "before");
        git(&[&remove[..], &[tree.as_os_str()]].concat())?;
        build
    }

    fn of_tree(tree: &Path, name: &str) -> Result<Self, String> {
        let target = folder().join(format!("target-{name}"));
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--release", "--quiet", "--features", "capi"]).current_dir(tree);
        run(cargo.arg("--target-dir").arg(&target))?;
        Self::of_library(&target.join("release/libneedm.a"), name)
    }

    /// Compiled by this working tree's header: the structs have said their size since the first.
    fn of_library(library: &Path, name: &str) -> Result<Self, String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("compare/driver.c");
        let driver = folder().join(format!("driver-{name}"));
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-g", "-falign-functions=64", "-falign-loops=64", "-I"]);
        cc.arg(root().join("include")).arg(source).arg(library);
        run(cc.arg("-pthread").arg("-o").arg(&driver))?;
        Ok(Self { driver })
    }

    /// Keeps the driver in a file.
    pub(crate) fn store(&self, file: &str) -> Result<(), String> {
        std::fs::copy(&self.driver, file).map(drop).map_err(|error| format!("{file}: {error}"))
    }

    /// The nanoseconds of one repetition; `None` if this build does not know the row.
    pub(crate) fn time(&self, case: &str) -> Option<f64> {
        let output = Command::new(&self.driver).arg(case).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    }

    /// Valgrind that runs `n` repetitions, and what it says on standard error.
    pub(crate) fn under_valgrind(&self, options: &[&str], case: &str, n: u32) -> Option<String> {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).args(options);
        let output = valgrind.arg(&self.driver).args([case, &n.to_string()]).output().ok()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(said)
    }
}
