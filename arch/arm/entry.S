/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A callback, from the C caller to the G and back, for ARM: arch/x86_64/entry.S has the full
   comments and the names of the Rust side.

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
                         <- CFA
        lr               (r11+4)
 r11 -> r11              (r11)
        r4-r10           (r11-28..-4)
        d8-d15           (r11-92..-32)
        fpscr            (r11-96, Call+24)    ...frames of outer callbacks
        OUT ARG SIZE FRAME FN INFO            copied frame, if any      <- sp
                         <- Call              fn's own frame

   The segment is elsewhere: its SEG_CALL, or M_SEG itself, points to Call.

   r11 points to the caller's stack while the callback runs. So the CFI and the EHABI table
   below are one plain rule on either stack, and the chain of frame records (r11, lr) has no
   gap. Two kinds of unwinders are served: debuggers read .debug_frame, the C library and C++
   read .ARM.exidx.

   All here is ARM code. fn and the caller may be Thumb code: they are reached by blx, and by
   loading pc.

   # What orders memory here, where the processor does not
   Nothing does: there is no barrier on the way in, nor on the way out. Wherever two accesses
   must keep their order, a stopper of the world is on the other side, and pays for both sides
   with membarrier (src/barrier.rs): before it reads M_SEG, after it has found that no M runs,
   and before it opens the gate again.
   - The store to M_SEG comes before the load of the gate, in and out: as on x86_64.
   - What fn writes and reads comes before the store of 0 to M_SEG. If a stopper sees that 0, the
     store has retired, and so has everything before it; the stopper's next membarrier then
     completes it all.
   - What fn reads comes after the load that found the gate open. A read of fn's that came early,
     before the gate was opened, would mean that the gate was read before that, too, because the
     membarrier in between splits this thread's instructions in two at one place.
   Without membarrier all threads take the slow path (`fast_path_allowed` in src/needm.rs). */
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

        /* d8-d15 hold their caller's values, and sp moves over where they are saved: the fast paths
           leave them to fn, which keeps them, and needm_unwind has loaded them. */
        .macro  leave_vectors
        .irp    n, 8, 9, 10, 11, 12, 13, 14, 15
        .cfi_restore d\n
        .endr
        sub     sp, r11, #CORE_BYTES
        .endm

        /* r0: the result. */
        .macro  restore_and_return
        .cfi_remember_state
        leave_vectors
        pop     {r4-r11, pc}
        .cfi_restore_state
        .endm

        /* To .Lslow unless the caller asks for fn(frame) alone, outside callbacks: `other` must
           be 0. r0, r2, r3 as at the entry; the carry flag is set, by a comparison of equals. It
           is clear afterwards if r0 is not 0 and all else is: the subtraction takes place in that
           case only. Clobbers other, lr. */
        .macro  check_call path, other
        orr     \other, \other, r2              /* bytes to copy? */
        orrs    lr, \other, r3                  /* an info? */
        rsbseq  lr, r0, #0                      /* no function? */
        bcs     .Lspecial_\path
.Lplain_\path:
        .endm

        /* To .Lslow unless the caller is where no handler on a signal stack is. `lo`: where its address is,
           and next to it its size. Clobbers r8, r9. */
        .macro  check_stack base, lo
        ldrd    r8, r9, [\base, #\lo]
        sub     r8, sp, r8
        cmp     r8, r9
        bhs     .Lslow
        .endm

        /* Floating-point control, if the gate's value in r5 asks for it. Clobbers ip. */
        .macro  save_control path
        tst     r5, #GATE_LEAVES_FP
        bne     .Lbegin_\path
        vmrs    ip, fpscr
        str     ip, [sp, #CALL_FPSCR]
        .endm

        /* Begins the segment and goes to the G. r4: M; `seg`: Call and its bits, for M_SEG; r5: the
           gate's value; r6: the gate. Leaves fn in ip and frame in r0. Clobbers lr. The order:
           arch/x86_64/entry.S. */
        .macro  begin   path, seg
.Lbegin_\path:
        str     r4, [sp, #CALL_SIZE]            /* says that this frame waits for a callback */
        str     \seg, [r4, #M_SEG]
        ldr     lr, [r6]
        cmp     r5, lr
        bne     .Lclosed_\path
        ldr     sp, [r4, #M_TOP]
        mov     ip, r0
        mov     r0, r1
        .endm

        /* fn has returned. sp: the G's top; r4: M; r5: the gate's value; r6: the gate; r11: the
           caller's frame. Leaves sp below r4 to r10, r0 0, and the segment ended. Clobbers lr. */
        .macro  finish  path
        ldr     r0, [r4, #M_NEEDS_CLEANUP]
        cmp     r0, #0
        bne     .Lcleanup_\path
.Lexit_\path:
        leave_vectors
        str     r0, [r4, #M_SEG]                /* 0 */
        ldr     lr, [r6]
        cmp     r5, lr
        bne     .Lnotify_\path
        .endm

        /* The detours of a fast path that both have alike. */
        .macro  detours path
        /* From check_call: an info alone does no harm. The slow path refuses one that is too
           short. */
.Lspecial_\path:
        cmp     r0, #0
        cmpne   r3, #0                          /* then it is `other` that is not 0 */
        beq     .Lslow
        cmp     ip, #0
        bne     .Lslow
        ldr     ip, [r3, #INFO_SIZE]
        cmp     ip, #INFO_BYTES
        bhs     .Lplain_\path
        b       .Lslow

        /* From finish, registers as there. */
.Lcleanup_\path:
        mov     r0, r4
        bl      needm_on_g_cleanup
.Lfrom_cleanup_\path:
        mov     r0, #0
        b       .Lexit_\path
        .endm

/* fn needm_entry(fn (r0), frame (r1), size (r2), info (r3)) -> i32 (r0)

   Runs fn(frame) on a G. Keeps what the ABI says a function keeps; fpscr is as fn leaves it.
   Three paths, as on x86_64: bound, rebind, slow. */
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
        .if     CALL_INFO != 0
        .error  "src/layout.rs: CALL_INFO must be first here"
        .endif
        str     r3, [sp, #-BELOW_BYTES]!        /* CALL_INFO; the slow path fills in the rest */
        .pad    #BELOW_BYTES

        ldr     ip, .Ltls
.Lpc_tls:
        ldr     ip, [pc, ip]
        mrc     p15, 0, lr, c13, c0, 3          /* TPIDRURO: the thread pointer */
        add     ip, lr, ip                      /* ip: this thread's block */
        ldr     r6, .Lgate
.Lpc_gate:
        add     r6, pc, r6                      /* r6: the gate, until the end */
        ldr     r5, [ip, #TLS_BOUND_EPOCH]
        ldr     lr, [r6]
        cmp     r5, lr                          /* r5: the gate's value, until the end */
        bne     .Lrebind

        /* The bound path. */
        ldr     r4, [ip, #TLS_M]                /* r4: the M, until the end */
        ldr     ip, [r4, #M_SEG]                /* in a callback? */
        check_call bound, ip
        check_stack r4, M_KNOWN_LO
        save_control bound
        begin   bound, sp
        OTHER_STACK
        blx     ip
.Lfrom_bound:
        .cfi_remember_state
        finish  bound
        pop     {r4-r11, pc}

        /* From finish: a stopper may be waiting for this thread. */
.Lnotify_bound:
        sub     sp, r11, #FRAME_BYTES           /* what the CFI says of d8-d15 stays */
        bl      needm_notify_stopper
        mov     r0, #0
        leave_vectors
        pop     {r4-r11, pc}
        .cfi_restore_state

        detours bound

        /* From begin: the gate closed on the way in. Steps back; the slow path waits.
           sp: Call; r0-r2 as at the entry. */
.Lclosed_bound:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
        b       .Lslow

        /* The rebind path. r0-r3 as at the entry; ip: this thread's block; lr: the gate's
           value now. r7: the thread's record, r10: the block, until the end. */
.Lrebind:
        ldr     r5, [ip, #TLS_REBIND_EPOCH]
        cmp     r5, lr                          /* r5: the gate's value, until the end */
        bne     .Lslow
        mov     r10, ip
        ldr     r7, [r10, #TLS_THREAD]
        ldr     ip, [r10, #TLS_M]               /* in a callback? */
        check_call rebind, ip
        check_stack r7, THREAD_KNOWN_LO
        ldr     r4, [r7, #THREAD_LAST]          /* r4: the M, until the end */
        ldr     ip, [r7, #THREAD_M]             /* as in arch/x86_64/entry.S */
        cmp     ip, r4
        bne     .Lslow
        ldr     r9, [r7, #THREAD_CLAIM]         /* r9: its state while bound, until the end */
        add     ip, r4, #M_STATE
1:      ldrex   lr, [ip]
        cmp     lr, #M_IDLE
        bne     .Lother_holder
        strex   lr, r9, [ip]
        cmp     lr, #0
        bne     1b
        dmb     ish                             /* before what its last holder wrote is read */
        ldr     lr, [r4, #M_THREAD]
        cmp     lr, r7
        bne     .Lreclaimed
.Lrebound:
        str     r4, [r10, #TLS_M]               /* published last */
        ldr     lr, [r7, #THREAD_M]             /* or has a handler left an M bound? */
        cmp     lr, r4
        bne     .Lother_bound
        add     r8, sp, #M_BOUND_HERE
        save_control rebind
        begin   rebind, r8
        blx     ip
.Lfrom_rebind:
        .cfi_remember_state
        finish  rebind
.Lunbind:
        ldr     r0, [r4, #M_STATE]
        cmp     r0, r9                          /* still on the list? */
        bne     .Lunlisted
        mov     r0, #0
        str     r0, [r10, #TLS_M]               /* withdrawn first */
        ldr     lr, [r4, #M_SEG]                /* has a handler left a callback on it? */
        cmp     lr, #0
        bne     .Lunlisted
        mov     lr, #M_IDLE
        dmb     ish                             /* after what its next holder reads is written */
        str     lr, [r4, #M_STATE]
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. */
        ldr     lr, [r6, #GATE_WAITERS]
        cmp     lr, #0
        bne     .Lwake_waiter
.Ldone:
        leave_vectors
        pop     {r4-r11, pc}

        /* As .Lnotify_bound. */
.Lnotify_rebind:
        sub     sp, r11, #FRAME_BYTES
        bl      needm_notify_stopper
        b       .Lunbind

        /* The M was popped from the list while it was bound: a store would lose it. Or a callback is to be
           dropped. */
.Lunlisted:
        sub     sp, r11, #FRAME_BYTES
        mov     r0, r4
        bl      needm_dropm
        mov     r0, #0
        b       .Ldone

.Lwake_waiter:
        sub     sp, r11, #FRAME_BYTES
        bl      needm_wake
        mov     r0, #0
        b       .Ldone
        .cfi_restore_state

        detours rebind

        /* The M is bound to another thread, or not on the list. */
.Lother_holder:
        clrex
        b       .Lslow

        /* Another thread had the M in between: M_THREAD and M_KNOWN_* describe that one. Sets them. */
.Lreclaimed:
        str     r7, [r4, #M_THREAD]
        ldr     lr, [r7, #THREAD_KNOWN_LO]
        str     lr, [r4, #M_KNOWN_LO]
        ldr     lr, [r7, #THREAD_KNOWN_LEN]
        str     lr, [r4, #M_KNOWN_LEN]
        b       .Lrebound

        /* As .Lclosed_bound, and unbinds the M. */
.Lclosed_rebind:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
.Lother_bound:
        /* Unpublishes the M, and gives it back. */
        mov     r7, r0
        mov     r8, r1
        mov     r9, r2
        mov     r0, r4
        bl      needm_dropm
        mov     r0, r7
        mov     r1, r8
        mov     r2, r9
        b       .Lslow

        /* The slow path. sp: Call; r0-r2 as at the entry; r11: the caller's frame. */
.Lslow:
        str     r2, [sp, #CALL_SIZE]
        str     r1, [sp, #CALL_FRAME]
        str     r0, [sp, #CALL_FN]
        vmrs    ip, fpscr                       /* not by the gate: needm may be stopped and */
        str     ip, [sp, #CALL_FPSCR]           /* started again while this waits */
        mov     r5, sp                          /* r5: Call, until the end */
        mov     r0, sp
        bl      needm_enter                     /* -> the G's stack pointer, or 0 */
        cmp     r0, #0
        beq     .Lrefused
        ldr     r4, [r5, #CALL_OUT]             /* r4: M, plus bits of CALL_PENDING */
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
.Lfrom_slow:
        ldr     ip, [r4, #M_SEG]
        ldr     r0, [ip, #SEG_CALL-M_SEGMENT]
        cmp     r0, r5                          /* or did C jump from an inner callback to here? */
        bne     2f
        ldr     ip, [ip, #SEG_DEFERS-M_SEGMENT]
        cmp     ip, #0
        beq     3f
2:
        mov     r0, r5
        mov     r1, r4
        bl      needm_on_g_epilogue
.Lfrom_epilogue:
3:
        OTHER_STACK_END
        ldr     ip, [r5, #CALL_OUT]
        tst     ip, #CALL_ON_G                  /* Call on the G, above fn's part: stay below */
        moveq   sp, r5
        mov     r0, r5
        mov     r1, r4
        mov     r2, #0
        /* r0: Call; r1: M; r2: how it ended; r11: the caller's frame. */
.Lexit:
        bl      needm_exit                      /* -> the caller's result */
        cmp     r0, #CALL_UNWOUND
        beq     .Lresume
        restore_and_return

        /* sp: Call. */
.Lrefused:
        ldr     r0, [sp, #CALL_OUT]
        restore_and_return

        /* The landing pad. On the G; r0: the exception; r1: _Unwind_Resume; r11: the caller's
           frame. */
.Lunwound:
        mov     r2, r1
        mov     r1, r0
        sub     r0, r11, #FRAME_BYTES
        bl      needm_unwound
        mov     sp, r0
        /* r11: the caller's frame. */
.Lresume:
        sub     ip, r11, #FRAME_BYTES
        ldr     r0, [ip, #CALL_FN]
        ldr     ip, [ip, #CALL_OUT]
        blx     ip
        udf     #0

/* fn needm_unwind(call (r0), m (r1), code (r2), sp (r3)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack at sp, with d8-d15 as at the entry, and fpscr too, unless the gate says that it is left
   alone. Called by src/callback/panic.rs. Until r11 is the entry's again, the CFI finds the frame
   by call. */
INNER_ROUTINE(needm_unwind)
        .cfi_def_cfa r0, FRAME_BYTES + 8
        add     r11, r0, #FRAME_BYTES
        .cfi_def_cfa r11, 8
        mov     sp, r3
        add     ip, r0, #BELOW_BYTES
        vldmia  ip, {d8-d15}
        ldr     ip, .Lgate_to_unwind
.Lpc_gate_to_unwind:
        ldr     ip, [pc, ip]
        tst     ip, #GATE_LEAVES_FP
        ldreq   ip, [r0, #CALL_FPSCR]
        vmsreq  fpscr, ip
        b       .Lexit
        .cfi_endproc
        LANDS_BY_EHABI
        LANDING(.Lunwound)
        SITE(.Lfrom_bound)
        SITE(.Lfrom_rebind)
        SITE(.Lfrom_slow)
        SITE(.Lfrom_cleanup_bound)
        SITE(.Lfrom_cleanup_rebind)
        SITE(.Lfrom_epilogue)
        LANDINGS_END
        .p2align 2
.Ltls:
        .word   needm_tls(GOTTPOFF) + (. - .Lpc_tls - 8)
.Lgate:
        .word   needm_gate - (.Lpc_gate + 8)
.Lgate_to_unwind:
        .word   needm_gate - (.Lpc_gate_to_unwind + 8)
PLACE(needm_entry_end)
END(needm_entry)
