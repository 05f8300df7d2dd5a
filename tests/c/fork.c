/* fork: the child can call back, and stop and start needm, whatever the other threads of its
 * parent were doing. */
#include "busy.h"
#include <sched.h>
#include <sys/syscall.h>

static uint32_t binding;

static void *calls(void *arg) {
    CHECK_EQ(needm_callback(fault, arg, 0, NULL), NEEDM_EFAULT);
    return arg;
}
static pthread_barrier_t inside;
static void stay(void *arg) {
    (void)arg;
    pthread_barrier_wait(&inside);
    pthread_barrier_wait(&inside);
}
static void *stays(void *arg) {
    CHECK_EQ(needm_callback(stay, NULL, 0, NULL), 0);
    return arg;
}
static void child_of_many(void) {
    if (emulated()) { /* qemu-user fails on a fault in the child of a process with threads */
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        CHECK(stats().ms_reclaimed >= 4);
        return;
    }
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    for (int i = 0; i < 10; i++) join(thread(calls, NULL));
    CHECK(stats().ms_reclaimed >= 4);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}
static void forks(void *arg) {
    int status = in_a_child(arg);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == SUCCESS);
}
static void child_of_callback(void) {
    if (emulated()) {
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        return;
    }
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    join(thread(calls, NULL));
}
static void a_child_calls_back_and_reuses_the_ms_of_other_threads(void) {
    start((needm_config){.binding = binding, .max_ms = 8});
    pthread_t threads[4];
    pthread_barrier_init(&inside, NULL, 5);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    for (int i = 0; i < 4; i++) threads[i] = thread(stays, NULL);
    pthread_barrier_wait(&inside);
    CHECK_CHILD(child_of_many);
    CHECK_EQ(needm_callback(forks, (void *)child_of_callback, 0, NULL), 0);
    pthread_barrier_wait(&inside);
    for (int i = 0; i < 4; i++) join(threads[i]);
    CHECK_EQ(needm_stop(), 0);
}

/* The child's only thread is on the stack of the thread that forked. */
static void counts_bound(void *count) { *(uint32_t *)count = stats().ms_bound; }
__attribute__((noinline)) static void calls_from_far_below(void *count) {
    volatile char frame[16384];
    frame[0] = 0;
    CHECK_EQ(needm_callback(counts_bound, count, 0, NULL), 0);
    frame[1] = frame[0];
}
static void calls_c_that_calls(void *count) { CHECK_EQ(needm_ccall(calls_from_far_below, count), 0); }
static void nested_on_one_m(void) {
    uint32_t bound = 0;
    CHECK_EQ(needm_callback(calls_c_that_calls, &bound, 0, NULL), 0);
    CHECK_EQ(bound, 1);
}
static void *forks_here(void *called_back) {
    if (called_back) nested_on_one_m();
    CHECK_CHILD(nested_on_one_m);
    return NULL;
}
static void a_child_knows_its_stack(void) {
    start((needm_config){.binding = binding});
    CHECK_CHILD(nested_on_one_m);
    join(thread(forks_here, NULL));
    join(thread(forks_here, &binding));
    CHECK_EQ(needm_stop(), 0);
}

/* The C library is not told of a raw fork, and keeps the parent's ID of the thread. */
static void *calls_once_here(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    return arg;
}
static void knows_its_id(void *arg) {
    (void)arg;
    CHECK_EQ(needm_m_thread(needm_self()), syscall(SYS_gettid));
}
static void *forks_raw(void *arg) {
    int status;
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    CHECK(child >= 0);
    if (child == 0) {
        needm_atfork_child();
        CHECK_EQ(needm_callback(knows_its_id, NULL, 0, NULL), 0);
        _exit(SUCCESS);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), SUCCESS);
    return arg;
}
static void a_child_of_a_raw_fork_knows_its_thread(void) {
    start((needm_config){.binding = binding});
    for (int i = 0; i < 4; i++) join(thread(calls_once_here, NULL));
    join(thread(forks_raw, NULL));
    CHECK_EQ(needm_stop(), 0);
}

/* Other threads call back, exit and stop the world while this one forks. */
static void *stops_the_world(void *arg) {
    while (!over) {
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
    }
    return arg;
}
static void child_of_busy(void) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    if (!emulated()) { /* qemu-user fails on faults in the child of a process with threads */
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        for (int i = 0; i < 3; i++) join(thread(calls_once, NULL));
    }
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(sum, 1);
}
static void forks_busy(void *arg) {
    (void)arg;
    CHECK_CHILD(child_of_busy);
}
static void children_of_a_busy_process_call_back(void) {
    pthread_t threads[5];
    start((needm_config){.binding = binding, .max_ms = 6});
    over = 0;
    for (int i = 0; i < 2; i++) threads[i] = thread(calls_all_the_time, NULL);
    for (int i = 2; i < 4; i++) threads[i] = thread(others_come_and_go, NULL);
    threads[4] = thread(stops_the_world, NULL);
    for (int i = 0; i < rounds(100); i++) {
        CHECK_CHILD(child_of_busy);
        CHECK_EQ(needm_callback(forks_busy, NULL, 0, NULL), 0);
    }
    over = 1;
    for (int i = 0; i < 5; i++) join(threads[i]);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}

/* Another thread starts and stops needm while this one forks. In the child needm is started or
 * stopped, and can be stopped and started. */
static void *starts_and_stops(void *arg) {
    while (!over) {
        start(*(needm_config *)arg);
        long sum = 0;
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        /* NEEDM_EBUSY while the other thread is in a callback. */
        for (int answer = NEEDM_EBUSY; answer != 0;) {
            answer = needm_stop();
            CHECK(answer == 0 || answer == NEEDM_EBUSY);
        }
    }
    return NULL;
}
static int found_stopped;
static void is_started_or_stopped(void) {
    long sum = 0;
    int answer = needm_callback(add, &sum, 0, NULL);
    int stopped = answer == NEEDM_ENOTSTARTED;
    if (stopped)
        start((needm_config){.size = 0});
    else
        CHECK_EQ(answer, 0);
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    if (!emulated()) {
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        join(thread(calls_once, NULL));
    }
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(stats().ms_total, 0);
    struct sigaction action;
    CHECK_EQ(sigaction(SIGSEGV, NULL, &action), 0);
    CHECK(action.sa_handler == SIG_DFL);
    start((needm_config){.size = 0});
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    _exit(SUCCESS - stopped);
}
__attribute__((unused)) static void children_may_stop_and_start_needm(void) {
    needm_config config = {.binding = binding};
    /* qemu-user keeps memory for each address that was ever mapped, and each fork copies it. */
    if (emulated()) config.stack_size = config.guard_size = 16384;
    needm_panic_info info = {sizeof info};
    over = 0, found_stopped = 0;
    pthread_t other = thread(starts_and_stops, &config);
    int children = rounds(2000);
    for (int i = 0; i < children; i++) {
        long sum = 0;
        int answer = needm_callback(add, &sum, 0, &info);
        CHECK(answer == 0 || answer == NEEDM_ENOTSTARTED);
        int status = in_a_child(is_started_or_stopped);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == SUCCESS || WEXITSTATUS(status) == SUCCESS - 1);
        found_stopped += WEXITSTATUS(status) == SUCCESS - 1;
    }
    over = 1;
    join(other);
    fprintf(stderr, "%d children, needm was stopped in %d of them\n", children, found_stopped);
}

static void forks_in_a_handler(int signal);
static volatile int may_fork, is_child;
static volatile pid_t child;
static void *calls_back_all_the_time(void *arg) {
    while (!over) {
        long sum = 0;
        int answer = needm_callback(add, &sum, 0, NULL);
        CHECK(answer == 0 || answer == NEEDM_ENOTSTARTED);
        if (is_child) is_started_or_stopped();
    }
    return arg;
}
/* In the child the callback goes on that the handler has interrupted. */
__attribute__((unused)) static void children_of_a_handler_may_stop_and_start_needm(void) {
    needm_config config = {.binding = binding};
    if (emulated()) config.stack_size = config.guard_size = 16384;
    over = 0;
    handle(SIGUSR1, forks_in_a_handler);
    pthread_t other = thread(starts_and_stops, &config), forker = thread(calls_back_all_the_time, NULL);
    for (int i = 0; i < rounds(2000); i++) {
        int status;
        child = 0, may_fork = 1;
        CHECK_EQ(pthread_kill(forker, SIGUSR1), 0);
        while (!child) sched_yield();
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == SUCCESS || WEXITSTATUS(status) == SUCCESS - 1);
    }
    over = 1;
    join(forker);
    join(other);
}

/* A fork in a hook, or in a handler while the thread waits for an M: in the child the Ms of other
 * threads are free, and the thread goes on. */
static void fork_once(void) {
    if (!may_fork) return;
    may_fork = 0;
    child = fork();
    CHECK(child >= 0);
    is_child = !child;
    if (is_child) alarm(60);
}
static void forks_in_a_hook(void *user, needm_m *m) { (void)user, (void)m, fork_once(); }
static void forks_in_a_handler(int signal) { (void)signal, fork_once(); }
static void *calls_and_detaches(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_detach(), 0);
    if (is_child) {
        CHECK_EQ(needm_stop_the_world_within(2000000000), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        CHECK_EQ(stats().ms_bound, 0);
        CHECK_EQ(needm_stop(), 0);
        _exit(SUCCESS);
    }
    return arg;
}
static void fork_beside_a_callback(needm_config config, int in_a_handler) {
    int status;
    start(config);
    pthread_barrier_init(&inside, NULL, 2);
    pthread_t other = thread(stays, NULL);
    pthread_barrier_wait(&inside);
    uint64_t waits = stats().waits;
    may_fork = 1;
    pthread_t forker = thread(calls_and_detaches, NULL);
    if (in_a_handler) {
        while (stats().waits == waits) sched_yield();
        usleep(1000); /* not in the middle of what fork needs of the C library */
        CHECK_EQ(pthread_kill(forker, SIGUSR1), 0);
    }
    while (may_fork) sched_yield();
    while (!child) sched_yield();
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), SUCCESS);
    pthread_barrier_wait(&inside);
    join(other);
    join(forker);
    CHECK_EQ(needm_stop(), 0);
    child = 0;
}
static void children_of_an_unfinished_change_use_the_ms_of_other_threads(void) {
    needm_hooks binds = NEEDM_HOOKS_INIT, unbinds = NEEDM_HOOKS_INIT;
    binds.minit = forks_in_a_hook;
    unbinds.unminit = forks_in_a_hook;
    may_fork = 0;
    handle(SIGUSR1, forks_in_a_handler);
    fork_beside_a_callback((needm_config){.binding = binding, .max_ms = 1}, 1);
    fork_beside_a_callback((needm_config){.binding = binding, .hooks = &unbinds}, 0);
    fork_beside_a_callback((needm_config){.binding = binding, .hooks = &binds}, 0);
}

int main(int argc, char **argv) {
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    RUN(a_child_calls_back_and_reuses_the_ms_of_other_threads);
    RUN(a_child_knows_its_stack);
    RUN(a_child_of_a_raw_fork_knows_its_thread);
    RUN(children_of_a_busy_process_call_back);
    RUN(children_of_an_unfinished_change_use_the_ms_of_other_threads);
#ifdef __GLIBC__ /* POSIX lets a child of threads do little; musl's may hang where they start needm */
    RUN(children_may_stop_and_start_needm);
    RUN(children_of_a_handler_may_stop_and_start_needm);
#endif
    return SUCCESS;
}
