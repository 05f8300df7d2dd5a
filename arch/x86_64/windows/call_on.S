/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A call on a G, from C that a callback on it has called, and back. The Rust side is
   src/callback/raising.rs (`raise_from_c`). */
#include "asm.h"
#include "teb.h"
#include "frame.h"

/* fn needm_call_on(a (rcx), b (rdx), c (r8), fn (r9), sp (fifth))

   Calls fn(a, b, c) on the stack that ends at sp, which is a SEG_GSP: needm_on_g0 has left the
   fields of that stack there. Clobbers what a call does.

        the caller's stack             the other stack
        sp
        home of arguments
        return address                 the stack's fields  <- sp
        saved rbp                      home of arguments
 rbp -> own stack's fields             return address to here
                                       needm_base, fn */
ROUTINE(needm_call_on)
        pushq   %rbp
        .seh_pushreg %rbp
        subq    $STACK_FIELDS, %rsp
        .seh_stackalloc STACK_FIELDS
        movq    %rsp, %rbp
        .seh_setframe %rbp, 0
        .seh_endprologue
        save_stack_fields %rbp, 0
        movq    STACK_FIELDS+16+HOME(%rbp), %r10
        leaq    -HOME(%r10), %rsp
        load_stack_fields %r10, 0
        movq    %r9, %rax
        callq   needm_base
        movq    %rbp, %rsp
        load_stack_fields %rbp, 0
        leaq    STACK_FIELDS(%rbp), %rsp
        popq    %rbp
        ret
END(needm_call_on)
