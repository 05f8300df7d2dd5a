//! Test bodies that need no C library: `tests/hosts.rs` runs them with one, each in a
//! process of its own; the program of `freestanding.rs` runs them without.
//!
//! Foreign threads come from the host: pthreads, or `clone` alone. A body returns if all is
//! well.
//!
//! # Safety
//! Faults are caught where no frame holds anything. What faults is a volatile write to an
//! address that the compiler cannot know. It is made inside callbacks only, at addresses where
//! nothing is mapped, so it faults and changes nothing.

use core::hint::black_box;
use core::ops::ControlFlow;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use core::time::Duration;

use needm::{Binding, CallbackError, Config, Deferred, Error, PanicInfo};

use crate::host;

/// Ends the process, with a message, if a condition does not hold.
macro_rules! check {
    ($what:expr) => {
        if !$what {
            $crate::host::print(format_args!(
                "{}:{}: check failed: {}",
                file!(),
                line!(),
                stringify!($what)
            ));
            $crate::host::fail();
        }
    };
}

pub(crate) const ALL: &[(&str, fn())] = &[
    ("foreign_threads_fault_and_recover", foreign_threads_fault_and_recover),
    ("callbacks_nest_through_ccall", callbacks_nest_through_ccall),
    ("a_stack_that_runs_out_is_an_error", a_stack_that_runs_out_is_an_error),
    ("raw_exits_return_their_ms", raw_exits_return_their_ms),
    ("the_world_stops_with_many_threads", the_world_stops_with_many_threads),
    ("spawned_threads_leave_nothing", spawned_threads_leave_nothing),
    ("spawned_threads_that_exit_raw_leave_nothing", spawned_threads_that_exit_raw_leave_nothing),
    ("the_world_stops_with_many_spawned_threads", the_world_stops_with_many_spawned_threads),
    ("threads_are_spawned_from_many_at_once", threads_are_spawned_from_many_at_once),
    ("needm_stops_and_starts", needm_stops_and_starts),
];

/// How often something is done: a twentieth under an emulator, which is that much slower.
fn rounds(natively: usize) -> usize {
    if host::is_emulated() { natively.div_ceil(20) } else { natively }
}

fn start(binding: Binding) {
    check!(needm::start(Config { binding, ..Config::default() }).is_ok());
}

fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        host::sleep(Duration::from_micros(100));
    }
}

fn write_to(address: *mut u8) {
    // SAFETY: callers pass addresses of the first page, where nothing is mapped, so the
    // write faults and changes nothing. `black_box` hides the address from the compiler.
    unsafe { black_box(address).write_volatile(1) };
}

/// A callback that faults at `address`.
fn faulting(address: usize) -> Result<(), CallbackError> {
    // SAFETY: the callback's frames hold nothing.
    unsafe { needm::callback_catching_faults(|_| write_to(ptr::without_provenance_mut(address))) }
}

#[allow(unconditional_recursion)] // it is to run out of stack
fn deeper(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    deeper(depth + 1) + frame[depth % 64]
}

/// 6 threads, 10 callbacks each; each adds, faults and recovers.
fn foreign_threads_fault_and_recover() {
    static SUM: AtomicUsize = AtomicUsize::new(0);
    fn calls(_: usize) {
        for round in 0..10 {
            let recovered = AtomicBool::new(false);
            let recover = |deferred: &Deferred| {
                let info = deferred.recover();
                let fault = matches!(info, Some(PanicInfo::Fault(fault)) if fault.addr == 0);
                recovered.store(fault, SeqCst);
            };
            // SAFETY: the callback's frames hold nothing.
            let ended = unsafe {
                needm::callback_catching_faults(|cx| {
                    check!(cx.defer(&recover).is_ok());
                    SUM.fetch_add(round, SeqCst);
                    write_to(ptr::null_mut());
                })
            };
            check!(recovered.load(SeqCst));
            check!(matches!(ended, Err(CallbackError::Recovered)));
            // A fault that is not recovered is an error.
            let ended = faulting(8);
            check!(matches!(ended, Err(CallbackError::Fault(fault)) if fault.addr == 8));
            check!(needm::callback(|_| round).is_ok_and(|got| got == round));
        }
    }
    for binding in [Binding::Thread, Binding::Call] {
        SUM.store(0, SeqCst);
        start(binding);
        let threads: [_; 6] = core::array::from_fn(|number| host::foreign(calls, number));
        threads.into_iter().for_each(host::Foreign::join);
        check!(SUM.load(SeqCst) == 270);
        check!(needm::stop().is_ok());
    }
}

fn nest(depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let inner = needm::callback(|cx| cx.ccall(|| nest(depth - 1)));
    let Ok(Ok(inner)) = inner else { host::fail() };
    inner + 1
}

fn callbacks_nest_through_ccall() {
    static NESTED: AtomicUsize = AtomicUsize::new(0);
    fn nests(depth: usize) {
        for _ in 0..10 {
            check!(nest(depth) == depth);
            // A fault in the innermost callback ends only that one.
            let outer = needm::callback(|cx| cx.ccall(|| faulting(0).is_err()));
            check!(matches!(outer, Ok(Ok(true))));
        }
        NESTED.fetch_add(1, SeqCst);
    }
    start(Binding::Thread);
    check!(nest(20) == 20);
    let threads: [_; 4] = core::array::from_fn(|number| host::foreign(nests, 5 + number * 5));
    threads.into_iter().for_each(host::Foreign::join);
    check!(NESTED.load(SeqCst) == 4);
    check!(needm::stop().is_ok());
}

fn a_stack_that_runs_out_is_an_error() {
    fn overflows(times: usize) {
        for _ in 0..times {
            // SAFETY: the callback's frames hold nothing.
            let ended = unsafe { needm::callback_catching_faults(|_| deeper(0)) };
            check!(matches!(ended, Err(CallbackError::Overflow(_))));
            check!(needm::callback(|_| 3).is_ok_and(|got| got == 3));
        }
    }
    start(Binding::Thread);
    let times = rounds(200);
    overflows(times);
    let threads: [_; 4] = core::array::from_fn(|_| host::foreign(overflows, times));
    threads.into_iter().for_each(host::Foreign::join);
    check!(needm::stats().overflows == 5 * times as u64);
    check!(needm::stats().faults == 0);
    check!(needm::stop().is_ok());
}

fn raw_exits_return_their_ms() {
    fn exits(inside: usize) {
        check!(needm::callback(|_| 1).is_ok());
        if inside == 1 {
            let _ = needm::callback(|_| -> () { host::exit_thread() });
        }
        host::exit_thread();
    }
    for inside in [0, 1] {
        start(Binding::Thread);
        for _ in 0..rounds(400) {
            host::foreign(exits, inside).join();
        }
        check!(needm::callback(|_| 1).is_ok());
        // An emulator has no robust lists: there needm notices an exit only when it is
        // short of Ms.
        check!(needm::stats().ms_total <= if host::is_emulated() { 64 } else { 4 });
        check!(host::is_emulated() || needm::stats().ms_reclaimed > 0);
        check!(needm::stop().is_ok());
    }
}

const MANY: usize = 24;
static COUNTS: [AtomicUsize; MANY] = [const { AtomicUsize::new(0) }; MANY];
static OVER: AtomicBool = AtomicBool::new(false);

fn total() -> usize {
    COUNTS.iter().map(|count| count.load(SeqCst)).sum()
}

/// Stops the world often, while threads count in callbacks.
fn stop_often() {
    for round in 0..rounds(300) {
        let Ok(stopped) = needm::stop_the_world() else { host::fail() };
        check!(needm::stop_the_world().is_err_and(|error| error == Error::Already));
        let then = total();
        let bounds = stopped.each_m(|m, used| {
            let (lo, hi) = m.g_bounds();
            if lo <= used.start && used.start <= used.end && used.end <= hi {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        check!(bounds.is_none());
        for _ in 0..2000 {
            black_box(());
        }
        check!(total() == then);
        drop(stopped);
        if round % 8 == 0 {
            wait_until(|| total() != then);
        }
    }
}

fn the_world_stops_with_many_threads() {
    fn counts(number: usize) {
        let count = &COUNTS[number];
        while !OVER.load(SeqCst) {
            let counted = needm::callback(|cx| {
                count.fetch_add(1, SeqCst);
                if number % 2 == 1 {
                    let inner =
                        cx.ccall(|| needm::callback(|_| count.fetch_add(1, SeqCst)).is_ok());
                    check!(inner == Ok(true));
                    needm::safepoint();
                }
            });
            check!(counted.is_ok());
        }
    }
    for binding in [Binding::Thread, Binding::Call] {
        OVER.store(false, SeqCst);
        start(binding);
        let threads: [_; MANY] = core::array::from_fn(|number| host::foreign(counts, number));
        stop_often();
        OVER.store(true, SeqCst);
        threads.into_iter().for_each(host::Foreign::join);
        check!(needm::stop().is_ok());
    }
}

/// Stops needm once the threads that it made have exited.
fn stop_once_threads_have_exited() {
    wait_until(|| match needm::stop() {
        Ok(()) => true,
        Err(error) => {
            check!(error == Error::Busy);
            false
        }
    });
}

static EXITED: AtomicUsize = AtomicUsize::new(0);

fn spawned_threads_leave_nothing() {
    start(Binding::Thread);
    let mut before = 0;
    let times = rounds(200);
    for round in 0..times {
        EXITED.store(0, SeqCst);
        for number in 0..8_usize {
            let spawned = needm::spawn(move || {
                // The thread is in a callback: a fault in a nested one ends only that one.
                let ended = faulting(number);
                check!(matches!(ended, Err(CallbackError::Fault(_))));
                EXITED.fetch_add(1, SeqCst);
            });
            check!(spawned.is_ok());
        }
        wait_until(|| EXITED.load(SeqCst) == 8);
        if round == times / 2 {
            host::sleep(Duration::from_millis(50));
            before = host::mappings();
        }
    }
    host::sleep(Duration::from_millis(50));
    // As many threads again have run since.
    check!(host::mappings() <= before + 16);
    stop_once_threads_have_exited();
}

fn spawned_threads_that_exit_raw_leave_nothing() {
    // With few Ms, needm looks for exited threads also where nothing tells it of them.
    check!(needm::start(Config { max_ms: 8, ..Config::default() }).is_ok());
    let mut before = 0;
    let times = rounds(400);
    for round in 0..times {
        EXITED.store(0, SeqCst);
        let spawned = needm::spawn(|| {
            EXITED.store(1, SeqCst);
            host::exit_thread();
        });
        check!(spawned.is_ok());
        wait_until(|| EXITED.load(SeqCst) == 1);
        if round == times / 2 {
            before = host::mappings();
        }
    }
    if host::HAS_C_LIBRARY {
        // It keeps the stack of a thread whose exit it did not see.
        return;
    }
    check!(host::mappings() <= before + 16);
}

fn threads_are_spawned_from_many_at_once() {
    fn spawns(number: usize) {
        for round in 0..rounds(100) {
            let spawned = needm::spawn(move || {
                check!(needm::callback(|_| number).is_ok_and(|got| got == number));
                EXITED.fetch_add(1, SeqCst);
                if number == 7 && round % 4 == 0 {
                    host::exit_thread();
                }
            });
            check!(spawned.is_ok());
        }
    }
    start(Binding::Thread);
    let threads: [_; 8] = core::array::from_fn(|number| host::foreign(spawns, number));
    threads.into_iter().for_each(host::Foreign::join);
    wait_until(|| EXITED.load(SeqCst) == 8 * rounds(100));
    check!(needm::callback(|_| 1).is_ok());
}

fn the_world_stops_with_many_spawned_threads() {
    start(Binding::Thread);
    for count in &COUNTS {
        let spawned = needm::spawn(move || {
            while !OVER.load(SeqCst) {
                count.fetch_add(1, SeqCst);
                needm::safepoint();
            }
            EXITED.fetch_add(1, SeqCst);
        });
        check!(spawned.is_ok());
    }
    check!(needm::stop() == Err(Error::Busy));
    stop_often();
    OVER.store(true, SeqCst);
    wait_until(|| EXITED.load(SeqCst) == MANY);
    stop_once_threads_have_exited();
}

fn needm_stops_and_starts() {
    fn calls(_: usize) {
        check!(needm::callback(|_| 1).is_ok());
    }
    for _ in 0..rounds(100) {
        check!(matches!(needm::callback(|_| 1), Err(CallbackError::Refused(Error::NotStarted))));
        start(Binding::Thread);
        check!(needm::start(Config::default()) == Err(Error::Already));
        check!(needm::callback(|_| 1).is_ok());
        host::foreign(calls, 0).join();
        check!(needm::stop().is_ok());
    }
}
