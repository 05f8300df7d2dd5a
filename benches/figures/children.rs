//! Rows that need a process of their own: memory, crowds of threads, and instructions
//! counted by valgrind. This program runs itself with `--child WHAT [NUMBER]`, which prints
//! one number a line.
//!
//! # Safety
//! The loops of `loops.c` call the functions that they are given with the pointer that goes
//! with them: null, or a `u64` that lives until the loop returns.

use std::env;
use std::ffi::c_void;
use std::process::Command;
use std::ptr;
use std::time::Duration;

use needm_benches::c::needm_callback;
use needm_benches::{Started, loops};

use super::table::{Goal, Table};
use super::threads::call_back;
use super::world;
use crate::arch;

pub(crate) const CHILD: &str = "--child";

/// How many threads, or Ms, are made to measure the memory of one.
const MANY: u32 = 1000;

fn rss() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages = statm.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    pages.expect("a number") * 4096
}

extern "C" fn nothing(_: *mut c_void) {}

extern "C" fn note_rss(into: *mut c_void) {
    // SAFETY: `crowd` passes its own `u64`, which lives until the loop has returned.
    unsafe { *into.cast::<u64>() = rss() };
}

extern "C" fn note_fast_path(into: *mut c_void) {
    let repeat = |n| {
        // SAFETY: `run` has started needm, and the loop passes its own sum.
        unsafe { loops::loop_callbacks(needm_callback, n) }
    };
    repeat(1000);
    let best = (0..20).map(|_| repeat(100_000)).min().unwrap_or(0);
    // SAFETY: `crowd` passes its own `u64`, which lives until the loop has returned.
    unsafe { *into.cast::<u64>() = best };
}

extern "C" fn note_stops(into: *mut c_void) {
    // SAFETY: `crowd` passes its own `u64`, which lives until the loop has returned.
    unsafe { *into.cast::<u64>() = (world::stops(500, Duration::ZERO) * 1000.0) as u64 };
}

/// Threads that run `work` and stay while `meanwhile` runs: what `meanwhile` has noted, and
/// the nanoseconds for starting and joining them.
fn crowd(
    work: needm_benches::Function,
    count: u64,
    meanwhile: needm_benches::Function,
) -> (u64, u64) {
    let mut noted = 0_u64;
    // SAFETY: `work` is `nothing` or `call_back`, which do not read their argument, and
    // `meanwhile` one of the `note_…` or `nothing`, which gets a `u64` that outlives the loop.
    let took = unsafe {
        loops::loop_crowd(work, ptr::null_mut(), count, meanwhile, (&raw mut noted).cast())
    };
    (noted, took)
}

pub(crate) fn run(args: &[String]) {
    let number = args.get(1).and_then(|arg| arg.parse::<u64>().ok()).unwrap_or(0);
    match args.first().map(String::as_str) {
        Some("memory") => {
            let started = Started::new(0, 0, 0);
            // The C library keeps memory of exited threads: of these, so that both that
            // follow find it.
            crowd(nothing, u64::from(MANY), note_rss);
            let (without, _) = crowd(nothing, u64::from(MANY), note_rss);
            let (with, _) = crowd(call_back, u64::from(MANY), note_rss);
            println!("{}", (with - without) / u64::from(MANY));
            drop(started);
        }
        Some("idle") => {
            let before = rss();
            let started = Started::new(0, 0, MANY);
            println!("{}", (rss() - before) / u64::from(MANY));
            drop(started);
        }
        Some("crowd") => {
            let started = Started::new(0, 16 * 1024, 0);
            let (_, without) = crowd(nothing, number, nothing);
            let (repeated, with) = crowd(call_back, number, note_fast_path);
            println!("{}\n{}\n{}", repeated / 1000, with / number, without / number);
            drop(started);
        }
        Some("stops") => {
            let started = Started::new(0, 16 * 1024, 0);
            println!("{}", crowd(call_back, number, note_stops).0);
            drop(started);
        }
        Some("instructions") => {
            let started = Started::new(0, 0, 0);
            // SAFETY: needm has been started, and the loop passes its own sum.
            unsafe { loops::loop_callbacks(needm_callback, number) };
            drop(started);
        }
        Some("calls") => {
            let started = Started::new(0, 0, 0);
            // SAFETY: the loop calls its own function with its own sum.
            unsafe { loops::loop_calls(number) };
            drop(started);
        }
        other => panic!("{CHILD} {other:?}"),
    }
}

fn child(command: &mut Command, args: &[&str]) -> Option<Vec<f64>> {
    let output = command.arg(CHILD).args(args).output().ok()?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().map(|line| line.trim().parse().ok()).collect()
}

fn own() -> Command {
    Command::new(env::current_exe().expect("this program"))
}

/// Instructions of a whole run under valgrind.
fn collected(what: &str, count: u32) -> Option<f64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let output = valgrind
        .arg(env::current_exe().expect("this program"))
        .args([CHILD, what, &count.to_string()])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// Instructions of one repetition: those of a run with many, less those of one with fewer.
fn instructions(what: &str) -> Option<f64> {
    const FEW: u32 = 10_000;
    Some((collected(what, 2 * FEW)? - collected(what, FEW)?) / f64::from(FEW))
}

pub(crate) fn measure(rows: &mut Table) {
    let mut one = |name, what: &str, unit, goal| match child(&mut own(), &[what]).as_deref() {
        Some([value]) => rows.add(name, *value, unit, goal),
        _ => rows.note(format!("{name}: not measured")),
    };
    one("memory of a bound thread that has called back", "memory", "bytes", Goal::AtMost(6144.0));
    one("memory of an idle M", "idle", "bytes", Goal::AtMost(4096.0));
    crowds(rows);
    match child(&mut own(), &["stops", "10000"]).as_deref() {
        Some([nanos]) => {
            let name = "stopping 10 000 bound threads that do nothing";
            rows.add(name, nanos / 1000.0, "us", Goal::AtMost(1000.0));
        }
        _ => rows.note("stopping 10 000 threads: not measured".into()),
    }
    // The loop's own instructions, and those of the called function, are in both.
    match (instructions("instructions"), instructions("calls")) {
        (Some(with), Some(without)) => {
            let most = Goal::AtMost(f64::from(arch::own().fast_instructions));
            rows.add("instructions of the fast path", with - without, "", most);
        }
        _ => rows.note("instructions: not measured: there is no valgrind".into()),
    }
}

fn crowds(rows: &mut Table) {
    let names = [
        (1, "fast-path callback beside 1 bound thread", ""),
        (1000, "", "starting and joining 1000 bound threads, each"),
        (5000, "", "starting and joining 5000 bound threads, each"),
        (
            10_000,
            "fast-path callback beside 10 000 bound threads",
            "starting and joining 10 000, each",
        ),
    ];
    for (count, repeated, each) in names {
        match child(&mut own(), &["crowd", &count.to_string()]).as_deref() {
            Some([nanos, with, without]) => {
                if !repeated.is_empty() {
                    let goal = if count == 1 { Goal::None } else { Goal::Times(1.1, names[0].1) };
                    rows.add(repeated, *nanos / 100.0, "ns", goal);
                }
                if !each.is_empty() {
                    rows.add(each, with / 1000.0, "us", Goal::None);
                    rows.note(format!("{each}: without a callback {:.1} us", without / 1000.0));
                }
            }
            _ => rows.note(format!(
                "{count} bound threads: not measured (threads-max or max_map_count, perhaps)"
            )),
        }
    }
}
