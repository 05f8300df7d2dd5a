/* From a G to the system stack and back: the Rust side is src/callback/ccall.rs (`on_g0`);
   and the stack pointer. */
#include "asm.h"

#define ARGS    16              /* room for up to four arguments of a call */

/* fn needm_on_g0(fn (esp+4), arg (esp+8), seg (esp+12), g0sp (esp+16))

   Calls fn(arg) on the system stack. First spills all callee-saved registers on the G's
   stack, so that a scan of that stack from SEG_GSP up sees them. Clobbers
   what a call does.

        the G's stack                  the system stack
        g0sp, seg, arg
        fn              <- CFA         ...down to the caller's Call  <- g0sp
        return address                 (padding), arg
 ebp -> saved ebp                      return address to here
        ebx esi edi                    fn
        (padding)       <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared after it does again,
   so a stopper that finds the thread not running always finds the G's live range. It is a
   multiple of 16, because needm_call_on may be given it. */
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
        andl    $-16, %esp
        movl    16(%ebp), %ebx                  /* ebx: the segment */
        movl    8(%ebp), %ecx
        movl    12(%ebp), %eax
        movl    20(%ebp), %edx
        movl    %esp, SEG_GSP(%ebx)
        leal    -ARGS(%edx), %esp
        movl    %eax, (%esp)
        OTHER_STACK
        calll   *%ecx
        OTHER_STACK_END
        leal    -12(%ebp), %esp
        movl    $0, SEG_GSP(%ebx)
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

/* fn needm_sp() -> usize (eax)

   The caller's stack pointer, before the call: arch/mod.rs. Clobbers nothing else. */
ROUTINE(needm_sp)
        .cfi_startproc
        leal    4(%esp), %eax
        ret
        .cfi_endproc
END(needm_sp)
