/* Threads that needm starts. */
#include "check.h"
#ifndef _WIN32
#include <setjmp.h>
#endif

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
#ifndef _WIN32
/* pthread_create may wait for a lock that the interrupted code holds. */
static volatile int in_its_callback, handled;
static void is_refused(void *arg) { CHECK_EQ(needm_spawn(spawned, arg), NEEDM_EBUSY); }
static void spawns(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    if (in_its_callback)
        CHECK_EQ(needm_callback(is_refused, NULL, 0, NULL), 0);
    else
        is_refused(NULL);
    handled++;
}
static void raises(void *arg) { (void)arg, raise(SIGUSR1); }
static void is_allowed(void *arg) {
    (void)arg;
    CHECK_EQ(needm_spawn(add, &sum), 0);
    sigset_t all, before;
    sigfillset(&all);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
    CHECK_EQ(needm_spawn(add, &sum), 0);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}
static void *in_handlers_and_elsewhere(void *arg) {
    struct sigaction action = {.sa_sigaction = spawns};
    const int flags[] = {0, SA_ONSTACK, SA_ONSTACK | SA_NODEFER};
    handled = 0;
    for (int i = 0; i < 3; i++)
        for (in_its_callback = 0; in_its_callback < 2; in_its_callback++) {
            action.sa_flags = SA_SIGINFO | flags[i];
            CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
            CHECK_EQ(needm_attach(), 0);
            raises(NULL);
            CHECK_EQ(needm_callback(raises, NULL, 0, NULL), 0);
            is_allowed(NULL);
            CHECK_EQ(needm_callback(is_allowed, NULL, 0, NULL), 0);
        }
    CHECK_EQ(handled, 12);
    return arg;
}
/* Out of a callback of a handler: the thread is in neither any more. */
static sigjmp_buf out;
static void leaves(void *arg) { (void)arg, siglongjmp(out, 1); }
static void leaves_its_callback(int signal) {
    (void)signal;
    needm_callback(leaves, NULL, 0, NULL);
}
static void *after_handlers(void *arg) {
    struct sigaction action = {.sa_handler = leaves_its_callback, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(needm_attach(), 0);
    for (volatile int i = 0; i < 20; i++) {
        if (sigsetjmp(out, 1) == 0) raise(SIGUSR1);
        is_allowed(NULL);
    }
    return arg;
}
static void handlers_may_not_spawn(void) {
    start((needm_config){.binding = binding});
    join(thread(in_handlers_and_elsewhere, NULL));
    join(thread(after_handlers, NULL));
    stop_when_idle();
}
#endif
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
#ifndef _WIN32
    RUN(handlers_may_not_spawn);
#endif
    return SUCCESS;
}
