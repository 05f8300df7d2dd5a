/* The first and the last instructions of a thread that is made without a C library.
   The Rust side is src/os/linux/clone.rs. */
#include "asm.h"
#include "../landing.h"

/* linux/include/uapi/asm-generic/unistd.h */
#define NR_clone        220
#define NR_exit         93
#define NR_munmap       215
/* include/uapi/linux/sched.h: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
   PARENT_SETTID, CHILD_CLEARTID: 0x3d0f00 */
#define THREAD_FLAGS_HIGH       0x3d
#define THREAD_FLAGS_LOW        0x0f00

/* fn needm_clone(stack (x0), tid (x1), tp (x2), fn (x3), arg (x4)) -> isize (x0)

   A thread that runs fn(arg), which never returns, on the stack that ends at `stack`
   (16-aligned), with tp as its thread pointer. Linux writes its number to *tid before either
   thread goes on, and 0 when it has ended, and then wakes the waiters for that word. The
   registers are the new thread's, too: it finds fn and arg there. Clobbers x1-x6, x8.

   Linux wants flags, stack, tid, tp, tid (CONFIG_CLONE_BACKWARDS). */
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
        /* The new thread. sp: its stack; x5: fn; x6: arg. */
1:
        .cfi_undefined x30
        mov     x29, #0
        mov     x30, #0
        mov     x0, x6
        blr     x5
        brk     #0
        .cfi_endproc
END(needm_clone)

/* fn needm_unmap_and_exit(start (x0), len (x1)) -> !

   Ends this thread and unmaps the stack that it runs on: nothing is on a stack here.
   All signals must be blocked. */
ROUTINE(needm_unmap_and_exit)
        .cfi_startproc
        .cfi_undefined x30
        LANDING_PAD
        mov     x8, #NR_munmap
        svc     #0
        mov     x0, #0
        mov     x8, #NR_exit
        svc     #0
        brk     #0
        .cfi_endproc
END(needm_unmap_and_exit)
