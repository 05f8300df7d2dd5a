/* Signals that the C library or a profiler sends to threads in callbacks. */
#include "busy.h"
#include <sys/auxv.h>
#include <sys/time.h>

static uint32_t binding;

/* setresuid of the C library sends a signal to every thread and waits for its handler. */
static void setresuid_works_during_callbacks(void) {
    pthread_t threads[4];
    start((needm_config){.binding = binding});
    over = 0;
    for (int i = 0; i < 3; i++) threads[i] = thread(calls_all_the_time, NULL);
    threads[3] = thread(others_come_and_go, NULL);
    for (int i = 0; i < rounds(300); i++) CHECK_EQ(setresuid(-1, geteuid(), -1), 0);
    over = 1;
    for (int i = 0; i < 4; i++) join(threads[i]);
    CHECK_EQ(needm_stop(), 0);
}

/* A handler on a small signal stack calls back, and the callback waits for setresuid. */
static volatile int waits, is_done;
static void waits_for_setresuid(void *arg) {
    (void)arg;
    waits = 1;
    for (int i = 0; i < 20000 && !is_done; i++) usleep(1000);
}
static void calls_back_and_waits(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(waits_for_setresuid, NULL, 0, NULL), 0);
}
static void *raises_usr1(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    raise(SIGUSR1);
    CHECK(is_done);
    return arg;
}
static void a_callback_of_a_handler_may_wait_for_setresuid(void) {
    struct sigaction action = {.sa_handler = calls_back_and_waits, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    /* Room for the handler, and for needm's below it, but not for a third. */
    size_t frame = getauxval(AT_MINSIGSTKSZ);
    if (frame == 0) frame = MINSIGSTKSZ;
    start((needm_config){.binding = binding, .signal_stack_size = 2 * frame + 4096});
    pthread_t one = thread(raises_usr1, NULL);
    WAIT_UNTIL(waits);
    CHECK_EQ(setresuid(-1, geteuid(), -1), 0);
    is_done = 1;
    join(one);
    CHECK_EQ(needm_stop(), 0);
}

/* A profiler's timer. */
static volatile long ticks;
static void tick(int signal) { ticks++, (void)signal; }
static void a_profilers_timer_may_interrupt_callbacks(void) {
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    pthread_t threads[4];
    CHECK_EQ(sigaction(SIGPROF, &action, NULL), 0);
    start((needm_config){.binding = binding});
    CHECK_EQ(setitimer(ITIMER_PROF, &every, NULL), 0);
    over = 0;
    for (int i = 0; i < 3; i++) threads[i] = thread(calls_all_the_time, NULL);
    threads[3] = thread(others_come_and_go, NULL);
    WAIT_UNTIL(ticks >= rounds(300));
    over = 1;
    for (int i = 0; i < 4; i++) join(threads[i]);
    setitimer(ITIMER_PROF, &never, NULL);
    CHECK_EQ(needm_stop(), 0);
    signal(SIGPROF, SIG_IGN);
}


int main(int argc, char **argv) {
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    if (handlers_lose_their_thread()) {
        fprintf(stderr, "skipped: under this emulator handlers lose their thread\n");
        return SUCCESS;
    }
    RUN(setresuid_works_during_callbacks);
    if (!emulated()) RUN(a_callback_of_a_handler_may_wait_for_setresuid);
    RUN(a_profilers_timer_may_interrupt_callbacks);
    return SUCCESS;
}
