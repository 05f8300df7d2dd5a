/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From a G to the system stack and back: the Rust side is src/callback/ccall.rs (`on_g0`);
   and the stack pointer. */
#include "asm.h"

/* fn needm_on_g0(fn (rdi), arg (rsi), out (rdx), g0sp (rcx))

   Calls fn(arg) on the system stack, between needm_left_g(out) and needm_back_to_g(out). The first
   word of out is the segment. First spills all callee-saved registers on the G's stack, so that a
   scan of that stack from SEG_GSP up sees them. Clobbers the caller-saved
   registers.

        the G's stack                  the system stack
        return address  <- CFA - 8     ...down to the caller's Call  <- rcx
 rbp -> saved rbp                      return address to here
        rbx r12 r13 r14 r15            fn
        (padding)       <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared after it does again,
   so a stopper that finds the thread not running always finds the G's live range. */
ROUTINE(needm_on_g0)
        .cfi_startproc
        LANDS_BY(.Lsites)
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register rbp
        pushq   %rbx
        .cfi_offset rbx, -24
        pushq   %r12
        .cfi_offset r12, -32
        pushq   %r13
        .cfi_offset r13, -40
        pushq   %r14
        pushq   %r15
        pushq   %r15
        movq    %rdx, %rbx                      /* rbx: out */
        movq    %rdi, %r12                      /* r12: fn */
        movq    %rsi, %r13                      /* r13: arg */
        movq    (%rbx), %rax                    /* the segment */
        movq    %rsp, SEG_GSP(%rax)
        movq    %rcx, %rsp
        OTHER_STACK
        movq    %rbx, %rdi
        callq   needm_left_g
        movq    %r13, %rdi
        callq   *%r12
.Lfrom_fn:
        movq    %rbx, %rdi
        callq   needm_back_to_g
        OTHER_STACK_END
        leaq    -48(%rbp), %rsp
        movq    (%rbx), %rax
        movq    $0, SEG_GSP(%rax)
        .cfi_remember_state
        movq    -24(%rbp), %r13
        movq    -16(%rbp), %r12
        movq    -8(%rbp), %rbx
        movq    %rbp, %rsp
        popq    %rbp
        .cfi_def_cfa rsp, 8
        .cfi_restore rbp
        .cfi_restore rbx
        .cfi_restore r12
        .cfi_restore r13
        ret
        .cfi_restore_state

        /* The landing pad: something unwinds the stack, and fn's frames are gone. It goes on on the
           G. On the system stack; rax: the exception; rdx: _Unwind_Resume; rbx: out. */
.Lunwound:
        movq    %rax, %r12
        movq    %rdx, %r13
        movq    %rbx, %rdi
        callq   needm_back_to_g
        leaq    -48(%rbp), %rsp
        movq    (%rbx), %rax
        movq    $0, SEG_GSP(%rax)
        movq    %r12, %rdi
        callq   *%r13
        ud2
        .cfi_endproc
END(needm_on_g0)

SITES(.Lsites, .Lunwound)
        SITE(.Lfrom_fn)
SITES_END

/* fn needm_sp() -> usize (rax)

   The caller's stack pointer, before the call: arch/mod.rs. Clobbers nothing else. */
ROUTINE(needm_sp)
        .cfi_startproc
        leaq    8(%rsp), %rax
        ret
        .cfi_endproc
END(needm_sp)
