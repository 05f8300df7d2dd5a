/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The edges of a signal handler: where Linux enters it, where it returns to, and how it is left
   by a jump. The Rust side is src/os/linux/fault.rs (`handle`), src/callback/raising.rs
   (`sigpanic`), src/os/linux/actions.rs (which installs needm_handler) and
   src/os/linux/signal.rs (needm_sigreturn). */
#include "asm.h"

/* X86_EFLAGS_AC, linux/arch/x86/include/uapi/asm/processor-flags.h. */
#define EFLAGS_AC 0x40000
/* From the context to rbp in it: context.rs. */
#define CONTEXT_RBP     120
#define NR_rt_sigreturn 15      /* linux/arch/x86/entry/syscalls/syscall_64.tbl */

/* fn needm_sigreturn() -> !

   What Linux has a handler return to (sa_restorer of sigaction(2)). Debuggers and unwinders know
   the two instructions by their bytes, and read the signal frame behind them: no CFI here.

        (the handler's return address is popped)
        ucontext_t, siginfo_t   <- rsp */
ROUTINE(needm_sigreturn)
        movq    $NR_rt_sigreturn, %rax
        syscall
END(needm_sigreturn)

/* extern "C" fn needm_handler(signal (edi), info (rsi), context (rdx))

   The handler of the fault signals; goes on in `handle`. Linux aligns its stack, but does not
   clear the flag that has the processor check alignment. If it is set, the code of Rust would
   fault here, so it is cleared; only then, because popfq takes many cycles. Keeps the arguments, and
   passes the return address on as a fourth: it is needm_sigreturn if Linux itself has called.

        return address          <- CFA - 8
        flags                             <- rsp, for a moment */
HANDLER_ROUTINE(needm_handler)
        .cfi_startproc
        pushfq
        .cfi_adjust_cfa_offset 8
        testl   $EFLAGS_AC, (%rsp)
        jne     2f
        popq    %rcx
        .cfi_adjust_cfa_offset -8
1:
        movq    (%rsp), %rcx
        jmp     needm_handle
        .cfi_adjust_cfa_offset 8
2:
        andl    $~EFLAGS_AC, (%rsp)
        popfq
        .cfi_adjust_cfa_offset -8
        jmp     1b
        .cfi_endproc
END(needm_handler)

/* extern "C" fn needm_handler_2(signal (edi), info (rsi), context (rdx))

   The same, with FAULT_SECOND beside the signal's number. */
HANDLER_ROUTINE(needm_handler_2)
        .cfi_startproc
        orl     $FAULT_SECOND, %edi
        jmp     needm_handler
        .cfi_endproc
END(needm_handler_2)

/* fn needm_sigjump(fault (rdi), regs (rsi)) -> !

   Leaves a handler for `sigpanic` on the G's stack, without rt_sigreturn. The callee-saved
   registers get the values that they had at the fault (regs: rbx, rbp, r12, r13, r14, r15), so
   that an unwinder started in sigpanic can go on through the frame that faulted.

        the G's stack
        ...the frame that faulted    <- CFA, the stack pointer at the fault
        (red zone, alignment)
        FaultFrame: SP, PC, ...      <- rsp, rdi

   For an unwinder this is the frame of a signal, called by the instruction that faulted. Both the
   CFA and the return address are in the FaultFrame, and the two escapes say so (DWARF 4, 6.4.2
   "Call Frame Instructions", 2.5.1 "General Operations"; the numbers of registers: System V ABI,
   AMD64 supplement, 3.6.2 "DWARF Register Number Mapping"). The CFA is [rsp + FAULT_SP];
   register 16 (the return address) is stored at rsp + FAULT_PC. */
ROUTINE(needm_sigjump)
        .cfi_startproc
        .cfi_signal_frame
        /* All of regs is read first: it is on the handler's stack, and once rsp has left that, the
           next signal's handler overwrites it. */
        movq    0(%rsi), %rbx
        movq    8(%rsi), %rbp
        movq    16(%rsi), %r12
        movq    24(%rsi), %r13
        movq    32(%rsi), %r14
        movq    40(%rsi), %r15
        movq    %rdi, %rsp
        /* DW_CFA_def_cfa_expression, 3 bytes: DW_OP_breg7 FAULT_SP, DW_OP_deref */
        .cfi_escape 0x0f, 3, 0x77, FAULT_SP, 0x06
        /* DW_CFA_expression, register 16, 2 bytes: DW_OP_breg7 FAULT_PC */
        .cfi_escape 0x10, 16, 2, 0x77, FAULT_PC
        /* A handler may also be left by its return, with this address for the one to go on at
           (Context::resume_at). All registers are those of the fault then, but rsp and rdi: both
           have the address of the FaultFrame. */
        PLACE(needm_siglanding)
        callq   needm_sigpanic
        ud2
        .cfi_endproc
END(needm_sigjump)

/* fn needm_sigresume(context (rdi)) -> !

   Returns from a signal to `context`, from any depth of calls in its handler. */
ROUTINE(needm_sigresume)
        movq    %rdi, %rsp
        jmp     needm_sigreturn
END(needm_sigresume)

/* fn needm_sigstart(signal (rdi), info (rsi), context (rdx), handler (rcx), sp (r8)) -> !

   Calls a handler as Linux does. The signal frame is at sp; its first word is the address to which
   the handler returns. The frame pointer is the interrupted code's. */
ROUTINE(needm_sigstart)
        .cfi_startproc
        .cfi_undefined rip
        movq    %r8, %rsp
        movq    CONTEXT_RBP(%rdx), %rbp
        xorl    %eax, %eax
        jmp     *%rcx
        .cfi_endproc
END(needm_sigstart)
