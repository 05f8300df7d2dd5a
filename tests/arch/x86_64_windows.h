/* What tests need of x86_64 under Windows; x86_64.h says what each name is. Functions take their
 * first arguments in rcx, rdx, r8 and r9, keep rdi, rsi and xmm6 to xmm15, too, and find 32
 * bytes above the return address (Microsoft, "x64 calling convention"). */
#ifndef ARCH_X86_64_WINDOWS_H
#define ARCH_X86_64_WINDOWS_H

#include <stdint.h>

#define CALL_IS_ALIGNED (((uintptr_t)__builtin_frame_address(0) + 2 * sizeof(void *)) % 16 == 0)

#define LOAD_ARGUMENT "nop\n"
#define AT_ARGUMENT "(%rcx)"
#define SYMBOL ""
#include "x86_windows.h"

enum { SAVED_REGISTERS = 8 };
typedef struct {
    uint64_t saved[SAVED_REGISTERS];
    uint32_t mxcsr;
    uint16_t fcw, tags;
    uint64_t flags;
    double xmm[10][2];
} register_state;
static inline uint64_t register_pattern(int n) { return 0x1111111122222200 + (uint64_t)n + 1; }
#define CHECK_REGISTER_STATE(after, csr, fcw)                                       \
    do {                                                                            \
        CHECK_FP_AND_FLAGS(after, csr, fcw);                                        \
        for (int xmm_ = 0; xmm_ < 10; xmm_++) {                                     \
            CHECK_EQ((after).xmm[xmm_][0], xmm_ + 6);                               \
            CHECK_EQ((after).xmm[xmm_][1], xmm_ + 6);                               \
        }                                                                           \
    } while (0)
/* int probe(arguments of needm_callback, MXCSR, FCW, register_state *after): the last three are
 * on the stack. 312 bytes: home of arguments, MXCSR and x87 of the caller (32), rsp (48), an
 * x87 environment (64), xmm6-15 (96 up). */
#define EACH_XMM(what) what(6) what(7) what(8) what(9) what(10) what(11) what(12) what(13) what(14) what(15)
#define KEEP_XMM(n) " movups %xmm" #n ", 96+(" #n "-6)*16(%rsp)\n"
#define GIVE_BACK_XMM(n) " movups 96+(" #n "-6)*16(%rsp), %xmm" #n "\n"
#define SET_XMM(n) " mov $" #n ", %eax\n cvtsi2sd %eax, %xmm" #n "\n unpcklpd %xmm" #n ", %xmm" #n "\n"
#define STORE_XMM(n) " movups %xmm" #n ", 80+(" #n "-6)*16(%rcx)\n"
#define TRASH_XMM(n) " pcmpeqd %xmm" #n ", %xmm" #n "\n"
#define REGISTER_FUNCTIONS                                                                  \
    ".text\n.globl probe\n.def probe; .scl 2; .type 32; .endef\n.seh_proc probe\nprobe:\n"    \
    " push %rbx\n .seh_pushreg %rbx\n push %rbp\n .seh_pushreg %rbp\n"                        \
    " push %rdi\n .seh_pushreg %rdi\n push %rsi\n .seh_pushreg %rsi\n"                        \
    " push %r12\n .seh_pushreg %r12\n push %r13\n .seh_pushreg %r13\n"                        \
    " push %r14\n .seh_pushreg %r14\n push %r15\n .seh_pushreg %r15\n"                        \
    " sub $264, %rsp\n .seh_stackalloc 264\n .seh_endprologue\n"                              \
    " stmxcsr 32(%rsp)\n fnstcw 36(%rsp)\n"                                                   \
    EACH_XMM(KEEP_XMM) EACH_XMM(SET_XMM)                                                      \
    " ldmxcsr 368(%rsp)\n fldcw 376(%rsp)\n"                                                  \
    " mov $0x1111111122222201, %rbx\n mov $0x1111111122222202, %rbp\n"                        \
    " mov $0x1111111122222203, %r12\n mov $0x1111111122222204, %r13\n"                        \
    " mov $0x1111111122222205, %r14\n mov $0x1111111122222206, %r15\n"                        \
    " mov $0x1111111122222207, %rdi\n mov $0x1111111122222208, %rsi\n"                        \
    " mov %rsp, 48(%rsp)\n call needm_callback\n"                                             \
    " cmp %rsp, 48(%rsp)\n je 1f\n ud2\n1:\n"                                                 \
    " mov 384(%rsp), %rcx\n"                                                                  \
    " mov %rbx, (%rcx)\n mov %rbp, 8(%rcx)\n mov %r12, 16(%rcx)\n mov %r13, 24(%rcx)\n"       \
    " mov %r14, 32(%rcx)\n mov %r15, 40(%rcx)\n mov %rdi, 48(%rcx)\n mov %rsi, 56(%rcx)\n"    \
    EACH_XMM_80 " stmxcsr 64(%rcx)\n fnstcw 68(%rcx)\n"                                       \
    " pushfq\n pop 72(%rcx)\n cld\n"                                                          \
    " fnstenv 64(%rsp)\n mov 72(%rsp), %dx\n mov %dx, 70(%rcx)\n fldenv 64(%rsp)\n"           \
    EACH_XMM(GIVE_BACK_XMM)                                                                   \
    " ldmxcsr 32(%rsp)\n fldcw 36(%rsp)\n"                                                    \
    " add $264, %rsp\n"                                                                       \
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rsi\n pop %rdi\n pop %rbp\n pop %rbx\n ret\n" \
    ".seh_endproc\n"                                                                          \
    ".globl trash\n.def trash; .scl 2; .type 32; .endef\n.seh_proc trash\ntrash:\n"           \
    " sub $40, %rsp\n .seh_stackalloc 40\n .seh_endprologue\n"                                \
    " mov %rcx, %rax\n mov %edx, 32(%rsp)\n ldmxcsr 32(%rsp)\n mov %r8d, 32(%rsp)\n fldcw 32(%rsp)\n" \
    " fldz\n fldz\n"                                                                          \
    EACH_XMM(TRASH_XMM)                                                                       \
    " mov $-1, %rbx\n mov $-1, %rbp\n mov $-1, %r12\n mov $-1, %r13\n mov $-1, %r14\n mov $-1, %r15\n" \
    " mov $-1, %rdi\n mov $-1, %rsi\n"                                                        \
    " xor %ecx, %ecx\n cld\n call *%rax\n ud2\n.seh_endproc\n"
#define EACH_XMM_80 EACH_XMM(STORE_XMM)

/* switch_stacks(from, to): see tests/windows/posix/ucontext.h. What is kept below the return address are
 * so many words of registers, and the five fields. A stack begins so many words below its end. */
#define SWITCH_REGISTERS 28
#define SWITCH_TOP 7
#define SWITCH_FUNCTIONS                                                                         \
    ".text\n.globl switch_stacks\n.def switch_stacks; .scl 2; .type 32; .endef\nswitch_stacks:\n" \
    " push %rbx\n push %rbp\n push %rdi\n push %rsi\n push %r12\n push %r13\n push %r14\n push %r15\n" \
    " sub $160, %rsp\n" EACH_XMM(PUSH_XMM)                                                        \
    " push %gs:0x8\n push %gs:0x10\n push %gs:0x1478\n mov %gs:0x1748, %eax\n push %rax\n push %gs:0\n" \
    " mov %rsp, (%rcx)\n mov %rdx, %rsp\n"                                                       \
    " pop %gs:0\n pop %rax\n mov %eax, %gs:0x1748\n pop %gs:0x1478\n pop %gs:0x10\n pop %gs:0x8\n" \
    EACH_XMM(POP_XMM) " add $160, %rsp\n"                                                        \
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rsi\n pop %rdi\n pop %rbp\n pop %rbx\n ret\n"
#define PUSH_XMM(n) " movups %xmm" #n ", (" #n "-6)*16(%rsp)\n"
#define POP_XMM(n) " movups (" #n "-6)*16(%rsp), %xmm" #n "\n"
#define CONTEXT_PC(context) ((context)->registers.Rip)
#define CONTEXT_SP(context) ((context)->registers.Rsp)

/* Whether Windows unwinds by records of functions; and code without them.
 * push rbp; mov rbp, rsp; push rax; mov [8], eax
 * push rbp; mov rbp, rsp; sub rsp, 32; call rcx; leave; ret */
#define HAS_UNWIND_RECORDS 1
/* Without a frame longjmp unwinds nothing. */
#define PLAIN_SETJMP(buffer) _setjmp(buffer, NULL)
#define PLAIN_LONGJMP(buffer, value) (longjmp)(buffer, value)
#define CODE_THAT_WRITES_TO_8 {0x55, 0x48, 0x89, 0xe5, 0x50, 0x89, 0x04, 0x25, 8, 0, 0, 0, 0x5d, 0xc3}
#define CODE_THAT_CALLS_ITS_ARGUMENT {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20, 0xff, 0xd1, 0xc9, 0xc3}
#endif
