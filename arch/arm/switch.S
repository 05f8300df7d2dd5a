/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From a G to the system stack and back: the Rust side is src/callback/ccall.rs (`on_g0`);
   and the stack pointer. ARM code; fn may be Thumb code. */
#include "asm.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame
        .fpu    vfpv3-d16

/* fn needm_on_g0(fn (r0), arg (r1), out (r2), g0sp (r3))

   Calls fn(arg) on the system stack, between needm_left_g(out) and needm_back_to_g(out). The first
   word of out is the segment. First spills all callee-saved registers on the G's
   stack, so that a scan of that stack from SEG_GSP up sees them: d8-d15, too,
   in which a compiler may keep a pointer (vldr, vmov). Clobbers the caller-saved
   registers.

        the G's stack                  the system stack
                       <- CFA          ...down to the caller's Call  <- r3
        lr                             fn
 r11 -> r11
        r4-r10
        d8-d15
        (padding)      <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared after it does again,
   so a stopper that finds the thread not running always finds the G's live range. The order
   for other processors comes from `leave` and `enter` of src/running.rs, which the two
   functions call. */
ROUTINE(needm_on_g0)
        .fnstart
        .cfi_startproc
        push    {r4-r11, lr}
        .save   {r4-r11, lr}
        .cfi_def_cfa_offset 36
        .cfi_offset r4, -36
        .cfi_offset r5, -32
        .cfi_offset r6, -28
        .cfi_offset r7, -24
        .cfi_offset r8, -20
        .cfi_offset r9, -16
        .cfi_offset r10, -12
        .cfi_offset r11, -8
        .cfi_offset lr, -4
        add     r11, sp, #28
        .setfp  r11, sp, #28
        .cfi_def_cfa r11, 8
        /* The CFI has no rule for d8-d15, because they are as at the call: fn keeps them. */
        vpush   {d8-d15}
        .vsave  {d8-d15}
        sub     sp, sp, #4
        .pad    #4
        mov     r4, r2                          /* r4: out */
        mov     r5, r0                          /* r5: fn */
        mov     r6, r1                          /* r6: arg */
        ldr     ip, [r4]                        /* the segment */
        str     sp, [ip, #SEG_GSP]
        mov     sp, r3
        OTHER_STACK
        mov     r0, r4
        bl      needm_left_g
        mov     r0, r6
        blx     r5
.Lfrom_fn:
        mov     r0, r4
        bl      needm_back_to_g
        OTHER_STACK_END
        sub     sp, r11, #28
        mov     r0, #0
        ldr     ip, [r4]
        str     r0, [ip, #SEG_GSP]
        pop     {r4-r11, pc}

        /* The landing pad: something unwinds the stack, and fn's frames are gone. It goes on on the
           G. On the system stack; r0: the exception; r1: _Unwind_Resume; r4: out. */
.Lunwound:
        mov     r5, r0
        mov     r6, r1
        mov     r0, r4
        bl      needm_back_to_g
        sub     sp, r11, #(28 + 64 + 4)
        mov     r0, #0
        ldr     ip, [r4]
        str     r0, [ip, #SEG_GSP]
        mov     r0, r5
        blx     r6
        udf     #0
        .cfi_endproc
        LANDS_BY_EHABI
        LANDING(.Lunwound)
        SITE(.Lfrom_fn)
        LANDINGS_END
END(needm_on_g0)

/* fn needm_sp() -> usize (r0)

   The caller's stack pointer: arch/mod.rs. Clobbers nothing else. */
ROUTINE(needm_sp)
        .fnstart
        .cfi_startproc
        mov     r0, sp
        bx      lr
        .cfi_endproc
        .fnend
END(needm_sp)
