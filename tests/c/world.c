/* The world stops: no callback code runs until it is started again, also with callbacks from
 * signal handlers. */
#include "filter.h"
#include <sched.h>
#ifndef _WIN32
#include <sys/time.h>
#endif

enum { THREADS = 8 };
static volatile long count[THREADS];
static volatile int over;
static void work(void *own) { ++*(volatile long *)own; }
static void from_c(void *own) { CHECK_EQ(needm_callback(work, own, 0, NULL), 0); }
static void works_and_calls_c(void *own) {
    work(own);
    CHECK_EQ(needm_ccall(from_c, own), 0);
    needm_safepoint();
}
static void *calls(void *number) {
    long n = (long)number;
    while (!over) CHECK_EQ(needm_callback(n & 1 ? works_and_calls_c : work, (void *)&count[n], 0, NULL), 0);
    return NULL;
}
#ifndef _WIN32
static volatile long handled;
static void in_handler(void *arg) { handled++, (void)arg; }
static void handler(int signal) {
    (void)signal;
    int result = needm_callback(in_handler, NULL, 0, NULL);
    CHECK(result == 0 || result == NEEDM_ENOTSTARTED);
}
#endif
static long total(void) {
    long sum = 0;
    for (int i = 0; i < THREADS; i++) sum += count[i];
    return sum;
}
static int visit(const needm_m *m, void *sp, void *hi, void *seen) {
    void *lo, *top;
    CHECK_EQ(needm_g_bounds(m, &lo, &top), 0);
    /* The G, or what a handler has in use of a signal stack. */
    CHECK(sp <= hi && (sp >= lo && sp <= top ? hi == top : sp < hi));
    ++*(int *)seen;
    return 0;
}
static void stop_often(int signals) {
    pthread_t threads[THREADS];
    over = 0;
    for (long i = 0; i < THREADS; i++) threads[i] = thread(calls, (void *)i);
    for (int round = 0; round < rounds(1000); round++) {
#ifndef _WIN32
        for (int i = 0; signals && i < THREADS; i++) pthread_kill(threads[i], SIGUSR1);
#endif
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_stop_the_world(), NEEDM_EALREADY);
        long then = total();
        int seen = 0;
        CHECK_EQ(needm_each_m(visit, &seen), 0);
        for (volatile int spin = 0; spin < 2000; spin++) continue;
        CHECK_EQ(total(), then);
        CHECK_EQ(needm_start_the_world(), 0);
        while (round % 8 == 0 && total() == then) sched_yield(); /* it runs again */
    }
    over = 1;
    for (int i = 0; i < THREADS; i++) join(threads[i]);
}
static void no_callback_code_runs_while_the_world_is_stopped(void) { stop_often(0); }
static void stop_from_inside(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    int seen = 0;
    CHECK_EQ(needm_each_m(visit, &seen), 0);
    CHECK(seen >= 1);
    CHECK_EQ(needm_start_the_world(), 0);
    work(arg);
}
static void *stops(void *own) {
    for (int i = 0; i < rounds(500); i++) CHECK_EQ(needm_callback(stop_from_inside, own, 0, NULL), 0);
    return NULL;
}
static void callbacks_that_stop_the_world_take_turns(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) threads[i] = thread(stops, (void *)&count[i]);
    for (int i = 0; i < 4; i++) join(threads[i]);
}
#ifndef _WIN32
static void signals_at_a_high_rate(int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART | flags};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
    stop_often(1);
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK(handled > 0);
    /* One for each thread and for handlers that nest, and spares: none is lost. */
    CHECK(stats().ms_total <= 48);
    /* A handler that calls back after the last destructor of its thread binds an M that only
     * the robust list returns, which qemu-user has not got. */
    if (!emulated()) CHECK(stats().ms_bound <= 2);
}
static void no_m_is_lost_to_handlers_that_call_back(void) { signals_at_a_high_rate(0); }
static void no_m_is_lost_to_handlers_on_the_signal_stack(void) { signals_at_a_high_rate(SA_ONSTACK); }
#endif

int main(int argc, char **argv) {
    uint32_t binding = parse_binding(argc, argv);
    start((needm_config){.binding = binding});
    RUN(no_callback_code_runs_while_the_world_is_stopped);
    RUN(callbacks_that_stop_the_world_take_turns);
#ifndef _WIN32
    if (handlers_lose_their_thread()) {
        stop_when_idle();
        return SUCCESS;
    }
    RUN(no_m_is_lost_to_handlers_that_call_back);
    RUN(no_m_is_lost_to_handlers_on_the_signal_stack);
#endif
    stop_when_idle();
    return SUCCESS;
}
