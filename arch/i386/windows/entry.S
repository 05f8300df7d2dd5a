/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A callback, from the C caller to the G and back, under Windows on i386. arch/x86_64/entry.S has
   the comments on what all rooms share, arch/i386/entry.S those on i386, and
   arch/x86_64/windows/entry.S those on Windows, with the names of the Rust side.

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
        x87 control word (ebp-20)
        the caller's stack fields (ebp-40)    ...frames of outer callbacks
        OUT              (ebp-44)             copied frame, if any
        ARG              (ebp-48)             (padding), arg       <- esp
        SIZE             (ebp-52)             return address to here
        FRAME            (ebp-56)             needm_base's frame
        FN               (ebp-60)             fn's own frame
        INFO             (ebp-64) <- Call

   A caller may align its stack to 4 bytes only. So Call is aligned to 4 bytes, and `align` makes
   room below it before Rust is called. */
#include "asm.h"
#include "teb.h"
#include "frame.h"

#define CALL_THREAD  CALL_OUT           /* a word of Call that the rebind path keeps its own in */
        .if     CALL_INFO != 0
        .error  "src/layout.rs: CALL_INFO must be first here"
        .endif
#include "i386/entry.h"

        /* Begins the segment and goes to the G. ebx: M; `seg`: Call and its bits, for M_SEG; esi:
           the gate's value. Leaves fn in eax and frame as the argument: M_TOP is a word less than
           ARGS below the top. Clobbers ecx. The order: arch/x86_64/entry.S. */
        .macro  begin   path, seg
.Lbegin_\path:
        movl    %ebx, CALL_SIZE(%esp)           /* says that this frame waits for a callback */
        movl    \seg, M_SEG(%ebx)
        cmpl    _needm_gate, %esi
        jne     .Lclosed_\path
        movl    M_TOP(%ebx), %esp
        load_fields_of_g %ebx
        pushl   12(%ebp)
        movl    8(%ebp), %eax
        .endm

        /* fn has returned. esp: ARGS below the G's top; ebx: M; esi: the gate's value; ebp: the
           caller's frame. Leaves esp `below` ebp, the caller's fields, and the segment ended.
           Clobbers ecx. */
        .macro  finish  path, below
        cmpl    $0, M_NEEDS_CLEANUP(%ebx)
        jne     .Lcleanup_\path
.Lexit_\path:
        load_stack_fields %ebp, FIELDS          /* before esp moves over them */
        leal    -\below(%ebp), %esp
        movl    $0, M_SEG(%ebx)
        cmpl    _needm_gate, %esi
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
        calll   _needm_on_g_cleanup
.Lfrom_cleanup_\path:
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
        subl    $(FRAME_BYTES - SAVED_BYTES - 4), %esp
        pushl   20(%ebp)                        /* CALL_INFO; the slow path fills in the rest */

        /* If C has jumped out of a callback (longjmp), the fields are still those of the G. */
        cmpl    %fs:TEB_STACK_BASE, %esp
        ja      .Lmend
        cmpl    %fs:TEB_DEALLOCATION_STACK, %esp
        jb      .Lmend
        cmpl    %esp, %fs:TEB_EXCEPTION_LIST    /* or the list begins with what was jumped out of */
        jb      .Lmend
.Lfields:
        save_stack_fields %ebp, FIELDS
        movl    __tls_index, %eax               /* as needm_tls_block */
        movl    %fs:TEB_TLS_POINTER, %ecx
        movl    (%ecx,%eax,4), %edi
        leal    _needm_tls@secrel32(%edi), %edi /* edi: the block */
        movl    20(%ebp), %edx
        movl    TLS_BOUND_EPOCH(%edi), %esi
        cmpl    _needm_gate, %esi   /* esi: the gate's value, until the end */
        jne     .Lrebind

        /* The bound path. */
        movl    TLS_M(%edi), %ebx           /* ebx: the M, until the end */
        check_call bound, M_SEG(%ebx)           /* in a callback? */
        check_stack M_KNOWN_LO(%ebx), M_KNOWN_LEN(%ebx)
        check_control bound
        begin   bound, %esp
        calll   _needm_base
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
        calll   _needm_notify_stopper
.Ldone:
        xorl    %eax, %eax
        restore_and_return

        /* The rebind path. edi: the block, until the end; edx: info. The thread's record stays in
           CALL_THREAD. */
.Lrebind:
        movl    TLS_REBIND_EPOCH(%edi), %esi
        cmpl    _needm_gate, %esi   /* esi: the gate's value, until the end */
        jne     .Lslow
        movl    TLS_THREAD(%edi), %ecx      /* ecx: the thread's record */
        movl    %ecx, CALL_THREAD(%esp)
        movl    TLS_M(%edi), %eax               /* in a callback? */
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
        movl    %ebx, TLS_M(%edi)               /* published last */
        leal    M_BOUND_HERE(%esp), %edx
        check_control rebind
        begin   rebind, %edx
        calll   _needm_base
        finish  rebind, FRAME_BYTES
.Lunbind:
        movl    CALL_THREAD-FRAME_BYTES(%ebp), %ecx
        movl    THREAD_CLAIM(%ecx), %eax
        cmpl    %eax, M_STATE(%ebx)             /* still on the list? */
        jne     .Lunlisted
        movl    $0, TLS_M(%edi)                 /* withdrawn first */
        movl    $M_IDLE, M_STATE(%ebx)
        /* After the store to M_STATE: a waiter counts itself, then looks for an idle M. */
        cmpl    $0, _needm_gate+GATE_WAITERS
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
        align
        movl    %ebx, (%esp)
        calll   _needm_dropm
        leal    -FRAME_BYTES(%ebp), %esp
        jmp     .Lslow

        /* As .Lnotify_bound. */
.Lnotify_rebind:
        align
        calll   _needm_notify_stopper
        jmp     .Lunbind

        /* The M was popped from the list while it was bound: needm_dropm lists it again. */
.Lunlisted:
        align
        movl    %ebx, (%esp)
        calll   _needm_dropm
        jmp     .Ldone

.Lwake_waiter:
        align
        calll   _needm_wake
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
        calll   _needm_enter                     /* -> the G's stack pointer, or 0 */
        testl   %eax, %eax
        je      .Lrefused
        movl    CALL_OUT(%edi), %edx
        movl    %edx, %ebx
        andl    $-(CALL_PENDING + 1), %ebx      /* ebx: M, until the end */
        leal    -ARGS(%eax), %esp
        testb   $CALL_ON_G, %dl                 /* it goes on on the caller's own stack */
        jne     .Lentered
        load_fields_of_g %ebx
        cmpl    %fs:TEB_STACK_LIMIT, %esp
        jb      .Lelsewhere
        cmpl    %fs:TEB_STACK_BASE, %esp
        ja      .Lelsewhere
.Lentered:
        testb   $CALL_PENDING, CALL_OUT(%edi)
        je      2f
        movl    %edi, (%esp)
        calll   _needm_on_g_prologue
2:
        movl    CALL_ARG(%edi), %eax
        movl    %eax, (%esp)
        movl    CALL_FN(%edi), %eax
        calll   _needm_base
        movl    M_SEG(%ebx), %eax
        cmpl    %edi, SEG_CALL-M_SEGMENT(%eax)  /* or did C jump from an inner callback to here? */
        jne     2f
        cmpl    $0, SEG_DEFERS-M_SEGMENT(%eax)
        je      3f
2:
        movl    %edi, (%esp)
        movl    %ebx, 4(%esp)
        calll   _needm_on_g_epilogue
3:
        testb   $CALL_ON_G, CALL_OUT(%edi)
        jne     4f                              /* Call is on the G, above fn's part: stay below */
        align
4:
        load_stack_fields %ebp, FIELDS
        xorl    %edx, %edx
        /* esp: room for arguments; edi: Call; ebx: M; edx: how it ended; ebp: the caller's
           frame. */
.Lexit:
        movl    %edi, (%esp)
        movl    %ebx, 4(%esp)
        movl    %edx, 8(%esp)
        calll   _needm_exit                      /* -> the caller's result */
        restore_and_return

        /* edi: Call. */
.Lrefused:
        movl    CALL_OUT(%edi), %eax
        restore_and_return

        /* esp: on the reserve, or on a further stack, below the C that a callback has called from there. */
.Lelsewhere:
        movl    %esp, (%esp)
        calll   _needm_mend_fields
        jmp     .Lentered

        /* esp: Call. C may have jumped out of a ccall. While the frames of needm_c_base below are whole,
           this takes them off the list. */
.Lmend:
        movl    %fs:TEB_EXCEPTION_LIST, %eax
1:
        cmpl    %esp, %eax
        jae     2f
        cmpl    %fs:TEB_STACK_LIMIT, %eax
        jb      2f
        cmpl    $_needm_c_handler, 4(%eax)
        jne     2f
        movl    (%eax), %eax
        jmp     1b
2:
        movl    %eax, %fs:TEB_EXCEPTION_LIST
        leal    -ARGS(%esp), %ecx
        movl    %esp, %eax
        andl    $-16, %ecx
        movl    %ecx, %esp
        movl    %eax, (%esp)
        calll   _needm_mend_fields
        leal    -FRAME_BYTES(%ebp), %esp
        jmp     .Lfields

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
        load_stack_fields %ebp, FIELDS
        cld
        testl   $GATE_LEAVES_FP, _needm_gate
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


/* fn needm_base(a, b, c (esp+4 up), fn (eax))

   Calls fn(a, b, c): the lowest frame of a callback, which has the handler that Windows asks after all
   those of the callback's own frames: src/os/windows/fault.rs. Its entry of the list is at
   needm_base's own place on the G. */
ROUTINE(needm_base)
        lowest_frame _needm_base_handler
END(needm_base)
