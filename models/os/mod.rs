//! The room for a model system: threads, waiting and memory as loom has them.
//!
//! | file | keeps this part of the contract in `src/os/mod.rs` |
//! | --- | --- |
//! | `memory.rs` | memory: addresses that no thread may use after they are unmapped |
//! | `wait.rs` | waiting and waking: a lost wake-up is a deadlock |
//! | `system.rs`, `ids.rs`, `libc.rs` | what threads have in the system and in a C library; how they exit |
//! | `src/os/linux/exit.rs`, `robust_list.rs`, `key.rs` | how an exit is noticed: the files of the Linux room, on the three above |
//! | `interrupt.rs` | nothing interrupts a thread |
//! | `fault.rs` | nothing faults; a handler stack is a thing that one thread has |
//!
//! There is no asymmetric barrier, because loom has none: needm enters with fences.
#![allow(unsafe_code)] // it calls what threads have given it, and reads robust lists

pub(super) mod fault;
mod ids;
pub(super) mod interrupt;
mod libc;
pub(super) mod memory;
pub(crate) mod system;
pub(super) mod wait;

#[path = "../../src/os/linux/exit.rs"]
pub(super) mod exit;
#[path = "../../src/os/linux/key.rs"]
mod key;
#[path = "../../src/os/linux/robust_list.rs"]
mod robust_list;

use system::call;

/// All of its calls may be made.
pub(super) fn spare_calls(_: bool) {}

fn spares_calls() -> bool {
    false
}

/// Why the model system refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno;

/// There is none.
pub(super) mod barrier {
    pub(crate) fn register() -> bool {
        false
    }
    pub(crate) fn run() -> bool {
        unreachable!("there is no barrier on all threads");
    }
}

/// The model starts its threads itself; they have no stacks that needm could ask for.
pub(super) mod thread {
    pub(crate) fn can_read(_: usize) -> bool {
        true
    }

    use crate::os::terms::Main;
    use core::ffi::c_void;
    use core::ops::Range;

    pub(crate) unsafe fn start(_: Main, _: *mut c_void) -> Result<(), i32> {
        Err(11) // EAGAIN
    }
    pub(crate) fn own_stack(_: usize) -> Option<Range<usize>> {
        None
    }

    pub(crate) fn known_own_part(_: usize, _: usize, _: Range<usize>) -> Option<Range<usize>> {
        None
    }

    pub(crate) fn note_first_stack() {}

    pub(crate) fn has_block_on_its_stack() -> bool {
        true
    }

    pub(crate) fn own_stack_end(_: usize) -> Option<usize> {
        None
    }

    pub(crate) fn is_own_stack_down_to(_: usize, _: usize) -> bool {
        false
    }

    pub(crate) fn mapping(_: usize) -> Option<Range<usize>> {
        None
    }

    pub(crate) fn guard_below(_: usize) -> Option<Range<usize>> {
        None
    }
    pub(crate) fn note_stack(_: usize) {}
    pub(crate) fn fork_child(_block: usize) {}
}

/// There is none.
pub(super) mod last_error {
    pub(crate) fn set(_: i32) {}
    pub(crate) fn keeping<R>(work: impl FnOnce() -> R) -> R {
        work()
    }
}

/// Nothing in a model forks.
pub(super) mod fork {
    pub(crate) const EXIST: bool = true;
    pub(crate) fn on_child(_: extern "C" fn()) {}
}

/// Its end is a check's failure.
pub(super) mod process {
    use core::ffi::c_int;
    use std::string::String;

    pub(crate) fn can_unwind() -> Result<(), i32> {
        Ok(())
    }
    pub(crate) fn last_words(text: &[u8]) {
        panic!("{}", String::from_utf8_lossy(text));
    }
    pub(crate) fn abort() -> ! {
        panic!("needm aborts")
    }
    pub(crate) fn die_of_fault(number: c_int) -> ! {
        panic!("fault {number}")
    }
}
