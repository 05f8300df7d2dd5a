/* What tests need of aarch64: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_AARCH64_H
#define ARCH_AARCH64_H

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* Hosts without a C library: a _start that calls start(stack), and the thread pointer.
 * Thread-local storage lies above the thread pointer, behind two words or more. */
#define START_CALLS_START                                                                   \
    ".globl _start; .type _start, %function; _start: hint #34; mov x29, #0; mov x30, #0; " \
    "mov x0, sp; bl start"
#define TLS_IS_BELOW 0
static inline int set_thread_pointer(void *pointer) {
    __asm__ volatile("msr tpidr_el0, %0" : : "r"(pointer) : "memory");
    return 1;
}

/* The instruction of a system call, for tests/nosplit to find. */
static inline __attribute__((always_inline)) void raw_getpid(void) {
    register long number __asm__("x8") = SYS_getpid;
    register long answer __asm__("x0");
    __asm__ volatile("svc #0" : "=r"(answer) : "r"(number) : "memory");
}

/* What needm_entry saves of the floating-point environment: FPCR (and FPSR). */
static inline void store_fp_control(uint32_t *word) {
    unsigned long control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    *word = (uint32_t)control;
}

/* fault_here() writes to address 0; a handler that sets the pc to fault_resume has it return. */
#define FAULT_HERE                                                                        \
    ".text\n.globl fault_here\n.type fault_here, %function\nfault_here:\n" \
    "hint #34\nmov x0, #0\nstr x0, [x0]\n.globl fault_resume\nfault_resume:\nret\n"
#define SET_CONTEXT_PC(context, to) ((context)->uc_mcontext.pc = (unsigned long)(to))

/* Whether dividing by zero faults, and how an undefined instruction does: its si_code. */
#define DIVISION_FAULTS 0
static inline void divide_by_zero(void) {}
#define UNDEFINED_CODE 1 /* ILL_ILLOPC: arch/arm64/kernel/traps.c */
static inline void undefined_instruction(void) { __asm__ volatile("udf #0"); }

/* Whether under qemu-user 7.2 a thread that returns from a signal handler gets the thread
 * pointer of the thread that was made last. */
#define QEMU_MIXES_UP_THREADS 0
#endif

#ifdef __ASSEMBLER__
/* The routines of tests/hosts/foreign.S, which says what each does and defines THREAD_FLAGS. */
#include <sys/syscall.h>
.macro FOREIGN_CLONE
foreign_clone:
        stp     x3, x4, [x0, #-16]!
        mov     x4, x1
        mov     x3, x2
        mov     x2, x1
        mov     x1, x0
        ldr     x0, =THREAD_FLAGS
        mov     x8, #SYS_clone
        svc     #0
        cbz     x0, 1f
        ret
1:      mov     x29, #0
        mov     x30, #0
        ldp     x1, x0, [sp], #16
        blr     x1
        brk     #0
        .ltorg
.endm
.macro FOREIGN_CALL
foreign_call:
        mov     x8, x0
        mov     x0, x1
        mov     x1, x2
        mov     x2, x3
        mov     x3, x4
        mov     x4, #0
        mov     x5, #0
        svc     #0
        ret
.endm
.macro FOREIGN_RESTORER
foreign_restorer:
        mov     x8, #SYS_rt_sigreturn
        svc     #0
.endm
#endif

#endif
