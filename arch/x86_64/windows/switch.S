/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From a G to the system stack and back, under Windows: the Rust side is src/callback/ccall.rs
   (`on_g0`); and the stack pointer. */
#include "asm.h"
#include "teb.h"
#include "frame.h"

#define REGS    0x30
#define XMM     0x70
#define BYTES   0x110
#define RBP     0x80
#define AT(offset)      (offset)-RBP(%rbp)

        .macro  save_register register, offset
        movq    \register, AT(\offset)
        .seh_savereg \register, \offset
        .endm

/* fn needm_on_g0(fn (rcx), arg (rdx), out (r8), g0sp (r9))

   Calls fn(arg) on the system stack, with that stack's fields, between needm_left_g(out) and
   needm_back_to_g(out). The first word of out is the segment. First spills all callee-saved
   registers on the G's stack, so that a scan of that stack from SEG_GSP up sees them. Clobbers the
   caller-saved registers.

        the G's stack                          the system stack
        return address                         ...down to the caller's Call  <- g0sp
        saved rbp                              home of arguments
        xmm6-15         (SEG_GSP+0x70)         return address to here
        rbx rdi rsi r12 r13 r14 r15            needm_c_base, fn
        the G's stack fields  <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared after it does again,
   so a stopper that finds the thread not running always finds the G's live range. */
ROUTINE(needm_on_g0)
        pushq   %rbp
        .seh_pushreg %rbp
        subq    $BYTES, %rsp
        .seh_stackalloc BYTES
        leaq    RBP(%rsp), %rbp
        .seh_setframe %rbp, RBP
        save_register %rbx, REGS
        save_register %rdi, REGS+8
        save_register %rsi, REGS+16
        save_register %r12, REGS+24
        save_register %r13, REGS+32
        save_register %r14, REGS+40
        save_register %r15, REGS+48
        .irp    number, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movaps  %xmm\number, AT(XMM+(\number-6)*16)
        .seh_savexmm %xmm\number, XMM+(\number-6)*16
        .endr
        .seh_endprologue
        save_stack_fields %rsp, 0
        movq    %r8, %rbx                       /* rbx: out */
        movq    %r9, %r12                       /* r12: Call */
        movq    %rcx, %rsi                      /* rsi: fn */
        movq    %rdx, %rdi                      /* rdi: arg */
        movq    (%rbx), %rax                    /* the segment */
        movq    %rsp, SEG_GSP(%rax)
        leaq    -HOME(%r12), %rsp
        load_stack_fields %r12, CALL_FIELDS
        movq    %rbx, %rcx
        callq   needm_left_g
        movq    %rdi, %rcx
        movq    %rsi, %rax
        callq   needm_c_base
        /* C may have made its stack grow; but if a fiber is back on another, leave that alone. */
        movq    %gs:TEB_STACK_BASE, %rax
        cmpq    CALL_FIELDS(%r12), %rax
        jne     1f
        movq    %gs:TEB_STACK_LIMIT, %rax
        movq    %rax, CALL_FIELDS+8(%r12)
1:
        movq    %rbx, %rcx
        callq   needm_back_to_g
        leaq    AT(0), %rsp
        load_stack_fields %rsp, 0
        movq    (%rbx), %rax
        movq    $0, SEG_GSP(%rax)
        movq    AT(REGS), %rbx
        movq    AT(REGS+8), %rdi
        movq    AT(REGS+16), %rsi
        movq    AT(REGS+24), %r12
        leaq    AT(BYTES), %rsp
        popq    %rbp
        ret
END(needm_on_g0)

/* fn needm_c_base(arg (rcx), fn (rax))

   Calls fn(arg), as needm_base in entry.S does: the lowest frame of C that a callback has called.
   An exception that nothing in this C takes is not the callback's: src/os/windows/fault.rs. */
ROUTINE(needm_c_base)
        lowest_frame needm_c_handler
END(needm_c_base)

/* fn needm_sp() -> usize (rax)

   The caller's stack pointer, before the call: arch/mod.rs. Clobbers nothing else. */
LEAF_ROUTINE(needm_sp)
        leaq    8(%rsp), %rax
        ret
END_LEAF(needm_sp)
