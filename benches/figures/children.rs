//! What wants a process of its own: memory, crowds of threads, and instructions counted
//! by valgrind. This program runs itself with `--child WHAT [NUMBER]`, which prints one
//! number a line.

use std::env;
use std::ffi::c_void;
use std::process::Command;
use std::ptr;
use std::time::Duration;

use needm_benches::c::needm_callback;
use needm_benches::{Kernel, loops};

use super::table::{Goal, Table};
use super::threads::call_back;
use super::world;

pub(crate) const CHILD: &str = "--child";

/// Threads, or Ms, whose memory is measured.
const MANY: u32 = 1000;

fn rss() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the system says");
    let pages = statm.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    pages.expect("a number") * 4096
}

extern "C" fn nothing(_: *mut c_void) {}

extern "C" fn note_rss(into: *mut c_void) {
    // SAFETY: `crowd` gives its own variable.
    unsafe { *into.cast::<u64>() = rss() };
}

extern "C" fn note_steady(into: *mut c_void) {
    let steady = |n| {
        // SAFETY: the kernel runs.
        unsafe { loops::loop_callbacks(needm_callback, n) }
    };
    steady(1000);
    let best = (0..20).map(|_| steady(100_000)).min().unwrap_or(0);
    // SAFETY: `crowd` gives its own variable.
    unsafe { *into.cast::<u64>() = best };
}

extern "C" fn note_stops(into: *mut c_void) {
    // SAFETY: `crowd` gives its own variable.
    unsafe { *into.cast::<u64>() = (world::stops(500, Duration::ZERO) * 1000.0) as u64 };
}

/// A crowd that works, and what `meanwhile` notes; with the nanoseconds for the crowd.
fn crowd(
    work: needm_benches::Function,
    count: u64,
    meanwhile: needm_benches::Function,
) -> (u64, u64) {
    let mut noted = 0_u64;
    // SAFETY: the functions here do with their arguments what they say.
    let took = unsafe {
        loops::loop_crowd(work, ptr::null_mut(), count, meanwhile, (&raw mut noted).cast())
    };
    (noted, took)
}

pub(crate) fn run(args: &[String]) {
    let number = args.get(1).and_then(|arg| arg.parse::<u64>().ok()).unwrap_or(0);
    match args.first().map(String::as_str) {
        Some("memory") => {
            let kernel = Kernel::start(0, 0, 0);
            // What the C library keeps of its threads, it keeps of these.
            crowd(nothing, u64::from(MANY), note_rss);
            let (without, _) = crowd(nothing, u64::from(MANY), note_rss);
            let (with, _) = crowd(call_back, u64::from(MANY), note_rss);
            println!("{}", (with - without) / u64::from(MANY));
            drop(kernel);
        }
        Some("idle") => {
            let before = rss();
            let kernel = Kernel::start(0, 0, MANY);
            println!("{}", (rss() - before) / u64::from(MANY));
            drop(kernel);
        }
        Some("crowd") => {
            let kernel = Kernel::start(0, 16 * 1024, 0);
            let (_, without) = crowd(nothing, number, nothing);
            let (steady, with) = crowd(call_back, number, note_steady);
            println!("{}\n{}\n{}", steady / 1000, with / number, without / number);
            drop(kernel);
        }
        Some("stops") => {
            let kernel = Kernel::start(0, 16 * 1024, 0);
            println!("{}", crowd(call_back, number, note_stops).0);
            drop(kernel);
        }
        Some("instructions") => {
            let kernel = Kernel::start(0, 0, 0);
            // SAFETY: the kernel runs.
            unsafe { loops::loop_callbacks(needm_callback, number) };
            drop(kernel);
        }
        Some("calls") => {
            let kernel = Kernel::start(0, 0, 0);
            // SAFETY: it only counts.
            unsafe { loops::loop_calls(number) };
            drop(kernel);
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

/// Instructions of one more: the same run with more, less the same run with fewer.
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
    // The loop's own instructions, and those of what is called, are in both.
    match (instructions("instructions"), instructions("calls")) {
        (Some(with), Some(without)) => {
            rows.add("instructions of a steady callback", with - without, "", Goal::AtMost(60.0));
        }
        _ => rows.note("instructions are not counted: valgrind is not there".into()),
    }
}

fn crowds(rows: &mut Table) {
    let names = [
        (1, "steady callback beside 1 bound thread", ""),
        (1000, "", "making and ending 1000 bound threads, each"),
        (5000, "", "making and ending 5000 bound threads, each"),
        (10_000, "steady callback beside 10 000 bound threads", "making and ending 10 000, each"),
    ];
    for (count, steady, each) in names {
        match child(&mut own(), &["crowd", &count.to_string()]).as_deref() {
            Some([nanos, with, without]) => {
                if !steady.is_empty() {
                    let goal = if count == 1 { Goal::None } else { Goal::Times(1.1, names[0].1) };
                    rows.add(steady, *nanos / 100.0, "ns", goal);
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
