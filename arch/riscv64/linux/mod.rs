// SPDX-License-Identifier: MIT OR Apache-2.0
//! RISC-V under Linux: `arch/README.md` says what a room defines.

pub(crate) mod context;
pub(crate) mod nr;
pub(crate) mod syscall;
pub(crate) mod thread;

/// What a signal frame needs where Linux does not say: `MINSIGSTKSZ`
/// (linux/include/uapi/asm-generic/signal.h). The frame itself is below 1200 bytes then (struct
/// rt_sigframe, linux/arch/riscv/kernel/signal.c). It is larger with vector state, but Linux has
/// both that and AT_MINSIGSTKSZ since 6.5.
pub(crate) const MIN_SIGNAL_STACK: usize = 2048;

/// The flag of `sigaction` which says that it names the code a handler returns to: here there is
/// none, and no word for that code, because a handler returns to the vDSO
/// (linux/arch/riscv/kernel/signal.c, `setup_rt_frame`).
pub(crate) const SA_RESTORER: usize = 0;

/// The instructions of system calls, byte by byte: `ecall` (The RISC-V Instruction Set Manual, volume I, 2.8
/// "Environment Call and Breakpoints").
pub(crate) const SYSTEM_CALLS: &[&[u8]] = &[&[0x73, 0x00, 0x00, 0x00]];

/// The command of `membarrier` by which a Linux is known whose barrier is complete on this CPU:
/// `MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE`. Linux 6.9 brought it, with the fence that
/// membarrier needs where a processor goes from one process to another
/// (linux/arch/riscv/include/asm/membarrier.h). Without that fence, a thread that has just come to
/// run may be missed.
pub(crate) const MEMBARRIER_SIGN: Option<usize> = Some(1 << 5);

/// Whether this thread's returns are checked against a shadow stack, which Linux can switch on for
/// programs that are marked for it (linux/Documentation/arch/riscv/zicfiss.rst). Linux is asked,
/// because the instruction that reads it does not exist on every CPU.
pub(crate) fn has_shadow_stack() -> bool {
    // linux/include/uapi/linux/prctl.h
    const PR_GET_SHADOW_STACK_STATUS: usize = 74;
    const PR_SHADOW_STACK_ENABLE: usize = 1;
    let mut status = 0_usize;
    let args = (PR_GET_SHADOW_STACK_STATUS, &raw mut status).into();
    // SAFETY: Linux writes one word to `status`, or nothing.
    let result = unsafe { syscall::syscall(nr::PRCTL, &args) };
    result == 0 && status & PR_SHADOW_STACK_ENABLE != 0
}

/// Notes what the CPU has that signals must keep: nothing that a jump out of a handler would change.
pub(crate) fn note_cpu() {}
