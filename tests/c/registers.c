/* Callee-saved registers, control words, flags and the stack are the caller's after a
 * callback, whatever it does to them; in the callback they are as the ABI says. With
 * NEEDM_LEAVE_FP_CONTROL an ending that is no return leaves the callback's control words. */
#include "check.h"

int probe(void (*fn)(void *), void *frame, size_t size, needm_panic_info *info, uint32_t csr,
          uint32_t fcw, register_state *after);
void trash(void (*then)(void *), uint32_t csr, uint32_t fcw);
__asm__(REGISTER_FUNCTIONS);
static const uint32_t words[][2] = CONTROL_WORDS;

static uint32_t other_csr, other_fcw;
static void (*then)(void *);
static void aligned(void) {
    _Alignas(16) volatile char here[16];
    here[0] = 1;
    CHECK_EQ((uintptr_t)here % 16, 0);
    CHECK(CALL_IS_ALIGNED);
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
    register_state after = {0};
    needm_panic_info info = {.size = sizeof info};
    int got = probe(fn, frame, size, &info, csr, fcw, &after);
    CHECK_EQ(got, want);
    for (int n = 0; n < SAVED_REGISTERS; n++) CHECK_EQ(after.saved[n], register_pattern(n));
    if (fn != returns && more_flags() & NEEDM_LEAVE_FP_CONTROL) csr = other_csr, fcw = other_fcw;
    CHECK_REGISTER_STATE(after, csr, fcw);
}
static void registers_are_preserved_at_every_ending(void) {
    const size_t sizes[] = {0, 1, 7, 8, 4096};
    void (*const endings[])(void *) = {fault, panic, overflow};
    const int results[] = {NEEDM_EFAULT, NEEDM_EPANIC, NEEDM_EOVERFLOW};
    enum { WORDS = sizeof words / sizeof *words };
    for (int round = 0; round < rounds(200); round++)
        for (int s = 0; s < 5; s++)
            for (int w = 0; w < WORDS; w++) {
                const uint32_t *other = words[(w + 1 + round % (WORDS - 1)) % WORDS];
                other_csr = other[0];
                other_fcw = other[1];
                check(returns, sizes[s], 0, words[w][0], words[w][1]);
                for (int e = 0; e < 3; e++) {
                    then = endings[e];
                    check(does_not_return, sizes[s], results[e], words[w][0], words[w][1]);
                    check(recovers, sizes[s], 0, words[w][0], words[w][1]);
                }
            }
}
#ifndef _WIN32
/* needm's handler cannot be left by a jump then: it returns, to where it wants. */
static struct sigaction needms;
static void asks_needm(int signal, siginfo_t *info, void *context) {
    needms.sa_sigaction(signal, info, context);
}
static void registers_are_preserved_when_another_handler_asks_needm(void) {
    struct sigaction action = {.sa_sigaction = asks_needm, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    CHECK_EQ(sigaction(SIGSEGV, &action, &needms), 0);
    registers_are_preserved_at_every_ending();
    CHECK_EQ(sigaction(SIGSEGV, &needms, NULL), 0);
}
#endif
static void in_c(void *arg) {
    (void)arg;
    aligned();
    registers_are_preserved_at_every_ending();
}
static void nested(void *arg) { CHECK_EQ(needm_ccall(in_c, arg), 0); }

/* A collector finds in memory what the caller of the outermost callback has in registers: from
 * needm_g0_sp up on the caller's stack. */
static void *caller_frame;
static void finds_registers(void *from) {
    void *sp = NULL;
    CHECK_EQ(needm_g0_sp(needm_self(), &sp), 0);
    CHECK_EQ((uintptr_t)sp % sizeof(void *), 0);
    CHECK((char *)sp < (char *)caller_frame && (char *)caller_frame - (char *)sp < 4096);
    if (from) CHECK(sp == *(void **)from);
    for (int n = 0; n < SAVED_REGISTERS; n++) {
        const volatile uintptr_t *at = sp;
        while ((char *)at < (char *)caller_frame && *at != (uintptr_t)register_pattern(n)) at++;
        CHECK((char *)at < (char *)caller_frame);
    }
    if (from) *(void **)from = sp;
}
static void finds_registers_nested(void *arg) {
    void *sp = NULL;
    CHECK_EQ(needm_g0_sp(needm_self(), &sp), 0);
    finds_registers(&sp);
    CHECK_EQ(needm_callback(finds_registers, &sp, 0, NULL), 0);
    (void)arg;
}
static void in_c_finds_registers(void *arg) { finds_registers_nested(arg); }
static void goes_to_c(void *arg) {
    CHECK_EQ(needm_ccall(in_c_finds_registers, arg), 0);
}
static void registers_of_the_caller_are_found_in_memory(void) {
    void (*const callbacks[])(void *) = {finds_registers, finds_registers_nested, goes_to_c};
    void *sp;
    CHECK_EQ(needm_g0_sp(needm_self(), &sp), NEEDM_EINVAL);
    for (int i = 0; i < 12; i++) {
        register_state after = {0};
        static char frame[64];
        caller_frame = &after;
        /* The last rounds take the slow path, because of the frame that is copied. */
        void (*fn)(void *) = callbacks[i % 3];
        if (i < 6)
            CHECK_EQ(probe(fn, NULL, 0, NULL, words[0][0], words[0][1], &after), 0);
        else if (fn != finds_registers)
            CHECK_EQ(probe(fn, frame, sizeof frame, NULL, words[0][0], words[0][1], &after), 0);
    }
    CHECK_EQ(needm_g0_sp(needm_self(), &sp), NEEDM_EINVAL);
}

int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    RUN(registers_of_the_caller_are_found_in_memory);
    RUN(registers_are_preserved_at_every_ending);
    /* Under qemu-i386 7.2 the return of a handler gives another x87 control word than its frame has. */
    if (!(more_flags() && handlers_lose_their_thread()))
#ifndef _WIN32
        RUN(registers_are_preserved_when_another_handler_asks_needm);
#endif
    fprintf(stderr, "the same in C that a callback called\n");
    CHECK_EQ(needm_callback(nested, NULL, 0, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
