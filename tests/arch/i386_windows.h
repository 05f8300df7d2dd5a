/* What tests need of i386 under Windows; i386.h says what each name is. C's names begin with an
 * underscore there. */
#ifndef ARCH_I386_WINDOWS_H
#define ARCH_I386_WINDOWS_H

#include <stdint.h>

/* Windows's convention says no more, and compilers align their frames themselves. */
#define CALL_IS_ALIGNED ((uintptr_t)__builtin_frame_address(0) % 4 == 0)

#define LOAD_ARGUMENT "movl 4(%esp), %ecx\n"
#define AT_ARGUMENT "(%ecx)"
#define SYMBOL "_"
#include "x86_windows.h"

enum { SAVED_REGISTERS = 4 };
typedef struct {
    uint32_t saved[SAVED_REGISTERS];
    uint32_t mxcsr;
    uint16_t fcw, tags;
    uint32_t flags;
} register_state;
static inline uint32_t register_pattern(int n) { return 0x22222200u + (uint32_t)n + 1; }
#define CHECK_REGISTER_STATE CHECK_FP_AND_FLAGS
#define REGISTER_FUNCTIONS \
    ".text\n.globl _probe\n.def _probe; .scl 2; .type 32; .endef\n_probe:\n" \
    " push %ebx\n push %ebp\n push %esi\n push %edi\n" \
    " sub $44, %esp\n" /* aligned to 16; the arguments start at 64(%esp) */ \
    " stmxcsr 32(%esp)\n fnstcw 36(%esp)\n" \
    " ldmxcsr 80(%esp)\n fldcw 84(%esp)\n" \
    " mov 64(%esp), %eax\n mov %eax, (%esp)\n mov 68(%esp), %eax\n mov %eax, 4(%esp)\n" \
    " mov 72(%esp), %eax\n mov %eax, 8(%esp)\n mov 76(%esp), %eax\n mov %eax, 12(%esp)\n" \
    " mov $0x22222201, %ebx\n mov $0x22222202, %ebp\n mov $0x22222203, %esi\n mov $0x22222204, %edi\n" \
    " mov %esp, 28(%esp)\n call _needm_callback\n" \
    " cmp %esp, 28(%esp)\n je 1f\n ud2\n1:\n" \
    " mov 88(%esp), %ecx\n" \
    " mov %ebx, (%ecx)\n mov %ebp, 4(%ecx)\n mov %esi, 8(%ecx)\n mov %edi, 12(%ecx)\n" \
    " stmxcsr 16(%ecx)\n fnstcw 20(%ecx)\n" \
    " pushf\n popl 24(%ecx)\n cld\n" \
    " sub $32, %esp\n fnstenv (%esp)\n mov 8(%esp), %dx\n mov %dx, 22(%ecx)\n fldenv (%esp)\n add $32, %esp\n" \
    " ldmxcsr 32(%esp)\n fldcw 36(%esp)\n" \
    " add $44, %esp\n pop %edi\n pop %esi\n pop %ebp\n pop %ebx\n ret\n" \
    ".globl _trash\n.def _trash; .scl 2; .type 32; .endef\n_trash:\n" \
    " mov 4(%esp), %eax\n ldmxcsr 8(%esp)\n fldcw 12(%esp)\n fldz\n fldz\n" \
    " mov $-1, %ebx\n mov $-1, %ebp\n mov $-1, %esi\n mov $-1, %edi\n" \
    " sub $12, %esp\n and $-16, %esp\n movl $0, (%esp)\n cld\n call *%eax\n ud2\n"

#define SWITCH_REGISTERS 4
#define SWITCH_TOP 5
#define SWITCH_FUNCTIONS                                                                             \
    ".text\n.globl _switch_stacks\n.def _switch_stacks; .scl 2; .type 32; .endef\n_switch_stacks:\n" \
    " mov 4(%esp), %ecx\n mov 8(%esp), %edx\n push %ebx\n push %ebp\n push %esi\n push %edi\n"         \
    " push %fs:0x4\n push %fs:0x8\n push %fs:0xe0c\n push %fs:0xf78\n push %fs:0\n"                    \
    " mov %esp, (%ecx)\n mov %edx, %esp\n"                                                           \
    " pop %fs:0\n pop %fs:0xf78\n pop %fs:0xe0c\n pop %fs:0x8\n pop %fs:0x4\n"                         \
    " pop %edi\n pop %esi\n pop %ebp\n pop %ebx\n ret\n"
#define CONTEXT_PC(context) ((context)->registers.Eip)
#define CONTEXT_SP(context) ((context)->registers.Esp)

/* push ebp; mov ebp, esp; push eax; mov [8], eax
 * push ebp; mov ebp, esp; sub esp, 8; call [ebp+8]; leave; ret */
#define HAS_UNWIND_RECORDS 0
/* longjmp unwinds the list of frames with handlers, in which it finds nothing of another stack. */
#define PLAIN_SETJMP(buffer) __builtin_setjmp((void **)(buffer))
__attribute__((noinline, noreturn, unused)) static void plain_longjmp(void *buffer) {
    __builtin_longjmp((void **)buffer, 1);
}
#define PLAIN_LONGJMP(buffer, value) plain_longjmp(buffer)
#define CODE_THAT_WRITES_TO_8 {0x55, 0x89, 0xe5, 0x50, 0xa3, 8, 0, 0, 0, 0xc9, 0xc3}
#define CODE_THAT_CALLS_ITS_ARGUMENT {0x55, 0x89, 0xe5, 0x83, 0xec, 8, 0xff, 0x55, 8, 0xc9, 0xc3}
#endif
