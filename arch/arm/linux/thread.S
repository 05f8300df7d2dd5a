/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The first and the last instructions of a thread that needm makes where there is no C library.
   The Rust side is src/os/linux/clone.rs. */
#include "asm.h"
#include "linux/clone.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame

/* linux/arch/arm/tools/syscall.tbl */
#define NR_clone        120
#define NR_exit         1
#define NR_munmap       91

/* fn needm_clone(stack (r0), tid (r1), tp (r2), fn (r3), arg ([sp])) -> isize (r0)

   Starts a thread that runs fn(arg), which never returns: clone(2). `stack` is the top (the highest
   address) of its stack, a multiple of 16; tp is its thread pointer. Linux writes the thread ID
   to *tid before either thread goes on. When the thread has exited, Linux writes 0 there, and wakes
   the threads that wait for that (futex(2)). Returns the thread ID, or a negative errno. Clobbers
   the caller-saved registers.

        this stack                      the new one
        arg     <- CFA                          <- stack, its sp: nothing is on it
        r4-r7   <- sp

   The new thread starts with this one's registers, and finds fn and arg there. */
ROUTINE(needm_clone)
        .fnstart
        .cfi_startproc
        push    {r4-r7}
        .save   {r4-r7}
        .cfi_def_cfa_offset 16
        .cfi_offset r4, -16
        .cfi_offset r5, -12
        .cfi_offset r6, -8
        .cfi_offset r7, -4
        mov     r5, r3                          /* r5: fn */
        ldr     r6, [sp, #16]                   /* r6: arg */
        mov     r4, r1
        mov     r3, r2
        mov     r2, r1
        mov     r1, r0
        ldr     r0, .Lflags
        mov     r7, #NR_clone
        svc     #0
        cmp     r0, #0
        beq     1f
        pop     {r4-r7}
        .cfi_remember_state
        .cfi_restore r4
        .cfi_restore r5
        .cfi_restore r6
        .cfi_restore r7
        .cfi_def_cfa_offset 0
        bx      lr
        .cfi_restore_state
        /* The new thread. r5: fn; r6: arg; r0: 0. This is its outermost frame: a backtrace ends
           here. */
1:
        .cfi_undefined lr
        mov     r11, #0
        mov     r0, r6
        mov     lr, #0
        blx     r5
        udf     #0
        .cfi_endproc
        .cantunwind
        .fnend
        .p2align 2
.Lflags:
        .word   THREAD_FLAGS
END(needm_clone)

/* fn needm_unmap_and_exit(start (r0), len (r1)) -> !

   Unmaps the stack that this thread runs on, and exits the thread. After munmap there is no stack.
   So nothing here uses one. The caller has blocked all signals, because a handler would need a
   stack. Linux writes 0 to the thread's *tid after the exit, so that word must not be on this
   stack. */
ROUTINE(needm_unmap_and_exit)
        .fnstart
        .cfi_startproc
        .cfi_undefined lr
        mov     r7, #NR_munmap
        svc     #0
        mov     r0, #0
        mov     r7, #NR_exit
        svc     #0
        udf     #0
        .cfi_endproc
        .cantunwind
        .fnend
END(needm_unmap_and_exit)
