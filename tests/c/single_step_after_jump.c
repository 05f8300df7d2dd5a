/* C that an inner callback has called jumps to the callback around it (longjmp), which calls a function of needm's. At any
 * instruction of that a handler asks to end the callback. The inner one, which was jumped out of, does not come back. */
#include "check.h"
#include <setjmp.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"

static jmp_buf back;
static needm_m *target;
static void asks(void) { needm_interrupt(target, NULL); }

static void jumps(void *arg) {
    (void)arg;
    _longjmp(back, 1);
}
static void inner(void *arg) { needm_ccall(jumps, arg); }
static void calls_inner(void *arg) {
    needm_callback(inner, arg, 0, NULL);
    CHECK(!"the inner callback comes back");
}
static void calls_back(void) { needm_callback(nothing, NULL, 0, NULL); }
static void calls_c(void) { needm_ccall(nothing, NULL); }
static void stops_the_world(void) {
    if (needm_stop_the_world_within(0) == 0) needm_start_the_world();
}
static void (*function)(void);
static void goes_on_around_it(void *arg) {
    if (_setjmp(back) == 0) needm_ccall(calls_inner, arg);
    steps_on();
    function();
    steps_off();
}
static void at_each_instruction_of(void (*called)(void)) {
    const long stride = 3;
    long at = 0, ended = 0;
    function = called;
    do {
        countdown = at;
        reached = 0;
        int result = needm_callback(goes_on_around_it, NULL, 0, NULL);
        steps_off();
        CHECK(result == 0 || result == NEEDM_EINTERRUPTED);
        ended += result != 0;
        CHECK_EQ(needm_depth(), 0);
        at += stride;
    } while (reached);
    CHECK(ended > 0);
    fprintf(stderr, "%ld of %ld callbacks ended\n", ended, at / stride);
}

int main(int argc, char **argv) {
    uint32_t binding = argc > 1 && strcmp(argv[1], "call") == 0 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    if (emulated()) return SUCCESS;
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_attach(), 0);
    target = needm_self();
    flags_of_handler = SA_ONSTACK;
    at_instruction = asks;
    handle_steps();
    at_each_instruction_of(calls_back);
    at_each_instruction_of(calls_c);
    at_each_instruction_of(stops_the_world);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
#endif
