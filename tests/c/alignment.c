/* i386: a caller may have aligned its stack to 4 bytes only, in every function of needm.h. What
 * needm calls starts with an aligned stack all the same. */
#include "check.h"

#ifndef CALL_MISALIGNED
int main(void) {
    fprintf(stderr, "skipped: every caller aligns its stack\n");
    return SUCCESS;
}
#else
static unsigned off;
static long call(void *function, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
    uintptr_t arguments[4] = {a, b, c, d};
    return CALL_MISALIGNED(function, arguments, off);
}
#define CALL(function, a, b, c, d) \
    call((void *)(function), (uintptr_t)(a), (uintptr_t)(b), (uintptr_t)(c), (uintptr_t)(d))

static volatile int called;
__attribute__((noinline)) static void is_aligned(void) {
    CHECK(CALL_IS_ALIGNED);
    called++;
}
/* Called with an aligned stack, a compiler keeps it so. */
static void in_c(void *arg) {
    (void)arg;
    is_aligned();
}
static void recovers(void *arg) {
    (void)arg;
    is_aligned();
    CHECK_EQ(CALL(needm_recover, NULL, 0, 0, 0), 1);
}
static void ends(void *how) {
    static needm_defer defer;
    is_aligned();
    CHECK_EQ(CALL(needm_defer_push, &defer, recovers, NULL, 0), 0);
    CHECK_EQ(CALL(needm_ccall, in_c, NULL, 0, 0), 0);
    CHECK_EQ(CALL(needm_callback, in_c, NULL, 0, NULL), 0);
    CALL(needm_safepoint, 0, 0, 0, 0);
    if (how) CALL(needm_panic, how, 0, 0, 0);
    fault(NULL);
}
static int m_new(void *user, needm_m *m) {
    (void)user, (void)m;
    is_aligned();
    return 0;
}
static void on_m(void *user, needm_m *m) {
    (void)user, (void)m;
    is_aligned();
}
static int visit(const needm_m *m, void *sp, void *hi, void *arg) {
    (void)m, (void)sp, (void)hi, (void)arg;
    is_aligned();
    return 0;
}
static volatile int spawned;
static void is_spawned(void *arg) {
    (void)arg;
    is_aligned();
    spawned = 1;
}
static void all_functions(void) {
    needm_hooks hooks = {.size = sizeof hooks, .m_new = m_new, .m_free = on_m, .minit = on_m, .unminit = on_m};
    needm_config config = {.size = sizeof config, .hooks = &hooks};
    needm_stats now = {.size = sizeof now};
    char frame[100] = {0};
    void *lo, *hi;
    CHECK_EQ(CALL(needm_start, &config, 0, 0, 0), 0);
    CHECK_EQ(CALL(needm_callback, ends, frame, sizeof frame, NULL), 0);
    CHECK_EQ(CALL(needm_callback, ends, NULL, 0, NULL), 0);
    CHECK_EQ(CALL(needm_attach, 0, 0, 0, 0), 0);
    CHECK_EQ(CALL(needm_prefault, 8192, 0, 0, 0), 0);
    uintptr_t m = (uintptr_t)CALL(needm_self, 0, 0, 0, 0);
    CHECK(m != 0);
    CHECK_EQ(CALL(needm_g_bounds, m, &lo, &hi, 0), 0);
    CALL(needm_m_set_local, m, &hooks, 0, 0);
    CHECK_EQ(CALL(needm_m_local, m, 0, 0, 0), (long)&hooks);
    CHECK(CALL(needm_m_id, m, 0, 0, 0) != 0);
    CHECK_EQ(CALL(needm_stop_the_world, 0, 0, 0, 0), 0);
    CHECK_EQ(CALL(needm_each_m, visit, NULL, 0, 0), 0);
    CHECK_EQ(CALL(needm_start_the_world, 0, 0, 0, 0), 0);
    CALL(needm_get_stats, &now, 0, 0, 0);
    CHECK_EQ(now.ms_bound, 1);
    CHECK_EQ(CALL(needm_spawn, is_spawned, NULL, 0, 0), 0);
    WAIT_UNTIL(spawned);
    CHECK_EQ(CALL(needm_detach, 0, 0, 0, 0), 0);
    CALL(needm_atfork_child, 0, 0, 0, 0);
    CHECK(CALL(needm_error_name, NEEDM_EINVAL, 0, 0, 0) != 0);
    CHECK_EQ(CALL(needm_depth, 0, 0, 0, 0), 0);
    CHECK_EQ(CALL(needm_stack_left, 0, 0, 0, 0), 0);
    CHECK_EQ(CALL(needm_version, 0, 0, 0, 0), NEEDM_VERSION);
    CHECK(CALL(needm_strerror, NEEDM_EINVAL, 0, 0, 0) != 0);
    long answer;
    WAIT_UNTIL((answer = CALL(needm_stop, 0, 0, 0, 0)) != NEEDM_EBUSY);
    CHECK_EQ(answer, 0);
    CHECK(called > 0);
}
int main(void) {
    for (off = 0; off < 16; off += 4) CHECK_CHILD(all_functions);
    return SUCCESS;
}
#endif
