/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The edges of a signal handler: where Linux enters it, where it returns to, and how it is left
   by a jump. The Rust side is src/os/linux/fault.rs (`handle`), src/callback/raising.rs
   (`sigpanic`), src/os/linux/actions.rs (which installs needm_handler) and
   src/os/linux/signal.rs (needm_sigreturn). */
#include "asm.h"

#define NR_rt_sigreturn 139     /* include/uapi/asm-generic/unistd.h */

/* From where needm_sigreturn finds the stack to the context: siginfo_t. */
#define CONTEXT         128
/* From the context to s0 in it: context.rs. */
#define CONTEXT_S0      240

/* fn needm_sigreturn() -> !

   What Linux has a handler return to on other architectures (sa_restorer of sigaction(2)). Its
   struct has no such word here, and a handler returns to the vDSO, unless needm_sigstart has
   started it. Debuggers, unwinders and `signal::called_by_linux` know the vDSO's two
   instructions by their bytes, and these are the same. */
ROUTINE(needm_sigreturn)
        .option push
        .option norvc           /* after the alignment, which counts in units of two bytes */
        li      a7, NR_rt_sigreturn
        ecall
        .option pop
END(needm_sigreturn)

/* extern "C" fn needm_handler(signal (a0), info (a1), context (a2))

   The handler of the fault signals; goes on in `handle`, with the return address as a fourth
   argument, which tells whether Linux itself has called. Linux aligns its stack. */
HANDLER_ROUTINE(needm_handler)
        .cfi_startproc
        mv      a3, ra
        tail    needm_handle
        .cfi_endproc
END(needm_handler)

/* extern "C" fn needm_handler_2(signal (a0), info (a1), context (a2))

   The same, with FAULT_SECOND beside the signal's number. */
HANDLER_ROUTINE(needm_handler_2)
        .cfi_startproc
        ori     a0, a0, FAULT_SECOND
        tail    needm_handler
        .cfi_endproc
END(needm_handler_2)

/* fn needm_sigjump(fault (a0), regs (a1)) -> !

   Leaves a handler for `sigpanic` on the G's stack, without rt_sigreturn. The callee-saved
   registers get the values that they had at the fault (regs: s0-s11, ra), so that an unwinder
   started in sigpanic can go on through the frame that faulted. ra is one of them, because a
   frame that has called nothing yet has its return address there; it is on the stack, because
   the call below overwrites the register.

        the G's stack
        ...the frame that faulted    <- CFA, the stack pointer at the fault
        (alignment)
        FaultFrame: SP, PC, ...      <- a0
        (padding)
        ra                           <- sp

   fs0-fs11 and fcsr stay as they are: no code goes on after the fault, the functions deferred to
   it do not use their values, and needm_unwind puts back those of the callback's caller.

   For an unwinder this is the frame of a signal, called by the instruction that faulted. DWARF
   (4, 6.4.2 "Call Frame Instructions", 2.5.1 "General Operations"; the numbers of registers:
   RISC-V DWARF Specification, "DWARF Register Numbers"): the CFA is [sp + BELOW + FAULT_SP], pc
   is stored at sp + BELOW + FAULT_PC and ra at sp. The return address has a column of its own
   (64, the alternate frame return column), because ra is another value here. */
#define BELOW   16

ROUTINE(needm_sigjump)
        .cfi_startproc
        .cfi_return_column 64
        .cfi_signal_frame
        .cfi_register 64, ra
        /* A signal that comes once sp has left the handler's stack overwrites regs. */
        ld      s0, 0(a1)
        ld      s1, 8(a1)
        ld      s2, 16(a1)
        ld      s3, 24(a1)
        ld      s4, 32(a1)
        ld      s5, 40(a1)
        ld      s6, 48(a1)
        ld      s7, 56(a1)
        ld      s8, 64(a1)
        ld      s9, 72(a1)
        ld      s10, 80(a1)
        ld      s11, 88(a1)
        .cfi_undefined 64
        ld      ra, 96(a1)
        addi    sp, a0, -BELOW
        /* Where a signal's return goes on instead, all registers being those of the fault but a0,
           which is the frame, and sp, BELOW below it (Context::resume_at). */
        PLACE(needm_siglanding)
        /* DW_CFA_def_cfa_expression, 3 bytes: DW_OP_breg2 BELOW+FAULT_SP, DW_OP_deref */
        .cfi_escape 0x0f, 3, 0x72, BELOW+FAULT_SP, 0x06
        /* DW_CFA_expression, register 64, 2 bytes: DW_OP_breg2 BELOW+FAULT_PC */
        .cfi_escape 0x10, 64, 2, 0x72, BELOW+FAULT_PC
        sd      ra, 0(sp)
        /* DW_CFA_expression, register 1, 2 bytes: DW_OP_breg2 0 */
        .cfi_escape 0x10, 1, 2, 0x72, 0
        call    needm_sigpanic
        unimp
        .cfi_endproc
END(needm_sigjump)

/* fn needm_sigresume(context (a0)) -> !

   Returns from a signal to `context`, from any depth of calls in its handler. */
ROUTINE(needm_sigresume)
        addi    sp, a0, -CONTEXT
        tail    needm_sigreturn
END(needm_sigresume)

/* fn needm_sigstart(signal (a0), info (a1), context (a2), handler (a3), sp (a4)) -> !

   Starts a handler as Linux does, on the signal frame at sp, to which it returns. The frame
   pointer is the interrupted code's. */
ROUTINE(needm_sigstart)
        .cfi_startproc
        .cfi_undefined ra
        mv      sp, a4
        ld      s0, CONTEXT_S0(a2)
        lla     ra, needm_sigreturn
        jr      a3
        .cfi_endproc
END(needm_sigstart)
