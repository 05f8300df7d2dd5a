/* What the system gives at the start it may refuse later, or never give. */
#include "filter.h"
#include <sys/mman.h>

static volatile int inside, over;
static void stays(void *arg) {
    (void)arg;
    inside = 1;
    WAIT_UNTIL(over);
}
static void *calls(void *arg) {
    CHECK_EQ(needm_callback(stays, NULL, 0, NULL), 0);
    return arg;
}

/* A wait for an M ends in time although no clock can be read. The C library does not ask the
 * system for the time of this clock, where the system has it in memory. */
static void waits_without_a_clock(void) {
    const int64_t limit = 50000000;
    filter_system_calls(SYS_clock_gettime, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ALLOW);
    start((needm_config){.max_ms = 1, .wait_ns = limit});
    pthread_t holder = thread(calls, NULL);
    WAIT_UNTIL(inside);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), NEEDM_ETIMEDOUT);
    CHECK_EQ(stats().timeouts, 1);
    over = 1;
    join(holder);
    CHECK_EQ(needm_stop(), 0);
}
static void a_wait_ends_without_a_clock(void) {
    if (emulated()) return; /* no filters */
    CHECK_CHILD(waits_without_a_clock);
}

#ifdef SYS_futex_time64
/* A 32-bit system may have only the calls that take a time of 64 bits. */
static void waits_without_a_call_for_short_times(void) {
    filter_system_calls(SYS_futex, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_ALLOW);
    waits_without_a_clock();
}
static void a_wait_ends_where_times_have_64_bits(void) {
    if (emulated()) return;
    CHECK_CHILD(waits_without_a_call_for_short_times);
}
#endif

int main(void) {
    RUN(a_wait_ends_without_a_clock);
#ifdef SYS_futex_time64
    RUN(a_wait_ends_where_times_have_64_bits);
#endif
    return SUCCESS;
}
