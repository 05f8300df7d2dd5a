/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From a G to the system stack and back, under Windows on i386: arch/i386/switch.S has the comments;
   here the stack fields change, too. The Rust side is src/callback/ccall.rs (`on_g0`). */
#include "asm.h"
#include "teb.h"
#include "frame.h"

#define OUT_CALL        12              /* the fourth word of out */

/* fn needm_on_g0(fn (esp+4), arg (esp+8), out (esp+12), g0sp (esp+16))

   Calls fn(arg) on the system stack, with that stack's fields, between needm_left_g(out) and
   needm_back_to_g(out). Clobbers the caller-saved registers.

        the G's stack                  the system stack
        g0sp, out, arg
        fn              <- CFA         ...down to the caller's Call  <- g0sp
        return address                 (padding), arg or out
 ebp -> saved ebp                      return address to here
        ebx esi edi                    needm_c_base, fn
        (padding)
        the G's stack fields  <- SEG_GSP, a multiple of 16 */
ROUTINE(needm_on_g0)
        .cfi_startproc
        pushl   %ebp
        .cfi_def_cfa_offset 8
        .cfi_offset ebp, -8
        movl    %esp, %ebp
        .cfi_def_cfa_register ebp
        pushl   %ebx
        .cfi_offset ebx, -12
        pushl   %esi
        .cfi_offset esi, -16
        pushl   %edi
        .cfi_offset edi, -20
        subl    $STACK_FIELDS, %esp
        andl    $-16, %esp
        movl    %esp, %esi                      /* esi: where the G is left */
        save_stack_fields %esi, 0
        movl    16(%ebp), %ebx                  /* ebx: out */
        movl    OUT_CALL(%ebx), %edi            /* edi: Call */
        movl    (%ebx), %eax                    /* the segment */
        movl    20(%ebp), %edx
        movl    %esp, SEG_GSP(%eax)
        leal    -ARGS(%edx), %esp
        load_stack_fields %edi, CALL_FIELDS
        movl    %ebx, (%esp)
        calll   _needm_left_g
        movl    12(%ebp), %eax
        movl    %eax, (%esp)
        movl    8(%ebp), %eax
        calll   _needm_c_base
        /* C may have made its stack grow; but if a fiber is back on another, leave that alone. */
        movl    %fs:TEB_STACK_BASE, %eax
        cmpl    CALL_FIELDS(%edi), %eax
        jne     1f
        movl    %fs:TEB_STACK_LIMIT, %eax
        movl    %eax, CALL_FIELDS+4(%edi)
1:
        movl    %ebx, (%esp)
        calll   _needm_back_to_g
        leal    -12(%ebp), %esp
        load_stack_fields %esi, 0
        movl    (%ebx), %eax
        movl    $0, SEG_GSP(%eax)
        popl    %edi
        .cfi_restore edi
        popl    %esi
        .cfi_restore esi
        popl    %ebx
        .cfi_restore ebx
        popl    %ebp
        .cfi_def_cfa esp, 4
        .cfi_restore ebp
        ret
        .cfi_endproc
END(needm_on_g0)

/* fn needm_c_base(a, b, c (esp+4 up), fn (eax))

   Calls fn(a, b, c), as needm_base in entry.S does: the lowest frame of C that a callback has called.
   An exception that nothing in this C takes is not the callback's: src/os/windows/fault.rs. */
ROUTINE(needm_c_base)
        lowest_frame _needm_c_handler
END(needm_c_base)

/* fn needm_sp() -> usize (eax)

   The caller's stack pointer, before the call: arch/mod.rs. Clobbers nothing else. */
LEAF_ROUTINE(needm_sp)
        leal    4(%esp), %eax
        ret
END_LEAF(needm_sp)
