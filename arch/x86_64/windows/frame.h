/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The frame of needm_entry, from the stack pointer that its prologue leaves; entry.S draws it.
   The record of the call in it is at 16 bytes, because the stack pointer is. */
#define ENTRY_CALL      0x20
#define ENTRY_FIELDS    0x50
#define ENTRY_CONTROL   0x78
#define ENTRY_REGS      0x80
#define ENTRY_XMM       0xc0
#define ENTRY_BYTES     0x160
/* rbp is so far above it (UWOP_SET_FPREG: a multiple of 16, 240 at most). */
#define ENTRY_RBP       0x80

/* From a call's record to the stack fields of its caller. */
#define CALL_FIELDS     0x30    /* ENTRY_FIELDS - ENTRY_CALL */

/* What every caller leaves free above the return address for the function that it calls
   (Microsoft, "x64 calling convention"). */
#define HOME            32

        /* The lowest frame of a part of a stack, with the handler `handler`: calls fn (rax). The place where
           that returns to has a name if one is given.

                return address
                (alignment)
                home of arguments       <- rsp */
        .macro  lowest_frame handler, place
        .seh_handler \handler, @except, @unwind
        subq    $HOME + 8, %rsp
        .seh_stackalloc HOME + 8
        .seh_endprologue
        callq   *%rax
        .ifnb   \place
        PLACE(\place)
        .endif
        nop                                     /* the return address is within the routine */
        addq    $HOME + 8, %rsp
        ret
        .endm
