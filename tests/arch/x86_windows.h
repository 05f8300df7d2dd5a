/* What tests need of both x86 architectures under Windows; x86_64.h says what each name is. The header that
 * includes this says with what C's names begin, how an argument is loaded, and how that is used as an
 * address. */
#ifndef ARCH_X86_WINDOWS_H
#define ARCH_X86_WINDOWS_H

#define ILLEGAL_INSTRUCTION "ud2"
/* wine takes the flag that has alignment checked away. */
#define ALIGNMENT_FAULTS 0
#define QEMU_CHECKS_ALIGNMENT 0

#define FAULT_FUNCTION(name) \
    ".globl " SYMBOL #name ", " SYMBOL #name "_here\n" \
    ".def " SYMBOL #name "; .scl 2; .type 32; .endef\n" SYMBOL #name ": "
#define FAULT_LABEL(name) SYMBOL #name "_here: "
#define FAULTING_FUNCTIONS                                                                      \
    ".text\n"                                                                                   \
    FAULT_FUNCTION(reads) LOAD_ARGUMENT FAULT_LABEL(reads) "movb " AT_ARGUMENT ", %al\n ret\n"   \
    FAULT_FUNCTION(writes) LOAD_ARGUMENT FAULT_LABEL(writes) "movb $1, " AT_ARGUMENT "\n ret\n"  \
    FAULT_FUNCTION(illegal) "\n" FAULT_LABEL(illegal) "ud2\n"                                   \
    /* Windows says where the breakpoint is, not what comes next. */                            \
    FAULT_FUNCTION(traps) FAULT_LABEL(traps) "int3\n ret\n"                                     \
    FAULT_FUNCTION(divides) "xorl %ecx, %ecx\n movl $1, %eax\n cltd\n" FAULT_LABEL(divides) "idivl %ecx\n" \
    FAULT_FUNCTION(misaligned) "ret\n" FAULT_LABEL(misaligned) "ret\n"
#define TOUCHING_FUNCTION                                                                       \
    ".text\n.globl " SYMBOL "touches_after\n"                                                    \
    FAULT_FUNCTION(touches) LOAD_ARGUMENT FAULT_LABEL(touches)                                  \
    "movb " AT_ARGUMENT ", %al\n" SYMBOL "touches_after: ret\n"
#define FAULT_HERE                                                                              \
    ".text\n.globl " SYMBOL "fault_here\n.def " SYMBOL "fault_here; .scl 2; .type 32; .endef\n"  \
    SYMBOL "fault_here:\nmovl $0, 0\n.globl " SYMBOL "fault_resume\n" SYMBOL "fault_resume:\nret\n"

#define CHECK_FP_AND_FLAGS(after, csr, fcw)               \
    do {                                                \
        CHECK_EQ((after).mxcsr & 0xffc0, (csr) & 0xffc0); \
        CHECK_EQ((after).fcw & 0xf3f, (fcw) & 0xf3f);   \
        CHECK_EQ((after).tags, 0xffff); /* the x87 stack is empty */ \
        CHECK_EQ((after).flags & 0x400, 0); /* the direction flag */ \
    } while (0)
#define CONTROL_WORDS \
    {{0x1f80, 0x37f}, {0x3f80, 0x77f}, {0x9fc0, 0x27f}, {0x7f80, 0xf7f}, {0x9f80, 0x37f}, {0x1d80, 0x37f}}

static inline void store_fp_control(uint32_t *word) { __asm__ volatile("stmxcsr %0" : "=m"(*word)); }

#define DIVISION_FAULTS 1
static inline void divide_by_zero(void) {
    __asm__ volatile("xorl %%ecx, %%ecx; xorl %%edx, %%edx; movl $1, %%eax; divl %%ecx" ::: "eax", "ecx", "edx");
}
#define QEMU_MIXES_UP_THREADS 0
#endif
