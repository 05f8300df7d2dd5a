/* What hooks may call of needm: each function is refused in a hook, or works. */
#include "filter.h"

static uint32_t binding;
static __thread int checks; /* in the hooks of this thread */
static volatile long hooks_run;
static volatile int in_exit;

static void must_not_run(void *arg) {
    (void)arg;
    CHECK(0);
}
static volatile long spawned;
static void runs(void *arg) {
    (void)arg;
    __sync_fetch_and_add(&spawned, 1);
}
static int visit(const needm_m *m, void *arg) {
    (void)m, (void)arg;
    return 0;
}
/* Outside callbacks, whatever else goes on. */
static void check_what_is_for_callbacks(void) {
    needm_stack old;
    needm_defer defer;
    char other[64];
    CHECK_EQ(needm_ccall(must_not_run, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack(other, other + sizeof other, &old), NEEDM_EINVAL);
    CHECK_EQ(needm_defer_push(&defer, must_not_run, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_depth(), 0);
}
static void check_the_world(void) {
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_each_inside(visit, NULL), 0);
}
static void check_in_a_closed_needm(void) {
    check_what_is_for_callbacks();
    CHECK_EQ(needm_start(NULL), NEEDM_EALREADY);
    CHECK_EQ(needm_stop(), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_attach(), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_detach(), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_spawn(runs, NULL), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_stop_the_world(), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_each_inside(visit, NULL), NEEDM_ENOTSTARTED);
}
static int m_new(void *user, needm_m *m) {
    (void)user, (void)m;
    if (checks) check_in_a_closed_needm();
    return 0;
}
static void m_free(void *user, needm_m *m) {
    (void)user, (void)m;
    if (checks) check_in_a_closed_needm();
}
static void of_a_thread(void *user, needm_m *m) {
    (void)user, (void)m;
    if (!checks) return;
    hooks_run++;
    check_what_is_for_callbacks();
    CHECK_EQ(needm_start(NULL), NEEDM_EALREADY);
    CHECK_EQ(needm_stop(), NEEDM_EBUSY);
    CHECK_EQ(needm_stop_within(0), NEEDM_EBUSY);
    CHECK_EQ(needm_attach(), NEEDM_EBUSY);
    CHECK_EQ(needm_detach(), NEEDM_EBUSY);
    if (in_exit) return;
    check_the_world();
    long before = spawned;
    CHECK_EQ(needm_spawn(runs, NULL), 0);
    WAIT_UNTIL(spawned != before);
}
static int thread_start(void *user, void *(*fn)(void *), void *arg) {
    (void)user;
    if (checks == 2) {
        check_what_is_for_callbacks();
        CHECK_EQ(needm_start(NULL), NEEDM_EALREADY);
        CHECK_EQ(needm_stop(), NEEDM_EBUSY);
        checks = 0;
        CHECK_EQ(needm_attach(), 0);
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        CHECK_EQ(needm_detach(), 0);
        checks = 2;
        check_the_world();
    }
    pthread_t made;
    int refused = pthread_create(&made, NULL, fn, arg);
    if (refused == 0) pthread_detach(made);
    return refused;
}

static void *comes_and_goes(void *arg) {
    checks = 1;
    long before = hooks_run;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(hooks_run, before + 2);
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(hooks_run, before + 4);
    checks = 2;
    CHECK_EQ(needm_spawn(runs, NULL), 0);
    checks = 0;
    CHECK_EQ(needm_attach(), 0);
    checks = 1;
    in_exit = 1;
    return arg;
}
static const needm_hooks hooks = {.size = sizeof hooks, .m_new = m_new, .m_free = m_free, .minit = of_a_thread,
                                  .unminit = of_a_thread, .thread_start = thread_start};
static void each_function_is_refused_or_works(void) {
    checks = 1;
    start((needm_config){.binding = binding, .seed_ms = 8, .hooks = &hooks});
    in_exit = 0;
    join(thread(comes_and_goes, NULL));
    CHECK_EQ(hooks_run, 5);
    WAIT_UNTIL(stats().ms_bound == 0);
    stop_when_idle();
}

static void panics(void *user, needm_m *m) { (void)user, (void)m, needm_panic(NULL); }
static void panic_in_minit(void) {
    needm_hooks with_a_panic = {.size = sizeof with_a_panic, .minit = panics};
    start((needm_config){.binding = binding, .hooks = &with_a_panic});
    needm_attach();
}
static void a_panic_of_minit_aborts(void) { CHECK_DIES(panic_in_minit, SIGABRT); }

int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    RUN(each_function_is_refused_or_works);
    RUN(a_panic_of_minit_aborts);
    return SUCCESS;
}
