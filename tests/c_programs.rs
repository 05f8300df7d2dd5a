//! The programs of `tests/c`, each compiled against the C libraries and run: natively,
//! or under an emulator. `tests/README.md` says what each shows, `tests/common/mod.rs` which
//! environment they take.

mod common;

#[path = "c_programs/sanitizers.rs"]
mod sanitizers;

#[path = "c_programs/musl.rs"]
mod musl;

#[path = "c_programs/unwinding.rs"]
mod unwinding;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{c_compiler, command, libraries, manner, root, run_to_success, scratch};

/// How a program is linked.
#[derive(Clone, Copy)]
enum Link {
    Archive,
    Shared,
    /// Not at all: the program loads the library itself.
    Nothing,
}

/// Where the program of `test` goes.
fn program_of(test: &str) -> PathBuf {
    scratch(&format!("{test}-{}", manner()))
}

/// The program `name`, compiled for `test`.
fn compile(test: &str, name: &str, link: Link) -> PathBuf {
    compile_with(test, name, link, &[], &[])
}

/// The same, with `first` words for the compiler, and `last` ones for the linker.
fn compile_with(test: &str, name: &str, link: Link, first: &[&str], last: &[&str]) -> PathBuf {
    // Without this the C library loads the unwinder when it needs it, from a place where a
    // cross compiler has none.
    let last: Vec<&str> = ["-Wl,--no-as-needed", "-lgcc_s"].iter().chain(last).copied().collect();
    compile_by(&c_compiler(), test, name, link, first, &last)
}

/// The same by another compiler, and without the unwinder.
fn compile_by(
    compiler: &OsStr,
    test: &str,
    name: &str,
    link: Link,
    first: &[&str],
    last: &[&str],
) -> PathBuf {
    let program = program_of(test);
    let mut cc = Command::new(compiler);
    cc.args(["-O2", "-g", "-Wall", "-Wno-infinite-recursion", "-funwind-tables", "-rdynamic"]);
    cc.args(first).arg("-I").arg(root().join("include"));
    cc.arg(root().join(format!("tests/c/{name}.c")));
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
    common::compile(cc.args(last).arg("-pthread").arg("-o").arg(&program));
    program
}

fn run(program: &Path, arguments: &[&str]) {
    run_to_success(command(program).args(arguments), &program.with_extension("log"));
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
    many_callbacks = "many_callbacks" Archive [];
    many_callbacks_per_call = "many_callbacks" Shared ["call"];
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
