/* What tests need of i386: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_I386_H
#define ARCH_I386_H

#ifndef __ASSEMBLER__
#endif

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* Hosts without a C library: a _start that calls start(stack), and the thread pointer.
 * Thread-local storage lies below the thread pointer, which points to itself. */
#define START_CALLS_START                                                           \
    ".globl _start; _start: xorl %ebp, %ebp; movl %esp, %eax; andl $-16, %esp; " \
    "subl $12, %esp; pushl %eax; call start"
#define TLS_IS_BELOW 1
static inline int set_thread_pointer(void *pointer) {
    /* struct user_desc: a new entry, the base, the limit, 32 bits and in pages */
    unsigned descriptor[4] = {-1u, (unsigned)pointer, 0xfffff, 0x51};
    long answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(SYS_set_thread_area), "b"(descriptor) : "memory");
    __asm__ volatile("movl %0, %%gs" : : "r"(descriptor[0] * 8 + 3));
    return answer == 0;
}

/* The instruction of a system call, for tests/nosplit to find. */
static inline __attribute__((always_inline)) void raw_getpid(void) {
    long answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(SYS_getpid) : "memory");
}

/* What needm_entry saves of the floating-point environment: MXCSR, the slower part. */
static inline void store_fp_control(uint32_t *word) { __asm__ volatile("stmxcsr %0" : "=m"(*word)); }

/* fault_here() writes to address 0; a handler that sets the pc to fault_resume has it return. */
#define FAULT_HERE                                                        \
    ".text\n.globl fault_here\n.type fault_here, %function\nfault_here:\n" \
    "movl $0, 0\n.globl fault_resume\nfault_resume:\nret\n"
#define SET_CONTEXT_PC(context, to) ((context)->uc_mcontext.gregs[REG_EIP] = (greg_t)(to))

/* Whether dividing by zero faults, and how an undefined instruction does: its si_code. */
#define DIVISION_FAULTS 1
static inline void divide_by_zero(void) {
    __asm__ volatile("xorl %%ecx, %%ecx; xorl %%edx, %%edx; movl $1, %%eax; divl %%ecx" ::: "eax", "ecx", "edx");
}
#define UNDEFINED_CODE 2 /* ILL_ILLOPN: arch/x86/kernel/traps.c */
static inline void undefined_instruction(void) { __asm__ volatile("ud2"); }

/* Whether under qemu-user 7.2 a thread that returns from a signal handler gets the thread
 * pointer of the thread that was made last: qemu-i386 has one table of segments for all. */
#define QEMU_MIXES_UP_THREADS 1
#endif

#ifdef __ASSEMBLER__
/* The routines of tests/hosts/foreign.S, which says what each does and defines THREAD_FLAGS. */
#include <sys/syscall.h>
.macro FOREIGN_CLONE
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
        movl    $SYS_clone, %eax
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
.endm
.macro FOREIGN_CALL
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
.endm
.macro FOREIGN_RESTORER
foreign_restorer:
        movl    $SYS_rt_sigreturn, %eax
        int     $0x80
.endm
#endif

#endif
