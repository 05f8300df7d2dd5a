// SPDX-License-Identifier: MIT OR Apache-2.0
//! needm's part for Windows, a room in the words of `os/mod.rs`: functions of kernel32, ntdll and
//! the API set for waiting on addresses, by their own import tables. No C library is asked for
//! anything but `_tls_index` (`tls.S`).
//!
//! | file | keeps this part of the contract in `os/mod.rs` |
//! | --- | --- |
//! | `memory.rs` | memory, the size of a page; the reserve of a stack as Windows wants it |
//! | `wait.rs`, `barrier.rs` | `WaitOnAddress` and the clock; `FlushProcessWriteBuffers` |
//! | `interrupt.rs`, `suspend.rs` | interrupts; another thread's registers |
//! | `thread.rs` | threads, and where their stacks are |
//! | `exit.rs` | how an exit is noticed: a callback of fiber-local storage; the thread's own handle |
//! | `fault.rs`, `kinds.rs` | faults: a vectored handler, and the handler of a callback's lowest frame; what they are called |
//! | `abort.rs` | `abort` in a callback, by the C libraries' handlers |
//! | `handler_stack.rs` | there are none |
//! | `stack_fields.rs` | what the thread's environment block says of its stack, after a `longjmp` |
//! | `process.rs` | the end |
//! | `sys.rs` | the declarations of Windows's functions |
//!
//! Windows has no signals and no forks. What the contract says of handlers that run between any
//! two instructions does not happen here.
//!
//! # Safety
//! Every call passes Windows only what its documentation asks for; what is left to the caller is
//! in each function's own Safety section.
#![allow(unsafe_code)] // functions of the system are what this room is for

#[cfg(feature = "freestanding")]
compile_error!("`freestanding` is for programs without a C library, under Linux");

mod abort;
pub(super) mod barrier;
pub(super) mod exit;
pub(super) mod fault;
mod handler_stack;
pub(super) mod interrupt;
mod kinds;
pub(super) mod memory;
pub(super) mod process;
mod stack_fields;
mod suspend;
mod sys;
pub(super) mod thread;
pub(super) mod wait;

/// The thread's last error: what `GetLastError` returns. `errno` belongs to C libraries, of which a
/// process has several, and none is asked.
pub(super) mod last_error {
    use crate::arch::windows::teb;

    /// Sets it.
    pub(crate) fn set(number: i32) {
        teb::set_last_error(number.cast_unsigned());
    }

    /// Runs `work` and leaves it as it was.
    pub(crate) fn keeping<R>(work: impl FnOnce() -> R) -> R {
        let before = teb::last_error();
        let result = work();
        teb::set_last_error(before);
        result
    }
}

/// All calls may be made: what a sandbox of Windows's refuses ends no process.
pub(super) fn spare_calls(_spares: bool) {}

/// Windows has no forks.
pub(super) mod fork {
    pub(crate) const EXIST: bool = false;

    pub(crate) fn on_child(_: extern "C" fn()) {}
}

/// Why Windows refused: its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;
