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
        OUT ARG INFO SIZE FRAME FN            copied frame, if any      <- sp
                         <- Call (s0-256)     fn's own frame

   The segment is elsewhere: its SEG_CALL points to Call.

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
   between two of that thread's instructions. Processors that go to another process have one
   there, since Linux 6.9 (MEMBARRIER_SIGN in linux/mod.rs).
   - The store to M_SEG comes before the load of the gate, in and out. RISC-V lets the load pass
     the store. The stopper's fence comes after the store, and the stopper sees it; or it comes
     before the load, which then finds the gate closed.
   - What fn writes and reads comes before the store of 0 to M_SEG. Other processors see a store
     only once it has retired, and interrupts are precise. So if a stopper sees that 0, its next
     membarrier puts a fence after that store, which completes all accesses before it.
   - What fn reads comes after the load that found the gate open. A read of fn's that came early,
     before the gate was opened, would mean that the gate was read before that, too, because a
     fence came between the closing and the opening.
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

        /* a0: the result. s6-s11 and fs0-fs11 hold their caller's values: the paths here leave
           them to fn, which keeps them, and needm_unwind has loaded them. */
        .macro  restore_and_return
        addi    sp, s0, -FRAME_BYTES
        ld      s2, SAVED(32)
        ld      s3, SAVED(40)
        ld      s4, SAVED(48)
        ld      s5, SAVED(56)
        return
        .endm

        /* To .Lslow unless the caller asks for fn(frame) alone, outside callbacks: `other` must
           be 0. a0, a2, a3 as at the entry. Clobbers other. */
        .macro  check_call path, other
        beqz    a0, .Lslow
        or      \other, \other, a2              /* bytes to copy? */
        bnez    \other, .Lslow
        bnez    a3, .Linfo_\path
.Lplain_\path:
        .endm

        /* To .Lslow if the caller is a handler on the signal stack. Clobbers t3, t4. */
        .macro  check_stack base, lo, len
        ld      t3, \lo(\base)
        ld      t4, \len(\base)
        sub     t3, sp, t3
        bltu    t3, t4, .Lslow
        .endm

        /* Begins the segment and goes to the G. s1: M; t2: the M's own segment + M_RUNNING;
           s2: the gate's value; sp: Call. Leaves fn in t1 and frame in a0. Clobbers t3. The
           order: arch/x86_64/entry.S. */
        .macro  begin   path, flags
.Lbegin_\path:
        sd      sp, M_BASE+SEG_CALL(s1)
        .ifnb   \flags
        li      t3, \flags
        sd      t3, M_BASE+SEG_FLAGS(s1)
        .endif
        sd      t2, M_SEG(s1)
        ld      t3, M_BASE+SEG_CALL(s1)
        bne     t3, sp, .Lretry_\path
        lw      t3, needm_gate
        bne     s2, t3, .Lclosed_\path
        ld      sp, M_TOP(s1)
        mv      t1, a0
        mv      a0, a1
        .endm

        /* fn has returned. sp: the G's top; s1: M; s2: the gate's value; s0: the caller's
           frame. Leaves sp at Call, a0 0, and the segment ended. Clobbers t1. */
        .macro  finish  path
        ld      t1, M_NEEDS_CLEANUP(s1)
        bnez    t1, .Lcleanup_\path
.Lexit_\path:
        addi    sp, s0, -FRAME_BYTES
        li      a0, 0
        sd      zero, M_SEG(s1)
        lw      t1, needm_gate
        bne     s2, t1, .Lnotify_\path
        .endm

        /* The detours of a fast path that both have alike. */
        .macro  detours path
        /* From check_call. The slow path refuses an info that is too short. */
.Linfo_\path:
        ld      t3, INFO_SIZE(a3)
        li      t4, INFO_BYTES
        bgeu    t3, t4, .Lplain_\path
        j       .Lslow

        /* From begin: a handler has used the segment. Registers as there. */
.Lretry_\path:
        sd      zero, M_SEG(s1)
        j       .Lbegin_\path

        /* From finish, registers as there. */
.Lcleanup_\path:
        mv      a0, s1
        call    needm_on_g_cleanup
        j       .Lexit_\path
        .endm

/* fn needm_entry(fn (a0), frame (a1), size (a2), info (a3)) -> i32 (a0)

   Runs fn(frame) on a G. Keeps what the ABI says a function keeps; fcsr is as fn leaves it.
   Three paths, as on x86_64: bound, rebind, slow. */
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
        check_stack s1, M_SIG_LO, M_SIG_LEN
        addi    t2, s1, M_BASE+M_RUNNING
        begin   bound
        OTHER_STACK
        jalr    t1
        finish  bound
        ld      s2, SAVED(32)                   /* this path has changed no s3-s11 */
        return

        detours bound

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
        ld      t2, THREAD_M(s4)                /* or between two steps of binding one? */
        or      t1, t1, t2
        check_call rebind, t1
        check_stack s4, THREAD_SIG_LO, THREAD_SIG_LEN
        ld      s1, THREAD_LAST(s4)             /* s1: the M, until the end */
        lw      s5, THREAD_CLAIM(s4)            /* s5: its state while bound, until the end */
        /* Before the M is bound, and again afterwards: arch/x86_64/entry.S. */
        sd      s1, THREAD_M(s4)
        addi    t2, s1, M_STATE
        li      t3, M_IDLE
        /* The load acquires, because its value says that the M is free: what the last holder
           wrote is read after it. */
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
        begin   rebind, SEG_BOUND_HERE
        jalr    t1
        finish  rebind
.Lunbind:
        lw      t1, M_STATE(s1)
        bne     t1, s5, .Lunlisted              /* still on the list? */
        sd      zero, TLS_M(s3)                 /* withdrawn first */
        li      t1, M_IDLE
        /* The store releases: what this thread has written to the M comes before it, for the next
           holder to read, and so does what this thread has read there, which the next holder may
           overwrite. */
        fence   rw, w
        sw      t1, M_STATE(s1)
        sd      zero, THREAD_M(s4)
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. It calls
           membarrier in between (src/needm.rs), so there is no fence here. */
        lw      t1, needm_gate+GATE_WAITERS
        bnez    t1, .Lwake_waiter
        restore_and_return

        detours rebind

        /* The M is bound to another thread, or not on the list. The reservation needs no undoing:
           the next lr.w, or the next trap, ends it. */
.Lother_holder:
        sd      zero, THREAD_M(s4)
        j       .Lslow

        /* Another thread had the M in between: what the M notes of its thread is that one's. */
.Lreclaimed:
        sd      s4, M_THREAD(s1)
        ld      t1, THREAD_SIG_LO(s4)
        sd      t1, M_SIG_LO(s1)
        ld      t1, THREAD_SIG_LEN(s4)
        sd      t1, M_SIG_LEN(s1)
        j       .Lrebound

        /* As .Lclosed_bound, and unbinds the M. */
.Lclosed_rebind:
        sd      zero, M_SEG(s1)
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

        /* The M was popped from the list while it was bound: a store would lose it. */
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
.Lslow_filled:
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
        ld      t1, M_SEG(s1)
        ld      t2, SEG_CALL-M_RUNNING(t1)
        bne     t2, s2, 2f                      /* or did C jump from an inner callback to here? */
        ld      t2, SEG_DEFERS-M_RUNNING(t1)
        beqz    t2, 3f
2:
        mv      a0, s2
        mv      a1, s1
        call    needm_on_g_epilogue
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
        restore_and_return

        /* sp: Call. */
.Lrefused:
        lw      a0, CALL_OUT(sp)
        restore_and_return

/* fn needm_unwind(call (a0), m (a1), code (a2), sp (a3)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack at sp, with fs0-fs11 and fcsr as at the entry. Called by src/callback/panic.rs. Until
   s0 is the entry's again, the CFI finds the frame by call. */
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
        ld      t0, CALL_FCSR(a0)
        fscsr   t0
        mv      sp, a3
        j       .Lexit
        .cfi_endproc
END(needm_entry)
