//! The types of the contract, which rooms and portable code share, and the calls upward.

use core::ffi::{c_int, c_void};

/// What a range may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// An access is a fault.
    None,
    /// Reads and writes.
    ReadWrite,
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
    /// Whether it may be that the system had no room on the thread's stack for a frame
    /// of another handler. If so, `sp` is near the stack's end.
    pub(crate) maybe_no_room: bool,
}

/// What a thread's handler stack has to hold, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Needs {
    /// Whether faults are handled; if not, no thread needs such a stack.
    pub(crate) handled: bool,
    /// The size of a handler stack that needm makes.
    pub(crate) stack: usize,
    /// The least size of a handler stack of the thread's own that needm uses.
    pub(crate) least: usize,
    /// What the end of a handler's callback needs on the handler's stack, below the handler.
    pub(crate) exit_room: usize,
}

/// An answer of [`needm_on_fault`].
pub(crate) const STACK_RAN_OUT: usize = 1;

unsafe extern "C" {
    /// What needm makes of a fault; called on the handler stack of the thread that has
    /// faulted. 0: needm leaves it alone, and the room does what would have been done
    /// without needm; [`STACK_RAN_OUT`]: likewise, and the stack that the thread was on has
    /// run out. Else the address of a `FaultFrame` on a G: the room leaves the
    /// handler for `needm_sigpanic` there, with the callee-saved registers of the fault.
    pub(crate) fn needm_on_fault(fault: *const Fault) -> usize;

    /// Whether this thread has its signal stack from needm, and had none before, and `sp` is on no
    /// G: without needm, a handler for the code there would run below `sp`.
    pub(crate) safe fn needm_lent_stack(sp: usize) -> bool;

    /// A thread that the room made is about to exit, and no handler runs on it any more: its
    /// record is freed.
    pub(crate) safe fn needm_thread_exit();
}
