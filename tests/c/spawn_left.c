/* needm_spawn that does not return: C jumps out of it, or the process forks in its middle. */
#include "check.h"
#include <setjmp.h>

static uint32_t binding;
static sigjmp_buf out;
static volatile int made, left, may_go_on, ran, may_fork, is_child;
static void runs(void *arg) {
    CHECK_EQ((intptr_t)arg, 0x1234);
    ran++;
}
static void use_the_stack(void) {
    volatile char frames[16384];
    for (size_t i = 0; i < sizeof frames; i++) frames[i] = 0x41;
}

static void wait_until_asleep(pid_t thread) {
    char path[64], state = 0;
    sprintf(path, "/proc/self/task/%d/stat", thread);
    while (state != 'S') {
        FILE *file = fopen(path, "r");
        CHECK(file != NULL);
        CHECK_EQ(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
        fclose(file);
    }
}

/* The hook's thread begins when it may. */
typedef void *(*main_of_thread)(void *);
static main_of_thread runs_main;
static void *starts_late(void *arg) {
    made = 1;
    while (!may_go_on) usleep(100);
    return runs_main(arg);
}
static int make(main_of_thread main, void *arg) {
    pthread_t made_now;
    int refused = pthread_create(&made_now, NULL, main, arg);
    if (!refused) pthread_detach(made_now);
    return refused;
}
static int makes_a_late_one(void *user, main_of_thread main, void *arg) {
    (void)user;
    runs_main = main;
    return make(starts_late, arg);
}

/* A handler jumps out of the wait for the new thread. */
static void leaves(int signal) {
    (void)signal;
    siglongjmp(out, 1);
}
static volatile pid_t waiter;
static void spawn_and_leave(void *arg) {
    if (sigsetjmp(out, 1) == 0) needm_spawn(runs, arg);
    else left = 1;
    use_the_stack();
}
static void *is_left_waiting(void *in_a_callback) {
    waiter = gettid();
    if (in_a_callback) CHECK_EQ(needm_callback(spawn_and_leave, (void *)0x1234, 0, NULL), 0);
    else spawn_and_leave((void *)0x1234);
    use_the_stack();
    while (!ran) usleep(100), use_the_stack();
    return NULL;
}
static void a_new_thread_runs_though_its_spawner_has_jumped_away(void) {
    needm_hooks hooks = NEEDM_HOOKS_INIT;
    hooks.thread_start = makes_a_late_one;
    handle(SIGUSR1, leaves);
    for (int i = 0; i < 2; i++) {
        made = left = may_go_on = ran = 0;
        start((needm_config){.binding = binding, .hooks = &hooks});
        pthread_t spawner = thread(is_left_waiting, i ? &binding : NULL);
        while (!made) usleep(100);
        wait_until_asleep(waiter);
        CHECK_EQ(needm_stop(), NEEDM_EBUSY);
        CHECK_EQ(pthread_kill(spawner, SIGUSR1), 0);
        while (!left) usleep(100);
        may_go_on = 1;
        join(spawner);
        stop_when_idle();
        CHECK_EQ(ran, 1);
    }
}

/* The hook jumps out, before or after it makes a thread. */
static volatile int makes_one;
static int jumps_out(void *user, main_of_thread main, void *arg) {
    (void)user;
    if (makes_one) CHECK_EQ(make(main, arg), 0);
    siglongjmp(out, 1);
}
static void *is_left_in_the_hook(void *arg) {
    for (volatile int i = 0; i < 4; i++) {
        if (i & 1) CHECK_EQ(needm_callback(spawn_and_leave, (void *)0x1234, 0, NULL), 0);
        else spawn_and_leave((void *)0x1234);
        use_the_stack();
    }
    return arg;
}
static void a_stop_does_not_wait_for_a_thread_that_was_not_made(void) {
    needm_hooks hooks = NEEDM_HOOKS_INIT;
    hooks.thread_start = jumps_out;
    makes_one = 0;
    start((needm_config){.binding = binding, .hooks = &hooks});
    is_left_in_the_hook(NULL);
    CHECK_EQ(needm_stop(), 0);
    start((needm_config){.binding = binding, .hooks = &hooks});
    join(thread(is_left_in_the_hook, NULL));
    CHECK_EQ(needm_stop(), 0);
}
static void a_hook_may_jump_out_when_it_has_made_the_thread(void) {
    needm_hooks hooks = NEEDM_HOOKS_INIT;
    hooks.thread_start = jumps_out;
    makes_one = 1;
    ran = 0;
    start((needm_config){.binding = binding, .hooks = &hooks});
    join(thread(is_left_in_the_hook, NULL));
    stop_when_idle();
    CHECK(ran <= 4);
}

/* A fork in the hook, or in a handler that has interrupted it: the child makes the thread, too. */
static pid_t child;
static void forks(int signal) {
    (void)signal;
    if (!may_fork) return;
    may_fork = 0;
    child = fork();
    CHECK(child >= 0);
    is_child = !child;
}
static volatile int by_a_handler;
static int forks_and_makes(void *user, main_of_thread main, void *arg) {
    (void)user;
    if (by_a_handler) raise(SIGUSR1);
    else forks(SIGUSR1);
    return make(main, arg);
}
static void child_is_well(int status) {
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), SUCCESS);
}
static void in_the_child_needm_can_be_stopped(void) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    stop_when_idle();
    _exit(SUCCESS);
}
static void *forks_in_the_hook(void *arg) {
    int status;
    may_fork = 1;
    CHECK_EQ(needm_spawn(runs, (void *)0x1234), 0);
    if (is_child) in_the_child_needm_can_be_stopped();
    CHECK_EQ(waitpid(child, &status, 0), child);
    child_is_well(status);
    return arg;
}
static void a_child_of_the_hook_spawns_its_thread(void) {
    needm_hooks hooks = NEEDM_HOOKS_INIT;
    hooks.thread_start = forks_and_makes;
    handle(SIGUSR1, forks);
    for (by_a_handler = 0; by_a_handler < 2; by_a_handler++) {
        start((needm_config){.binding = binding, .hooks = &hooks});
        join(thread(forks_in_the_hook, NULL));
        stop_when_idle();
    }
}

/* A fork by a handler that has interrupted the wait: the child has no such thread. */
static void *forks_waiting(void *arg) {
    waiter = gettid();
    may_fork = 1;
    int answer = needm_spawn(runs, (void *)0x1234);
    CHECK_EQ(answer, is_child ? NEEDM_ESYS : 0);
    if (is_child) in_the_child_needm_can_be_stopped();
    return arg;
}
static void a_child_does_not_wait_for_a_thread_of_its_parent(void) {
    int status;
    needm_hooks hooks = NEEDM_HOOKS_INIT;
    hooks.thread_start = makes_a_late_one;
    made = may_go_on = 0;
    start((needm_config){.binding = binding, .hooks = &hooks});
    pthread_t spawner = thread(forks_waiting, NULL);
    while (!made) usleep(100);
    wait_until_asleep(waiter);
    CHECK_EQ(pthread_kill(spawner, SIGUSR1), 0);
    while (may_fork) usleep(100);
    may_go_on = 1;
    join(spawner);
    CHECK_EQ(waitpid(child, &status, 0), child);
    child_is_well(status);
    stop_when_idle();
}

int main(int argc, char **argv) {
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    alarm(240);
    RUN(a_new_thread_runs_though_its_spawner_has_jumped_away);
    RUN(a_stop_does_not_wait_for_a_thread_that_was_not_made);
    RUN(a_hook_may_jump_out_when_it_has_made_the_thread);
    if (!emulated()) { /* qemu-user fails on threads in the child of a process with threads */
        RUN(a_child_of_the_hook_spawns_its_thread);
        RUN(a_child_does_not_wait_for_a_thread_of_its_parent);
    }
    return SUCCESS;
}
