/* What tests need of arm: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_ARM_H
#define ARCH_ARM_H

#ifndef __ASSEMBLER__
#endif

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* Hosts without a C library: a _start that calls start(stack), and the thread pointer.
 * Thread-local storage lies above the thread pointer, behind two words or more. */
#define START_CALLS_START \
    ".arm; .globl _start; .type _start, %function; _start: mov r0, sp; bic sp, sp, #15; bl start"
#define TLS_IS_BELOW 0
static inline int set_thread_pointer(void *pointer) {
    enum { NR_SET_TLS = 0xf0005 }; /* __ARM_NR_set_tls: arch/arm/include/uapi/asm/unistd.h */
    register long number __asm__("r7") = NR_SET_TLS;
    register void *answer __asm__("r0") = pointer;
    __asm__ volatile("svc #0" : "+r"(answer) : "r"(number) : "memory");
    return answer == 0;
}

/* The instruction of a system call, for tests/nosplit to find. */
static inline __attribute__((always_inline)) void raw_getpid(void) {
    register long number __asm__("r7") = SYS_getpid;
    register long answer __asm__("r0");
    __asm__ volatile("svc #0" : "=r"(answer) : "r"(number) : "memory");
}

/* What needm_entry saves of the floating-point environment: FPSCR. */
static inline void store_fp_control(uint32_t *word) { __asm__ volatile("vmrs %0, fpscr" : "=r"(*word)); }

/* fault_here() writes to address 0; a handler that sets the pc to fault_resume has it return. */
#define FAULT_HERE                                                               \
    ".text\n.arm\n.globl fault_here\n.type fault_here, %function\nfault_here:\n" \
    "mov r0, #0\nstr r0, [r0]\n.globl fault_resume\nfault_resume:\nbx lr\n"
#define SET_CONTEXT_PC(context, to) ((context)->uc_mcontext.arm_pc = (unsigned long)(to))

/* Whether dividing by zero faults, and how an undefined instruction does: its si_code. */
#define DIVISION_FAULTS 0
static inline void divide_by_zero(void) {}
#define UNDEFINED_CODE 1 /* ILL_ILLOPC: arch/arm/kernel/traps.c */
static inline void undefined_instruction(void) { __asm__ volatile("udf #0"); }

/* Whether under qemu-user 7.2 a thread that returns from a signal handler gets the thread
 * pointer of the thread that was made last. */
#define QEMU_MIXES_UP_THREADS 0
#endif

#ifdef __ASSEMBLER__
/* The routines of tests/hosts/foreign.S, which says what each does and defines THREAD_FLAGS. */
#include <sys/syscall.h>
.macro FOREIGN_CLONE
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
        mov     r7, #SYS_clone
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
.endm
.macro FOREIGN_CALL
        .syntax unified
        .arm
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
.endm
.macro FOREIGN_RESTORER
        .syntax unified
        .arm
foreign_restorer:
        mov     r7, #SYS_rt_sigreturn
        svc     0
.endm
#endif

#endif
