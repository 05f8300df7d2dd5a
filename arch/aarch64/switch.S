/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From a G to the system stack and back: the Rust side is src/callback/ccall.rs (`on_g0`);
   and the stack pointer. */
#include "asm.h"
#include "landing.h"

#define FRAME_BYTES     160                     /* x29, x30, x19-x28, d8-d15 */

/* fn needm_on_g0(fn (x0), arg (x1), out (x2), g0sp (x3))

   Calls fn(arg) on the system stack, between needm_left_g(out) and needm_back_to_g(out). The first
   word of out is the segment. First spills all callee-saved registers on the G's
   stack, so that a scan of that stack from SEG_GSP up sees them: d8-d15, too,
   in which a compiler may keep a pointer (fmov, ldr). Clobbers the caller-saved
   registers.

        the G's stack                  the system stack
                       <- CFA          ...down to the caller's Call  <- x3
        d8-d15                         fn
        x19-x28
        x30
 x29 -> x29            <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared after it does again,
   so a stopper that finds the thread not running always finds the G's live range. The order
   for other processors comes from `leave` and `enter` of src/running.rs, which the two
   functions call. */
ROUTINE(needm_on_g0)
        .cfi_startproc
        LANDS_BY(.Lsites)
        LANDING_PAD
        stp     x29, x30, [sp, #-FRAME_BYTES]!
        .cfi_def_cfa_offset FRAME_BYTES
        .cfi_offset x29, -FRAME_BYTES
        .cfi_offset x30, 8-FRAME_BYTES
        mov     x29, sp
        .cfi_def_cfa_register x29
        stp     x19, x20, [sp, #16]
        .cfi_offset x19, 16-FRAME_BYTES
        .cfi_offset x20, 24-FRAME_BYTES
        stp     x21, x22, [sp, #32]
        .cfi_offset x21, 32-FRAME_BYTES
        /* The CFI has no rule for the others, because they are as at the call: fn keeps them. */
        stp     x23, x24, [sp, #48]
        stp     x25, x26, [sp, #64]
        stp     x27, x28, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x19, x2                         /* x19: out */
        mov     x20, x0                         /* x20: fn */
        mov     x21, x1                         /* x21: arg */
        ldr     x9, [x19]                       /* the segment */
        str     x29, [x9, #SEG_GSP]
        mov     sp, x3
        OTHER_STACK
        mov     x0, x19
        bl      needm_left_g
        mov     x0, x21
        blr     x20
.Lfrom_fn:
        mov     x0, x19
        bl      needm_back_to_g
        OTHER_STACK_END
        mov     sp, x29
        ldr     x9, [x19]
        str     xzr, [x9, #SEG_GSP]
        .cfi_remember_state
        ldr     x21, [sp, #32]
        .cfi_restore x21
        ldp     x19, x20, [sp, #16]
        .cfi_restore x19
        .cfi_restore x20
        ldp     x29, x30, [sp], #FRAME_BYTES
        .cfi_def_cfa sp, 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_restore_state

        /* The landing pad: something unwinds the stack, and fn's frames are gone. It goes on on the
           G. On the system stack; x0: the exception; x1: _Unwind_Resume; x19: out. */
.Lunwound:
        UNWINDERS_PAD
        mov     x20, x0
        mov     x21, x1
        mov     x0, x19
        bl      needm_back_to_g
        mov     sp, x29
        ldr     x9, [x19]
        str     xzr, [x9, #SEG_GSP]
        mov     x0, x20
        blr     x21
        brk     #0
        .cfi_endproc
END(needm_on_g0)

SITES(.Lsites, .Lunwound)
        SITE(.Lfrom_fn)
SITES_END

/* fn needm_sp() -> usize (x0)

   The caller's stack pointer: arch/mod.rs. Clobbers nothing else. */
ROUTINE(needm_sp)
        .cfi_startproc
        LANDING_PAD
        mov     x0, sp
        ret
        .cfi_endproc
END(needm_sp)
