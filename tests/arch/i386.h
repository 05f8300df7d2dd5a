/* What tests need of i386: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_I386_H
#define ARCH_I386_H

#ifndef __ASSEMBLER__
#include <stdint.h>
#include <sys/syscall.h>

/* The system call that maps memory. */
#define SYS_MAP SYS_mmap2

/* Whether the stack of the function that this stands in was aligned at its call, as the ABI
 * says: to 16 bytes, before the return address and the frame pointer were pushed. */
#define CALL_IS_ALIGNED (((uintptr_t)__builtin_frame_address(0) + 2 * sizeof(void *)) % 16 == 0)

/* Calls a function with four words, on a stack that is `off` bytes away from its alignment. */
#define CALL_MISALIGNED(function, words, off)                                                \
    ({                                                                                       \
        long result_, off_ = (off);                                                          \
        __asm__ volatile("movl %%esp, %%edi\n andl $-16, %%esp\n subl %%ecx, %%esp\n"         \
                         "pushl 12(%%esi)\n pushl 8(%%esi)\n pushl 4(%%esi)\n pushl (%%esi)\n" \
                         "call *%%eax\n movl %%edi, %%esp"                                   \
                         : "=a"(result_), "+c"(off_)                                         \
                         : "0"(function), "S"(words)                                         \
                         : "edi", "edx", "memory", "cc");                                    \
        result_;                                                                             \
    })

/* Whether callers may align their stack less than CALL_IS_ALIGNED asks: call_misaligned() does, by
 * `off` bytes (System V ABI, Intel386 supplement, fourth edition, 3 "Function Calling Sequence"). */
#define MISALIGNED_CALLERS 1
__attribute__((noinline, unused)) static long call_misaligned(int off, void *fn, long a, long b, long c, long d) {
    long args[] = {a, b, c, d}, result;
    __asm__ volatile("movl %%esp, %%edi\n andl $-16, %%esp\n subl %%ecx, %%esp\n"
                     "pushl 12(%%esi)\n pushl 8(%%esi)\n pushl 4(%%esi)\n pushl (%%esi)\n"
                     "call *%%eax\n movl %%edi, %%esp"
                     : "=a"(result), "+c"(off)
                     : "0"(fn), "S"(args)
                     : "edi", "edx", "memory", "cc");
    return result;
}

/* The program counter in a handler's ucontext_t. */
#define CONTEXT_PC(context) ((context)->uc_mcontext.gregs[REG_EIP])
#define CONTEXT_SP(context) ((context)->uc_mcontext.gregs[REG_ESP])

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
#define LOAD_ARGUMENT "movl 4(%esp), %ecx\n"
#define AT_ARGUMENT "(%ecx)"
/* Has alignment checked (Intel SDM volume 3, 2.3, "AC"). */
#define CHECK_ALIGNMENT "pushfl\n orl $0x40000, (%esp)\n popfl\n"
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

/* Not tried: clone takes a descriptor for the thread pointer. */
#define HAS_MOVABLE_TLS 0

/* Single step: the trap flag sends SIGTRAP after each instruction (Intel SDM volume 1,
 * 3.4.3.3). */
#define HAS_SINGLE_STEP 1
#define STEP_FUNCTIONS                                            \
    ".text\n.globl steps_on\n.type steps_on, @function\nsteps_on:\n"     \
    " pushf\n orl $0x100, (%esp)\n popf\n ret\n"                       \
    ".globl steps_off\n.type steps_off, @function\nsteps_off:\n"        \
    " pushf\n andl $~0x100, (%esp)\n popf\n ret\n"
/* Faults with values that are known in the registers which a call preserves; whether a traced
 * program has them. */
#define FAULT_WITH_KNOWN_REGISTERS                                                           \
    __asm__ volatile("movl $0x11, %%ebx\n movl $0x22, %%esi\n movl $0x33, %%edi\n"           \
                     "movl $0x44, %%ebp\n movl $1, 0"                                       \
                     : : : "ebx", "esi", "edi", "memory")
#define HAS_KNOWN_REGISTERS(regs) \
    ((regs).ebx == 0x11 && (regs).esi == 0x22 && (regs).edi == 0x33 && (regs).ebp == 0x44)
#define STEPPED_SP(regs) ((uintptr_t)(regs).esp)
/* In a handler: the interrupted code goes on without it. */
#define STOP_STEPPING(context) ((context)->uc_mcontext.gregs[REG_EFL] &= ~0x100)

/* What a call must preserve, as probe() finds it. */
enum { SAVED_REGISTERS = 4 };
typedef struct {
    uint32_t saved[SAVED_REGISTERS];
    uint32_t mxcsr;
    uint16_t fcw, tags;
    uint32_t flags;
} register_state;
static inline uint32_t register_pattern(int n) { return 0x22222200u + (uint32_t)n + 1; }
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
 * void trash(void (*then)(void *), MXCSR, FCW): changes all of them, and calls `then`. */
#define REGISTER_FUNCTIONS \
    ".text\n.globl probe\n.type probe,@function\nprobe:\n" \
    " push %ebx\n push %ebp\n push %esi\n push %edi\n" \
    " sub $44, %esp\n" /* aligned to 16; the arguments start at 64(%esp) */ \
    " stmxcsr 32(%esp)\n fnstcw 36(%esp)\n" \
    " ldmxcsr 80(%esp)\n fldcw 84(%esp)\n" \
    " mov 64(%esp), %eax\n mov %eax, (%esp)\n mov 68(%esp), %eax\n mov %eax, 4(%esp)\n" \
    " mov 72(%esp), %eax\n mov %eax, 8(%esp)\n mov 76(%esp), %eax\n mov %eax, 12(%esp)\n" \
    " mov $0x22222201, %ebx\n mov $0x22222202, %ebp\n mov $0x22222203, %esi\n mov $0x22222204, %edi\n" \
    " mov %esp, 28(%esp)\n call needm_callback\n" \
    " cmp %esp, 28(%esp)\n je 1f\n ud2\n1:\n" \
    " mov 88(%esp), %ecx\n" \
    " mov %ebx, (%ecx)\n mov %ebp, 4(%ecx)\n mov %esi, 8(%ecx)\n mov %edi, 12(%ecx)\n" \
    " stmxcsr 16(%ecx)\n fnstcw 20(%ecx)\n" \
    " pushf\n popl 24(%ecx)\n cld\n" \
    " sub $32, %esp\n fnstenv (%esp)\n mov 8(%esp), %dx\n mov %dx, 22(%ecx)\n fldenv (%esp)\n add $32, %esp\n" \
    " ldmxcsr 32(%esp)\n fldcw 36(%esp)\n" \
    " add $44, %esp\n pop %edi\n pop %esi\n pop %ebp\n pop %ebx\n ret\n" \
    ".globl trash\n.type trash,@function\ntrash:\n" \
    " mov 4(%esp), %eax\n ldmxcsr 8(%esp)\n fldcw 12(%esp)\n fldz\n fldz\n" \
    " mov $-1, %ebx\n mov $-1, %ebp\n mov $-1, %esi\n mov $-1, %edi\n" \
    " sub $12, %esp\n and $-16, %esp\n movl $0, (%esp)\n cld\n call *%eax\n ud2\n"

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

/* The third word of Linux's sigaction: the code that a handler returns to. */
#define RESTORER_WORD(code) ((uintptr_t)(code))

/* The instruction of a system call, for tests/nosplit to find. */
static inline __attribute__((always_inline)) void raw_getpid(void) {
    long answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(SYS_getpid) : "memory");
}

/* What needm_entry saves of the floating-point environment: MXCSR, the slower part. */
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
 * pointer of the thread that was made last: qemu-i386 has one table of segments for all. */
#define QEMU_MIXES_UP_THREADS 1

/* Whether the frame of a handler without SA_SIGINFO has a ucontext_t. */
#define ALL_FRAMES_HAVE_CONTEXTS 0
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
