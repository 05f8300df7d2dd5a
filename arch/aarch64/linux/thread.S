/* The first and the last instructions of a thread that needm makes where there is no C library.
   The Rust side is src/os/linux/clone.rs. */
#include "asm.h"
#include "../landing.h"

/* linux/include/uapi/asm-generic/unistd.h */
#define NR_clone        220
#define NR_exit         93
#define NR_munmap       215
/* linux/include/uapi/linux/sched.h: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
   PARENT_SETTID, CHILD_CLEARTID: 0x3d0f00. */
#define THREAD_FLAGS_HIGH       0x3d
#define THREAD_FLAGS_LOW        0x0f00

/* fn needm_clone(stack (x0), tid (x1), tp (x2), fn (x3), arg (x4)) -> isize (x0)

   Starts a thread that runs fn(arg), which never returns, on the stack that ends at `stack`
   (a multiple of 16), with tp as its thread pointer: clone(2). Linux writes the thread's number
   to *tid before either thread goes on. When the thread has exited it writes 0 there, and wakes
   what waits for that (futex(2)). Returns the number, or an error as a negative one. Clobbers
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
        mov     x0, #THREAD_FLAGS_LOW
        movk    x0, #THREAD_FLAGS_HIGH, lsl #16
        mov     x8, #NR_clone
        svc     #0
        cbz     x0, 1f
        ret
        /* The new thread. x5: fn; x6: arg; everything else as in the other thread. There is no
           frame below this one: a backtrace ends here. */
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

   Unmaps the stack that this thread runs on, and exits the thread. Nothing is on a stack here,
   and all signals must be blocked, because a handler would have none. */
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
