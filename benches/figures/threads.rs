//! What a first callback on a new thread costs over making and joining the thread.
//! Threads with and without take turns in small groups, and the median of the differences
//! counts: the cost of a thread varies more than what is looked for.

use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use needm_benches::c::needm_callback;
use needm_benches::{Function, Kernel, loops};

use super::table::{Goal, Table};

/// Threads in a group.
const GROUP: u32 = 10;

extern "C" fn nothing(_: *mut c_void) {}

pub(crate) extern "C" fn call_back(arg: *mut c_void) {
    // SAFETY: the kernel runs, and `nothing` leaves its argument alone.
    assert_eq!(unsafe { needm_callback(nothing, arg, 0, ptr::null_mut()) }, 0);
}

/// Stacks made ahead, as needm's are.
static STACKS: Mutex<Vec<DefaultStack>> = Mutex::new(Vec::new());

extern "C" fn switch(_: *mut c_void) {
    let stack = STACKS.lock().expect("nobody panics").pop().expect("enough were made");
    let mut coroutine = Coroutine::with_stack(stack, |_, ()| {});
    match coroutine.resume(()) {
        CoroutineResult::Return(()) => {
            STACKS.lock().expect("nobody panics").push(coroutine.into_stack());
        }
        CoroutineResult::Yield(()) => unreachable!("it does not"),
    }
}

fn over_create_and_join(work: Function, groups: usize) -> f64 {
    let run = |work: Function| {
        // SAFETY: none of the functions here looks at its argument.
        unsafe { loops::loop_threads(work, ptr::null_mut(), GROUP.into()) }
    };
    let mut differences: Vec<f64> = (0..groups)
        .map(|_| {
            let (before, with, after) = (run(nothing), run(work), run(nothing));
            #[allow(clippy::cast_precision_loss)] // some milliseconds
            let difference = with as f64 - (before + after) as f64 / 2.0;
            difference / f64::from(GROUP)
        })
        .collect();
    differences.sort_by(f64::total_cmp);
    differences[groups / 2]
}

pub(crate) fn measure(rows: &mut Table, quick: bool) {
    let groups = if quick { 401 } else { 4001 };
    let name = "first callback on a new thread, over create and join";
    for (name, binding) in [(name, 0), ("  an M per call", 1)] {
        let kernel = Kernel::start(binding, 0, 0);
        let first = over_create_and_join(call_back, groups);
        let goal = if binding == 0 { Goal::AtMost(600.0) } else { Goal::None };
        rows.add(name, first, "ns", goal);
        drop(kernel);
    }
    STACKS.lock().expect("nobody panics").push(DefaultStack::default());
    let first = over_create_and_join(switch, groups);
    rows.add("  corosensei: first switch, stack made ahead", first, "ns", Goal::None);
}
