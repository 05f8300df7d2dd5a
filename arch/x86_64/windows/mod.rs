// SPDX-License-Identifier: MIT OR Apache-2.0
//! x86_64 under Windows: `arch/README.md` says what a room defines.

pub(crate) mod frame_list;
pub(crate) mod registers;
pub(crate) mod teb;
pub(crate) mod walk;

/// Whether this thread's returns are checked against a shadow stack, which Windows switches on for
/// programs that are marked for it (Microsoft, "/CETCOMPAT"). `rdssp` leaves its register as it is
/// where there is none (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2B,
/// "RDSSPD/RDSSPQ").
pub(crate) fn has_shadow_stack() -> bool {
    let mut top = 0_usize;
    // SAFETY: it reads one register of the CPU's into another, or does nothing; no memory, no flags.
    unsafe {
        core::arch::asm!("rdsspq {}", inout(reg) top, options(nomem, nostack, preserves_flags));
    };
    top != 0
}
