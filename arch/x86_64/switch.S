/* From a G to the system stack and back: the Rust side is src/callback/ccall.rs (`on_g0`);
   and the stack pointer. */
#include "asm.h"

/* fn needm_on_g0(fn (rdi), arg (rsi), seg (rdx), g0sp (rcx))

   Calls fn(arg) on the system stack. First spills all callee-saved registers on the G's
   stack, so that a scan of that stack from SEG_GSP up sees them. Clobbers
   what a call does.

        the G's stack                  the system stack
        return address  <- CFA - 8     ...down to the caller's Call  <- rcx
 rbp -> saved rbp                      return address to here
        rbx r12 r13 r14 r15            fn
        (padding)       <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared after it does again,
   so a stopper that finds the thread not running always finds the G's live range. */
ROUTINE(needm_on_g0)
        .cfi_startproc
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register rbp
        pushq   %rbx
        .cfi_offset rbx, -24
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        pushq   %r15
        movq    %rdx, %rbx                      /* rbx: the segment */
        movq    %rdi, %rax
        movq    %rsi, %rdi
        movq    %rsp, SEG_GSP(%rbx)
        movq    %rcx, %rsp
        OTHER_STACK
        callq   *%rax
        OTHER_STACK_END
        leaq    -48(%rbp), %rsp
        movq    $0, SEG_GSP(%rbx)
        movq    -8(%rbp), %rbx
        movq    %rbp, %rsp
        popq    %rbp
        .cfi_def_cfa rsp, 8
        .cfi_restore rbp
        .cfi_restore rbx
        ret
        .cfi_endproc
END(needm_on_g0)

/* fn needm_sp() -> usize (rax)

   The caller's stack pointer, before the call: arch/mod.rs. Clobbers nothing else. */
ROUTINE(needm_sp)
        .cfi_startproc
        leaq    8(%rsp), %rax
        ret
        .cfi_endproc
END(needm_sp)
