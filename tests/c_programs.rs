//! The programs of `tests/c`, each compiled against the C libraries and run: natively,
//! or by `NEEDM_RUNNER`. `tests/README.md` says what each shows.
//!
//! The environment, all optional: `NEEDM_CC`, the C compiler; `NEEDM_LIB_DIR`, the
//! folder of `libneedm.a` and `libneedm.so`; `NEEDM_RUNNER`, what to put before a
//! program to run it. `qemu/test` sets them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What the programs exit with if all is well.
const SUCCESS: i32 = 200;

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(240);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the C libraries, built now if nobody says where they are.
fn libraries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = env::var_os("NEEDM_LIB_DIR") {
            return folder.into();
        }
        let arch = if cfg!(target_arch = "x86") { "i386" } else { env::consts::ARCH };
        let built = Command::new(root().join("qemu/build")).arg(arch).output();
        let built = built.expect("qemu/build can be run");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let lines = String::from_utf8(built.stdout).expect("a path");
        lines.lines().last().expect("the folder").into()
    })
}

/// How a program is linked.
#[derive(Clone, Copy)]
enum Link {
    Archive,
    Shared,
    /// Not at all: the program loads the library itself.
    Nothing,
}

#[cfg(target_arch = "x86_64")]
#[path = "c_programs/checked.rs"]
mod checked;

#[cfg(target_arch = "x86_64")]
#[path = "c_programs/musl.rs"]
mod musl;

#[path = "c_programs/unwinding.rs"]
mod unwinding;

/// Where the program of `test` goes.
fn program_of(test: &str) -> PathBuf {
    let native = if env::var_os("NEEDM_RUNNER").is_some() { "emulated" } else { "native" };
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{native}"))
}

/// The program `name`, compiled for `test`.
fn compile(test: &str, name: &str, link: Link) -> PathBuf {
    compile_with(test, name, link, &[], &[])
}

/// The same, with words for the compiler and, behind all else, for the linker.
fn compile_with(test: &str, name: &str, link: Link, words: &[&str], last: &[&str]) -> PathBuf {
    let cc = env::var("NEEDM_CC").unwrap_or_else(|_| "cc".into());
    // The unwinder, which the C library would otherwise load by itself when it wants one,
    // from where it knows of, which is not where a cross compiler has it.
    let last: Vec<&str> = ["-Wl,--no-as-needed", "-lgcc_s"].iter().chain(last).copied().collect();
    compile_by(&cc, test, name, link, words, &last)
}

/// The same by another compiler, with no more than that.
fn compile_by(
    cc: &str,
    test: &str,
    name: &str,
    link: Link,
    words: &[&str],
    last: &[&str],
) -> PathBuf {
    let program = program_of(test);
    let mut cc = Command::new(cc);
    cc.args(["-O2", "-g", "-Wall", "-Wno-infinite-recursion", "-funwind-tables", "-rdynamic"]);
    cc.args(words)
        .arg("-I")
        .arg(root().join("include"))
        .arg(root().join(format!("tests/c/{name}.c")));
    match link {
        Link::Archive => {
            cc.arg(libraries().join("libneedm.a"));
        }
        Link::Shared => {
            let folder = libraries().display();
            cc.arg(format!("-L{folder}")).arg(format!("-Wl,-rpath,{folder}")).arg("-lneedm");
        }
        Link::Nothing => {
            cc.arg("-ldl");
        }
    }
    let output = cc
        .args(last)
        .arg("-pthread")
        .arg("-o")
        .arg(&program)
        .output()
        .expect("the C compiler runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn run(program: &Path, arguments: &[&str]) {
    let (status, said) = run_to_its_end(program, arguments, program);
    assert_eq!(status.code(), Some(SUCCESS), "{} {status}:\n{said}", program.display());
}

/// Runs a program: how it ended, and what it said, which is also in a file beside `log`.
fn run_to_its_end(program: &Path, arguments: &[&str], log: &Path) -> (ExitStatus, String) {
    let runner = env::var("NEEDM_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = match words.next() {
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    };
    let log = log.with_extension("log");
    let file = std::fs::File::create(&log).expect("a log");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let mut child = command.spawn().expect("the program starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break Some(status);
        }
        if start.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        sleep(Duration::from_millis(5));
    };
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    let Some(status) = status else {
        panic!("{} is not done after {LIMIT:?}:\n{said}", program.display())
    };
    (status, said)
}

macro_rules! programs {
    ($($test:ident = $name:literal $link:ident [$($argument:literal),*];)*) => {$(
        #[test]
        fn $test() {
            run(&compile(stringify!($test), $name, Link::$link), &[$($argument),*]);
        }
    )*};
}

programs! {
    jobs_with_bound_ms = "jobs" Archive [];
    jobs_with_the_shared_library_and_an_m_per_call = "jobs" Shared ["call"];
    endings_with_bound_ms = "endings" Archive [];
    endings_with_the_shared_library_and_an_m_per_call = "endings" Shared ["call"];
    crowds_of_threads_leave_nothing_behind = "scale" Archive [];
    every_misuse_is_refused = "refusals" Archive [];
    ms_are_counted_bound_and_given_back = "ms" Archive [];
    ms_are_counted_and_given_back_per_call = "ms" Shared ["call"];
    faults_are_errors_and_others_faults_are_theirs = "faults" Archive [];
    faults_of_others_go_to_their_handlers = "handlers" Archive [];
    faults_of_all_kinds_storm_on_eight_threads = "storm" Archive [];
    faults_of_all_kinds_storm_on_eight_threads_per_call = "storm" Shared ["call"];
    threads_and_processes_leave_as_they_like = "leave" Archive [];
    threads_and_processes_leave_as_they_like_per_call = "leave" Shared ["call"];
    callbacks_from_fibers_are_as_any = "fibers" Archive [];
    callbacks_from_fibers_are_as_any_per_call = "fibers" Shared ["call"];
    memory_that_is_refused_is_an_error = "scarce" Archive [];
    memory_that_is_refused_is_an_error_per_call = "scarce" Shared ["call"];
    registers_are_their_callers = "registers" Archive [];
    registers_are_their_callers_per_call = "registers" Shared ["call"];
    jumps_out_of_callbacks_lose_nothing = "longjmp" Archive [];
    jumps_out_of_callbacks_lose_nothing_per_call = "longjmp" Shared ["call"];
    callbacks_survive_stops_and_starts = "restart" Archive [];
    the_kernel_is_a_good_guest = "guest" Archive [];
    threads_and_the_process_are_as_before = "as_before" Archive [];
    threads_and_the_process_are_as_before_per_call = "as_before" Shared ["call"];
    threads_and_the_process_are_as_before_without_robust_lists = "as_before" Archive ["unheard"];
    steady_callbacks_make_no_system_call = "quiet" Archive [];
    the_world_stops_with_bound_ms = "world" Archive [];
    the_world_stops_with_an_m_per_call = "world" Shared ["call"];
    the_world_stops_without_a_barrier_on_all_threads = "world" Archive ["fence"];
    the_world_stops_without_a_barrier_on_all_threads_per_call = "world" Archive ["call", "fence"];
    threads_go_on_after_a_stopped_world = "stopped" Archive [];
    threads_go_on_after_a_stopped_world_per_call = "stopped" Shared ["call"];
    threads_go_on_after_a_stopped_world_without_a_barrier = "stopped" Archive ["fence"];
    threads_go_on_after_a_stopped_world_without_robust_lists = "stopped" Archive ["unheard"];
    backtraces_are_whole = "backtrace" Archive [];
    handlers_between_any_two_instructions_lose_nothing = "steps" Archive [];
    handlers_between_any_two_instructions_lose_nothing_per_call = "steps" Shared ["call"];
}

#[test]
fn the_shared_library_unloads_and_two_copies_live_together() {
    let test = "the_shared_library_unloads_and_two_copies_live_together";
    let program = compile(test, "unload", Link::Nothing);
    let (library, copy) = (libraries().join("libneedm.so"), program.with_extension("copy.so"));
    std::fs::copy(&library, &copy).expect("a copy");
    let [library, copy] = [library, copy].map(|path| path.display().to_string());
    run(&program, &[&library, &copy]);
}
