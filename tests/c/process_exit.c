/* Callbacks before main and at the exit of the process; exec and vfork. */
#include "check.h"
#include <sched.h>

static uint32_t binding;
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
static void before_main_a_callback_is_refused_before_the_start_and_runs_after_it(void) { CHECK_EQ(before_main, NEEDM_ENOTSTARTED); }
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
static void at_exit_callbacks_run_until_the_stop_and_are_refused_after_it(void) {
    CHECK_CHILD(exits_with_callbacks_running);
    CHECK_CHILD(exits_inside);
    CHECK_CHILD(exits_stopped);
}

/* exec, with and without vfork: natively, because Linux cannot execute what an emulator can. */
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
static void exec_and_vfork_work_inside_and_outside_callbacks(void) {
    if (emulated()) return;
    CHECK_CHILD(execs_in_a_callback);
    start((needm_config){.binding = binding});
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) threads[i] = thread(vforks_often, NULL);
    for (int i = 0; i < 3; i++) join(threads[i]);
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
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    RUN(before_main_a_callback_is_refused_before_the_start_and_runs_after_it);
    RUN(at_exit_callbacks_run_until_the_stop_and_are_refused_after_it);
    RUN(exec_and_vfork_work_inside_and_outside_callbacks);
    return SUCCESS;
}
