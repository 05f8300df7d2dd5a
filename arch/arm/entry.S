/* The way of a callback into the kernel and out again: arch/x86_64/entry.S, which
   has the full comments, for ARM.

   The Rust side is src/callback.rs (`enter`, `begun`, `exit`) and src/unwind.rs
   (`run_deferred`), by the symbols that `upcalls!` there defines.

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
                         <- CFA
        lr               (r11+4)
 r11 -> r11              (r11)
        r4-r10           (r11-28..-4)
        d8-d15           (r11-92..-32)
        fpscr            (r11-96, Call+24)    ...segments of outer callbacks
        OUT ARG INFO SIZE FRAME FN            Segment, if nested; its SEG_CALL
                         <- Call              points at Call
                                              copied frame, if any      <- sp
                                              fn's own frame

   r11 points into the caller's stack for as long as the callback runs, which
   keeps the CFI and the EHABI table below one plain rule on either stack, and the
   chain of frame records (r11, lr) whole. Two unwinders are served: debuggers read
   .debug_frame, the C library and C++ .ARM.exidx.

   All here is ARM code. fn and the caller may be Thumb: they are reached by blx,
   and by loading pc.

   # What orders memory here, where the processor does not
   Nothing: neither the way in nor the way out has a barrier. Each pair of accesses
   that must not pass each other is one of a pair with who stops the world, and that
   side pays for both with membarrier (src/world.rs), before it looks at M_SEG, after
   it has found all Ms at rest, and before it opens the gate again:
   - M_SEG before the gate is read, in and out: as on x86_64.
   - What fn has written and read, before M_SEG is 0. Whoever sees that 0 sees it of
     a store that has retired, and all before it with it; his next membarrier then
     completes them.
   - What fn reads, after the gate was found open. If it was read early, of before
     the gate was opened, then so was the gate, for the membarrier in between splits
     this thread's instructions in two at one place.
   Where there is no membarrier, all threads take the slow path (`needm::pass`). */
#include "asm.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame

#if !defined(__ARM_ARCH) || __ARM_ARCH < 7 || !defined(__ARM_FP)
#error "needm needs ARMv7 with VFP"
#endif
        .fpu    vfpv3-d16

#define CORE_BYTES   28                         /* r4-r10, below r11 */
#define CALL_FPSCR   CALL_BYTES
#define BELOW_BYTES  (CALL_BYTES + 4)           /* Call, fpscr */
#define FRAME_BYTES  (CORE_BYTES + 64 + BELOW_BYTES)

        /* r0: the result. d8-d15 are their caller's again: every way here keeps
           them, or has loaded them. */
        .macro  restore_and_return
        .cfi_remember_state
        .cfi_restore d8
        .cfi_restore d9
        .cfi_restore d10
        .cfi_restore d11
        .cfi_restore d12
        .cfi_restore d13
        .cfi_restore d14
        .cfi_restore d15
        sub     sp, r11, #CORE_BYTES
        pop     {r4-r11, pc}
        .cfi_restore_state
        .endm

/* fn needm_entry(fn (r0), frame (r1), size (r2), info (r3)) -> i32 (r0)

   Steady path: as on x86_64. */
ROUTINE(needm_entry)
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
        add     r11, sp, #CORE_BYTES
        .setfp  r11, sp, #CORE_BYTES
        .cfi_def_cfa r11, 8
        vpush   {d8-d15}
        .vsave  {d8-d15}
        .cfi_offset d8, -100
        .cfi_offset d9, -92
        .cfi_offset d10, -84
        .cfi_offset d11, -76
        .cfi_offset d12, -68
        .cfi_offset d13, -60
        .cfi_offset d14, -52
        .cfi_offset d15, -44
        vmrs    ip, fpscr
        sub     sp, sp, #BELOW_BYTES
        .pad    #BELOW_BYTES
        str     ip, [sp, #CALL_FPSCR]
        str     r3, [sp, #CALL_INFO]            /* the rest only on the slow path */

        ldr     ip, .Ltls
.Lpc_tls:
        ldr     ip, [pc, ip]
        mrc     p15, 0, lr, c13, c0, 3          /* TPIDRURO: the thread pointer */
        add     ip, lr, ip                      /* ip: this thread's block */
        ldr     r6, .Lgate
.Lpc_gate:
        add     r6, pc, r6                      /* r6: the gate, until the end */
        ldr     r5, [ip, #TLS_PASS]             /* r5: the pass, until the end */
        ldr     lr, [r6]
        cmp     r5, lr
        bne     .Lslow
        ldr     r4, [ip, #TLS_M]                /* r4: the M, until the end */
        cmp     r0, #0
        beq     .Lslow
        ldr     ip, [r4, #M_SEG]
        orrs    ip, ip, r2                      /* in a callback, or bytes to copy? */
        bne     .Lslow
        cmp     r3, #0
        beq     1f
        ldr     ip, [r3]
        cmp     ip, #INFO_BYTES
        blo     .Lslow
1:
        ldr     ip, [r4, #M_SIG_LO]
        ldr     lr, [r4, #M_SIG_LEN]
        sub     ip, sp, ip
        cmp     ip, lr                          /* a handler's, on the signal stack? */
        blo     .Lslow
        ldr     ip, [r4, #M_BEGIN]              /* the M's own segment, and RUNNING */
        /* A handler that calls back before M_SEG is set uses this segment too,
           and leaves its own call in it: hence the look afterwards. */
.Lbegin:
        str     sp, [r4, #M_BASE+SEG_CALL]
        str     ip, [r4, #M_SEG]
        ldr     lr, [r4, #M_BASE+SEG_CALL]
        cmp     lr, sp
        bne     .Lagain
        ldr     lr, [r6]                        /* after the store to M_SEG: src/world.rs */
        cmp     r5, lr
        bne     .Lclosed
        ldr     sp, [r4, #M_TOP]
        mov     ip, r0
        mov     r0, r1
        OTHER_STACK
        blx     ip
        /* sp: the G's top; r4: M; r5: pass; r6: gate; r11: the caller's frame */
        ldr     r0, [r4, #M_BASE+SEG_DEFERS]
        cmp     r0, #0
        bne     .Ldefers
.Lleave:
        sub     sp, r11, #FRAME_BYTES
        mov     r0, #0
        str     r0, [r4, #M_SEG]
        ldr     lr, [r6]
        cmp     r5, lr
        bne     .Lleft
.Lout:
        restore_and_return

        /* The gate closed while this thread came in: step back, then wait as a
           slow caller. sp: Call. */
.Lclosed:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
        b       .Lslow

        /* sp: Call; r0-r3 as at the entry; ip: the M's own segment, and RUNNING */
.Lagain:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
        b       .Lbegin

        /* sp: the G's top; r4: M */
.Ldefers:
        mov     r0, r4
        bl      needm_run_defers
        b       .Lleave

        /* Somebody may be waiting for this thread to be out. sp: Call. */
.Lleft:
        bl      needm_left
        mov     r0, #0
        b       .Lout

        /* sp: Call; r0-r2 as at the entry; r11: the caller's frame */
.Lslow:
        str     r2, [sp, #CALL_SIZE]
        str     r1, [sp, #CALL_FRAME]
        str     r0, [sp, #CALL_FN]
        mov     r5, sp                          /* r5: Call */
        mov     r0, sp
        bl      needm_enter                     /* -> the G's stack pointer, or 0 */
        cmp     r0, #0
        beq     .Lrefused
        ldr     r4, [r5, #CALL_OUT]
        mov     sp, r0
        tst     r4, #CALL_PENDING
        beq     2f
        bic     r4, r4, #CALL_PENDING
        mov     r0, r5
        bl      needm_begun
2:
        ldr     r0, [r5, #CALL_ARG]
        ldr     ip, [r5, #CALL_FN]
        blx     ip
        ldr     ip, [r4, #M_SEG]
        ldr     ip, [ip, #SEG_DEFERS-RUNNING]
        cmp     ip, #0
        beq     3f
        mov     r0, r4
        bl      needm_run_defers
3:
        OTHER_STACK_END
        ldr     ip, [r5, #CALL_OUT]
        tst     ip, #CALL_DIRECT                /* the segment is below Call: stay below it */
        moveq   sp, r5
        mov     r0, r5
        mov     r1, r4
        mov     r2, #0
        /* r0: Call; r1: M; r2: how it ended; r11: the caller's frame */
.Lexit:
        bl      needm_exit                      /* -> the caller's result */
        restore_and_return

        /* sp: Call */
.Lrefused:
        ldr     r0, [sp, #CALL_OUT]
        restore_and_return

/* fn needm_unwind(call (r0), m (r1), code (r2), sp (r3)) -> !

   Ends a callback from wherever it is: back on its caller's stack at sp, with d8-d15 and
   fpscr as at the entry, the same way out. */
        .globl  needm_unwind
        .hidden needm_unwind
        .type   needm_unwind, %function
needm_unwind:
        .cfi_def_cfa r0, FRAME_BYTES + 8
        add     r11, r0, #FRAME_BYTES
        .cfi_def_cfa r11, 8
        mov     sp, r3
        add     ip, r0, #BELOW_BYTES
        vldmia  ip, {d8-d15}
        ldr     ip, [r0, #CALL_FPSCR]
        vmsr    fpscr, ip
        b       .Lexit
        .cfi_endproc
        .fnend
        .p2align 2
.Ltls:
        .word   needm_tls(GOTTPOFF) + (. - .Lpc_tls - 8)
.Lgate:
        .word   needm_gate - (.Lpc_gate + 8)
END(needm_entry)
