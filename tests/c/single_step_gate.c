/* A handler between the instructions of a thread that comes to the gate of a stopped world: what it calls back waits
 * as well, also where the thread counts as running for the moment, before it looks at the gate. */
#include "check.h"

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"
#include <sys/syscall.h>

static volatile long ran;
static volatile int ready, may_go, stepped_id;
static void runs(void *arg) {
    ran++;
    (void)arg;
}
static void call_back(void) {
    CHECK_EQ(needm_callback(runs, NULL, 0, NULL), 0);
}
static void wait_for_the_stop(void) {
    ready = 1;
    WAIT_UNTIL(may_go);
    stepped_id = (int)syscall(SYS_gettid);
    steps_on();
}

static void *comes_by_a_callback(void *arg) {
    CHECK_EQ(needm_callback(runs, NULL, 0, NULL), 0);
    wait_for_the_stop();
    CHECK_EQ(needm_callback(runs, NULL, 0, NULL), 0);
    steps_off();
    return arg;
}
static void in_c(void *arg) {
    (void)arg;
    wait_for_the_stop();
}
static void calls_c(void *arg) {
    CHECK_EQ(needm_ccall(in_c, arg), 0);
    runs(arg);
    steps_off();
}
static void *comes_back_from_c(void *arg) {
    CHECK_EQ(needm_callback(calls_c, NULL, 0, NULL), 0);
    return arg;
}

static int sleeps(int thread) {
    char path[64], state = 0;
    sprintf(path, "/proc/self/task/%d/stat", thread);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    CHECK_EQ(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
    fclose(file);
    return state == 'S';
}
/* The stepped thread comes to the gate, and sleeps there, or its handler does. */
static void run_in_a_stopped_world(void *(*comes)(void *)) {
    ready = may_go = stepped_id = 0;
    pthread_t stepped = thread(comes, NULL);
    WAIT_UNTIL(ready);
    CHECK_EQ(needm_stop_the_world(), 0);
    long then = ran;
    may_go = 1;
    WAIT_UNTIL(stepped_id != 0 && sleeps(stepped_id));
    CHECK_EQ(ran, then);
    CHECK_EQ(needm_start_the_world(), 0);
    join(stepped);
}
/* The end of the callback of a handler that has interrupted another one, which counts as running still: the
 * stop waits for it, or for its handlers to wait. */
static volatile int stopper_id;
static void ends_while_another_thread_stops(void *arg) {
    ready = 1;
    WAIT_UNTIL(stopper_id != 0 && sleeps(stopper_id));
    steps_on();
    (void)arg;
}
static void call_back_and_step(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(ends_while_another_thread_stops, NULL, 0, NULL), 0);
    steps_off();
}
static void is_interrupted(void *arg) {
    CHECK_EQ(raise(SIGUSR1), 0);
    (void)arg;
}
static void *is_interrupted_in_a_callback(void *arg) {
    CHECK_EQ(needm_callback(is_interrupted, NULL, 0, NULL), 0);
    return arg;
}
static void run_beside_a_stop(void *(*comes)(void *)) {
    ready = stopper_id = 0;
    pthread_t stepped = thread(comes, NULL);
    WAIT_UNTIL(ready);
    stopper_id = (int)syscall(SYS_gettid);
    CHECK_EQ(needm_stop_the_world_within(600000000000), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    join(stepped);
}
/* At every second instruction: the thread counts as running for more than one before it looks. */
static void at_each_instruction(void (*run)(void *(*)(void *)), void *(*comes)(void *)) {
    long at = 0;
    for (reached = 1; reached; at += 2) {
        reached = 0;
        countdown = at;
        run(comes);
    }
    fprintf(stderr, "  to instruction %ld\n", at);
    CHECK(at > 100);
}
static void a_handler_waits_where_a_callback_waits(void) {
    at_each_instruction(run_in_a_stopped_world, comes_by_a_callback);
}
static void a_handler_waits_where_a_callback_comes_back(void) {
    at_each_instruction(run_in_a_stopped_world, comes_back_from_c);
}
static void a_stop_does_not_wait_for_handlers_over_the_end_of_another(void) {
    struct sigaction usr1 = {.sa_handler = call_back_and_step, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &usr1, NULL), 0);
    at_each_instruction(run_beside_a_stop, is_interrupted_in_a_callback);
}

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    at_instruction = call_back;
    flags_of_handler = SA_ONSTACK;
    handle_steps();
    RUN(a_handler_waits_where_a_callback_waits);
    RUN(a_handler_waits_where_a_callback_comes_back);
    RUN(a_stop_does_not_wait_for_handlers_over_the_end_of_another);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
#endif
