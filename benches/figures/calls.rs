//! Rows that criterion measures: what a thread can repeat.
//!
//! # Safety
//! The loops of `loops.c` call needm's functions as `needm.h` asks, on this thread, with
//! memory of their own. Those that call back run between `Started::new` and the drop of
//! what it returned.

use std::ffi::c_void;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::Duration;

use corosensei::{Coroutine, CoroutineResult};
use criterion::Criterion;
use needm_benches::c::{
    needm_attach, needm_callback, needm_ccall, needm_defer_push, needm_detach, needm_recover,
};
use needm_benches::{Started, loops};

use super::table::{Goal, PLAIN, Table};

/// The nanoseconds of a loop of `loops.c`.
macro_rules! nanos {
    ($call:expr) => {
        // SAFETY: a loop takes a count and functions with the signatures that it declares,
        // and keeps to `needm.h`; without a started needm its calls would be refused.
        unsafe { $call }
    };
}

struct Harness {
    criterion: Criterion,
    folder: PathBuf,
}

impl Harness {
    fn new(quick: bool) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("criterion");
        let (samples, millis) = if quick { (10, 200) } else { (50, 3000) };
        let criterion = Criterion::default()
            .output_directory(&folder)
            .without_plots()
            .sample_size(samples)
            .warm_up_time(Duration::from_millis(millis / 6))
            .measurement_time(Duration::from_millis(millis));
        Self { criterion, folder }
    }

    /// The median time of one repetition of `loops`.
    fn median(&mut self, id: &str, mut loops: impl FnMut(u64) -> u64) -> f64 {
        self.criterion
            .bench_function(id, |b| b.iter_custom(|n| Duration::from_nanos(loops(n).max(1))));
        let path = self.folder.join(id).join("new/estimates.json");
        let text = std::fs::read_to_string(path).expect("criterion writes its estimates");
        let estimates: serde_json::Value = serde_json::from_str(&text).expect("as JSON");
        estimates["median"]["point_estimate"].as_f64().expect("with a median")
    }
}

/// The slower of two threads that do the same at once.
fn on_two_threads(one: impl Fn(u64) -> u64 + Sync, n: u64) -> u64 {
    let together = Barrier::new(2);
    let run = || {
        one(1);
        together.wait();
        one(n)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(run);
        let own = scope.spawn(run).join().expect("a thread ends");
        own.max(other.join().expect("a thread ends"))
    })
}

pub(crate) fn measure(rows: &mut Table, quick: bool) {
    let mut harness = Harness::new(quick);
    let h = &mut harness;
    let plain = h.median("plain", |n| nanos!(loops::loop_calls(n)));
    rows.add(PLAIN, plain, "ns", Goal::None);
    let stores = h.median("fp-control", |n| nanos!(loops::loop_calls_that_store_fp_control(n)));
    rows.add(STORES, stores, "ns", Goal::None);
    let switch = h.median("corosensei", switches);
    rows.add(SWITCH, switch, "ns", Goal::None);
    bound(rows, h);
    per_call(rows, h);
    let pair = h.median("sigaltstack", |n| nanos!(loops::loop_sigaltstacks(n)));
    rows.add(PAIR, pair, "ns", Goal::None);
    attaching(rows, h);
    faults(rows, h);
}

const PAIR: &str = "two sigaltstack system calls";
/// Names of rows that others are compared with.
const BOUND: &str = "fast-path callback, bound";
const BOUND_BARE: &str = "fast-path callback, bound, without FP control";
const STORES: &str = "plain call that stores the FP control word";
const SWITCH: &str = "corosensei: switch in and out";
/// `NEEDM_LEAVE_FP_CONTROL`.
const LEAVE_FP_CONTROL: u32 = 4;
const PER_CALL: &str = "fast-path callback, an M per call";

fn callbacks(n: u64) -> u64 {
    nanos!(loops::loop_callbacks(needm_callback, n))
}

fn bound(rows: &mut Table, h: &mut Harness) {
    let started = Started::with_flags(0, 0, 0, LEAVE_FP_CONTROL);
    rows.add(BOUND_BARE, h.median("bound-bare", callbacks), "ns", Goal::Times(1.0, SWITCH));
    drop(started);
    let started = Started::new(0, 0, 0);
    rows.add(BOUND, h.median("bound", callbacks), "ns", Goal::Times(1.4, STORES));
    let two = h.median("bound-2", |n| on_two_threads(callbacks, n));
    rows.add("  on two threads at once", two, "ns", Goal::Times(1.1, BOUND));
    let framed = h.median("framed", |n| nanos!(loops::loop_framed_callbacks(needm_callback, n)));
    rows.add("  with a frame of 64 bytes copied", framed, "ns", Goal::None);
    let nested = |n| nanos!(loops::loop_nested_callbacks(needm_callback, needm_ccall, n));
    rows.add("  ccall and a nested callback", h.median("nested", nested), "ns", Goal::None);
    let closure = h.median("closure", |n| {
        let start = std::time::Instant::now();
        for i in 0..n {
            let answer = needm::callback(|_| black_box(i));
            assert!(answer.is_ok_and(|same| same == i));
        }
        u64::try_from(start.elapsed().as_nanos()).expect("not for centuries")
    });
    rows.add("  a Rust closure, its panics caught", closure, "ns", Goal::None);
    drop(started);
}

fn per_call(rows: &mut Table, h: &mut Harness) {
    let started = Started::with_flags(1, 0, 0, LEAVE_FP_CONTROL);
    let bare = h.median("per-call-bare", callbacks);
    rows.add(
        "fast-path callback, an M per call, without FP control",
        bare,
        "ns",
        Goal::Times(5.0, PLAIN),
    );
    drop(started);
    let started = Started::new(1, 0, 0);
    rows.add(PER_CALL, h.median("per-call", callbacks), "ns", Goal::Times(8.0, PLAIN));
    let two = h.median("per-call-2", |n| on_two_threads(callbacks, n));
    rows.add("  on two threads at once ", two, "ns", Goal::Times(1.1, PER_CALL));
    drop(started);
}

fn switches(n: u64) -> u64 {
    let mut coroutine = Coroutine::new(|yielder, ()| {
        loop {
            yielder.suspend(());
        }
    });
    let start = std::time::Instant::now();
    for _ in 0..n {
        match coroutine.resume(()) {
            CoroutineResult::Yield(()) => {}
            CoroutineResult::Return(()) => unreachable!("it never returns"),
        }
    }
    let took = start.elapsed().as_nanos();
    // SAFETY: the coroutine is suspended in a loop that holds nothing that must be dropped.
    unsafe { coroutine.force_reset() };
    u64::try_from(took).expect("not for centuries")
}

extern "C" fn attach_and_detach(n: *mut c_void) {
    // SAFETY: `attaching` passes its own `n`, and waits for this thread before it reads it.
    let n = unsafe { &mut *n.cast::<u64>() };
    // The first attach of a thread makes its record, which is not timed.
    nanos!(loops::loop_pairs(needm_attach, needm_detach, 1));
    *n = nanos!(loops::loop_pairs(needm_attach, needm_detach, *n));
}

fn attaching(rows: &mut Table, h: &mut Harness) {
    let started = Started::new(0, 0, 0);
    let pair = h.median("attach", |mut n| {
        nanos!(loops::on_a_plain_thread(attach_and_detach, (&raw mut n).cast()));
        n
    });
    rows.add("needm_attach and needm_detach", pair, "ns", Goal::Times(1.5, PAIR));
    drop(started);
}

fn faults(rows: &mut Table, h: &mut Harness) {
    let returned = h.median("sigreturn", |n| nanos!(loops::loop_faults_returned_from(n)));
    rows.add("bare fault, handler returns past it", returned, "ns", Goal::None);
    let jumped = h.median("sigjump", |n| nanos!(loops::loop_faults_left_by_jump(n)));
    rows.add(BARE, jumped, "ns", Goal::None);
    let started = Started::new(0, 0, 0);
    let recovered = h.median("recovered", |n| {
        nanos!(loops::loop_recovered_faults(needm_callback, needm_defer_push, needm_recover, n))
    });
    rows.add("fault recovered in a callback", recovered, "ns", Goal::Times(1.2, BARE));
    drop(started);
}

const BARE: &str = "bare fault, handler left by a jump";
