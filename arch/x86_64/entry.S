/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A callback, from the C caller to the G and back: the reference, with the full comments.

   The Rust side, by the symbols of `upcalls!`:
   - src/callback/enter.rs: needm_enter, needm_on_g_prologue;
   - src/callback/unwound.rs: needm_unwound;
   - src/callback/exit.rs: needm_on_g_cleanup, needm_on_g_epilogue, needm_exit;
   - src/running.rs: needm_notify_stopper; src/needm.rs: needm_dropm; src/pool/: needm_wake.

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
        return address    <- CFA - 8
 rbp -> saved rbp
        rbx r12 r13 r14 r15 (rbp-8 .. -40)
        mxcsr, x87 control word  (rbp-48)     ...frames of outer callbacks
        OUT   (rbp-56)                        copied frame, if any      <- rsp
        ARG   (rbp-64)                        return address to here
        SIZE  (rbp-72)                        fn's own frame
        FRAME (rbp-80)
        FN    (rbp-88)                        The segment is elsewhere: its SEG_CALL,
        INFO  (rbp-96)   <- Call              or M_SEG itself, points to Call.

   rbp points to the caller's stack while the callback runs. So the CFI below is one plain
   rule on either stack, and the chain of frame pointers has no gap. */
#include "asm.h"
#include "x87.h"

#define FRAME_BYTES 96
#define CONTROL     -48

        .macro  restore
        movq    -8(%rbp), %rbx
        movq    -16(%rbp), %r12
        movq    -24(%rbp), %r13
        movq    -32(%rbp), %r14
        movq    -40(%rbp), %r15
        movq    %rbp, %rsp
        .endm

        .macro  restore_and_return
        restore
        return
        .endm

        /* rsp: rbp. */
        .macro  return
        popq    %rbp
        .cfi_remember_state
        .cfi_def_cfa rsp, 8
        .cfi_restore rbp
        ret
        .cfi_restore_state
        .endm

        /* A fast path is `bound` or `rebind`, and its labels end in that name. These macros are
           its steps; `detours` is what the steps leave it for. All keep rdi, rsi, rdx and rcx as
           at the entry, because the slow path wants them. */

        /* To .Lslow unless the caller asks for fn(frame) alone, outside callbacks: `other` must
           be 0. One branch for all that is seldom: bytes to copy, an info, a callback under way.
           Clobbers other and rcx. */
        .macro  check_call path, other
        testq   %rdi, %rdi
        je      .Lslow
        orq     %rdx, \other
        orq     \other, %rcx
        jne     .Lspecial_\path
.Lplain_\path:
        .endm

        /* To .Lslow unless the caller is where no handler on a signal stack is. Clobbers rax. */
        .macro  check_stack lo, len
        movq    %rsp, %rax
        subq    \lo, %rax
        cmpq    \len, %rax
        jae     .Lslow
        .endm

        /* Where a callback that does not return finds floating-point control. The gate's value
           says whether it wants it back. r12: the gate's value. */
        .macro  save_control path
        testb   $GATE_LEAVES_FP, %r12b
        jne     .Lbegin_\path
        stmxcsr CONTROL(%rbp)
        fnstcw  CONTROL+4(%rbp)
        .endm

        /* Begins the segment and goes to the G. rbx: M; `seg`: Call and its bits, for M_SEG; r12:
           the gate's value. Leaves fn in rax and frame in rdi.

           The one store says whose callback this is, and that it runs: a handler before it uses
           the M itself, and what it has left there is forgotten; a handler after it finds the callback
           under way.

           The gate is read after the store to M_SEG: then a stopper, which closes the gate and
           reads M_SEG, sees this thread run, or this thread sees the gate closed. The stopper
           orders the two for other processors (src/barrier.rs). */
        .macro  begin   path, seg
.Lbegin_\path:
        movq    %rbx, CALL_SIZE(%rsp)           /* says that this frame waits for a callback */
        movq    \seg, M_SEG(%rbx)
        cmpl    needm_gate(%rip), %r12d
        jne     .Lclosed_\path
        movq    M_TOP(%rbx), %rsp
        movq    %rdi, %rax
        movq    %rsi, %rdi
        .endm

        /* fn has returned. rsp: the G's top; rbx: M; r12: the gate's value; rbp: the caller's
           frame. Goes to the caller's stack, `below` bytes below rbp, and ends the segment: M_SEG
           before the gate, as in `begin`. */
        .macro  finish  path, below=0
        cmpq    $0, M_NEEDS_CLEANUP(%rbx)
        jne     .Lcleanup_\path
.Lexit_\path:
        .if     \below
        leaq    -\below(%rbp), %rsp
        .else
        movq    %rbp, %rsp
        .endif
        movq    $0, M_SEG(%rbx)
        cmpl    needm_gate(%rip), %r12d
        jne     .Lnotify_\path
        .endm

        /* The detours of a fast path that both have alike. */
        .macro  detours path
        /* From check_call: an info alone does no harm. The slow path refuses one that is too
           short. rax: 0 if there is nothing else, and then rcx is the info. */
.Lspecial_\path:
        testq   %rax, %rax
        jne     .Lslow
        cmpq    $INFO_BYTES, INFO_SIZE(%rcx)
        jae     .Lplain_\path
        jmp     .Lslow

        /* From finish, registers as there. */
.Lcleanup_\path:
        movq    %rbx, %rdi
        callq   needm_on_g_cleanup
.Lfrom_cleanup_\path:
        jmp     .Lexit_\path
        .endm

/* fn needm_entry(fn (rdi), frame (rsi), size (rdx), info (rcx)) -> i32 (eax)

   Runs fn(frame) on a G. Keeps what the ABI says a function keeps; mxcsr and the x87 control
   word are as fn leaves them.

   There are three paths. The first conditional branch chooses between the fast ones:
   - bound: BOUND_EPOCH is the gate's value. This thread's M is bound to it and in no callback.
   - rebind: REBIND_EPOCH is the gate's value. No M is bound to this thread. It binds the one
     that it had last, by one compare-and-swap, if that is on the extra list, and unbinds it by
     one store.
   - slow: everything else, and what the fast paths leave to it, by needm_enter. */
ROUTINE(needm_entry)
        .cfi_startproc
        LANDS_BY(.Lsites)
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register rbp
        subq    $FRAME_BYTES, %rsp
        movq    %rbx, -8(%rbp)
        movq    %r12, -16(%rbp)
        movq    %r13, -24(%rbp)
        movq    %r14, -32(%rbp)
        movq    %r15, -40(%rbp)
        .cfi_offset rbx, -24
        .cfi_offset r12, -32
        .cfi_offset r13, -40
        .cfi_offset r14, -48
        .cfi_offset r15, -56
        movq    %rcx, CALL_INFO(%rsp)           /* the slow path fills in the rest */

        movq    needm_tls@gottpoff(%rip), %rax  /* rax: the block's offset from fs */
        movl    %fs:TLS_BOUND_EPOCH(%rax), %r12d
        cmpl    needm_gate(%rip), %r12d         /* r12: the gate's value, until the end */
        jne     .Lrebind

        /* The bound path. */
        movq    %fs:TLS_M(%rax), %rbx           /* rbx: the M, until the end */
        movq    M_SEG(%rbx), %rax               /* in a callback? */
        check_call bound, %rax
        check_stack M_KNOWN_LO(%rbx), M_KNOWN_LEN(%rbx)
        save_control bound
        begin   bound, %rsp
        OTHER_STACK
        callq   *%rax
.Lfrom_bound:
        finish  bound
        movq    -8(%rbp), %rbx                  /* below rsp, in the red zone; this path has */
        movq    -16(%rbp), %r12                 /* changed no other callee-saved register */
        xorl    %eax, %eax
        return

        detours bound

        /* From begin: the gate closed on the way in. Steps back; the slow path waits.
           rsp: Call. */
.Lclosed_bound:
        movq    $0, M_SEG(%rbx)
        jmp     .Lslow

        /* From finish: a stopper may be waiting for this thread. rsp: rbp. */
.Lnotify_bound:
        leaq    -FRAME_BYTES(%rbp), %rsp        /* the call would overwrite what is saved */
        callq   needm_notify_stopper
        xorl    %eax, %eax
        restore_and_return

        /* The rebind path. rax: the block's offset; the rest as at the entry.
           r13: the thread's record, r14: the block's offset, until the end. */
.Lrebind:
        movl    %fs:TLS_REBIND_EPOCH(%rax), %r12d
        cmpl    needm_gate(%rip), %r12d         /* r12: the gate's value, until the end */
        jne     .Lslow
        movq    %rax, %r14
        movq    %fs:TLS_THREAD(%rax), %r13
        movq    %fs:TLS_M(%rax), %rax           /* in a callback? */
        check_call rebind, %rax
        check_stack THREAD_KNOWN_LO(%r13), THREAD_KNOWN_LEN(%r13)
        movq    THREAD_LAST(%r13), %rbx         /* rbx: the M, until the end */
        /* THREAD_M leads to the M while nothing is bound, so that reaping finds it if the thread exits here.
           Else an M is bound that is not published: a handler's or a fiber's callback was left, or this
           is a handler, and the thread is between two steps of binding one. */
        cmpq    %rbx, THREAD_M(%r13)
        jne     .Lslow
        movl    THREAD_CLAIM(%r13), %r10d
        movl    $M_IDLE, %eax
        lock cmpxchgl %r10d, M_STATE(%rbx)
        jne     .Lslow                          /* bound to another thread, or not on the list */
        cmpq    %r13, M_THREAD(%rbx)
        jne     .Lreclaimed
.Lrebound:
        movq    %rbx, %fs:TLS_M(%r14)           /* published last */
        cmpq    %rbx, THREAD_M(%r13)            /* or has a handler left an M bound? */
        jne     .Lother_bound
        leaq    M_BOUND_HERE(%rsp), %r10
        save_control rebind
        begin   rebind, %r10
        callq   *%rax
.Lfrom_rebind:
        finish  rebind, FRAME_BYTES
.Lunbind:
        movl    THREAD_CLAIM(%r13), %eax
        cmpl    %eax, M_STATE(%rbx)             /* still on the list? */
        jne     .Lunlisted
        movq    $0, %fs:TLS_M(%r14)             /* withdrawn first */
        cmpq    $0, M_SEG(%rbx)                 /* has a handler left a callback on it? */
        jne     .Lunlisted
        movl    $M_IDLE, M_STATE(%rbx)
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. */
        cmpl    $0, needm_gate+GATE_WAITERS(%rip)
        jne     .Lwake_waiter
.Ldone:
        xorl    %eax, %eax
        restore_and_return

        detours rebind

        /* Another thread had the M in between: M_THREAD and M_KNOWN_* describe that one. Sets them. */
.Lreclaimed:
        movq    %r13, M_THREAD(%rbx)
        movq    THREAD_KNOWN_LO(%r13), %rax
        movq    %rax, M_KNOWN_LO(%rbx)
        movq    THREAD_KNOWN_LEN(%r13), %rax
        movq    %rax, M_KNOWN_LEN(%rbx)
        jmp     .Lrebound

        /* As .Lclosed_bound, and unbinds the M. rsp: Call; rdi, rsi, rdx as at the entry. */
.Lclosed_rebind:
        movq    $0, M_SEG(%rbx)
.Lother_bound:
        /* Unpublishes the M, and gives it back. */
        movq    %rdx, CALL_SIZE(%rsp)
        movq    %rsi, CALL_FRAME(%rsp)
        movq    %rdi, CALL_FN(%rsp)
        movq    %rbx, %rdi
        callq   needm_dropm
        jmp     .Lslow_filled

        /* As .Lnotify_bound. rsp: Call. */
.Lnotify_rebind:
        callq   needm_notify_stopper
        jmp     .Lunbind

        /* The M was popped from the list while it was bound: needm_dropm lists it again. Or a callback is
           to be dropped. */
.Lunlisted:
        movq    %rbx, %rdi
        callq   needm_dropm
        jmp     .Ldone

.Lwake_waiter:
        callq   needm_wake
        jmp     .Ldone

        /* The slow path. rsp: Call; rdi, rsi, rdx as at the entry; rbp: the caller's frame. */
.Lslow:
        movq    %rdx, CALL_SIZE(%rsp)
        movq    %rsi, CALL_FRAME(%rsp)
        movq    %rdi, CALL_FN(%rsp)
        /* Without asking the gate: needm may be stopped and started again while this waits. */
.Lslow_filled:
        stmxcsr CONTROL(%rbp)
        fnstcw  CONTROL+4(%rbp)
        movq    %rsp, %rdi
        callq   needm_enter                     /* -> the G's stack pointer, or 0 */
        testq   %rax, %rax
        je      .Lrefused
        movq    CALL_OUT(%rsp), %rbx            /* rbx: M, plus bits of CALL_PENDING */
        movq    %rsp, %r12                      /* r12: Call, until the end */
        movq    %rax, %rsp
        testb   $CALL_PENDING, %bl
        je      2f
        andq    $-(CALL_PENDING + 1), %rbx
        movq    %r12, %rdi
        callq   needm_on_g_prologue
2:
        movq    CALL_ARG(%r12), %rdi
        callq   *CALL_FN(%r12)
.Lfrom_slow:
        movq    M_SEG(%rbx), %rax
        cmpq    %r12, SEG_CALL-M_SEGMENT(%rax) /* or did C jump from an inner callback to here? */
        jne     2f
        cmpq    $0, SEG_DEFERS-M_SEGMENT(%rax)
        je      3f
2:
        movq    %r12, %rdi
        movq    %rbx, %rsi
        callq   needm_on_g_epilogue
.Lfrom_epilogue:
3:
        OTHER_STACK_END
        testb   $CALL_ON_G, CALL_OUT(%r12)
        jne     4f                              /* Call is on the G, above fn's part: stay below */
        movq    %r12, %rsp
4:
        movq    %r12, %rdi
        movq    %rbx, %rsi
        xorl    %edx, %edx
        /* rdi: Call; rsi: M; edx: how it ended; rbp: the caller's frame. */
.Lexit:
        callq   needm_exit                      /* -> the caller's result */
        cmpl    $CALL_UNWOUND, %eax
        je      .Lresume
        restore_and_return

        /* rsp: Call. */
.Lrefused:
        movl    CALL_OUT(%rsp), %eax
        restore_and_return

        /* The landing pad: something unwinds the stack, and fn's frames are gone. On the G; rax: the
           exception; rdx: _Unwind_Resume; rbp: the caller's frame. needm_unwound ends the callback
           and comes back to .Lresume, on the caller's stack; or it returns Call, if there is no
           callback to end. */
.Lunwound:
        leaq    -FRAME_BYTES(%rbp), %rdi
        movq    %rax, %rsi
        callq   needm_unwound
        movq    %rax, %rsp
        /* The unwinding goes on in the caller. rbp: the caller's frame. */
.Lresume:
        movq    CALL_FN-FRAME_BYTES(%rbp), %rdi
        callq   *CALL_OUT-FRAME_BYTES(%rbp)
        ud2

/* fn needm_unwind(call (rdi), m (rsi), code (edx), sp (rcx)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack at sp, with the direction flag and the x87 stack as at the entry, and the control words
   too, unless the gate says that they are left alone.
   Called by src/callback/panic.rs. Until rbp is the entry's again, the CFI finds the frame by
   call. */
INNER_ROUTINE(needm_unwind)
        .cfi_def_cfa rdi, FRAME_BYTES + 16
        leaq    FRAME_BYTES(%rdi), %rbp
        .cfi_def_cfa rbp, 16
        movq    %rcx, %rsp
        cld
        testl   $GATE_LEAVES_FP, needm_gate(%rip)
        je      1f
        stmxcsr CONTROL(%rbp)                   /* empty_x87 changes one of them */
        fnstcw  CONTROL+4(%rbp)
1:
        empty_x87
        fldcw   CONTROL+4(%rbp)
        ldmxcsr CONTROL(%rbp)
        callq   needm_exit                      /* -> the caller's result */
        cmpl    $CALL_UNWOUND, %eax
        je      .Lresume
        restore
        popq    %rbp
        .cfi_def_cfa rsp, 8
        .cfi_restore rbp
        /* Not ret, which processors predict by the calls that have not returned: fn and what it has called
           have not. After a system call in a signal handler Zen 4 takes 0.4 us for that. */
        popq    %rcx
        .cfi_def_cfa_offset 0
        .cfi_register rip, rcx
        notrack jmp *%rcx
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
