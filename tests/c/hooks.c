/* The host's hooks for Ms. */
#include "check.h"

static int news, frees, ins, outs, refuse;
static int m_new(void *user, needm_m *m) {
    CHECK(user == &news);
    if (refuse) return 1;
    needm_m_set_local(m, &outs);
    news++;
    return 0;
}
static void m_free(void *user, needm_m *m) {
    frees++;
    CHECK(user == &news && m);
}
static void minit(void *user, needm_m *m) {
    CHECK(user == &news && needm_m_local(m) == &outs);
    ins++;
}
static void unminit(void *user, needm_m *m) {
    outs++;
    CHECK(user == &news && m);
}
static void hooks_run_in_order_and_as_often_as_they_must(void) {
    needm_hooks hooks = {.size = sizeof hooks, .user = &news, .m_new = m_new, .m_free = m_free,
                         .minit = minit, .unminit = unminit};
    needm_config config = {.size = sizeof config, .seed_ms = 2, .hooks = &hooks};
    refuse = 1;
    CHECK_EQ(needm_start(&config), NEEDM_ENOMEM);
    refuse = 0;
    for (int binding = 0; binding < 2; binding++) {
        news = frees = ins = outs = 0;
        config.binding = (uint32_t)binding;
        CHECK_EQ(needm_start(&config), 0);
        CHECK_EQ(news, 2);
        for (int i = 0; i < 5; i++) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        CHECK_EQ(ins, binding ? 5 : 1);
        CHECK_EQ(outs, binding ? 5 : 0);
        CHECK_EQ(needm_detach(), 0);
        CHECK_EQ(ins, outs);
        CHECK_EQ(needm_stop(), 0);
        CHECK_EQ(frees, news);
    }
}

/* A hook takes longer than a stop of needm waits. */
static volatile int in_hook, go_on, freed_in_hook, slow_minit;
static void takes_long(void) {
    in_hook = 1;
    WAIT_UNTIL(go_on);
    in_hook = 0;
}
static void m_free_seen(void *user, needm_m *m) {
    (void)user, (void)m;
    freed_in_hook += in_hook;
}
static void minit_takes_long(void *user, needm_m *m) {
    (void)user, (void)m;
    if (slow_minit) takes_long();
}
static void unminit_takes_long(void *user, needm_m *m) {
    (void)user, (void)m;
    if (!slow_minit) takes_long();
}
static void *calls_once(void *detaches) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    if (detaches) needm_detach();
    return detaches;
}
static void needm_is_not_stopped_under_a_hook(void) {
    needm_hooks hooks = {.size = sizeof hooks, .m_free = m_free_seen, .minit = minit_takes_long,
                         .unminit = unminit_takes_long};
    for (int way = 0; way < 6; way++) {
        slow_minit = way < 2;
        go_on = freed_in_hook = 0;
        start((needm_config){.hooks = &hooks, .binding = (uint32_t)way & 1});
        pthread_t made = thread(calls_once, way < 4 ? NULL : &hooks);
        WAIT_UNTIL(in_hook);
        CHECK_EQ(needm_stop(), NEEDM_EBUSY);
        CHECK_EQ(freed_in_hook, 0);
        go_on = 1;
        join(made);
        stop_when_idle();
    }
}

/* A hook for new Ms that is left by a fault or a panic: that ends the callback before which the M was to
 * be made, and costs no M. */
static int made, given_back, leaves_by, may_leave;
static int m_new_is_left(void *user, needm_m *m) {
    (void)user, (void)m;
    made++;
    if (may_leave && leaves_by == 0) fault(NULL);
    if (may_leave && leaves_by == 1) needm_panic(NULL);
    if (may_leave && leaves_by == 2) CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    return 0;
}
static void m_free_counts(void *user, needm_m *m) {
    (void)user, (void)m;
    given_back++;
}
static void *calls_when_a_hook_is_left(void *arg) {
    static const int ends[] = {NEEDM_EFAULT, NEEDM_EPANIC, 0};
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), ends[leaves_by]);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    return arg;
}
static void a_hook_that_is_left_costs_no_m(void) {
    needm_hooks hooks = {.size = sizeof hooks, .m_new = m_new_is_left, .m_free = m_free_counts};
    for (leaves_by = 0; leaves_by < 3; leaves_by++)
        for (uint32_t binding = 0; binding < 2; binding++) {
            may_leave = made = given_back = 0;
            start((needm_config){.hooks = &hooks, .binding = binding, .max_ms = 4, .wait_ns = 1000000000});
            may_leave = 1;
            for (int i = 0; i < (leaves_by < 2 ? 20 : 1); i++) join(thread(calls_when_a_hook_is_left, NULL));
            may_leave = 0;
            CHECK(stats().ms_total <= 2);
            if (leaves_by < 2) CHECK_EQ(made, 21);
            CHECK_EQ(needm_stop(), 0);
            CHECK_EQ(given_back, leaves_by < 2 ? 1 : 2);
        }
}

/* Hooks that call back: each gets another M, as far as there are some. */
static int depth_of_hooks, in_hooks;
static void calls_back(void *user, needm_m *m) {
    (void)user, (void)m;
    in_hooks++;
    if (depth_of_hooks < 3) {
        depth_of_hooks++;
        int result = needm_callback(nothing, NULL, 0, NULL);
        CHECK(result == 0 || result == NEEDM_ETIMEDOUT);
        depth_of_hooks--;
    }
}
static void hooks_may_call_back(void) {
    needm_hooks hooks = {.size = sizeof hooks, .m_free = m_free_counts, .minit = calls_back, .unminit = calls_back};
    for (uint32_t binding = 0; binding < 2; binding++) {
        in_hooks = given_back = 0;
        start((needm_config){.hooks = &hooks, .binding = binding, .max_ms = 6, .wait_ns = 10000000});
        for (int i = 0; i < 5; i++) join(thread(calls_once, NULL));
        CHECK(in_hooks >= 20);
        CHECK_EQ(stats().ms_bound, 0);
        uint64_t made_in_all = stats().ms_total;
        CHECK(made_in_all <= 6);
        CHECK_EQ(needm_stop(), 0);
        CHECK_EQ((uint64_t)given_back, made_in_all);
    }
}

int main(void) {
    RUN(needm_is_not_stopped_under_a_hook);
    RUN(hooks_run_in_order_and_as_often_as_they_must);
    RUN(a_hook_that_is_left_costs_no_m);
    RUN(hooks_may_call_back);
    return SUCCESS;
}
