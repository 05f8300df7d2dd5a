//! A callback, in and out: the steps of `arch/<arch>/entry.S`, with the labels of x86_64's.
//!
//! The fast paths rely on the barrier that a stopper or a waiter runs on all threads. A model
//! has none: it has a fence where that barrier takes effect. So needm, which is told that there
//! is no barrier, opens no fast path; a check does ([`open_bound_path`], [`open_rebind_path`]).

use crate::arch::Gate;
use crate::call::Call;
use crate::layout::{self, call::PENDING};
use crate::m::M;
use crate::os::system::{self, Block};
use crate::segment::Segment;
use crate::state;
use crate::sync::{Acquire, AtomicPtr, AtomicU32, AtomicUsize, Relaxed, Release, SeqCst, fence};
use crate::thread_record::Thread;
use crate::tls::Tls;
use core::ffi::{c_int, c_void};
use core::ptr;

type Function = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn needm_enter(call: *mut Call) -> usize;
    fn needm_on_g_prologue(call: *mut Call);
    fn needm_on_g_cleanup(m: *const M);
    fn needm_on_g_epilogue(call: *const Call, m: *const M);
    fn needm_exit(call: *mut Call, m: *const M, code: c_int) -> c_int;
    fn needm_dropm(m: *const M);
    fn needm_left_g(out: *const c_void);
    fn needm_back_to_g(out: *const c_void);
    safe fn needm_notify_stopper();
    safe fn needm_wake();
}

/// `tls.S`: closed.
#[unsafe(export_name = "needm_gate")]
static GATE: Gate = Gate { value: AtomicU32::new(1), waiters: AtomicU32::new(0) };

/// This thread's block.
pub(super) fn block() -> &'static Block {
    system::block()
}

/// `entry.S`: nothing is interrupted there.
#[unsafe(no_mangle)]
extern "C" fn needm_entry_end() {}

/// `switch.S`.
#[unsafe(no_mangle)]
extern "C" fn needm_sp() -> usize {
    let here = 0_u8;
    match block().sp.get() {
        0 => (&raw const here).addr(),
        sp => sp,
    }
}

/// A 32-bit word of the thread's block, at the offset that assembly has.
fn tls_number(tls: &Tls, word: usize) -> &AtomicU32 {
    // SAFETY: `layout.rs` proves the offsets.
    unsafe { &*ptr::from_ref(tls).cast::<usize>().add(word).cast::<AtomicU32>() }
}

/// The current M's word there.
fn tls_m(tls: &Tls) -> &AtomicPtr<M> {
    // SAFETY: `layout.rs` proves the offset.
    unsafe { &*ptr::from_ref(tls).cast::<usize>().add(layout::tls::M).cast::<AtomicPtr<M>>() }
}

fn gate() -> &'static Gate {
    &GATE
}

/// Makes this thread's next callbacks, with the M that it has, take the bound path: for a check,
/// in which needm would have found the system's barrier.
pub(crate) fn open_bound_path(tls: &Tls, m: &M) {
    tls.set_bound_epoch(state::gate_of(m.epoch.load(Relaxed)));
}

/// The same for the rebind path, and the M that this thread had last.
pub(crate) fn open_rebind_path(tls: &Tls) {
    if let Some(last) = tls.thread().and_then(Thread::last) {
        tls.set_rebind_epoch(state::gate_of(last.epoch.load(Relaxed)));
    }
}

/// `entry.S`.
#[unsafe(no_mangle)]
unsafe extern "C" fn needm_entry(
    function: Option<Function>,
    frame: *mut c_void,
    size: usize,
    info: *mut c_void,
) -> c_int {
    let info = info.cast();
    let mut call = Call { info, function, frame: frame.cast(), size, arg: ptr::null_mut(), out: 0 };
    let tls = Tls::current();
    let Some(run) = function.filter(|_| size == 0 && info.is_null()) else {
        return slow(&mut call);
    };
    // SAFETY: the caller lets the function be called with its frame.
    let run = || unsafe { run(frame) };
    if tls_number(tls, layout::tls::BOUND_EPOCH).load(Relaxed) == gate().value.load(Relaxed) {
        bound(tls, &mut call, run)
    } else {
        rebind(tls, &mut call, run)
    }
}

/// How a fast path goes on.
enum Begun {
    Run(u32),
    Closed,
}

/// `begin`.
fn begin(m: &M, call: *mut Call, value: u32, bits: usize) -> Begun {
    // SAFETY: the call stands in the caller's frame.
    unsafe { (*call).size = ptr::from_ref(m).addr() };
    m.seg.store(call.addr() | bits, Release);
    fence(SeqCst); // the stopper's barrier as it closes the gate
    // Acquire: its barrier before it opens the gate again.
    if gate().value.load(Acquire) != value {
        m.seg.store(0, Release);
        // `.Lslow` stores the size.
        // SAFETY: the caller, whose frame the call is in, waits for this function, and nothing else uses it.
        unsafe { (*call).size = 0 };
        return Begun::Closed;
    }
    block().sp.set(m.top.load(Relaxed));
    Begun::Run(value)
}

/// `finish`, and `.Lcleanup`.
fn finish(m: &M, value: u32) {
    if m.needs_cleanup.load(Relaxed) != 0 {
        // SAFETY: this thread has the M, and is on its G.
        unsafe { needm_on_g_cleanup(m) };
    }
    block().sp.set(0);
    m.seg.store(0, Release);
    fence(SeqCst); // the stopper's barrier
    if gate().value.load(Relaxed) != value {
        needm_notify_stopper();
    }
}

fn bound(tls: &Tls, call: &mut Call, run: impl FnOnce()) -> c_int {
    let value = tls_number(tls, layout::tls::BOUND_EPOCH).load(Relaxed);
    let Some(m) = tls.m().filter(|m| m.seg.load(Relaxed) == 0) else { return slow(call) };
    match begin(m, call, value, 0) {
        Begun::Closed => slow(call),
        Begun::Run(value) => {
            run();
            finish(m, value);
            0
        }
    }
}

/// From `.Lrebind` to `.Lunbind`.
fn rebind(tls: &Tls, call: &mut Call, run: impl FnOnce()) -> c_int {
    let value = tls_number(tls, layout::tls::REBIND_EPOCH).load(Relaxed);
    if value != gate().value.load(Relaxed) {
        return slow(call);
    }
    let Some(own) = tls.thread() else { return slow(call) };
    let Some(m) = own.last().filter(|_| tls.m().is_none()) else { return slow(call) };
    let address = ptr::from_ref(m).cast_mut();
    if own.m.load(Relaxed) != address {
        return slow(call);
    }
    let (idle, bound) = (layout::m::IDLE, own.claim.load(Relaxed));
    #[allow(clippy::cast_possible_truncation)] // `movl`
    let bound = bound as u32;
    if m.state.compare_exchange(idle, bound, SeqCst, Relaxed).is_err() {
        return slow(call);
    }
    let record = ptr::from_ref(own).cast_mut().cast();
    if m.thread.load(Relaxed) != record {
        m.thread.store(record, Relaxed);
        own.note_known_stack(m);
    }
    tls_m(tls).store(address, Relaxed);
    // No handler runs in a model: `.Lother_bound` is not reached, nor is a callback left on the M.
    let Begun::Run(value) = begin(m, call, value, layout::m::BOUND_HERE) else {
        // SAFETY: this thread has the M.
        unsafe { needm_dropm(m) };
        return slow(call);
    };
    run();
    finish(m, value);
    if m.state.load(Relaxed) != bound {
        // SAFETY: this thread has the M: it bound it above, as the instructions at `.Lunlisted` rely on.
        unsafe { needm_dropm(m) };
        return 0;
    }
    tls_m(tls).store(ptr::null_mut(), Relaxed);
    m.state.store(idle, Release);
    fence(SeqCst); // the waiter's barrier
    if gate().waiters.load(Relaxed) != 0 {
        needm_wake();
    }
    0
}

/// `.Lslow`.
fn slow(call: &mut Call) -> c_int {
    let call = ptr::from_mut(call);
    // SAFETY: the call stands in this frame until the callback is over; the function may be
    // called with its frame; and the M is the one that `needm_enter` has bound.
    unsafe {
        let sp = needm_enter(call);
        let out = (*call).out;
        if sp == 0 {
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // `movl`
            return out as u32 as c_int;
        }
        let m = &*((out & !PENDING) as *const M);
        let before = block().sp.replace(sp);
        if out & PENDING != 0 {
            needm_on_g_prologue(call);
        }
        if let Some(run) = (*call).function {
            run((*call).arg.cast());
        }
        let segment = (m.seg.load(Relaxed) - layout::m::SEGMENT) as *const Segment;
        let same = (*segment).call.load(Relaxed) == call;
        if !same || (*segment).deferred() != 0 {
            needm_on_g_epilogue(call, m);
        }
        block().sp.set(before);
        needm_exit(call, m, 0)
    }
}

/// `switch.S`.
#[unsafe(no_mangle)]
unsafe extern "C" fn needm_on_g0(
    function: Function,
    arg: *mut c_void,
    out: *const *const Segment,
    g0sp: usize,
) {
    let sp = block().sp.replace(g0sp);
    // SAFETY: the first word of `out` is the running callback's segment, and the caller lets the
    // function be called.
    unsafe {
        let gsp: &AtomicUsize = &(**out).gsp;
        gsp.store(sp, Release);
        needm_left_g(out.cast());
        function(arg);
        needm_back_to_g(out.cast());
        gsp.store(0, Release);
    }
    block().sp.set(sp);
}

/// `call_on.S`: only code that unwinds calls this.
#[unsafe(no_mangle)]
extern "C" fn needm_call_on(_: usize, _: usize, _: usize, _: usize, _: usize) {
    panic!("no callback of a model panics");
}

/// `entry.S`: as above.
#[unsafe(no_mangle)]
extern "C" fn needm_unwind(_: *mut Call, _: *const M, _: c_int, _: usize) -> ! {
    panic!("no callback of a model panics");
}
