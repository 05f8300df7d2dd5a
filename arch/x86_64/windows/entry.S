/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A callback, from the C caller to the G and back, under Windows. arch/x86_64/entry.S has the
   comments on what all systems share, the three paths and their steps among it; here is what the
   calling convention and the tables for exceptions ask for (Microsoft, "x64 calling convention",
   "x64 exception handling").

   The Rust side, by the symbols of `upcalls!`:
   - src/callback/enter.rs: needm_enter, needm_on_g_prologue;
   - src/callback/exit.rs: needm_on_g_cleanup, needm_on_g_epilogue, needm_exit;
   - src/running.rs: needm_notify_stopper; src/needm.rs: needm_dropm; src/pool/: needm_wake;
   - src/os/windows/fault.rs: needm_base_handler; src/os/windows/stack_fields.rs: needm_mend_fields.

   The caller's stack while a callback runs, and the G's:

        caller's stack                          the G's stack
        --------------                          -------------
        return address                          ...frames of outer callbacks
        saved rbp                               copied frame, if any
        xmm6-15       (rsp+0xc0)                32 bytes, home of arguments     <- rsp
        rbx rdi rsi r12 r13 r14 r15 (rsp+0x80)  return address to needm_entry
 rbp -> at rbx                                  needm_base's frame
        mxcsr, x87 control word (rsp+0x78)      return address to needm_base
        the caller's stack fields (rsp+0x50)    fn's own frame
        OUT   (rsp+0x48)
        ARG   (rsp+0x40)
        INFO  (rsp+0x38)
        SIZE  (rsp+0x30)
        FRAME (rsp+0x28)
        FN    (rsp+0x20)   <- Call
        home of arguments  <- rsp of the prologue

   rbp points to the caller's stack while the callback runs, so the one unwind record below holds
   on either stack. */
#include "asm.h"
#include "teb.h"
#include "frame.h"
#include "../x87.h"

/* The caller's stack fields, from rbp: one number, because it is an argument of macros. */
#define FIELDS          -0x30
        .if     FIELDS != ENTRY_FIELDS-ENTRY_RBP
        .error  "FIELDS is not what frame.h says"
        .endif

/* An address in the frame, from the rsp of the prologue. */
#define AT(offset)      (offset)-ENTRY_RBP(%rbp)

        .macro  save_register register, offset
        movq    \register, AT(\offset)
        .seh_savereg \register, \offset
        .endm

        /* What the caller asks for, to Call. */
        .macro  fill_call
        movq    %rcx, AT(ENTRY_CALL+CALL_FN)
        movq    %rdx, AT(ENTRY_CALL+CALL_FRAME)
        movq    %r8, AT(ENTRY_CALL+CALL_SIZE)
        .endm

        /* The steps of the two fast paths, as in arch/x86_64/entry.S. All keep rcx, rdx, r8 and r9
           as at the entry, but where they say otherwise. */

        /* Clobbers other and r9. */
        .macro  check_call path, other
        testq   %rcx, %rcx
        je      .Lslow
        orq     %r8, \other
        orq     \other, %r9
        jne     .Lspecial_\path
.Lplain_\path:
        .endm

        /* There is no handler stack, so callbacks may come from anywhere; but from nowhere while
           another thread keeps the M off the fast paths (src/m/mod.rs, `keep_off_fast_paths`).
           Clobbers rax. */
        .macro  check_stack lo, len
        movq    %rsp, %rax
        subq    \lo, %rax
        cmpq    \len, %rax
        jae     .Lslow
        .endm

        .macro  save_control path
        testb   $GATE_LEAVES_FP, %r12b
        jne     .Lbegin_\path
        stmxcsr AT(ENTRY_CONTROL)
        fnstcw  AT(ENTRY_CONTROL+4)
        .endm

        /* rbx: M; `seg`: Call and its bits, for M_SEG; r12: the gate's value. Goes to the G, and its
           fields with it. Leaves fn in rax and frame in rcx; clobbers r11. */
        .macro  begin   path, seg
.Lbegin_\path:
        movq    %rbx, AT(ENTRY_CALL+CALL_SIZE)  /* says that this frame waits for a callback */
        movq    \seg, M_SEG(%rbx)
        cmpl    needm_gate(%rip), %r12d
        jne     .Lclosed_\path
        movq    M_TOP(%rbx), %rax
        leaq    -HOME(%rax), %rsp
        load_fields_of_g %rbx
        movq    %rcx, %rax
        movq    %rdx, %rcx
        .endm

        /* fn has returned. rsp: the G's top, less the home of arguments; rbx: M; r12: the gate's
           value. Goes to the caller's stack, as the prologue left it. Clobbers r11. */
        .macro  finish  path
        cmpq    $0, M_NEEDS_CLEANUP(%rbx)
        jne     .Lcleanup_\path
.Lexit_\path:
        leaq    AT(0), %rsp
        load_stack_fields %rbp, FIELDS
        movq    $0, M_SEG(%rbx)
        cmpl    needm_gate(%rip), %r12d
        jne     .Lnotify_\path
        .endm

        .macro  detours path
        /* From check_call. rax: 0 if there is nothing but an info, r9. */
.Lspecial_\path:
        testq   %rax, %rax
        jne     .Lslow
        cmpq    $INFO_BYTES, INFO_SIZE(%r9)
        jae     .Lplain_\path
        jmp     .Lslow

        /* From finish, registers as there. */
.Lcleanup_\path:
        movq    %rbx, %rcx
        callq   needm_on_g_cleanup
        jmp     .Lexit_\path
        .endm

/* fn needm_entry(fn (rcx), frame (rdx), size (r8), info (r9)) -> i32 (eax)

   Runs fn(frame) on a G. Keeps what the convention says a function keeps; mxcsr and the x87
   control word are as fn leaves them. */
ROUTINE(needm_entry)
        pushq   %rbp
        .seh_pushreg %rbp
        subq    $ENTRY_BYTES, %rsp
        .seh_stackalloc ENTRY_BYTES
        leaq    ENTRY_RBP(%rsp), %rbp
        .seh_setframe %rbp, ENTRY_RBP
        save_register %rbx, ENTRY_REGS
        save_register %rdi, ENTRY_REGS+8
        save_register %rsi, ENTRY_REGS+16
        save_register %r12, ENTRY_REGS+24
        save_register %r13, ENTRY_REGS+32
        save_register %r14, ENTRY_REGS+40
        save_register %r15, ENTRY_REGS+48
        .irp    number, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movaps  %xmm\number, AT(ENTRY_XMM+(\number-6)*16)
        .seh_savexmm %xmm\number, ENTRY_XMM+(\number-6)*16
        .endr
        .seh_endprologue
        movq    %r9, AT(ENTRY_CALL+CALL_INFO)   /* the slow path fills in the rest */

        /* If C has jumped out of a callback (longjmp), the fields are still those of the G. */
        cmpq    %gs:TEB_STACK_BASE, %rsp
        ja      .Lmend
        cmpq    %gs:TEB_DEALLOCATION_STACK, %rsp
        jb      .Lmend
.Lfields:
        save_stack_fields %rbp, FIELDS
        movl    _tls_index(%rip), %eax          /* as needm_tls_block */
        movq    %gs:TEB_TLS_POINTER, %r10
        movq    (%r10,%rax,8), %rax
        leaq    needm_tls@secrel32(%rax), %rax  /* rax: the block */
        movl    TLS_BOUND_EPOCH(%rax), %r12d
        cmpl    needm_gate(%rip), %r12d         /* r12: the gate's value, until the end */
        jne     .Lrebind

        /* The bound path. */
        movq    TLS_M(%rax), %rbx               /* rbx: the M, until the end */
        movq    M_SEG(%rbx), %rax               /* in a callback? */
        check_call bound, %rax
        check_stack M_KNOWN_LO(%rbx), M_KNOWN_LEN(%rbx)
        leaq    AT(ENTRY_CALL), %r10
        save_control bound
        begin   bound, %r10
        callq   needm_base
        finish  bound
        xorl    %eax, %eax
        movq    AT(ENTRY_REGS), %rbx            /* this path has changed no other */
        movq    AT(ENTRY_REGS+24), %r12
        leaq    AT(ENTRY_BYTES), %rsp
        popq    %rbp
        ret

        detours bound

        /* From begin: the gate closed on the way in. rsp: as the prologue left it. */
.Lclosed_bound:
        movq    $0, M_SEG(%rbx)
        jmp     .Lslow

        /* From finish. rsp: as the prologue left it. */
.Lnotify_bound:
        callq   needm_notify_stopper
        xorl    %eax, %eax
        jmp     .Lreturn

        /* The rebind path. rax: the block; the rest as at the entry.
           r13: the thread's record, r14: the block, until the end. */
.Lrebind:
        movl    TLS_REBIND_EPOCH(%rax), %r12d
        cmpl    needm_gate(%rip), %r12d         /* r12: the gate's value, until the end */
        jne     .Lslow
        movq    %rax, %r14
        movq    TLS_THREAD(%rax), %r13
        movq    TLS_M(%rax), %rax               /* in a callback? */
        check_call rebind, %rax
        check_stack THREAD_KNOWN_LO(%r13), THREAD_KNOWN_LEN(%r13)
        movq    THREAD_LAST(%r13), %rbx         /* rbx: the M, until the end */
        cmpq    %rbx, THREAD_M(%r13)            /* reaping finds it there */
        jne     .Lslow
        movl    THREAD_CLAIM(%r13), %r10d
        movl    $M_IDLE, %eax
        lock cmpxchgl %r10d, M_STATE(%rbx)
        jne     .Lslow                          /* bound to another thread, or not on the list */
        cmpq    %r13, M_THREAD(%rbx)
        jne     .Lreclaimed
.Lrebound:
        movq    %rbx, TLS_M(%r14)               /* published last */
        leaq    AT(ENTRY_CALL+M_BOUND_HERE), %r10
        save_control rebind
        begin   rebind, %r10
        callq   needm_base
        finish  rebind
.Lunbind:
        movl    THREAD_CLAIM(%r13), %eax
        cmpl    %eax, M_STATE(%rbx)             /* still on the list? */
        jne     .Lunlisted
        movq    $0, TLS_M(%r14)                 /* withdrawn first */
        movl    $M_IDLE, M_STATE(%rbx)
        cmpl    $0, needm_gate+GATE_WAITERS(%rip)
        jne     .Lwake_waiter
.Ldone:
        xorl    %eax, %eax
        jmp     .Lreturn

        detours rebind

        /* Another thread had the M in between: M_THREAD and M_KNOWN_* describe that one. Sets them. */
.Lreclaimed:
        movq    %r13, M_THREAD(%rbx)
        movq    THREAD_KNOWN_LO(%r13), %rax
        movq    %rax, M_KNOWN_LO(%rbx)
        movq    THREAD_KNOWN_LEN(%r13), %rax
        movq    %rax, M_KNOWN_LEN(%rbx)
        jmp     .Lrebound

        /* As .Lclosed_bound, and unbinds the M. rcx, rdx, r8 as at the entry. */
.Lclosed_rebind:
        movq    $0, M_SEG(%rbx)
        fill_call
        movq    %rbx, %rcx
        callq   needm_dropm
        jmp     .Lslow_filled

.Lnotify_rebind:
        callq   needm_notify_stopper
        jmp     .Lunbind

        /* The M was popped from the list while it was bound: needm_dropm lists it again. */
.Lunlisted:
        movq    %rbx, %rcx
        callq   needm_dropm
        jmp     .Ldone

.Lwake_waiter:
        callq   needm_wake
        jmp     .Ldone

        /* rsp: as the prologue left it; r9 is in Call already. */
.Lmend:
        fill_call
        movq    %rsp, %rcx
        callq   needm_mend_fields
        movq    AT(ENTRY_CALL+CALL_FN), %rcx
        movq    AT(ENTRY_CALL+CALL_FRAME), %rdx
        movq    AT(ENTRY_CALL+CALL_SIZE), %r8
        movq    AT(ENTRY_CALL+CALL_INFO), %r9
        jmp     .Lfields

        /* The slow path. rcx, rdx, r8 as at the entry. */
.Lslow:
        fill_call
.Lslow_filled:
        stmxcsr AT(ENTRY_CONTROL)
        fnstcw  AT(ENTRY_CONTROL+4)
        leaq    AT(ENTRY_CALL), %r12            /* r12: Call, until the end */
        movq    %r12, %rcx
        callq   needm_enter                     /* -> the G's stack pointer, or 0 */
        testq   %rax, %rax
        je      .Lrefused
        movq    CALL_OUT(%r12), %r13
        movq    %r13, %rbx
        andq    $-(CALL_PENDING + 1), %rbx      /* rbx: M, until the end */
        leaq    -HOME(%rax), %rsp
        testb   $CALL_ON_G, %r13b               /* it goes on on the caller's own stack */
        jne     .Lentered
        load_fields_of_g %rbx
        cmpq    %gs:TEB_STACK_LIMIT, %rsp
        jb      .Lelsewhere
        cmpq    %gs:TEB_STACK_BASE, %rsp
        ja      .Lelsewhere
.Lentered:
        testb   $CALL_PENDING, %r13b
        je      2f
        movq    %r12, %rcx
        callq   needm_on_g_prologue
2:
        movq    CALL_FN(%r12), %rax
        movq    CALL_ARG(%r12), %rcx
        callq   needm_base
        movq    M_SEG(%rbx), %rax
        cmpq    %r12, SEG_CALL-M_SEGMENT(%rax)  /* or did C jump from an inner callback to here? */
        jne     2f
        cmpq    $0, SEG_DEFERS-M_SEGMENT(%rax)
        je      3f
2:
        movq    %r12, %rcx
        movq    %rbx, %rdx
        callq   needm_on_g_epilogue
3:
        testb   $CALL_ON_G, CALL_OUT(%r12)
        jne     4f                              /* Call is on the G, above fn's part: stay below */
        leaq    -ENTRY_CALL(%r12), %rsp
4:
        load_stack_fields %rbp, FIELDS
        movq    %r12, %rcx
        movq    %rbx, %rdx
        xorl    %r8d, %r8d
        /* rcx: Call; rdx: M; r8d: how it ended; rbp: the caller's frame. */
.Lexit:
        callq   needm_exit                      /* -> the caller's result */
.Lreturn:
        movq    AT(ENTRY_REGS), %rbx
        movq    AT(ENTRY_REGS+8), %rdi
        movq    AT(ENTRY_REGS+16), %rsi
        movq    AT(ENTRY_REGS+24), %r12
        movq    AT(ENTRY_REGS+32), %r13
        movq    AT(ENTRY_REGS+40), %r14
        movq    AT(ENTRY_REGS+48), %r15
        leaq    AT(ENTRY_BYTES), %rsp
        popq    %rbp
        ret

.Lrefused:
        movl    CALL_OUT(%r12), %eax
        jmp     .Lreturn

        /* rsp: on the reserve, or on a further stack, below the C that a callback has called from there. */
.Lelsewhere:
        movq    %rsp, %rcx
        callq   needm_mend_fields
        jmp     .Lentered

/* fn needm_unwind(call (rcx), m (rdx), code (r8d), sp (r9)) -> !

   Ends a callback from any depth, and returns from its needm_entry with code: on the caller's
   stack below sp, with all registers, the control words, the direction flag and the x87 stack as
   at the entry. Called by src/callback/panic.rs. After its first instruction the record of
   needm_entry holds. */
INNER_ROUTINE(needm_unwind)
        leaq    ENTRY_RBP-ENTRY_CALL(%rcx), %rbp
        leaq    -HOME(%r9), %rsp
        load_stack_fields %rbp, FIELDS
        cld
        testl   $GATE_LEAVES_FP, needm_gate(%rip)
        je      1f
        stmxcsr AT(ENTRY_CONTROL)               /* empty_x87 changes one of them */
        fnstcw  AT(ENTRY_CONTROL+4)
1:
        empty_x87
        fldcw   AT(ENTRY_CONTROL+4)
        ldmxcsr AT(ENTRY_CONTROL)
        .irp    number, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movaps  AT(ENTRY_XMM+(\number-6)*16), %xmm\number
        .endr
        jmp     .Lexit
PLACE(needm_entry_end)
END(needm_entry)

/* fn needm_base(arg (rcx), fn (rax))

   Calls fn(arg, rdx, r8): the lowest frame of a callback. It has the handler that Windows asks after all
   those of the callback's own frames, because its frame is on the same stack as theirs:
   src/os/windows/fault.rs. */
ROUTINE(needm_base)
        lowest_frame needm_base_handler, needm_base_return
END(needm_base)
