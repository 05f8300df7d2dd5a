/* A call on another stack, and back. It is a file of its own because OTHER_STACK allows
   one pair in each file. The Rust side is src/signal/forward.rs and src/callback/panic.rs. */
#include "asm.h"

/* fn needm_call_on(a (rdi), b (rsi), c (rdx), fn (rcx), sp (r8))

   Calls fn(a, b, c) on the stack that ends at sp (16-aligned), and comes back. */
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
