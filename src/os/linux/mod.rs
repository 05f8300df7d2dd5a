// SPDX-License-Identifier: MIT OR Apache-2.0
//! needm's part for Linux, a room in the words of `os/mod.rs`: raw system calls, and what a C
//! library adds where there is one.
//!
//! | file | keeps this part of the contract in `os/mod.rs` |
//! | --- | --- |
//! | `memory.rs`, `slab.rs` | memory, the size of a page; stacks side by side |
//! | `wait.rs`, `barrier.rs` | futexes and the clock; `membarrier` |
//! | `thread.rs`, `clone.rs`, `image.rs`, `maps.rs`, `ids.rs` | threads, by the C library or without; where their stacks are; their numbers |
//! | `exit.rs`, `robust_list.rs`, `key.rs` | how an exit is noticed: the robust-futex list; a key's destructor |
//! | `fault.rs`, `actions.rs`, `forward.rs`, `alt_stack.rs`, `prepare.rs`, `handler_callback.rs`, `known.rs`, `shared.rs`, `sigaltstack.rs`, `signal.rs`, `frame.rs` | fault signals; the actions of before; the alternate signal stack; the system calls for them; a signal's frame |
//! | `interrupt.rs` | the signal that interrupts callbacks |
//! | `libc.rs`, `unwinder.rs`, `process.rs` | what the C library has: keys, threads, fork handlers, `errno`, an unwinder; the end |
//! | `program.rs`, `start.rs` | a program without a C library; its `_start` |
//!
//! # Safety
//! Every wrapper passes Linux only what the call's manual page asks for;
//! what is left to the caller is in each function's own Safety section.
#![allow(unsafe_code)] // system calls are what this room is for

mod actions;
mod alt_stack;
pub(super) mod barrier;
mod clone;
pub(super) mod exit;
pub(super) mod fault;
mod forward;
mod frame;
mod handler_callback;
mod ids;
mod image;
pub(super) mod interrupt;
mod key;
mod known;
mod libc;
mod maps;
pub(super) mod memory;
pub(super) mod process;
#[cfg(feature = "freestanding")]
pub(super) mod program;
mod prepare;
mod robust_list;
mod shared;
mod sigaltstack;
mod signal;
mod slab;
#[cfg(feature = "freestanding")]
mod start;
pub(super) mod thread;
mod unwinder;
pub(super) mod wait;

/// The thread's last error: `errno`.
pub(super) mod last_error {
    pub(crate) use super::libc::{keeping_errno as keeping, set_errno as set};
}

/// Forks: `pthread_atfork`.
pub(super) mod fork {
    pub(crate) use super::libc::at_fork_in_child as on_child;

    pub(crate) const EXIST: bool = true;
}

use crate::arch::linux::slots::Slots;
use crate::arch::linux::syscall::syscall;
use crate::sync::{AtomicBool, Relaxed};

/// Whether system calls are spared that needm can do without.
static SPARING: AtomicBool = AtomicBool::new(false);

/// From here on, whether they are.
pub(super) fn spare_calls(spares: bool) {
    SPARING.store(spares, Relaxed);
}

/// Whether system calls are spared that needm can do without.
fn spares_calls() -> bool {
    SPARING.load(Relaxed)
}

/// An error number of the system's, as in `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(unreachable_pub)] // `needm::host` has it, with the feature `freestanding`
pub struct Errno(pub(crate) i32);

// include/uapi/asm-generic/errno-base.h and errno.h; the same on every architecture here.
const ESRCH: Errno = Errno(3);
const ENOEXEC: Errno = Errno(8);
const ENOMEM: Errno = Errno(12);
const EFAULT: Errno = Errno(14);
const EINVAL: Errno = Errno(22);
const ENOSYS: Errno = Errno(38);

/// The largest error number (include/linux/err.h, `MAX_ERRNO`).
const MAX_ERRNO: isize = 4095;

/// Makes a system call; its result, or its error.
///
/// # Safety
/// As for [`syscall`].
unsafe fn call(nr: usize, args: impl Into<Slots>) -> Result<usize, Errno> {
    // SAFETY: the arguments are what the call `nr` takes, and its effects are sound, by this
    // function's own contract.
    checked(unsafe { syscall(nr, &args.into()) })
}

/// The result of a system call, or its error.
fn checked(result: isize) -> Result<usize, Errno> {
    if (-MAX_ERRNO..0).contains(&result) {
        #[allow(clippy::cast_possible_truncation)] // within ±4095
        return Err(Errno(-result as i32));
    }
    #[allow(clippy::cast_sign_loss)] // an address may have the sign bit set
    Ok(result as usize)
}

/// The half of a word that an id is in.
#[allow(clippy::cast_possible_truncation)] // ids are positive ints
fn low(id: usize) -> u32 {
    id as u32
}
