//! Backtraces by tools that read the unwind tables themselves: a debugger (through the
//! emulator's stub under an emulator), and libunwind.
#![allow(dead_code, unused_imports, unused_macros)] // libunwind is only where it is installed

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::common::arch::where_tools_run;
use crate::common::runner;
use crate::{Link, compile, compile_with, run};

/// The functions of a backtrace that starts in a callback, innermost first.
const FRAMES: [&str; 4] = ["needm_callee", "needm_entry", "needm_caller", "main"];

/// What the debugger prints for the program, which it stops nine times.
fn debugged(test: &str) -> String {
    let program = compile(test, "backtrace", Link::Archive);
    let mut gdb = Command::new("gdb-multiarch");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "set width 0"]);
    gdb.args(["-ex", "handle SIGSEGV nostop noprint pass", "-ex", "break shown"]);
    let words = runner();
    let mut emulator = words.split_first().map(|(first, rest)| {
        // A port that is free now.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("a port").port().to_string();
        let mut command = Command::new(first);
        command.args(rest).args(["-g", &port]).arg(&program);
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
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

/// How many of [`FRAMES`] a backtrace has, in their order.
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
fn a_debugger_sees_callback_needm_and_c_in_one_backtrace() {
    let text = debugged("a_debugger_sees_callback_needm_and_c_in_one_backtrace");
    let backtraces: Vec<&str> = text.split("#0 ").skip(1).collect();
    assert_eq!(backtraces.len(), 9, "{text}");
    for backtrace in backtraces {
        let backtrace = format!("#0 {backtrace}");
        assert_eq!(found(&backtrace), FRAMES.len(), "{backtrace}\n--- in ---\n{text}");
    }
}

where_tools_run! {
    #[test]
    fn libunwind_sees_callback_needm_and_c_in_one_backtrace() {
        let test = "libunwind_sees_callback_needm_and_c_in_one_backtrace";
        let (first, last) = (["-DWITH_LIBUNWIND"], ["-lunwind"]);
        run(&compile_with(test, "backtrace", Link::Archive, &first, &last), &[]);
    }
}
