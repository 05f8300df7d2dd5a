/* The way of a callback into the kernel and out again.

   The Rust side is src/callback/ (`enter`, `on_g_prologue`; `ending`, `returned`, `exit`),
   by the symbols that `upcalls!` there defines.

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
        return address    <- CFA - 8
 rbp -> saved rbp
        rbx r12 r13 r14 r15 (rbp-8 .. -40)
        mxcsr, x87 control word  (rbp-48)     ...frames of outer callbacks
        OUT   (rbp-56)                        copied frame, if any      <- rsp
        ARG   (rbp-64)                        return address into here
        INFO  (rbp-72)                        fn's own frame
        SIZE  (rbp-80)
        FRAME (rbp-88)                        The segment is elsewhere; its
        FN    (rbp-96)   <- Call              SEG_CALL points at Call.

   rbp points into the caller's stack for as long as the callback runs, which
   keeps the CFI below one plain rule on either stack, and the chain of frame
   pointers whole. */
#include "asm.h"

#define FRAME_BYTES 96
#define CONTROL     -48

        .macro  restore_and_return
        movq    -8(%rbp), %rbx
        movq    -16(%rbp), %r12
        movq    -24(%rbp), %r13
        movq    -32(%rbp), %r14
        movq    -40(%rbp), %r15
        movq    %rbp, %rsp
        return
        .endm

        .macro  return
        popq    %rbp
        .cfi_remember_state
        .cfi_def_cfa rsp, 8
        .cfi_restore rbp
        ret
        .cfi_restore_state
        .endm

        /* To .Lslow if what is asked for is not just fn(frame), or `other` is not 0; to
           `info` if there is one to be looked at. rdi, rdx, rcx as at the entry. */
        .macro  plain_or other, info
        testq   %rdi, %rdi
        je      .Lslow
        orq     %rdx, \other                    /* bytes to copy? */
        jne     .Lslow
        testq   %rcx, %rcx
        jne     \info
        .endm

        /* To .Lslow if the caller is a handler on the signal stack. */
        .macro  off_signal_stack lo, len
        movq    %rsp, %rax
        subq    \lo, %rax
        cmpq    \len, %rax
        jb      .Lslow
        .endm

        /* Begins the segment and goes to the G. rbx: M; r10: the M's own segment, and
           M_RUNNING; r12: the gate's value; rsp: Call. A handler that calls back before
           M_SEG is set uses this segment too, and leaves its own call in it: hence the
           look afterwards. */
        .macro  begin   again, closed, flags
        movq    %rsp, M_BASE+SEG_CALL(%rbx)
        .ifnb   \flags
        movq    $\flags, M_BASE+SEG_FLAGS(%rbx)
        .endif
        movq    %r10, M_SEG(%rbx)
        cmpq    %rsp, M_BASE+SEG_CALL(%rbx)
        jne     \again
        cmpl    needm_gate(%rip), %r12d         /* after the store to M_SEG: src/world.rs */
        jne     \closed
        movq    M_TOP(%rbx), %rsp
        movq    %rdi, %rax
        movq    %rsi, %rdi
        .endm

/* fn needm_entry(fn (rdi), frame (rsi), size (rdx), info (rcx)) -> i32 (eax)

   Three ways in:
   - steady: this thread's PASS is the gate's value. Its M is its own, and in no
     callback.
   - again: its AGAIN is. It has no M, and takes the one it had last, if that is on
     the list, by one compare-and-swap; and gives it back by one store.
   - slow: all else, and whatever those two meet, through `enter`. */
ROUTINE(needm_entry)
        .cfi_startproc
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
        stmxcsr CONTROL(%rbp)
        fnstcw  CONTROL+4(%rbp)
        movq    %rcx, CALL_INFO(%rsp)           /* the rest only on the slow path */

        movq    needm_tls@gottpoff(%rip), %rax
        movl    %fs:TLS_BOUND_EPOCH(%rax), %r12d       /* r12: the pass, until the end */
        cmpl    needm_gate(%rip), %r12d
        jne     .Lrebind
        movq    %fs:TLS_M(%rax), %rbx           /* rbx: the M, until the end */
        movq    M_SEG(%rbx), %rax               /* in a callback? */
        plain_or %rax, .Linfo
.Lplain:
        off_signal_stack M_SIG_LO(%rbx), M_SIG_LEN(%rbx)
        leaq    M_BASE+M_RUNNING(%rbx), %r10
.Lbegin:
        begin   .Lretry, .Lclosed
        OTHER_STACK
        callq   *%rax
        /* rsp: the G's top; rbx: M; r12: pass; rbp: the caller's frame */
        cmpq    $0, M_NEEDS_CLEANUP(%rbx)
        jne     .Lcleanup
.Lexit_bound:
        movq    %rbp, %rsp                      /* the saved registers are in its red zone */
        movq    $0, M_SEG(%rbx)
        cmpl    needm_gate(%rip), %r12d
        jne     .Lnotify
        movq    -8(%rbp), %rbx
        movq    -16(%rbp), %r12
        xorl    %eax, %eax
        return

        /* An info that is too short is refused on the slow path. */
.Linfo:
        cmpq    $INFO_BYTES, (%rcx)
        jae     .Lplain
        jmp     .Lslow

        /* The gate closed while this thread came in: step back, then wait as a
           slow caller. rsp: Call. */
.Lclosed:
        movq    $0, M_SEG(%rbx)
        jmp     .Lslow

.Lretry:
        movq    $0, M_SEG(%rbx)
        jmp     .Lbegin

        /* rsp: the G's top; rbx: M */
.Lcleanup:
        movq    %rbx, %rdi
        callq   needm_on_g_cleanup
        jmp     .Lexit_bound

        /* Somebody may be waiting for this thread to be out. */
.Lnotify:
        leaq    -FRAME_BYTES(%rbp), %rsp
        callq   needm_notify_stopper
        xorl    %eax, %eax
        restore_and_return

        /* No M of its own. rax: the block's offset; the rest as at the entry.
           r13: the thread's record, r14: the block's offset, until the end. */
.Lrebind:
        movl    %fs:TLS_REBIND_EPOCH(%rax), %r12d      /* r12: the gate's value, until the end */
        cmpl    needm_gate(%rip), %r12d
        jne     .Lslow
        movq    %rax, %r14
        movq    %fs:TLS_THREAD(%rax), %r13
        movq    %fs:TLS_M(%rax), %rax           /* in a callback? */
        orq     THREAD_M(%r13), %rax            /* or between two steps of taking one? */
        plain_or %rax, .Linfo_rebind
.Lplain_rebind:
        off_signal_stack THREAD_SIG_LO(%r13), THREAD_SIG_LEN(%r13)
        movq    THREAD_LAST(%r13), %rbx         /* rbx: the M, until the end */
        movl    THREAD_CLAIM(%r13), %r10d
        /* Before it is taken, so that it is found should the thread end in between;
           and again afterwards, because a handler in between may have withdrawn it. */
        movq    %rbx, THREAD_M(%r13)
        movl    $M_IDLE, %eax
        lock cmpxchgl %r10d, M_STATE(%rbx)
        jne     .Lother_holder
        movq    %rbx, THREAD_M(%r13)
        cmpq    %r13, M_THREAD(%rbx)
        jne     .Lreclaimed
.Lrebound:
        leaq    M_BASE+M_RUNNING(%rbx), %r10
        movq    %rbx, %fs:TLS_M(%r14)           /* published last */
.Lbegin_rebound:
        begin   .Lretry_rebound, .Lclosed_rebound, SEG_BOUND_HERE
        callq   *%rax
        /* rsp: the G's top; rbx: M; rbp: the caller's frame */
        cmpq    $0, M_NEEDS_CLEANUP(%rbx)
        jne     .Lcleanup_rebound
.Lexit_rebound:
        leaq    -FRAME_BYTES(%rbp), %rsp
        movq    $0, M_SEG(%rbx)
        cmpl    needm_gate(%rip), %r12d
        jne     .Lnotify_rebound
.Lunbind:
        movl    THREAD_CLAIM(%r13), %eax
        cmpl    %eax, M_STATE(%rbx)             /* still on the list? */
        jne     .Lunlisted
        movq    $0, %fs:TLS_M(%r14)             /* withdrawn first */
        movl    $M_IDLE, M_STATE(%rbx)
        movq    $0, THREAD_M(%r13)
        cmpl    $0, needm_gate+GATE_WAITERS(%rip)         /* after the store to M_STATE: src/extra */
        jne     .Lwake_waiter
.Ldone:
        xorl    %eax, %eax
        restore_and_return

.Linfo_rebind:
        cmpq    $INFO_BYTES, (%rcx)
        jae     .Lplain_rebind
        jmp     .Lslow

        /* Another thread has it. */
.Lother_holder:
        movq    $0, THREAD_M(%r13)
        jmp     .Lslow

        /* Another thread has had it in between. */
.Lreclaimed:
        movq    %r13, M_THREAD(%rbx)
        movq    THREAD_SIG_LO(%r13), %rax
        movq    %rax, M_SIG_LO(%rbx)
        movq    THREAD_SIG_LEN(%r13), %rax
        movq    %rax, M_SIG_LEN(%rbx)
        jmp     .Lrebound

.Lretry_rebound:
        movq    $0, M_SEG(%rbx)
        jmp     .Lbegin_rebound

        /* rsp: Call; rdi, rsi, rdx as at the entry, which the slow path wants. */
.Lclosed_rebound:
        movq    $0, M_SEG(%rbx)
        movq    %rdx, CALL_SIZE(%rsp)
        movq    %rsi, CALL_FRAME(%rsp)
        movq    %rdi, CALL_FN(%rsp)
        movq    %rbx, %rdi
        callq   needm_dropm
        jmp     .Lslow_filled

        /* rsp: the G's top; rbx: M */
.Lcleanup_rebound:
        movq    %rbx, %rdi
        callq   needm_on_g_cleanup
        jmp     .Lexit_rebound

.Lnotify_rebound:
        callq   needm_notify_stopper
        jmp     .Lunbind

.Lunlisted:
        movq    %rbx, %rdi
        callq   needm_dropm
        jmp     .Ldone

.Lwake_waiter:
        callq   needm_wake
        jmp     .Ldone

        /* rsp: Call; rbp: the caller's frame */
.Lslow:
        movq    %rdx, CALL_SIZE(%rsp)
        movq    %rsi, CALL_FRAME(%rsp)
        movq    %rdi, CALL_FN(%rsp)
.Lslow_filled:
        movq    %rsp, %rdi
        callq   needm_enter                     /* -> the G's stack pointer, or 0 */
        testq   %rax, %rax
        je      .Lrefused
        movq    CALL_OUT(%rsp), %rbx
        movq    %rsp, %r12                      /* r12: Call */
        movq    %rax, %rsp
        testb   $CALL_PENDING, %bl
        je      2f
        andq    $-(CALL_PENDING + 1), %rbx
        movq    %r12, %rdi
        callq   needm_on_g_prologue
2:
        movq    CALL_ARG(%r12), %rdi
        callq   *CALL_FN(%r12)
        movq    M_SEG(%rbx), %rax
        cmpq    %r12, SEG_CALL-M_RUNNING(%rax)    /* C may have jumped out of others, back here */
        jne     2f
        cmpq    $0, SEG_DEFERS-M_RUNNING(%rax)
        je      3f
2:
        movq    %r12, %rdi
        movq    %rbx, %rsi
        callq   needm_on_g_epilogue
3:
        OTHER_STACK_END
        testb   $CALL_ON_G, CALL_OUT(%r12)
        jne     4f                              /* Call is on the G, and fn's part below it: stay there */
        movq    %r12, %rsp
4:
        movq    %r12, %rdi
        movq    %rbx, %rsi
        xorl    %edx, %edx
        /* rdi: Call; rsi: M; edx: how it ended; rbp: the caller's frame */
.Lexit:
        callq   needm_exit                      /* -> the caller's result */
        restore_and_return

.Lrefused:
        movl    CALL_OUT(%rsp), %eax
        restore_and_return

/* fn needm_unwind(call (rdi), m (rsi), code (edx), sp (rcx)) -> !

   Ends a callback from wherever it is: back on its caller's stack at sp, control
   words, direction flag and x87 stack as at the entry, the same way out. */
        .globl  needm_unwind
        .hidden needm_unwind
        .type   needm_unwind, @function
needm_unwind:
        .cfi_def_cfa rdi, FRAME_BYTES + 16
        leaq    FRAME_BYTES(%rdi), %rbp
        .cfi_def_cfa rbp, 16
        movq    %rcx, %rsp
        cld
        fninit
        fldcw   CONTROL+4(%rbp)
        ldmxcsr CONTROL(%rbp)
        jmp     .Lexit
        .cfi_endproc
END(needm_entry)
