/* The first and the last instructions of a thread that is made without a C library.
   The Rust side is src/spawn/clone.rs. */
#include "asm.h"

/* linux/arch/x86/entry/syscalls/syscall_64.tbl */
#define NR_clone        56
#define NR_exit         60
#define NR_munmap       11
/* include/uapi/linux/sched.h: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
   PARENT_SETTID, CHILD_CLEARTID */
#define THREAD_FLAGS    0x3d0f00

/* fn needm_clone(stack (rdi), tid (rsi), tp (rdx), fn (rcx), arg (r8)) -> isize (rax)

   A thread that runs fn(arg), which never returns, on the stack that ends at `stack`
   (16-aligned), with tp as its thread pointer. The system writes its number to *tid before either
   thread goes on, and 0 when it has ended, and wakes who waits for that. */
ROUTINE(needm_clone)
        .cfi_startproc
        movq    %rdx, %r9                       /* kept by the call: tp, fn, arg */
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
        /* The new thread. rsp: fn, arg; all else as the other thread has it. */
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

   Ends this thread and unmaps the stack that it runs on: nothing is on a stack here.
   All signals must be blocked. */
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
