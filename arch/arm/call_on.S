/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A call on another stack, and back. The Rust side is src/callback/panic.rs
   (`raise_from_c`). It is a file of its own because a file can have one pair of OTHER_STACK
   (arch/elf.h). */
#include "asm.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame

/* fn needm_call_on(a (r0), b (r1), c (r2), fn (r3), sp ([sp]))

   Calls fn(a, b, c) on the stack that ends at sp, a multiple of 16. ARM code; fn may be Thumb
   code. Clobbers what a call does.

        the caller's stack             the other stack
        sp              <- CFA         ...
        lr                                             <- sp
 r11 -> r11                            fn's own frame */
ROUTINE(needm_call_on)
        .fnstart
        .cfi_startproc
        ldr     ip, [sp]
        push    {r11, lr}
        .save   {r11, lr}
        .cfi_def_cfa_offset 8
        .cfi_offset r11, -8
        .cfi_offset lr, -4
        mov     r11, sp
        .setfp  r11, sp
        .cfi_def_cfa_register r11
        mov     sp, ip
        OTHER_STACK
        blx     r3
        OTHER_STACK_END
        mov     sp, r11
        pop     {r11, pc}
        .cfi_endproc
        .fnend
END(needm_call_on)
