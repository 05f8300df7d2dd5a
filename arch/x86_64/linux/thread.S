/* The first and the last instructions of a thread that needm makes where there is no C library.
   The Rust side is src/os/linux/clone.rs. */
#include "asm.h"

/* linux/arch/x86/entry/syscalls/syscall_64.tbl */
#define NR_clone        56
#define NR_exit         60
#define NR_munmap       11
/* linux/include/uapi/linux/sched.h: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
   PARENT_SETTID, CHILD_CLEARTID. */
#define THREAD_FLAGS    0x3d0f00

/* fn needm_clone(stack (rdi), tid (rsi), tp (rdx), fn (rcx), arg (r8)) -> isize (rax)

   Starts a thread that runs fn(arg), which never returns, on the stack that ends at `stack`
   (a multiple of 16), with tp as its thread pointer: clone(2). Linux writes the thread's number
   to *tid before either thread goes on. When the thread has exited it writes 0 there, and wakes
   what waits for that (futex(2)). Returns the number, or an error as a negative one. Clobbers
   what a call does.

        the new stack
        arg             <- stack - 8
        fn              <- its rsp */
ROUTINE(needm_clone)
        .cfi_startproc
        movq    %rdx, %r9                       /* r9: tp, while rdx is wanted */
        movq    %rcx, -16(%rdi)
        movq    %r8, -8(%rdi)
        movq    %rsi, %rdx
        movq    %rsi, %r10
        leaq    -16(%rdi), %rsi
        movq    %r9, %r8
        movl    $THREAD_FLAGS, %edi
        movl    $NR_clone, %eax
        syscall
        testq   %rax, %rax
        je      1f
        ret
        /* The new thread. rsp: fn, arg; everything else as in the other thread. There is no frame
           below this one: a backtrace ends here. */
1:
        .cfi_undefined rip
        xorl    %ebp, %ebp
        popq    %rax
        popq    %rdi
        callq   *%rax
        ud2
        .cfi_endproc
END(needm_clone)

/* fn needm_unmap_and_exit(start (rdi), len (rsi)) -> !

   Unmaps the stack that this thread runs on, and exits the thread. Nothing is on a stack here,
   and all signals must be blocked, because a handler would have none. */
ROUTINE(needm_unmap_and_exit)
        .cfi_startproc
        .cfi_undefined rip
        movl    $NR_munmap, %eax
        syscall
        xorl    %edi, %edi
        movl    $NR_exit, %eax
        syscall
        ud2
        .cfi_endproc
END(needm_unmap_and_exit)
