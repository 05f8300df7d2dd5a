/* Callers may align their stack less than the ABI asks today: every function works all the same, and
 * what it calls starts with an aligned stack. */
#include "check.h"

#if MISALIGNED_CALLERS
static int off;
static void aligned(void) { CHECK(CALL_IS_ALIGNED); }
static long call(void *fn, long a, long b, long c, long d) { return call_misaligned(off, fn, a, b, c, d); }
static void in_c(void *arg) { (void)arg, aligned(); }
static void deferred(void *arg) { (void)arg, aligned(), (void)needm_recover(NULL); }
static int visit(const needm_m *m, void *sp, void *hi, void *arg) {
    (void)m, (void)sp, (void)hi, (void)arg;
    aligned();
    return 0;
}
static int visit_inside(const needm_m *m, void *arg) { return (void)m, (void)arg, aligned(), 7; }
static void asks(void) {
    static char stack[16384] __attribute__((aligned(16384)));
    needm_stack old;
    void *lo, *hi, *sp;
    needm_m *m = (needm_m *)call(needm_self, 0, 0, 0, 0);
    CHECK_EQ((uint32_t)call(needm_m_id, (long)m, 0, 0, 0), (uint32_t)needm_m_id(m));
    call(needm_m_set_local, (long)m, (long)&old, 0, 0);
    CHECK_EQ(call(needm_m_local, (long)m, 0, 0, 0), (long)&old);
    CHECK_EQ(call(needm_g_bounds, (long)m, (long)&lo, (long)&hi, 0), 0);
    CHECK((char *)lo < (char *)&old && (char *)&old < (char *)hi);
    CHECK_EQ(call(needm_g0_sp, (long)m, (long)&sp, 0, 0), 0);
    CHECK_EQ((uint32_t)call(needm_m_thread, (long)m, 0, 0, 0), (uint32_t)needm_m_thread(m));
    CHECK(call(needm_m_stack_used, (long)m, 0, 0, 0) > 0);
    CHECK(call(needm_stack_left, 0, 0, 0, 0) > 0);
    CHECK_EQ(call(needm_depth, 0, 0, 0, 0), needm_depth());
    CHECK_EQ(call(needm_each_inside, (long)visit_inside, 0, 0, 0), 7);
    CHECK_EQ(call(needm_enter_stack, (long)stack, (long)(stack + sizeof stack), (long)&old, 0), 0);
    CHECK_EQ(call(needm_leave_stack, (long)&old, 0, 0, 0), 0);
}
static void interrupts_itself(void *m) {
    (void)m, aligned();
    call(needm_interrupt, (long)needm_self(), 0, 0, 0);
    for (;;) call(needm_safepoint, 0, 0, 0, 0);
}
static void in_a_forked_child(void) {
    call(needm_atfork_child, 0, 0, 0, 0);
    CHECK_EQ(call(needm_callback, (long)in_c, 0, 0, 0), 0);
}
static void callback(void *panics) {
    static needm_defer d;
    aligned();
    asks();
    CHECK_EQ(call(needm_ccall, (long)in_c, 0, 0, 0), 0);
    CHECK_EQ(call(needm_defer_push, (long)&d, (long)deferred, 0, 0), 0);
    call(needm_safepoint, 0, 0, 0, 0);
    CHECK_EQ(call(needm_callback, (long)in_c, 0, 0, 0), 0);
    if (panics) call(needm_panic, 0, 0, 0, 0);
}
static void faults(void *arg) {
    static needm_defer d;
    (void)arg;
    CHECK_EQ(call(needm_defer_push, (long)&d, (long)deferred, 0, 0), 0);
    fault(NULL);
}
static int hook(void *user, needm_m *m) {
    (void)user, (void)m;
    aligned();
    return 0;
}
static volatile int spawned;
static void on_a_thread(void *arg) { (void)arg, aligned(), spawned = 1; }
static void every_function_works_from_a_misaligned_stack(void) {
    needm_hooks hooks = {.size = sizeof hooks, .m_new = hook};
    needm_config config = {.size = sizeof config, .hooks = &hooks, .flags = more_flags()};
    needm_stats numbers = {.size = sizeof numbers};
    char frame[100];
    CHECK_EQ(call(needm_start, (long)&config, 0, 0, 0), 0);
    CHECK_EQ(call(needm_callback, (long)callback, 0, 0, 0), 0);
    CHECK_EQ(call(needm_callback, (long)callback, (long)frame, sizeof frame, 0), 0);
    CHECK_EQ(call(needm_callback, (long)faults, 0, 0, 0), 0);
    if (!handlers_lose_their_thread())
        CHECK_EQ(call(needm_callback, (long)interrupts_itself, 0, 0, 0), NEEDM_EINTERRUPTED);
    CHECK_EQ(call(needm_version, 0, 0, 0, 0), (long)NEEDM_VERSION);
    CHECK(strcmp((char *)call(needm_strerror, NEEDM_EPANIC, 0, 0, 0), needm_strerror(NEEDM_EPANIC)) == 0);
    CHECK(strcmp((char *)call(needm_error_name, NEEDM_EPANIC, 0, 0, 0), "NEEDM_EPANIC") == 0);
    CHECK_CHILD(in_a_forked_child);
    CHECK_EQ(call(needm_attach, 0, 0, 0, 0), 0);
    CHECK_EQ(call(needm_prefault, 8192, 0, 0, 0), 0);
    CHECK_EQ(call(needm_stop_the_world, 0, 0, 0, 0), 0);
    CHECK_EQ(call(needm_each_m, (long)visit, 0, 0, 0), 0);
    CHECK_EQ(call(needm_start_the_world, 0, 0, 0, 0), 0);
    /* The second half of a number of 64 bits. */
    CHECK_EQ(call(needm_stop_the_world_within, 1000000, 0, 0, 0), 0);
    CHECK_EQ(call(needm_start_the_world, 0, 0, 0, 0), 0);
    call(needm_get_stats, (long)&numbers, 0, 0, 0);
    CHECK(numbers.faults >= 1);
    spawned = 0;
    CHECK_EQ(call(needm_spawn, (long)on_a_thread, 0, 0, 0), 0);
    while (!spawned) usleep(1000);
    while (stats().ms_bound > 1) usleep(1000);
    CHECK_EQ(call(needm_detach, 0, 0, 0, 0), 0);
    while (call(needm_stop, 0, 0, 0, 0) == NEEDM_EBUSY) usleep(1000);
    CHECK_EQ(call(needm_start, 0, 0, 0, 0), 0);
    CHECK_EQ(call(needm_stop_within, 1000000000, 0, 0, 0), 0);
}

int main(void) {
    for (off = 4; off < 16; off += 4) {
        fprintf(stderr, "off by %d\n", off);
        RUN(every_function_works_from_a_misaligned_stack);
    }
    return SUCCESS;
}
#else
int main(void) {
    fprintf(stderr, "skipped: the ABI knows one alignment\n");
    return SUCCESS;
}
#endif
