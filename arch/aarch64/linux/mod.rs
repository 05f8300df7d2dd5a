// SPDX-License-Identifier: MIT OR Apache-2.0
//! AArch64 under Linux: `arch/README.md` says what a room defines.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;

/// What a signal frame needs if Linux does not say (`AT_MINSIGSTKSZ`, linux/arch/arm64/include/
/// uapi/asm/auxvec.h): `MINSIGSTKSZ` (asm/signal.h beside it). That has no room for long
/// scalable vectors: Linux says what those take.
pub(crate) const MIN_SIGNAL_STACK: usize = 5120;

/// The flag of `sigaction` which says that it names the code a handler returns to
/// (linux/include/uapi/asm-generic/signal-defs.h). Linux has such code itself, in the vDSO, but a
/// process may be without one.
pub(crate) const SA_RESTORER: usize = 0x0400_0000;

/// The instructions of system calls, byte by byte: `svc #0` (Arm Architecture Reference Manual, C6.2 "SVC").
pub(crate) const SYSTEM_CALLS: &[&[u8]] = &[&[0x01, 0x00, 0x00, 0xd4]];

/// The command of `membarrier` by which a Linux is known whose barrier is complete on this CPU:
/// none, because it always was.
pub(crate) const MEMBARRIER_SIGN: Option<usize> = None;

/// Whether this thread's returns are checked against a guarded control stack, which Linux can
/// switch on for programs that are marked for it (linux/Documentation/arch/arm64/gcs.rst).
/// `chkfeat x16` clears the bits of x16 whose features are on; bit 0 is this one. CPUs without it
/// take it for a hint, which does nothing (Arm Architecture Reference Manual, C6.2 "CHKFEAT").
pub(crate) fn has_shadow_stack() -> bool {
    let features: usize;
    // SAFETY: it changes x16 only, which is an output; no memory, no flags.
    unsafe {
        core::arch::asm!(
            "hint #40", // chkfeat x16, which older assemblers do not know
            inlateout("x16") 1_usize => features,
            options(nomem, nostack, preserves_flags),
        );
    }
    features & 1 == 0
}

/// Notes what the CPU has that signals must keep: nothing that a jump out of a handler would change.
pub(crate) fn note_cpu() {}
