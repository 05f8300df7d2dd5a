/* Whatever a callback does to them: callee-saved registers, control words, flags and
 * the stack are their caller's again, and as the ABI says in the callback. */
#include "check.h"

#if defined __x86_64__
typedef struct { uint64_t saved[6]; uint32_t mxcsr; uint16_t fcw; uint16_t tags; uint64_t flags; } state;
#elif defined __i386__
typedef struct { uint32_t saved[4]; uint32_t mxcsr; uint16_t fcw; uint16_t tags; uint32_t flags; } state;
#elif defined __arm__
typedef struct { uint32_t saved[8]; uint32_t fpscr; uint32_t pad; double d[8]; } state;
#endif

/* int probe(callback arguments, mxcsr or fpscr, fcw, state *after): loads every
 * callee-saved register with a pattern, calls needm_callback, stores what it finds. */
int probe(void (*fn)(void *), void *frame, size_t size, needm_panic_info *info, uint32_t csr,
          uint32_t fcw, state *after);
/* void trash(void (*then)(void *), uint32_t csr, uint32_t fcw): changes all of them. */
void trash(void (*then)(void *), uint32_t csr, uint32_t fcw);

#if defined __x86_64__
__asm__(
    ".text\n.globl probe\n.type probe,@function\nprobe:\n"
    " push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
    " sub $24, %rsp\n"
    " stmxcsr 16(%rsp)\n fnstcw 20(%rsp)\n"
    " mov %r8d, 8(%rsp)\n ldmxcsr 8(%rsp)\n mov %r9d, 8(%rsp)\n fldcw 8(%rsp)\n"
    " mov $0x1111111122222201, %rbx\n mov $0x1111111122222202, %rbp\n"
    " mov $0x1111111122222203, %r12\n mov $0x1111111122222204, %r13\n"
    " mov $0x1111111122222205, %r14\n mov $0x1111111122222206, %r15\n"
    " mov %rsp, (%rsp)\n call needm_callback@PLT\n"
    " cmp %rsp, (%rsp)\n je 1f\n ud2\n1:\n"
    " mov 80(%rsp), %rcx\n"
    " mov %rbx, (%rcx)\n mov %rbp, 8(%rcx)\n mov %r12, 16(%rcx)\n mov %r13, 24(%rcx)\n"
    " mov %r14, 32(%rcx)\n mov %r15, 40(%rcx)\n"
    " stmxcsr 48(%rcx)\n fnstcw 52(%rcx)\n"
    " pushfq\n pop 56(%rcx)\n cld\n"
    " sub $32, %rsp\n fnstenv (%rsp)\n mov 8(%rsp), %dx\n mov %dx, 54(%rcx)\n fldenv (%rsp)\n add $32, %rsp\n"
    " ldmxcsr 16(%rsp)\n fldcw 20(%rsp)\n"
    " add $24, %rsp\n"
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
    ".globl trash\n.type trash,@function\ntrash:\n"
    " push %rbp\n"
    " mov %rdi, %rax\n mov %esi, -8(%rsp)\n ldmxcsr -8(%rsp)\n mov %edx, -8(%rsp)\n fldcw -8(%rsp)\n"
    " fldz\n fldz\n"
    " mov $-1, %rbx\n mov $-1, %rbp\n mov $-1, %r12\n mov $-1, %r13\n mov $-1, %r14\n mov $-1, %r15\n"
    " xor %edi, %edi\n cld\n call *%rax\n ud2\n");
#define DF_SET " std\n"
enum { SAVED = 6 };
static uint64_t pattern(int n) { return 0x1111111122222200 + (uint64_t)n + 1; }
#elif defined __i386__
__asm__(
    ".text\n.globl probe\n.type probe,@function\nprobe:\n"
    " push %ebx\n push %ebp\n push %esi\n push %edi\n"
    " sub $44, %esp\n" /* 16-aligned again; arguments from 64(%esp) on */
    " stmxcsr 32(%esp)\n fnstcw 36(%esp)\n"
    " ldmxcsr 80(%esp)\n fldcw 84(%esp)\n"
    " mov 64(%esp), %eax\n mov %eax, (%esp)\n mov 68(%esp), %eax\n mov %eax, 4(%esp)\n"
    " mov 72(%esp), %eax\n mov %eax, 8(%esp)\n mov 76(%esp), %eax\n mov %eax, 12(%esp)\n"
    " mov $0x22222201, %ebx\n mov $0x22222202, %ebp\n mov $0x22222203, %esi\n mov $0x22222204, %edi\n"
    " mov %esp, 28(%esp)\n call needm_callback\n"
    " cmp %esp, 28(%esp)\n je 1f\n ud2\n1:\n"
    " mov 88(%esp), %ecx\n"
    " mov %ebx, (%ecx)\n mov %ebp, 4(%ecx)\n mov %esi, 8(%ecx)\n mov %edi, 12(%ecx)\n"
    " stmxcsr 16(%ecx)\n fnstcw 20(%ecx)\n"
    " pushf\n popl 24(%ecx)\n cld\n"
    " sub $32, %esp\n fnstenv (%esp)\n mov 8(%esp), %dx\n mov %dx, 22(%ecx)\n fldenv (%esp)\n add $32, %esp\n"
    " ldmxcsr 32(%esp)\n fldcw 36(%esp)\n"
    " add $44, %esp\n pop %edi\n pop %esi\n pop %ebp\n pop %ebx\n ret\n"
    ".globl trash\n.type trash,@function\ntrash:\n"
    " mov 4(%esp), %eax\n ldmxcsr 8(%esp)\n fldcw 12(%esp)\n fldz\n fldz\n"
    " mov $-1, %ebx\n mov $-1, %ebp\n mov $-1, %esi\n mov $-1, %edi\n"
    " sub $12, %esp\n and $-16, %esp\n movl $0, (%esp)\n cld\n call *%eax\n ud2\n");
enum { SAVED = 4 };
static uint32_t pattern(int n) { return 0x22222200u + (uint32_t)n + 1; }
#elif defined __arm__
__asm__(
    ".text\n.syntax unified\n.arm\n.fpu vfpv3-d16\n.globl probe\n.type probe,%function\nprobe:\n"
    " push {r4-r11, lr}\n vpush {d8-d15}\n sub sp, sp, #12\n" /* 9*4 + 64 + 12 = 112 */
    " vmrs ip, fpscr\n str ip, [sp]\n"
    " ldr ip, [sp, #112]\n vmsr fpscr, ip\n"
    " ldr r11, [sp, #120]\n"
    " ldr r4, =0x22222201\n add r5, r4, #1\n add r6, r4, #2\n add r7, r4, #3\n add r8, r4, #4\n"
    " add r9, r4, #5\n add r10, r4, #6\n str r11, [sp, #4]\n add r11, r4, #7\n"
    " vmov d8, r4, r4\n vmov d9, r5, r5\n vmov d10, r6, r6\n vmov d11, r7, r7\n vmov d12, r8, r8\n"
    " vmov d13, r9, r9\n vmov d14, r10, r10\n vmov d15, r11, r11\n"
    " str sp, [sp, #8]\n bl needm_callback\n"
    " ldr ip, [sp, #8]\n cmp ip, sp\n udfne #2\n"
    " ldr ip, [sp, #4]\n stmia ip!, {r4-r11}\n vmrs r1, fpscr\n str r1, [ip], #8\n vstmia ip, {d8-d15}\n"
    " ldr ip, [sp]\n vmsr fpscr, ip\n"
    " add sp, sp, #12\n vpop {d8-d15}\n pop {r4-r11, pc}\n.ltorg\n"
    ".globl trash\n.type trash,%function\ntrash:\n"
    " mov ip, r0\n vmsr fpscr, r1\n mvn r4, #0\n mov r5, r4\n mov r6, r4\n mov r7, r4\n mov r8, r4\n"
    " mov r9, r4\n mov r10, r4\n mov r11, r4\n"
    " vmov d8, r4, r4\n vmov.f64 d9, d8\n vmov.f64 d10, d8\n vmov.f64 d11, d8\n vmov.f64 d12, d8\n vmov.f64 d13, d8\n"
    " vmov.f64 d14, d8\n vmov.f64 d15, d8\n bic sp, sp, #15\n mov r0, #0\n blx ip\n udf #3\n");
enum { SAVED = 8 };
static uint32_t pattern(int n) { return 0x22222200u + (uint32_t)n + 1; }
#endif

static uint32_t other_csr, other_fcw;
static void (*then)(void *);
static void aligned(void) {
    _Alignas(16) volatile char here[16];
    here[0] = 1;
    CHECK_EQ((uintptr_t)here % 16, 0);
    /* The frame address tells what the stack was at the call. */
#if defined __x86_64__ || defined __i386__
    CHECK_EQ(((uintptr_t)__builtin_frame_address(0) + 2 * sizeof(void *)) % 16, 0);
#else
    CHECK_EQ((uintptr_t)__builtin_frame_address(0) % 4, 0);
#endif
}
static void returns(void *frame) {
    (void)frame;
    aligned();
}
static void does_not_return(void *frame) {
    (void)frame;
    aligned();
    trash(then, other_csr, other_fcw);
}
static void recover(void *arg) { (void)arg, aligned(), (void)needm_recover(NULL); }
static void recovers(void *frame) {
    needm_defer d;
    needm_defer_push(&d, recover, NULL);
    does_not_return(frame);
}
static void check(void (*fn)(void *), size_t size, int want, uint32_t csr, uint32_t fcw) {
    static char frame[4096];
    state after = {0};
    needm_panic_info info = {.size = sizeof info};
    int got = probe(fn, frame, size, &info, csr, fcw, &after);
    CHECK_EQ(got, want);
    for (int n = 0; n < SAVED; n++) CHECK_EQ(after.saved[n], pattern(n));
#ifdef __arm__
    /* The flags of conditions and of exceptions raised are nobody's. */
    CHECK_EQ(after.fpscr & 0x07f79f00, csr & 0x07f79f00);
    for (int n = 0; n < 8; n++) {
        uint32_t halves[2];
        memcpy(halves, &after.d[n], 8);
        CHECK(halves[0] == pattern(n) && halves[1] == pattern(n));
    }
#else
    CHECK_EQ(after.mxcsr & 0xffc0, csr & 0xffc0);
    CHECK_EQ(after.fcw & 0xf3f, fcw & 0xf3f);
    CHECK_EQ(after.tags, 0xffff); /* the x87 stack is empty */
    CHECK_EQ(after.flags & 0x400, 0);
#endif
}
static void registers_and_control_words_are_the_callers_after_every_ending(void) {
    const size_t sizes[] = {0, 1, 7, 8, 4096};
    void (*const endings[])(void *) = {fault, panic, overflow};
    const int results[] = {NEEDM_EFAULT, NEEDM_EPANIC, NEEDM_EOVERFLOW};
#ifdef __arm__
    const uint32_t csrs[] = {0, 0x00400000, 0x01000000, 0x03c00000};
    const uint32_t fcws[] = {0, 0, 0, 0};
#else
    const uint32_t csrs[] = {0x1f80, 0x3f80, 0x9fc0, 0x7f80, 0x9f80, 0x1d80};
    const uint32_t fcws[] = {0x37f, 0x77f, 0x27f, 0xf7f, 0x37f, 0x37f};
#endif
    enum { WORDS = sizeof csrs / sizeof *csrs };
    for (int round = 0; round < rounds(200); round++)
        for (int s = 0; s < 5; s++)
            for (int w = 0; w < WORDS; w++) {
                other_csr = csrs[(w + 1 + round % (WORDS - 1)) % WORDS];
                other_fcw = fcws[(w + 1 + round % (WORDS - 1)) % WORDS];
                check(returns, sizes[s], 0, csrs[w], fcws[w]);
                for (int e = 0; e < 3; e++) {
                    then = endings[e];
                    check(does_not_return, sizes[s], results[e], csrs[w], fcws[w]);
                    check(recovers, sizes[s], 0, csrs[w], fcws[w]);
                }
            }
}
static void in_c(void *arg) {
    (void)arg;
    aligned();
    registers_and_control_words_are_the_callers_after_every_ending();
}
static void nested(void *arg) { CHECK_EQ(needm_ccall(in_c, arg), 0); }

int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    RUN(registers_and_control_words_are_the_callers_after_every_ending);
    fprintf(stderr, "nested\n");
    CHECK_EQ(needm_callback(nested, NULL, 0, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
