/* What tests need of x86_64: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_X86_64_H
#define ARCH_X86_64_H

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* The system call that maps memory. */
#define SYS_MAP SYS_mmap

/* Whether the stack of the function that this stands in was aligned at its call, as the ABI
 * says: to 16 bytes, before the return address and the frame pointer were pushed. */
#define CALL_IS_ALIGNED (((uintptr_t)__builtin_frame_address(0) + 2 * sizeof(void *)) % 16 == 0)

/* Whether callers may align their stack less than CALL_IS_ALIGNED asks. */
#define MISALIGNED_CALLERS 0

/* The program counter in a handler's ucontext_t. */
#define CONTEXT_PC(context) ((context)->uc_mcontext.gregs[REG_RIP])
#define CONTEXT_SP(context) ((context)->uc_mcontext.gregs[REG_RSP])

/* Instructions that fault. */
#define ILLEGAL_INSTRUCTION "ud2"
#define TRAP_INSTRUCTION "int3"
#define ALIGNMENT_FAULTS 1
/* Whether qemu-user checks alignment, too. */
#define QEMU_CHECKS_ALIGNMENT 0

/* Functions of one argument, an address. `name_here` is the instruction that faults; the
 * last one ends with `touches_after`. */
#define FAULT_FUNCTION(name) \
    ".globl " #name ", " #name "_here\n.type " #name ", %function\n" #name ": "
#define FAULT_LABEL(name) #name "_here: "
#define LOAD_ARGUMENT "nop\n"
#define AT_ARGUMENT "(%rdi)"
/* Has alignment checked (Intel SDM volume 3, 2.3, "AC"). */
#define CHECK_ALIGNMENT "pushfq\n orl $0x40000, (%rsp)\n popfq\n"
#define FAULTING_FUNCTIONS                                                               \
    ".text\n"                                                                                 \
    FAULT_FUNCTION(reads) LOAD_ARGUMENT FAULT_LABEL(reads) "movb " AT_ARGUMENT ", %al\n ret\n"    \
    FAULT_FUNCTION(writes) LOAD_ARGUMENT FAULT_LABEL(writes) "movb $1, " AT_ARGUMENT "\n ret\n"   \
    FAULT_FUNCTION(illegal) "\n" FAULT_LABEL(illegal) "ud2\n"                                    \
    /* A trap interrupts the next instruction. */                                             \
    FAULT_FUNCTION(traps) "int3\n" FAULT_LABEL(traps) "ret\n"                                    \
    FAULT_FUNCTION(divides) "xorl %ecx, %ecx\n movl $1, %eax\n cltd\n" FAULT_LABEL(divides) "idivl %ecx\n" \
    FAULT_FUNCTION(misaligned) LOAD_ARGUMENT CHECK_ALIGNMENT FAULT_LABEL(misaligned)        \
        "movl " AT_ARGUMENT ", %eax\n"
#define TOUCHING_FUNCTION                                                                \
    ".text\n.globl touches_after\n" FAULT_FUNCTION(touches) LOAD_ARGUMENT FAULT_LABEL(touches)   \
    "movb " AT_ARGUMENT ", %al\ntouches_after: ret\n"

/* Whether a thread's storage may be elsewhere than the C library's record of the thread, because a
 * pointer beside the thread pointer leads to the record (glibc's `tcbhead_t`). */
#define HAS_MOVABLE_TLS 1
#define THREAD_POINTER                                          \
    ({                                                          \
        char *pointer_;                                         \
        __asm__("movq %%fs:0, %0" : "=r"(pointer_));             \
        pointer_;                                               \
    })
#define SET_SELF(pointer, record) \
    (((void **)(pointer))[0] = (pointer), ((void **)(pointer))[2] = (record))

/* Single step: the trap flag sends SIGTRAP after each instruction (Intel SDM volume 1,
 * 3.4.3.3). */
#define HAS_SINGLE_STEP 1
#define STEP_FUNCTIONS                                            \
    ".text\n.globl steps_on\n.type steps_on, @function\nsteps_on:\n"     \
    " pushf\n orl $0x100, (%rsp)\n popf\n ret\n"                       \
    ".globl steps_off\n.type steps_off, @function\nsteps_off:\n"        \
    " pushf\n andl $~0x100, (%rsp)\n popf\n ret\n"
/* Faults with values that are known in the registers which a call preserves; whether a traced
 * program has them. */
#define FAULT_WITH_KNOWN_REGISTERS                                                           \
    __asm__ volatile("mov $0x11, %%rbx\n mov $0x22, %%r12\n mov $0x33, %%r13\n"             \
                     "mov $0x44, %%rbp\n mov $0x55, %%r14\n mov $0x66, %%r15\n movl $1, 0"   \
                     : : : "rbx", "r12", "r13", "r14", "r15", "memory")
#define HAS_KNOWN_REGISTERS(regs)                                                            \
    ((regs).rbx == 0x11 && (regs).r12 == 0x22 && (regs).r13 == 0x33 && (regs).rbp == 0x44 &&   \
     (regs).r14 == 0x55 && (regs).r15 == 0x66)
#define STEPPED_SP(regs) ((uintptr_t)(regs).rsp)
/* In a handler: the interrupted code goes on without it. */
#define STOP_STEPPING(context) ((context)->uc_mcontext.gregs[REG_EFL] &= ~0x100)

/* What a call must preserve, as probe() finds it. */
enum { SAVED_REGISTERS = 6 };
typedef struct {
    uint64_t saved[SAVED_REGISTERS];
    uint32_t mxcsr;
    uint16_t fcw, tags;
    uint64_t flags;
} register_state;
static inline uint64_t register_pattern(int n) { return 0x1111111122222200 + (uint64_t)n + 1; }
#define CHECK_REGISTER_STATE(after, csr, fcw)               \
    do {                                                \
        CHECK_EQ((after).mxcsr & 0xffc0, (csr) & 0xffc0); \
        CHECK_EQ((after).fcw & 0xf3f, (fcw) & 0xf3f);   \
        CHECK_EQ((after).tags, 0xffff); /* the x87 stack is empty */ \
        CHECK_EQ((after).flags & 0x400, 0); /* the direction flag */ \
    } while (0)
/* MXCSR and the x87 control word: each pair differs from the next in rounding or masks. */
#define CONTROL_WORDS \
    {{0x1f80, 0x37f}, {0x3f80, 0x77f}, {0x9fc0, 0x27f}, {0x7f80, 0xf7f}, {0x9f80, 0x37f}, {0x1d80, 0x37f}}
/* int probe(arguments of needm_callback, MXCSR, FCW, register_state *after): loads every
 * callee-saved register with a pattern, calls needm_callback, stores what it finds.
 * void trash(void (*then)(void *), MXCSR, FCW): changes all of them, and calls `then`. With some
 * words it fills the whole x87 stack, whose top is then where that of an empty one is. */
#define REGISTER_FUNCTIONS \
    ".text\n.globl probe\n.type probe,@function\nprobe:\n" \
    " push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n" \
    " sub $24, %rsp\n" \
    " stmxcsr 16(%rsp)\n fnstcw 20(%rsp)\n" \
    " mov %r8d, 8(%rsp)\n ldmxcsr 8(%rsp)\n mov %r9d, 8(%rsp)\n fldcw 8(%rsp)\n" \
    " mov $0x1111111122222201, %rbx\n mov $0x1111111122222202, %rbp\n" \
    " mov $0x1111111122222203, %r12\n mov $0x1111111122222204, %r13\n" \
    " mov $0x1111111122222205, %r14\n mov $0x1111111122222206, %r15\n" \
    " mov %rsp, (%rsp)\n call needm_callback@PLT\n" \
    " cmp %rsp, (%rsp)\n je 1f\n ud2\n1:\n" \
    " mov 80(%rsp), %rcx\n" \
    " mov %rbx, (%rcx)\n mov %rbp, 8(%rcx)\n mov %r12, 16(%rcx)\n mov %r13, 24(%rcx)\n" \
    " mov %r14, 32(%rcx)\n mov %r15, 40(%rcx)\n" \
    " stmxcsr 48(%rcx)\n fnstcw 52(%rcx)\n" \
    " pushfq\n pop 56(%rcx)\n cld\n" \
    " sub $32, %rsp\n fnstenv (%rsp)\n mov 8(%rsp), %dx\n mov %dx, 54(%rcx)\n fldenv (%rsp)\n add $32, %rsp\n" \
    " ldmxcsr 16(%rsp)\n fldcw 20(%rsp)\n" \
    " add $24, %rsp\n" \
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n" \
    ".globl trash\n.type trash,@function\ntrash:\n" \
    " push %rbp\n" \
    " mov %rdi, %rax\n mov %esi, -8(%rsp)\n ldmxcsr -8(%rsp)\n mov %edx, -8(%rsp)\n fldcw -8(%rsp)\n" \
    " fldz\n fldz\n" \
    " test $0x2000, %esi\n je 1f\n fldz\n fldz\n fldz\n fldz\n fldz\n fldz\n1:\n" \
    " mov $-1, %rbx\n mov $-1, %rbp\n mov $-1, %r12\n mov $-1, %r13\n mov $-1, %r14\n mov $-1, %r15\n" \
    " xor %edi, %edi\n cld\n call *%rax\n ud2\n"

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

/* The third word of Linux's sigaction: the code that a handler returns to. */
#define RESTORER_WORD(code) ((uintptr_t)(code))

/* The instruction of a system call, for tests/nosplit to find. */
static inline __attribute__((always_inline)) void raw_getpid(void) {
    long answer;
    __asm__ volatile("syscall" : "=a"(answer) : "a"((long)SYS_getpid) : "rcx", "r11", "memory");
}

/* What needm_entry saves of the floating-point environment: MXCSR. */
static inline void store_fp_control(uint32_t *word) { __asm__ volatile("stmxcsr %0" : "=m"(*word)); }

/* fault_here() writes to address 0; a handler that sets CONTEXT_PC to fault_resume has it return. */
#define FAULT_HERE                                                        \
    ".text\n.globl fault_here\n.type fault_here, %function\nfault_here:\n" \
    "movl $0, 0\n.globl fault_resume\nfault_resume:\nret\n"

/* Whether dividing by zero faults, and the si_code of an undefined instruction. */
#define DIVISION_FAULTS 1
static inline void divide_by_zero(void) {
    __asm__ volatile("xorl %%ecx, %%ecx; xorl %%edx, %%edx; movl $1, %%eax; divl %%ecx" ::: "eax", "ecx", "edx");
}
#define ILLEGAL_CODE 2 /* ILL_ILLOPN: arch/x86/kernel/traps.c */

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
