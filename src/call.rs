// SPDX-License-Identifier: MIT OR Apache-2.0
//! The records of one callback that assembly, the caller and the code on the G share: the
//! call, what a panic is, what a fault leaves on the G.
//!
//! # Safety
//! A caller that gives a `needm_panic_info` gives at least the bytes that its `size` says, and
//! waits until its callback is over.
#![allow(unsafe_code)] // records of the caller's

use crate::layout;
use core::ffi::c_int;
use core::ffi::c_void;
use core::ptr;

/// What a callback runs.
pub(crate) type Function = unsafe extern "C" fn(*mut c_void);

/// The record that entry code leaves on the caller's stack. The fast paths fill in `info` alone,
/// which comes first because one instruction can make room for the record and store its first word.
#[repr(C)]
pub(crate) struct Call {
    pub(crate) info: *mut PanicInfo,
    pub(crate) function: Option<Function>,
    pub(crate) frame: *mut u8,
    pub(crate) size: usize,
    pub(crate) arg: *mut u8,
    pub(crate) out: usize,
}

layout::prove_call!(Call);

/// How code on every architecture here wants its stack aligned, in bytes (their ABIs).
pub(crate) const ALIGN: usize = 16;

/// The segment is still to be built: the caller is on the G itself, and `enter` ran there, where
/// the callback's part is to be. Assembly moves the stack pointer below that first.
pub(crate) const PENDING_SEGMENT: usize = layout::call::ON_G;

/// A spare is to be made: this callback's M was the last on the extra list.
pub(crate) const PENDING_SPARES: usize = 2;

/// The caller is a handler on the thread's handler stack, which must be kept from the
/// handlers to come: `os::fault::Readiness::make_way`.
pub(crate) const PENDING_HANDLER_STACK: usize = 4;

/// A sanitizer is to be told of the switch of stacks.
pub(crate) const PENDING_TOOLS: usize = 8;

/// A request to interrupt the callback came while it was being entered.
pub(crate) const PENDING_REQUEST: usize = 16;

const _: () = {
    let pending = PENDING_SEGMENT | PENDING_SPARES | PENDING_HANDLER_STACK | PENDING_TOOLS;
    assert!(pending | PENDING_REQUEST == layout::call::PENDING);
};

/// Why a callback ended without returning: C's `needm_panic_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct PanicInfo {
    /// Bytes of this struct, set by the caller; with [`FORWARDS_FAULTS`] or
    /// [`UNLESS_PANICKING`], the Rust interface's.
    pub(crate) size: usize,
    /// The code of `Error::Panic`, `Error::Fault`, `Error::Overflow` or `Error::Interrupted`.
    pub(crate) kind: i32,
    /// Of a fault: the signal's number, else 0.
    pub(crate) signo: i32,
    /// Of a fault: the signal's `si_code`, else 0.
    pub(crate) code: i32,
    /// Of a fault: the address that was touched (`si_addr`), else 0.
    pub(crate) addr: usize,
    /// Of a fault: the instruction, else 0.
    pub(crate) pc: usize,
    /// Of a panic or an interrupt: what it was given, else null.
    pub(crate) value: *mut c_void,
}

/// A bit of [`PanicInfo::size`]: a fault does not end the callback, but goes to the handler
/// of before. No object is as large as this bit says, so no C caller means it, and the fast
/// path, which compares the size as an unsigned number, lets it pass without another
/// instruction.
pub(crate) const FORWARDS_FAULTS: usize = 1 << (usize::BITS - 1);

/// The same while this thread panics, in Rust's sense: the panic hook and what it locks
/// could not be left.
pub(crate) const UNLESS_PANICKING: usize = FORWARDS_FAULTS >> 1;

const TAGS: usize = FORWARDS_FAULTS | UNLESS_PANICKING;

layout::prove_panic_info!(PanicInfo);
layout::prove_fault!(FaultFrame);

impl PanicInfo {
    /// An empty one, to be filled.
    pub(crate) const fn new() -> Self {
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

    /// Whether there is none, or one that is large enough to be filled. A size with a tag is
    /// valid only as the Rust interface writes it: from C it is no size.
    pub(crate) fn is_valid(info: *const Self) -> bool {
        if info.is_null() {
            return true;
        }
        // SAFETY: a caller that gives an info gives at least its size.
        let size = unsafe { (*info).size };
        let bytes = size & !TAGS;
        if size == bytes { bytes >= size_of::<Self>() } else { bytes == size_of::<Self>() }
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
}

impl Call {
    /// Whether a fault in this callback ends it with an error; else the fault goes to the
    /// handler of before. The caller must be waiting for the callback.
    pub(crate) fn recovers_faults(&self) -> bool {
        if self.info.is_null() {
            return true;
        }
        // SAFETY: the caller gave it, found valid, and waits.
        let size = unsafe { (*self.info).size };
        size & FORWARDS_FAULTS == 0 && !(size & UNLESS_PANICKING != 0 && is_panicking())
    }

    /// Whether the safe interface makes it: then no order in which fibers go on may break memory safety. The
    /// caller must be waiting for the callback.
    pub(crate) fn is_safe(&self) -> bool {
        // SAFETY: the info is null, or lies in a frame of the caller's: that waits for the callback, and the slow path
        // has found the info's size valid before it asks this.
        unsafe { self.info.as_ref() }.is_some_and(|info| info.size & FORWARDS_FAULTS != 0)
    }
}

/// Whether a Rust panic is under way on this thread. Reads thread-local words, and so may be
/// asked in a signal handler.
#[cfg(feature = "std")]
pub(crate) fn is_panicking() -> bool {
    std::thread::panicking()
}

/// Without `std` nothing catches a Rust panic, and the callback ends with the process.
#[cfg(not(feature = "std"))]
pub(crate) fn is_panicking() -> bool {
    false
}

/// A panic under way: lives in the frame that raises it.
#[repr(C)]
pub(crate) struct Panic {
    pub(crate) info: PanicInfo,
    /// Of a fault: what `os::fault::keep` has kept of it; 0 if nothing.
    pub(crate) kept: usize,
    /// Where C was that has raised it, or one that it has taken over; else 0.
    pub(crate) c: usize,
    pub(crate) recovered: bool,
}

/// What a fault leaves on the G's stack, below the frame that faulted.
#[repr(C)]
pub(crate) struct FaultFrame {
    /// The stack pointer at the fault: where an unwinder goes on.
    pub(crate) sp: usize,
    /// The instruction.
    pub(crate) pc: usize,
    /// The error code of its kind.
    pub(crate) kind: c_int,
    pub(crate) signo: c_int,
    pub(crate) code: c_int,
    /// The address that was touched; of an interrupt: its value.
    pub(crate) addr: usize,
    /// What `os::fault::keep` has kept of it; 0 if nothing. And [`BLOCKED`].
    pub(crate) kept: usize,
}

/// In [`FaultFrame::kept`], whose address is aligned: the thread had handlers blocked.
pub(crate) const BLOCKED: usize = 1;
