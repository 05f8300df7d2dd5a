/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A call on another stack, and back. The Rust side is src/callback/panic.rs
   (`raise_from_c`). It is a file of its own because a file can have one pair of OTHER_STACK
   (arch/elf.h). */
#include "asm.h"

#define ARGS    16              /* room for up to four arguments of a call */

/* fn needm_call_on(a (esp+4), b (esp+8), c (esp+12), fn (esp+16), sp (esp+20))

   Calls fn(a, b, c) on the stack that ends at sp, a multiple of 16. Clobbers what a call does.

        the caller's stack             the other stack
        sp, fn, c, b, a <- CFA         ...
        return address                                 <- sp
 ebp -> saved ebp                      (padding), c, b, a
                                       return address to here
                                       fn's own frame */
ROUTINE(needm_call_on)
        .cfi_startproc
        pushl   %ebp
        .cfi_def_cfa_offset 8
        .cfi_offset ebp, -8
        movl    %esp, %ebp
        .cfi_def_cfa_register ebp
        movl    24(%ebp), %esp
        subl    $ARGS, %esp
        movl    8(%ebp), %eax
        movl    %eax, (%esp)
        movl    12(%ebp), %eax
        movl    %eax, 4(%esp)
        movl    16(%ebp), %eax
        movl    %eax, 8(%esp)
        OTHER_STACK
        calll   *20(%ebp)
        OTHER_STACK_END
        movl    %ebp, %esp
        popl    %ebp
        .cfi_def_cfa esp, 4
        .cfi_restore ebp
        ret
        .cfi_endproc
END(needm_call_on)
