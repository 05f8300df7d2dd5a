/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The stack fields of the thread's environment block, in assembly. teb.h, which includes this, says where
   they are, and defines BLOCK, the segment register that leads there; MOVE and WORD, which move a word, and
   its bytes; and registers with the names of their lower 32 bits: for what is read, FROM and FROM_32,
   and for what is written, TO and TO_32. */

/* Bytes that a frame has for these fields: base, limit, reservation, guarantee, list; the stack pointer
   stays as aligned as it is. */
#ifdef __x86_64__
#define STACK_FIELDS    48
#else
#define STACK_FIELDS    20
#endif

/* Pages that are Windows's own at the lower end of a stack, below what is guaranteed. */
#define LAST_PAGE       4096

        /* Copies the fields to `to`, a base register, from `at` on. Clobbers FROM. */
        .macro  save_stack_fields to, at
        MOVE    BLOCK:TEB_STACK_BASE, FROM
        MOVE    FROM, \at(\to)
        MOVE    BLOCK:TEB_STACK_LIMIT, FROM
        MOVE    FROM, \at+WORD(\to)
        MOVE    BLOCK:TEB_DEALLOCATION_STACK, FROM
        MOVE    FROM, \at+2*WORD(\to)
        movl    BLOCK:TEB_GUARANTEED_BYTES, FROM_32
        MOVE    FROM, \at+3*WORD(\to)
        MOVE    BLOCK:TEB_EXCEPTION_LIST, FROM
        MOVE    FROM, \at+4*WORD(\to)
        .endm

        /* The other way. Clobbers TO only. */
        .macro  load_stack_fields from, at
        MOVE    \at(\from), TO
        MOVE    TO, BLOCK:TEB_STACK_BASE
        MOVE    \at+WORD(\from), TO
        MOVE    TO, BLOCK:TEB_STACK_LIMIT
        MOVE    \at+2*WORD(\from), TO
        MOVE    TO, BLOCK:TEB_DEALLOCATION_STACK
        movl    \at+3*WORD(\from), TO_32
        movl    TO_32, BLOCK:TEB_GUARANTEED_BYTES
        MOVE    \at+4*WORD(\from), TO
        MOVE    TO, BLOCK:TEB_EXCEPTION_LIST
        .endm

        /* Those of the G of `m`. Where handlers are found in a list, that stays: needm_base begins its own
           part of it. Clobbers TO. */
        .macro  load_fields_of_g m
        MOVE    M_STACK_HI(\m), TO
        MOVE    TO, BLOCK:TEB_STACK_BASE
        MOVE    M_STACK_LO(\m), TO
        MOVE    TO, BLOCK:TEB_STACK_LIMIT
        sub     $M_GUARANTEED + LAST_PAGE, TO
        MOVE    TO, BLOCK:TEB_DEALLOCATION_STACK
        movl    $M_GUARANTEED, BLOCK:TEB_GUARANTEED_BYTES
#ifdef NO_FRAMES
        MOVE    $NO_FRAMES, BLOCK:TEB_EXCEPTION_LIST
#endif
        .endm
