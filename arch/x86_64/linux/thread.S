/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The first and the last instructions of a thread that needm makes where there is no C library.
   The Rust side is src/os/linux/clone.rs. */
#include "asm.h"
#include "linux/clone.h"

/* linux/arch/x86/entry/syscalls/syscall_64.tbl */
#define NR_clone        56
#define NR_exit         60
#define NR_munmap       11

/* fn needm_clone(stack (rdi), tid (rsi), tp (rdx), fn (rcx), arg (r8)) -> isize (rax)

   Starts a thread that runs fn(arg), which never returns: clone(2). `stack` is the top (the highest
   address) of its stack, a multiple of 16; tp is its thread pointer. Linux writes the thread ID
   to *tid before either thread goes on. When the thread has exited, Linux writes 0 there, and wakes
   the threads that wait for that (futex(2)). Returns the thread ID, or a negative errno. Clobbers
   the caller-saved registers.

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
        /* The new thread. rsp: fn, arg; rax: 0. This is its outermost frame: a backtrace ends
           here. */
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

   Unmaps the stack that this thread runs on, and exits the thread. After munmap there is no stack.
   So nothing here uses one. The caller has blocked all signals, because a handler would need a
   stack. Linux writes 0 to the thread's *tid after the exit, so that word must not be on this
   stack. */
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
