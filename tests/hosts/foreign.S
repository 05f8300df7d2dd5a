/* Threads that the kernel knows nothing of, and system calls, for the programs here:
   nothing of needm's own.

   long foreign_clone(void *stack, int *tid, void *tp, void (*fn)(void *), void *arg):
   a thread that runs fn(arg), which never returns. The system writes its number to *tid, and 0
   when it has ended.

   long foreign_call(long number, long a, long b, long c, long d): a system call.

   foreign_restorer: where a handler with SA_SIGINFO returns to. */

/* include/uapi/linux/sched.h: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
   PARENT_SETTID, CHILD_CLEARTID */
#define THREAD_FLAGS 0x3d0f00

        .section .note.GNU-stack, "", %progbits
        .text
        .globl  foreign_clone, foreign_call, foreign_restorer
        .type   foreign_clone, %function
        .type   foreign_call, %function
        .type   foreign_restorer, %function

#if defined(__x86_64__)
foreign_clone:
        movq    %rdx, %r9
        subq    $16, %rdi
        movq    %rcx, (%rdi)
        movq    %r8, 8(%rdi)
        movq    %rsi, %rdx
        movq    %rsi, %r10
        movq    %rdi, %rsi
        movq    %r9, %r8
        movl    $THREAD_FLAGS, %edi
        movl    $56, %eax
        syscall
        testq   %rax, %rax
        je      1f
        ret
1:      xorl    %ebp, %ebp
        popq    %rax
        popq    %rdi
        callq   *%rax
        ud2
foreign_call:
        movq    %rdi, %rax
        movq    %rsi, %rdi
        movq    %rdx, %rsi
        movq    %rcx, %rdx
        movq    %r8, %r10
        xorl    %r8d, %r8d
        xorl    %r9d, %r9d
        syscall
        ret
foreign_restorer:
        movl    $15, %eax
        syscall
#elif defined(__i386__)
foreign_clone:
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        movl    16(%esp), %ecx                  /* the stack: fn, arg */
        movl    28(%esp), %eax
        movl    32(%esp), %edx
        subl    $20, %ecx
        movl    %eax, (%ecx)
        movl    %edx, 4(%ecx)
        movl    20(%esp), %edx
        movl    %edx, %edi
        /* struct user_desc: this thread's entry, the other's base */
        pushl   $0x51
        pushl   $0xfffff
        pushl   36-4(%esp)                      /* tp */
        movl    %gs, %eax
        shrl    $3, %eax
        pushl   %eax
        movl    %esp, %esi
        movl    $THREAD_FLAGS, %ebx
        movl    $120, %eax
        int     $0x80
        testl   %eax, %eax
        je      1f
        addl    $16, %esp
        popl    %edi
        popl    %esi
        popl    %ebx
        ret
1:      xorl    %ebp, %ebp
        popl    %eax
        calll   *%eax                           /* arg is where fn looks for it, and 16-aligned */
        ud2
foreign_call:
        pushl   %ebx
        pushl   %esi
        movl    12(%esp), %eax
        movl    16(%esp), %ebx
        movl    20(%esp), %ecx
        movl    24(%esp), %edx
        movl    28(%esp), %esi
        int     $0x80
        popl    %esi
        popl    %ebx
        ret
foreign_restorer:
        movl    $173, %eax
        int     $0x80
#elif defined(__arm__)
        .syntax unified
        .arm
foreign_clone:
        push    {r4-r7, lr}
        ldr     r5, [sp, #20]
        sub     r0, r0, #8
        stm     r0, {r3, r5}
        mov     r4, r1
        mov     r3, r2
        mov     r2, r1
        mov     r1, r0
        ldr     r0, =THREAD_FLAGS
        mov     r7, #120
        svc     0
        cmp     r0, #0
        popne   {r4-r7, pc}
        mov     r11, #0
        mov     lr, #0
        pop     {r1, r2}
        mov     r0, r2
        blx     r1
        udf     #0
        .ltorg
foreign_call:
        push    {r4, r7, lr}
        ldr     r4, [sp, #12]
        mov     r7, r0
        mov     r0, r1
        mov     r1, r2
        mov     r2, r3
        mov     r3, r4
        svc     0
        pop     {r4, r7, pc}
foreign_restorer:
        mov     r7, #173
        svc     0
#endif
