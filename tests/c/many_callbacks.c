/* Many callbacks on many threads, and many endings in a row. */
#include "check.h"

static long sum;

static void recover(void *ended) { *(int *)ended = needm_recover(NULL); }
static void add_and_fault(void *round) {
    needm_defer d;
    int recovered = 0;
    CHECK_EQ(needm_defer_push(&d, recover, &recovered), 0);
    __atomic_fetch_add(&sum, (long)round, __ATOMIC_RELAXED);
    fault(NULL);
}
static void *ten_faults(void *arg) {
    for (long round = 0; round < 10; round++)
        CHECK_EQ(needm_callback(add_and_fault, (void *)round, 0, NULL), 0);
    return arg;
}
static void six_threads_fault_and_recover_ten_times_each(void) {
    pthread_t threads[6];
    sum = 0;
    for (int i = 0; i < 6; i++) threads[i] = thread(ten_faults, NULL);
    for (int i = 0; i < 6; i++) join(threads[i]);
    CHECK_EQ(sum, 270);
    CHECK_EQ(stats().faults, 60);
}

static void *two_thousand(void *arg) {
    long own = 0;
    for (int i = 0; i < 2000; i++) CHECK_EQ(needm_callback(add, &own, 0, NULL), 0);
    __atomic_fetch_add(&sum, own, __ATOMIC_RELAXED);
    return arg;
}
static void twenty_threads_call_two_thousand_times_each(void) {
    pthread_t threads[20];
    sum = 0;
    for (int i = 0; i < 20; i++) threads[i] = thread(two_thousand, NULL);
    for (int i = 0; i < 20; i++) join(threads[i]);
    CHECK_EQ(sum, 40000);
}

static char *deepest, *shallowest;
static void panic_here(void *arg) {
    char here;
    if (!deepest || &here < deepest) deepest = &here;
    if (!shallowest || &here > shallowest) shallowest = &here;
    needm_panic(arg);
}
static void a_hundred_thousand_panics_leave_stack_pointer_and_m_count_the_same(void) {
    needm_callback(nothing, NULL, 0, NULL);
    uint64_t made = stats().ms_total;
    for (int i = 0; i < rounds(100000); i++)
        CHECK_EQ(needm_callback(panic_here, NULL, 0, NULL), NEEDM_EPANIC);
    CHECK(deepest == shallowest);
    CHECK_EQ(stats().ms_total, made);
}

static void *a_thousand_of_each(void *arg) {
    void (*const endings[])(void *) = {fault, overflow, panic};
    const int results[] = {NEEDM_EFAULT, NEEDM_EOVERFLOW, NEEDM_EPANIC};
    for (int i = 0; i < rounds(1000); i++)
        for (int kind = 0; kind < 3; kind++)
            CHECK_EQ(needm_callback(endings[kind], NULL, 0, NULL), results[kind]);
    return arg;
}
static void faults_overflows_and_panics_in_a_row_on_eight_threads(void) {
    pthread_t threads[8];
    needm_stats before = stats();
    for (int i = 0; i < 8; i++) threads[i] = thread(a_thousand_of_each, NULL);
    for (int i = 0; i < 8; i++) join(threads[i]);
    needm_stats after = stats();
    CHECK_EQ(after.faults - before.faults, 8 * rounds(1000));
    CHECK_EQ(after.overflows - before.overflows, 8 * rounds(1000));
    CHECK_EQ(after.panics - before.panics, 8 * rounds(1000));
}

int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    RUN(six_threads_fault_and_recover_ten_times_each);
    RUN(twenty_threads_call_two_thousand_times_each);
    RUN(a_hundred_thousand_panics_leave_stack_pointer_and_m_count_the_same);
    RUN(faults_overflows_and_panics_in_a_row_on_eight_threads);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
