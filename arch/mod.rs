// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is different on each CPU, one room for each; all rooms define the same names
//! (`arch/README.md`). Only this file and `build.rs` ask for an architecture.
//!
//! What a CPU needs under every system is here; what it needs under one is in `linux` and
//! `windows`.

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

#[cfg(any(target_os = "linux", needm_loom))]
#[cfg_attr(needm_loom, allow(unused_imports, unused_macros))]
#[path = "elf.rs"]
mod format;
#[cfg(all(target_os = "windows", not(needm_loom)))]
#[path = "pe.rs"]
mod format;

#[cfg(all(target_os = "linux", not(needm_loom)))]
pub(crate) mod linux;
#[cfg(all(target_os = "windows", not(needm_loom)))]
pub(crate) mod windows;
#[cfg(needm_loom)]
pub(crate) use room::{entry, linux};

#[cfg(feature = "capi")]
pub(crate) use format::c_entry;
#[cfg(all(feature = "capi", not(all(target_arch = "x86", not(needm_loom)))))]
pub(crate) use format::public;
pub(crate) use format::upcalls;
#[cfg(all(target_os = "linux", not(needm_loom)))]
pub(crate) use format::{weak_table, word};
#[cfg(all(target_os = "linux", not(needm_loom)))]
pub(crate) use room::RED_ZONE;
#[cfg(all(feature = "capi", target_arch = "x86", not(needm_loom)))]
pub(crate) use room::public;
pub(crate) use room::{CALL_ROOM, TOP_ROOM};
pub(crate) use room::{dialect, valgrind_request};

use core::ffi::{c_int, c_void};

#[cfg(all(target_os = "linux", not(any(needm_loom, target_arch = "arm"))))]
mod dwarf;

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

/// Whether an instruction is one of `needm_entry`.
pub(crate) fn is_in_entry(pc: usize) -> bool {
    let [from, to] = [needm_entry as *const () as usize, needm_entry_end as *const () as usize];
    (from..to).contains(&pc)
}

/// Where the unwinding of a frame goes on that is in a call whose return address is `ip`: by the frame's
/// table of `SITES` (`elf.h`), which are 32-bit distances, each from its own place.
///
/// # Safety
/// `sites` is such a table.
#[cfg(all(target_os = "linux", not(needm_loom)))]
unsafe fn landing_pad(sites: *const i32, ip: usize) -> Option<usize> {
    // SAFETY: the caller says that it is a table, which ends with a 0.
    let target = |at: *const i32| unsafe {
        let distance = at.read() as isize;
        (distance != 0).then(|| (at as usize).wrapping_add_signed(distance))
    };
    let mut site = sites.wrapping_add(1);
    while let Some(place) = target(site) {
        if place == ip {
            return target(sites);
        }
        site = site.wrapping_add(1);
    }
    None
}

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
    /// `entry.S`: one past its last instruction.
    pub(crate) fn needm_entry_end();
    /// `call_on.S`: a call of three arguments on another stack.
    pub(crate) fn needm_call_on(a: usize, b: usize, c: usize, function: usize, sp: usize);
    /// `switch.S`: the caller's stack pointer.
    pub(crate) safe fn needm_sp() -> usize;
    /// `tls.S`: this thread's block, a `Tls` (`src/tls.rs`).
    pub(crate) safe fn needm_tls_block() -> *mut c_void;
    /// `tls.S`: the words that every callback reads.
    pub(crate) static needm_gate: Gate;
}
