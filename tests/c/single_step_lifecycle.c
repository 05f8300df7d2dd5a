/* A handler between two instructions of needm_start, needm_stop and needm_stop_within jumps out of it, or ends the
 * thread: needm can be started, called back to and stopped all the same. A number as the argument is the
 * distance from one instruction to the next. */
#include "check.h"
#include <setjmp.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"
#include <sys/syscall.h>

static needm_config config = {.size = sizeof config};
static sigjmp_buf out;
static void jump_out(void) { siglongjmp(out, 1); }
static void end_the_thread(void) { syscall(SYS_exit, 0); }

static void call_and_check(void) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
}
static int starts(void) { return needm_start(&config); }
static int stops_at_once(void) { return needm_stop_within(0); }
static int is_stepped(int (*function)(void)) {
    steps_on();
    int answer = function();
    steps_off();
    return answer;
}

/* needm is started, or is not. */
static void go_on(void) {
    int answer = needm_start(&config);
    CHECK(answer == 0 || answer == NEEDM_EALREADY);
    call_and_check();
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(needm_stop(), NEEDM_ENOTSTARTED);
}
static int (*stepped)(void);
static int calls_back, goes_on_itself, stays;
static volatile int is_out, may_exit;
static volatile pid_t runner;
/* The thread's next call may be any. */
ON_ITS_STACK static void *runs(void *arg) {
    runner = gettid();
    if (calls_back) call_and_check();
    if (sigsetjmp(out, 1) == 0) CHECK_EQ(is_stepped(stepped), 0);
    if (goes_on_itself) go_on();
    if (stays) {
        overwrite();
        needm_self();
        is_out = 1;
        WAIT_UNTIL(may_exit);
    }
    return arg;
}
static int in_a_thread;
static long stride = 121, first;
static void step(int (*function)(void)) {
    long at = first++ % stride;
    stepped = function;
    for (reached = 1; reached; at += stride) {
        if (function != starts) CHECK_EQ(needm_start(&config), 0);
        reached = 0;
        countdown = at;
        if (stays) {
            is_out = may_exit = 0;
            pthread_t made = thread(runs, NULL);
            WAIT_UNTIL(is_out);
            go_on();
            may_exit = 1;
            join(made);
        } else if (in_a_thread) {
            join(thread(runs, NULL));
            /* Linux wakes the join a moment before the thread is gone. */
            WAIT_UNTIL(syscall(SYS_tgkill, getpid(), runner, 0) != 0);
        } else {
            runs(NULL);
        }
        if (!goes_on_itself) go_on();
    }
    fprintf(stderr, "  to instruction %ld\n", at);
    CHECK(at > 100);
}
static void step_all(void) {
    step(starts);
    for (calls_back = 0; calls_back < 2; calls_back++) {
        step(needm_stop);
        step(stops_at_once);
    }
    calls_back = 0;
}

static void jumps_on_the_first_thread(void) {
    at_instruction = jump_out;
    goes_on_itself = 1;
    step_all();
}
static void jumps_on_another_thread(void) {
    in_a_thread = 1;
    step_all();
}
/* The thread goes on with another call, and another thread starts and stops needm. */
static void jumps_on_a_thread_that_stays(void) {
    goes_on_itself = 0;
    stays = 1;
    step_all();
    stays = 0;
}
static void exits(void) {
    at_instruction = end_the_thread;
    step_all();
}

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "call") == 0) config.binding = NEEDM_BIND_CALL;
        else stride = atol(argv[i]);
    config.flags = more_flags();
    /* What the C library does once. */
    CHECK_EQ(needm_start(&config), 0);
    CHECK_EQ(needm_stop(), 0);
    handle_steps();
    RUN(jumps_on_the_first_thread);
    RUN(jumps_on_another_thread);
    RUN(jumps_on_a_thread_that_stays);
    RUN(exits);
    return SUCCESS;
}
#endif
