/* The way of a callback into the kernel and out again: arch/x86_64/entry.S, which
   has the full comments, for i386.

   The Rust side is src/callback/ (`enter`, `on_g_prologue`; `ending`, `returned`, `exit`),
   by the symbols that `upcalls!` there defines. Arguments of all
   are on the stack (cdecl).

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
        OUT ARG INFO SIZE FRAME FN            return address into here
                         <- Call = esp        fn's own frame

   The segment is elsewhere: its SEG_CALL points at Call.

   The i386 ABI of before GCC aligned stacks to 4 bytes, and such callers are
   about, while Rust and GCC use 16-byte moves on the stack: so the entry aligns, and
   Call is at no fixed distance from ebp. From ebp it is computed again (`to_call`);
   from Call, ebp is loaded. */
#include "asm.h"

#define SAVED_BYTES  12         /* ebx, esi, edi */
#define BELOW_BYTES  36         /* Call and the three words above it */
#define CALL_EBP     CALL_BYTES
#define CALL_FCW     (CALL_BYTES + 4)
#define CALL_MXCSR   (CALL_BYTES + 8)
#define ARGS         16         /* room for up to four arguments of a call */
#define CALL_OFFSET  CALL_ARG   /* where a callback that takes its M again keeps two */
#define CALL_THREAD  CALL_OUT

        /* esp: Call, whichever stack it was on. */
        .macro  to_call
        leal    -(SAVED_BYTES + BELOW_BYTES)(%ebp), %esp
        andl    $-16, %esp
        .endm

        /* Below esp nothing is safe from a signal (no red zone): the rules go
           before esp moves over what they point at. */
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

        /* To .Lslow if what is asked for is not just fn(frame), or `other` is not 0; to
           `info` if there is one to be looked at. edx: info. */
        .macro  plain_or other, info
        cmpl    $0, 8(%ebp)
        je      .Lslow
        orl     16(%ebp), \other                /* bytes to copy? */
        jne     .Lslow
        testl   %edx, %edx
        jne     \info
        .endm

        /* To .Lslow if the caller is a handler on the signal stack. Clobbers edx. */
        .macro  off_signal_stack lo, len
        movl    %esp, %edx
        subl    \lo, %edx
        cmpl    \len, %edx
        jb      .Lslow
        .endm

        /* Begins the segment and goes to the G. ebx: M; edx: the M's own segment, and
           M_RUNNING; esi: the gate's value; edi: the gate; esp: Call. The look afterwards:
           arch/x86_64/entry.S. */
        .macro  begin   again, closed, flags
        movl    %esp, M_BASE+SEG_CALL(%ebx)
        .ifnb   \flags
        movl    $\flags, M_BASE+SEG_FLAGS(%ebx)
        .endif
        movl    %edx, M_SEG(%ebx)
        cmpl    %esp, M_BASE+SEG_CALL(%ebx)
        jne     \again
        cmpl    (%edi), %esi                    /* after the store to M_SEG: src/world.rs */
        jne     \closed
        movl    M_TOP(%ebx), %edx
        leal    -ARGS(%edx), %esp
        movl    12(%ebp), %eax
        movl    %eax, (%esp)
        .endm

/* fn needm_entry(fn (esp+4), frame (esp+8), size (esp+12), info (esp+16)) -> i32 (eax)

   Three ways in, as on x86_64: steady, again, slow. */
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
        movl    %edx, CALL_INFO(%esp)           /* the rest only on the slow path */

        calll   needm_pc
        addl    $_GLOBAL_OFFSET_TABLE_, %ecx
        leal    needm_gate@GOTOFF(%ecx), %edi   /* edi: the gate, until the end */
        movl    needm_tls@gotntpoff(%ecx), %eax
        movl    %gs:TLS_BOUND_EPOCH(%eax), %esi        /* esi: the pass, until the end */
        cmpl    (%edi), %esi
        jne     .Lrebind
        movl    %gs:TLS_M(%eax), %ebx           /* ebx: the M, until the end */
        movl    M_SEG(%ebx), %eax               /* in a callback? */
        plain_or %eax, .Linfo
.Lplain:
        off_signal_stack M_SIG_LO(%ebx), M_SIG_LEN(%ebx)
        leal    M_BASE+M_RUNNING(%ebx), %edx
.Lbegin:
        begin   .Lretry, .Lclosed
        OTHER_STACK
        calll   *8(%ebp)
        /* esp: ARGS below the G's top; ebx: M; esi: pass; edi: gate; ebp: the
           caller's frame */
        cmpl    $0, M_NEEDS_CLEANUP(%ebx)
        jne     .Lcleanup
.Lexit_bound:
        to_call
        movl    $0, M_SEG(%ebx)
        cmpl    (%edi), %esi
        jne     .Lnotify
.Lout:
        xorl    %eax, %eax
        restore_and_return

        /* An info that is too short is refused on the slow path. */
.Linfo:
        cmpl    $INFO_BYTES, (%edx)
        jae     .Lplain
        jmp     .Lslow

        /* The gate closed while this thread came in: step back, then wait as a
           slow caller. esp: Call. */
.Lclosed:
        movl    $0, M_SEG(%ebx)
        jmp     .Lslow

        /* esp: Call; edx: the M's own segment, and M_RUNNING */
.Lretry:
        movl    $0, M_SEG(%ebx)
        jmp     .Lbegin

        /* esp: ARGS below the G's top; ebx: M */
.Lcleanup:
        movl    %ebx, (%esp)
        calll   needm_on_g_cleanup
        jmp     .Lexit_bound

        /* Somebody may be waiting for this thread to be out. esp: Call. */
.Lnotify:
        calll   needm_notify_stopper
        jmp     .Lout

        /* No M of its own. eax: the block's offset; edx: info. The offset and the
           thread's record stay in two words of Call that only the slow path wants. */
.Lrebind:
        movl    %gs:TLS_REBIND_EPOCH(%eax), %esi       /* esi: the gate's value, until the end */
        cmpl    (%edi), %esi
        jne     .Lslow
        movl    %eax, CALL_OFFSET(%esp)
        movl    %gs:TLS_THREAD(%eax), %ecx      /* ecx: the thread's record */
        movl    %ecx, CALL_THREAD(%esp)
        movl    %gs:TLS_M(%eax), %eax           /* in a callback? */
        orl     THREAD_M(%ecx), %eax            /* or between two steps of taking one? */
        plain_or %eax, .Linfo_rebind
.Lplain_rebind:
        off_signal_stack THREAD_SIG_LO(%ecx), THREAD_SIG_LEN(%ecx)
        movl    THREAD_LAST(%ecx), %ebx         /* ebx: the M, until the end */
        movl    THREAD_CLAIM(%ecx), %edx
        /* Before it is taken, and again afterwards: arch/x86_64/entry.S. */
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
.Lbegin_rebound:
        begin   .Lretry_rebound, .Lclosed_rebound, SEG_BOUND_HERE
        calll   *8(%ebp)
        /* esp: ARGS below the G's top; ebx: M; esi: the gate's value; edi: gate; ebp:
           the caller's frame */
        cmpl    $0, M_NEEDS_CLEANUP(%ebx)
        jne     .Lcleanup_rebound
.Lexit_rebound:
        to_call
        movl    $0, M_SEG(%ebx)
        cmpl    (%edi), %esi
        jne     .Lnotify_rebound
.Lunbind:
        movl    CALL_THREAD(%esp), %ecx
        movl    CALL_OFFSET(%esp), %edx
        movl    THREAD_CLAIM(%ecx), %eax
        cmpl    %eax, M_STATE(%ebx)             /* still on the list? */
        jne     .Lunlisted
        movl    $0, %gs:TLS_M(%edx)             /* withdrawn first */
        movl    $M_IDLE, M_STATE(%ebx)
        movl    $0, THREAD_M(%ecx)
        cmpl    $0, GATE_WAITERS(%edi)          /* after the store to M_STATE: src/extra */
        jne     .Lwake_waiter
.Ldone:
        xorl    %eax, %eax
        restore_and_return

.Linfo_rebind:
        cmpl    $INFO_BYTES, (%edx)
        jae     .Lplain_rebind
        jmp     .Lslow

        /* Another thread has it. ecx: the thread's record */
.Lother_holder:
        movl    $0, THREAD_M(%ecx)
        jmp     .Lslow

        /* Another thread has had it in between. ecx: the thread's record */
.Lreclaimed:
        movl    %ecx, M_THREAD(%ebx)
        movl    THREAD_SIG_LO(%ecx), %eax
        movl    %eax, M_SIG_LO(%ebx)
        movl    THREAD_SIG_LEN(%ecx), %eax
        movl    %eax, M_SIG_LEN(%ebx)
        jmp     .Lrebound

        /* esp: Call; edx: the M's own segment, and M_RUNNING */
.Lretry_rebound:
        movl    $0, M_SEG(%ebx)
        jmp     .Lbegin_rebound

        /* esp: Call, of which the slow path fills in all but INFO. */
.Lclosed_rebound:
        movl    $0, M_SEG(%ebx)
        subl    $ARGS, %esp
        movl    %ebx, (%esp)
        calll   needm_dropm
        addl    $ARGS, %esp
        jmp     .Lslow

        /* esp: ARGS below the G's top; ebx: M */
.Lcleanup_rebound:
        movl    %ebx, (%esp)
        calll   needm_on_g_cleanup
        jmp     .Lexit_rebound

        /* esp: Call */
.Lnotify_rebound:
        calll   needm_notify_stopper
        jmp     .Lunbind

        /* esp: Call, which is not used any more */
.Lunlisted:
        movl    %ebx, (%esp)
        calll   needm_dropm
        jmp     .Ldone

.Lwake_waiter:
        calll   needm_wake
        jmp     .Ldone

        /* esp: Call; ebp: the caller's frame */
.Lslow:
        movl    16(%ebp), %eax
        movl    %eax, CALL_SIZE(%esp)
        movl    12(%ebp), %eax
        movl    %eax, CALL_FRAME(%esp)
        movl    8(%ebp), %eax
        movl    %eax, CALL_FN(%esp)
        movl    %esp, %edi                      /* edi: Call */
        subl    $ARGS, %esp
        movl    %edi, (%esp)
        calll   needm_enter                     /* -> the G's stack pointer, or 0 */
        testl   %eax, %eax
        je      .Lrefused
        movl    CALL_OUT(%edi), %ebx
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
        cmpl    %edi, SEG_CALL-M_RUNNING(%eax)    /* C may have jumped out of others, back here */
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
        jne     4f                              /* Call is on the G, and fn's part below it: stay there */
        leal    -ARGS(%edi), %esp
4:
        xorl    %edx, %edx
        /* esp: room for arguments; edi: Call; ebx: M; edx: how it ended; ebp: the
           caller's frame */
.Lexit:
        movl    %edi, (%esp)
        movl    %ebx, 4(%esp)
        movl    %edx, 8(%esp)
        calll   needm_exit                      /* -> the caller's result */
        restore_and_return

        /* edi: Call */
.Lrefused:
        movl    CALL_OUT(%edi), %eax
        restore_and_return

/* fn needm_unwind(call (esp+4), m (esp+8), code (esp+12), sp (esp+16)) -> !

   Ends a callback from wherever it is: back on its caller's stack at sp, control
   words, direction flag and x87 stack as at the entry, the same way out.

   Until ebp is the entry's again, the CFA is found through Call, and all that is
   saved below it with it: DW_CFA_def_cfa_expression, 8 bytes: DW_OP_breg4 4,
   DW_OP_deref (Call), DW_OP_plus_uconst CALL_EBP, DW_OP_deref (ebp),
   DW_OP_plus_uconst 8. DWARF 4, 6.4.2 and 2.5.1. */
        .globl  needm_unwind
        .hidden needm_unwind
        .type   needm_unwind, @function
needm_unwind:
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
