/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A callback, from the C caller to the G and back, for RISC-V with 64-bit words (rv64gc, calling
   convention lp64d): arch/x86_64/entry.S has the full comments and the names of the Rust side.

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
                         <- CFA, s0
        ra               (s0-8)
        s0               (s0-16)
        s1-s11           (s0-104..-24)
        fs0-fs11         (s0-200..-112)
        fcsr             (s0-208, Call+48)    ...frames of outer callbacks
        OUT ARG SIZE FRAME FN INFO            copied frame, if any      <- sp
                         <- Call (s0-256)     fn's own frame

   The segment is elsewhere: its SEG_CALL, or M_SEG itself, points to Call.

   s0 points to the caller's stack while the callback runs. So the CFI below is one plain rule
   on either stack, and the chain of frame records (s0-16) has no gap.

   gp and tp are the program's and the thread's; nothing here changes them. Of the vector unit
   nothing outlives a call but vstart, which is 0 then (RISC-V Calling Conventions, "Vector
   Register Convention"). A vector instruction that faults leaves another value in it. The first
   vset{i}vl{i} sets it to 0 again, and all vector code begins with one.

   # What orders memory here
   RISC-V orders few accesses by itself (RVWMO: The RISC-V Instruction Set Manual, volume I,
   "RVWMO Memory Consistency Model"). On the bound path there is no fence, neither on the way in
   nor on the way out. Wherever two accesses must keep their order, a stopper of the world is on
   the other side, and pays for both sides with membarrier (src/barrier.rs): before it reads
   M_SEG, after it has found that no M runs, and before it opens the gate again. membarrier
   interrupts each processor that runs a thread of this process, and has it execute a full fence
   between two of that thread's instructions. A processor that switches to another process
   executes a fence in the switch, since Linux 6.9. On an older Linux needm does not use membarrier
   (MEMBARRIER_SIGN in linux/mod.rs).
   - The store to M_SEG comes before the load of the gate, in and out. RISC-V lets the load pass
     the store. If the stopper's fence follows the store, the stopper sees the store. Otherwise the
     fence precedes the load, and the load finds the gate closed.
   - What fn writes and reads comes before the store of 0 to M_SEG. Other processors see a store
     only once it has retired, and interrupts are precise. So if a stopper sees that 0, its next
     membarrier puts a fence after that store, which completes all accesses before it.
   - What fn reads comes after what was done in the stopped world. The stopper's last fence stands
     between that and the opening of the gate. A read of fn's that is behind this fence sees what
     was done. Suppose that one is before it. Then the load of the gate, which is earlier in the
     program, is before the fence as well, and so before the opening: it found the gate closed, and
     fn was not called, a contradiction.
   Without membarrier all threads take the slow path (`fast_path_allowed` in src/needm.rs).

   On the rebind path other threads may have had the M in between. Two accesses of M_STATE
   order that: lr.w.aq, and the store behind fence rw, w. The reason is beside each. */
#include "asm.h"

#define CALL_FCSR    CALL_BYTES
#define FRAME_BYTES  256
#if FRAME_BYTES != CALL_BYTES + 8 + 12 * 8 + 11 * 8 + 16
#error "the picture above is wrong"
#endif

/* Where a register is that is saved so many bytes below the CFA; sp: Call. */
#define SAVED(below) FRAME_BYTES-below(sp)

        .macro  save    register, below
        sd      \register, SAVED(\below)
        .cfi_offset \register, -\below
        .endm

        .macro  save_fp register, below
        fsd     \register, SAVED(\below)
        .cfi_offset \register, -\below
        .endm

        /* sp: Call; a0: the result. s2-s11 and fs0-fs11 hold their caller's values. */
        .macro  return
        .cfi_remember_state
        ld      ra, SAVED(8)
        ld      s1, SAVED(24)
        .cfi_def_cfa sp, FRAME_BYTES
        ld      s0, SAVED(16)
        .irp    register, ra, s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, fs0, fs1, fs2, \
                fs3, fs4, fs5, fs6, fs7, fs8, fs9, fs10, fs11
        .cfi_restore \register
        .endr
        addi    sp, sp, FRAME_BYTES
        .cfi_def_cfa_offset 0
        ret
        .cfi_restore_state
        .endm

        /* a0: the result. s6-s11 and fs0-fs11 hold their caller's values already: a path through
           needm_entry changes none of them, and fn preserves them; needm_unwind reloads them before
           it comes here. */
        .macro  restore_and_return
        addi    sp, s0, -FRAME_BYTES
        ld      s2, SAVED(32)
        ld      s3, SAVED(40)
        ld      s4, SAVED(48)
        ld      s5, SAVED(56)
        return
        .endm

        /* To .Lslow unless the caller asks for fn(frame) alone, outside callbacks: `other` must
           be 0. a0, a2, a3 as at the entry. Clobbers other, t3. */
        .macro  check_call path, other
        beqz    a0, .Lslow
        or      \other, \other, a2              /* bytes to copy? */
        or      t3, \other, a3
        bnez    t3, .Lspecial_\path
.Lplain_\path:
        .endm

        /* To .Lslow unless the caller is where no handler on a signal stack is. Clobbers t3, t4. */
        .macro  check_stack base, lo, len
        ld      t3, \lo(\base)
        ld      t4, \len(\base)
        sub     t3, sp, t3
        bgeu    t3, t4, .Lslow
        .endm

        .macro  save_control
        frcsr   t3
        sd      t3, CALL_FCSR(sp)
        .endm

        /* Floating-point control, if the gate's value in s2 asks for it. Clobbers t3. */
        .macro  check_control path
        andi    t3, s2, GATE_LEAVES_FP
        bnez    t3, .Lbegin_\path
        save_control
        .endm

        /* Begins the segment and goes to the G. s1: M; `seg`: Call and its bits, for M_SEG; s2: the
           gate's value. Leaves fn in t1 and frame in a0. Clobbers t3. The order:
           arch/x86_64/entry.S. */
        .macro  begin   path, seg
.Lbegin_\path:
        sd      s1, CALL_SIZE(sp)               /* says that this frame waits for a callback */
        sd      \seg, M_SEG(s1)
        lw      t3, needm_gate
        bne     s2, t3, .Lclosed_\path
        ld      sp, M_TOP(s1)
        mv      t1, a0
        mv      a0, a1
        .endm

        /* fn has returned. sp: the G's top; s1: M; s2: the gate's value; s0: the caller's
           frame. Leaves sp at Call, a0 0, and the segment ended. Clobbers t1. */
        .macro  finish  path
        ld      a0, M_NEEDS_CLEANUP(s1)
        bnez    a0, .Lcleanup_\path
.Lexit_\path:
        addi    sp, s0, -FRAME_BYTES
        sd      zero, M_SEG(s1)
        lw      t1, needm_gate
        bne     s2, t1, .Lnotify_\path
        .endm

        /* Out-of-line code that each fast path has a copy of. */
        .macro  detours path, other
        /* From check_call: an info alone does no harm. The slow path refuses one that is too
           short. */
.Lspecial_\path:
        bnez    \other, .Lslow
        ld      t3, INFO_SIZE(a3)
        li      t4, INFO_BYTES
        bgeu    t3, t4, .Lplain_\path
        j       .Lslow

        /* From finish, registers as there. */
.Lcleanup_\path:
        mv      a0, s1
        call    needm_on_g_cleanup
.Lfrom_cleanup_\path:
        li      a0, 0
        j       .Lexit_\path
        .endm

/* fn needm_entry(fn (a0), frame (a1), size (a2), info (a3)) -> i32 (a0)

   Runs fn(frame) on a G. Preserves what the ABI says a function preserves; fcsr is as fn leaves it,
   and is saved for needm_unwind alone. Three paths, which arch/x86_64/entry.S describes: bound, for
   a thread whose M is bound; rebind, for one that binds its last M for this callback; slow. */
ROUTINE(needm_entry)
        .cfi_startproc
        LANDS_BY(.Lsites)
        addi    sp, sp, -FRAME_BYTES
        .cfi_def_cfa_offset FRAME_BYTES
        save    ra, 8
        save    s0, 16
        addi    s0, sp, FRAME_BYTES
        .cfi_def_cfa s0, 0
        save    s1, 24
        save    s2, 32
        save    s3, 40
        save    s4, 48
        save    s5, 56
        save    s6, 64
        save    s7, 72
        save    s8, 80
        save    s9, 88
        save    s10, 96
        save    s11, 104
        save_fp fs0, 112
        save_fp fs1, 120
        save_fp fs2, 128
        save_fp fs3, 136
        save_fp fs4, 144
        save_fp fs5, 152
        save_fp fs6, 160
        save_fp fs7, 168
        save_fp fs8, 176
        save_fp fs9, 184
        save_fp fs10, 192
        save_fp fs11, 200
        sd      a3, CALL_INFO(sp)               /* the slow path fills in the rest */

        la.tls.ie t0, needm_tls
        add     t0, t0, tp                      /* t0: this thread's block */
        lw      s2, TLS_BOUND_EPOCH(t0)
        lw      t1, needm_gate
        bne     s2, t1, .Lrebind                /* s2: the gate's value, until the end */

        /* The bound path. */
        ld      s1, TLS_M(t0)                   /* s1: the M, until the end */
        ld      t1, M_SEG(s1)                   /* in a callback? */
        check_call bound, t1
        check_stack s1, M_KNOWN_LO, M_KNOWN_LEN
        check_control bound
        begin   bound, sp
        OTHER_STACK                             /* spans the calls of all three paths */
        jalr    t1
.Lfrom_bound:
        finish  bound
        ld      s2, SAVED(32)                   /* this path has changed no s3-s11 */
        return

        detours bound, t1

        /* From begin: the gate closed on the way in. Steps back; the slow path waits.
           sp: Call; a0-a2 as at the entry. */
.Lclosed_bound:
        sd      zero, M_SEG(s1)
        j       .Lslow

        /* From finish: a stopper may be waiting for this thread. sp: Call. */
.Lnotify_bound:
        call    needm_notify_stopper
.Lreturn_0:
        li      a0, 0
        restore_and_return

        /* The rebind path. a0-a3 as at the entry; t0: this thread's block; t1: the gate's
           value now. s3: the block, s4: the thread's record, until the end. */
.Lrebind:
        lw      s2, TLS_REBIND_EPOCH(t0)
        bne     s2, t1, .Lslow                  /* s2: the gate's value, until the end */
        mv      s3, t0
        ld      s4, TLS_THREAD(s3)
        ld      t1, TLS_M(s3)                   /* in a callback? */
        check_call rebind, t1
        check_stack s4, THREAD_KNOWN_LO, THREAD_KNOWN_LEN
        ld      s1, THREAD_LAST(s4)             /* s1: the M, until the end */
        /* THREAD_M leads to the M while nothing is bound, so that reaping finds it if the thread exits here.
           Else an M is bound that is not published: a handler's or a fiber's callback was left, or this
           is a handler, and the thread is between two steps of binding one. */
        ld      t2, THREAD_M(s4)
        bne     t2, s1, .Lslow
        lw      s5, THREAD_CLAIM(s4)            /* s5: M_STATE of an M that is on the list and bound
                                                   to this thread, until the end */
        addi    t2, s1, M_STATE
        li      t3, M_IDLE
        /* The load acquires, because its value says that the M is free: what the thread wrote that
           had the M bound before is read after it. Where it is not free the reservation may stay: an sc.w
           is executed only after an lr.w of its own, which replaces it. */
1:      lr.w.aq t4, (t2)
        bne     t4, t3, .Lslow                  /* bound to another thread, or not on the list */
        sc.w    t4, s5, (t2)
        bnez    t4, 1b
        ld      t1, M_THREAD(s1)
        bne     t1, s4, .Lreclaimed
.Lrebound:
        sd      s1, TLS_M(s3)                   /* published last */
        ld      t2, THREAD_M(s4)                /* or has a handler left an M bound? */
        bne     t2, s1, .Lother_bound
        addi    t2, sp, M_BOUND_HERE
        check_control rebind
        begin   rebind, t2
        jalr    t1
.Lfrom_rebind:
        finish  rebind
.Lunbind:
        lw      t1, M_STATE(s1)
        bne     t1, s5, .Lunlisted              /* still listed? A bound M may be: src/pool/mod.rs */
        sd      zero, TLS_M(s3)                 /* withdrawn first */
        ld      t1, M_SEG(s1)                   /* has a handler left a callback on it? */
        bnez    t1, .Lunlisted
        li      t1, M_IDLE
        /* The store releases: what this thread has written to the M comes before it, for the next
           thread that binds the M to read, and so does what this thread has read there, which that
           one may overwrite. */
        fence   rw, w
        sw      t1, M_STATE(s1)
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. It calls
           membarrier in between (src/needm/acquire.rs), so there is no fence here. */
        lw      t1, needm_gate+GATE_WAITERS
        bnez    t1, .Lwake_waiter
        restore_and_return

        detours rebind, t1

        /* Another thread had the M in between: M_THREAD and M_KNOWN_* describe that one. Sets them. */
.Lreclaimed:
        sd      s4, M_THREAD(s1)
        ld      t1, THREAD_KNOWN_LO(s4)
        sd      t1, M_KNOWN_LO(s1)
        ld      t1, THREAD_KNOWN_LEN(s4)
        sd      t1, M_KNOWN_LEN(s1)
        j       .Lrebound

        /* As .Lclosed_bound, and unbinds the M. */
.Lclosed_rebind:
        sd      zero, M_SEG(s1)
.Lother_bound:
        /* Unpublishes the M, and gives it back. */
        sd      a2, CALL_SIZE(sp)
        sd      a1, CALL_FRAME(sp)
        sd      a0, CALL_FN(sp)
        mv      a0, s1
        call    needm_dropm
        j       .Lslow_filled

        /* As .Lnotify_bound. */
.Lnotify_rebind:
        call    needm_notify_stopper
        li      a0, 0
        j       .Lunbind

        /* The M was popped from the list while it was bound: needm_dropm lists it again. Or a callback is to be
           dropped. */
.Lunlisted:
        mv      a0, s1
        call    needm_dropm
        j       .Lreturn_0

.Lwake_waiter:
        call    needm_wake
        j       .Lreturn_0

        /* The slow path. sp: Call; a0-a2 as at the entry; s0: the caller's frame. */
.Lslow:
        sd      a2, CALL_SIZE(sp)
        sd      a1, CALL_FRAME(sp)
        sd      a0, CALL_FN(sp)
        /* Without asking the gate: needm may be stopped and started again while this waits. */
.Lslow_filled:
        save_control
        mv      s2, sp                          /* s2: Call, until the end */
        mv      a0, sp
        call    needm_enter                     /* -> the G's stack pointer, or 0 */
        beqz    a0, .Lrefused
        ld      s1, CALL_OUT(s2)                /* s1: M, plus bits of CALL_PENDING */
        mv      sp, a0
        andi    t1, s1, CALL_PENDING
        beqz    t1, 2f
        andi    s1, s1, ~CALL_PENDING
        mv      a0, s2
        call    needm_on_g_prologue
2:
        ld      t1, CALL_FN(s2)
        ld      a0, CALL_ARG(s2)
        jalr    t1
.Lfrom_slow:
        ld      t1, M_SEG(s1)
        ld      t2, SEG_CALL-M_SEGMENT(t1)
        bne     t2, s2, 2f                      /* or did C jump from an inner callback to here? */
        ld      t2, SEG_DEFERS-M_SEGMENT(t1)
        beqz    t2, 3f
2:
        mv      a0, s2
        mv      a1, s1
        call    needm_on_g_epilogue
.Lfrom_epilogue:
3:
        OTHER_STACK_END
        ld      t1, CALL_OUT(s2)
        andi    t1, t1, CALL_ON_G               /* Call on the G, above fn's part: stay below */
        bnez    t1, 4f
        mv      sp, s2
4:
        mv      a0, s2
        mv      a1, s1
        li      a2, 0
        /* a0: Call; a1: M; a2: how it ended; s0: the caller's frame. */
.Lexit:
        call    needm_exit                      /* -> the caller's result */
        li      t0, CALL_UNWOUND
        beq     a0, t0, .Lresume
        restore_and_return

        /* sp: Call. */
.Lrefused:
        lw      a0, CALL_OUT(sp)
        restore_and_return

        /* The landing pad. On the G; a0: the exception; a1: _Unwind_Resume; s0: the caller's
           frame. */
.Lunwound:
        mv      a2, a1
        mv      a1, a0
        addi    a0, s0, -FRAME_BYTES
        call    needm_unwound
        mv      sp, a0
        /* s0: the caller's frame. */
.Lresume:
        ld      a0, CALL_FN-FRAME_BYTES(s0)
        ld      t1, CALL_OUT-FRAME_BYTES(s0)
        jalr    t1
        unimp

/* fn needm_unwind(call (a0), m (a1), code (a2), sp (a3)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack at sp, with fs0-fs11 as at the entry, and fcsr too, unless the gate says that it is left
   alone. Called by src/callback/panic.rs. Until s0 is the entry's again, the CFI finds the frame
   by call. */
INNER_ROUTINE(needm_unwind)
        .cfi_def_cfa a0, FRAME_BYTES
        addi    s0, a0, FRAME_BYTES
        .cfi_def_cfa s0, 0
        ld      s6, FRAME_BYTES-64(a0)
        ld      s7, FRAME_BYTES-72(a0)
        ld      s8, FRAME_BYTES-80(a0)
        ld      s9, FRAME_BYTES-88(a0)
        ld      s10, FRAME_BYTES-96(a0)
        ld      s11, FRAME_BYTES-104(a0)
        fld     fs0, FRAME_BYTES-112(a0)
        fld     fs1, FRAME_BYTES-120(a0)
        fld     fs2, FRAME_BYTES-128(a0)
        fld     fs3, FRAME_BYTES-136(a0)
        fld     fs4, FRAME_BYTES-144(a0)
        fld     fs5, FRAME_BYTES-152(a0)
        fld     fs6, FRAME_BYTES-160(a0)
        fld     fs7, FRAME_BYTES-168(a0)
        fld     fs8, FRAME_BYTES-176(a0)
        fld     fs9, FRAME_BYTES-184(a0)
        fld     fs10, FRAME_BYTES-192(a0)
        fld     fs11, FRAME_BYTES-200(a0)
        mv      sp, a3
        lw      t0, needm_gate
        andi    t0, t0, GATE_LEAVES_FP
        bnez    t0, .Lexit
        ld      t0, CALL_FCSR(a0)
        fscsr   t0
        j       .Lexit
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
