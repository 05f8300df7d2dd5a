//! Panics: raising one, the deferred functions on its way, recovering, and the
//! end of the callback (unwindm).
//!
//! A panic does not walk frames. It runs the deferred functions of the innermost
//! callback, last in first out, below the frame that panicked, and then ends the
//! callback as a return would. A panic raised by a deferred function takes over
//! what is left to run, and replaces the one before.
//!
//! A fault becomes a panic in [`sigpanic`], which the signal handler has made look
//! as if the faulting instruction had called it.
#![allow(unsafe_code)] // records on stacks, and functions of the host's

use core::ffi::{c_int, c_void};
use core::ptr;

use memoffset::offset_of;

use crate::arch::{needm_call_on, needm_unwind, upcalls};
use crate::callback::{self, Function};
use crate::error::Error;
use crate::layout;
use crate::m::{M, Segment, UNWOUND};
use crate::os::signal;
use crate::runtime;
use crate::signal::FaultFrame;
use crate::stack::Deferred;
use crate::sync::{AtomicU64, Relaxed};
use crate::throw;
use crate::tls::Tls;
use crate::world;

upcalls! {
    "needm_sigpanic" => sigpanic,
}

/// How a callback ended that did not return: C's `needm_panic_info`.
///
/// ```
/// # needm::start(needm::Config::default())?;
/// let found = std::cell::Cell::new(None);
/// let recover = |deferred: &needm::Deferred| found.set(deferred.recover());
/// let ended: Result<(), _> = needm::callback(|cx| {
///     cx.defer(&recover).expect("there is room");
///     needm::panic(std::ptr::without_provenance_mut(7))
/// });
/// assert!(matches!(ended, Err(needm::CallbackError::Recovered)));
/// assert_eq!(found.get().map(|info| info.value.addr()), Some(7));
/// # needm::stop()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PanicInfo {
    /// Bytes of this struct, set by who gives it.
    pub size: usize,
    /// The code of [`Error::Panic`], [`Error::Fault`] or [`Error::Overflow`].
    pub kind: i32,
    /// Of a fault: the signal's number, else 0.
    pub signo: i32,
    /// Of a fault: the signal's `si_code`, else 0.
    pub code: i32,
    /// Of a fault: the address that was touched (`si_addr`), else 0.
    pub addr: usize,
    /// Of a fault: the instruction, else 0.
    pub pc: usize,
    /// Of a panic: what it was given, else null.
    pub value: *mut c_void,
}

const WORD: usize = size_of::<usize>();
const _: () = {
    let ints = layout::panic_info::INT_BYTES.next_multiple_of(WORD);
    assert!(size_of::<PanicInfo>() == layout::panic_info::WORDS * WORD + ints);
    assert!(offset_of!(PanicInfo, size) == 0);
    assert!(offset_of!(FaultFrame, sp) == layout::fault::SP * WORD);
    assert!(offset_of!(FaultFrame, pc) == layout::fault::PC * WORD);
    assert!(size_of::<FaultFrame>() == layout::fault::WORDS * WORD);
};

impl PanicInfo {
    /// An empty one, to be filled.
    ///
    /// ```
    /// let info = needm::PanicInfo::new();
    /// assert_eq!((info.kind, info.error()), (0, None));
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: size_of::<Self>(),
            kind: 0,
            signo: 0,
            code: 0,
            addr: 0,
            pc: 0,
            value: ptr::null_mut(),
        }
    }

    /// Whether there is none, or one that is large enough to be filled.
    pub(crate) fn is_valid(info: *const Self) -> bool {
        // SAFETY: a caller that gives one gives at least its size.
        info.is_null() || unsafe { (*info).size } >= size_of::<Self>()
    }

    /// Fills `info` in, if there is one, and leaves its size alone.
    pub(crate) fn fill(&self, info: *mut Self) {
        if !info.is_null() {
            // SAFETY: it was found valid when it was given, and its owner waits.
            unsafe {
                let size = (*info).size;
                info.write(Self { size, ..*self });
            }
        }
    }

    /// Which kind of ending it was.
    ///
    /// ```
    /// let info = needm::PanicInfo { kind: -8, ..needm::PanicInfo::new() };
    /// assert_eq!(info.error(), Some(needm::Error::Fault));
    /// ```
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        Error::from_code(self.kind)
    }
}

impl Default for PanicInfo {
    fn default() -> Self {
        Self::new()
    }
}

/// A panic on its way: lives in the frame that raises it.
#[repr(C)]
pub(crate) struct Panic {
    info: PanicInfo,
    recovered: bool,
}

/// How many were raised in callbacks.
pub(crate) struct Raised {
    pub(crate) panics: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) overflows: AtomicU64,
}

pub(crate) static RAISED: Raised =
    Raised { panics: AtomicU64::new(0), faults: AtomicU64::new(0), overflows: AtomicU64::new(0) };

/// Runs what is deferred in the innermost segment.
pub(crate) fn run_deferred(m: &M) {
    let Some(segment) = m.segment() else { return };
    while let Some(count) = segment.deferred.load(Relaxed).checked_sub(1) {
        segment.deferred.store(count, Relaxed);
        let Some(deferred) = m.stack.pop_deferred() else { return };
        // SAFETY: who deferred it vouches for it until the callback's end.
        unsafe { (deferred.function)(deferred.arg) };
    }
}

/// Defers `function(arg)` to the end of the innermost callback.
pub(crate) fn defer(function: Function, arg: *mut c_void) -> Result<(), Error> {
    let tls = Tls::current();
    let (m, segment) = callback::current_segment(tls).ok_or(Error::Invalid)?;
    m.soil();
    m.stack.push_deferred(Deferred { function, arg })?;
    segment.deferred.store(segment.deferred.load(Relaxed) + 1, Relaxed);
    Ok(())
}

/// Stops the panic of the innermost callback; what it was, if there was one.
pub(crate) fn recover() -> Option<PanicInfo> {
    let (_, segment) = callback::current_segment(Tls::current())?;
    // SAFETY: a panic stands in a frame further up this G until its callback ends.
    let panic = unsafe { segment.panic.load(Relaxed).as_mut()? };
    if panic.recovered {
        return None;
    }
    panic.recovered = true;
    Some(panic.info)
}

/// Raises a panic with `value` in the innermost callback.
pub(crate) fn panic(value: *mut c_void) -> ! {
    let tls = Tls::current();
    let Some((m, segment)) = callback::current_segment(tls) else {
        throw::throw(format_args!("needm: needm_panic({value:p}) outside a callback"));
    };
    RAISED.panics.fetch_add(1, Relaxed);
    let mut info = PanicInfo { value, ..PanicInfo::new() };
    info.kind = Error::Panic.code();
    if segment.gsp.load(Relaxed) != 0 {
        raise_from_c(m, segment, info);
    }
    raise(m, segment, info)
}

/// A panic of C that a callback called: back in the world, and on its G.
fn raise_from_c(m: &M, segment: &Segment, mut info: PanicInfo) -> ! {
    unsafe extern "C" fn on_g(m: usize, segment: usize, info: usize) {
        // SAFETY: `raise_from_c` gives these three, and waits for ever.
        unsafe {
            raise(&*(m as *const M), &*(segment as *const Segment), *(info as *const PanicInfo))
        }
    }
    world::enter(m);
    let gsp = segment.gsp.swap(0, Relaxed);
    // SAFETY: below `gsp` the G's stack is free, and it is aligned for a call.
    unsafe {
        let (m, segment) = (ptr::from_ref(m) as usize, ptr::from_ref(segment) as usize);
        needm_call_on(m, segment, &raw mut info as usize, on_g as *const () as usize, gsp);
    }
    unreachable!("raise does not return")
}

/// Runs the deferred functions, then ends the callback.
fn raise(m: &M, segment: &Segment, info: PanicInfo) -> ! {
    let mut panic = Panic { info, recovered: false };
    segment.panic.store(&raw mut panic, Relaxed);
    run_deferred(m);
    // SAFETY: read again, because a deferred function has written to it.
    let recovered = unsafe { (&raw const panic.recovered).read_volatile() };
    if recovered {
        finish(m, segment, 0)
    }
    if runtime::settings().unrecovered_aborts() {
        die(m, &panic.info);
    }
    let call = segment.call.load(Relaxed);
    // SAFETY: the caller waits below its call.
    panic.info.fill(unsafe { (*call).info });
    finish(m, segment, panic.info.kind)
}

fn finish(m: &M, segment: &Segment, code: c_int) -> ! {
    world::unwound(segment);
    segment.flags.store(segment.flags.load(Relaxed) | UNWOUND, Relaxed);
    // SAFETY: the segment's call is its caller's, who waits for just this.
    unsafe { needm_unwind(segment.call.load(Relaxed), m, code, callback::exit_sp(m, segment)) }
}

/// The contract's one line, and death by the signal.
fn die(m: &M, info: &PanicInfo) -> ! {
    let id = m.id();
    if info.signo == 0 {
        throw::throw(format_args!("needm: unrecovered panic({:p}) on M {id}", info.value));
    }
    let what = if info.kind == Error::Overflow.code() { "stack overflow" } else { "fault" };
    throw::print(format_args!(
        "needm: unrecovered {what} on M {id}: signal {} code {} addr {:#x} pc {:#x}",
        info.signo, info.code, info.addr, info.pc
    ));
    signal::die_of(info.signo)
}

/// From `needm_sigjump`, on the G: the callback's own code faulted.
extern "C" fn sigpanic(fault: *const FaultFrame) -> ! {
    // SAFETY: the handler wrote it, just above this frame.
    let fault = unsafe { &*fault };
    let tls = Tls::current();
    let Some((m, segment)) = tls.m().and_then(|m| Some((m, m.segment()?))) else {
        throw::throw(format_args!("needm: fault at {:#x} outside a callback", fault.pc));
    };
    let overflow = fault.kind == Error::Overflow.code();
    let counter = if overflow { &RAISED.overflows } else { &RAISED.faults };
    counter.fetch_add(1, Relaxed);
    let info = PanicInfo {
        size: size_of::<PanicInfo>(),
        kind: fault.kind,
        signo: fault.signo,
        code: fault.code,
        addr: fault.addr,
        pc: fault.pc,
        value: ptr::null_mut(),
    };
    raise(m, segment, info)
}
