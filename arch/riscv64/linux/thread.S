/* The first and the last instructions of a thread that is made without a C library.
   The Rust side is src/spawn/clone.rs. */
#include "asm.h"

/* include/uapi/asm-generic/unistd.h */
#define NR_clone        220
#define NR_exit         93
#define NR_munmap       215
/* include/uapi/linux/sched.h: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
   PARENT_SETTID, CHILD_CLEARTID */
#define THREAD_FLAGS    0x3d0f00

/* fn needm_clone(stack (a0), tid (a1), tp (a2), fn (a3), arg (a4)) -> isize (a0)

   A thread that runs fn(arg), which never returns, on the stack that ends at `stack`
   (16-aligned), with tp as its thread pointer. The system writes its number to *tid before either
   thread goes on, and 0 when it has ended, and wakes what waits for that.

   Registers are the new thread's, too: it finds fn and arg in t1 and t2, and gp as it must be.
   Clobbers what a call may. */
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
        /* The new thread. t1: fn; t2: arg; all else as the other thread has it. */
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

   Ends this thread and unmaps the stack that it runs on: nothing is on a stack here.
   All signals must be blocked. */
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
