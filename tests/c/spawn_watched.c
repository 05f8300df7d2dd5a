/* Under valgrind: where needm_spawn looks whether a handler runs, there may be memory that nothing has set, or none. */
#include "check.h"

static volatile int ran;
static void runs(void *arg) { __atomic_add_fetch(&ran, 1, __ATOMIC_SEQ_CST), (void)arg; }
static void spawns(void *arg) { CHECK_EQ(needm_spawn(runs, arg), 0); }
static void calls_c_that_spawns(void *arg) { CHECK_EQ(needm_ccall(spawns, arg), 0); }
static void from_everywhere(void) {
    spawns(NULL);
    CHECK_EQ(needm_callback(spawns, NULL, 0, NULL), 0);
    CHECK_EQ(needm_callback(calls_c_that_spawns, NULL, 0, NULL), 0);
}
static void *on_a_thread(void *arg) {
    from_everywhere();
    sigset_t all;
    sigfillset(&all);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
    from_everywhere();
    return arg;
}
static void a_thread_is_started_from_everywhere(void) {
    from_everywhere();
    join(thread(on_a_thread, NULL));
    while (ran < 9) usleep(1000);
}

int main(void) {
    start((needm_config){0});
    RUN(a_thread_is_started_from_everywhere);
    stop_when_idle();
    return SUCCESS;
}
