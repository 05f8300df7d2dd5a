/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A call on a G, from C that a callback on it has called, and back: arch/i386/call_on.S has the
   comments. The Rust side is src/callback/raising.rs (`raise_from_c`). */
#include "asm.h"
#include "teb.h"
#include "frame.h"

/* fn needm_call_on(a (esp+4), b (esp+8), c (esp+12), fn (esp+16), sp (esp+20))

   Calls fn(a, b, c) on the stack that ends at sp, which is a SEG_GSP: needm_on_g0 has left the
   fields of that stack there. Clobbers what a call does.

        the caller's stack             the other stack
        sp, fn, c, b, a <- CFA         the stack's fields      <- sp
        return address
 ebp -> saved ebp                      (padding), c, b, a
        own stack's fields             return address to here
                                       needm_base, fn */
ROUTINE(needm_call_on)
        .cfi_startproc
        pushl   %ebp
        .cfi_def_cfa_offset 8
        .cfi_offset ebp, -8
        movl    %esp, %ebp
        .cfi_def_cfa_register ebp
        subl    $STACK_FIELDS, %esp
        save_stack_fields %ebp, -STACK_FIELDS
        movl    24(%ebp), %edx
        leal    -ARGS(%edx), %esp
        load_stack_fields %edx, 0
        movl    8(%ebp), %eax
        movl    %eax, (%esp)
        movl    12(%ebp), %eax
        movl    %eax, 4(%esp)
        movl    16(%ebp), %eax
        movl    %eax, 8(%esp)
        movl    20(%ebp), %eax
        calll   _needm_base
        movl    %ebp, %esp
        load_stack_fields %ebp, -STACK_FIELDS
        popl    %ebp
        .cfi_def_cfa esp, 4
        .cfi_restore ebp
        ret
        .cfi_endproc
END(needm_call_on)
