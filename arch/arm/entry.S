/* The way of a callback into the kernel and out again: arch/x86_64/entry.S, which
   has the full comments, for ARM.

   The Rust side is src/callback/ (`enter`, `on_g_prologue`; `ending`, `returned`, `exit`),
   by the symbols that `upcalls!` there defines.

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
                         <- CFA
        lr               (r11+4)
 r11 -> r11              (r11)
        r4-r10           (r11-28..-4)
        d8-d15           (r11-92..-32)
        fpscr            (r11-96, Call+24)    ...frames of outer callbacks
        OUT ARG INFO SIZE FRAME FN            copied frame, if any      <- sp
                         <- Call              fn's own frame

   The segment is elsewhere: its SEG_CALL points at Call.

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

        /* To .Lslow if what is asked for is not just fn(frame), or `other` is not 0; to
           `info` if there is one to be looked at. r0, r2, r3 as at the entry. */
        .macro  plain_or other, info
        cmp     r0, #0
        beq     .Lslow
        orrs    \other, \other, r2              /* bytes to copy? */
        bne     .Lslow
        cmp     r3, #0
        bne     \info
        .endm

        /* To .Lslow if the caller is a handler on the signal stack. Clobbers ip, lr. */
        .macro  off_signal_stack base, lo, len
        ldr     ip, [\base, #\lo]
        ldr     lr, [\base, #\len]
        sub     ip, sp, ip
        cmp     ip, lr
        blo     .Lslow
        .endm

        /* Begins the segment and goes to the G. r4: M; ip: the M's own segment, and
           M_RUNNING; r5: the gate's value; r6: the gate; sp: Call. The look afterwards:
           arch/x86_64/entry.S. Clobbers lr. */
        .macro  begin   again, closed, flags
        str     sp, [r4, #M_BASE+SEG_CALL]
        .ifnb   \flags
        mov     lr, #\flags
        str     lr, [r4, #M_BASE+SEG_FLAGS]
        .endif
        str     ip, [r4, #M_SEG]
        ldr     lr, [r4, #M_BASE+SEG_CALL]
        cmp     lr, sp
        bne     \again
        ldr     lr, [r6]                        /* after the store to M_SEG: src/world.rs */
        cmp     r5, lr
        bne     \closed
        ldr     sp, [r4, #M_TOP]
        mov     ip, r0
        mov     r0, r1
        .endm

/* fn needm_entry(fn (r0), frame (r1), size (r2), info (r3)) -> i32 (r0)

   Three ways in, as on x86_64: steady, again, slow. */
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
        ldr     r5, [ip, #TLS_BOUND_EPOCH]             /* r5: the pass, until the end */
        ldr     lr, [r6]
        cmp     r5, lr
        bne     .Lrebind
        ldr     r4, [ip, #TLS_M]                /* r4: the M, until the end */
        ldr     ip, [r4, #M_SEG]                /* in a callback? */
        plain_or ip, .Linfo
.Lplain:
        off_signal_stack r4, M_SIG_LO, M_SIG_LEN
        add     ip, r4, #(M_BASE+M_RUNNING)
.Lbegin:
        begin   .Lretry, .Lclosed
        OTHER_STACK
        blx     ip
        /* sp: the G's top; r4: M; r5: pass; r6: gate; r11: the caller's frame */
        ldr     r0, [r4, #M_NEEDS_CLEANUP]
        cmp     r0, #0
        bne     .Lcleanup
.Lexit_bound:
        sub     sp, r11, #FRAME_BYTES
        mov     r0, #0
        str     r0, [r4, #M_SEG]
        ldr     lr, [r6]
        cmp     r5, lr
        bne     .Lnotify
.Lout:
        restore_and_return

        /* An info that is too short is refused on the slow path. */
.Linfo:
        ldr     ip, [r3]
        cmp     ip, #INFO_BYTES
        bhs     .Lplain
        b       .Lslow

        /* The gate closed while this thread came in: step back, then wait as a
           slow caller. sp: Call. */
.Lclosed:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
        b       .Lslow

        /* sp: Call; r0-r3 as at the entry; ip: the M's own segment, and M_RUNNING */
.Lretry:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
        b       .Lbegin

        /* sp: the G's top; r4: M */
.Lcleanup:
        mov     r0, r4
        bl      needm_on_g_cleanup
        b       .Lexit_bound

        /* Somebody may be waiting for this thread to be out. sp: Call. */
.Lnotify:
        bl      needm_notify_stopper
        mov     r0, #0
        b       .Lout

        /* No M of its own. r0-r3 as at the entry; ip: this thread's block; lr: the
           gate's value now. r7: the thread's record, r8: the block, until the end. */
.Lrebind:
        ldr     r5, [ip, #TLS_REBIND_EPOCH]            /* r5: the gate's value, until the end */
        cmp     r5, lr
        bne     .Lslow
        mov     r8, ip
        ldr     r7, [r8, #TLS_THREAD]
        ldr     ip, [r8, #TLS_M]                /* in a callback? */
        ldr     lr, [r7, #THREAD_M]             /* or between two steps of taking one? */
        orr     ip, ip, lr
        plain_or ip, .Linfo_rebind
.Lplain_rebind:
        off_signal_stack r7, THREAD_SIG_LO, THREAD_SIG_LEN
        ldr     r4, [r7, #THREAD_LAST]          /* r4: the M, until the end */
        ldr     r9, [r7, #THREAD_CLAIM]         /* r9: its state then, until the end */
        /* Before it is taken, and again afterwards: arch/x86_64/entry.S. */
        str     r4, [r7, #THREAD_M]
        add     ip, r4, #M_STATE
1:      ldrex   lr, [ip]
        cmp     lr, #M_IDLE
        bne     .Lother_holder
        strex   lr, r9, [ip]
        cmp     lr, #0
        bne     1b
        dmb     ish                             /* what its last holder wrote */
        str     r4, [r7, #THREAD_M]
        ldr     lr, [r4, #M_THREAD]
        cmp     lr, r7
        bne     .Lreclaimed
.Lrebound:
        add     ip, r4, #(M_BASE+M_RUNNING)
        str     r4, [r8, #TLS_M]                /* published last */
.Lbegin_rebound:
        begin   .Lretry_rebound, .Lclosed_rebound, SEG_BOUND_HERE
        blx     ip
        /* sp: the G's top; r4: M; r5: the gate's value; r6: gate; r11: the caller's
           frame */
        ldr     r0, [r4, #M_NEEDS_CLEANUP]
        cmp     r0, #0
        bne     .Lcleanup_rebound
.Lexit_rebound:
        sub     sp, r11, #FRAME_BYTES
        mov     r0, #0
        str     r0, [r4, #M_SEG]
        ldr     lr, [r6]
        cmp     r5, lr
        bne     .Lnotify_rebound
.Lunbind:
        ldr     r0, [r4, #M_STATE]
        cmp     r0, r9                          /* still on the list? */
        bne     .Lunlisted
        mov     r0, #0
        str     r0, [r8, #TLS_M]                /* withdrawn first */
        mov     lr, #M_IDLE
        dmb     ish                             /* what its next holder reads */
        str     lr, [r4, #M_STATE]
        str     r0, [r7, #THREAD_M]
        ldr     lr, [r6, #GATE_WAITERS]         /* after the store to M_STATE: src/extra */
        cmp     lr, #0
        bne     .Lwake_waiter
.Ldone:
        restore_and_return

.Linfo_rebind:
        ldr     ip, [r3]
        cmp     ip, #INFO_BYTES
        bhs     .Lplain_rebind
        b       .Lslow

        /* Another thread has it. */
.Lother_holder:
        clrex
        mov     lr, #0
        str     lr, [r7, #THREAD_M]
        b       .Lslow

        /* Another thread has had it in between. */
.Lreclaimed:
        str     r7, [r4, #M_THREAD]
        ldr     lr, [r7, #THREAD_SIG_LO]
        str     lr, [r4, #M_SIG_LO]
        ldr     lr, [r7, #THREAD_SIG_LEN]
        str     lr, [r4, #M_SIG_LEN]
        b       .Lrebound

        /* sp: Call; r0-r3 as at the entry; ip: the M's own segment, and M_RUNNING */
.Lretry_rebound:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
        b       .Lbegin_rebound

        /* sp: Call; r0-r2 as at the entry, which the slow path wants. */
.Lclosed_rebound:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
        mov     r7, r0
        mov     r8, r1
        mov     r9, r2
        mov     r0, r4
        bl      needm_dropm
        mov     r0, r7
        mov     r1, r8
        mov     r2, r9
        b       .Lslow

        /* sp: the G's top; r4: M */
.Lcleanup_rebound:
        mov     r0, r4
        bl      needm_on_g_cleanup
        b       .Lexit_rebound

.Lnotify_rebound:
        bl      needm_notify_stopper
        b       .Lunbind

.Lunlisted:
        mov     r0, r4
        bl      needm_dropm
        mov     r0, #0
        b       .Ldone

.Lwake_waiter:
        bl      needm_wake
        mov     r0, #0
        b       .Ldone

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
        bl      needm_on_g_prologue
2:
        ldr     r0, [r5, #CALL_ARG]
        ldr     ip, [r5, #CALL_FN]
        blx     ip
        ldr     ip, [r4, #M_SEG]
        ldr     r0, [ip, #SEG_CALL-M_RUNNING]
        cmp     r0, r5                          /* C may have jumped out of others, back here */
        bne     2f
        ldr     ip, [ip, #SEG_DEFERS-M_RUNNING]
        cmp     ip, #0
        beq     3f
2:
        mov     r0, r5
        mov     r1, r4
        bl      needm_on_g_epilogue
3:
        OTHER_STACK_END
        ldr     ip, [r5, #CALL_OUT]
        tst     ip, #CALL_ON_G                /* Call is on the G, and fn's part below it: stay there */
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
