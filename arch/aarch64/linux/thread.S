/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The first and the last instructions of a thread that needm makes where there is no C library.
   The Rust side is src/os/linux/clone.rs. */
#include "asm.h"
#include "../landing.h"
#include "linux/clone.h"

/* linux/include/uapi/asm-generic/unistd.h */
#define NR_clone        220
#define NR_exit         93
#define NR_munmap       215

/* fn needm_clone(stack (x0), tid (x1), tp (x2), fn (x3), arg (x4)) -> isize (x0)

   Starts a thread that runs fn(arg), which never returns: clone(2). `stack` is the top (the highest
   address) of its stack, a multiple of 16; tp is its thread pointer. Linux writes the thread ID
   to *tid before either thread goes on. When the thread has exited, Linux writes 0 there, and wakes
   the threads that wait for that (futex(2)). Returns the thread ID, or a negative errno. Clobbers
   x1 to x6, and x8.

   The new thread starts with this one's registers, and finds fn and arg there; nothing is on its
   stack. Linux takes the flags, the stack, tid, tp, and tid again, in this order (clone(2),
   "C library/kernel differences"). */
ROUTINE(needm_clone)
        .cfi_startproc
        LANDING_PAD
        mov     x5, x3                          /* x5: fn */
        mov     x6, x4                          /* x6: arg */
        mov     x4, x1
        mov     x3, x2
        mov     x2, x1
        mov     x1, x0
        mov     x0, #(THREAD_FLAGS & 0xffff)
        movk    x0, #(THREAD_FLAGS >> 16), lsl #16
        mov     x8, #NR_clone
        svc     #0
        cbz     x0, 1f
        ret
        /* The new thread. x5: fn; x6: arg; x0: 0. This is its outermost frame: a backtrace ends
           here. */
1:
        .cfi_undefined x30
        mov     x29, #0
        mov     x30, #0
        mov     x0, x6
        blr     x5
        udf     #0
        .cfi_endproc
END(needm_clone)

/* fn needm_unmap_and_exit(start (x0), len (x1)) -> !

   Unmaps the stack that this thread runs on, and exits the thread. After munmap there is no stack.
   So nothing here uses one. The caller has blocked all signals, because a handler would need a
   stack. Linux writes 0 to the thread's *tid after the exit, so that word must not be on this
   stack. */
ROUTINE(needm_unmap_and_exit)
        .cfi_startproc
        .cfi_undefined x30
        LANDING_PAD
        mov     x8, #NR_munmap
        svc     #0
        mov     x0, #0
        mov     x8, #NR_exit
        svc     #0
        udf     #0
        .cfi_endproc
END(needm_unmap_and_exit)
