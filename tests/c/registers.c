/* Callee-saved registers, control words, flags and the stack are the caller's after a
 * callback, whatever it does to them; in the callback they are as the ABI says. */
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
static void in_c(void *arg) {
    (void)arg;
    aligned();
    registers_are_preserved_at_every_ending();
}
static void nested(void *arg) { CHECK_EQ(needm_ccall(in_c, arg), 0); }

int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    RUN(registers_are_preserved_at_every_ending);
    fprintf(stderr, "the same in C that a callback called\n");
    CHECK_EQ(needm_callback(nested, NULL, 0, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
