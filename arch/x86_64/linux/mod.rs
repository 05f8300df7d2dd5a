// SPDX-License-Identifier: MIT OR Apache-2.0
//! x86_64 under Linux: `arch/README.md` says what a room defines.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;
#[path = "../../linux/xsave.rs"]
mod xsave;

/// What a signal frame needs, for Linux before 5.14, which does not say (`AT_MINSIGSTKSZ`,
/// linux/arch/x86/include/uapi/asm/auxvec.h): AVX-512 state, 2,688 bytes (Intel 64 and IA-32
/// Architectures Software Developer's Manual, volume 1, 13.4 "XSAVE Area"), and the frame around
/// it.
pub(crate) const MIN_SIGNAL_STACK: usize = 4096;

/// The flag of `sigaction` which says that it names the code a handler returns to
/// (linux/arch/x86/include/uapi/asm/signal.h). Linux delivers no signal without it
/// (linux/arch/x86/kernel/signal_64.c).
pub(crate) const SA_RESTORER: usize = 0x0400_0000;

/// The instructions of system calls, byte by byte: `syscall` (Intel 64 and IA-32 Architectures Software Developer's
/// Manual, volume 2B).
pub(crate) const SYSTEM_CALLS: &[&[u8]] = &[&[0x0f, 0x05]];

/// The command of `membarrier` by which a Linux is known whose barrier is complete on this CPU:
/// none, because it always was.
pub(crate) const MEMBARRIER_SIGN: Option<usize> = None;

/// Whether this thread's returns are checked against a shadow stack, which Linux can switch on for
/// programs that are marked for it (linux/Documentation/arch/x86/shstk.rst). `rdssp` leaves its
/// register as it is where there is none (Intel 64 and IA-32 Architectures Software Developer's
/// Manual, volume 2B, "RDSSPD/RDSSPQ").
pub(crate) fn has_shadow_stack() -> bool {
    let mut top = 0_usize;
    // SAFETY: it reads one register of the CPU's into another, or does nothing; no memory, no flags.
    unsafe {
        core::arch::asm!("rdsspq {}", inout(reg) top, options(nomem, nostack, preserves_flags));
    };
    top != 0
}

/// What the CPU says of itself: eax, ebx and ecx of CPUID.
fn cpuid(leaf: u32, sub_leaf: u32) -> [u32; 3] {
    let (a, b, c);
    // SAFETY: the instruction writes these four registers only. The compiler keeps the second for
    // itself, and has it back after the exchange.
    unsafe {
        core::arch::asm!(
            "mov {rbx:r}, rbx",
            "cpuid",
            "xchg {rbx:r}, rbx",
            rbx = out(reg) b,
            inout("eax") leaf => a,
            inout("ecx") sub_leaf => c,
            out("edx") _,
            options(nostack, preserves_flags),
        );
    }
    [a, b, c]
}

/// Notes what the CPU has that signals must keep.
pub(crate) fn note_cpu() {
    xsave::note_keys(cpuid);
}
