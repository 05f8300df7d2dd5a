/* After a longjmp past callbacks the thread can call back, and no M is lost. */
#include "check.h"
#include <setjmp.h>

static jmp_buf out;
static long levels;
static void jump(void *arg) {
    (void)arg;
    longjmp(out, 1);
}
static void nest(void *level);
static void nest_from_c(void *level) { needm_callback(nest, level, 0, NULL); }
static void nest(void *level) {
    if ((long)level == levels)
        needm_ccall(jump, NULL);
    else
        needm_ccall(nest_from_c, (void *)((long)level + 1));
}
static void jump_out_of(long depth, void (*fn)(void *)) {
    levels = depth;
    if (setjmp(out) == 0) {
        needm_callback(fn, (void *)1, 0, NULL);
        CHECK(0);
    }
}
__attribute__((noinline)) static void from_deeper(int frames) {
    volatile char frame[4096];
    frame[0] = 1;
    if (frames > 0)
        from_deeper(frames - 1);
    else
        jump_out_of(3, nest);
    frame[1] = frame[0];
}
static int usable(void) {
    long sum = 0;
    return needm_callback(add, &sum, 0, NULL) == 0 && sum == 1 &&
           needm_callback(fault, NULL, 0, NULL) == NEEDM_EFAULT;
}
static void the_next_callback_works_and_no_m_is_lost(void) {
    for (int i = 0; i < rounds(1000); i++) {
        jump_out_of(1, nest);
        CHECK(usable());
        jump_out_of(50, nest);
        jump_out_of(1, jump); /* from the G itself */
        CHECK(usable());
        from_deeper(i % 20);
        CHECK(usable());
    }
    CHECK(stats().ms_total <= 4);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(stats().ms_bound, 0);
}
/* To the callback around them, which goes on where their frames were, and ends without a call
 * of needm in between. */
static jmp_buf on_the_g;
static void jump_back(void *arg) { (void)arg, longjmp(on_the_g, 1); }
static void jump_back_from_c(void *arg) { needm_ccall(jump_back, arg); }
static void call_back_and_jump(void *how) { needm_callback(how, NULL, 0, NULL); }
static void jump_back_from_further(void *arg) { (void)arg, needm_ccall(call_back_and_jump, (void *)jump_back); }
__attribute__((noinline)) static void overwrite(void) {
    volatile unsigned char frame[8192];
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = 0xa5;
}
static void (*back)(void *), (*end)(void *);
static void goes_on(void *arg) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, add, arg), 0);
    if (setjmp(on_the_g) == 0) {
        needm_callback(back, NULL, 0, NULL);
        CHECK(0);
    }
    overwrite();
    end(NULL);
}
static void goes_on_from_c(void *arg) {
    needm_panic_info info = {sizeof info};
    long sum = 0;
    int want = end == fault ? NEEDM_EFAULT : end == panic ? NEEDM_EPANIC : 0;
    CHECK_EQ(needm_callback(goes_on, &sum, 0, &info), want);
    CHECK_EQ(sum, 1);
    CHECK_EQ(info.kind, want);
    if (arg) ++*(long *)arg;
}
static void calls_goes_on(void *sum) { CHECK_EQ(needm_ccall(goes_on_from_c, sum), 0); }
static void a_longjmp_back_to_a_g_leaves_it_whole(void) {
    void (*const ways[])(void *) = {jump_back, jump_back_from_c, jump_back_from_further};
    void (*const ends[])(void *) = {nothing, fault, panic, call_back_and_jump};
    for (int i = 0; i < rounds(300); i++)
        for (int way = 0; way < 3; way++)
            for (int ending = 0; ending < 3; ending++) {
                long sum = 0;
                back = ways[way];
                end = ends[ending];
                goes_on_from_c(NULL);
                CHECK_EQ(needm_callback(calls_goes_on, &sum, 0, NULL), 0);
                CHECK_EQ(sum, 1);
                CHECK(usable());
            }
    CHECK(stats().ms_total <= 4);
    CHECK_EQ(needm_detach(), 0);
}
static volatile int jumps;
static void on_alarm(int signal) {
    (void)signal;
    jumps++;
    longjmp(out, 1);
}
static void wait_for_alarm(void *arg) {
    (void)arg;
    raise(SIGUSR1);
    CHECK(0);
}
static void jump_from_a_handler(void *arg) { needm_ccall(wait_for_alarm, arg); }
static void a_longjmp_from_a_signal_handler_loses_no_m(void) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_NODEFER};
    for (int onstack = 0; onstack < 2; onstack++) {
        if (onstack) action.sa_flags |= SA_ONSTACK;
        sigaction(SIGUSR1, &action, NULL);
        for (int i = 0; i < rounds(1000); i++) {
            jump_out_of(1, jump_from_a_handler);
            CHECK(usable());
            jump_out_of(1, wait_for_alarm);
            CHECK(usable());
            CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        }
    }
    CHECK_EQ(jumps, 4 * rounds(1000));
    CHECK(stats().ms_total <= 4);
}
static void from_a_handlers_callback(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(jump, NULL, 0, NULL), 0);
}
static void a_longjmp_from_the_callback_of_a_handler_loses_no_m(void) {
    struct sigaction action = {.sa_handler = from_a_handlers_callback, .sa_flags = SA_NODEFER | SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < rounds(1000); i++) {
        jump_out_of(1, wait_for_alarm);
        if (i % 2) CHECK(usable());
    }
    CHECK(usable());
    CHECK(stats().ms_total <= 4);
    CHECK(stats().ms_bound <= 1);
}
static void *all(void *arg) {
    RUN(the_next_callback_works_and_no_m_is_lost);
    RUN(a_longjmp_back_to_a_g_leaves_it_whole);
    return arg;
}

int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    all(NULL);
    join(thread(all, NULL));
    RUN(a_longjmp_from_a_signal_handler_loses_no_m);
    if (!handlers_lose_their_thread()) RUN(a_longjmp_from_the_callback_of_a_handler_loses_no_m);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
