//! How long the world takes to stop, and a waiting callback to start after it.
//!
//! # Safety
//! Callbacks run `nothing`, which does not read its argument, or `note_now`, whose argument
//! is a clock that its caller keeps until the thread has been joined.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use needm_benches::Started;
use needm_benches::c::needm_callback;

use super::table::{Goal, Table};

/// Threads that call back in a loop.
const THREADS: usize = 8;

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn stop() -> needm::Stopped {
    needm::stop_the_world().expect("this thread has not stopped it")
}

/// The median of so many stops, in microseconds; `between` is the pause after each.
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
    // SAFETY: `waiting_callback` passes its clock, and joins this thread before it drops that.
    let (start, noted) = unsafe { &*clock.cast::<(Instant, AtomicU64)>() };
    let nanos = u64::try_from(start.elapsed().as_nanos()).expect("not so late");
    noted.store(nanos.max(1), SeqCst);
}

fn call_back(function: needm_benches::Function, arg: *mut c_void) {
    // SAFETY: `nothing` gets null, which it does not read, and `note_now` a clock that lives
    // until this thread is joined.
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

/// Microseconds from the world's start to the first instruction of a callback that waited.
fn waiting_callback(count: usize) -> f64 {
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
    let started = Started::new(0, 0, 0);
    let goal = || Goal::AtMost(100.0);
    rows.add(
        "stopping 8 threads that call back in a loop",
        with_threads_calling(count),
        "us",
        goal(),
    );
    rows.add("from the world's start to a waiting callback", waiting_callback(count), "us", goal());
    drop(started);
}
