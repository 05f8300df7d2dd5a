//! The examples in C, each built and run by the script `run` in its folder, and what they print.
//! (Those in Rust are tests of their own.)

mod common;

use std::process::Command;

use common::arch::where_tools_run;
use common::{c_compiler, libraries, root};

/// What `examples/NAME/run` prints, and whether it succeeded.
fn output(name: &str, arguments: &[&str]) -> (String, bool) {
    let mut script = Command::new(root().join("examples").join(name).join("run"));
    script.args(arguments).env("NEEDM_LIB_DIR", libraries()).env("NEEDM_CC", c_compiler());
    let output = script.output().expect("the script starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    (printed, output.status.success())
}

#[test]
fn a_plug_in_host_in_c_survives_its_plug_ins() {
    if common::is_emulated() && common::arch::own().qemu_mixes_up_threads {
        println!("skipped: an interrupted thread gets another one's thread pointer");
        return;
    }
    let (printed, succeeded) = output("plugin-host", &[]);
    assert!(succeeded);
    let arch = common::arch::own();
    let row = |name: &str| {
        let row = printed
            .lines()
            .find(|line| line.split(' ').next() == Some(name))
            .expect("each has a row");
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let fault =
        |name: &str, place: &str| format!("{name} disabled a fault ended the callback {place}");
    assert_eq!(row("good"), "good ok returned - -");
    let aborted = |place| if arch.aborts_are_unwound { place } else { "-" };
    assert_eq!(row("abort"), fault("abort", &format!("SIGABRT {}", aborted("check < plugin_run"))));
    // A part of the C library's that has no name comes first on i386.
    assert!(row("smash_checked").starts_with(&fault("smash_checked", "SIGABRT ")));
    assert!(row("smash_checked").contains(aborted("copy_name")));
    assert_eq!(
        row("loop"),
        "loop disabled an interrupt ended the callback - wait_for < plugin_run"
    );
    assert_eq!(row("null"), fault("null", "SIGSEGV save < plugin_run"));
    assert_eq!(row("file"), fault("file", "SIGBUS first_byte < plugin_run"));
    assert_eq!(row("illegal"), fault("illegal", "SIGILL newest_instruction < plugin_run"));
    assert_eq!(row("breakpoint"), fault("breakpoint", "SIGTRAP debug_me < plugin_run"));
    let divided = fault("divide", "SIGFPE average < plugin_run");
    assert_eq!(
        row("divide"),
        if arch.division_faults { &divided } else { "divide ok returned - -" }
    );
    assert!(row("recursion").ends_with("SIGSEGV descend < descend < descend"));
    // Where the address to return to is impossible, the fault is at the return; else it is where
    // the return leads, and no unwinder comes back from there.
    let place = if arch.impossible_returns_fault { "SIGSEGV copy_name" } else { "SIGSEGV -" };
    assert_eq!(row("smash"), fault("smash", place));
}

#[test]
fn coroutines_in_callbacks_may_crash() {
    let (printed, succeeded) = output("coroutines", &[]);
    assert!(succeeded);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines,
        [
            "returned, sum 55",
            "a fault ended the callback, sum 1",
            "the stack of the G does not hold it, sum 1"
        ]
    );
}

#[test]
fn jobs_in_cpp_throw_and_crash() {
    let cpp = Command::new(c_compiler()).arg("-print-prog-name=cc1plus").output();
    if !cpp.is_ok_and(|path| path.stdout.starts_with(b"/")) {
        println!("skipped: no C++ compiler (Debian: g++, or g++-<architecture>)");
        return;
    }
    let (printed, succeeded) = output("cpp", &[]);
    assert!(succeeded);
    assert_eq!(printed.trim_end(), "sum 100, thrown 100, crashed 100, panicked 100");
}

#[test]
fn an_audio_thread_meets_no_page_fault() {
    let (printed, succeeded) = output("audio", &["20000"]);
    assert!(succeeded);
    let row = printed.lines().find(|line| line.starts_with("by needm")).expect("it is measured");
    // An emulator has page faults of its own.
    let faults = row.split_whitespace().last();
    assert!(common::is_emulated() || faults == Some("0"), "{row}");
    assert!(printed.contains("crashed in 1 period\n"));
}

where_tools_run! {
    #[test]
    fn functions_of_lua_are_called_on_threads_of_libuv_and_glib() {
        let (printed, succeeded) = output("lua", &[]);
        assert!(succeeded);
        if printed.starts_with("skipped") {
            eprintln!("{printed}");
            return;
        }
        let lines: Vec<_> = printed.lines().collect();
        let [libuv, glib, error, in_lua, in_c, crash, after, coroutine, again, ref on_c_stacks @ ..] =
            lines[..]
        else {
            panic!("{} lines", lines.len());
        };
        for pool in [libuv, glib] {
            // fib(15) is 610.
            assert!(pool.ends_with(" on several threads: 0 failed, sum 244000"), "{pool}");
        }
        assert!(error.ends_with("script.lua:14: no result for 10"), "{error}");
        assert!(in_lua.ends_with("stack overflow"), "{in_lua}");
        assert!(in_c.ends_with("C stack overflow"), "{in_c}");
        assert!(crash.ends_with(" NEEDM_EFAULT"), "{crash}");
        assert!(after.ends_with(" 55"), "{after}");
        assert!(coroutine.ends_with(" 10") && again.ends_with(" 20"), "{coroutine}, {again}");
        let on_c_stacks: Vec<_> = on_c_stacks.iter().map(|line| line[38..].trim()).collect();
        assert_eq!(
            on_c_stacks,
            [
                "521", // the bytes of "needm"
                "10",
                "20",
                "none there",
                "on a C stack, C on the thread's",
                "55",
                "found, found",
                "NEEDM_EFAULT",
                "NEEDM_EOVERFLOW",
                "NEEDM_EPANIC",
                "NEEDM_EFAULT",
                "55",
                "1",
            ]
        );
    }
}
