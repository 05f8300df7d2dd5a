/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The first and the last instructions of a thread that needm makes where there is no C library.
   The Rust side is src/os/linux/clone.rs. */
#include "asm.h"
#include "linux/clone.h"

/* linux/include/uapi/asm-generic/unistd.h */
#define NR_clone        220
#define NR_exit         93
#define NR_munmap       215

/* fn needm_clone(stack (a0), tid (a1), tp (a2), fn (a3), arg (a4)) -> isize (a0)

   Starts a thread that runs fn(arg), which never returns: clone(2). `stack` is the top (the highest
   address) of its stack, a multiple of 16; tp is its thread pointer. Linux writes the thread ID
   to *tid before either thread goes on. When the thread has exited, Linux writes 0 there, and wakes
   the threads that wait for that (futex(2)). Returns the thread ID, or a negative errno. Clobbers
   the caller-saved registers. Uses no stack, and the new one is empty.

   The new thread starts with this one's registers, and finds fn and arg there, and gp. */
ROUTINE(needm_clone)
        .cfi_startproc
        mv      t1, a3
        mv      t2, a4
        mv      a4, a1
        mv      a3, a2
        mv      a2, a1
        mv      a1, a0
        li      a0, THREAD_FLAGS
        li      a7, NR_clone
        ecall
        beqz    a0, 1f
        ret
        /* The new thread. t1: fn; t2: arg; a0: 0. This is its outermost frame: a backtrace ends
           here. */
1:
        .cfi_undefined ra
        li      s0, 0
        li      ra, 0
        mv      a0, t2
        jalr    t1
        unimp
        .cfi_endproc
END(needm_clone)

/* fn needm_unmap_and_exit(start (a0), len (a1)) -> !

   Unmaps the stack that this thread runs on, and exits the thread. After munmap there is no stack.
   So nothing here uses one. The caller has blocked all signals, because a handler would need a
   stack. Linux writes 0 to the thread's *tid after the exit, so that word must not be on this
   stack. */
ROUTINE(needm_unmap_and_exit)
        .cfi_startproc
        .cfi_undefined ra
        li      a7, NR_munmap
        ecall
        li      a0, 0
        li      a7, NR_exit
        ecall
        unimp
        .cfi_endproc
END(needm_unmap_and_exit)
