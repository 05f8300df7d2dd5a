/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A call on another stack, and back. The Rust side is src/callback/panic.rs
   (`raise_from_c`). It is a file of its own because a file can have one pair of OTHER_STACK
   (arch/elf.h). */
#include "asm.h"

/* fn needm_call_on(a (a0), b (a1), c (a2), fn (a3), sp (a4))

   Calls fn(a, b, c) on the stack that ends at sp, a multiple of 16. Clobbers what a call does.

        the caller's stack             the other stack
                        <- CFA, s0     ...
        ra              (s0-8)                                <- sp
        s0              (s0-16)        fn's own frame */
ROUTINE(needm_call_on)
        .cfi_startproc
        addi    sp, sp, -16
        .cfi_def_cfa_offset 16
        sd      ra, 8(sp)
        sd      s0, 0(sp)
        .cfi_offset ra, -8
        .cfi_offset s0, -16
        addi    s0, sp, 16
        .cfi_def_cfa s0, 0
        mv      sp, a4
        OTHER_STACK
        jalr    a3
        OTHER_STACK_END
        addi    sp, s0, -16
        .cfi_def_cfa sp, 16
        ld      ra, 8(sp)
        .cfi_restore ra
        ld      s0, 0(sp)
        .cfi_restore s0
        addi    sp, sp, 16
        .cfi_def_cfa_offset 0
        ret
        .cfi_endproc
END(needm_call_on)
