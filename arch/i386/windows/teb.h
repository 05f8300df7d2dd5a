/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The fields of the thread's environment block (TEB) that say where its stack is, as
   arch/x86_64/windows/teb.h; here fs: points to the block. */
#define TEB_EXCEPTION_LIST      0x0     /* frames with handlers, the innermost first */
#define TEB_STACK_BASE          0x4
#define TEB_STACK_LIMIT         0x8
#define TEB_TLS_POINTER         0x2c
#define TEB_DEALLOCATION_STACK  0xe0c
#define TEB_GUARANTEED_BYTES    0xf78

#define BLOCK   %fs
#define MOVE    movl
#define WORD    4
#define FROM    %eax
#define FROM_32 FROM
#define TO      %ecx
#define TO_32   TO
#include "windows/stack_fields.h"

        /* The lowest frame of a part of a stack, with the handler `handler`: calls fn (eax) with the
           three words that the caller has left at its stack pointer. The list's new first entry is
           in this frame; behind it come those of the stack before, which Windows does not reach:
           it stops at the first that is not on the stack.

                the three words
                return address
                saved ebp                       <- ebp
                handler
                the entry before                <- the list's first entry
                (alignment), three words        <- esp, a multiple of 16 */
        .macro  lowest_frame handler
        .cfi_startproc
        pushl   %ebp
        .cfi_def_cfa_offset 8
        .cfi_offset ebp, -8
        movl    %esp, %ebp
        .cfi_def_cfa_register ebp
        pushl   $\handler
        pushl   %fs:TEB_EXCEPTION_LIST
        movl    %esp, %fs:TEB_EXCEPTION_LIST
        subl    $16, %esp
        movl    8(%ebp), %ecx
        movl    %ecx, (%esp)
        movl    12(%ebp), %ecx
        movl    %ecx, 4(%esp)
        movl    16(%ebp), %ecx
        movl    %ecx, 8(%esp)
        calll   *%eax
        movl    -8(%ebp), %ecx
        movl    %ecx, %fs:TEB_EXCEPTION_LIST
        movl    %ebp, %esp
        popl    %ebp
        .cfi_def_cfa esp, 4
        .cfi_restore ebp
        ret
        .cfi_endproc
        .endm
