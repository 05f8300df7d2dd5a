/* A callback, from the C caller to the G and back, for AArch64: arch/x86_64/entry.S has the full
   comments and the names of the Rust side.

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
                         <- CFA (x29+160)
        d8-d15           (x29+96 .. +152)
        x19-x28          (x29+16 .. +88)
        x30              (x29+8)
 x29 -> x29              (x29)
        fpcr fpsr        (x29-16, Call+48)    ...frames of outer callbacks
        OUT ARG INFO SIZE FRAME FN            copied frame, if any      <- sp
                         <- Call (x29-64)     fn's own frame

   The segment is elsewhere: its SEG_CALL points to Call.

   x29 points to the caller's stack while the callback runs. So the CFI below is one plain
   rule on either stack, and the chain of frame records (x29, x30) has no gap. The saved
   registers are above x29: a path out moves sp to x29 first, and loads only from above sp.

   # What orders memory here, where the processor does not
   - Bound path, in: M_SEG is stored, then the gate is read. The processor may do the read first.
     The stopper orders the two: it closes the gate, then membarrier, then it reads M_SEG
     (src/barrier.rs). A store-release would order them, too, because LDAR waits for every STLR
     before it. But then each callback waits until its store has left the processor.
   - LDAR reads the gate: what fn reads, it reads later. A plain load lets fn use values from
     before the world was started again.
   - STLR makes M_SEG 0: what fn has read and written comes earlier. With a plain store, a
     collector that sees the 0 could miss a pointer that fn has stored, or move an object that
     fn has yet to read. Then the gate is read, by a plain load: the stopper orders that again.
   - Rebind path: the compare-and-swap of M_STATE acquires, because the M's last holder wrote to
     it; and releases, because a thread that finds the claim looks for THREAD_M in the record.
   - STLR makes M_STATE idle: what this thread wrote to the M comes earlier, for the next holder.
     Then the waiters are read, by a plain load: a waiter orders the two with membarrier, between
     its count and its look at M_STATE (src/needm.rs).
   What else is here is read by this thread, by its handlers, or after its exit: the order in the
   program is enough.
   Without membarrier all threads take the slow path (`fast_path_allowed` in src/needm.rs). */
#include "asm.h"
#include "landing.h"

#if !defined(__AARCH64EL__) || !defined(__LP64__)
#error "needm needs AArch64 in its little-endian, 64-bit form"
#endif

#define SAVED_BYTES  160                        /* x29, x30, x19-x28, d8-d15 */
#define CALL_CONTROL CALL_BYTES                 /* fpcr, fpsr */
#define BELOW_BYTES  (CALL_BYTES + 16)          /* Call, fpcr, fpsr: below x29 */

/* Here one instruction loads or stores two words, or has no room for an offset. */
        .macro  adjacent first, second
        .if     (\second) != (\first) + 8
        .error  "src/layout.rs: two words that this file takes as a pair are not adjacent"
        .endif
        .endm
        adjacent TLS_M, TLS_BOUND_EPOCH
        adjacent M_SEG, M_TOP
        adjacent M_SIG_LO, M_SIG_LEN
        adjacent THREAD_SIG_LO, THREAD_SIG_LEN
        adjacent CALL_FN, CALL_FRAME
        adjacent CALL_SIZE, CALL_INFO
        .if     M_SEG != 0 || GATE_VALUE != 0 || CALL_FN != 0
        .error  "src/layout.rs: M_SEG, GATE_VALUE and CALL_FN must be first here"
        .endif

        /* sp: x29; w0: the result. x19-x28 and d8-d15 hold their caller's values: loaded
           before, or never changed but by fn, which keeps them. */
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

        /* To .Lslow unless the caller asks for fn(frame) alone, outside callbacks: `other` must
           be 0. x0, x2, x3 as at the entry. Clobbers other. */
        .macro  check_call path, other
        cbz     x0, .Lslow
        orr     \other, \other, x2              /* bytes to copy? */
        cbnz    \other, .Lslow
        cbnz    x3, .Linfo_\path
.Lplain_\path:
        .endm

        /* To .Lslow if the caller is a handler on the signal stack. `lo`: where its address is,
           and next to it its size. Clobbers x14, x15. */
        .macro  check_stack base, lo
        ldp     x14, x15, [\base, #\lo]
        sub     x14, sp, x14
        cmp     x14, x15
        b.lo    .Lslow
        .endm

        /* Begins the segment and goes to the G. x19: M; x11: the M's own segment + M_RUNNING;
           x13: the G's top; w21: the gate's value; x20: the gate; sp: Call. Leaves fn in x10 and
           frame in x0. Clobbers x12, x14, x15. The order: arch/x86_64/entry.S. One branch for
           both checks: .Lnot_begun tells them apart, by x12 and x14. */
        .macro  begin   path, flags
.Lbegin_\path:
        mov     x12, sp
        str     x12, [x19, #M_BASE+SEG_CALL]
        .ifnb   \flags
        mov     x14, #\flags
        str     x14, [x19, #M_BASE+SEG_FLAGS]
        .endif
        str     x11, [x19]                      /* M_SEG */
        ldr     x14, [x19, #M_BASE+SEG_CALL]
        ldar    w15, [x20]
        cmp     x14, x12
        ccmp    w15, w21, #0, eq
        b.ne    .Lnot_begun_\path
        mov     sp, x13
        mov     x10, x0
        mov     x0, x1
        .endm

        /* fn has returned. sp: the G's top; x19: M; w21: the gate's value; x20: the gate; x29:
           the caller's frame. Leaves sp at x29, w0 0, and the segment ended. Clobbers x10. */
        .macro  finish  path
        ldr     x10, [x19, #M_NEEDS_CLEANUP]
        cbnz    x10, .Lcleanup_\path
.Lexit_\path:
        mov     sp, x29
        stlr    xzr, [x19]                      /* M_SEG */
        ldr     w10, [x20]
        sub     w0, w21, w10
        cbnz    w0, .Lnotify_\path
        .endm

        /* The detours of a fast path that both have alike. */
        .macro  detours path
        /* From check_call. The slow path refuses an info that is too short. */
.Linfo_\path:
        ldr     x10, [x3, #INFO_SIZE]
        cmp     x10, #INFO_BYTES
        b.hs    .Lplain_\path
        b       .Lslow

        /* From begin: a handler has used the segment, or the gate closed on the way in. Steps
           back; the slow path waits at the gate. Registers as there. */
.Lnot_begun_\path:
        str     xzr, [x19]                      /* M_SEG */
        cmp     x14, x12
        b.ne    .Lbegin_\path
        b       .Lclosed_\path

        /* From finish, registers as there. */
.Lcleanup_\path:
        mov     x0, x19
        bl      needm_on_g_cleanup
        b       .Lexit_\path
        .endm

/* fn needm_entry(fn (x0), frame (x1), size (x2), info (x3)) -> i32 (w0)

   Runs fn(frame) on a G. Keeps what the ABI says a function keeps; fpcr and fpsr are as fn
   leaves them. x18 is not used. Three paths, as on x86_64: bound, rebind, slow. */
ROUTINE(needm_entry)
        .cfi_startproc
        LANDING_PAD
        stp     x29, x30, [sp, #-SAVED_BYTES]!
        .cfi_def_cfa_offset SAVED_BYTES
        .cfi_offset x29, -SAVED_BYTES
        .cfi_offset x30, 8-SAVED_BYTES
        mov     x29, sp
        .cfi_def_cfa_register x29
        .macro  save    first, second, at
        stp     \first, \second, [sp, #\at]
        .cfi_offset \first, \at-SAVED_BYTES
        .cfi_offset \second, \at+8-SAVED_BYTES
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
        stp     x0, x1, [sp, #-BELOW_BYTES]!    /* CALL_FN, CALL_FRAME */
        stp     x2, x3, [sp, #CALL_SIZE]        /* CALL_INFO; the slow path fills in the rest */
        stp     x9, x10, [sp, #CALL_CONTROL]

        adrp    x9, :gottprel:needm_tls
        ldr     x9, [x9, #:gottprel_lo12:needm_tls]
        mrs     x22, tpidr_el0                  /* the thread pointer */
        add     x22, x22, x9                    /* x22: this thread's block, until the end */
        adrp    x20, needm_gate
        add     x20, x20, #:lo12:needm_gate     /* x20: the gate, until the end */
        ldp     x19, x21, [x22, #TLS_M]         /* TLS_BOUND_EPOCH */
        ldr     w10, [x20]
        cmp     w21, w10                        /* w21: the gate's value, until the end */
        b.ne    .Lrebind

        /* The bound path. x19: the M, until the end. */
        ldp     x10, x13, [x19]                 /* M_SEG: in a callback? M_TOP */
        check_call bound, x10
        check_stack x19, M_SIG_LO
        add     x11, x19, #M_BASE+M_RUNNING
        begin   bound
        OTHER_STACK
        blr     x10
        finish  bound
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        return

        detours bound

        /* From begin: the gate closed on the way in. sp: Call. */
.Lclosed_bound:
        b       .Lslow

        /* From finish: a stopper may be waiting for this thread. sp: x29. */
.Lnotify_bound:
        bl      needm_notify_stopper
.Ldone:
        mov     w0, #0
        /* w0: the result; x29: the caller's frame. */
.Lrestore:
        mov     sp, x29
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        return

        /* The rebind path. x0-x3 as at the entry; x22: this thread's block; x20: the gate; w10:
           the gate's value now; sp: Call. x23: the thread's record, until the end. */
.Lrebind:
        ldr     w21, [x22, #TLS_REBIND_EPOCH]
        cmp     w21, w10                        /* w21: the gate's value, until the end */
        b.ne    .Lslow
        ldr     x23, [x22, #TLS_THREAD]
        ldr     x10, [x22, #TLS_M]              /* in a callback? */
        ldr     x11, [x23, #THREAD_M]           /* or between two steps of binding one? */
        orr     x10, x10, x11
        check_call rebind, x10
        check_stack x23, THREAD_SIG_LO
        ldr     x19, [x23, #THREAD_LAST]        /* x19: the M, until the end */
        ldr     w24, [x23, #THREAD_CLAIM]       /* w24: its state while bound, until the end */
        /* Before the M is bound, and again afterwards: arch/x86_64/entry.S. */
        str     x19, [x23, #THREAD_M]
        add     x11, x19, #M_STATE
        /* ARMv8.1 has one instruction for this. Without it in the build there is a loop: to ask at
           run time takes a load and a branch that each callback pays. */
#ifdef __ARM_FEATURE_ATOMICS
        mov     w12, #M_IDLE
        casal   w12, w24, [x11]
        cmp     w12, #M_IDLE
        b.ne    .Lother_holder
#else
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
        begin   rebind, SEG_BOUND_HERE
        blr     x10
        finish  rebind
.Lunbind:
        add     x11, x19, #M_STATE
        ldr     w10, [x11]
        cmp     w10, w24                        /* still on the list? */
        b.ne    .Lunlisted
        str     xzr, [x22, #TLS_M]              /* withdrawn first */
        mov     w10, #M_IDLE
        stlr    w10, [x11]                      /* M_STATE */
        str     xzr, [x23, #THREAD_M]
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. */
        ldr     w10, [x20, #GATE_WAITERS]
        cbnz    w10, .Lwake_waiter
        b       .Ldone

        detours rebind

        /* The M is bound to another thread, or off the list. */
.Lother_holder:
#ifndef __ARM_FEATURE_ATOMICS
        clrex
#endif
        str     xzr, [x23, #THREAD_M]
        b       .Lslow

        /* Another thread had the M in between: what it keeps of its thread is not ours. */
.Lreclaimed:
        str     x23, [x19, #M_THREAD]
        ldp     x14, x15, [x23, #THREAD_SIG_LO]
        stp     x14, x15, [x19, #M_SIG_LO]
        b       .Lrebound

        /* As .Lclosed_bound, and unbinds the M. */
.Lclosed_rebind:
        mov     x0, x19
        bl      needm_dropm
        b       .Lslow

        /* As .Lnotify_bound. */
.Lnotify_rebind:
        bl      needm_notify_stopper
        b       .Lunbind

        /* The M was popped from the list while it was bound: a store would lose it. */
.Lunlisted:
        mov     x0, x19
        bl      needm_dropm
        b       .Ldone

.Lwake_waiter:
        bl      needm_wake
        b       .Ldone

        /* The slow path. sp: Call, with what the caller gave; x29: the caller's frame. */
.Lslow:
        mov     x20, sp                         /* x20: Call, until the end */
        mov     x0, sp
        bl      needm_enter                     /* -> the G's stack pointer, or 0 */
        cbz     x0, .Lrefused
        ldr     x19, [x20, #CALL_OUT]           /* x19: M, and the bits of CALL_PENDING */
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
        cmp     x11, x20                        /* or did C jump from an inner callback to here? */
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
        tst     x10, #CALL_ON_G                 /* Call on the G, above fn's part: stay below */
        b.ne    4f
        mov     sp, x20
4:
        mov     x0, x20
        mov     x1, x19
        mov     w2, #0
        /* x0: Call; x1: M; w2: how it ended; x29: the caller's frame. */
.Lexit:
        bl      needm_exit                      /* -> the caller's result */
        b       .Lrestore

        /* sp: Call. */
.Lrefused:
        ldr     w0, [sp, #CALL_OUT]
        b       .Lrestore

/* fn needm_unwind(call (x0), m (x1), code (w2), sp (x3)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack at sp, with d8-d15, fpcr and fpsr as at the entry. Called by src/callback/panic.rs.
   Until x29 is the entry's again, the CFI finds the frame by call. */
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
