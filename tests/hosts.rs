//! Hosts without a C library: builds the programs of `tests/hosts` with `qemu/host`, runs
//! them, natively or under `NEEDM_RUNNER`, and runs the same test bodies with a C library.
//!
//! `tests/common/mod.rs` says which environment it takes. Without `NEEDM_ARCH`, which
//! `qemu/test` sets, programs in Rust without a C library are not built, because they need a
//! core that is built from source.

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::{env, fs, io};

use common::{SUCCESS, c_compiler, command, libraries, manner, root, scratch, try_compile};

/// The test bodies that run on both kinds of host.
#[path = "hosts/bodies.rs"]
mod bodies;

/// What the bodies need of their host.
#[path = "hosts/hosted.rs"]
mod host;

/// Runs a program: its exit status, and what it wrote to standard error.
fn run(command: &mut Command, name: &str) -> (ExitStatus, String) {
    common::run(command, &scratch(&format!("host-{name}-{}.log", manner())))
}

/// The architecture, if `qemu/test` runs this.
fn arch() -> Option<String> {
    let arch = env::var("NEEDM_ARCH").ok();
    if arch.is_none() {
        eprintln!("skipped: needs a core built from source, which qemu/test sets up");
    }
    arch
}

/// The folder of the programs and libraries without a C library.
fn built() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER
        .get_or_init(|| Some(common::build(Command::new(root().join("qemu/host")).arg(arch()?))));
    folder.as_deref()
}

fn assert_success((status, said): (ExitStatus, String)) {
    assert_eq!(status.code(), Some(SUCCESS), "{status}:\n{said}");
}

/// Runs a body without a C library: `None` if it was not built.
fn without(name: &str) -> Option<(ExitStatus, String)> {
    let mut command = command(&built()?.join("bodies"));
    command.arg(name).arg(manner());
    Some(run(&mut command, &format!("without-{name}")))
}

/// Runs a body with a C library, in a process of its own: this function starts itself again.
fn with(name: &str, body: fn()) {
    const OWN: &str = "NEEDM_HOST_BODY";
    if env::var_os(OWN).is_some_and(|own| own == name) {
        body();
        std::process::exit(SUCCESS);
    }
    let own = env::current_exe().expect("this program has a path");
    let mut command = command(&own);
    command.args(["--exact", &format!("with_a_c_library::{name}"), "--nocapture"]).env(OWN, name);
    assert_success(run(&mut command, &format!("with-{name}")));
}

macro_rules! bodies {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        mod without_a_c_library {
            $(#[test]
            fn $name() {
                if let Some(result) = crate::without(stringify!($name)) {
                    crate::assert_success(result);
                }
            })*
        }

        mod with_a_c_library {
            $(#[test]
            fn $name() {
                let body = crate::bodies::ALL.iter().find(|(name, _)| *name == stringify!($name));
                crate::with(stringify!($name), body.expect("it is listed").1);
            })*
        }
    };
}

bodies! {
    foreign_threads_fault_and_recover
    callbacks_nest_through_ccall
    a_stack_that_runs_out_is_an_error
    raw_exits_return_their_ms
    the_world_stops_with_many_threads
    spawned_threads_leave_nothing
    spawned_threads_that_exit_raw_leave_nothing
    the_world_stops_with_many_spawned_threads
    threads_are_spawned_from_many_at_once
    needm_stops_and_starts
}

#[test]
fn every_body_is_run() {
    let listed: Vec<_> = bodies::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, NAMES);
}

#[test]
fn joined_threads_have_run_and_leave_nothing() {
    if let Some(result) = without("joined_threads_have_run_and_leave_nothing") {
        assert_success(result);
    }
}

#[test]
fn threads_have_a_guard_below_their_stacks() {
    if let Some(result) = without("threads_have_a_guard_below_their_stacks") {
        assert_success(result);
    }
}

#[test]
fn a_panic_without_a_c_library_prints_one_line_and_aborts() {
    use std::os::unix::process::ExitStatusExt;
    let Some((status, said)) = without("a_panic_prints_one_line_and_aborts") else { return };
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with("qemu:")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("panicked at "), "{said}");
    assert!(lines[0].ends_with(": on purpose"), "{said}");
}

#[test]
fn a_thread_that_overruns_its_stack_faults_in_the_guard() {
    use std::os::unix::process::ExitStatusExt;
    let name = "a_thread_that_overruns_its_stack_faults_in_the_guard";
    let Some((status, said)) = without(name) else { return };
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{said}");
}

#[test]
fn the_smallest_program_fits_in_what_the_readme_names() {
    let Some(folder) = built() else { return };
    let readme = fs::read_to_string(root().join("README.md")).expect("a page");
    let (_, rest) = readme.split_once("is such a program, of less than ").expect("it is named");
    let limit = rest.split(' ').next().and_then(|number| number.parse::<u64>().ok());
    let limit = limit.expect("a number") * 1024;
    assert_success(run(&mut command(&folder.join("minimal")), "minimal"));
    let stripped = scratch("minimal-stripped");
    let strip = Command::new(c_compiler()).arg("-print-prog-name=strip").output();
    let strip = String::from_utf8(strip.expect("the compiler starts").stdout).expect("a path");
    common::compile(
        Command::new(strip.trim()).arg("-o").arg(&stripped).arg(folder.join("minimal")),
    );
    let size = fs::metadata(&stripped).expect("it is there").len();
    // Written directly: the test harness hides what a passing test prints.
    let _ = writeln!(io::stderr(), "the smallest program without a C library: {size} bytes");
    assert!(size < limit, "{size} bytes");
    assert_success(run(&mut command(&stripped), "minimal-stripped"));
}

/// Compiles a host in C with the library in `folder`, linked by the script in `scripts`: an
/// error is what the compiler said.
fn compile(source: &Path, folder: &Path, scripts: &Path, program: &Path) -> Result<(), String> {
    let mut cc = Command::new(c_compiler());
    cc.args(["-O2", "-g", "-Wall", "-Wextra", "-Wno-infinite-recursion"]);
    cc.args(["-ffreestanding", "-nostdlib", "-nostartfiles", "-static", "-no-pie"]);
    // The compiler must not turn own.c's memcpy into a call of itself.
    cc.args(["-fno-stack-protector", "-fno-tree-loop-distribute-patterns"]);
    let arch = common::arch::own();
    cc.args(arch.freestanding_c_flags);
    cc.arg(format!("-Wl,-z,max-page-size={},--build-id=none,--gc-sections", arch.max_page()));
    cc.arg("-I").arg(root().join("include"));
    cc.arg("-L").arg(scripts).arg("-T").arg(scripts.join(format!("{}.ld", arch.name)));
    cc.arg(source).arg(root().join("tests/hosts/foreign.S"));
    cc.arg(folder.join("libneedm.a")).arg("-o").arg(program);
    try_compile(&mut cc)
}

#[test]
fn a_host_in_c_without_a_c_library_calls_back_and_stops_the_world() {
    let program = scratch(&format!("host-c-{}", manner()));
    let source = root().join("tests/hosts/host.c");
    let Some(folder) = built() else { return };
    compile(&source, folder, &root().join("linker"), &program).expect("it links");
    assert_success(run(command(&program).arg(manner()), "host-c"));
}

#[test]
fn a_host_with_its_own_start_provides_only_two_memory_functions() {
    let program = scratch(&format!("host-own-{}", manner()));
    let source = root().join("tests/hosts/own.c");
    compile(&source, libraries(), &root().join("linker"), &program).expect("it links");
    assert_success(run(&mut command(&program), "host-own"));
}

#[test]
fn the_guides_host_without_a_c_library_runs() {
    let page = fs::read_to_string(root().join("src/guide/bare_host.md")).expect("a page");
    let (_, text) = page.split_once("\n```c\n").expect("a program");
    let text = text.split_once("\n```").expect("its end").0;
    let source = scratch("host-guide.c");
    fs::write(&source, text).expect("a source file");
    let program = source.with_extension("");
    let Some(folder) = built() else { return };
    compile(&source, folder, &root().join("linker"), &program).expect("it links");
    let (status, said) = run(&mut command(&program), "host-guide");
    assert!(status.success(), "{status} {said}");
}

/// Links a static program with glibc that spawns a thread, with `also` before the library: what it says must be
/// `answer`, an error number or 0.
fn spawns_in_a_static_program(name: &str, also: &[&str], answer: &str) {
    let program = scratch(&format!("host-static-{name}-{}", manner()));
    let source = program.with_extension("c");
    let text = "#include <errno.h>
        #include <needm.h>
        static void nothing(void *arg) { (void)arg; }
        int main(void) {
            if (needm_start(0) || needm_callback(nothing, 0, 0, 0)) return 1;
            int spawned = needm_spawn(nothing, 0);
            if (ANSWER == 0) return spawned == 0 ? 200 : 2;
            return spawned == NEEDM_ESYS && errno == ANSWER ? 200 : 2;
        }";
    fs::write(&source, text).expect("a text");
    let mut cc = Command::new(c_compiler());
    cc.arg("-static").arg("-I").arg(root().join("include")).arg(format!("-DANSWER={answer}"));
    cc.arg(&source).args(also).arg(libraries().join("libneedm.a"));
    common::compile(cc.arg("-o").arg(&program));
    assert_success(run(&mut command(&program), "host-static"));
}

#[test]
fn with_a_static_c_library_without_threads_needm_spawn_is_refused() {
    // A thread that needm makes itself would lack what that library keeps for each thread.
    spawns_in_a_static_program("none", &[], "ENOSYS");
    // A thread that could not be let go of would stay.
    spawns_in_a_static_program("create", &["-Wl,-u,pthread_create"], "ENOSYS");
    spawns_in_a_static_program("both", &["-Wl,-u,pthread_create,-u,pthread_detach"], "0");
}

/// Links a host with changed linker scripts: what the linker says if it refuses, else what
/// the program says, which must end at its start.
fn with_scripts(name: &str, source: &Path, change: fn(&str) -> String) -> Option<String> {
    let scripts = scratch(&format!("linker-{name}"));
    fs::create_dir_all(&scripts).expect("a folder");
    for file in fs::read_dir(root().join("linker")).expect("the folder").flatten() {
        let text = fs::read_to_string(file.path()).expect("a text");
        fs::write(scripts.join(file.file_name()), change(&text)).expect("a text");
    }
    let program = scripts.join("program");
    if let Err(said) = compile(source, built()?, &scripts, &program) {
        return Some(said);
    }
    let (status, said) = run(command(&program).arg(manner()), name);
    // The exit status of a loader that cannot load a program; no signal.
    assert_eq!(status.code(), Some(127), "{status}:\n{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    Some(said)
}

fn host_in_c() -> PathBuf {
    root().join("tests/hosts/host.c")
}

#[test]
fn a_program_without_a_thread_local_segment_says_so_at_its_start() {
    let without_tls = |text: &str| text.replace("tls     PT_TLS", "tls     PT_NULL");
    let Some(said) = with_scripts("no-tls", &host_in_c(), without_tls) else { return };
    assert!(said.contains("no thread-local segment (PT_TLS); see linker/README.md"), "{said}");
}

#[test]
fn a_program_without_its_headers_says_so_at_its_start() {
    let without_headers = |text: &str| {
        text.replace(" FILEHDR PHDRS", "").replace(". = BASE + SIZEOF_HEADERS", ". = BASE")
    };
    let Some(said) = with_scripts("no-headers", &host_in_c(), without_headers) else { return };
    assert!(said.contains("headers are in no segment"), "{said}");
    assert!(said.contains("see linker/README.md"), "{said}");
}

#[test]
fn a_program_with_thread_local_storage_outside_its_segment_says_so_at_its_start() {
    // The thread-local segment is there, with the wrong section in it.
    let elsewhere = |text: &str| {
        let text = text.replace(".tdata : { *(.tdata .tdata.*) } :data :tls", "");
        text.replace(
            ".tbss : { *(.tbss .tbss.*) } :data :tls",
            ".fake : { QUAD(1) } :data :tls\n.tbss : { *(.tbss .tbss.* .tdata .tdata.*) } :data",
        )
    };
    let Some(said) = with_scripts("elsewhere", &host_in_c(), elsewhere) else { return };
    assert!(said.contains("thread-local"), "{said}");
}

#[test]
fn a_program_without_a_main_function_does_not_link() {
    let source = scratch("no-main.c");
    fs::write(&source, "int needm_mian(void) { return 0; }\n").expect("a text");
    let Some(said) = with_scripts("no-main", &source, str::to_owned) else { return };
    assert!(said.contains("undefined reference to `needm_main'"), "{said}");
}

#[test]
fn a_script_without_an_entry_does_not_link() {
    let without_entry = |text: &str| text.replace("ENTRY(_start)", "");
    let Some(said) = with_scripts("no-entry", &host_in_c(), without_entry) else { return };
    assert!(said.contains("there is no _start"), "{said}");
}

#[test]
fn a_program_with_relocations_for_run_time_does_not_link() {
    let source = scratch("ifunc.c");
    let text = "static int two(void) { return 2; }
        static void *pick(void) { return two; }
        int picked(void) __attribute__((ifunc(\"pick\")));
        int needm_main(void) { return picked(); }\n";
    fs::write(&source, text).expect("a text");
    let Some(said) = with_scripts("ifunc", &source, str::to_owned) else { return };
    assert!(said.contains("relocations left for run time"), "{said}");
}
