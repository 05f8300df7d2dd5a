/* What tests need of aarch64: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_AARCH64_H
#define ARCH_AARCH64_H

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* The system call that maps memory. */
#define SYS_MAP SYS_mmap

/* Whether the stack of the function that this stands in was aligned at its call, as the ABI
 * says: to 16 bytes, and frames are multiples of that. */
#define CALL_IS_ALIGNED ((uintptr_t)__builtin_frame_address(0) % 16 == 0)

/* Whether callers may align their stack less than CALL_IS_ALIGNED asks. */
#define MISALIGNED_CALLERS 0

/* The program counter in a handler's ucontext_t. */
#define CONTEXT_PC(context) ((context)->uc_mcontext.pc)
#define CONTEXT_SP(context) ((context)->uc_mcontext.sp)

/* Instructions that fault. Division by zero gives 0. Exclusive loads of a pair must not cross
 * a multiple of 16. */
#define ILLEGAL_INSTRUCTION "udf #9"
#define TRAP_INSTRUCTION "brk #0"
#define ALIGNMENT_FAULTS 1
/* Whether qemu-user checks alignment, too. */
#define QEMU_CHECKS_ALIGNMENT 1

/* Functions of one argument, an address. `name_here` is the instruction that faults; the
 * last one ends with `touches_after`. They start with a landing pad (bti c). */
#define FAULT_FUNCTION(name) \
    ".globl " #name ", " #name "_here\n.type " #name ", %function\n" #name ": hint #34\n"
#define FAULT_LABEL(name) #name "_here: "
#define FAULTING_FUNCTIONS                                                              \
    ".text\n"                                                                                \
    FAULT_FUNCTION(reads) "nop\n" FAULT_LABEL(reads) "ldrb w0, [x0]\n ret\n"                   \
    FAULT_FUNCTION(writes) "mov w1, #1\n" FAULT_LABEL(writes) "strb w1, [x0]\n ret\n"          \
    FAULT_FUNCTION(illegal) "\n" FAULT_LABEL(illegal) "udf #9\n"                               \
    FAULT_FUNCTION(traps) "\n" FAULT_LABEL(traps) "brk #0\n"                                   \
    FAULT_FUNCTION(misaligned) "nop\n" FAULT_LABEL(misaligned) "ldxp x0, x1, [x0]\n ret\n"
#define TOUCHING_FUNCTION                                                               \
    ".text\n.globl touches_after\n" FAULT_FUNCTION(touches) "nop\n" FAULT_LABEL(touches)       \
    "ldrb w0, [x0]\ntouches_after: ret\n"

/* The C library's record is always beside the thread pointer. */
#define HAS_MOVABLE_TLS 0

/* No single step: a program cannot set it for itself. */
#define HAS_SINGLE_STEP 0

/* What a call must preserve, as probe() finds it: x19 to x29, FPCR, FPSR, d8 to d15. */
enum { SAVED_REGISTERS = 11 };
typedef struct {
    uint64_t saved[SAVED_REGISTERS];
    uint32_t fpcr, fpsr;
    uint64_t d[8];
} register_state;
static inline uint64_t register_pattern(int n) { return 0x3333333322222200u + (uint64_t)n + 1; }
#define CHECK_REGISTER_STATE(after, csr, fcw)                                       \
    do {                                                                        \
        CHECK_EQ((after).fpcr, (csr));                                          \
        CHECK_EQ((after).fpsr, (fcw));                                          \
        for (int d_ = 0; d_ < 8; d_++) CHECK((after).d[d_] == register_pattern(d_)); \
    } while (0)
/* FPCR: rounding, flush to zero, default NaN. FPSR: the exceptions seen so far, saturation. */
#define CONTROL_WORDS {{0, 0}, {0x00400000, 0x1f}, {0x01000000, 0x08000000}, {0x03c00000, 0x9f}}
/* int probe(arguments of needm_callback, FPCR, FPSR, register_state *after): loads every
 * callee-saved register with a pattern, calls needm_callback, stores what it finds.
 * void trash(void (*then)(void *), FPCR, FPSR): changes all of them, and calls `then`. */
#define REGISTER_FUNCTIONS \
    ".text\n.globl probe\n.type probe, %function\nprobe: hint #34\n" \
    " stp x29, x30, [sp, #-192]!\n" \
    " stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]\n" \
    " stp x25, x26, [sp, #64]\n stp x27, x28, [sp, #80]\n" \
    " stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n" \
    " mrs x7, fpcr\n mrs x8, fpsr\n stp w7, w8, [sp, #160]\n str x6, [sp, #168]\n" \
    " mov w4, w4\n mov w5, w5\n msr fpcr, x4\n msr fpsr, x5\n" \
    " ldr x19, =0x3333333322222201\n add x20, x19, #1\n add x21, x19, #2\n add x22, x19, #3\n" \
    " add x23, x19, #4\n add x24, x19, #5\n add x25, x19, #6\n add x26, x19, #7\n" \
    " add x27, x19, #8\n add x28, x19, #9\n add x29, x19, #10\n" \
    " fmov d8, x19\n fmov d9, x20\n fmov d10, x21\n fmov d11, x22\n" \
    " fmov d12, x23\n fmov d13, x24\n fmov d14, x25\n fmov d15, x26\n" \
    " mov x7, sp\n str x7, [sp, #176]\n bl needm_callback\n" \
    " ldr x7, [sp, #176]\n mov x8, sp\n cmp x7, x8\n b.eq 1f\n udf #2\n1:\n" \
    " ldr x6, [sp, #168]\n" \
    " stp x19, x20, [x6]\n stp x21, x22, [x6, #16]\n stp x23, x24, [x6, #32]\n stp x25, x26, [x6, #48]\n" \
    " stp x27, x28, [x6, #64]\n str x29, [x6, #80]\n" \
    " mrs x7, fpcr\n mrs x8, fpsr\n stp w7, w8, [x6, #88]\n" \
    " stp d8, d9, [x6, #96]\n stp d10, d11, [x6, #112]\n stp d12, d13, [x6, #128]\n stp d14, d15, [x6, #144]\n" \
    " ldp w7, w8, [sp, #160]\n msr fpcr, x7\n msr fpsr, x8\n" \
    " ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n ldp x23, x24, [sp, #48]\n" \
    " ldp x25, x26, [sp, #64]\n ldp x27, x28, [sp, #80]\n" \
    " ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n" \
    " ldp x29, x30, [sp], #192\n ret\n.ltorg\n" \
    ".globl trash\n.type trash, %function\ntrash: hint #34\n" \
    " mov w1, w1\n mov w2, w2\n msr fpcr, x1\n msr fpsr, x2\n mov x9, x0\n mov x0, #0\n" \
    " mov x19, #-1\n mov x20, x19\n mov x21, x19\n mov x22, x19\n mov x23, x19\n mov x24, x19\n" \
    " mov x25, x19\n mov x26, x19\n mov x27, x19\n mov x28, x19\n mov x29, x19\n" \
    " fmov d8, x19\n fmov d9, x19\n fmov d10, x19\n fmov d11, x19\n" \
    " fmov d12, x19\n fmov d13, x19\n fmov d14, x19\n fmov d15, x19\n" \
    " blr x9\n udf #3\n"

/* Hosts without a C library: a _start that calls start(stack), and the thread pointer.
 * Thread-local storage lies above the thread pointer, behind two words. */
#define START_CALLS_START                                                                   \
    ".globl _start; .type _start, %function; _start: hint #34; mov x29, #0; mov x30, #0; " \
    "mov x0, sp; bl start"
#define TLS_IS_BELOW 0
#define TCB_BYTES 16
static inline int set_thread_pointer(void *pointer) {
    __asm__ volatile("msr tpidr_el0, %0" : : "r"(pointer) : "memory");
    return 1;
}

/* The third word of Linux's sigaction: the code that a handler returns to. */
#define RESTORER_WORD(code) ((uintptr_t)(code))

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

/* fault_here() writes to address 0; a handler that sets CONTEXT_PC to fault_resume has it return. */
#define FAULT_HERE                                                                        \
    ".text\n.globl fault_here\n.type fault_here, %function\nfault_here:\n" \
    "hint #34\nmov x0, #0\nstr x0, [x0]\n.globl fault_resume\nfault_resume:\nret\n"

/* Whether dividing by zero faults, and the si_code of an undefined instruction. */
#define DIVISION_FAULTS 0
static inline void divide_by_zero(void) {}
#define ILLEGAL_CODE 1 /* ILL_ILLOPC: arch/arm64/kernel/traps.c */

/* Whether under qemu-user 7.2 a thread that returns from a signal handler gets the thread
 * pointer of the thread that was made last. */
#define QEMU_MIXES_UP_THREADS 0

/* Whether the frame of a handler without SA_SIGINFO has a ucontext_t. */
#define ALL_FRAMES_HAVE_CONTEXTS 1
#endif /* __ASSEMBLER__ */

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
