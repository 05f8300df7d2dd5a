/* The first and the last instructions of a thread that needm makes where there is no C library.
   The Rust side is src/spawn/clone.rs. */
#include "asm.h"

/* linux/include/uapi/asm-generic/unistd.h */
#define NR_clone        220
#define NR_exit         93
#define NR_munmap       215
/* linux/include/uapi/linux/sched.h: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
   PARENT_SETTID, CHILD_CLEARTID. */
#define THREAD_FLAGS    0x3d0f00

/* fn needm_clone(stack (a0), tid (a1), tp (a2), fn (a3), arg (a4)) -> isize (a0)

   Starts a thread that runs fn(arg), which never returns, on the stack that ends at `stack`
   (a multiple of 16), with tp as its thread pointer: clone(2). Linux writes the thread's number
   to *tid before either thread goes on. When the thread has exited it writes 0 there, and wakes
   what waits for that (futex(2)). Returns the number, or an error as a negative one. Clobbers
   what a call does. Uses no stack, and the new one is empty.

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
        /* The new thread. t1: fn; t2: arg; everything else as in the other thread. There is no
           frame below this one: a backtrace ends here. */
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

   Unmaps the stack that this thread runs on, and exits the thread. Nothing is on a stack here,
   and all signals must be blocked, because a handler would have none. */
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
