/* From a G to the system stack and back: the Rust side is src/callback/ccall.rs (`on_g0`);
   and the stack pointer. */
#include "asm.h"
#include "landing.h"

#define FRAME_BYTES     160                     /* x29, x30, x19-x28, d8-d15 */

/* fn needm_on_g0(fn (x0), arg (x1), seg (x2), g0sp (x3))

   Calls fn(arg) on the system stack. First spills all callee-saved registers on the G's
   stack, so that a scan of that stack from SEG_GSP up sees them: d8-d15, too,
   in which a compiler may keep a pointer (fmov, ldr). Clobbers what a call does.

        the G's stack                  the system stack
                       <- CFA          ...down to the caller's Call  <- x3
        d8-d15                         fn
        x19-x28
        x30
 x29 -> x29            <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared after it does again,
   so a stopper that finds the thread not running always finds the G's live range. The order
   for other processors comes from `leave` and `enter` of src/running.rs, which fn calls first
   and last. */
ROUTINE(needm_on_g0)
        .cfi_startproc
        LANDING_PAD
        stp     x29, x30, [sp, #-FRAME_BYTES]!
        .cfi_def_cfa_offset FRAME_BYTES
        .cfi_offset x29, -FRAME_BYTES
        .cfi_offset x30, 8-FRAME_BYTES
        mov     x29, sp
        .cfi_def_cfa_register x29
        stp     x19, x20, [sp, #16]
        .cfi_offset x19, 16-FRAME_BYTES
        /* The CFI has no rule for the others, because they are as at the call: fn keeps them. */
        stp     x21, x22, [sp, #32]
        stp     x23, x24, [sp, #48]
        stp     x25, x26, [sp, #64]
        stp     x27, x28, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x19, x2                         /* x19: the segment */
        mov     x9, x0
        mov     x0, x1
        str     x29, [x19, #SEG_GSP]
        mov     sp, x3
        OTHER_STACK
        blr     x9
        OTHER_STACK_END
        mov     sp, x29
        str     xzr, [x19, #SEG_GSP]
        ldr     x19, [sp, #16]
        .cfi_restore x19
        ldp     x29, x30, [sp], #FRAME_BYTES
        .cfi_def_cfa sp, 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
END(needm_on_g0)

/* fn needm_sp() -> usize (x0)

   The caller's stack pointer: arch/mod.rs. Clobbers nothing else. */
ROUTINE(needm_sp)
        .cfi_startproc
        LANDING_PAD
        mov     x0, sp
        ret
        .cfi_endproc
END(needm_sp)
