/* A handler has interrupted a callback, and the world is stopped meanwhile: what needm_each_m shows
 * has the callback's registers, which are in the signal's frame, wherever that is. */
#include "check.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

enum way { CALLS_BACK, WAITS_AT_SAFEPOINTS, STOPS_IT_ITSELF, WAYS };
static enum way way;
static ucontext_t *volatile frame;
static volatile int spinning, seen, shown, over;

/* Whether a range has the registers: these, not those of an earlier signal. The C library's type may be
 * larger than what the system writes. */
static int has_it(const needm_m *m, void *sp, void *hi, void *arg) {
    CHECK((char *)sp < (char *)hi);
    char *registers = (char *)&frame->uc_mcontext;
    shown += (char *)sp <= registers && registers + 64 <= (char *)hi;
    return (void)m, (void)arg, 0;
}
static int late;
static void look(void) {
    shown = 0;
    CHECK_EQ(needm_stop_the_world(), 0);
    /* A thread that waits at the gate looks at it again now and then. */
    if (late) usleep(50000);
    CHECK_EQ(needm_each_m(has_it, NULL), 0);
    CHECK_EQ(needm_start_the_world(), 0);
}
static void waits_at_safepoints(void *arg) {
    (void)arg;
    while (!seen) needm_safepoint();
}
static void interrupts(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    frame = context;
    if (way == STOPS_IT_ITSELF) {
        look();
        seen = 1;
    }
    while (!seen) CHECK_EQ(needm_callback(way == CALLS_BACK ? nothing : waits_at_safepoints, NULL, 0, NULL), 0);
    over = 1;
}
static void spins(void *arg) {
    (void)arg;
    spinning = 1;
    while (!over) __asm__ volatile("");
}
static void *is_interrupted(void *signal_stack) {
    stack_t own = {.ss_sp = signal_stack, .ss_size = 256 * 1024}, none = {.ss_flags = SS_DISABLE};
    if (signal_stack) CHECK_EQ(sigaltstack(&own, NULL), 0);
    CHECK_EQ(needm_callback(spins, NULL, 0, NULL), 0);
    if (signal_stack) CHECK_EQ(sigaltstack(&none, NULL), 0);
    return NULL;
}
static void round_of(void *signal_stack) {
    frame = NULL;
    spinning = seen = over = 0;
    pthread_t made = thread(is_interrupted, signal_stack);
    WAIT_UNTIL(spinning);
    CHECK_EQ(pthread_kill(made, SIGUSR1), 0);
    WAIT_UNTIL(frame);
    if (way != STOPS_IT_ITSELF) {
        look();
        seen = 1;
    }
    join(made);
    CHECK(shown >= 1);
}

/* A handler that waits at the gate is jumped out of, and its thread exits. Of its stack nothing is shown with the
 * callback of the thread that has the M next. */
static sigjmp_buf below_all;
static void jump_out(int signal) {
    (void)signal;
    siglongjmp(below_all, 1);
}
static void *is_jumped_out_of(void *signal_stack) {
    if (sigsetjmp(below_all, 1) == 0) is_interrupted(signal_stack);
    stack_t none = {.ss_flags = SS_DISABLE};
    if (signal_stack) CHECK_EQ(sigaltstack(&none, NULL), 0);
    return NULL;
}
static volatile int had_an_m, may_call, in_c, looked;
static void wait_in_c(void *arg) {
    (void)arg;
    in_c = 1;
    WAIT_UNTIL(looked);
}
static void calls_c(void *arg) { CHECK_EQ(needm_ccall(wait_in_c, arg), 0); }
static void *has_the_m_next(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    had_an_m = 1;
    WAIT_UNTIL(may_call);
    CHECK_EQ(needm_callback(calls_c, NULL, 0, NULL), 0);
    return arg;
}
static int count_ranges(const needm_m *m, void *sp, void *hi, void *ranges) {
    (void)m, (void)sp, (void)hi;
    add(ranges);
    return 0;
}
static void jump_out_of_a_wait(void *signal_stack) {
    long ranges = 0;
    frame = NULL;
    spinning = seen = over = had_an_m = may_call = in_c = looked = 0;
    pthread_t next = thread(has_the_m_next, NULL);
    WAIT_UNTIL(had_an_m);
    pthread_t made = thread(is_jumped_out_of, signal_stack);
    WAIT_UNTIL(spinning);
    CHECK_EQ(pthread_kill(made, SIGUSR1), 0);
    WAIT_UNTIL(frame);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(pthread_kill(made, SIGUSR2), 0);
    join(made);
    CHECK_EQ(needm_start_the_world(), 0);
    may_call = 1;
    WAIT_UNTIL(in_c);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_each_m(count_ranges, &ranges), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    looked = 1;
    join(next);
    CHECK_EQ(ranges, 1);
}
int main(int argc, char **argv) {
    if (handlers_lose_their_thread()) {
        fprintf(stderr, "skipped: a handler has another thread's pointer\n");
        return SUCCESS;
    }
    void *own = mmap(NULL, 256 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(own != MAP_FAILED);
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    (void)argv;
    for (int on_signal_stack = 0; on_signal_stack < 2; on_signal_stack++) {
        struct sigaction action = {.sa_sigaction = interrupts, .sa_flags = SA_SIGINFO};
        if (on_signal_stack) action.sa_flags |= SA_ONSTACK;
        CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
        for (way = 0; way < WAYS; way++) {
            /* On the G the handler's callback goes on there, and passes no gate. */
            if (way == CALLS_BACK && !on_signal_stack) continue;
            fprintf(stderr, "%d, on a signal stack: %d\n", way, on_signal_stack);
            for (int i = 0; i < rounds(100); i++) late = i < 2, round_of(NULL), round_of(own);
        }
    }
    handle(SIGUSR2, jump_out);
    way = CALLS_BACK;
    for (int i = 0; i < rounds(20); i++) jump_out_of_a_wait(NULL), jump_out_of_a_wait(own);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
