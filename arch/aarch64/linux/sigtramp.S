/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The edges of a signal handler: where Linux enters it, where it returns to, and how it is left
   by a jump. The Rust side is src/os/linux/fault.rs (`handle`), src/callback/raising.rs
   (`sigpanic`), src/os/linux/actions.rs (which installs needm_handler) and
   src/os/linux/signal.rs (needm_sigreturn). */
#include "asm.h"
#include "../landing.h"

#define NR_rt_sigreturn 139     /* linux/include/uapi/asm-generic/unistd.h */

/* From where needm_sigreturn finds the stack to the context: siginfo_t. */
#define CONTEXT         128
/* From the context to x29 in it: context.rs. */
#define CONTEXT_X29     416

/* fn needm_sigreturn() -> !

   What Linux has a handler return to (sa_restorer of sigaction(2)). Debuggers and unwinders know
   the two instructions by their bytes, and read the signal frame: no CFI here. They look for CFI
   one byte before a return address: hence a nop that nothing runs. A return needs no landing
   pad. */
        .text
        .p2align 4
        nop
        SYMBOL(needm_sigreturn, function)
        mov     x8, #NR_rt_sigreturn
        svc     #0
END(needm_sigreturn)

/* extern "C" fn needm_handler(signal (w0), info (x1), context (x2))

   The handler of the fault signals; goes on in `handle`, with the return address as a fourth
   argument: it is needm_sigreturn if Linux itself has called. Linux aligns its stack, and enters
   it as an indirect call does. */
HANDLER_ROUTINE(needm_handler)
        .cfi_startproc
        LANDING_PAD
        mov     x3, x30
        b       needm_handle
        .cfi_endproc
END(needm_handler)

/* extern "C" fn needm_handler_2(signal (w0), info (x1), context (x2))

   The same, with FAULT_SECOND beside the signal's number. */
HANDLER_ROUTINE(needm_handler_2)
        .cfi_startproc
        LANDING_PAD
        orr     w0, w0, #FAULT_SECOND
        b       needm_handler
        .cfi_endproc
END(needm_handler_2)

/* fn needm_sigjump(fault (x0), regs (x1)) -> !

   Leaves a handler for `sigpanic` on the G's stack, without rt_sigreturn. The callee-saved
   registers get the values that they had at the fault (regs: x19-x30), so that an unwinder
   started in sigpanic can go on through the frame that faulted. x30 counts as one of them in a
   frame that has called nothing yet; it is on the stack, because the call below takes the
   register.

        the G's stack
        ...the frame that faulted    <- CFA, the stack pointer at the fault
        (alignment)
        FaultFrame: SP, PC, ...      <- x0
        (padding)
        x30                          <- sp

   d8-d15, fpcr and fpsr stay as they are: no code goes on after the fault, the functions deferred
   to it do not use their values, and needm_unwind puts back those of the callback's caller.

   For an unwinder this is the frame of a signal, called by the instruction that faulted. DWARF
   (4, 6.4.2 "Call Frame Instructions", 2.5.1 "General Operations"): the CFA is
   [sp + BELOW + FAULT_SP], pc is stored at sp + BELOW + FAULT_PC and x30 at sp. The return address
   has a column of its own, because x30 is another value here: 96, which libgcc keeps for this
   (gcc/config/aarch64/aarch64.h, DWARF_ALT_FRAME_RETURN_COLUMN) and gdb takes from the CFI. With
   the ABI's number for pc, 32, libgcc aborts.

   If the function that faulted has signed x30, its own CFI says so, and the unwinder takes the
   signature off what it finds here. */
#define BELOW           16
#define RETURN_COLUMN   96

ROUTINE(needm_sigjump)
        .cfi_startproc
        .cfi_return_column RETURN_COLUMN
        .cfi_signal_frame
        .cfi_register RETURN_COLUMN, x30
        LANDING_PAD
        /* A signal that comes once sp has left the handler's stack overwrites regs. */
        ldp     x19, x20, [x1]
        ldp     x21, x22, [x1, #16]
        ldp     x23, x24, [x1, #32]
        ldp     x25, x26, [x1, #48]
        ldp     x27, x28, [x1, #64]
        .cfi_undefined RETURN_COLUMN
        ldp     x29, x30, [x1, #80]
        sub     sp, x0, #BELOW
        /* Where a signal's return goes on instead, all registers being those of the fault but x0,
           which is the frame, and sp, BELOW below it (Context::resume_at). A return needs no
           landing pad. */
        PLACE(needm_siglanding)
        /* DW_CFA_def_cfa_expression, 3 bytes: DW_OP_breg31 BELOW+FAULT_SP, DW_OP_deref */
        .cfi_escape 0x0f, 3, 0x8f, BELOW+FAULT_SP, 0x06
        /* DW_CFA_expression, register 96, 2 bytes: DW_OP_breg31 BELOW+FAULT_PC */
        .cfi_escape 0x10, RETURN_COLUMN, 2, 0x8f, BELOW+FAULT_PC
        str     x30, [sp]
        /* DW_CFA_expression, register 30, 2 bytes: DW_OP_breg31 0 */
        .cfi_escape 0x10, 30, 2, 0x8f, 0
        bl      needm_sigpanic
        udf     #0
        .cfi_endproc
END(needm_sigjump)

/* fn needm_sigresume(context (x0)) -> !

   Returns from a signal to `context`, from any depth of calls in its handler. */
ROUTINE(needm_sigresume)
        LANDING_PAD
        sub     sp, x0, #CONTEXT
        b       needm_sigreturn
END(needm_sigresume)

/* fn needm_sigstart(signal (w0), info (x1), context (x2), handler (x3), sp (x4)) -> !

   Starts a handler as Linux does, on the signal frame at sp, to which it returns. The frame
   pointer is the interrupted code's. A branch by x16 suits handlers with landing pads. */
ROUTINE(needm_sigstart)
        .cfi_startproc
        .cfi_undefined x30
        LANDING_PAD
        mov     sp, x4
        ldr     x29, [x2, #CONTEXT_X29]
        adr     x30, needm_sigreturn
        mov     x16, x3
        br      x16
        .cfi_endproc
END(needm_sigstart)
