//! What a first callback on a new thread costs, in addition to making and joining the
//! thread. Threads with and without a callback take turns in small groups, and the median of
//! the differences counts, because the cost of a thread varies by more than that of a
//! callback.
//!
//! # Safety
//! The functions given to `loops.c` do not read their argument, which is null.

use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use needm_benches::c::needm_callback;
use needm_benches::{Function, Started, loops};

use super::table::{Goal, Table};

/// Threads in a group.
const GROUP: u32 = 10;

extern "C" fn nothing(_: *mut c_void) {}

pub(crate) extern "C" fn call_back(arg: *mut c_void) {
    // SAFETY: `nothing` does not read its argument, no frame is copied, and without a started
    // needm the call is refused.
    assert_eq!(unsafe { needm_callback(nothing, arg, 0, ptr::null_mut()) }, 0);
}

/// Stacks made in advance, as needm makes its own.
static STACKS: Mutex<Vec<DefaultStack>> = Mutex::new(Vec::new());

extern "C" fn switch(_: *mut c_void) {
    let stack = STACKS.lock().expect("no thread panics with it").pop().expect("enough were made");
    let mut coroutine = Coroutine::with_stack(stack, |_, ()| {});
    match coroutine.resume(()) {
        CoroutineResult::Return(()) => {
            STACKS.lock().expect("no thread panics with it").push(coroutine.into_stack());
        }
        CoroutineResult::Yield(()) => unreachable!("it does not"),
    }
}

/// What `work` on a new thread costs over making and joining the thread, and all three together.
fn over_create_and_join(work: Function, groups: usize) -> (f64, f64) {
    let run = |work: Function| {
        // SAFETY: `nothing`, `call_back` and `switch` do not read their argument.
        unsafe { loops::loop_threads(work, ptr::null_mut(), GROUP.into()) }
    };
    let (mut differences, mut wholes): (Vec<f64>, Vec<f64>) = (0..groups)
        .map(|_| {
            let (before, with, after) = (run(nothing), run(work), run(nothing));
            #[allow(clippy::cast_precision_loss)] // some milliseconds
            let (around, with) = ((before + after) as f64 / 2.0, with as f64);
            ((with - around) / f64::from(GROUP), with / f64::from(GROUP))
        })
        .unzip();
    differences.sort_by(f64::total_cmp);
    wholes.sort_by(f64::total_cmp);
    (differences[groups / 2], wholes[groups / 2])
}

/// Runs `work` with this thread, and those that it makes, on one processor.
fn on_one_processor<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: a `cpu_set_t` is an array of bits, for which zero is valid; both sets outlive
    // the calls, which are told their size.
    unsafe {
        let mut before: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of_val(&before), &raw mut before), 0);
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(usize::try_from(libc::sched_getcpu()).expect("a number"), &mut one);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&one), &raw const one), 0);
        let result = work();
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&before), &raw const before), 0);
        result
    }
}

pub(crate) fn measure(rows: &mut Table, quick: bool) {
    let groups = if quick { 401 } else { 4001 };
    let started = Started::new(0, 0, 0);
    let (first, whole) = over_create_and_join(call_back, groups);
    let name = "first callback on a new thread, over create and join";
    rows.add(name, first, "ns", Goal::AtMost(500.0));
    rows.add("  create, one callback, and join", whole, "ns", Goal::None);
    // On another processor, a new thread must fetch needm's data from the cache of the
    // one before; here it need not.
    let (first, whole) = on_one_processor(|| over_create_and_join(call_back, groups));
    rows.add("  all threads on one processor", first, "ns", Goal::AtMost(450.0));
    rows.add("  create, one callback, and join, there", whole, "ns", Goal::None);
    drop(started);
    let started = Started::new(1, 0, 0);
    let (first, _) = over_create_and_join(call_back, groups);
    rows.add("  an M per call", first, "ns", Goal::None);
    drop(started);
    STACKS.lock().expect("no thread panics with it").push(DefaultStack::default());
    let (first, _) = over_create_and_join(switch, groups);
    rows.add("  corosensei: first switch, stack made ahead", first, "ns", Goal::None);
}
