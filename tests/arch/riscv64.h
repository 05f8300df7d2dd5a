/* What tests need of riscv64: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_RISCV64_H
#define ARCH_RISCV64_H

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* Hosts without a C library: a _start that calls start(stack), with gp as the linker wants
 * it, and the thread pointer. Thread-local storage starts at the thread pointer. */
#define START_CALLS_START                                                  \
    ".globl _start; .type _start, %function; _start: .option push; "       \
    ".option norelax; lla gp, __global_pointer$; .option pop; mv a0, sp; " \
    "andi sp, sp, -16; call start"
#define TLS_IS_BELOW 0
#define TLS_BEHIND 0
static inline int set_thread_pointer(void *pointer) {
    __asm__ volatile("mv tp, %0" : : "r"(pointer) : "memory");
    return 1;
}

/* The instruction of a system call, for tests/nosplit to find. */
static inline __attribute__((always_inline)) void raw_getpid(void) {
    register long number __asm__("a7") = SYS_getpid;
    register long answer __asm__("a0");
    __asm__ volatile("ecall" : "=r"(answer) : "r"(number) : "memory");
}

/* What needm_entry saves of the floating-point environment: fcsr. */
static inline void store_fp_control(uint32_t *word) {
    unsigned long value;
    __asm__ volatile("frcsr %0" : "=r"(value));
    *word = (uint32_t)value;
}

/* fault_here() writes to address 0; a handler that sets the pc to fault_resume has it return. */
#define FAULT_HERE                                                        \
    ".text\n.globl fault_here\n.type fault_here, %function\nfault_here:\n" \
    "sd zero, 0(zero)\n.globl fault_resume\nfault_resume:\nret\n"
#define SET_CONTEXT_PC(context, to) ((context)->uc_mcontext.__gregs[REG_PC] = (unsigned long)(to))

/* Whether dividing by zero faults, and how an undefined instruction does: its si_code. */
#define DIVISION_FAULTS 0
static inline void divide_by_zero(void) {}
#define UNDEFINED_CODE 1 /* ILL_ILLOPC: arch/riscv/kernel/traps.c */
static inline void undefined_instruction(void) { __asm__ volatile("unimp"); }

/* Whether under qemu-user 7.2 a thread that returns from a signal handler gets the thread
 * pointer of the thread that was made last. */
#define QEMU_MIXES_UP_THREADS 0
#endif

#ifdef __ASSEMBLER__
/* The routines of tests/hosts/foreign.S, which says what each does and defines THREAD_FLAGS. */
#include <sys/syscall.h>
.macro FOREIGN_CLONE
foreign_clone:
        mv      t1, a3
        mv      t2, a4
        mv      a4, a1
        mv      a3, a2
        mv      a2, a1
        mv      a1, a0
        li      a0, THREAD_FLAGS
        li      a7, SYS_clone
        ecall
        beqz    a0, 1f
        ret
1:      li      s0, 0
        li      ra, 0
        mv      a0, t2
        jalr    t1
        unimp
.endm
.macro FOREIGN_CALL
foreign_call:
        mv      a7, a0
        mv      a0, a1
        mv      a1, a2
        mv      a2, a3
        mv      a3, a4
        li      a4, 0
        li      a5, 0
        ecall
        ret
.endm
/* Nothing returns here: Linux has no such word in its sigaction. */
.macro FOREIGN_RESTORER
foreign_restorer:
        li      a7, SYS_rt_sigreturn
        ecall
.endm
#endif

#endif
