//! Programs under sanitizers and valgrind: they report nothing that needm does, and every
//! mistake that a callback makes.
#![allow(dead_code, unused_imports, unused_macros)] // the tests are only where the tools run

use std::path::PathBuf;
use std::process::Command;

use crate::common::arch::{self, where_tools_run};
use crate::common::{self, SUCCESS, libraries, root, scratch};
use crate::program_of;

/// What checks a program.
#[derive(Clone, Copy)]
enum Tool {
    /// What the compiler calls the sanitizer, and needm's feature for it.
    Sanitizer(&'static str, Option<&'static str>),
    Valgrind,
}

const ADDRESS: Tool = Tool::Sanitizer("address", Some("asan"));
const THREAD: Tool = Tool::Sanitizer("thread", Some("tsan"));
const UNDEFINED: Tool = Tool::Sanitizer("undefined", None);
const VALGRIND: Tool = Tool::Valgrind;

/// `libneedm.a` with a feature.
fn library(feature: Option<&str>) -> PathBuf {
    let Some(feature) = feature else { return libraries().join("libneedm.a") };
    let mut build = Command::new(root().join("qemu/build"));
    build.args([arch::own().name, "--features", feature, "--target-dir"]).arg(scratch(feature));
    // How the tests are built is not how the libraries are.
    for setting in ["PANIC", "LTO", "CODEGEN_UNITS"] {
        build.env_remove(format!("CARGO_PROFILE_RELEASE_{setting}"));
    }
    common::build(&mut build).join("libneedm.a")
}

/// The exit code of the program `name` under a tool, and what both wrote.
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
    common::compile(&mut cc);
    let mut command = match tool {
        Tool::Sanitizer(..) => Command::new(&program),
        Tool::Valgrind => {
            let mut valgrind = Command::new("valgrind");
            let suppressions = root().join("tests/c/valgrind.supp");
            valgrind.arg(format!("--suppressions={}", suppressions.display()));
            valgrind.args(["--error-exitcode=9", "--fair-sched=try"]).arg(&program);
            valgrind.env("NEEDM_WATCHED", "1");
            valgrind
        }
    };
    // To find leaks it traces the program, which not every machine allows.
    command.env("ASAN_OPTIONS", "detect_leaks=0").args(arguments);
    let (status, text) = common::run(&mut command, &program.with_extension("log"));
    (status.code(), text)
}

macro_rules! silent {
    ($($test:ident = $tool:ident $name:literal [$($argument:literal),*];)*) => {$(
        #[test]
        fn $test() {
            let (code, text) = check(stringify!($test), $tool, $name, &[$($argument),*]);
            assert_eq!(code, Some(SUCCESS), "{text}");
        }
    )*};
}

macro_rules! reported {
    ($($test:ident = $tool:ident $mistake:literal $words:literal;)*) => {$(
        #[test]
        fn $test() {
            let name = "callback_mistakes";
            let (code, text) = check(stringify!($test), $tool, name, &[$mistake]);
            assert!(code != Some(SUCCESS) && text.contains($words), "{text}");
        }
    )*};
}

where_tools_run! {
    silent! {
        address_sanitizer_is_silent_about_many_callbacks = ADDRESS "many_callbacks" [];
        address_sanitizer_is_silent_about_endings = ADDRESS "endings" ["call"];
        address_sanitizer_is_silent_about_longjmp = ADDRESS "longjmp" [];
        address_sanitizer_is_silent_about_registers = ADDRESS "registers" [];
        fake_stacks_of_address_sanitizer_go_with_their_callbacks = ADDRESS "fake_stacks" [];
        thread_sanitizer_is_silent_about_many_callbacks = THREAD "many_callbacks" [];
        thread_sanitizer_is_silent_about_many_callbacks_per_call =
            THREAD "many_callbacks" ["call"];
        undefined_behaviour_sanitizer_is_silent_about_many_callbacks =
            UNDEFINED "many_callbacks" [];
        undefined_behaviour_sanitizer_is_silent_about_endings = UNDEFINED "endings" ["call"];
        valgrind_is_silent_about_many_callbacks = VALGRIND "many_callbacks" [];
        valgrind_is_silent_about_endings = VALGRIND "endings" ["call"];
        valgrind_is_silent_about_jumps_past_callbacks = VALGRIND "many_jumps" [];
        valgrind_is_silent_about_threads_that_needm_starts = VALGRIND "spawn_watched" [];
    }

    reported! {
        address_sanitizer_reports_a_write_past_a_callbacks_array =
            ADDRESS "past_an_array" "stack-buffer-overflow";
        address_sanitizer_reports_a_callbacks_use_after_free =
            ADDRESS "use_after_free" "heap-use-after-free";
        thread_sanitizer_reports_a_race_of_two_callbacks = THREAD "race" "data race";
        undefined_behaviour_sanitizer_reports_a_callbacks_signed_overflow =
            UNDEFINED "signed_overflow" "signed integer overflow";
        valgrind_reports_a_callbacks_use_after_free = VALGRIND "use_after_free" "Invalid read";
        valgrind_reports_what_a_callback_never_set = VALGRIND "never_set" "uninitialised";
    }
}
