/* The way of a callback into the kernel and out again: arch/x86_64/entry.S, which
   has the full comments, for i386.

   The Rust side is src/callback.rs (`enter`, `begun`, `exit`) and src/unwind.rs
   (`run_deferred`), by the symbols that `upcalls!` there defines. Arguments of all
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
        mxcsr            (Call+32)            ...segments of outer callbacks
        x87 control word (Call+28)            Segment, if nested; its SEG_CALL
        ebp, again       (Call+24)            points at Call
        OUT ARG INFO SIZE FRAME FN            copied frame, if any
                         <- Call = esp        (padding), arg       <- esp
                                              return address into here
                                              fn's own frame

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

/* fn needm_entry(fn (esp+4), frame (esp+8), size (esp+12), info (esp+16)) -> i32 (eax)

   Steady path: as on x86_64. */
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
        movl    %gs:TLS_PASS(%eax), %esi        /* esi: the pass, until the end */
        cmpl    (%edi), %esi
        jne     .Lslow
        movl    %gs:TLS_M(%eax), %ebx           /* ebx: the M, until the end */
        movl    8(%ebp), %ecx                   /* ecx: fn */
        testl   %ecx, %ecx
        je      .Lslow
        movl    M_SEG(%ebx), %eax
        orl     16(%ebp), %eax                  /* in a callback, or bytes to copy? */
        jne     .Lslow
        testl   %edx, %edx
        je      1f
        cmpl    $INFO_BYTES, (%edx)
        jb      .Lslow
1:
        movl    %esp, %eax
        subl    M_SIG_LO(%ebx), %eax
        cmpl    M_SIG_LEN(%ebx), %eax           /* a handler's, on the signal stack? */
        jb      .Lslow
        movl    M_BEGIN(%ebx), %edx             /* the M's own segment, and RUNNING */
        movl    12(%ebp), %eax                  /* eax: frame */
        /* A handler that calls back before M_SEG is set uses this segment too,
           and leaves its own call in it: hence the look afterwards. */
.Lbegin:
        movl    %esp, M_BASE+SEG_CALL(%ebx)
        movl    %edx, M_SEG(%ebx)
        cmpl    %esp, M_BASE+SEG_CALL(%ebx)
        jne     .Lagain
        cmpl    (%edi), %esi                    /* after the store to M_SEG: src/world.rs */
        jne     .Lclosed
        movl    M_TOP(%ebx), %edx
        leal    -ARGS(%edx), %esp
        movl    %eax, (%esp)
        OTHER_STACK
        calll   *%ecx
        /* esp: ARGS below the G's top; ebx: M; esi: pass; edi: gate; ebp: the
           caller's frame */
        cmpl    $0, M_BASE+SEG_DEFERS(%ebx)
        jne     .Ldefers
.Lleave:
        to_call
        movl    $0, M_SEG(%ebx)
        cmpl    (%edi), %esi
        jne     .Lleft
.Lout:
        xorl    %eax, %eax
        restore_and_return

        /* The gate closed while this thread came in: step back, then wait as a
           slow caller. esp: Call. */
.Lclosed:
        movl    $0, M_SEG(%ebx)
        jmp     .Lslow

        /* esp: Call; eax: frame; ecx: fn; edx: the M's own segment, and RUNNING */
.Lagain:
        movl    $0, M_SEG(%ebx)
        jmp     .Lbegin

        /* esp: ARGS below the G's top; ebx: M */
.Ldefers:
        movl    %ebx, (%esp)
        calll   needm_run_defers
        jmp     .Lleave

        /* Somebody may be waiting for this thread to be out. esp: Call. */
.Lleft:
        calll   needm_left
        jmp     .Lout

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
        calll   needm_begun
2:
        movl    CALL_ARG(%edi), %eax
        movl    %eax, (%esp)
        calll   *CALL_FN(%edi)
        movl    M_SEG(%ebx), %eax
        cmpl    $0, SEG_DEFERS-RUNNING(%eax)
        je      3f
        movl    %ebx, (%esp)
        calll   needm_run_defers
3:
        OTHER_STACK_END
        testb   $CALL_DIRECT, CALL_OUT(%edi)
        jne     4f                              /* the segment is below Call: stay below it */
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
