/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The edges of a signal handler: where Linux enters it, where it returns to, and how it is left
   by a jump. The Rust side is src/os/linux/fault.rs (`handle`), src/callback/raising.rs
   (`sigpanic`), src/os/linux/actions.rs (which installs needm_handler) and
   src/os/linux/signal.rs (needm_sigreturn). */
#include "asm.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame

#define NR_rt_sigreturn 173     /* linux/arch/arm/tools/syscall.tbl */

/* r0 in the frame that Linux leaves at sp (struct rt_sigframe, linux/arch/arm/
   kernel/signal.h): 128 bytes of siginfo, 20 of uc_flags, uc_link and uc_stack, 12 of
   trap_no, error_code and oldmask. r1 to r15 follow. */
#define FRAME_R0        160

/* From where needm_sigreturn finds the stack to the context: siginfo_t. */
#define CONTEXT         128
/* From the context to r7 and r11 in it: context.rs. */
#define CONTEXT_R7      60
#define CONTEXT_R11     76

/* fn needm_sigreturn() -> !

   What Linux has a handler return to (sa_restorer of sigaction(2)). Debuggers know the two
   instructions by their bytes, and read the signal frame: no CFI here. Unwinders read the EHABI
   table, and look for it two bytes before a return address: hence a nop that nothing runs.

        r0 to r15
        siginfo_t, the head of ucontext_t       <- sp */
        .text
        .p2align 4
        .fnstart
        .save   {r0-r15}
        .pad    #FRAME_R0
        nop
        SYMBOL(needm_sigreturn, function)
        mov     r7, #NR_rt_sigreturn
        svc     #0
        .fnend
END(needm_sigreturn)

/* extern "C" fn needm_handler(signal (r0), info (r1), context (r2))

   The handler of the fault signals; goes on in `handle`, with the return address as a fourth
   argument: it is needm_sigreturn if Linux itself has called. Linux aligns its stack. */
HANDLER_ROUTINE(needm_handler)
        .fnstart
        .cfi_startproc
        mov     r3, lr
        b       needm_handle
        .cfi_endproc
        .fnend
END(needm_handler)

/* extern "C" fn needm_handler_2(signal (r0), info (r1), context (r2))

   The same, with FAULT_SECOND beside the signal's number. */
HANDLER_ROUTINE(needm_handler_2)
        .fnstart
        .cfi_startproc
        orr     r0, r0, #FAULT_SECOND
        b       needm_handler
        .cfi_endproc
        .fnend
END(needm_handler_2)

/* fn needm_sigjump(fault (r0), regs (r1)) -> !

   Leaves a handler for `sigpanic` on the G's stack, without rt_sigreturn. The callee-saved
   registers get the values that they had at the fault (regs: r4-r11, lr), so that an unwinder
   started in sigpanic can go on through the frame that faulted. lr is one of them, because a
   frame that has called nothing yet has its return address there; it is on the stack, because
   the call below overwrites the register.

        the G's stack
        ...the frame that faulted    <- CFA, the stack pointer at the fault
        (alignment)
        FaultFrame: SP, PC, ...      <- r0
        (padding)
        PC + 2
        SP, again
        lr                           <- sp

   d8-d15 and fpscr stay as they are: no code goes on after the fault, the functions deferred to
   it do not use their values, and needm_unwind puts back those of the callback's caller. Thumb
   state and its If-Then blocks need no care either: this is left by a plain branch in ARM code,
   and the state at the fault, which is in the signal frame's CPSR, goes with the frame.

   For an unwinder this is the frame of a signal, called by the instruction that faulted. DWARF
   (4, 6.4.2 "Call Frame Instructions", 2.5.1 "General Operations"; the numbers of registers: DWARF
   for the Arm Architecture, 4.1 "DWARF register names"): the CFA is [sp + BELOW + FAULT_SP], pc is
   stored at sp + BELOW + FAULT_PC and lr at sp. The return address has a column of its own
   (15, pc), because lr is another value here.
   The EHABI table (Exception Handling ABI for the Arm Architecture, 10.3 "Frame unwinding
   instructions"): pop lr; pop sp and pc. It cannot say that this is no call, and its readers look
   two bytes before what they take for a return address: hence PC + 2. */
#define BELOW   16

ROUTINE(needm_sigjump)
        .fnstart
        .unwind_raw 0, 0x84, 0x00, 0x8a, 0x00
        .cfi_startproc
        .cfi_return_column r15
        .cfi_signal_frame
        .cfi_register r15, r14
        /* A signal that comes once sp has left the handler's stack overwrites regs. */
        ldmia   r1, {r4-r11, lr}
        .cfi_undefined r15
        sub     sp, r0, #BELOW
        /* Where a signal's return goes on instead, all registers being those of the fault but r0,
           which is the frame, and sp, BELOW below it (Context::resume_at). */
        PLACE(needm_siglanding)
        /* DW_CFA_def_cfa_expression, 3 bytes: DW_OP_breg13 FAULT_SP, DW_OP_deref */
        .cfi_escape 0x0f, 3, 0x7d, BELOW+FAULT_SP, 0x06
        /* DW_CFA_expression, register 15, 2 bytes: DW_OP_breg13 FAULT_PC */
        .cfi_escape 0x10, 15, 2, 0x7d, BELOW+FAULT_PC
        mov     r2, lr
        ldr     r3, [r0, #FAULT_SP]
        ldr     ip, [r0, #FAULT_PC]
        add     ip, ip, #2
        stmia   sp, {r2, r3, ip}
        /* DW_CFA_expression, register 14, 2 bytes: DW_OP_breg13 0 */
        .cfi_escape 0x10, 14, 2, 0x7d, 0
        bl      needm_sigpanic
        udf     #0
        .cfi_endproc
        .fnend
END(needm_sigjump)

/* fn needm_sigresume(context (r0)) -> !

   Returns from a signal to `context`, from any depth of calls in its handler. */
ROUTINE(needm_sigresume)
        .fnstart
        .cantunwind
        sub     sp, r0, #CONTEXT
        b       needm_sigreturn
        .fnend
END(needm_sigresume)

/* fn needm_sigstart(signal (r0), info (r1), context (r2), handler (r3), sp ([sp])) -> !

   Starts a handler as Linux does, on the signal frame at sp, to which it returns. The frame
   pointer is the interrupted code's: r11, in Thumb code r7. */
ROUTINE(needm_sigstart)
        .fnstart
        .cantunwind
        ldr     sp, [sp]
        ldr     r7, [r2, #CONTEXT_R7]
        ldr     r11, [r2, #CONTEXT_R11]
        adr     lr, needm_sigreturn
        bx      r3
        .fnend
END(needm_sigstart)
