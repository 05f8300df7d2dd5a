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
        (padding to 16 bytes)
        mxcsr            (Call+32)            ...frames of outer callbacks
        x87 control word (Call+28)            copied frame, if any
        ebp, again       (Call+24)            (padding), arg       <- esp
        OUT ARG INFO SIZE FRAME FN            return address to here
                         <- Call = esp        fn's own frame

   The segment is elsewhere: its SEG_CALL points to Call.

   A caller may align its stack to 4 bytes only (System V ABI, Intel386 supplement, fourth
   edition, 3 "Function Calling Sequence"), while Rust and GCC move 16 bytes at a time there. So the
   entry aligns, and Call is at no fixed distance from ebp: `to_call` computes it from ebp, and
   CALL_EBP leads back. */
#include "asm.h"

#define SAVED_BYTES  12         /* ebx, esi, edi */
#define BELOW_BYTES  36         /* Call and the three words above it */
#define CALL_EBP     CALL_BYTES
#define CALL_FCW     (CALL_BYTES + 4)
#define CALL_MXCSR   (CALL_BYTES + 8)
#define ARGS         16         /* room for up to four arguments of a call */
#define CALL_OFFSET  CALL_ARG   /* two words of Call that the rebind path keeps its own in */
#define CALL_THREAD  CALL_OUT

        /* esp: Call, whichever stack it was on. */
        .macro  to_call
        leal    -(SAVED_BYTES + BELOW_BYTES)(%ebp), %esp
        andl    $-16, %esp
        .endm

        /* A handler overwrites what is below esp (there is no red zone), so the CFI stops
           pointing to a register's place before esp moves over it. */
        .macro  restore_and_return
        movl    -4(%ebp), %ebx
        movl    -8(%ebp), %esi
        movl    -12(%ebp), %edi
        .cfi_remember_state
        .cfi_restore ebx
        .cfi_restore esi
        .cfi_restore edi
        movl    %ebp, %esp
        popl    %ebp
        .cfi_def_cfa esp, 4
        .cfi_restore ebp
        ret
        .cfi_restore_state
        .endm

        /* To .Lslow unless the caller asks for fn(frame) alone, outside callbacks: `other` must
           be 0. edx: info. Clobbers other. */
        .macro  check_call path, other
        cmpl    $0, 8(%ebp)
        je      .Lslow
        orl     16(%ebp), \other                /* bytes to copy? */
        jne     .Lslow
        testl   %edx, %edx
        jne     .Linfo_\path
.Lplain_\path:
        .endm

        /* To .Lslow if the caller is a handler on the signal stack. Clobbers edx. */
        .macro  check_stack lo, len
        movl    %esp, %edx
        subl    \lo, %edx
        cmpl    \len, %edx
        jb      .Lslow
        .endm

        /* Begins the segment and goes to the G. ebx: M; edx: the M's own segment + M_RUNNING;
           esi: the gate's value; edi: the gate; esp: Call. Leaves frame as the argument.
           Clobbers eax, edx. The order: arch/x86_64/entry.S. */
        .macro  begin   path, flags
.Lbegin_\path:
        movl    %esp, M_BASE+SEG_CALL(%ebx)
        .ifnb   \flags
        movl    $\flags, M_BASE+SEG_FLAGS(%ebx)
        .endif
        movl    %edx, M_SEG(%ebx)
        cmpl    %esp, M_BASE+SEG_CALL(%ebx)
        jne     .Lretry_\path
        cmpl    (%edi), %esi
        jne     .Lclosed_\path
        movl    M_TOP(%ebx), %edx
        leal    -ARGS(%edx), %esp
        movl    12(%ebp), %eax
        movl    %eax, (%esp)
        .endm

        /* fn has returned. esp: ARGS below the G's top; ebx: M; esi: the gate's value; edi: the
           gate; ebp: the caller's frame. Leaves esp at Call, and the segment ended. */
        .macro  finish  path
        cmpl    $0, M_NEEDS_CLEANUP(%ebx)
        jne     .Lcleanup_\path
.Lexit_\path:
        to_call
        movl    $0, M_SEG(%ebx)
        cmpl    (%edi), %esi
        jne     .Lnotify_\path
        .endm

        /* The detours of a fast path that both have alike. */
        .macro  detours path
        /* From check_call. The slow path refuses an info that is too short. */
.Linfo_\path:
        cmpl    $INFO_BYTES, INFO_SIZE(%edx)
        jae     .Lplain_\path
        jmp     .Lslow

        /* From begin: a handler has used the segment. Registers as there. */
.Lretry_\path:
        movl    $0, M_SEG(%ebx)
        jmp     .Lbegin_\path

        /* From finish, registers as there. */
.Lcleanup_\path:
        movl    %ebx, (%esp)
        calll   needm_on_g_cleanup
        jmp     .Lexit_\path
        .endm

/* fn needm_entry(fn (esp+4), frame (esp+8), size (esp+12), info (esp+16)) -> i32 (eax)

   Runs fn(frame) on a G. Keeps what the ABI says a function keeps; mxcsr and the x87 control
   word are as fn leaves them. Three paths, as on x86_64: bound, rebind, slow. */
ROUTINE(needm_entry)
        .cfi_startproc
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
        to_call
        stmxcsr CALL_MXCSR(%esp)
        fnstcw  CALL_FCW(%esp)
        movl    %ebp, CALL_EBP(%esp)
        movl    20(%ebp), %edx
        movl    %edx, CALL_INFO(%esp)           /* the slow path fills in the rest */

        calll   needm_pc
        addl    $_GLOBAL_OFFSET_TABLE_, %ecx
        leal    needm_gate@GOTOFF(%ecx), %edi   /* edi: the gate, until the end */
        movl    needm_tls@gotntpoff(%ecx), %eax /* eax: the block's offset from gs */
        movl    %gs:TLS_BOUND_EPOCH(%eax), %esi
        cmpl    (%edi), %esi                    /* esi: the gate's value, until the end */
        jne     .Lrebind

        /* The bound path. */
        movl    %gs:TLS_M(%eax), %ebx           /* ebx: the M, until the end */
        movl    M_SEG(%ebx), %eax               /* in a callback? */
        check_call bound, %eax
        check_stack M_SIG_LO(%ebx), M_SIG_LEN(%ebx)
        leal    M_BASE+M_RUNNING(%ebx), %edx
        begin   bound
        OTHER_STACK
        calll   *8(%ebp)
        finish  bound
.Ldone:
        xorl    %eax, %eax
        restore_and_return

        detours bound

        /* From begin: the gate closed on the way in. Steps back; the slow path waits.
           esp: Call. */
.Lclosed_bound:
        movl    $0, M_SEG(%ebx)
        jmp     .Lslow

        /* From finish: a stopper may be waiting for this thread. esp: Call. */
.Lnotify_bound:
        calll   needm_notify_stopper
        jmp     .Ldone

        /* The rebind path. eax: the block's offset; edx: info. The offset and the thread's
           record stay in CALL_OFFSET and CALL_THREAD. */
.Lrebind:
        movl    %gs:TLS_REBIND_EPOCH(%eax), %esi
        cmpl    (%edi), %esi                    /* esi: the gate's value, until the end */
        jne     .Lslow
        movl    %eax, CALL_OFFSET(%esp)
        movl    %gs:TLS_THREAD(%eax), %ecx      /* ecx: the thread's record */
        movl    %ecx, CALL_THREAD(%esp)
        movl    %gs:TLS_M(%eax), %eax           /* in a callback? */
        orl     THREAD_M(%ecx), %eax            /* or between two steps of binding one? */
        check_call rebind, %eax
        check_stack THREAD_SIG_LO(%ecx), THREAD_SIG_LEN(%ecx)
        movl    THREAD_LAST(%ecx), %ebx         /* ebx: the M, until the end */
        movl    THREAD_CLAIM(%ecx), %edx
        /* Before the M is bound, and again afterwards: arch/x86_64/entry.S. */
        movl    %ebx, THREAD_M(%ecx)
        movl    $M_IDLE, %eax
        lock cmpxchgl %edx, M_STATE(%ebx)
        jne     .Lother_holder
        movl    %ebx, THREAD_M(%ecx)
        cmpl    %ecx, M_THREAD(%ebx)
        jne     .Lreclaimed
.Lrebound:
        leal    M_BASE+M_RUNNING(%ebx), %edx
        movl    CALL_OFFSET(%esp), %eax
        movl    %ebx, %gs:TLS_M(%eax)           /* published last */
        begin   rebind, SEG_BOUND_HERE
        calll   *8(%ebp)
        finish  rebind
.Lunbind:
        movl    CALL_THREAD(%esp), %ecx
        movl    CALL_OFFSET(%esp), %edx
        movl    THREAD_CLAIM(%ecx), %eax
        cmpl    %eax, M_STATE(%ebx)             /* still on the list? */
        jne     .Lunlisted
        movl    $0, %gs:TLS_M(%edx)             /* withdrawn first */
        movl    $M_IDLE, M_STATE(%ebx)
        movl    $0, THREAD_M(%ecx)
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. */
        cmpl    $0, GATE_WAITERS(%edi)
        jne     .Lwake_waiter
        xorl    %eax, %eax
        restore_and_return

        detours rebind

        /* The M is bound to another thread, or not on the list. ecx: the thread's record. */
.Lother_holder:
        movl    $0, THREAD_M(%ecx)
        jmp     .Lslow

        /* Another thread had the M in between: what the M notes of its thread is that one's.
           ecx: the thread's record. */
.Lreclaimed:
        movl    %ecx, M_THREAD(%ebx)
        movl    THREAD_SIG_LO(%ecx), %eax
        movl    %eax, M_SIG_LO(%ebx)
        movl    THREAD_SIG_LEN(%ecx), %eax
        movl    %eax, M_SIG_LEN(%ebx)
        jmp     .Lrebound

        /* As .Lclosed_bound, and unbinds the M. esp: Call, in which only INFO counts: the slow
           path fills in the rest. */
.Lclosed_rebind:
        movl    $0, M_SEG(%ebx)
        subl    $ARGS, %esp
        movl    %ebx, (%esp)
        calll   needm_dropm
        addl    $ARGS, %esp
        jmp     .Lslow

        /* As .Lnotify_bound. */
.Lnotify_rebind:
        calll   needm_notify_stopper
        jmp     .Lunbind

        /* The M was popped from the list while it was bound: a store would lose it.
           esp: Call, which nothing reads any more. */
.Lunlisted:
        movl    %ebx, (%esp)
        calll   needm_dropm
        jmp     .Ldone

.Lwake_waiter:
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
        movl    %esp, %edi                      /* edi: Call, until the end */
        subl    $ARGS, %esp
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
        movl    M_SEG(%ebx), %eax
        cmpl    %edi, SEG_CALL-M_RUNNING(%eax)  /* or did C jump from an inner callback to here? */
        jne     2f
        cmpl    $0, SEG_DEFERS-M_RUNNING(%eax)
        je      3f
2:
        movl    %edi, (%esp)
        movl    %ebx, 4(%esp)
        calll   needm_on_g_epilogue
3:
        OTHER_STACK_END
        testb   $CALL_ON_G, CALL_OUT(%edi)
        jne     4f                              /* Call is on the G, above fn's part: stay below */
        leal    -ARGS(%edi), %esp
4:
        xorl    %edx, %edx
        /* esp: room for arguments; edi: Call; ebx: M; edx: how it ended; ebp: the caller's
           frame. */
.Lexit:
        movl    %edi, (%esp)
        movl    %ebx, 4(%esp)
        movl    %edx, 8(%esp)
        calll   needm_exit                      /* -> the caller's result */
        restore_and_return

        /* edi: Call. */
.Lrefused:
        movl    CALL_OUT(%edi), %eax
        restore_and_return

/* fn needm_unwind(call (esp+4), m (esp+8), code (esp+12), sp (esp+16)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack at sp, with the control words, the direction flag and the x87 stack as at the entry.
   Called by src/callback/panic.rs.

   Until ebp is the entry's again, the CFI finds the CFA, and all that is saved below it, by
   call: DW_CFA_def_cfa_expression, 8 bytes: DW_OP_breg4 4, DW_OP_deref (Call),
   DW_OP_plus_uconst CALL_EBP, DW_OP_deref (ebp), DW_OP_plus_uconst 8 (DWARF 4, 6.4.2.2
   "CFA Definition Instructions" and 2.5.1 "General Operations"). */
INNER_ROUTINE(needm_unwind)
        .cfi_escape 0x0f, 8, 0x74, 4, 0x06, 0x23, CALL_EBP, 0x06, 0x23, 8
        movl    4(%esp), %edi
        movl    8(%esp), %ebx
        movl    12(%esp), %edx
        movl    16(%esp), %eax
        movl    CALL_EBP(%edi), %ebp
        .cfi_def_cfa ebp, 8
        leal    -ARGS(%eax), %esp
        cld
        fninit
        fldcw   CALL_FCW(%edi)
        ldmxcsr CALL_MXCSR(%edi)
        jmp     .Lexit
        .cfi_endproc
END(needm_entry)
