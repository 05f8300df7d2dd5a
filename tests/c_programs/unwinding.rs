//! Backtraces by those that read the unwind tables for themselves: a debugger, through
//! an emulator's stub where there is one, and libunwind.

use std::env;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::{Link, compile};

/// What a backtrace from a callback goes through, from the inside outwards.
const FRAMES: [&str; 4] = ["needm_callee", "needm_entry", "needm_caller", "main"];

/// What the debugger says: the program, stopped nine times.
fn debugged(test: &str) -> String {
    let program = compile(test, "backtrace", Link::Archive);
    let mut gdb = Command::new("gdb-multiarch");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "set width 0"]);
    gdb.args(["-ex", "handle SIGSEGV nostop noprint pass", "-ex", "break shown"]);
    let runner = env::var("NEEDM_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut emulator = words.next().map(|first| {
        // A port that nobody has now.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("a port").port().to_string();
        let mut command = Command::new(first);
        command.args(words).args(["-g", &port]).arg(&program);
        let emulator = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        gdb.args(["-ex", "set tcp connect-timeout 60"]);
        gdb.args(["-ex", &format!("target remote localhost:{port}"), "-ex", "continue"]);
        emulator.expect("the emulator starts")
    });
    if emulator.is_none() {
        gdb.args(["-ex", "run"]);
    }
    for _ in 0..9 {
        gdb.args(["-ex", "backtrace", "-ex", "continue"]);
    }
    let output = gdb.arg(&program).stdin(Stdio::null()).output().expect("gdb-multiarch runs");
    if let Some(emulator) = &mut emulator {
        let _ = emulator.kill();
        let _ = emulator.wait();
    }
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    said.concat()
}

/// Frames of one backtrace that are found in their order.
fn found(backtrace: &str) -> usize {
    let mut wanted = FRAMES.iter();
    let mut next = wanted.next();
    for line in backtrace.lines().filter(|line| line.starts_with('#')) {
        if next.is_some_and(|name| line.contains(&format!("{name} ("))) {
            next = wanted.next();
        }
    }
    FRAMES.len() - next.map_or(0, |_| 1 + wanted.len())
}

#[test]
fn a_debugger_sees_through_the_kernel_from_callbacks_and_faults() {
    let said = debugged("a_debugger_sees_through_the_kernel_from_callbacks_and_faults");
    let backtraces: Vec<&str> = said.split("#0 ").skip(1).collect();
    assert_eq!(backtraces.len(), 9, "{said}");
    for backtrace in backtraces {
        let backtrace = format!("#0 {backtrace}");
        assert_eq!(found(&backtrace), FRAMES.len(), "{backtrace}\n--- in ---\n{said}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn libunwind_walks_through_the_kernel_from_callbacks_and_faults() {
    let test = "libunwind_walks_through_the_kernel_from_callbacks_and_faults";
    crate::run(
        &crate::compile_with(
            test,
            "backtrace",
            Link::Archive,
            &["-DWITH_LIBUNWIND"],
            &["-lunwind"],
        ),
        &[],
    );
}
