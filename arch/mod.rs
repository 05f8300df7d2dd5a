//! The rooms: one for each architecture, all defining the same names
//! (`arch/README.md`). Nothing outside this file asks for an architecture.

#[cfg(target_arch = "x86_64")]
#[path = "x86_64/mod.rs"]
mod room;

#[cfg(target_arch = "x86")]
#[path = "i386/mod.rs"]
mod room;

#[cfg(target_arch = "arm")]
#[path = "arm/mod.rs"]
mod room;

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm")))]
compile_error!("needm has no room for this architecture: see arch/README.md");

pub(crate) use room::*;

pub(crate) mod linux;

use core::ffi::{c_int, c_void};

use memoffset::offset_of;

use crate::layout;
use crate::sync::AtomicU32;

/// The gate, and beside it how many threads wait for an M: read together by all, and
/// written seldom.
#[repr(C)]
pub(crate) struct Gate {
    /// `world.rs`.
    pub(crate) value: AtomicU32,
    /// `extra/`.
    pub(crate) waiters: AtomicU32,
}

const _: () = {
    assert!(offset_of!(Gate, value) == layout::gate::VALUE);
    assert!(offset_of!(Gate, waiters) == layout::gate::WAITERS);
    assert!(size_of::<Gate>() == layout::gate::BYTES);
};

// What the rooms' assembly defines; each routine's head says what it does.
unsafe extern "C" {
    /// `entry.S`: the steady path of a callback.
    pub(crate) fn needm_entry(
        function: Option<unsafe extern "C" fn(*mut c_void)>,
        frame: *mut c_void,
        size: usize,
        info: *mut c_void,
    ) -> c_int;
    /// `call_on.S`: a call of three arguments on another stack.
    pub(crate) fn needm_call_on(a: usize, b: usize, c: usize, function: usize, sp: usize);
    /// `switch.S`: the caller's stack pointer.
    pub(crate) safe fn needm_sp() -> usize;
    /// `tls.S`: the words that every callback reads.
    pub(crate) static needm_gate: Gate;
}
