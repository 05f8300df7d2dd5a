//! What is different on each CPU, one room for each; all rooms define the same names
//! (`arch/README.md`). Only this file and `build.rs` ask for an architecture.
//!
//! What a CPU needs under every system is here; what it needs under Linux is in [`linux`].

#[cfg(all(target_arch = "x86_64", not(needm_loom)))]
#[path = "x86_64/mod.rs"]
mod room;

#[cfg(all(target_arch = "x86", not(needm_loom)))]
#[path = "i386/mod.rs"]
mod room;

#[cfg(all(target_arch = "arm", not(needm_loom)))]
#[path = "arm/mod.rs"]
mod room;

#[cfg(all(target_arch = "aarch64", not(needm_loom)))]
#[path = "aarch64/mod.rs"]
mod room;

#[cfg(all(target_arch = "riscv64", not(needm_loom)))]
#[path = "riscv64/mod.rs"]
mod room;

#[cfg(needm_loom)] // by the package `needm-models`
#[path = "../models/cpu/mod.rs"]
mod room;

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "arm",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
compile_error!("needm has no room for this architecture: see arch/README.md");

#[cfg_attr(needm_loom, allow(unused_imports, unused_macros))]
mod elf;
#[cfg(not(needm_loom))]
pub(crate) mod linux;
#[cfg(needm_loom)]
pub(crate) use room::{entry, linux};

#[cfg(feature = "capi")]
pub(crate) use elf::c_entry;
#[cfg(feature = "capi")]
pub(crate) use elf::public;
pub(crate) use elf::upcalls;
#[cfg(not(needm_loom))]
pub(crate) use elf::{weak_table, word};
#[cfg(not(needm_loom))]
pub(crate) use room::RED_ZONE;
pub(crate) use room::{dialect, valgrind_request};

use core::ffi::{c_int, c_void};

use crate::layout;
use crate::sync::AtomicU32;

/// The gate, and beside it the number of threads that wait for an M: every callback reads
/// both, and few steps write them.
#[repr(C)]
pub(crate) struct Gate {
    /// `src/gate.rs`.
    pub(crate) value: AtomicU32,
    /// `src/pool/`.
    pub(crate) waiters: AtomicU32,
}

layout::prove_gate!(Gate);

// What the rooms' assembly defines; each routine's head says what it does. Those that take one of
// needm's records are declared beside that record: `needm_on_g0` (src/callback/ccall.rs),
// `needm_unwind` (src/callback/panic.rs). `needm_sigjump` is declared in src/os/linux/fault.rs.
unsafe extern "C" {
    /// `entry.S`: a callback, in and out.
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
    /// `tls.S`: this thread's block, a `Tls` (`src/tls.rs`).
    pub(crate) safe fn needm_tls_block() -> *mut c_void;
    /// `tls.S`: the words that every callback reads.
    pub(crate) static needm_gate: Gate;
}
