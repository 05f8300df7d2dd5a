/* From a G to the system stack. The Rust side is src/ccall.rs (`on_g0`).
   ARM code; fn may be Thumb. */
#include "asm.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame
        .fpu    vfpv3-d16

/* fn needm_on_g0(fn (r0), arg (r1), seg (r2), g0sp (r3))

   Calls fn(arg) on the system stack. All callee-saved registers are spilled on
   the G's stack first, so that who scans it from SEG_GSP up sees them: d8-d15 too,
   in which a compiler may keep a pointer (vldr, vmov).

        the G's stack                  the system stack
                       <- CFA          ...down to the caller's Call  <- r3
        lr                             fn
 r11 -> r11
        r4-r10
        d8-d15
        (padding)      <- SEG_GSP

   SEG_GSP is set while this thread still counts as running, and cleared when
   it does again: a stopper in between always finds the G's live range. What orders
   it is `world::leave` and `enter`, which fn calls first and last. */
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
        /* The CFI need not speak of d8-d15, because fn keeps them; nor of r4-r10,
           but r4 is used here, and one line is as good as another. */
        vpush   {d8-d15}
        .vsave  {d8-d15}
        sub     sp, sp, #4
        .pad    #4
        mov     r4, r2                          /* r4: the segment */
        mov     ip, r0
        mov     r0, r1
        str     sp, [r4, #SEG_GSP]
        mov     sp, r3
        OTHER_STACK
        blx     ip
        OTHER_STACK_END
        sub     sp, r11, #28
        mov     r0, #0
        str     r0, [r4, #SEG_GSP]
        pop     {r4-r11, pc}
        .cfi_endproc
        .fnend
END(needm_on_g0)

/* fn needm_sp() -> usize (r0): the caller's stack pointer. */
ROUTINE(needm_sp)
        .fnstart
        .cfi_startproc
        mov     r0, sp
        bx      lr
        .cfi_endproc
        .fnend
END(needm_sp)
