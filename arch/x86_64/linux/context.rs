// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers in a signal's `ucontext_t`: linux/arch/x86/include/uapi/asm/
//! sigcontext.h, `struct sigcontext_64`, after the 40 bytes of uc_flags, uc_link
//! and uc_stack (linux/include/uapi/asm-generic/ucontext.h).

use super::xsave;
use crate::arch::linux::needm_siglanding;
use core::ptr;

/// Bytes of a signal's frame below the context: the return address.
pub(crate) const FRAME_HEAD: usize = 8;

/// Bytes from the context to the signal's `siginfo_t`.
pub(crate) const INFO: isize = size_of::<Context>().cast_signed();

/// uc_stack: after uc_flags and uc_link.
const STACK: usize = 2;

/// Registers that `needm_sigjump` loads.
pub(crate) const SAVED: usize = 6;

const GREGS: usize = 5;
const R12: usize = GREGS + 4;
const R13: usize = GREGS + 5;
const R14: usize = GREGS + 6;
const R15: usize = GREGS + 7;
const RBP: usize = GREGS + 10;
const RBX: usize = GREGS + 11;
const RSP: usize = GREGS + 15;
const RDX: usize = GREGS + 12;
const RSI: usize = GREGS + 9;
const R10: usize = GREGS + 2;
const RIP: usize = GREGS + 16;
const RDI: usize = GREGS + 8;
const EFLAGS: usize = GREGS + 17;
/// The trap, alignment-check and direction flags (linux/arch/x86/include/uapi/asm/
/// processor-flags.h), as Linux clears them, or needm, for a handler.
const CLEARED: usize = 1 << 8 | 1 << 10 | 1 << 18;
/// The address of the floating-point state; 0 has a return clear that, as Linux does for a handler.
const FPSTATE: usize = GREGS + 23;
/// Bytes to MXCSR in what fpstate points to (`struct _fpstate_64`), which starts with the x87 control
/// word.
const MXCSR: usize = 24;
/// The x87 control word and MXCSR as a handler has them (FPU_... of fpu__init, linux/arch/x86/kernel/fpu/
/// init.c: FNINIT's, and MXCSR_DEFAULT).
const DEFAULT_X87: u16 = 0x037f;
const DEFAULT_MXCSR: u32 = 0x1f80;
/// uc_sigmask: after the 256 bytes of the registers.
const SIGMASK: usize = GREGS + 32;

/// A `ucontext_t` as Linux lays it out.
#[repr(C)]
pub(crate) struct Context {
    words: [usize; SIGMASK + 1],
}

impl Context {
    /// The instruction that was interrupted, or that faulted.
    pub(crate) fn pc(&self) -> usize {
        self.words[RIP]
    }

    /// The stack pointer there.
    pub(crate) fn sp(&self) -> usize {
        self.words[RSP]
    }

    /// The signals blocked there.
    pub(crate) fn mask(&self) -> u64 {
        self.words[SIGMASK] as u64
    }

    /// The callee-saved registers there, in `needm_sigjump`'s order.
    pub(crate) fn saved(&self) -> [usize; SAVED] {
        [RBX, RBP, R12, R13, R14, R15].map(|register| self.words[register])
    }

    /// The registers of a system call's arguments there: rdi, rsi, rdx and r10.
    pub(crate) fn arguments(&self) -> [usize; 4] {
        [RDI, RSI, RDX, R10].map(|register| self.words[register])
    }

    /// Loads the floating-point control of the code that was interrupted, in place of what Linux
    /// gives a handler.
    pub(crate) fn load_fp_control(&self) {
        let saved = ptr::with_exposed_provenance::<u8>(self.words[FPSTATE]);
        if saved.is_null() {
            return;
        }
        // SAFETY: Linux has saved that state there, in this signal's frame, and takes it from
        // there if the handler returns: so both words are valid ones.
        unsafe {
            core::arch::asm!(
                "ldmxcsr [{saved} + {MXCSR}]",
                "fldcw [{saved}]",
                saved = in(reg) saved,
                MXCSR = const MXCSR,
                options(readonly, nostack),
            );
        }
    }

    /// Loads the memory-protection keys of the code that was interrupted, in place of those that Linux
    /// gives a handler.
    pub(crate) fn load_protection_keys(&self) {
        let saved = ptr::with_exposed_provenance::<u8>(self.words[FPSTATE]);
        if !saved.is_null() {
            // SAFETY: Linux has saved that state there, in this signal's frame.
            unsafe { xsave::load_keys(saved) }
        }
    }

    /// Has a return to here go on in `needm_siglanding` with the fault frame at `frame`, with an
    /// empty x87 stack, and with floating-point control as for a handler, unless that is left alone
    /// (`leaves_fp`).
    ///
    /// # Safety
    /// Linux wrote the context, or it is a copy.
    pub(crate) unsafe fn resume_at(context: *mut Self, frame: usize, leaves_fp: bool) {
        // SAFETY: the caller promises the context.
        let words = unsafe { &mut (*context).words };
        words[RIP] = needm_siglanding as *const () as usize;
        words[RSP] = frame;
        words[RDI] = frame;
        words[EFLAGS] &= !CLEARED;
        let saved = ptr::with_exposed_provenance_mut::<u16>(words[FPSTATE]);
        if saved.is_null() {
            return;
        }
        if !leaves_fp && !xsave::has_keys() {
            words[FPSTATE] = 0;
            return;
        }
        // With the state, the keys would be lost.
        // SAFETY: the caller promises the context, and so the state that it refers to: the x87 status
        // word, which of its registers are in use, and both control words.
        unsafe {
            saved.add(1).write(0);
            saved.add(2).write(0);
            if !leaves_fp {
                saved.write(DEFAULT_X87);
                saved.byte_add(MXCSR).cast::<[u8; 4]>().write(DEFAULT_MXCSR.to_ne_bytes());
            }
        }
    }

    /// Has the copy of a signal's frame whose context this is, `by` bytes above the original, refer
    /// to itself. The frame ends at `end`.
    ///
    /// # Safety
    /// The whole frame has been copied, as Linux wrote it.
    pub(crate) unsafe fn relocate(context: *mut Self, by: usize, _end: usize) {
        // SAFETY: the caller promises the context.
        let words = unsafe { &mut (*context).words };
        if words[FPSTATE] != 0 {
            words[FPSTATE] = words[FPSTATE].wrapping_add(by);
        }
    }

    /// The signal stack at the time: its flags, its lowest address and bytes.
    pub(crate) fn signal_stack(&self) -> (usize, usize, usize) {
        (self.words[STACK + 1], self.words[STACK], self.words[STACK + 2])
    }

    /// Whether it leads to no other context (uc_link), which is how Linux leaves it.
    pub(crate) fn has_no_link(&self) -> bool {
        self.words[STACK - 1] == 0
    }

    /// Has a return to here block these signals as well.
    ///
    /// # Safety
    /// Linux wrote the context.
    #[allow(clippy::cast_possible_truncation)] // word by word
    pub(crate) unsafe fn block(context: *mut Self, signals: u64) {
        // SAFETY: the caller promises the context.
        let words = unsafe { &mut (*context).words };
        words[SIGMASK] |= signals as usize;
    }
}
