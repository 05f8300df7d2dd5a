// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARM under Linux: `arch/README.md` says what a room defines.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;

/// What a signal frame needs, which Linux never says on ARM: `MINSIGSTKSZ`
/// (linux/include/uapi/asm-generic/signal.h). The frame itself is below 1 KiB (struct rt_sigframe,
/// linux/arch/arm/kernel/signal.h).
pub(crate) const MIN_SIGNAL_STACK: usize = 2048;

/// The flag of `sigaction` which says that it names the code a handler returns to
/// (linux/arch/arm/include/uapi/asm/signal.h). Linux has such code itself, but in a page which
/// not every process has.
pub(crate) const SA_RESTORER: usize = 0x0400_0000;

/// The instructions of system calls, byte by byte: `svc #0`, in A32 and in T32 (Arm Architecture Reference Manual for
/// A-profile, F5.1 "SVC").
pub(crate) const SYSTEM_CALLS: &[&[u8]] = &[&[0x00, 0x00, 0x00, 0xef], &[0x00, 0xdf]];

/// The command of `membarrier` by which a Linux is known whose barrier is complete on this CPU:
/// none, because it always was.
pub(crate) const MEMBARRIER_SIGN: Option<usize> = None;

/// Whether this thread's returns are checked against a shadow stack: never, because 32-bit ARM has
/// none.
pub(crate) fn has_shadow_stack() -> bool {
    false
}

/// Notes what the CPU has that signals must keep: nothing that a jump out of a handler would change.
pub(crate) fn note_cpu() {}
