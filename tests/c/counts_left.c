/* Code of needm's that a handler jumps out of, or ends the thread in, while others are to wait for it: later stops wait
 * for it no more. */
#include "check.h"
#include <setjmp.h>
#if HAS_SINGLE_STEP
#include "step.h"
#endif
#include <sys/syscall.h>

static uint32_t binding;
static sigjmp_buf out;

/* Of a few stops none is held up by other work on the machine. A stop that waits gives up after a second. */
static void stops_do_not_wait(void) {
    double least = 1e9;
    for (int i = 0; i < 5 && least > 0.5; i++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        stop_when_idle();
        clock_gettime(CLOCK_MONOTONIC, &to);
        double took = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
        if (took < least) least = took;
        start((needm_config){.binding = binding});
    }
    CHECK(least <= 0.5);
    stop_when_idle();
}

/* The wait for an M. */
static volatile int holds, lets_go, left, may_exit;
static void in_c(void *arg) {
    holds = 1;
    WAIT_UNTIL(lets_go);
    (void)arg;
}
static void goes_to_c(void *arg) { CHECK_EQ(needm_ccall(in_c, arg), 0); }
static void *holds_the_m(void *arg) {
    CHECK_EQ(needm_callback(goes_to_c, arg, 0, NULL), 0);
    CHECK_EQ(needm_detach(), 0);
    return arg;
}
static void jumps(int signal) {
    (void)signal;
    siglongjmp(out, 1);
}
static void exits(int signal) {
    (void)signal;
    syscall(SYS_exit, 0);
}
ON_ITS_STACK static void *waits(void *arg) {
    if (sigsetjmp(out, 1) == 0) needm_callback(nothing, arg, 0, NULL);
    overwrite();
    CHECK(needm_self() == NULL);
    left = 1;
    WAIT_UNTIL(may_exit);
    return arg;
}
static void a_wait_for_an_m(void (*handler)(int)) {
    holds = lets_go = left = may_exit = 0;
    handle(SIGUSR1, handler);
    start((needm_config){.binding = binding, .seed_ms = 1, .max_ms = 1});
    uint64_t waiting = stats().waits;
    pthread_t holder = thread(holds_the_m, NULL);
    WAIT_UNTIL(holds);
    pthread_t waiter = thread(waits, NULL);
    WAIT_UNTIL(stats().waits > waiting);
    CHECK_EQ(pthread_kill(waiter, SIGUSR1), 0);
    if (handler == jumps) WAIT_UNTIL(left);
    else join(waiter);
    lets_go = 1;
    join(holder);
    stops_do_not_wait();
    may_exit = 1;
    if (handler == jumps) join(waiter);
}
static void a_wait_that_is_jumped_out_of(void) { a_wait_for_an_m(jumps); }
static void a_wait_that_the_thread_exits_in(void) { a_wait_for_an_m(exits); }

#if HAS_SINGLE_STEP
/* A look at what may be unmapped. */
static void jump_out(void) { siglongjmp(out, 1); }
static void end_the_thread(void) { syscall(SYS_exit, 0); }
ON_ITS_STACK static void *looks(void *arg) {
    needm_stats s = {.size = sizeof s};
    CHECK_EQ(needm_callback(nothing, arg, 0, NULL), 0);
    if (sigsetjmp(out, 1) == 0) {
        steps_on();
        needm_get_stats(&s);
        steps_off();
    }
    /* A stop by this thread comes further up. */
    CHECK(needm_self() != NULL || binding != NEEDM_BIND_THREAD);
    return arg;
}
static void a_look_at_each_instruction(int in_a_thread) {
    long at = 0;
    start((needm_config){.binding = binding});
    for (reached = 1; reached; at++) {
        reached = 0;
        countdown = at;
        if (in_a_thread) join(thread(looks, NULL));
        else looks(NULL);
    }
    fprintf(stderr, "  to instruction %ld\n", at);
    CHECK(at > 100);
    stops_do_not_wait();
}
static void looks_that_are_jumped_out_of(void) {
    at_instruction = jump_out;
    a_look_at_each_instruction(0);
}
static void looks_that_the_thread_exits_in(void) {
    at_instruction = end_the_thread;
    a_look_at_each_instruction(1);
}
#endif

int main(int argc, char **argv) {
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    if (handlers_lose_their_thread()) return SUCCESS;
    RUN(a_wait_that_is_jumped_out_of);
    if (!emulated()) RUN(a_wait_that_the_thread_exits_in);
#if HAS_SINGLE_STEP
    if (emulated()) return SUCCESS;
    handle_steps();
    RUN(looks_that_are_jumped_out_of);
    RUN(looks_that_the_thread_exits_in);
#endif
    return SUCCESS;
}
