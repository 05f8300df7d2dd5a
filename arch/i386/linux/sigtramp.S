/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The edges of a signal handler: where Linux enters it, where it returns to, and how it is left
   by a jump. The Rust side is src/os/linux/fault.rs (`handle`), src/callback/raising.rs
   (`sigpanic`), src/os/linux/actions.rs (which installs needm_handler) and
   src/os/linux/signal.rs (needm_sigreturn). */
#include "asm.h"

#define ARGS    16              /* room for up to four arguments of a call */

/* From where needm_sigreturn finds the stack to the context: signal, two pointers, siginfo_t. */
#define CONTEXT 140
/* From the context to ebp in it: context.rs. */
#define CONTEXT_EBP 44

/* X86_EFLAGS_AC, linux/arch/x86/include/uapi/asm/processor-flags.h. */
#define EFLAGS_AC 0x40000
#define NR_rt_sigreturn 173     /* linux/arch/x86/entry/syscalls/syscall_32.tbl */

/* fn needm_sigreturn() -> !

   What Linux has a handler return to (sa_restorer of sigaction(2)). Debuggers and unwinders know
   the two instructions by their bytes, and read the signal frame behind them: no CFI here.

        siginfo_t, ucontext_t
        signal, info, context   <- esp (the handler's return address is popped) */
ROUTINE(needm_sigreturn)
        movl    $NR_rt_sigreturn, %eax
        int     $0x80
END(needm_sigreturn)

/* extern "C" fn needm_handler(signal (esp+4), info (esp+8), context (esp+12))

   The handler of the fault signals; goes on in `handle`. Linux aligns its stack for 16-byte
   moves, but qemu (7.2) to 8 bytes only. Neither clears the flag by which alignment is checked,
   which may be what the fault was about: Rust's code would fault again. Passes the return address
   on as a fourth argument: it is needm_sigreturn if Linux itself has called. Clobbers what a call
   does.

        return address          <- CFA - 4
 ebp -> saved ebp
        (padding to 16 bytes)
        signal, info, context, return address   <- esp

   eax: what goes beside the signal's number, which stays as it is in the signal's frame. */
HANDLER_ROUTINE(needm_handler)
        .cfi_startproc
        xorl    %eax, %eax
2:
        pushl   %ebp
        .cfi_def_cfa_offset 8
        .cfi_offset ebp, -8
        movl    %esp, %ebp
        .cfi_def_cfa_register ebp
        pushfl
        testl   $EFLAGS_AC, (%esp)
        je      1f
        andl    $~EFLAGS_AC, (%esp)
        popfl
1:
        andl    $-16, %esp
        pushl   4(%ebp)
        pushl   16(%ebp)
        pushl   12(%ebp)
        orl     8(%ebp), %eax
        pushl   %eax
        calll   needm_handle
        movl    %ebp, %esp
        popl    %ebp
        .cfi_def_cfa esp, 4
        .cfi_restore ebp
        ret
        .cfi_endproc
END(needm_handler)

/* extern "C" fn needm_handler_2(signal (esp+4), info (esp+8), context (esp+12))

   The same, with FAULT_SECOND beside the signal's number. */
HANDLER_ROUTINE(needm_handler_2)
        .cfi_startproc
        movl    $FAULT_SECOND, %eax
        jmp     2b
        .cfi_endproc
END(needm_handler_2)

/* fn needm_sigjump(fault (esp+4), regs (esp+8)) -> !

   Leaves a handler for `sigpanic` on the G's stack, without rt_sigreturn. The callee-saved
   registers get the values that they had at the fault (regs: ebx, ebp, esi, edi), so that an
   unwinder started in sigpanic can go on through the frame that faulted.

        the G's stack
        ...the frame that faulted    <- CFA, the stack pointer at the fault
        (alignment)
        FaultFrame: SP, PC, ...      <- eax
        (padding), fault             <- esp

   For an unwinder this is the frame of a signal, called by the instruction that faulted. Both the
   CFA and the return address are in the FaultFrame, and the two escapes say so (DWARF 4, 6.4.2
   "Call Frame Instructions", 2.5.1 "General Operations"; the numbers of registers: System V ABI,
   Intel386 supplement, 2.4.2 "DWARF Register Number Mapping"). The CFA is
   [esp + ARGS + FAULT_SP]; register 8 (the return address) is stored at esp + ARGS + FAULT_PC. */
ROUTINE(needm_sigjump)
        .cfi_startproc
        .cfi_signal_frame
        movl    4(%esp), %eax
        movl    8(%esp), %edx
        /* A signal that comes once esp has left the handler's stack overwrites regs. */
        movl    0(%edx), %ebx
        movl    4(%edx), %ebp
        movl    8(%edx), %esi
        movl    12(%edx), %edi
        leal    -ARGS(%eax), %esp
        /* DW_CFA_def_cfa_expression, 3 bytes: DW_OP_breg4 FAULT_SP, DW_OP_deref */
        .cfi_escape 0x0f, 3, 0x74, FAULT_SP+ARGS, 0x06
        /* DW_CFA_expression, register 8, 2 bytes: DW_OP_breg4 FAULT_PC */
        .cfi_escape 0x10, 8, 2, 0x74, FAULT_PC+ARGS
        /* Where a signal's return goes on instead, all registers being those of the fault but eax,
           which is the frame, and esp, ARGS below it (Context::resume_at). */
        PLACE(needm_siglanding)
        movl    %eax, (%esp)
        calll   needm_sigpanic
        ud2
        .cfi_endproc
END(needm_sigjump)

/* fn needm_sigresume(context (esp+4)) -> !

   Returns from a signal to `context`, from any depth of calls in its handler. */
ROUTINE(needm_sigresume)
        movl    4(%esp), %eax
        leal    -CONTEXT(%eax), %esp
        jmp     needm_sigreturn
END(needm_sigresume)

/* fn needm_sigstart(signal, info, context, handler (esp+16), sp (esp+20)) -> !

   Starts a handler as Linux does, on the signal frame at sp, to which it returns. In the frame are
   its arguments, of which the two pointers are stored now. The frame pointer is the interrupted
   code's. */
ROUTINE(needm_sigstart)
        .cfi_startproc
        .cfi_undefined eip
        movl    16(%esp), %ecx
        movl    20(%esp), %edx
        movl    8(%esp), %eax
        movl    %eax, 8(%edx)
        movl    12(%esp), %eax
        movl    %eax, 12(%edx)
        movl    CONTEXT_EBP(%eax), %ebp
        movl    %edx, %esp
        jmp     *%ecx
        .cfi_endproc
END(needm_sigstart)
