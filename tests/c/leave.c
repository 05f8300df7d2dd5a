/* Threads and processes that end, are cancelled, exec, fork and change who they are, with
 * callbacks under way. */
#include "check.h"
#include <sched.h>
#include <setjmp.h>
#include <sys/syscall.h>
#include <sys/time.h>

static uint32_t binding;
static uint64_t seed;
static const char *self;
static char *const no_environment[] = {NULL};

/* Before main, and after it. */
static int before_main;
__attribute__((constructor)) static void early(void) {
    before_main = needm_callback(nothing, NULL, 0, NULL);
    needm_config config = {.size = sizeof config};
    long sum = 0;
    CHECK_EQ(needm_start(&config), 0);
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(sum, 1);
}
static void a_callback_before_main_is_refused_or_runs(void) { CHECK_EQ(before_main, NEEDM_ENOTSTARTED); }
static int expected_at_exit = 0;
static void at_exit(void) {
    if (needm_callback(nothing, NULL, 0, NULL) != expected_at_exit) _exit(3);
    if (expected_at_exit == 0 && needm_callback(fault, NULL, 0, NULL) != NEEDM_EFAULT) _exit(4);
}
static volatile int inside;
static void stays(void *arg) {
    (void)arg;
    __sync_fetch_and_add(&inside, 1);
    for (;;) usleep(1000);
}
static void *stays_inside(void *arg) {
    needm_callback(stays, arg, 0, NULL);
    return arg;
}
static void exits_with_callbacks_running(void) {
    start((needm_config){.binding = binding});
    atexit(at_exit);
    inside = 0;
    for (int i = 0; i < 4; i++) thread(stays_inside, NULL);
    while (inside < 4) sched_yield();
    exit(SUCCESS);
}
static void exits_from_a_callback(void *arg) { (void)arg, exit(SUCCESS); }
static void exits_inside(void) {
    start((needm_config){.binding = binding});
    atexit(at_exit);
    needm_callback(exits_from_a_callback, NULL, 0, NULL);
}
static void exits_stopped(void) {
    expected_at_exit = NEEDM_ENOTSTARTED;
    atexit(at_exit);
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    exit(SUCCESS);
}
static void callbacks_at_the_exit_of_the_process_run_or_are_refused(void) {
    CHECK_CHILD(exits_with_callbacks_running);
    CHECK_CHILD(exits_inside);
    CHECK_CHILD(exits_stopped);
}

/* exec, with and without vfork. Under an emulator the system could not start it. */
static void execs(void *arg) {
    char *const words[] = {(char *)self, arg, NULL};
    execve(self, words, no_environment);
    _exit(5);
}
static void execs_in_a_callback(void) {
    start((needm_config){.binding = binding});
    inside = 0;
    for (int i = 0; i < 3; i++) thread(stays_inside, NULL);
    while (inside < 3) sched_yield();
    needm_callback(execs, "again", 0, NULL);
}
static void vforks(void *status) {
    char *const words[] = {(char *)self, "again", NULL};
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        execve(self, words, no_environment);
        _exit(5);
    }
    CHECK_EQ(waitpid(child, status, 0), child);
}
static void *vforks_often(void *arg) {
    for (int i = 0; i < 10; i++) {
        int status = 0;
        CHECK_EQ(needm_callback(vforks, &status, 0, NULL), 0);
        CHECK(WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), SUCCESS);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        vforks(&status);
        CHECK(WIFEXITED(status));
        CHECK_EQ(WEXITSTATUS(status), SUCCESS);
    }
    return arg;
}
static void exec_and_vfork_work_in_and_out_of_callbacks(void) {
    if (emulated()) return;
    CHECK_CHILD(execs_in_a_callback);
    start((needm_config){.binding = binding});
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) threads[i] = thread(vforks_often, NULL);
    for (int i = 0; i < 3; i++) join(threads[i]);
    CHECK_EQ(needm_stop(), 0);
}

/* Cancelled by others, anywhere. */
static long turns;
static void short_sleep(void *arg) {
    struct timespec nap = {0, 1000};
    (void)arg;
    nanosleep(&nap, NULL);
}
static void sleeps_in_c(void *arg) {
    needm_ccall(short_sleep, arg);
    turns++;
}
static void *sleeps_for_ever(void *asynchronously) {
    if (asynchronously) pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;) {
        needm_callback(sleeps_in_c, NULL, 0, NULL);
        needm_callback(nothing, NULL, 0, NULL);
        if (!asynchronously) pthread_testcancel();
    }
    return NULL;
}
#ifdef __GLIBC__
enum { WAYS_TO_CANCEL = 2 };
#else
enum { WAYS_TO_CANCEL = 1 }; /* musl ends a thread that is cancelled anywhere on a stack that is not aligned */
#endif
static void threads_cancelled_by_others_lose_nothing(void) {
    uint64_t random = seed;
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_attach(), 0);
    for (int asynchronously = 0; asynchronously < WAYS_TO_CANCEL; asynchronously++)
        for (int i = 0; i < rounds(300); i++) {
            pthread_t made = thread(sleeps_for_ever, asynchronously ? &turns : NULL);
            usleep(next(&random) % 300);
            CHECK_EQ(pthread_cancel(made), 0);
            join(made);
            CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        }
    CHECK(stats().ms_total <= 8);
    CHECK_EQ(stats().ms_bound, 1);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}

/* glibc's set*id functions run a handler on every thread, and wait for it. */
static volatile int over;
static void *calls_all_the_time(void *arg) {
    long sum = 0;
    while (!over) {
        CHECK_EQ(needm_callback(sleeps_in_c, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    }
    return arg;
}
static void *calls_once(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    return arg;
}
static void *others_come_and_go(void *arg) {
    while (!over) join(thread(calls_once, NULL));
    return arg;
}
static void changing_who_one_is_works_while_threads_are_inside(void) {
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

/* Timers of a profiler. */
static volatile long ticks;
static void tick(int signal) { ticks++, (void)signal; }
static void a_profilers_timer_does_no_harm(void) {
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    pthread_t threads[4];
    CHECK_EQ(sigaction(SIGPROF, &action, NULL), 0);
    start((needm_config){.binding = binding});
    CHECK_EQ(setitimer(ITIMER_PROF, &every, NULL), 0);
    over = 0;
    for (int i = 0; i < 3; i++) threads[i] = thread(calls_all_the_time, NULL);
    threads[3] = thread(others_come_and_go, NULL);
    while (ticks < rounds(300)) usleep(1000);
    over = 1;
    for (int i = 0; i < 4; i++) join(threads[i]);
    setitimer(ITIMER_PROF, &never, NULL);
    CHECK_EQ(needm_stop(), 0);
    signal(SIGPROF, SIG_IGN);
}

/* Forks of a process whose other threads are busy with all sorts of things. */
static void *stops_the_world(void *arg) {
    while (!over) {
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
    }
    return arg;
}
static void a_child(void) {
    alarm(20);
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    if (!emulated()) { /* qemu-user fails on these in a child of a process with threads */
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        for (int i = 0; i < 3; i++) join(thread(calls_once, NULL));
    }
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(sum, 1);
}
static void forks(void *arg) {
    (void)arg;
    CHECK_CHILD(a_child);
}
static void children_of_a_busy_process_call_back_at_once(void) {
    pthread_t threads[5];
    start((needm_config){.binding = binding, .max_ms = 6});
    over = 0;
    for (int i = 0; i < 2; i++) threads[i] = thread(calls_all_the_time, NULL);
    for (int i = 2; i < 4; i++) threads[i] = thread(others_come_and_go, NULL);
    threads[4] = thread(stops_the_world, NULL);
    for (int i = 0; i < rounds(100); i++) {
        CHECK_CHILD(a_child);
        CHECK_EQ(needm_callback(forks, NULL, 0, NULL), 0);
    }
    over = 1;
    for (int i = 0; i < 5; i++) join(threads[i]);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}

int main(int argc, char **argv) {
    self = argv[0];
    if (argc > 1 && strcmp(argv[1], "again") == 0) {
        start((needm_config){0});
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_stop(), 0);
        return SUCCESS;
    }
    seed = parse_seed(argc, argv, &binding);
    RUN(a_callback_before_main_is_refused_or_runs);
    RUN(callbacks_at_the_exit_of_the_process_run_or_are_refused);
    RUN(exec_and_vfork_work_in_and_out_of_callbacks);
    RUN(threads_cancelled_by_others_lose_nothing);
    RUN(children_of_a_busy_process_call_back_at_once);
    if (handlers_lose_their_thread()) return SUCCESS;
    RUN(changing_who_one_is_works_while_threads_are_inside);
    RUN(a_profilers_timer_does_no_harm);
    return SUCCESS;
}
