/* The edges of a signal handler. The Rust side is src/signal/handler.rs, src/signal/
   chain.rs and src/unwind.rs (`sigpanic`, `raise_from_c`). */
#include "asm.h"

#define EFLAGS_AC 0x40000       /* linux/arch/x86/include/uapi/asm/processor-flags.h */
#define NR_rt_sigreturn 15      /* linux/arch/x86/entry/syscalls/syscall_64.tbl */

/* What the kernel returns into after a handler (sa_restorer). Debuggers and
   unwinders know the two instructions by their bytes. */
ROUTINE(needm_sigreturn)
        movq    $NR_rt_sigreturn, %rax
        syscall
END(needm_sigreturn)

/* extern "C" fn needm_handler(signal (edi), info (rsi), context (rdx))

   The handler of the fault signals. The kernel aligns its stack, but leaves the flag set
   by which alignment is checked, if that is what the fault was about.

        return address (needm_sigreturn)  <- CFA - 8
        flags                             <- rsp, for a moment */
ROUTINE(needm_handler)
        .cfi_startproc
        pushfq
        .cfi_adjust_cfa_offset 8
        andl    $~EFLAGS_AC, (%rsp)
        popfq
        .cfi_adjust_cfa_offset -8
        jmp     needm_handle
        .cfi_endproc
END(needm_handler)

/* fn needm_sigjump(fault (rdi), regs (rsi)) -> !

   Leaves a handler for `sigpanic` on the G's stack without rt_sigreturn: the
   callee-saved registers get the values they had at the fault (regs: rbx, rbp,
   r12, r13, r14, r15), so that an unwinder started in sigpanic can go on
   through the frame that faulted.

        the G's stack
        ...the frame that faulted    <- CFA, the stack pointer at the fault
        (red zone, alignment)
        FaultFrame: SP, PC, ...      <- rsp, rdi

   Both the CFA and the return address stand in the FaultFrame; the two escapes
   say so: DWARF 4, 6.4.2 and 2.5.1. The CFA is [rsp + FAULT_SP]; register 16
   (the return address) is stored at rsp + FAULT_PC. */
ROUTINE(needm_sigjump)
        .cfi_startproc
        .cfi_signal_frame
        /* DW_CFA_def_cfa_expression, 3 bytes: DW_OP_breg7 FAULT_SP, DW_OP_deref */
        .cfi_escape 0x0f, 3, 0x77, FAULT_SP, 0x06
        /* DW_CFA_expression, register 16, 2 bytes: DW_OP_breg7 FAULT_PC */
        .cfi_escape 0x10, 16, 2, 0x77, FAULT_PC
        movq    0(%rsi), %rbx
        movq    8(%rsi), %rbp
        movq    16(%rsi), %r12
        movq    24(%rsi), %r13
        movq    32(%rsi), %r14
        movq    40(%rsi), %r15
        movq    %rdi, %rsp
        callq   needm_sigpanic
        ud2
        .cfi_endproc
END(needm_sigjump)
