/* Thousands of threads at once, and the memory that stays when they have exited. */
#include "check.h"

static uint32_t binding;

#ifdef _WIN32
static long rss(void) { return 0; } /* what is left is not checked here */
#else
static long rss(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}
#endif

/* A crowd of threads: all call back, all are alive at once, all exit. */
static pthread_barrier_t here, go;
static void spread(void *arg) {
    volatile char frame[8192];
    for (int i = 0; i < (int)sizeof frame; i += 1024) frame[i] = 1;
    add(arg);
}
static void *one_of_many(void *arg) {
    long own = 0;
    (void)arg;
    CHECK_EQ(needm_callback(spread, &own, 0, NULL), 0);
    CHECK_EQ(own, 1);
    pthread_barrier_wait(&here);
    pthread_barrier_wait(&go);
    CHECK_EQ(needm_callback(add, &own, 0, NULL), 0);
    CHECK_EQ(own, 2);
    return NULL;
}
/* For comparison: the C library keeps memory of threads that exit. */
static void *one_without(void *arg) {
    long own = 0;
    spread(&own);
    pthread_barrier_wait(&here);
    pthread_barrier_wait(&go);
    return arg;
}
static uint64_t crowd(int count, void *(*one)(void *)) {
    pthread_t *threads = malloc(count * sizeof *threads);
    pthread_attr_t small;
    CHECK(threads != NULL);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 32 * 1024);
    pthread_barrier_init(&here, NULL, count + 1);
    pthread_barrier_init(&go, NULL, count + 1);
    for (int i = 0; i < count; i++) CHECK_EQ(pthread_create(threads + i, &small, one, NULL), 0);
    pthread_barrier_wait(&here);
    uint64_t bound = stats().ms_bound;
    pthread_barrier_wait(&go);
    for (int i = 0; i < count; i++) join(threads[i]);
    free(threads);
    return bound;
}

static void *call_once(void *id) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    *(uint64_t *)id = sum;
    return NULL;
}
static void a_burst_of_threads_gives_its_memory_back(void) {
    int count = rounds(1000);
    start((needm_config){.binding = binding, .stack_size = 32 * 1024});
    crowd(count, one_without);
    long before = rss();
    crowd(count, one_of_many);
    crowd(count, one_of_many);
    long left = rss() - before;
    /* Each thread touched three pages of its stack: a thousand touched 12 MB. Warm stacks and
     * the tables stay. */
    fprintf(stderr, "%d threads left %ld KB behind\n", count, left / 1024);
    if (!emulated()) CHECK(left < count * 12288L / 4);
    uint64_t made = stats().ms_total, sum = 0;
    for (int i = 0; i < 200; i++) join(thread(call_once, &sum));
    CHECK_EQ(sum, 1);
    CHECK_EQ(stats().ms_total, made);
    CHECK_EQ(needm_stop(), 0);
}

static pthread_barrier_t all_bound, all_end;
static void *stays_bound(void *arg) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    pthread_barrier_wait(&all_bound);
    pthread_barrier_wait(&all_end);
    return arg;
}
static void a_burst_beside_threads_that_stay_bound_gives_its_memory_back(void) {
    enum { STAY = 40 };
    pthread_t stay[STAY];
    int count = rounds(1000);
    start((needm_config){.stack_size = 32 * 1024});
    pthread_barrier_init(&all_bound, NULL, STAY + 1);
    pthread_barrier_init(&all_end, NULL, STAY + 1);
    crowd(count, one_without);
    for (int i = 0; i < STAY; i++) stay[i] = thread(stays_bound, NULL);
    pthread_barrier_wait(&all_bound);
    long before = rss();
    crowd(count, one_of_many);
    long left = rss() - before;
    fprintf(stderr, "%d threads left %ld KB behind\n", count, left / 1024);
    if (!emulated()) CHECK(left < count * 12288L / 3);
    pthread_barrier_wait(&all_end);
    for (int i = 0; i < STAY; i++) join(stay[i]);
    CHECK_EQ(needm_stop(), 0);
}

static void ten_thousand_threads_have_an_m_each(void) {
    int count = emulated() ? 200 : sizeof(void *) == 4 ? 2000 : 10000;
    start((needm_config){.max_ms = 12000, .stack_size = 16 * 1024, .signal_stack_size = 16 * 1024});
    CHECK_EQ(crowd(count, one_of_many), count);
    CHECK_EQ(stats().ms_bound, 0);
    /* A thread that has waited too long for a spare makes its own. */
    CHECK(stats().ms_total <= (uint64_t)count + (uint64_t)count / 4 + 16);
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    for (binding = 0; binding < 2; binding++) RUN(a_burst_of_threads_gives_its_memory_back);
    RUN(a_burst_beside_threads_that_stay_bound_gives_its_memory_back);
    RUN(ten_thousand_threads_have_an_m_each);
    return SUCCESS;
}
