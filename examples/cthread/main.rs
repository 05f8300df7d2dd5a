//! What needm is for: threads made by C call in; each callback adds to a sum, writes
//! through a null pointer, and recovers.
//!
//! `cargo run --release --example cthread [THREADS] [CALLS]`, 6 and 10 by default. It exits
//! with a failure if a count is wrong.
//!
//! # Safety
//! `cthread_run` is declared as in `threads.c`; the function that it calls takes any two
//! numbers, on any thread. The write through a null pointer faults: nothing is mapped there.

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use needm::{CallbackError, Config, Deferred, PanicInfo};

unsafe extern "C" {
    /// `threads.c`.
    fn cthread_run(threads: c_long, calls: c_long, call: extern "C" fn(c_long, c_long)) -> c_int;
}

static SUM: AtomicU64 = AtomicU64::new(0);
static RECOVERED: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
static NANOS: AtomicU64 = AtomicU64::new(0);

/// What C calls, on its thread and stack.
extern "C" fn call(_thread: c_long, round: c_long) {
    let start = Instant::now();
    let recovered = Cell::new(false);
    let recover = |deferred: &Deferred| {
        let info = deferred.recover();
        recovered.set(matches!(info, Some(PanicInfo::Fault(fault)) if fault.addr == 0));
    };
    // SAFETY: the callback's frames hold nothing that has a destructor, and no lock.
    let ended = unsafe {
        needm::callback_catching_faults(|cx| {
            cx.defer(&recover)?;
            SUM.fetch_add(u64::try_from(round).unwrap_or(0), Relaxed);
            write_through_null();
            Ok::<_, needm::Error>(())
        })
    };
    let as_wanted = recovered.get() && matches!(ended, Err(CallbackError::Recovered));
    RECOVERED.fetch_add(u64::from(as_wanted), Relaxed);
    WRONG.fetch_add(u64::from(!as_wanted), Relaxed);
    let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    NANOS.fetch_add(nanos, Relaxed);
}

/// Causes the fault.
fn write_through_null() {
    let null = std::hint::black_box(std::ptr::null_mut::<u32>());
    // SAFETY: nothing is mapped at address 0, so the write faults and changes nothing.
    // `black_box` hides the address from the compiler, and a volatile write is not removed.
    unsafe { std::ptr::write_volatile(null, 1) };
}

fn count(argument: Option<String>, default: c_long) -> Result<c_long, String> {
    let Some(text) = argument else { return Ok(default) };
    match text.parse() {
        Ok(count) if (1..=1_000_000).contains(&count) => Ok(count),
        _ => Err(format!("not a count from 1 to 1000000: {text}")),
    }
}

fn run() -> Result<bool, String> {
    let mut arguments = std::env::args().skip(1);
    let threads = count(arguments.next(), 6)?;
    let calls = count(arguments.next(), 10)?;
    if arguments.next().is_some() {
        return Err("usage: cthread [THREADS] [CALLS]".into());
    }
    let max_ms = u32::try_from(threads).map_err(|error| error.to_string())? + 2;
    let config = Config { max_ms: max_ms.max(needm::DEFAULT_MAX_MS), ..Config::default() };
    needm::start(config).map_err(|error| error.to_string())?;
    // SAFETY: `call` takes any two numbers, on any thread, and `cthread_run` joins its threads.
    let refused = unsafe { cthread_run(threads, calls, call) };
    if refused != 0 {
        let error = std::io::Error::from_raw_os_error(refused);
        return Err(format!("not all {threads} threads could be made: {error}"));
    }
    let stats = needm::stats();
    needm::stop().map_err(|error| error.to_string())?;

    let [threads, calls] = [threads, calls].map(|count| u64::try_from(count).unwrap_or(0));
    let all = threads * calls;
    let want = threads * (0..calls).sum::<u64>();
    let (sum, recovered, wrong) = (SUM.load(Relaxed), RECOVERED.load(Relaxed), WRONG.load(Relaxed));
    let each = Duration::from_nanos(NANOS.load(Relaxed) / all);
    println!("{threads} C threads, {calls} callbacks each");
    println!("sum {sum}, want {want}");
    println!("faults recovered {recovered}, want {all}");
    println!("Ms made {} for {threads} threads", stats.ms_total);
    println!("time per callback, with its fault: {each:?}");
    Ok(sum == want && recovered == all && wrong == 0 && stats.faults == all)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("cthread: a count is wrong");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cthread: {error}");
            ExitCode::FAILURE
        }
    }
}
