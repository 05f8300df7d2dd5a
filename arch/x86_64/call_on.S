/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A call on another stack, and back. The Rust side is src/callback/panic.rs
   (`raise_from_c`). It is a file of its own because a file can have one pair of OTHER_STACK
   (arch/elf.h). */
#include "asm.h"

/* fn needm_call_on(a (rdi), b (rsi), c (rdx), fn (rcx), sp (r8))

   Calls fn(a, b, c) on the stack that ends at sp, a multiple of 16. Clobbers what a call does.

        the caller's stack             the other stack
        return address  <- CFA - 8     ...
 rbp -> saved rbp                                      <- r8
                                       return address to here
                                       fn's own frame */
ROUTINE(needm_call_on)
        .cfi_startproc
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register rbp
        movq    %r8, %rsp
        OTHER_STACK
        callq   *%rcx
        OTHER_STACK_END
        movq    %rbp, %rsp
        popq    %rbp
        .cfi_def_cfa rsp, 8
        .cfi_restore rbp
        ret
        .cfi_endproc
END(needm_call_on)
