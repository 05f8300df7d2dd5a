/* A handler jumps out of needm's code at any instruction, and its thread goes on: out of needm_attach, needm_detach,
 * a first callback and a later one. A later call of that thread's finds what was just being bound or unbound: no M stays
 * bound but the thread's own, and needm can be stopped while the thread lives. Nor is an M unbound that is in use. */
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

/* A handler's callback is left while one is under way that began on the fast path which rebinds an M. Then another handler
 * calls back at the end of that one, whose M is still bound, and looks as if it were left: no other thread gets it. */
enum { MS = 3, LEAVE_FIRST = 400, LEAVE_LAST = 1000, LEAVE_STRIDE = 293 };
static long leave_at, end_at;
static int got_it;
static needm_m *rebound;
static int holders, refused, let_go;
static pthread_t holding[MS];
static void hold(void *arg) {
    (void)arg;
    __atomic_fetch_add(&holders, 1, __ATOMIC_SEQ_CST);
    WAIT_UNTIL(__atomic_load_n(&let_go, __ATOMIC_SEQ_CST));
}
static void *holds_an_m(void *arg) {
    if (needm_callback(hold, arg, 0, NULL) != 0) __atomic_fetch_add(&refused, 1, __ATOMIC_SEQ_CST);
    return arg;
}
static void leaves_a_callback(int signal) {
    (void)signal;
    at_instruction = jump_out;
    countdown = leave_at;
    reached = 0;
    if (sigsetjmp(out, 1) == 0) {
        steps_on();
        needm_callback(nothing, NULL, 0, NULL);
        steps_off();
    }
    overwrite();
}
static void look(void *m) { *(needm_m **)m = needm_self(); }
static void calls_back(void) {
    needm_m *m = NULL;
    needm_callback(look, &m, 0, NULL);
    got_it = m == rebound;
    if (!got_it) return;
    holders = refused = let_go = 0;
    for (int i = 0; i < MS; i++) holding[i] = thread(holds_an_m, NULL);
    WAIT_UNTIL(__atomic_load_n(&holders, __ATOMIC_SEQ_CST) + __atomic_load_n(&refused, __ATOMIC_SEQ_CST) == MS);
}
static void is_about_to_end(void *arg) {
    (void)arg;
    rebound = needm_self();
    CHECK_EQ(raise(SIGUSR1), 0);
    at_instruction = calls_back;
    countdown = end_at;
    reached = 0;
    steps_on();
}
static void *ends(void *arg) {
    got_it = 0;
    call();
    CHECK_EQ(needm_callback(is_about_to_end, arg, 0, NULL), 0);
    steps_off();
    if (got_it) {
        CHECK(stats().ms_bound >= (uint64_t)holders);
        let_go = 1;
        for (int i = 0; i < MS; i++) join(holding[i]);
    }
    overwrite();
    CHECK_EQ(needm_detach(), 0);
    return arg;
}
static void ends_of_callbacks_after_a_jump(void) {
    struct sigaction action = {.sa_handler = leaves_a_callback, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    needm_config before_it = config;
    config.max_ms = MS;
    config.wait_ns = 3000000;
    begin();
    for (leave_at = LEAVE_FIRST; leave_at < LEAVE_LAST; leave_at += LEAVE_STRIDE)
        for (end_at = 0, reached = 1; reached; end_at++) join(thread(ends, NULL));
    fprintf(stderr, "  to instruction %ld\n", end_at);
    CHECK(end_at > 15);
    CHECK_EQ(needm_stop(), 0);
    config = before_it;
    at_instruction = jump_out;
    begin();
}

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
        if (config.binding == NEEDM_BIND_CALL && !with_hooks) RUN(ends_of_callbacks_after_a_jump);
        CHECK_EQ(needm_stop(), 0);
    }
    return SUCCESS;
}
#endif
