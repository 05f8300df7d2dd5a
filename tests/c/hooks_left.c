/* Hooks that leave by a jump, of a thread that goes on: no stop waits for them. */
#include "filter.h"
#include <setjmp.h>

enum { M_NEW, MINIT, UNMINIT, HOOKS };
static jmp_buf out;
static volatile int which;
static __thread volatile int leaves;
static int runs(int hook) {
    if (leaves && which == hook) {
        leaves = 0;
        longjmp(out, 1);
    }
    return 0;
}
static int m_new(void *user, needm_m *m) {
    (void)user, (void)m;
    return runs(M_NEW);
}
static void minit(void *user, needm_m *m) { (void)user, (void)m, runs(MINIT); }
static void unminit(void *user, needm_m *m) { (void)user, (void)m, runs(UNMINIT); }

static volatile int has_left, may_exit;
static void *leaves_a_hook(void *arg) {
    leaves = 1;
    if (setjmp(out) == 0) {
        CHECK_EQ(needm_attach(), 0);
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        CHECK_EQ(needm_detach(), 0);
    }
    CHECK_EQ(leaves, 0);
    CHECK_EQ(needm_attach(), 0); /* which a hook that goes on is refused */
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    has_left = 1;
    WAIT_UNTIL(may_exit);
    return arg;
}
static void a_stop_of_the_world_does_not_wait_for_one(uint32_t binding) {
    needm_hooks hooks = {.size = sizeof hooks, .m_new = m_new, .minit = minit, .unminit = unminit};
    start((needm_config){.binding = binding, .hooks = &hooks});
    has_left = may_exit = 0;
    pthread_t one = thread(leaves_a_hook, NULL);
    WAIT_UNTIL(has_left);
    CHECK_EQ(needm_stop_the_world_within(600000000000), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    may_exit = 1;
    join(one);
    CHECK_EQ(stats().ms_bound, 0);
    stop_when_idle();
}

int main(int argc, char **argv) {
    uint32_t binding = parse_binding(argc, argv);
    for (which = 0; which < HOOKS; which++) {
        fprintf(stderr, "%s\n", which == M_NEW ? "m_new" : which == MINIT ? "minit" : "unminit");
        a_stop_of_the_world_does_not_wait_for_one(binding);
    }
    return SUCCESS;
}
