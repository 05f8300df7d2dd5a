//! How long the world takes to stop, and who waits for it to go on.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use needm_benches::Kernel;
use needm_benches::c::needm_callback;

use super::table::{Goal, Table};

/// Threads that call back flat out.
const THREADS: usize = 8;

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn stop() -> needm::Stopped {
    needm::stop_the_world().expect("this thread has not stopped it")
}

/// Microseconds that a stop takes, of so many; `between` each and the next.
pub(crate) fn stops(count: usize, between: Duration) -> f64 {
    let one = || {
        let start = Instant::now();
        let stopped = stop();
        let took = start.elapsed();
        drop(stopped);
        std::thread::sleep(between);
        took
    };
    median((0..count).map(|_| one()).collect())
}

extern "C" fn nothing(_: *mut c_void) {}

extern "C" fn note_now(clock: *mut c_void) {
    // SAFETY: `let_go` gives its own.
    let (start, noted) = unsafe { &*clock.cast::<(Instant, AtomicU64)>() };
    let nanos = u64::try_from(start.elapsed().as_nanos()).expect("not so late");
    noted.store(nanos.max(1), SeqCst);
}

fn call_back(function: needm_benches::Function, arg: *mut c_void) {
    // SAFETY: the kernel runs; `nothing` and `note_now` are given what they take.
    assert_eq!(unsafe { needm_callback(function, arg, 0, ptr::null_mut()) }, 0);
}

fn with_threads_calling(count: usize) -> f64 {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    call_back(nothing, ptr::null_mut());
                }
            });
        }
        let median = stops(count, Duration::from_micros(200));
        over.store(true, SeqCst);
        median
    })
}

/// Microseconds from a start of the world to a callback that has waited for it.
fn let_go(count: usize) -> f64 {
    let one = || {
        let clock = (Instant::now(), AtomicU64::new(0));
        let stopped = stop();
        std::thread::scope(|scope| {
            scope.spawn(|| call_back(note_now, (&raw const clock).cast_mut().cast()));
            std::thread::sleep(Duration::from_micros(500));
            let start = clock.0.elapsed();
            drop(stopped);
            start
        })
        .abs_diff(Duration::from_nanos(clock.1.load(SeqCst)))
    };
    median((0..count).map(|_| one()).collect())
}

pub(crate) fn measure(rows: &mut Table, quick: bool) {
    let count = if quick { 200 } else { 2000 };
    let kernel = Kernel::start(0, 0, 0);
    let goal = || Goal::AtMost(100.0);
    rows.add(
        "stopping 8 threads that call back flat out",
        with_threads_calling(count),
        "us",
        goal(),
    );
    rows.add("from the world's start to a waiting callback", let_go(count), "us", goal());
    drop(kernel);
}
