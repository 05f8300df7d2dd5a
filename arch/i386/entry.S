/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A callback, from the C caller to the G and back, for i386: arch/x86_64/entry.S has the full
   comments and the names of the Rust side. Arguments of all are on the stack (cdecl).

   The caller's stack while a callback runs, and the G's:

        caller's stack                        the G's stack
        --------------                        -------------
        info  (ebp+20)
        size  (ebp+16)
        frame (ebp+12)
        fn    (ebp+8)     <- CFA
        return address (ebp+4)
 ebp -> saved ebp
        ebx esi edi (ebp-4 -8 -12)
        mxcsr            (ebp-16)
        x87 control word (ebp-20)             ...frames of outer callbacks
        OUT              (ebp-24)             copied frame, if any
        ARG              (ebp-28)             (padding), arg       <- esp
        SIZE             (ebp-32)             return address to here
        FRAME            (ebp-36)             fn's own frame
        FN               (ebp-40)
        INFO             (ebp-44) <- Call

   The segment is elsewhere: its SEG_CALL, or M_SEG itself, points to Call.

   A caller may align its stack to 4 bytes only (System V ABI, Intel386 supplement, fourth
   edition, 3 "Function Calling Sequence"), while Rust and GCC move 16 bytes at a time there. So
   Call is aligned to 4 bytes, and `align` makes room below it before Rust is called. */
#include "asm.h"

#define SAVED_BYTES  12         /* ebx, esi, edi */
#define FRAME_BYTES  (SAVED_BYTES + 8 + CALL_BYTES)
#define MXCSR        -16        /* below ebp */
#define FCW          -20
#define ARGS         16         /* room for up to four arguments of a call */
#define CALL_OFFSET  CALL_ARG   /* two words of Call that the rebind path keeps its own in */
#define CALL_THREAD  CALL_OUT
        .if     CALL_INFO != 0
        .error  "src/layout.rs: CALL_INFO must be first here"
        .endif
#include "i386/entry.h"

        /* Begins the segment and goes to the G. ebx: M; `seg`: Call and its bits, for M_SEG; esi:
           the gate's value; edi: what GOTOFF is from. Leaves frame as the argument: M_TOP is a
           word less than ARGS below the top. The order: arch/x86_64/entry.S. */
        .macro  begin   path, seg
.Lbegin_\path:
        movl    %ebx, CALL_SIZE(%esp)           /* says that this frame waits for a callback */
        movl    \seg, M_SEG(%ebx)
        cmpl    needm_gate@GOTOFF(%edi), %esi
        jne     .Lclosed_\path
        movl    M_TOP(%ebx), %esp
        pushl   12(%ebp)
        .endm

        /* fn has returned. esp: ARGS below the G's top; ebx: M; esi: the gate's value; edi: what
           GOTOFF is from; ebp: the caller's frame. Leaves esp `below` ebp, and the segment
           ended. */
        .macro  finish  path, below
        cmpl    $0, M_NEEDS_CLEANUP(%ebx)
        jne     .Lcleanup_\path
.Lexit_\path:
        leal    -\below(%ebp), %esp
        movl    $0, M_SEG(%ebx)
        cmpl    needm_gate@GOTOFF(%edi), %esi
        jne     .Lnotify_\path
        .endm

        /* The detours of a fast path that both have alike. */
        .macro  detours path, other
        /* From check_call: an info alone does no harm. The slow path refuses one that is too
           short. No info: a handler has dropped, since then, the callback that was under way, because
           it was jumped out of. */
.Lspecial_\path:
        movl    \other, %edx
        orl     16(%ebp), %edx
        jne     .Lslow
        movl    20(%ebp), %edx
        testl   %edx, %edx
        je      .Lslow
        cmpl    $INFO_BYTES, INFO_SIZE(%edx)
        jae     .Lplain_\path
        jmp     .Lslow

        /* From finish, registers as there. */
.Lcleanup_\path:
        movl    %ebx, (%esp)
        calll   needm_on_g_cleanup
.Lfrom_cleanup_\path:
        jmp     .Lexit_\path
        .endm

/* fn needm_entry(fn (esp+4), frame (esp+8), size (esp+12), info (esp+16)) -> i32 (eax)

   Runs fn(frame) on a G. Keeps what the ABI says a function keeps; mxcsr and the x87 control
   word are as fn leaves them. Three paths, as on x86_64: bound, rebind, slow. */
ROUTINE(needm_entry)
        .cfi_startproc
        LANDS_BY(.Lsites)
        pushl   %ebp
        .cfi_def_cfa_offset 8
        .cfi_offset ebp, -8
        movl    %esp, %ebp
        .cfi_def_cfa_register ebp
        pushl   %ebx
        .cfi_offset ebx, -12
        pushl   %esi
        .cfi_offset esi, -16
        pushl   %edi
        .cfi_offset edi, -20
        subl    $(FRAME_BYTES - SAVED_BYTES - 4), %esp
        pushl   20(%ebp)                        /* CALL_INFO; the slow path fills in the rest */

        call    1f
1:
        popl    %edi
        addl    $_GLOBAL_OFFSET_TABLE_ + (. - 1b), %edi /* edi: what GOTOFF is from, until the end */
        movl    20(%ebp), %edx
        movl    needm_tls@gotntpoff(%edi), %eax /* eax: the block's offset from gs */
        movl    %gs:TLS_BOUND_EPOCH(%eax), %esi
        cmpl    needm_gate@GOTOFF(%edi), %esi   /* esi: the gate's value, until the end */
        jne     .Lrebind

        /* The bound path. */
        movl    %gs:TLS_M(%eax), %ebx           /* ebx: the M, until the end */
        check_call bound, M_SEG(%ebx)           /* in a callback? */
        check_stack M_KNOWN_LO(%ebx), M_KNOWN_LEN(%ebx)
        check_control bound
        begin   bound, %esp
        OTHER_STACK
        calll   *8(%ebp)
.Lfrom_bound:
        .cfi_remember_state
        finish  bound, SAVED_BYTES
        xorl    %eax, %eax
        pop_and_return
        .cfi_restore_state

        detours bound, M_SEG(%ebx)

        /* From begin: the gate closed on the way in. Steps back; the slow path waits.
           esp: Call. */
.Lclosed_bound:
        movl    $0, M_SEG(%ebx)
        jmp     .Lslow

        /* From finish: a stopper may be waiting for this thread. */
.Lnotify_bound:
        align
        calll   needm_notify_stopper
.Ldone:
        xorl    %eax, %eax
        restore_and_return

        /* The rebind path. eax: the block's offset; edx: info. The offset and the thread's
           record stay in CALL_OFFSET and CALL_THREAD. */
.Lrebind:
        movl    %gs:TLS_REBIND_EPOCH(%eax), %esi
        cmpl    needm_gate@GOTOFF(%edi), %esi   /* esi: the gate's value, until the end */
        jne     .Lslow
        movl    %eax, CALL_OFFSET(%esp)
        movl    %gs:TLS_THREAD(%eax), %ecx      /* ecx: the thread's record */
        movl    %ecx, CALL_THREAD(%esp)
        movl    %gs:TLS_M(%eax), %eax           /* in a callback? */
        check_call rebind, %eax
        check_stack THREAD_KNOWN_LO(%ecx), THREAD_KNOWN_LEN(%ecx)
        movl    THREAD_LAST(%ecx), %ebx         /* ebx: the M, until the end */
        cmpl    %ebx, THREAD_M(%ecx)            /* as in arch/x86_64/entry.S */
        jne     .Lslow
        movl    THREAD_CLAIM(%ecx), %edx
        movl    $M_IDLE, %eax
        lock cmpxchgl %edx, M_STATE(%ebx)
        jne     .Lslow                          /* bound to another thread, or not on the list */
        cmpl    %ecx, M_THREAD(%ebx)
        jne     .Lreclaimed
.Lrebound:
        movl    CALL_OFFSET(%esp), %eax
        movl    %ebx, %gs:TLS_M(%eax)           /* published last */
        cmpl    %ebx, THREAD_M(%ecx)            /* or has a handler left an M bound? */
        jne     .Lother_bound
        leal    M_BOUND_HERE(%esp), %edx
        check_control rebind
        begin   rebind, %edx
        calll   *8(%ebp)
.Lfrom_rebind:
        finish  rebind, FRAME_BYTES
.Lunbind:
        movl    CALL_THREAD-FRAME_BYTES(%ebp), %ecx
        movl    CALL_OFFSET-FRAME_BYTES(%ebp), %edx
        movl    THREAD_CLAIM(%ecx), %eax
        cmpl    %eax, M_STATE(%ebx)             /* still on the list? */
        jne     .Lunlisted
        movl    $0, %gs:TLS_M(%edx)             /* withdrawn first */
        cmpl    $0, M_SEG(%ebx)                 /* has a handler left a callback on it? */
        jne     .Lunlisted
        movl    $M_IDLE, M_STATE(%ebx)
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. */
        cmpl    $0, needm_gate@GOTOFF+GATE_WAITERS(%edi)
        jne     .Lwake_waiter
        xorl    %eax, %eax
        restore_and_return

        detours rebind, %eax

        /* Another thread had the M in between: M_THREAD and M_KNOWN_* describe that one. Sets them.
           ecx: the thread's record. */
.Lreclaimed:
        movl    %ecx, M_THREAD(%ebx)
        movl    THREAD_KNOWN_LO(%ecx), %eax
        movl    %eax, M_KNOWN_LO(%ebx)
        movl    THREAD_KNOWN_LEN(%ecx), %eax
        movl    %eax, M_KNOWN_LEN(%ebx)
        jmp     .Lrebound

        /* As .Lclosed_bound, and unbinds the M. esp: Call, in which only INFO counts: the slow
           path fills in the rest. */
.Lclosed_rebind:
        movl    $0, M_SEG(%ebx)
.Lother_bound:
        /* Unpublishes the M, and gives it back. */
        align
        movl    %ebx, (%esp)
        calll   needm_dropm
        leal    -FRAME_BYTES(%ebp), %esp
        jmp     .Lslow

        /* As .Lnotify_bound. */
.Lnotify_rebind:
        align
        calll   needm_notify_stopper
        jmp     .Lunbind

        /* The M was popped from the list while it was bound: needm_dropm lists it again. Or a callback is
           to be dropped. */
.Lunlisted:
        align
        movl    %ebx, (%esp)
        calll   needm_dropm
        jmp     .Ldone

.Lwake_waiter:
        align
        calll   needm_wake
        jmp     .Ldone

        /* The slow path. esp: Call; ebp: the caller's frame. */
.Lslow:
        movl    16(%ebp), %eax
        movl    %eax, CALL_SIZE(%esp)
        movl    12(%ebp), %eax
        movl    %eax, CALL_FRAME(%esp)
        movl    8(%ebp), %eax
        movl    %eax, CALL_FN(%esp)
        save_control                            /* not by the gate: needm may be stopped and */
        movl    %esp, %edi                      /* started again while this waits */
        align                                   /* edi: Call, until the end */
        movl    %edi, (%esp)
        calll   needm_enter                     /* -> the G's stack pointer, or 0 */
        testl   %eax, %eax
        je      .Lrefused
        movl    CALL_OUT(%edi), %ebx            /* ebx: M, plus bits of CALL_PENDING */
        leal    -ARGS(%eax), %esp
        testb   $CALL_PENDING, %bl
        je      2f
        andl    $-(CALL_PENDING + 1), %ebx
        movl    %edi, (%esp)
        calll   needm_on_g_prologue
2:
        movl    CALL_ARG(%edi), %eax
        movl    %eax, (%esp)
        calll   *CALL_FN(%edi)
.Lfrom_slow:
        movl    M_SEG(%ebx), %eax
        cmpl    %edi, SEG_CALL-M_SEGMENT(%eax)  /* or did C jump from an inner callback to here? */
        jne     2f
        cmpl    $0, SEG_DEFERS-M_SEGMENT(%eax)
        je      3f
2:
        movl    %edi, (%esp)
        movl    %ebx, 4(%esp)
        calll   needm_on_g_epilogue
.Lfrom_epilogue:
3:
        OTHER_STACK_END
        testb   $CALL_ON_G, CALL_OUT(%edi)
        jne     4f                              /* Call is on the G, above fn's part: stay below */
        align
4:
        xorl    %edx, %edx
        /* esp: room for arguments; edi: Call; ebx: M; edx: how it ended; ebp: the caller's
           frame. */
.Lexit:
        movl    %edi, (%esp)
        movl    %ebx, 4(%esp)
        movl    %edx, 8(%esp)
        calll   needm_exit                      /* -> the caller's result */
        cmpl    $CALL_UNWOUND, %eax
        je      .Lresume
        restore_and_return

        /* edi: Call. */
.Lrefused:
        movl    CALL_OUT(%edi), %eax
        restore_and_return

        /* The landing pad. On the G, with the arguments of fn still on the stack; eax: the exception;
           edx: _Unwind_Resume; ebp: the caller's frame. */
.Lunwound:
        leal    -FRAME_BYTES(%ebp), %ecx        /* ecx: Call */
        andl    $-16, %esp
        subl    $ARGS, %esp
        movl    %ecx, (%esp)
        movl    %eax, 4(%esp)
        movl    %edx, 8(%esp)
        calll   needm_unwound
        leal    -ARGS(%eax), %esp
        andl    $-16, %esp                      /* Call is aligned to 4 bytes only */
        /* esp: room for arguments; ebp: the caller's frame. */
.Lresume:
        leal    -FRAME_BYTES(%ebp), %ecx        /* ecx: Call */
        movl    CALL_FN(%ecx), %eax
        movl    %eax, (%esp)
        calll   *CALL_OUT(%ecx)
        ud2

/* fn needm_unwind(call (esp+4), m (esp+8), code (esp+12), sp (esp+16)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack at sp, with the direction flag and the x87 stack as at the entry, and the control words
   too, unless the gate says that they are left alone. Called by src/callback/panic.rs.

   Until ebp is the entry's again, the CFI finds the CFA, and all that is saved below it, by
   call: DW_CFA_def_cfa_expression, 5 bytes: DW_OP_breg4 4, DW_OP_deref (Call),
   DW_OP_plus_uconst FRAME_BYTES + 8 (DWARF 4, 6.4.2.2 "CFA Definition Instructions" and 2.5.1
   "General Operations"). */
INNER_ROUTINE(needm_unwind)
        .cfi_escape 0x0f, 5, 0x74, 4, 0x06, 0x23, FRAME_BYTES + 8
        movl    4(%esp), %edi
        movl    8(%esp), %ebx
        movl    12(%esp), %edx
        movl    16(%esp), %eax
        leal    FRAME_BYTES(%edi), %ebp
        .cfi_def_cfa ebp, 8
        leal    -ARGS(%eax), %esp
        andl    $-16, %esp                      /* Call is aligned to 4 bytes only */
        cld
        call    1f
1:
        popl    %eax
        testl   $GATE_LEAVES_FP, needm_gate-1b(%eax)
        je      1f
        save_control                            /* fninit changes one of them */
1:
        fninit
        fldcw   FCW(%ebp)
        ldmxcsr MXCSR(%ebp)
        jmp     .Lexit
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
