/* What tests need of x86_64: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_X86_64_H
#define ARCH_X86_64_H

#ifndef __ASSEMBLER__
#endif

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* Hosts without a C library: a _start that calls start(stack), and the thread pointer.
 * Thread-local storage lies below the thread pointer, which points to itself. */
#define START_CALLS_START \
    ".globl _start; _start: xorl %ebp, %ebp; movq %rsp, %rdi; andq $-16, %rsp; call start"
#define TLS_IS_BELOW 1
static inline int set_thread_pointer(void *pointer) {
    enum { ARCH_SET_FS = 0x1002 }; /* arch/x86/include/uapi/asm/prctl.h */
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"((long)SYS_arch_prctl), "D"((long)ARCH_SET_FS), "S"(pointer)
                     : "rcx", "r11", "memory");
    return answer == 0;
}

/* The instruction of a system call, for tests/nosplit to find. */
static inline __attribute__((always_inline)) void raw_getpid(void) {
    long answer;
    __asm__ volatile("syscall" : "=a"(answer) : "a"((long)SYS_getpid) : "rcx", "r11", "memory");
}

/* What needm_entry saves of the floating-point environment: MXCSR. */
static inline void store_fp_control(uint32_t *word) { __asm__ volatile("stmxcsr %0" : "=m"(*word)); }

/* fault_here() writes to address 0; a handler that sets the pc to fault_resume has it return. */
#define FAULT_HERE                                                        \
    ".text\n.globl fault_here\n.type fault_here, %function\nfault_here:\n" \
    "movl $0, 0\n.globl fault_resume\nfault_resume:\nret\n"
#define SET_CONTEXT_PC(context, to) ((context)->uc_mcontext.gregs[REG_RIP] = (greg_t)(to))

/* Whether dividing by zero faults, and how an undefined instruction does: its si_code. */
#define DIVISION_FAULTS 1
static inline void divide_by_zero(void) {
    __asm__ volatile("xorl %%ecx, %%ecx; xorl %%edx, %%edx; movl $1, %%eax; divl %%ecx" ::: "eax", "ecx", "edx");
}
#define UNDEFINED_CODE 2 /* ILL_ILLOPN: arch/x86/kernel/traps.c */
static inline void undefined_instruction(void) { __asm__ volatile("ud2"); }

/* Whether under qemu-user 7.2 a thread that returns from a signal handler gets the thread
 * pointer of the thread that was made last. */
#define QEMU_MIXES_UP_THREADS 0
#endif

#ifdef __ASSEMBLER__
/* The routines of tests/hosts/foreign.S, which says what each does and defines THREAD_FLAGS. */
#include <sys/syscall.h>
.macro FOREIGN_CLONE
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
        movl    $SYS_clone, %eax
        syscall
        testq   %rax, %rax
        je      1f
        ret
1:      xorl    %ebp, %ebp
        popq    %rax
        popq    %rdi
        callq   *%rax
        ud2
.endm
.macro FOREIGN_CALL
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
.endm
.macro FOREIGN_RESTORER
foreign_restorer:
        movl    $SYS_rt_sigreturn, %eax
        syscall
.endm
#endif

#endif
