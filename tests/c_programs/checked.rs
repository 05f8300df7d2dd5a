//! Programs under sanitizers and valgrind: no false report of what the kernel does, and
//! every true one of what a callback does. Where the compiler's sanitizers run natively.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{SUCCESS, libraries, program_of, root, run_to_its_end};

/// A tool, by what the compiler calls it, and the feature of the library for it.
#[derive(Clone, Copy)]
enum Tool {
    Sanitizer(&'static str, Option<&'static str>),
    Valgrind,
}

const ADDRESS: Tool = Tool::Sanitizer("address", Some("asan"));
const THREAD: Tool = Tool::Sanitizer("thread", Some("tsan"));
const UNDEFINED: Tool = Tool::Sanitizer("undefined", None);

/// `libneedm.a` with a feature.
fn library(feature: Option<&str>) -> PathBuf {
    let Some(feature) = feature else { return libraries().join("libneedm.a") };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(feature);
    let mut build = Command::new(root().join("qemu/build"));
    build.args(["x86_64", "--features", feature, "--target-dir"]).arg(target);
    // How the tests are built is not how the libraries are.
    build.env_remove("CARGO_PROFILE_RELEASE_PANIC").env_remove("CARGO_PROFILE_RELEASE_LTO");
    let built = build.output().expect("qemu/build can be run");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let lines = String::from_utf8(built.stdout).expect("a path");
    Path::new(lines.lines().last().expect("the folder")).join("libneedm.a")
}

/// How the program `name` ends under a tool, and what is said.
fn check(test: &str, tool: Tool, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let program = program_of(test);
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-g", "-fno-omit-frame-pointer", "-Wno-infinite-recursion", "-pthread"]);
    let feature = match tool {
        Tool::Sanitizer(kind, feature) => {
            cc.arg(format!("-fsanitize={kind}"));
            feature
        }
        Tool::Valgrind => None,
    };
    cc.arg("-I").arg(root().join("include")).arg(root().join(format!("tests/c/{name}.c")));
    cc.arg(library(feature)).args(["-Wl,--no-as-needed", "-lgcc_s", "-o"]).arg(&program);
    let output = cc.output().expect("the C compiler runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (status, said) = match tool {
        // Looking for leaks takes tracing, which not every machine allows.
        Tool::Sanitizer(..) => {
            let mut words = vec!["ASAN_OPTIONS=detect_leaks=0"];
            let path = program.display().to_string();
            words.push(&path);
            words.extend(arguments);
            run_to_its_end(Path::new("env"), &words, &program)
        }
        Tool::Valgrind => {
            let path = program.display().to_string();
            let ours = root().join("tests/c/valgrind.supp");
            let ours = format!("--suppressions={}", ours.display());
            let mut words = vec![&*ours, "--error-exitcode=9", "--fair-sched=try", &path];
            words.extend(arguments);
            run_to_its_end(Path::new("valgrind"), &words, &program)
        }
    };
    (status.code(), said)
}

macro_rules! quiet {
    ($($test:ident = $tool:ident $name:literal [$($argument:literal),*];)*) => {$(
        #[test]
        fn $test() {
            let (code, said) = check(stringify!($test), $tool, $name, &[$($argument),*]);
            assert_eq!(code, Some(SUCCESS), "{said}");
        }
    )*};
}

const VALGRIND: Tool = Tool::Valgrind;

quiet! {
    address_sanitizer_has_nothing_to_say_of_jobs = ADDRESS "jobs" [];
    address_sanitizer_has_nothing_to_say_of_endings = ADDRESS "endings" ["call"];
    address_sanitizer_has_nothing_to_say_of_jumps = ADDRESS "longjmp" [];
    address_sanitizer_has_nothing_to_say_of_registers = ADDRESS "registers" [];
    thread_sanitizer_has_nothing_to_say_of_jobs = THREAD "jobs" [];
    thread_sanitizer_has_nothing_to_say_of_jobs_per_call = THREAD "jobs" ["call"];
    undefined_behaviour_sanitizer_has_nothing_to_say_of_jobs = UNDEFINED "jobs" [];
    undefined_behaviour_sanitizer_has_nothing_to_say_of_endings = UNDEFINED "endings" ["call"];
    valgrind_has_nothing_to_say_of_jobs = VALGRIND "jobs" [];
    valgrind_has_nothing_to_say_of_endings = VALGRIND "endings" ["call"];
}

macro_rules! found {
    ($($test:ident = $tool:ident $mistake:literal $words:literal;)*) => {$(
        #[test]
        fn $test() {
            let (code, said) = check(stringify!($test), $tool, "mistakes", &[$mistake]);
            assert!(code != Some(SUCCESS) && said.contains($words), "{said}");
        }
    )*};
}

found! {
    address_sanitizer_finds_what_a_callback_writes_past_its_array =
        ADDRESS "stack" "stack-buffer-overflow";
    address_sanitizer_finds_what_a_callback_uses_after_its_end = ADDRESS "heap" "heap-use-after-free";
    thread_sanitizer_finds_a_race_of_two_callbacks = THREAD "race" "data race";
    undefined_behaviour_sanitizer_finds_an_overflow_in_a_callback =
        UNDEFINED "overflow" "signed integer overflow";
    valgrind_finds_what_a_callback_uses_after_its_end = VALGRIND "heap" "Invalid read";
    valgrind_finds_what_a_callback_never_set = VALGRIND "unset" "uninitialised";
}
