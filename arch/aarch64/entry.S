/* SPDX-License-Identifier: MIT OR Apache-2.0 */
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
        OUT ARG SIZE FRAME FN INFO            copied frame, if any      <- sp
                         <- Call (x29-64)     fn's own frame

   The segment is elsewhere: its SEG_CALL, or M_SEG itself, points to Call.

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
     its count and its look at M_STATE (src/needm/acquire.rs).
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
        adjacent M_KNOWN_LO, M_KNOWN_LEN
        adjacent THREAD_KNOWN_LO, THREAD_KNOWN_LEN
        adjacent CALL_INFO, CALL_FN
        adjacent CALL_FRAME, CALL_SIZE
        .if     M_SEG != 0 || GATE_VALUE != 0 || CALL_INFO != 0
        .error  "src/layout.rs: M_SEG, GATE_VALUE and CALL_INFO must be first here"
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
           be 0. x0, x2, x3 as at the entry. Clobbers other, x14. */
        .macro  check_call path, other
        cbz     x0, .Lslow
        orr     \other, \other, x2              /* bytes to copy? */
        orr     x14, \other, x3
        cbnz    x14, .Lspecial_\path
.Lplain_\path:
        .endm

        /* To .Lslow unless the caller is where no handler on a signal stack is. `lo`: where its address is,
           and next to it its size. Clobbers x14, x15. */
        .macro  check_stack base, lo
        ldp     x14, x15, [\base, #\lo]
        sub     x14, sp, x14
        cmp     x14, x15
        b.hs    .Lslow
        .endm

        .macro  save_control
        mrs     x14, fpcr
        mrs     x15, fpsr
        stp     x14, x15, [sp, #CALL_CONTROL]
        .endm

        /* Floating-point control, if the gate's value in w21 asks for it. Clobbers x14, x15. */
        .macro  check_control path
        .if     GATE_LEAVES_FP != 4
        .error  "src/layout.rs: GATE_LEAVES_FP is not the bit that is tested here"
        .endif
        tbnz    w21, #2, .Lbegin_\path
        save_control
        .endm

        /* Begins the segment and goes to the G. x19: M; x12: Call and its bits, for M_SEG; x13:
           the G's top; w21: the gate's value; x20: the gate. Leaves fn in x10 and frame in x0.
           Clobbers x15. The order: arch/x86_64/entry.S. */
        .macro  begin   path
.Lbegin_\path:
        str     x19, [sp, #CALL_SIZE]           /* says that this frame waits for a callback */
        str     x12, [x19]                      /* M_SEG */
        ldar    w15, [x20]
        cmp     w15, w21
        b.ne    .Lclosed_\path
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
        .macro  detours path, other
        /* From check_call: an info alone does no harm. The slow path refuses one that is too
           short. */
.Lspecial_\path:
        cbnz    \other, .Lslow
        ldr     x14, [x3, #INFO_SIZE]
        cmp     x14, #INFO_BYTES
        b.hs    .Lplain_\path
        b       .Lslow

        /* From finish, registers as there. */
.Lcleanup_\path:
        mov     x0, x19
        bl      needm_on_g_cleanup
.Lfrom_cleanup_\path:
        b       .Lexit_\path
        .endm

/* fn needm_entry(fn (x0), frame (x1), size (x2), info (x3)) -> i32 (w0)

   Runs fn(frame) on a G. Keeps what the ABI says a function keeps; fpcr and fpsr are as fn
   leaves them. x18 is not used. Three paths, as on x86_64: bound, rebind, slow. */
ROUTINE(needm_entry)
        .cfi_startproc
        LANDS_BY(.Lsites)
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
        stp     x3, x0, [sp, #-BELOW_BYTES]!    /* CALL_INFO; the slow path fills in the rest */

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
        check_stack x19, M_KNOWN_LO
        mov     x12, sp
        check_control bound
        begin   bound
        OTHER_STACK
        blr     x10
.Lfrom_bound:
        finish  bound
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        return

        detours bound, x10

        /* From begin: the gate closed on the way in. Steps back; the slow path waits. sp: Call. */
.Lclosed_bound:
        str     xzr, [x19]                      /* M_SEG */
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
        check_call rebind, x10
        check_stack x23, THREAD_KNOWN_LO
        ldr     x19, [x23, #THREAD_LAST]        /* x19: the M, until the end */
        ldr     x11, [x23, #THREAD_M]           /* as in arch/x86_64/entry.S */
        cmp     x11, x19
        b.ne    .Lslow
        ldr     w24, [x23, #THREAD_CLAIM]       /* w24: its state while bound, until the end */
        add     x11, x19, #M_STATE
        /* ARMv8.1 has one instruction for this. Without it in the build there is a loop: to ask at
           run time takes a load and a branch that each callback pays. */
#ifdef __ARM_FEATURE_ATOMICS
        mov     w12, #M_IDLE
        casal   w12, w24, [x11]
        cmp     w12, #M_IDLE
        b.ne    .Lslow                          /* bound to another thread, or off the list */
#else
1:      ldaxr   w12, [x11]
        cmp     w12, #M_IDLE
        b.ne    .Lother_holder
        stlxr   w12, w24, [x11]
        cbnz    w12, 1b
#endif
        ldr     x10, [x19, #M_THREAD]
        cmp     x10, x23
        b.ne    .Lreclaimed
.Lrebound:
        ldr     x13, [x19, #M_TOP]
        str     x19, [x22, #TLS_M]              /* published last */
        ldr     x11, [x23, #THREAD_M]           /* or has a handler left an M bound? */
        cmp     x11, x19
        b.ne    .Lother_bound
        add     x12, sp, #M_BOUND_HERE
        check_control rebind
        begin   rebind
        blr     x10
.Lfrom_rebind:
        finish  rebind
.Lunbind:
        add     x11, x19, #M_STATE
        ldr     w10, [x11]
        cmp     w10, w24                        /* still on the list? */
        b.ne    .Lunlisted
        str     xzr, [x22, #TLS_M]              /* withdrawn first */
        ldr     x10, [x19]                      /* M_SEG: has a handler left a callback on it? */
        cbnz    x10, .Lunlisted
        mov     w10, #M_IDLE
        stlr    w10, [x11]                      /* M_STATE */
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. */
        ldr     w10, [x20, #GATE_WAITERS]
        cbnz    w10, .Lwake_waiter
        b       .Ldone

        detours rebind, x10

#ifndef __ARM_FEATURE_ATOMICS
        /* The M is bound to another thread, or off the list. */
.Lother_holder:
        clrex
        b       .Lslow
#endif

        /* Another thread had the M in between: M_THREAD and M_KNOWN_* describe that one. Sets them. */
.Lreclaimed:
        str     x23, [x19, #M_THREAD]
        ldp     x14, x15, [x23, #THREAD_KNOWN_LO]
        stp     x14, x15, [x19, #M_KNOWN_LO]
        b       .Lrebound

        /* As .Lclosed_bound, and unbinds the M. */
.Lclosed_rebind:
        str     xzr, [x19]                      /* M_SEG */
.Lother_bound:
        /* Unpublishes the M, and gives it back. */
        stp     x1, x2, [sp, #CALL_FRAME]       /* CALL_SIZE */
        mov     x0, x19
        bl      needm_dropm
        b       .Lslow_filled

        /* As .Lnotify_bound. */
.Lnotify_rebind:
        bl      needm_notify_stopper
        b       .Lunbind

        /* The M was popped from the list while it was bound: needm_dropm lists it again. Or a callback is to be
           dropped. */
.Lunlisted:
        mov     x0, x19
        bl      needm_dropm
        b       .Ldone

.Lwake_waiter:
        bl      needm_wake
        b       .Ldone

        /* The slow path. sp: Call; x1, x2 as at the entry; x29: the caller's frame. */
.Lslow:
        stp     x1, x2, [sp, #CALL_FRAME]       /* CALL_SIZE */
        /* Without asking the gate: needm may be stopped and started again while this waits. */
.Lslow_filled:
        save_control
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
.Lfrom_slow:
        ldr     x10, [x19, #M_SEG]
        ldr     x11, [x10, #SEG_CALL-M_SEGMENT]
        cmp     x11, x20                        /* or did C jump from an inner callback to here? */
        b.ne    2f
        ldr     x11, [x10, #SEG_DEFERS-M_SEGMENT]
        cbz     x11, 3f
2:
        mov     x0, x20
        mov     x1, x19
        bl      needm_on_g_epilogue
.Lfrom_epilogue:
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
        cmp     w0, #CALL_UNWOUND
        b.eq    .Lresume
        b       .Lrestore

        /* sp: Call. */
.Lrefused:
        ldr     w0, [sp, #CALL_OUT]
        b       .Lrestore

        /* The landing pad. On the G; x0: the exception; x1: _Unwind_Resume; x29: the caller's
           frame. */
.Lunwound:
        UNWINDERS_PAD
        mov     x2, x1
        mov     x1, x0
        sub     x0, x29, #BELOW_BYTES
        bl      needm_unwound
        mov     sp, x0
        /* x29: the caller's frame. */
.Lresume:
        ldur    x0, [x29, #CALL_FN-BELOW_BYTES]
        ldur    x9, [x29, #CALL_OUT-BELOW_BYTES]
        blr     x9
        brk     #0

/* fn needm_unwind(call (x0), m (x1), code (w2), sp (x3)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack at sp, with d8-d15 as at the entry, and fpcr and fpsr too, unless the gate says that they
   are left alone. Called by src/callback/panic.rs. Until x29 is the entry's again, the CFI finds
   the frame by call. */
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
        adrp    x9, needm_gate
        ldr     w9, [x9, #:lo12:needm_gate]
        tbnz    w9, #2, .Lexit                  /* GATE_LEAVES_FP */
        ldp     x9, x10, [x0, #CALL_CONTROL]
        msr     fpcr, x9
        msr     fpsr, x10
        b       .Lexit
        .cfi_endproc
PLACE(needm_entry_end)
END(needm_entry)

SITES(.Lsites, .Lunwound)
        SITE(.Lfrom_bound)
        SITE(.Lfrom_rebind)
        SITE(.Lfrom_slow)
        SITE(.Lfrom_cleanup_bound)
        SITE(.Lfrom_cleanup_rebind)
        SITE(.Lfrom_epilogue)
SITES_END
