/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A call on another stack, and back. The Rust side is src/callback/panic.rs
   (`raise_from_c`). It is a file of its own because a file can have one pair of OTHER_STACK
   (arch/elf.h). */
#include "asm.h"
#include "landing.h"

/* fn needm_call_on(a (x0), b (x1), c (x2), fn (x3), sp (x4))

   Calls fn(a, b, c) on the stack that ends at sp, a multiple of 16. Clobbers what a call does.

        the caller's stack             the other stack
                        <- CFA         ...
        x30                                            <- x4
 x29 -> x29                            fn's own frame */
ROUTINE(needm_call_on)
        .cfi_startproc
        LANDING_PAD
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mov     x29, sp
        .cfi_def_cfa_register x29
        mov     sp, x4
        OTHER_STACK
        blr     x3
        OTHER_STACK_END
        mov     sp, x29
        ldp     x29, x30, [sp], #16
        .cfi_def_cfa sp, 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
END(needm_call_on)
