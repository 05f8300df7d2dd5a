/* A handler jumps out of needm's code at any instruction, and its thread goes on: out of needm_attach, needm_detach,
 * a first callback and a later one. A later call of that thread's finds what was just being bound or unbound: no M stays
 * bound but the thread's own, and needm can be stopped while the thread lives. */
#include "check.h"
#include <setjmp.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"

static sigjmp_buf out;
static void jump_out(void) { siglongjmp(out, 1); }

static void call(void) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
}
static void attach(void) { CHECK_EQ(needm_attach(), 0); }
static void detach(void) { CHECK_EQ(needm_detach(), 0); }

static needm_config config = {.seed_ms = 3, .stack_size = 64 * 1024};
static void begin(void) {
    start(config);
    handle_steps(); /* on top of needm's, for which SIGTRAP would be a fault */
}
static void hook(void *user, needm_m *m) { (void)user, (void)m; }
static const needm_hooks hooks = {.size = sizeof hooks, .minit = hook, .unminit = hook};

/* `before`, then `stepped`, which is left, or comes to its end. */
static void (*before)(void), (*stepped)(void);
static ON_ITS_STACK void leave(void) {
    if (sigsetjmp(out, 1) == 0) {
        steps_on();
        stepped();
        steps_off();
    }
}
/* Steps are slow on a virtual machine, and so is a stop if something else was left: not each is tried. */
#ifndef STRIDE
#define STRIDE 9
#endif
enum { RUNS_PER_STOP = 100 };
static long at, run;
static void *leaves(void *arg) {
    if (before) before();
    leave();
    overwrite();
    call();
    /* The fast path that rebinds an M notes nothing. */
    if (stepped != call || before != call) {
        CHECK_EQ(stats().ms_bound, needm_self() != NULL);
        if (config.binding == NEEDM_BIND_CALL && stepped == call) CHECK_EQ(stats().ms_bound, 0);
    }
    if (run % RUNS_PER_STOP == 0 && before != call) {
        CHECK_EQ(needm_stop(), 0);
        begin();
        call();
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(stats().ms_bound, 0);
    if (run % RUNS_PER_STOP == 1) {
        CHECK_EQ(needm_stop(), 0);
        begin();
    }
    return arg;
}
static void at_every_instruction_of(void (*path)(void), void (*first)(void)) {
    stepped = path;
    before = first;
    at = run++ % STRIDE; /* else the next time at others */
    for (reached = 1; reached; at += STRIDE, run++) {
        reached = 0;
        countdown = at;
        join(thread(leaves, NULL));
    }
    fprintf(stderr, "  to instruction %ld\n", at);
    CHECK(at > 15);
}
static void first_callbacks(void) { at_every_instruction_of(call, NULL); }
static void later_callbacks(void) { at_every_instruction_of(call, call); }
static void attaches(void) { at_every_instruction_of(attach, NULL); }
static void detaches(void) { at_every_instruction_of(detach, attach); }
static void detaches_after_a_callback(void) { at_every_instruction_of(detach, call); }

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    (void)argv;
    config.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    at_instruction = jump_out;
    for (int with_hooks = 0; with_hooks < 2; with_hooks++) {
        config.hooks = with_hooks ? &hooks : NULL;
        begin();
        RUN(first_callbacks);
        RUN(later_callbacks);
        RUN(attaches);
        RUN(detaches);
        RUN(detaches_after_a_callback);
        CHECK_EQ(needm_stop(), 0);
    }
    return SUCCESS;
}
#endif
