/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The x87 stack at an ending. */

/* The status word: "x87 FPU Status Register", Intel 64 and IA-32 Architectures Software Developer's
   Manual, volume 1, 8.1.3. The lowest byte is the exceptions, a fault of the stack, and whether one
   of them is pending. */
#define X87_EXCEPTIONS 0xff
#define X87_TOP        0x3800
#define X87_BUSY       0x8000

        /* Empties the x87 stack, as fninit does, which takes a hundred cycles (Zen 3). Clobbers ax.

           fninit also clears the exceptions, makes the top of the stack register 0, and changes the
           control word, which the caller of this loads next. If there are no exceptions, and the
           top is 0, emms does all that matters: nothing asks for the condition codes. */
        .macro  empty_x87
        fnstsw  %ax
        testl   $X87_BUSY | X87_TOP | X87_EXCEPTIONS, %eax
        jne     8f
        emms
        jmp     9f
8:
        fninit
9:
        .endm
