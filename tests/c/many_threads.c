/* Many threads at once, and what is left when they have gone. */
#include "check.h"
#include <sys/resource.h>

static uint32_t binding;

static long rss(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%*d %ld", &pages) == 1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* A crowd: all call back, all are there at once, all go. */
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
/* What the C library keeps of threads that end, it keeps of these too. */
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
    /* Three pages of each stack were touched, 12 MB of a thousand. The warm ones stay,
       and the tables. */
    fprintf(stderr, "%d threads have left %ld KB\n", count, left / 1024);
    if (!emulated()) CHECK(left < count * 12288L / 4);
    uint64_t made = stats().ms_total, sum = 0;
    for (int i = 0; i < 200; i++) join(thread(call_once, &sum));
    CHECK_EQ(sum, 1);
    CHECK_EQ(stats().ms_total, made);
    CHECK_EQ(needm_stop(), 0);
}

static void ten_thousand_threads_have_an_m_each(void) {
    int count = emulated() ? 200 : sizeof(void *) == 4 ? 2000 : 10000;
    start((needm_config){.max_ms = 12000, .stack_size = 16 * 1024, .signal_stack_size = 16 * 1024});
    CHECK_EQ(crowd(count, one_of_many), count);
    CHECK_EQ(stats().ms_bound, 0);
    /* Who waits for a spare longer than a moment makes its own. */
    CHECK(stats().ms_total <= (uint64_t)count + (uint64_t)count / 4 + 16);
    CHECK_EQ(needm_stop(), 0);
}

/* An M whose holder is in a callback may be popped from the list by who wants one, and
   has to go back there. */
static pthread_barrier_t step;
static void wait_for_the_other(void *arg) {
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    add(arg);
}
static void *the_other(void *arg) {
    for (int i = 0; i < rounds(2000); i++) {
        pthread_barrier_wait(&step);
        CHECK_EQ(needm_callback(add, arg, 0, NULL), 0);
        pthread_barrier_wait(&step);
    }
    return NULL;
}
static void an_m_that_was_popped_while_in_use_goes_back_on_the_list(void) {
    long sum = 0, others = 0;
    start((needm_config){.binding = NEEDM_BIND_CALL, .seed_ms = 2});
    pthread_barrier_init(&step, NULL, 2);
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    pthread_t other = thread(the_other, &others);
    for (int i = 0; i < rounds(2000); i++)
        CHECK_EQ(needm_callback(wait_for_the_other, &sum, 0, NULL), 0);
    join(other);
    CHECK_EQ(sum, rounds(2000) + 1);
    CHECK_EQ(others, rounds(2000));
    CHECK(stats().ms_total <= 3);
    CHECK_EQ(stats().ms_idle, stats().ms_total);
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    for (binding = 0; binding < 2; binding++) RUN(a_burst_of_threads_gives_its_memory_back);
    RUN(ten_thousand_threads_have_an_m_each);
    RUN(an_m_that_was_popped_while_in_use_goes_back_on_the_list);
    return SUCCESS;
}
