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

int main(void) {
    RUN(needm_is_not_stopped_under_a_hook);
    RUN(hooks_run_in_order_and_as_often_as_they_must);
    return SUCCESS;
}
