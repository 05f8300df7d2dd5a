/* Threads that needm starts. */
#include "check.h"

static uint32_t binding;
static long sum;
static void calls_back(void *arg) { CHECK_EQ(needm_callback(add, arg, 0, NULL), 0); }
static pthread_barrier_t met;
static void spawned(void *arg) {
    CHECK(needm_self() != NULL);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_ccall(calls_back, arg), 0);
    pthread_barrier_wait(&met);
    pthread_barrier_wait(&met);
}
static void a_spawned_thread_runs_as_a_callback(void) {
    start((needm_config){.binding = binding});
    pthread_barrier_init(&met, NULL, 2);
    CHECK_EQ(needm_spawn(spawned, &sum), 0);
    CHECK_EQ(needm_stop(), NEEDM_EBUSY);
    pthread_barrier_wait(&met);
    CHECK_EQ(needm_stop(), NEEDM_EBUSY);
    pthread_barrier_wait(&met);
    stop_when_idle();
    CHECK_EQ(sum, 1);
}
static void spawn_a_fault(void) {
    start((needm_config){0});
    CHECK_EQ(needm_spawn(fault, NULL), 0);
    for (;;) pause();
}
static void an_unrecovered_fault_of_a_spawned_thread_ends_the_process(void) {
    CHECK_DIES(spawn_a_fault, SIGABRT);
}

int main(int argc, char **argv) {
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    RUN(an_unrecovered_fault_of_a_spawned_thread_ends_the_process);
    RUN(a_spawned_thread_runs_as_a_callback);
    return SUCCESS;
}
