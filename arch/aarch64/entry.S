/* A callback, in and out: arch/x86_64/entry.S, which has the full comments, for AArch64.

   The Rust side is src/callback/ (`enter`, `on_g_prologue`; `on_g_epilogue`, `on_g_cleanup`,
   `exit`), by the symbols that `upcalls!` there defines.

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
                         <- CFA (x29+160)
        d8-d15           (x29+96..+152)
        x19-x28          (x29+16..+88)
        x30              (x29+8)
 x29 -> x29              (x29)
        fpcr fpsr        (x29-16, Call+48)    ...frames of outer callbacks
        OUT ARG INFO SIZE FRAME FN            copied frame, if any      <- sp
                         <- Call (x29-64)     fn's own frame

   The segment is elsewhere: its SEG_CALL points at Call.

   x29 points into the caller's stack for as long as the callback runs, which keeps the CFI
   below one plain rule on either stack, and the chain of frame records (x29, x30) whole. The
   saved registers are above it, so that a fast path puts the stack pointer there first, and
   then has all that it loads above the stack pointer.

   # What orders memory here
   - Bound, in. M_SEG is stored, then the gate is read; the stopper stores the gate, then reads
     M_SEG. The processor may read the gate before others see the store. The stopper pays for
     both sides with membarrier (src/barrier.rs). A store-release would order the two here
     (an LDAR waits for every STLR before it), but then each callback waits until its store
     has left the processor.
   - The gate is read by LDAR: what fn reads comes after. Otherwise fn could use a value read
     before the world was started again.
   - Bound, out. M_SEG becomes 0 by STLR: what fn has read and written comes before. Otherwise
     a collector that sees the 0 could miss a pointer that fn has stored, or change an object
     that fn still reads. The gate is read afterwards by a plain load: again the stopper's
     membarrier orders the two.
   - Rebinding. The compare-and-swap of M_STATE acquires: the M is used after its last holder's
     stores to it. It releases too: a thread that sees the claim, and finds the record of the
     thread that made it, finds THREAD_M there.
   - Unbinding. M_STATE becomes M_IDLE by STLR: the next holder sees this one's stores to the M.
     The look at the waiters comes after, ordered by the waiter's membarrier (src/needm.rs).
   SEG_CALL, TLS_M and THREAD_M are otherwise read by this thread, its handlers, and threads
   that have learnt of its end from the system: the order in the program is enough.
   Without membarrier all threads take the slow path (`needm::bound_epoch_for`). */
#include "asm.h"
#include "landing.h"

#define SAVED_BYTES  160                        /* x29, x30, x19-x28, d8-d15 */
#define CALL_CONTROL CALL_BYTES                 /* fpcr, fpsr */
#define BELOW_BYTES  (CALL_BYTES + 16)          /* Call, fpcr, fpsr: below x29 */

/* What one instruction loads or stores as a pair, or without an offset. */
        .macro  adjacent first, second
        .if     (\second) != (\first) + 8
        .error  "\first and \second are not adjacent: this file loads them as a pair"
        .endif
        .endm
        adjacent TLS_M, TLS_BOUND_EPOCH
        adjacent M_SEG, M_TOP
        adjacent M_SIG_LO, M_SIG_LEN
        adjacent THREAD_SIG_LO, THREAD_SIG_LEN
        adjacent CALL_FN, CALL_FRAME
        adjacent CALL_SIZE, CALL_INFO
        .if     M_SEG != 0 || GATE_VALUE != 0 || CALL_FN != 0
        .error  "M_SEG, GATE_VALUE and CALL_FN have no offset in this file"
        .endif

        /* w0: the result; sp: x29; x19-x28 and d8-d15 are the caller's again: every path
           here keeps them, or has loaded them. */
        .macro  return
        .cfi_remember_state
        .irp    n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28
        .cfi_restore x\n
        .endr
        .irp    n, 8, 9, 10, 11, 12, 13, 14, 15
        .cfi_restore d\n
        .endr
        ldp     x29, x30, [sp], #SAVED_BYTES
        .cfi_def_cfa sp, 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_restore_state
        .endm

        /* To .Lslow if what is asked for is not just fn(frame), or `other` is not 0; to
           `info` if there is one to be looked at. x0, x2, x3 as at the entry. */
        .macro  plain_or other, info
        cbz     x0, .Lslow
        orr     \other, \other, x2              /* bytes to copy? */
        cbnz    \other, .Lslow
        cbnz    x3, \info
        .endm

        /* To .Lslow if the caller is a handler on the signal stack. Clobbers x14, x15. */
        .macro  off_signal_stack base, lo
        ldp     x14, x15, [\base, #\lo]
        sub     x14, sp, x14
        cmp     x14, x15
        b.lo    .Lslow
        .endm

        /* Begins the segment and goes to the G. x19: M; x20: the gate; w21: its value; x11:
           the M's own segment, and M_RUNNING; x13: the G's top; sp: Call. To `not_begun` if
           a handler has used the segment meanwhile (x14, what SEG_CALL is then, is not x12,
           what it should be) or the gate has closed. Clobbers x12, x14, x15. */
        .macro  begin   not_begun, flags
        mov     x12, sp
        str     x12, [x19, #M_BASE+SEG_CALL]
        .ifnb   \flags
        mov     x14, #\flags
        str     x14, [x19, #M_BASE+SEG_FLAGS]
        .endif
        str     x11, [x19]                      /* M_SEG */
        ldr     x14, [x19, #M_BASE+SEG_CALL]
        ldar    w15, [x20]                      /* after the store to M_SEG: src/barrier.rs */
        cmp     x14, x12
        ccmp    w15, w21, #0, eq
        b.ne    \not_begun
        mov     sp, x13
        mov     x10, x0
        mov     x0, x1
        .endm

/* fn needm_entry(fn (x0), frame (x1), size (x2), info (x3)) -> i32 (w0)

   Three ways in, as on x86_64: bound, rebind, slow. */
ROUTINE(needm_entry)
        .cfi_startproc
        LANDING_PAD
        stp     x29, x30, [sp, #-SAVED_BYTES]!
        .cfi_def_cfa_offset SAVED_BYTES
        .cfi_offset x29, -SAVED_BYTES
        .cfi_offset x30, 8-SAVED_BYTES
        mov     x29, sp
        .cfi_def_cfa_register x29
        .macro  save    register, next, at
        stp     \register, \next, [sp, #\at]
        .cfi_offset \register, \at-SAVED_BYTES
        .cfi_offset \next, \at+8-SAVED_BYTES
        .endm
        save    x19, x20, 16
        save    x21, x22, 32
        save    x23, x24, 48
        save    x25, x26, 64
        save    x27, x28, 80
        save    d8, d9, 96
        save    d10, d11, 112
        save    d12, d13, 128
        save    d14, d15, 144
        mrs     x9, fpcr
        mrs     x10, fpsr
        stp     x0, x1, [sp, #-BELOW_BYTES]!    /* CALL_FN, CALL_FRAME: sp is Call */
        stp     x2, x3, [sp, #CALL_SIZE]
        stp     x9, x10, [sp, #CALL_CONTROL]

        adrp    x9, :gottprel:needm_tls
        ldr     x9, [x9, #:gottprel_lo12:needm_tls]
        mrs     x22, tpidr_el0
        add     x22, x22, x9                    /* x22: this thread's block, until the end */
        adrp    x20, needm_gate
        add     x20, x20, #:lo12:needm_gate     /* x20: the gate, until the end */
        ldp     x19, x21, [x22, #TLS_M]         /* x19: the M, w21: its epoch, until the end */
        ldr     w10, [x20]
        cmp     w21, w10
        b.ne    .Lrebind
        ldp     x10, x13, [x19]                 /* M_SEG: in a callback? M_TOP */
        plain_or x10, .Linfo
.Lplain:
        off_signal_stack x19, M_SIG_LO
        add     x11, x19, #M_BASE+M_RUNNING
.Lbegin:
        begin   .Lnot_begun
        OTHER_STACK
        blr     x10
        /* sp: the G's top; x19: M; x20: gate; w21: epoch; x29: the caller's frame */
        ldr     x10, [x19, #M_NEEDS_CLEANUP]
        cbnz    x10, .Lcleanup
.Lexit_bound:
        mov     sp, x29
        stlr    xzr, [x19]                      /* M_SEG */
        ldr     w10, [x20]
        sub     w0, w21, w10                    /* 0 is the result, too */
        cbnz    w0, .Lnotify
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        return

        /* An info that is too short is refused on the slow path. */
.Linfo:
        ldr     x10, [x3]
        cmp     x10, #INFO_BYTES
        b.hs    .Lplain
        b       .Lslow

        /* A handler has used the segment meanwhile (x14 is not x12): once more. Or the gate
           has closed: step back, then wait as a slow caller. x0-x3, sp, x11, x13, x19-x21 as
           before `begin`. */
.Lnot_begun:
        str     xzr, [x19]
        cmp     x14, x12
        b.ne    .Lbegin
        b       .Lslow

        /* sp: the G's top; x19: M */
.Lcleanup:
        mov     x0, x19
        bl      needm_on_g_cleanup
        b       .Lexit_bound

        /* A stopper may be waiting for this thread to be out. sp: x29. */
.Lnotify:
        bl      needm_notify_stopper
        mov     w0, #0
        /* w0: the result; x29: the caller's frame. All ways out but the bound one. */
.Lrestore:
        mov     sp, x29
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        return

        /* No M of its own. x0-x3 as at the entry; x20: the gate; x22: the block; w10: the
           gate's value now; sp: Call. x23: the thread's record, w24: the claim, until the
           end. */
.Lrebind:
        ldr     w21, [x22, #TLS_REBIND_EPOCH]   /* w21: the gate's value, until the end */
        cmp     w21, w10
        b.ne    .Lslow
        ldr     x23, [x22, #TLS_THREAD]
        ldr     x10, [x22, #TLS_M]              /* in a callback? */
        ldr     x11, [x23, #THREAD_M]           /* or between two steps of binding one? */
        orr     x10, x10, x11
        plain_or x10, .Linfo_rebind
.Lplain_rebind:
        off_signal_stack x23, THREAD_SIG_LO
        ldr     x19, [x23, #THREAD_LAST]        /* x19: the M, until the end */
        ldr     w24, [x23, #THREAD_CLAIM]
        add     x11, x19, #M_STATE
        /* Before it is bound, and again afterwards: arch/x86_64/entry.S. */
        str     x19, [x23, #THREAD_M]
#ifdef __ARM_FEATURE_ATOMICS
        mov     w12, #M_IDLE
        casal   w12, w24, [x11]
        cmp     w12, #M_IDLE
        b.ne    .Lother_holder
#else
        /* The instruction that does all of this at once is ARMv8.1's. To find out at run time
           whether the processor has it takes a load and a branch more than the loop does. */
1:      ldaxr   w12, [x11]
        cmp     w12, #M_IDLE
        b.ne    .Lother_holder
        stlxr   w12, w24, [x11]
        cbnz    w12, 1b
#endif
        str     x19, [x23, #THREAD_M]
        ldr     x10, [x19, #M_THREAD]
        cmp     x10, x23
        b.ne    .Lreclaimed
.Lrebound:
        ldr     x13, [x19, #M_TOP]
        add     x11, x19, #M_BASE+M_RUNNING
        str     x19, [x22, #TLS_M]              /* published last */
.Lbegin_rebound:
        begin   .Lnot_begun_rebound, SEG_BOUND_HERE
        blr     x10
        /* sp: the G's top; x19: M; x20: gate; w21: its value; x22: block; x23: record; w24:
           claim; x29: the caller's frame */
        ldr     x10, [x19, #M_NEEDS_CLEANUP]
        cbnz    x10, .Lcleanup_rebound
.Lexit_rebound:
        mov     sp, x29
        stlr    xzr, [x19]                      /* M_SEG */
        ldr     w10, [x20]
        cmp     w21, w10
        b.ne    .Lnotify_rebound
.Lunbind:
        add     x11, x19, #M_STATE
        ldr     w10, [x11]
        cmp     w10, w24                        /* still on the list? */
        b.ne    .Lunlisted
        str     xzr, [x22, #TLS_M]              /* withdrawn first */
        mov     w10, #M_IDLE
        stlr    w10, [x11]                      /* what its next holder reads */
        str     xzr, [x23, #THREAD_M]
        ldr     w10, [x20, #GATE_WAITERS]       /* after the store to M_STATE: src/needm.rs */
        cbnz    w10, .Lwake_waiter
.Ldone:
        mov     w0, #0
        b       .Lrestore

.Linfo_rebind:
        ldr     x10, [x3]
        cmp     x10, #INFO_BYTES
        b.hs    .Lplain_rebind
        b       .Lslow

        /* Another thread has it. */
.Lother_holder:
#ifndef __ARM_FEATURE_ATOMICS
        clrex
#endif
        str     xzr, [x23, #THREAD_M]
        b       .Lslow

        /* Another thread has had it in between. */
.Lreclaimed:
        str     x23, [x19, #M_THREAD]
        ldp     x14, x15, [x23, #THREAD_SIG_LO]
        stp     x14, x15, [x19, #M_SIG_LO]
        b       .Lrebound

        /* As .Lnot_begun; the slow path wants the M unbound. */
.Lnot_begun_rebound:
        str     xzr, [x19]
        cmp     x14, x12
        b.ne    .Lbegin_rebound
        mov     x0, x19
        bl      needm_dropm
        b       .Lslow

        /* sp: the G's top; x19: M */
.Lcleanup_rebound:
        mov     x0, x19
        bl      needm_on_g_cleanup
        b       .Lexit_rebound

.Lnotify_rebound:
        bl      needm_notify_stopper
        b       .Lunbind

.Lunlisted:
        mov     x0, x19
        bl      needm_dropm
        b       .Ldone

.Lwake_waiter:
        bl      needm_wake
        b       .Ldone

        /* sp: Call, all of which but CALL_ARG and CALL_OUT is filled in; x29: the caller's
           frame */
.Lslow:
        mov     x20, sp                         /* x20: Call */
        mov     x0, sp
        bl      needm_enter                     /* -> the G's stack pointer, or 0 */
        cbz     x0, .Lrefused
        ldr     x19, [x20, #CALL_OUT]
        mov     sp, x0
        tst     x19, #CALL_PENDING
        b.eq    2f
        and     x19, x19, #~CALL_PENDING
        mov     x0, x20
        bl      needm_on_g_prologue
2:
        ldr     x0, [x20, #CALL_ARG]
        ldr     x10, [x20, #CALL_FN]
        blr     x10
        ldr     x10, [x19, #M_SEG]
        ldr     x11, [x10, #SEG_CALL-M_RUNNING]
        cmp     x11, x20                        /* C may have jumped out of others, back here */
        b.ne    2f
        ldr     x11, [x10, #SEG_DEFERS-M_RUNNING]
        cbz     x11, 3f
2:
        mov     x0, x20
        mov     x1, x19
        bl      needm_on_g_epilogue
3:
        OTHER_STACK_END
        ldr     x10, [x20, #CALL_OUT]
        tst     x10, #CALL_ON_G                 /* Call is on the G, and fn's part below it: stay there */
        b.ne    4f
        mov     sp, x20
4:
        mov     x0, x20
        mov     x1, x19
        mov     w2, #0
        /* x0: Call; x1: M; w2: how it ended; x29: the caller's frame */
.Lexit:
        bl      needm_exit                      /* -> the caller's result */
        b       .Lrestore

        /* sp: Call */
.Lrefused:
        ldr     w0, [sp, #CALL_OUT]
        b       .Lrestore

/* fn needm_unwind(call (x0), m (x1), code (w2), sp (x3)) -> !

   Ends a callback from wherever it is: back on its caller's stack at sp, with d8-d15,
   fpcr and fpsr as at the entry, the same way out. */
INNER_ROUTINE(needm_unwind)
        .cfi_def_cfa x0, BELOW_BYTES+SAVED_BYTES
        LANDING_PAD
        add     x29, x0, #BELOW_BYTES
        .cfi_def_cfa x29, SAVED_BYTES
        mov     sp, x3
        ldp     d8, d9, [x29, #96]
        ldp     d10, d11, [x29, #112]
        ldp     d12, d13, [x29, #128]
        ldp     d14, d15, [x29, #144]
        ldp     x9, x10, [x0, #CALL_CONTROL]
        msr     fpcr, x9
        msr     fpsr, x10
        b       .Lexit
        .cfi_endproc
END(needm_entry)
