/* After a longjmp past callbacks the thread can call back, and no M is lost. */
#include "check.h"
#ifndef _WIN32
#include <setjmp.h>
#endif

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
/* Out of a deferred function: the callback was about to be over. */
static void jumps_at_its_end(void *arg) {
    needm_defer defer;
    (void)arg;
    CHECK_EQ(needm_defer_push(&defer, jump, NULL), 0);
}
static void jumps_at_the_end_of_a_fault(void *arg) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, jump, NULL), 0);
    fault(arg);
}
/* Its frame lies over that which waited for the callback. */
ON_ITS_STACK static void is_outside(void) {
    volatile char frame[8192];
    memset((void *)frame, 1, sizeof frame);
    CHECK_EQ(needm_depth(), 0);
    CHECK(usable());
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_detach(), 0);
    frame[0] = frame[1];
}
static void a_longjmp_out_of_a_deferred_function_ends_the_callback(void) {
    for (int i = 0; i < rounds(200); i++) {
        jump_out_of(1, i % 2 ? jumps_at_its_end : jumps_at_the_end_of_a_fault);
        is_outside();
    }
    CHECK(stats().ms_total <= 4);
}
/* Its frame lies around that which waited for the callback, and overwrites it only later. */
static char *left;
enum { LEFT = 16384 };
static void overwrites_what_was_left(void *arg) {
    (void)arg;
    memset(left, 1, LEFT);
    from_deeper(20); /* so far that needm looks whether it is still in this C */
}
static void goes_on_after_it(void *sum) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, add, sum), 0);
    CHECK_EQ(needm_ccall(overwrites_what_was_left, NULL), 0);
    add(sum);
    fault(NULL);
}
ON_ITS_STACK static void calls_back_around_what_was_left(void) {
    char frame[LEFT];
    long sum = 0;
    left = frame;
    CHECK_EQ(needm_callback(goes_on_after_it, &sum, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(sum, 2);
}
static void a_callback_made_before_that_was_noticed_goes_on(void) {
    for (int i = 0; i < rounds(200); i++) {
        jump_out_of(i % 3 + 1, nest);
        calls_back_around_what_was_left();
        CHECK(usable());
    }
    CHECK(stats().ms_total <= 4);
}
/* To the callback around them, which goes on where their frames were, and ends without a call
 * of needm in between. */
static jmp_buf on_the_g;
static void jump_back(void *arg) { (void)arg, longjmp(on_the_g, 1); }
static void jump_back_from_c(void *arg) { needm_ccall(jump_back, arg); }
static void call_back_and_jump(void *how) { needm_callback(how, NULL, 0, NULL); }
static void jump_back_from_further(void *arg) { (void)arg, needm_ccall(call_back_and_jump, (void *)jump_back); }
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
#ifndef _WIN32
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
static int from_its_c;
static void jump_in_c(void *arg) { needm_ccall(jump, arg); }
static void from_a_handlers_callback(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(from_its_c ? jump_in_c : jump, NULL, 0, NULL), 0);
}
static void a_longjmp_from_the_callback_of_a_handler_loses_no_m(void) {
    struct sigaction action = {.sa_handler = from_a_handlers_callback, .sa_flags = SA_NODEFER | SA_ONSTACK};
    stack_t whole;
    sigaction(SIGUSR1, &action, NULL);
    CHECK(usable());
    CHECK_EQ(sigaltstack(NULL, &whole), 0);
    for (int i = 0; i < rounds(1000); i++) {
        stack_t now;
        from_its_c = i / 2 % 2;
        jump_out_of(1, wait_for_alarm);
        if (i % 2) {
            CHECK(usable());
            CHECK_EQ(sigaltstack(NULL, &now), 0);
            CHECK(now.ss_sp == whole.ss_sp && now.ss_size == whole.ss_size);
            CHECK(stats().ms_bound <= 1);
        }
    }
    CHECK(usable());
    CHECK(stats().ms_total <= 4);
    CHECK(stats().ms_bound <= 1);
}
/* C has jumped out of a callback, and its own stack runs out: its own handler is told. */
static sigjmp_buf recovered;
static volatile int ran_out;
static void on_overflow(int signal) {
    (void)signal;
    ran_out++;
    siglongjmp(recovered, 1);
}
static void *runs_out_of_its_own_stack(void *arg) {
    static char for_handlers[128 * 1024];
    const stack_t own = {.ss_sp = for_handlers, .ss_size = sizeof for_handlers};
    stack_t before;
    CHECK_EQ(sigaltstack(&own, &before), 0);
    for (volatile int i = 0; i < rounds(20); i++) {
        jump_out_of(1, jump);
        if (sigsetjmp(recovered, 1) == 0) overflow(NULL);
        CHECK_EQ(ran_out, i + 1);
        CHECK(usable());
    }
    CHECK_EQ(sigaltstack(&before, NULL), 0); /* AddressSanitizer's, which unmaps what is there */
    return arg;
}
static void an_overflow_after_a_longjmp_is_cs_own(uint32_t binding) {
    struct sigaction action = {.sa_handler = on_overflow, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
    start((needm_config){.binding = binding});
    join(thread(runs_out_of_its_own_stack, NULL));
    CHECK_EQ(needm_stop(), 0);
}
#endif
static void *all(void *arg) {
    RUN(the_next_callback_works_and_no_m_is_lost);
    RUN(a_longjmp_out_of_a_deferred_function_ends_the_callback);
    RUN(a_callback_made_before_that_was_noticed_goes_on);
    RUN(a_longjmp_back_to_a_g_leaves_it_whole);
    return arg;
}

int main(int argc, char **argv) {
    (void)argv;
    uint32_t binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    start((needm_config){.binding = binding});
    all(NULL);
    join(thread(all, NULL));
#ifndef _WIN32
    RUN(a_longjmp_from_a_signal_handler_loses_no_m);
    if (!handlers_lose_their_thread()) RUN(a_longjmp_from_the_callback_of_a_handler_loses_no_m);
#endif
    CHECK_EQ(needm_stop(), 0);
#ifndef _WIN32
    fprintf(stderr, "an_overflow_after_a_longjmp_is_cs_own\n");
    an_overflow_after_a_longjmp_is_cs_own(binding);
#endif
    return SUCCESS;
}
