/* A callback's way in and out: arch/x86_64/entry.S, which has the full comments, for RISC-V
   with 64-bit words (rv64gc, calling convention lp64d).

   The Rust side is src/callback/, by the symbols that `upcalls!` there defines.

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
                         <- CFA, s0
        ra               (s0-8)
        s0               (s0-16)
        s1-s11           (s0-104 .. -24)
        fs0-fs11         (s0-200 .. -112)
        fcsr             (s0-208, Call+48)    ...frames of outer callbacks
        OUT ARG INFO SIZE FRAME FN            copied frame, if any      <- sp
                         <- Call (s0-256)     fn's own frame

   The segment is elsewhere: its SEG_CALL points at Call.

   s0 points into the caller's stack for as long as the callback runs, which keeps the CFI below
   one plain rule on either stack, and the chain of frame records (s0 - 16) whole.

   gp and tp are the program's and the thread's, and stay as they are. Nothing of the vector
   unit outlives a call but vstart, which is 0 then; a vector instruction that faults leaves
   another value there, and the first vset{i}vl{i} of any code sets it to 0 (RISC-V Vector
   Extension, 3.7; RISC-V Calling Conventions, "Vector Register Convention").

   # What orders memory here
   RISC-V orders almost nothing by itself (RVWMO: The RISC-V Instruction Set Manual, volume I,
   chapter 17). Where an M is bound already there is no fence here, neither in nor out. Each
   pair of accesses that must not pass each other is one of a pair with the thread that stops the
   world. That side pays for both with membarrier (src/world.rs), before it looks at M_SEG, after
   it has found all Ms at rest, and before it opens the gate again. membarrier interrupts every
   processor that runs a thread of this process, and each executes a full fence between two of
   its thread's instructions:
   - M_SEG before the gate is read, in and out: a store and a later load of another address may
     pass each other here. Either the fence comes after the store, which the stopper then sees,
     or before the load, which then sees the gate closed.
   - What fn has written and read, before M_SEG is 0. No store is seen by others before it has
     retired, and interrupts are precise: so a fence that comes after the stopper has seen that 0
     comes after that store, and completes all accesses before it.
   - What fn reads, after the gate was found open. If one of these loads was early, from before
     the gate was opened, then so was the gate's, for a fence lies between closing and opening.
   Where there is no membarrier, all threads take the slow path (`needm::bound_epoch_for`).

   Where the last M is bound again, other threads may have had it in between. Two accesses to
   M_STATE order that, at the places where they stand. */
#include "asm.h"

#define CALL_FCSR    CALL_BYTES
#define FRAME_BYTES  256
#if FRAME_BYTES != CALL_BYTES + 8 + 12 * 8 + 11 * 8 + 16
#error "the picture above is wrong"
#endif

/* Where the register that is saved so many bytes below the CFA is, from Call. */
#define SAVED(below) FRAME_BYTES - below(sp)

        .macro  save    register, below
        sd      \register, SAVED(\below)
        .cfi_offset \register, -\below
        .endm

        .macro  save_fp register, below
        fsd     \register, SAVED(\below)
        .cfi_offset \register, -\below
        .endm

        /* Back to the caller, whose s2 to s11 and fs0 to fs11 are in their registers. sp: Call;
           a0: the result. */
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

        /* The same from anywhere, with s7 to s11 and fs0 to fs11 in their registers. */
        .macro  restore_and_return
        addi    sp, s0, -FRAME_BYTES
        ld      s2, SAVED(32)
        ld      s3, SAVED(40)
        ld      s4, SAVED(48)
        ld      s5, SAVED(56)
        ld      s6, SAVED(64)
        return
        .endm

        /* To .Lslow if what is asked for is not just fn(frame), or `other` is not 0; to
           `info` if there is one to be looked at. a0, a2, a3 as at the entry. */
        .macro  plain_or other, info
        beqz    a0, .Lslow
        or      \other, \other, a2              /* bytes to copy? */
        bnez    \other, .Lslow
        bnez    a3, \info
        .endm

        /* To .Lslow if the caller is a handler on the signal stack. Clobbers t3, t4. */
        .macro  off_signal_stack base, lo, len
        ld      t3, \lo(\base)
        ld      t4, \len(\base)
        sub     t3, sp, t3
        bltu    t3, t4, .Lslow
        .endm

        /* Begins the segment and goes to the G. s1: M; t2: the M's own segment, and
           M_RUNNING; s2: the gate's value; sp: Call. The look afterwards:
           arch/x86_64/entry.S. Leaves fn in t1 and its argument in a0; clobbers t3. */
        .macro  begin   again, closed, flags
        sd      sp, M_BASE+SEG_CALL(s1)
        .ifnb   \flags
        li      t3, \flags
        sd      t3, M_BASE+SEG_FLAGS(s1)
        .endif
        sd      t2, M_SEG(s1)
        ld      t3, M_BASE+SEG_CALL(s1)
        bne     t3, sp, \again
        lw      t3, needm_gate                  /* after the store to M_SEG */
        bne     s2, t3, \closed
        ld      sp, M_TOP(s1)
        mv      t1, a0
        mv      a0, a1
        .endm

/* fn needm_entry(fn (a0), frame (a1), size (a2), info (a3)) -> i32 (a0)

   Three ways in, as on x86_64: bound, rebound, slow. */
ROUTINE(needm_entry)
        .cfi_startproc
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
        frcsr   t0
        sd      t0, CALL_FCSR(sp)
        sd      a3, CALL_INFO(sp)               /* the rest only on the slow path */

        la.tls.ie t0, needm_tls
        add     t0, t0, tp                      /* t0: this thread's block */
        lw      s2, TLS_BOUND_EPOCH(t0)         /* s2: the gate's value, until the end */
        lw      t1, needm_gate
        bne     s2, t1, .Lrebind
        ld      s1, TLS_M(t0)                   /* s1: the M, until the end */
        ld      t1, M_SEG(s1)                   /* in a callback? */
        plain_or t1, .Linfo
.Lplain:
        off_signal_stack s1, M_SIG_LO, M_SIG_LEN
        addi    t2, s1, M_BASE+M_RUNNING
.Lbegin:
        begin   .Lretry, .Lclosed
        OTHER_STACK
        jalr    t1
        /* sp: the G's top; s0: the caller's frame; s1: M; s2: the gate's value */
        ld      t1, M_NEEDS_CLEANUP(s1)
        bnez    t1, .Lcleanup
.Lexit_bound:
        addi    sp, s0, -FRAME_BYTES
        sd      zero, M_SEG(s1)
        lw      t1, needm_gate                  /* after the store to M_SEG */
        bne     s2, t1, .Lnotify
        ld      s2, SAVED(32)
        li      a0, 0
        return

        /* An info that is too short is refused on the slow path. a0-a3 as at the entry. */
.Linfo:
        ld      t1, INFO_SIZE(a3)
        li      t3, INFO_BYTES
        bgeu    t1, t3, .Lplain
        j       .Lslow

        /* The gate closed while this thread came in: step back, then wait as a slow caller.
           sp: Call; s1: M; a0-a2 as at the entry. */
.Lclosed:
        sd      zero, M_SEG(s1)
        j       .Lslow

        /* sp: Call; s1: M; t2: its own segment, and M_RUNNING; a0-a2 as at the entry. */
.Lretry:
        sd      zero, M_SEG(s1)
        j       .Lbegin

        /* sp: the G's top; s1: M */
.Lcleanup:
        mv      a0, s1
        call    needm_on_g_cleanup
        j       .Lexit_bound

        /* A thread may be waiting for this one to be out. sp: Call. */
.Lnotify:
        call    needm_notify_stopper
        li      a0, 0
        restore_and_return

        /* No M is bound. t0: this thread's block; t1: the gate's value now; a0-a3 as at the
           entry. s3: the block, s4: the thread's record, until the end. */
.Lrebind:
        lw      s2, TLS_REBIND_EPOCH(t0)        /* s2: the gate's value, until the end */
        bne     s2, t1, .Lslow
        mv      s3, t0
        ld      s4, TLS_THREAD(s3)
        ld      t1, TLS_M(s3)                   /* in a callback? */
        ld      t2, THREAD_M(s4)                /* or between two steps of binding an M? */
        or      t1, t1, t2
        plain_or t1, .Linfo_rebind
.Lplain_rebind:
        off_signal_stack s4, THREAD_SIG_LO, THREAD_SIG_LEN
        ld      s1, THREAD_LAST(s4)             /* s1: the M, until the end */
        lw      s5, THREAD_CLAIM(s4)            /* s5: its state then, until the end */
        /* Before it is bound, and again afterwards: arch/x86_64/entry.S. */
        sd      s1, THREAD_M(s4)
        addi    t2, s1, M_STATE
        li      t3, M_IDLE
        /* Acquires: what is read from the M from here on was written by its last holder or
           later. The load carries that, since only its value says that the M is free. */
1:      lr.w.aq t4, (t2)
        bne     t4, t3, .Lother_holder
        sc.w    t4, s5, (t2)
        bnez    t4, 1b
        sd      s1, THREAD_M(s4)
        ld      t1, M_THREAD(s1)
        bne     t1, s4, .Lreclaimed
.Lrebound:
        addi    t2, s1, M_BASE+M_RUNNING
        sd      s1, TLS_M(s3)                   /* published last */
.Lbegin_rebound:
        begin   .Lretry_rebound, .Lclosed_rebound, SEG_BOUND_HERE
        jalr    t1
        /* sp: the G's top; s0: the caller's frame; s1: M; s2: the gate's value; s3: the block;
           s4: the thread's record; s5: the M's state */
        ld      t1, M_NEEDS_CLEANUP(s1)
        bnez    t1, .Lcleanup_rebound
.Lexit_rebound:
        addi    sp, s0, -FRAME_BYTES
        sd      zero, M_SEG(s1)
        lw      t1, needm_gate                  /* after the store to M_SEG */
        bne     s2, t1, .Lnotify_rebound
.Lunbind:
        lw      t1, M_STATE(s1)
        bne     t1, s5, .Lunlisted              /* still on the list? */
        sd      zero, TLS_M(s3)                 /* withdrawn first */
        li      t1, M_IDLE
        /* Releases: the next holder, which reads this state, finds in the M all that was
           written to it until here, and writes nothing that a load until here could see. */
        fence   rw, w
        sw      t1, M_STATE(s1)
        sd      zero, THREAD_M(s4)
        /* After the store to M_STATE, with no fence: a thread that waits has counted itself and
           then called membarrier before it looks for an M (src/needm.rs). */
        lw      t1, needm_gate+GATE_WAITERS
        bnez    t1, .Lwake_waiter
.Ldone:
        li      a0, 0
        restore_and_return

        /* As .Linfo. */
.Linfo_rebind:
        ld      t1, INFO_SIZE(a3)
        li      t3, INFO_BYTES
        bgeu    t1, t3, .Lplain_rebind
        j       .Lslow

        /* Another thread has it. The reservation that lr.w made ends with the next one, or with
           the next trap. s4: the thread's record; a0-a2 as at the entry. */
.Lother_holder:
        sd      zero, THREAD_M(s4)
        j       .Lslow

        /* Another thread has had it in between. s1: M; s4: the thread's record. */
.Lreclaimed:
        sd      s4, M_THREAD(s1)
        ld      t1, THREAD_SIG_LO(s4)
        sd      t1, M_SIG_LO(s1)
        ld      t1, THREAD_SIG_LEN(s4)
        sd      t1, M_SIG_LEN(s1)
        j       .Lrebound

        /* As .Lretry. */
.Lretry_rebound:
        sd      zero, M_SEG(s1)
        j       .Lbegin_rebound

        /* sp: Call; s1: M; a0-a2 as at the entry, which the slow path wants. */
.Lclosed_rebound:
        sd      zero, M_SEG(s1)
        sd      a2, CALL_SIZE(sp)
        sd      a1, CALL_FRAME(sp)
        sd      a0, CALL_FN(sp)
        mv      a0, s1
        call    needm_dropm
        j       .Lslow_filled

        /* sp: the G's top; s1: M */
.Lcleanup_rebound:
        mv      a0, s1
        call    needm_on_g_cleanup
        j       .Lexit_rebound

        /* sp: Call; the rest as after fn. */
.Lnotify_rebound:
        call    needm_notify_stopper
        j       .Lunbind

        /* sp: Call; s1: M */
.Lunlisted:
        mv      a0, s1
        call    needm_dropm
        j       .Ldone

        /* sp: Call */
.Lwake_waiter:
        call    needm_wake
        j       .Ldone

        /* sp: Call; s0: the caller's frame; a0-a2 as at the entry. s2: Call, until the end. */
.Lslow:
        sd      a2, CALL_SIZE(sp)
        sd      a1, CALL_FRAME(sp)
        sd      a0, CALL_FN(sp)
.Lslow_filled:
        mv      s2, sp
        mv      a0, sp
        call    needm_enter                     /* -> the G's stack pointer, or 0 */
        beqz    a0, .Lrefused
        ld      s1, CALL_OUT(s2)
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
        ld      t1, M_SEG(s1)
        ld      t2, SEG_CALL-M_RUNNING(t1)
        bne     t2, s2, 2f                      /* C may have jumped out of others, back here */
        ld      t2, SEG_DEFERS-M_RUNNING(t1)
        beqz    t2, 3f
2:
        mv      a0, s2
        mv      a1, s1
        call    needm_on_g_epilogue
3:
        OTHER_STACK_END
        ld      t1, CALL_OUT(s2)
        andi    t1, t1, CALL_ON_G               /* Call is on the G, and fn's part below it: stay there */
        bnez    t1, 4f
        mv      sp, s2
4:
        mv      a0, s2
        mv      a1, s1
        li      a2, 0
        /* a0: Call; a1: M; a2: how it ended; s0: the caller's frame; s7-s11 and fs0-fs11 as at
           the entry */
.Lexit:
        call    needm_exit                      /* -> the caller's result */
        restore_and_return

        /* sp, s2: Call */
.Lrefused:
        lw      a0, CALL_OUT(s2)
        restore_and_return

/* fn needm_unwind(call (a0), m (a1), code (a2), sp (a3)) -> !

   Ends a callback from wherever it is: back on its caller's stack at sp, with fs0-fs11, s7-s11
   and fcsr as at the entry, the same way out. */
INNER_ROUTINE(needm_unwind)
        .cfi_def_cfa a0, FRAME_BYTES
        addi    s0, a0, FRAME_BYTES
        .cfi_def_cfa s0, 0
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
        ld      t0, CALL_FCSR(a0)
        fscsr   t0
        mv      sp, a3
        j       .Lexit
        .cfi_endproc
END(needm_entry)
