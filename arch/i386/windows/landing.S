/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Where a fault goes on once Windows has resumed the thread, and an interrupt:
   arch/x86_64/windows/landing.S has the comments and the names of the Rust side. */
#include "asm.h"
#include "frame.h"

/* needm_overflow_landing, by a context: as needm_landing, after an overflow. Keeps all registers on
   the stack. */
LEAF_ROUTINE(needm_overflow_landing)
        pushal
        calll   _needm_rearm
        popal
        jmp     _needm_landing
END_LEAF(needm_overflow_landing)

/* needm_landing, by a context: esp is where the FaultFrame is to be, a multiple of 16, and eax,
   ecx, edx, ebx, esi, edi are its words in their order, but for the last, which is 0; ebp is as at the
   fault.

        the G's stack
        ...the frame that faulted
        (alignment)
        FaultFrame: SP, PC, ...         <- esp at the start
        PC
 ebp -> ebp of the frame that faulted
        (alignment), the FaultFrame's address   <- esp, a multiple of 16

   For a debugger that follows ebp, the frame that faulted has called this. */
ROUTINE(needm_landing)
        movl    %eax, 0(%esp)
        movl    %ecx, 4(%esp)
        movl    %edx, 8(%esp)
        movl    %ebx, 12(%esp)
        movl    %esi, 16(%esp)
        movl    %edi, 20(%esp)
        movl    $0, 24(%esp)
        movl    %esp, %eax
        pushl   %ecx
        pushl   %ebp
        movl    %esp, %ebp
        subl    $8, %esp
        movl    %eax, (%esp)
        calll   _needm_sigpanic
        ud2
END(needm_landing)

#define WORDS   8               /* a fault frame's, 7 */
#define XMM     48
#define BYTES   (48 + 8 * 16)

/* needm_interrupt_landing, by a context: as if called between two instructions, anywhere in code that
   runs on a G. Keeps all registers and flags, but for the upper halves of the ymm registers and the
   x87's, which nothing here uses. The Rust side is src/os/windows/interrupt.rs (`interrupted`).

        the G's stack
        ...the frame that was interrupted
        the instruction that runs next          <- esp at the start
        flags, eax ecx edx ebx esp ebp esi edi  <- ebp
        (alignment)
        xmm0-7
        the words of a fault frame
        their address, and that of the instruction      <- esp */
ROUTINE(needm_interrupt_landing)
        pushfl
        pushal
        movl    %esp, %ebp
        cld
        subl    $BYTES, %esp
        andl    $-16, %esp
        .irp    number, 0, 1, 2, 3, 4, 5, 6, 7
        movaps  %xmm\number, XMM+\number*16(%esp)
        .endr
        leal    9*4(%ebp), %eax
        movl    %eax, (%esp)
        leal    WORDS(%esp), %eax
        movl    %eax, 4(%esp)
        calll   _needm_interrupted              /* -> where the fault frame is to be, or 0 */
        testl   %eax, %eax
        jne     1f
        .irp    number, 0, 1, 2, 3, 4, 5, 6, 7
        movaps  XMM+\number*16(%esp), %xmm\number
        .endr
        movl    %ebp, %esp
        popal
        popfl
        ret
1:
        movl    8(%ebp), %ebp                   /* of the code that was interrupted */
        movl    %eax, (%esp)
        movl    WORDS(%esp), %eax
        movl    WORDS+4(%esp), %ecx
        movl    WORDS+8(%esp), %edx
        movl    WORDS+12(%esp), %ebx
        movl    WORDS+16(%esp), %esi
        movl    WORDS+20(%esp), %edi
        movl    (%esp), %esp
        jmp     _needm_landing
END(needm_interrupt_landing)
