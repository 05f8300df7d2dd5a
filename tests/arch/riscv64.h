/* What tests need of riscv64: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_RISCV64_H
#define ARCH_RISCV64_H

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* The system call that maps memory. */
#define SYS_MAP SYS_mmap

/* Whether the stack of the function that this stands in was aligned at its call, as the ABI
 * says: to 16 bytes. The frame address is what the stack pointer was then. */
#define CALL_IS_ALIGNED ((uintptr_t)__builtin_frame_address(0) % 16 == 0)

/* Whether callers may align their stack less than CALL_IS_ALIGNED asks. */
#define MISALIGNED_CALLERS 0

/* The program counter in a handler's ucontext_t. */
#define CONTEXT_PC(context) ((context)->uc_mcontext.__gregs[REG_PC])
#define CONTEXT_SP(context) ((context)->uc_mcontext.__gregs[REG_SP])

/* Instructions that fault. Division by zero gives -1. What unaligned accesses do depends on the
 * processor. */
#define ILLEGAL_INSTRUCTION "unimp"
#define TRAP_INSTRUCTION "ebreak"
#define ALIGNMENT_FAULTS 0
/* Whether qemu-user checks alignment, too. */
#define QEMU_CHECKS_ALIGNMENT 0

/* Functions of one argument, an address. `name_here` is the instruction that faults; the
 * last one ends with `touches_after`. */
#define FAULT_FUNCTION(name) \
    ".globl " #name ", " #name "_here\n.type " #name ", %function\n" #name ": "
#define FAULT_LABEL(name) #name "_here: "
#define FAULTING_FUNCTIONS                                                  \
    ".text\n"                                                                    \
    FAULT_FUNCTION(reads) "nop\n" FAULT_LABEL(reads) "lb a0, (a0)\n ret\n"         \
    FAULT_FUNCTION(writes) "li a1, 1\n" FAULT_LABEL(writes) "sb a1, (a0)\n ret\n"  \
    FAULT_FUNCTION(illegal) "\n" FAULT_LABEL(illegal) "unimp\n"                     \
    FAULT_FUNCTION(traps) "\n" FAULT_LABEL(traps) "ebreak\n"
#define TOUCHING_FUNCTION                                                   \
    ".text\n.globl touches_after\n"                                              \
    FAULT_FUNCTION(touches) "nop\n" FAULT_LABEL(touches) "lb a0, (a0)\ntouches_after: ret\n"

/* The C library's record is always beside the thread pointer. */
#define HAS_MOVABLE_TLS 0

/* No single step: a program cannot set it for itself. */
#define HAS_SINGLE_STEP 0

/* What a call must preserve, as probe() finds it: s0 to s11, fs0 to fs11, fcsr. */
enum { SAVED_REGISTERS = 12 };
typedef struct {
    uint64_t saved[SAVED_REGISTERS];
    uint64_t fs[12];
    uint64_t fcsr;
} register_state;
static inline uint64_t register_pattern(int n) { return 0x3333333322222200u + (uint64_t)n + 1; }
#define CHECK_REGISTER_STATE(after, csr, fcw)                                           \
    do {                                                                            \
        CHECK_EQ((after).fcsr, (csr));                                              \
        (void)(fcw);                                                                \
        for (int f_ = 0; f_ < 12; f_++) CHECK((after).fs[f_] == register_pattern(f_));  \
    } while (0)
/* fcsr, rounding and the exceptions seen so far; the second word is not used. */
#define CONTROL_WORDS {{0, 0}, {0x3f, 0}, {0x40, 0}, {0x81, 0}, {0x6a, 0}}
/* int probe(arguments of needm_callback, fcsr, 0, register_state *after): loads every
 * callee-saved register with a pattern, calls needm_callback, stores what it finds.
 * void trash(void (*then)(void *), fcsr, 0): changes all of them, and calls `then`. */
#define REGISTER_FUNCTIONS \
    ".text\n.globl probe\n.type probe, %function\nprobe:\n" \
    " addi sp, sp, -240\n sd ra, 232(sp)\n" \
    " sd s0, 0(sp)\n sd s1, 8(sp)\n sd s2, 16(sp)\n sd s3, 24(sp)\n sd s4, 32(sp)\n" \
    " sd s5, 40(sp)\n sd s6, 48(sp)\n sd s7, 56(sp)\n sd s8, 64(sp)\n sd s9, 72(sp)\n" \
    " sd s10, 80(sp)\n sd s11, 88(sp)\n" \
    " fsd fs0, 96(sp)\n fsd fs1, 104(sp)\n fsd fs2, 112(sp)\n fsd fs3, 120(sp)\n" \
    " fsd fs4, 128(sp)\n fsd fs5, 136(sp)\n fsd fs6, 144(sp)\n fsd fs7, 152(sp)\n" \
    " fsd fs8, 160(sp)\n fsd fs9, 168(sp)\n fsd fs10, 176(sp)\n fsd fs11, 184(sp)\n" \
    " frcsr t0\n sd t0, 192(sp)\n sd a6, 200(sp)\n fscsr a4\n" \
    " li s0, 0x3333333322222201\n addi s1, s0, 1\n addi s2, s0, 2\n addi s3, s0, 3\n" \
    " addi s4, s0, 4\n addi s5, s0, 5\n addi s6, s0, 6\n addi s7, s0, 7\n" \
    " addi s8, s0, 8\n addi s9, s0, 9\n addi s10, s0, 10\n addi s11, s0, 11\n" \
    " fmv.d.x fs0, s0\n fmv.d.x fs1, s1\n fmv.d.x fs2, s2\n fmv.d.x fs3, s3\n" \
    " fmv.d.x fs4, s4\n fmv.d.x fs5, s5\n fmv.d.x fs6, s6\n fmv.d.x fs7, s7\n" \
    " fmv.d.x fs8, s8\n fmv.d.x fs9, s9\n fmv.d.x fs10, s10\n fmv.d.x fs11, s11\n" \
    " sd sp, 208(sp)\n call needm_callback\n ld t0, 208(sp)\n beq t0, sp, 1f\n unimp\n" \
    "1:\n" \
    " ld t0, 200(sp)\n sd s0, 0(t0)\n sd s1, 8(t0)\n sd s2, 16(t0)\n sd s3, 24(t0)\n" \
    " sd s4, 32(t0)\n sd s5, 40(t0)\n sd s6, 48(t0)\n sd s7, 56(t0)\n sd s8, 64(t0)\n" \
    " sd s9, 72(t0)\n sd s10, 80(t0)\n sd s11, 88(t0)\n fsd fs0, 96(t0)\n" \
    " fsd fs1, 104(t0)\n fsd fs2, 112(t0)\n fsd fs3, 120(t0)\n fsd fs4, 128(t0)\n" \
    " fsd fs5, 136(t0)\n fsd fs6, 144(t0)\n fsd fs7, 152(t0)\n fsd fs8, 160(t0)\n" \
    " fsd fs9, 168(t0)\n fsd fs10, 176(t0)\n fsd fs11, 184(t0)\n frcsr t1\n" \
    " sd t1, 192(t0)\n" \
    " ld t1, 192(sp)\n fscsr t1\n" \
    " ld s0, 0(sp)\n ld s1, 8(sp)\n ld s2, 16(sp)\n ld s3, 24(sp)\n ld s4, 32(sp)\n" \
    " ld s5, 40(sp)\n ld s6, 48(sp)\n ld s7, 56(sp)\n ld s8, 64(sp)\n ld s9, 72(sp)\n" \
    " ld s10, 80(sp)\n ld s11, 88(sp)\n" \
    " fld fs0, 96(sp)\n fld fs1, 104(sp)\n fld fs2, 112(sp)\n fld fs3, 120(sp)\n" \
    " fld fs4, 128(sp)\n fld fs5, 136(sp)\n fld fs6, 144(sp)\n fld fs7, 152(sp)\n" \
    " fld fs8, 160(sp)\n fld fs9, 168(sp)\n fld fs10, 176(sp)\n fld fs11, 184(sp)\n" \
    " ld ra, 232(sp)\n addi sp, sp, 240\n ret\n" \
    ".globl trash\n.type trash, %function\ntrash:\n" \
    " fscsr a1\n mv t1, a0\n li a0, 0\n li s0, -1\n li s1, -1\n li s2, -1\n li s3, -1\n" \
    " li s4, -1\n li s5, -1\n li s6, -1\n li s7, -1\n li s8, -1\n li s9, -1\n" \
    " li s10, -1\n li s11, -1\n" \
    " fmv.d.x fs0, s0\n fmv.d.x fs1, s1\n fmv.d.x fs2, s2\n fmv.d.x fs3, s3\n" \
    " fmv.d.x fs4, s4\n fmv.d.x fs5, s5\n fmv.d.x fs6, s6\n fmv.d.x fs7, s7\n" \
    " fmv.d.x fs8, s8\n fmv.d.x fs9, s9\n fmv.d.x fs10, s10\n fmv.d.x fs11, s11\n" \
    " jalr t1\n unimp\n"

/* Hosts without a C library: a _start that calls start(stack), with gp as the linker wants
 * it, and the thread pointer. Thread-local storage starts at the thread pointer. */
#define START_CALLS_START                                                          \
    ".globl _start; .type _start, %function; _start: .option push; "        \
    ".option norelax; lla gp, __global_pointer$; .option pop; li s0, 0; "   \
    "li ra, 0; mv a0, sp; andi sp, sp, -16; call start"
#define TLS_IS_BELOW 0
#define TCB_BYTES 0
static inline int set_thread_pointer(void *pointer) {
    __asm__ volatile("mv tp, %0" : : "r"(pointer) : "memory");
    return 1;
}

/* The third word of Linux's sigaction, in which other architectures have the code that a handler
 * returns to: here it is the mask, and empty. */
#define RESTORER_WORD(code) ((void)(code), (uintptr_t)0)

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

/* fault_here() writes to address 0; a handler that sets CONTEXT_PC to fault_resume has it return. */
#define FAULT_HERE                                                    \
    ".text\n.globl fault_here\n.type fault_here, %function\nfault_here:\n" \
    "sd zero, 0(zero)\n.globl fault_resume\nfault_resume:\nret\n"

/* Whether dividing by zero faults, and the si_code of an undefined instruction. */
#define DIVISION_FAULTS 0
static inline void divide_by_zero(void) {}
#define ILLEGAL_CODE 1 /* ILL_ILLOPC: arch/riscv/kernel/traps.c */

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
