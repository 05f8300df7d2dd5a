/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From a G to the system stack and back: the Rust side is src/callback/ccall.rs (`on_g0`);
   and the stack pointer. */
#include "asm.h"

#define ARGS    16              /* room for up to four arguments of a call */

/* fn needm_on_g0(fn (esp+4), arg (esp+8), out (esp+12), g0sp (esp+16))

   Calls fn(arg) on the system stack, between needm_left_g(out) and needm_back_to_g(out). The first
   word of out is the segment. First spills all callee-saved registers on the G's stack, so that a
   scan of that stack from SEG_GSP up sees them. Clobbers the caller-saved
   registers.

        the G's stack                  the system stack
        g0sp, out, arg
        fn              <- CFA         ...down to the caller's Call  <- g0sp
        return address                 (padding), arg or out
 ebp -> saved ebp                      return address to here
        ebx esi edi                    fn
        (padding)       <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared after it does again,
   so a stopper that finds the thread not running always finds the G's live range. It is a
   multiple of 16, because needm_call_on may be given it. */
ROUTINE(needm_on_g0)
        .cfi_startproc
        LANDS_BY(.Lsites)
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
        andl    $-16, %esp
        movl    16(%ebp), %ebx                  /* ebx: out */
        movl    (%ebx), %eax                    /* the segment */
        movl    20(%ebp), %edx
        movl    %esp, SEG_GSP(%eax)
        leal    -ARGS(%edx), %esp
        OTHER_STACK
        movl    %ebx, (%esp)
        calll   needm_left_g
        movl    12(%ebp), %eax
        movl    %eax, (%esp)
        calll   *8(%ebp)
.Lfrom_fn:
        movl    %ebx, (%esp)
        calll   needm_back_to_g
        OTHER_STACK_END
        leal    -12(%ebp), %esp
        movl    (%ebx), %eax
        movl    $0, SEG_GSP(%eax)
        .cfi_remember_state
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
        .cfi_restore_state

        /* The landing pad: something unwinds the stack, and fn's frames are gone. It goes on on the
           G. On the system stack; eax: the exception; edx: _Unwind_Resume; ebx: out. */
.Lunwound:
        movl    %eax, %esi
        movl    %edx, %edi
        andl    $-16, %esp
        subl    $ARGS, %esp
        movl    %ebx, (%esp)
        calll   needm_back_to_g
        leal    -12(%ebp), %esp
        andl    $-16, %esp
        movl    (%ebx), %eax
        movl    $0, SEG_GSP(%eax)
        subl    $ARGS, %esp
        movl    %esi, (%esp)
        calll   *%edi
        ud2
        .cfi_endproc
END(needm_on_g0)

SITES(.Lsites, .Lunwound)
        SITE(.Lfrom_fn)
SITES_END

/* fn needm_sp() -> usize (eax)

   The caller's stack pointer, before the call: arch/mod.rs. Clobbers nothing else. */
ROUTINE(needm_sp)
        .cfi_startproc
        leal    4(%esp), %eax
        ret
        .cfi_endproc
END(needm_sp)
