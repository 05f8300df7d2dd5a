// SPDX-License-Identifier: MIT OR Apache-2.0
//! The types of the contract, which rooms and portable code share, and the calls upward.

use crate::sync::{AtomicUsize, Relaxed, SeqCst, compiler_fence};
use core::ffi::{c_int, c_void};

/// What a range may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// An access is a fault.
    None,
    /// Reads and writes.
    ReadWrite,
}

/// Beside which others a stack may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // not every system has signal stacks
pub(crate) enum Side {
    /// The stacks of callbacks.
    G,
    /// The stacks of signal handlers.
    SignalStack,
}

/// What a new thread runs; what it returns goes nowhere.
pub(crate) type Main = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// What runs on a thread that exits, with the value that `Notice::arm` got.
pub(crate) type OnExit = unsafe extern "C" fn(*mut c_void);

/// A fault, as the system tells of it.
#[repr(C)]
pub(crate) struct Fault {
    /// The number by which hosts know this kind of fault: that of the signal, on every system.
    pub(crate) number: c_int,
    /// The system's closer description (`si_code`).
    pub(crate) code: c_int,
    /// The address that was touched, or what the system says in its place.
    pub(crate) addr: usize,
    /// The instruction.
    pub(crate) pc: usize,
    /// The stack pointer there.
    pub(crate) sp: usize,
    /// From here on downwards the stack is not in use.
    pub(crate) free_below: usize,
    /// Whether it is a fault of memory, and `addr` where.
    pub(crate) is_memory: bool,
    /// Whether the system says that the stack has run out on which the thread is.
    pub(crate) is_overflow: bool,
    /// Whether it may be that the system had no room on the thread's stack for a frame
    /// of another handler. If so, `sp` is near the stack's end.
    pub(crate) maybe_no_room: bool,
    /// Whether the thread had handlers blocked.
    pub(crate) blocked: bool,
    /// The state of the code that was interrupted, as the system has it (`ucontext_t`).
    pub(crate) context: *mut c_void,
    /// Bytes of the system's frame, which `os::fault::keep` can keep; 0 if it is not known.
    pub(crate) frame: usize,
    /// Where the fault frame is written instead of its place on the G, or null. A room gives an
    /// address if records of the system's are still in use at that place; it copies the frame's
    /// words there when they are not.
    pub(crate) frame_to: *mut c_void,
}

/// Where a thread was interrupted.
#[repr(C)]
pub(crate) struct Interrupted {
    /// The instruction that runs next.
    pub(crate) pc: usize,
    /// The stack pointer there.
    pub(crate) sp: usize,
    /// From here on downwards the stack is not in use.
    pub(crate) free_below: usize,
    /// Whether `sp` is on the handler stack that the system had for the thread.
    pub(crate) on_handler_stack: bool,
    /// Which handlers the thread had blocked, a bit each.
    pub(crate) blocked: u64,
    /// As `Fault::frame_to`.
    pub(crate) frame_to: *mut c_void,
}

/// What a thread that is to be interrupted is at, while it is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(unix, allow(dead_code))] // the room may suspend no thread
pub(crate) enum Look {
    /// It looks for the request itself, or there is none for it.
    Enough,
    /// It runs on a stack of a callback, with [`ROOM`](super::interrupt::ROOM) below.
    Run,
    /// It is between two such places, for a moment.
    Retry,
}

/// A part of a stack, from which callbacks come that are known not to be a handler's on a handler
/// stack: its lowest address, and bytes.
#[repr(C)]
pub(crate) struct Known {
    pub(crate) lo: AtomicUsize,
    pub(crate) len: AtomicUsize,
}

impl Known {
    /// Whether an address is there.
    pub(crate) fn holds(&self, address: usize) -> bool {
        address.wrapping_sub(self.lo.load(Relaxed)) < self.len.load(Relaxed)
    }

    /// Its lowest address and bytes.
    pub(crate) fn get(&self) -> (usize, usize) {
        (self.lo.load(Relaxed), self.len.load(Relaxed))
    }

    /// Sets both. In between it is nowhere.
    pub(crate) fn set(&self, lo: usize, len: usize) {
        self.len.store(0, Relaxed);
        compiler_fence(SeqCst);
        self.lo.store(lo, Relaxed);
        compiler_fence(SeqCst);
        self.len.store(len, Relaxed);
    }
}

/// What a thread's handler stack has to hold, in bytes.
#[derive(Clone, Copy)]
#[cfg_attr(not(unix), allow(dead_code))] // the room may have no handler stacks
pub(crate) struct Needs {
    /// Whether faults are handled; if not, no thread needs such a stack.
    pub(crate) handled: bool,
    /// The size of a handler stack that needm makes.
    pub(crate) stack: usize,
    /// The least size of a handler stack of the thread's own that needm uses.
    pub(crate) least: usize,
    /// What the end of a handler's callback needs on the handler's stack, below the handler.
    pub(crate) exit_room: usize,
    /// Whether faults that a thread has blocked are unblocked while its callbacks run.
    pub(crate) unblocked: bool,
}

/// An answer of [`needm_on_fault`].
pub(crate) const STACK_RAN_OUT: usize = 1;

/// Another one.
pub(crate) const RESUME: usize = 2;

/// An answer of [`needm_on_interrupt`].
pub(crate) const AFTER_HANDLER: usize = 1;

unsafe extern "C" {
    /// The thread of this function was interrupted, by [`send`](super::interrupt::send) or for
    /// another reason. 0: it goes on; [`AFTER_HANDLER`]: it goes on, with interrupts blocked, and
    /// is interrupted again when the handler returns that it is in. Else the address of a
    /// `FaultFrame` on a G: as for [`needm_on_fault`].
    pub(crate) fn needm_on_interrupt(at: *const Interrupted) -> usize;

    /// Whether a callback of this thread is to be ended by an interrupt.
    #[cfg_attr(not(unix), allow(dead_code))] // the room may share no interrupts with others
    pub(crate) safe fn needm_has_request() -> bool;

    /// What needm makes of a fault; called on the handler stack of the thread that has
    /// faulted. 0: needm leaves it alone, and the room does what would have been done
    /// without needm; [`STACK_RAN_OUT`]: likewise, and the stack that the thread was on has
    /// run out. [`RESUME`]: the room returns to what was interrupted. Else the address of a
    /// `FaultFrame` on a stack of an M: the room leaves the
    /// handler for `needm_sigpanic` there, with the callee-saved registers of the fault.
    pub(crate) fn needm_on_fault(fault: *const Fault) -> usize;

    /// Whether this thread has the handler stack that begins at `lo` from needm, and had none before,
    /// and `sp` is on the thread's own stack: without needm, a handler for the code there would run
    /// below `sp`.
    #[cfg_attr(not(unix), allow(dead_code))] // the system may run handlers on the same stack
    pub(crate) safe fn needm_lent_stack(lo: usize, sp: usize) -> bool;

    /// Whether `sp` is on a G of this thread's, in a callback.
    #[cfg_attr(not(unix), allow(dead_code))] // copies may not ask each other
    pub(crate) safe fn needm_is_on_g(sp: usize) -> bool;

    /// A thread that the room made is about to exit, and no handler runs on it any more: its
    /// record is freed.
    #[cfg_attr(not(unix), allow(dead_code))] // the system may tell of all exits
    pub(crate) safe fn needm_thread_exit();
}
