/* What tests need of arm: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_ARM_H
#define ARCH_ARM_H

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* The system call that maps memory. */
#define SYS_MAP SYS_mmap2

/* Whether the stack of the function that this stands in was aligned at its call, as the ABI
 * says: to 8 bytes, which an object of that alignment finds. */
#define CALL_IS_ALIGNED \
    ({ _Alignas(8) volatile char aligned_[8]; aligned_[0] = 1; (uintptr_t)aligned_ % 8 == 0; })

/* Whether callers may align their stack less than CALL_IS_ALIGNED asks. */
#define MISALIGNED_CALLERS 0

/* The program counter in a handler's ucontext_t. */
#define CONTEXT_PC(context) ((context)->uc_mcontext.arm_pc)
#define CONTEXT_SP(context) ((context)->uc_mcontext.arm_sp)

/* Instructions that fault. Division by zero gives 0, and unaligned words are read. */
#define ILLEGAL_INSTRUCTION "udf #9"
#define TRAP_INSTRUCTION "bkpt #0"
#define ALIGNMENT_FAULTS 0
/* Whether qemu-user checks alignment, too. */
#define QEMU_CHECKS_ALIGNMENT 0

/* Functions of one argument, an address. `name_here` is the instruction that faults; the
 * last one ends with `touches_after`. */
#define FAULT_FUNCTION(name) \
    ".globl " #name ", " #name "_here\n.type " #name ", %function\n" #name ": "
#define FAULT_LABEL(name) #name "_here: "
#define FAULTING_FUNCTIONS                                                   \
    ".text\n.syntax unified\n.arm\n"                                              \
    FAULT_FUNCTION(reads) "nop\n" FAULT_LABEL(reads) "ldrb r0, [r0]\n bx lr\n"       \
    FAULT_FUNCTION(writes) "mov r1, #1\n" FAULT_LABEL(writes) "strb r1, [r0]\n bx lr\n" \
    FAULT_FUNCTION(illegal) "\n" FAULT_LABEL(illegal) "udf #9\n"                     \
    FAULT_FUNCTION(traps) "\n" FAULT_LABEL(traps) "bkpt #0\n"
#define TOUCHING_FUNCTION                                                    \
    ".text\n.syntax unified\n.arm\n.globl touches_after\n"                        \
    FAULT_FUNCTION(touches) "nop\n" FAULT_LABEL(touches) "ldrb r0, [r0]\ntouches_after: bx lr\n"

/* The C library's record is always beside the thread pointer. */
#define HAS_MOVABLE_TLS 0

/* No single step: the processor has no trap flag. */
#define HAS_SINGLE_STEP 0

/* What a call must preserve, as probe() finds it. */
enum { SAVED_REGISTERS = 8 };
typedef struct {
    uint32_t saved[SAVED_REGISTERS];
    uint32_t fpscr;
    uint32_t pad;
    uint64_t d[8];
} register_state;
static inline uint32_t register_pattern(int n) { return 0x22222200u + (uint32_t)n + 1; }
/* FPSCR without its condition and exception flags, which belong to no function. */
#define CHECK_REGISTER_STATE(after, csr, fcw)                                      \
    do {                                                                       \
        CHECK_EQ((after).fpscr & 0x07f79f00, (csr) & 0x07f79f00);              \
        (void)(fcw);                                                           \
        for (int d_ = 0; d_ < 8; d_++)                                         \
            CHECK((after).d[d_] == (uint64_t)register_pattern(d_) * 0x100000001u); \
    } while (0)
/* FPSCR; the second word is not used. */
#define CONTROL_WORDS {{0, 0}, {0x00400000, 0}, {0x01000000, 0}, {0x03c00000, 0}}
/* int probe(arguments of needm_callback, FPSCR, 0, register_state *after): loads every
 * callee-saved register with a pattern, calls needm_callback, stores what it finds.
 * void trash(void (*then)(void *), FPSCR, 0): changes all of them, and calls `then`. */
#define REGISTER_FUNCTIONS \
    ".text\n.syntax unified\n.arm\n.fpu vfpv3-d16\n.globl probe\n.type probe,%function\nprobe:\n" \
    " push {r4-r11, lr}\n vpush {d8-d15}\n sub sp, sp, #12\n" /* 9 * 4 + 64 + 12 = 112 */ \
    " vmrs ip, fpscr\n str ip, [sp]\n" \
    " ldr ip, [sp, #112]\n vmsr fpscr, ip\n" \
    " ldr r11, [sp, #120]\n" \
    " ldr r4, =0x22222201\n add r5, r4, #1\n add r6, r4, #2\n add r7, r4, #3\n add r8, r4, #4\n" \
    " add r9, r4, #5\n add r10, r4, #6\n str r11, [sp, #4]\n add r11, r4, #7\n" \
    " vmov d8, r4, r4\n vmov d9, r5, r5\n vmov d10, r6, r6\n vmov d11, r7, r7\n vmov d12, r8, r8\n" \
    " vmov d13, r9, r9\n vmov d14, r10, r10\n vmov d15, r11, r11\n" \
    " str sp, [sp, #8]\n bl needm_callback\n" \
    " ldr ip, [sp, #8]\n cmp ip, sp\n udfne #2\n" \
    " ldr ip, [sp, #4]\n stmia ip!, {r4-r11}\n vmrs r1, fpscr\n str r1, [ip], #8\n vstmia ip, {d8-d15}\n" \
    " ldr ip, [sp]\n vmsr fpscr, ip\n" \
    " add sp, sp, #12\n vpop {d8-d15}\n pop {r4-r11, pc}\n.ltorg\n" \
    ".globl trash\n.type trash,%function\ntrash:\n" \
    " mov ip, r0\n vmsr fpscr, r1\n mvn r4, #0\n mov r5, r4\n mov r6, r4\n mov r7, r4\n mov r8, r4\n" \
    " mov r9, r4\n mov r10, r4\n mov r11, r4\n" \
    " vmov d8, r4, r4\n vmov.f64 d9, d8\n vmov.f64 d10, d8\n vmov.f64 d11, d8\n vmov.f64 d12, d8\n vmov.f64 d13, d8\n" \
    " vmov.f64 d14, d8\n vmov.f64 d15, d8\n bic sp, sp, #15\n mov r0, #0\n blx ip\n udf #3\n"

/* Hosts without a C library: a _start that calls start(stack), and the thread pointer.
 * Thread-local storage lies above the thread pointer, behind two words. */
#define START_CALLS_START \
    ".arm; .globl _start; .type _start, %function; _start: mov r0, sp; bic sp, sp, #15; bl start"
#define TLS_IS_BELOW 0
#define TCB_BYTES 8
static inline int set_thread_pointer(void *pointer) {
    enum { NR_SET_TLS = 0xf0005 }; /* __ARM_NR_set_tls: arch/arm/include/uapi/asm/unistd.h */
    register long number __asm__("r7") = NR_SET_TLS;
    register void *answer __asm__("r0") = pointer;
    __asm__ volatile("svc #0" : "+r"(answer) : "r"(number) : "memory");
    return answer == 0;
}

/* The third word of Linux's sigaction: the code that a handler returns to. */
#define RESTORER_WORD(code) ((uintptr_t)(code))

/* The instruction of a system call, for tests/nosplit to find. */
static inline __attribute__((always_inline)) void raw_getpid(void) {
    register long number __asm__("r7") = SYS_getpid;
    register long answer __asm__("r0");
    __asm__ volatile("svc #0" : "=r"(answer) : "r"(number) : "memory");
}

/* What needm_entry saves of the floating-point environment: FPSCR. */
static inline void store_fp_control(uint32_t *word) { __asm__ volatile("vmrs %0, fpscr" : "=r"(*word)); }

/* fault_here() writes to address 0; a handler that sets CONTEXT_PC to fault_resume has it return. */
#define FAULT_HERE                                                               \
    ".text\n.arm\n.globl fault_here\n.type fault_here, %function\nfault_here:\n" \
    "mov r0, #0\nstr r0, [r0]\n.globl fault_resume\nfault_resume:\nbx lr\n"

/* Whether dividing by zero faults, and the si_code of an undefined instruction. */
#define DIVISION_FAULTS 0
static inline void divide_by_zero(void) {}
#define ILLEGAL_CODE 1 /* ILL_ILLOPC: arch/arm/kernel/traps.c */

/* Whether under qemu-user 7.2 a thread that returns from a signal handler gets the thread
 * pointer of the thread that was made last. */
#define QEMU_MIXES_UP_THREADS 0

/* Whether the frame of a handler without SA_SIGINFO has a ucontext_t. */
#define ALL_FRAMES_HAVE_CONTEXTS 1
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
