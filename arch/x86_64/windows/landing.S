/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Where a fault goes on once Windows has resumed the thread. The Rust side is
   src/os/windows/fault.rs, which sets the registers (context.rs), and src/callback/fault.rs
   (`sigpanic`). */
#include "asm.h"
#include "frame.h"

#define MACHINE_FRAME   40

/* needm_overflow_landing, by a context: as needm_landing, after an overflow. The whole reserve is
   open, and the handler's records in it are not needed any more: half of it is to be a guard again.
   Keeps rcx, rdx, r8, r9, r10, r11 on the stack, which needs no record: no handler of a callback's
   runs here. */
LEAF_ROUTINE(needm_overflow_landing)
        pushq   %rcx
        pushq   %rdx
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        subq    $HOME, %rsp
        callq   needm_rearm
        addq    $HOME, %rsp
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdx
        popq    %rcx
        jmp     needm_landing
END_LEAF(needm_overflow_landing)

/* needm_landing, by a context: rsp is where the FaultFrame is to be, and rcx, rdx, r8, r9, r10,
   r11 are its words in their order; the rest is as at the fault. The words come in registers
   because the records of the exception lie there until the thread is resumed.

        the G's stack
        ...the frame that faulted
        (alignment)
        FaultFrame: SP, PC, ...                 <- rsp at the start
        (alignment)
        a machine frame: rip cs eflags rsp ss
        home of arguments                       <- rsp

   For an unwinder this is the frame of an interrupt at the instruction that faulted, which called
   `sigpanic` (UWOP_PUSH_MACHFRAME); it reads rip and rsp of it. */
ROUTINE(needm_landing)
        .seh_pushframe
        .seh_stackalloc HOME
        .seh_endprologue
        movq    %rcx, 0(%rsp)
        movq    %rdx, 8(%rsp)
        movq    %r8, 16(%rsp)
        movq    %r9, 24(%rsp)
        movq    %r10, 32(%rsp)
        movq    %r11, 40(%rsp)
        movq    %rsp, %rax
        subq    $MACHINE_FRAME + 8 + HOME, %rsp
        movq    %rdx, HOME(%rsp)
        movq    %rcx, HOME+24(%rsp)
        movq    %rax, %rcx
        callq   needm_sigpanic
        ud2
END(needm_landing)

#define WORDS   (HOME)          /* a fault frame's, 6 */
#define XMM     (HOME + 48)
#define BYTES   (HOME + 48 + 6 * 16)

/* needm_interrupt_landing, by a context: as if called between two instructions, anywhere in code that
   runs on a G. Keeps all registers and flags, but for the upper halves of the ymm registers,
   which nothing here uses. The Rust side is src/os/windows/interrupt.rs (`interrupted`).

        the G's stack
        ...the frame that was interrupted
        the instruction that runs next          <- rsp at the start
        flags rax rcx rdx r8 r9 r10 r11 rbp     <- rbp
        (alignment)
        xmm0-5
        the words of a fault frame
        home of arguments                       <- rsp */
ROUTINE(needm_interrupt_landing)
        pushfq
        .seh_stackalloc 8
        pushq   %rax
        .seh_stackalloc 8
        pushq   %rcx
        .seh_stackalloc 8
        pushq   %rdx
        .seh_stackalloc 8
        pushq   %r8
        .seh_stackalloc 8
        pushq   %r9
        .seh_stackalloc 8
        pushq   %r10
        .seh_stackalloc 8
        pushq   %r11
        .seh_stackalloc 8
        pushq   %rbp
        .seh_pushreg %rbp
        movq    %rsp, %rbp
        .seh_setframe %rbp, 0
        .seh_endprologue
        cld
        subq    $BYTES, %rsp
        andq    $-16, %rsp
        .irp    number, 0, 1, 2, 3, 4, 5
        movaps  %xmm\number, XMM+\number*16(%rsp)
        .endr
        leaq    9*8(%rbp), %rcx
        leaq    WORDS(%rsp), %rdx
        callq   needm_interrupted               /* -> where the fault frame is to be, or 0 */
        testq   %rax, %rax
        jne     1f
        .irp    number, 0, 1, 2, 3, 4, 5
        movaps  XMM+\number*16(%rsp), %xmm\number
        .endr
        movq    %rbp, %rsp
        popq    %rbp
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdx
        popq    %rcx
        popq    %rax
        popfq
        ret
1:
        movq    WORDS(%rsp), %rcx
        movq    WORDS+8(%rsp), %rdx
        movq    WORDS+16(%rsp), %r8
        movq    WORDS+24(%rsp), %r9
        movq    WORDS+32(%rsp), %r10
        movq    WORDS+40(%rsp), %r11
        movq    %rax, %rsp
        jmp     needm_landing
END(needm_interrupt_landing)
