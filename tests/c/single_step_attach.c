/* A handler between any two instructions of needm_attach calls back, on the signal stack if there is one. Its return puts
 * back what signal stack was there before. Still the thread is ready when it is attached: callbacks make no system call. */
#include "check.h"

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"

/* Steps are slow on a virtual machine: not each is tried. */
#ifndef STRIDE
#define STRIDE 17
#endif
static void calls_back(void) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
}
static void *attaches(void *arg) {
    stack_t now;
    steps_on();
    CHECK_EQ(needm_attach(), 0);
    steps_off();
    CHECK_EQ(sigaltstack(NULL, &now), 0);
    CHECK(!(now.ss_flags & SS_DISABLE));
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_detach(), 0);
    return arg;
}
static void a_thread_that_is_attached_is_ready(void) {
    long at = 0;
    at_instruction = calls_back;
    for (reached = 1; reached; at += STRIDE) {
        reached = 0;
        countdown = at;
        join(thread(attaches, NULL));
    }
    fprintf(stderr, "  to instruction %ld\n", at);
    CHECK(at > 100);
}

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    flags_of_handler = SA_ONSTACK;
    handle_steps();
    RUN(a_thread_that_is_attached_is_ready);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
#endif
