// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults of instructions, and the stack on which the system runs handlers.
//!
//! A stack that has run out holds no handler. A thread that runs callbacks therefore needs
//! another one, its *handler stack*. A system that runs handlers elsewhere has none: then
//! bounds are 0 and 0, and what is done to it does nothing.
//!
//! This is a part of the contract in `os/mod.rs`, whose rules hold here.

use super::room::fault as room;
pub(crate) use super::terms::{Fault, Known, Needs, RESUME, STACK_RAN_OUT};
use crate::error::Error;
use core::ffi::c_int;
use core::ops::Range;

/// Routes faults to `needm_on_fault`, and notes what handled them before. `aborts`: also that a
/// thread aborts the process (`SIGABRT`). Not from a handler.
pub(crate) fn install(aborts: bool) {
    room::install(aborts);
}

/// Puts back what handled faults before, unless another handler was installed on top since. What
/// that handler passes on to needm is still forwarded, for as long as needm is loaded.
pub(crate) fn uninstall() {
    room::uninstall();
}

/// In a forked child, or after a jump out of [`install`] or [`uninstall`]: makes what is installed agree with what
/// the memory says.
pub(crate) fn agree_with_memory() {
    room::agree_with_memory();
}

/// Copies the system's frame of `fault` to `[room, room + fault.frame + KEEP_MORE)`, from where
/// [`raise_again`] can use it once the handler has been left. What identifies the copy.
///
/// # Safety
/// The handler of this fault is running, and nothing uses that room.
pub(crate) unsafe fn keep(fault: &Fault, room: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { room::keep(fault, room) }
}

/// More bytes than `Fault::frame` says that [`keep`] needs.
pub(crate) const KEEP_MORE: usize = room::KEEP_MORE;

/// Has this thread go on where it faulted, with all that it had then, so that the fault happens
/// once more. `number` and `code` are the fault's.
///
/// # Safety
/// [`keep`] has returned `kept`, which is as it was, and nothing on this stack is needed any more.
pub(crate) unsafe fn raise_again(kept: usize, number: c_int, code: c_int) -> ! {
    // SAFETY: the caller's promise.
    unsafe { room::raise_again(kept, number, code) }
}

/// In the handler of `fault`: whether the code that faulted is on a G of another copy of needm in this
/// process, one that is asked after this one. Makes system calls.
pub(crate) fn is_on_g_of_a_copy(fault: &Fault) -> bool {
    room::is_on_g_of_a_copy(fault)
}

/// Bytes that the system itself takes of a handler stack for one handler, at most.
pub(crate) fn frame_size() -> usize {
    room::frame_size()
}

/// Runs `work` while no handler runs on this thread.
#[cfg(any(feature = "asan", feature = "tsan"))]
pub(crate) fn without_handlers<R>(work: impl FnOnce() -> R) -> R {
    room::without_handlers(work)
}

/// The handler stack that the system has for this thread now.
pub(crate) struct HandlerStack(room::Stack);

/// Asks the system for it, by one system call.
pub(crate) fn handler_stack() -> HandlerStack {
    HandlerStack(room::Stack::current())
}

impl HandlerStack {
    /// Whether an address lies on it.
    pub(crate) fn holds(&self, address: usize) -> bool {
        self.0.holds(address)
    }

    /// Whether this thread runs on it.
    pub(crate) fn in_use(&self) -> bool {
        self.0.in_use()
    }
}

/// The part of a thread's record that keeps the thread ready for faults: its handler
/// stack. All zeros is valid, and is ready for nothing. Only its own thread calls these
/// functions, unless one says otherwise.
#[repr(transparent)]
pub(crate) struct Readiness {
    pub(crate) room: room::Readiness,
}

impl Readiness {
    /// Makes sure that this thread has a handler stack, and that it is known of the place `at` of
    /// the caller whether a handler runs there. `careful`: the caller may be a handler, whose return may
    /// undo that; then [`Readiness::needs_checks`] until it has been found in order often enough. `tell` is given the bounds of a stack that
    /// is made here, and returns the number that valgrind has given it. `is_own`: whether an address is
    /// on the stack that the thread was made with; `own_part`: the part of that which an address is on,
    /// if that is known without a system call. An error if there is no
    /// memory for one, or the system refuses it.
    pub(crate) fn prepare(
        &self,
        at: usize,
        careful: bool,
        needs: Needs,
        tell: impl FnOnce(usize, usize) -> usize,
        is_own: impl Fn(usize) -> bool,
        own_part: impl Fn(usize) -> Option<Range<usize>>,
    ) -> Result<(), Error> {
        self.room.prepare(at, careful, needs, tell, is_own, own_part)
    }

    /// Whether callbacks have to call [`Readiness::prepare`] again.
    pub(crate) fn needs_checks(&self) -> bool {
        self.room.needs_checks()
    }

    /// Notes whether this thread has blocked faults that its callbacks are to run without. One
    /// system call, if there are such callbacks ([`Needs::unblocked`]).
    pub(crate) fn note_blocked(&self, needs: Needs) {
        self.room.note_blocked(needs);
    }

    /// Whether each callback has to call [`Kept::unblock_faults`].
    pub(crate) fn blocks_faults(&self) -> bool {
        self.room.blocks_faults()
    }

    /// Makes the next callback check.
    pub(crate) fn check_again(&self, needs: Needs) {
        self.room.check_again(needs);
    }

    /// Whether it is known of an address on a stack whether a handler runs there on a handler stack.
    /// If not, [`Readiness::prepare`] finds out.
    pub(crate) fn knows(&self, address: usize) -> bool {
        self.room.knows(address)
    }

    /// Has [`Readiness::prepare`] find out again: needm was stopped and started.
    pub(crate) fn forget_known(&self) {
        self.room.forget_known();
    }

    /// Where no handler is on a handler stack: the part of a stack with the address that
    /// [`Readiness::knows`] or [`Readiness::prepare`] was asked about last, if there is one.
    pub(crate) fn known(&self) -> (usize, usize) {
        self.room.known.get()
    }

    /// Whether an address is on a stack where only handlers run.
    pub(crate) fn holds(&self, address: usize) -> bool {
        self.room.holds(address)
    }

    /// The upper end of the handler stack that an address is on; `None` if it is on none.
    pub(crate) fn end_of(&self, address: usize) -> Option<usize> {
        self.room.end_of(address)
    }

    /// Whether the handler stack has room for a fault while `caller`, a handler on it, waits for
    /// its callback.
    pub(crate) fn has_room_below(&self, caller: usize, needs: Needs) -> bool {
        self.room.has_room_below(caller, needs)
    }

    /// Whether the system lets [`Readiness::make_way`] do what it does.
    pub(crate) fn can_make_way(&self) -> bool {
        self.room.can_make_way()
    }

    /// On the G, between [`Kept::hold`] and the callback of `caller`, a handler on the handler
    /// stack: from here on handlers do not overwrite what is in use of that stack.
    pub(crate) fn make_way(&self, kept: &Kept, caller: usize, needs: Needs) {
        self.room.make_way(&kept.0, caller, needs);
    }

    /// Whether the handler stack that begins at `lo` was made here, for a thread that had none. May
    /// be asked by the system's handler.
    pub(crate) fn is_lent(&self, lo: usize) -> bool {
        self.room.is_lent(lo)
    }

    /// Whether a thread that exits may keep its handler stack until it is gone.
    pub(crate) fn may_stay(&self) -> bool {
        self.room.may_stay()
    }

    /// Puts back what the thread had before. False if it runs on ours right now, which
    /// then stays.
    pub(crate) fn release(&self) -> bool {
        self.room.release()
    }

    /// The thread has exited. Called by another.
    pub(crate) fn forget(&self) {
        self.room.forget();
    }

    /// Unmaps a stack that was made here, which no thread has, and tells `forget` its number.
    /// Called by any thread.
    pub(crate) fn unmap(&self, forget: impl FnOnce(usize)) {
        self.room.unmap(forget);
    }
}

/// The part of a callback's segment that keeps what is to be put back at its end. All
/// zeros is valid: nothing. Its size is four words.
#[repr(transparent)]
pub(crate) struct Kept(room::Kept);

impl Kept {
    /// Nothing is kept.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }

    /// Before the switch to a G: no handler runs on this thread until
    /// [`Readiness::make_way`], or the end.
    pub(crate) fn hold(&self) {
        self.0.hold();
    }

    /// Before the callback: faults reach needm until [`Kept::put_back`], also if this thread has
    /// blocked them.
    pub(crate) fn unblock_faults(&self) {
        self.0.unblock_faults();
    }

    /// C has jumped out of the callback: what has been changed since for the thread stays so.
    pub(crate) fn leave(&self, ready: &Readiness) {
        self.0.leave(&ready.room);
    }

    /// At the callback's end, however it comes: all is as it was before.
    pub(crate) fn put_back(&self) {
        self.0.put_back();
    }
}
