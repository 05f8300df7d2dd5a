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
        OUT ARG INFO SIZE FRAME FN            copied frame, if any      <- sp
                         <- Call              fn's own frame

   The segment is elsewhere: its SEG_CALL points to Call.

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

        /* r0: the result. d8-d15 hold their caller's values: the fast paths leave them to fn,
           which keeps them, and needm_unwind has loaded them. */
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

        /* To .Lslow unless the caller asks for fn(frame) alone, outside callbacks: `other` must
           be 0. r0, r2, r3 as at the entry. Clobbers other. */
        .macro  check_call path, other
        cmp     r0, #0
        beq     .Lslow
        orrs    \other, \other, r2              /* bytes to copy? */
        bne     .Lslow
        cmp     r3, #0
        bne     .Linfo_\path
.Lplain_\path:
        .endm

        /* To .Lslow if the caller is a handler on the signal stack. Clobbers ip, lr. */
        .macro  check_stack base, lo, len
        ldr     ip, [\base, #\lo]
        ldr     lr, [\base, #\len]
        sub     ip, sp, ip
        cmp     ip, lr
        blo     .Lslow
        .endm

        /* Begins the segment and goes to the G. r4: M; ip: the M's own segment + M_RUNNING;
           r5: the gate's value; r6: the gate; sp: Call. Leaves fn in ip and frame in r0.
           Clobbers lr. The order: arch/x86_64/entry.S. */
        .macro  begin   path, flags
.Lbegin_\path:
        str     sp, [r4, #M_BASE+SEG_CALL]
        .ifnb   \flags
        mov     lr, #\flags
        str     lr, [r4, #M_BASE+SEG_FLAGS]
        .endif
        str     ip, [r4, #M_SEG]
        ldr     lr, [r4, #M_BASE+SEG_CALL]
        cmp     lr, sp
        bne     .Lretry_\path
        ldr     lr, [r6]
        cmp     r5, lr
        bne     .Lclosed_\path
        ldr     sp, [r4, #M_TOP]
        mov     ip, r0
        mov     r0, r1
        .endm

        /* fn has returned. sp: the G's top; r4: M; r5: the gate's value; r6: the gate; r11: the
           caller's frame. Leaves sp at Call, r0 0, and the segment ended. Clobbers lr. */
        .macro  finish  path
        ldr     r0, [r4, #M_NEEDS_CLEANUP]
        cmp     r0, #0
        bne     .Lcleanup_\path
.Lexit_\path:
        sub     sp, r11, #FRAME_BYTES
        mov     r0, #0
        str     r0, [r4, #M_SEG]
        ldr     lr, [r6]
        cmp     r5, lr
        bne     .Lnotify_\path
        .endm

        /* The detours of a fast path that both have alike. */
        .macro  detours path
        /* From check_call. The slow path refuses an info that is too short. */
.Linfo_\path:
        ldr     ip, [r3, #INFO_SIZE]
        cmp     ip, #INFO_BYTES
        bhs     .Lplain_\path
        b       .Lslow

        /* From begin: a handler has used the segment. Registers as there. */
.Lretry_\path:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
        b       .Lbegin_\path

        /* From finish, registers as there. */
.Lcleanup_\path:
        mov     r0, r4
        bl      needm_on_g_cleanup
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
        vmrs    ip, fpscr
        sub     sp, sp, #BELOW_BYTES
        .pad    #BELOW_BYTES
        str     ip, [sp, #CALL_FPSCR]
        str     r3, [sp, #CALL_INFO]            /* the slow path fills in the rest */

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
        check_stack r4, M_SIG_LO, M_SIG_LEN
        add     ip, r4, #(M_BASE+M_RUNNING)
        begin   bound
        OTHER_STACK
        blx     ip
        finish  bound
.Ldone:
        restore_and_return

        detours bound

        /* From begin: the gate closed on the way in. Steps back; the slow path waits.
           sp: Call; r0-r2 as at the entry. */
.Lclosed_bound:
        mov     lr, #0
        str     lr, [r4, #M_SEG]
        b       .Lslow

        /* From finish: a stopper may be waiting for this thread. sp: Call. */
.Lnotify_bound:
        bl      needm_notify_stopper
        mov     r0, #0
        b       .Ldone

        /* The rebind path. r0-r3 as at the entry; ip: this thread's block; lr: the gate's
           value now. r7: the thread's record, r8: the block, until the end. */
.Lrebind:
        ldr     r5, [ip, #TLS_REBIND_EPOCH]
        cmp     r5, lr                          /* r5: the gate's value, until the end */
        bne     .Lslow
        mov     r8, ip
        ldr     r7, [r8, #TLS_THREAD]
        ldr     ip, [r8, #TLS_M]                /* in a callback? */
        ldr     lr, [r7, #THREAD_M]             /* or between two steps of binding one? */
        orr     ip, ip, lr
        check_call rebind, ip
        check_stack r7, THREAD_SIG_LO, THREAD_SIG_LEN
        ldr     r4, [r7, #THREAD_LAST]          /* r4: the M, until the end */
        ldr     r9, [r7, #THREAD_CLAIM]         /* r9: its state while bound, until the end */
        /* Before the M is bound, and again afterwards: arch/x86_64/entry.S. */
        str     r4, [r7, #THREAD_M]
        add     ip, r4, #M_STATE
1:      ldrex   lr, [ip]
        cmp     lr, #M_IDLE
        bne     .Lother_holder
        strex   lr, r9, [ip]
        cmp     lr, #0
        bne     1b
        dmb     ish                             /* before what its last holder wrote is read */
        str     r4, [r7, #THREAD_M]
        ldr     lr, [r4, #M_THREAD]
        cmp     lr, r7
        bne     .Lreclaimed
.Lrebound:
        add     ip, r4, #(M_BASE+M_RUNNING)
        str     r4, [r8, #TLS_M]                /* published last */
        begin   rebind, SEG_BOUND_HERE
        blx     ip
        finish  rebind
.Lunbind:
        ldr     r0, [r4, #M_STATE]
        cmp     r0, r9                          /* still on the list? */
        bne     .Lunlisted
        mov     r0, #0
        str     r0, [r8, #TLS_M]                /* withdrawn first */
        mov     lr, #M_IDLE
        dmb     ish                             /* after what its next holder reads is written */
        str     lr, [r4, #M_STATE]
        str     r0, [r7, #THREAD_M]
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. */
        ldr     lr, [r6, #GATE_WAITERS]
        cmp     lr, #0
        bne     .Lwake_waiter
        restore_and_return

        detours rebind

        /* The M is bound to another thread, or not on the list. */
.Lother_holder:
        clrex
        mov     lr, #0
        str     lr, [r7, #THREAD_M]
        b       .Lslow

        /* Another thread had the M in between: what the M notes of its thread is that one's. */
.Lreclaimed:
        str     r7, [r4, #M_THREAD]
        ldr     lr, [r7, #THREAD_SIG_LO]
        str     lr, [r4, #M_SIG_LO]
        ldr     lr, [r7, #THREAD_SIG_LEN]
        str     lr, [r4, #M_SIG_LEN]
        b       .Lrebound

        /* As .Lclosed_bound, and unbinds the M. */
.Lclosed_rebind:
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

        /* As .Lnotify_bound. */
.Lnotify_rebind:
        bl      needm_notify_stopper
        b       .Lunbind

        /* The M was popped from the list while it was bound: a store would lose it. */
.Lunlisted:
        mov     r0, r4
        bl      needm_dropm
        mov     r0, #0
        b       .Ldone

.Lwake_waiter:
        bl      needm_wake
        mov     r0, #0
        b       .Ldone

        /* The slow path. sp: Call; r0-r2 as at the entry; r11: the caller's frame. */
.Lslow:
        str     r2, [sp, #CALL_SIZE]
        str     r1, [sp, #CALL_FRAME]
        str     r0, [sp, #CALL_FN]
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
        ldr     ip, [r4, #M_SEG]
        ldr     r0, [ip, #SEG_CALL-M_RUNNING]
        cmp     r0, r5                          /* or did C jump from an inner callback to here? */
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
        tst     ip, #CALL_ON_G                  /* Call on the G, above fn's part: stay below */
        moveq   sp, r5
        mov     r0, r5
        mov     r1, r4
        mov     r2, #0
        /* r0: Call; r1: M; r2: how it ended; r11: the caller's frame. */
.Lexit:
        bl      needm_exit                      /* -> the caller's result */
        restore_and_return

        /* sp: Call. */
.Lrefused:
        ldr     r0, [sp, #CALL_OUT]
        restore_and_return

/* fn needm_unwind(call (r0), m (r1), code (r2), sp (r3)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack at sp, with d8-d15 and fpscr as at the entry. Called by src/callback/panic.rs. Until
   r11 is the entry's again, the CFI finds the frame by call. */
INNER_ROUTINE(needm_unwind)
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
