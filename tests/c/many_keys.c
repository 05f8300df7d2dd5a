/* A program with many thread-specific keys: needm's use of one allocates nothing, not even in
 * the C library. */
#include "check.h"

/* glibc has room for 32 keys in each thread's record, and allocates for those beyond. */
enum { KEYS = 40, THREADS = 50 };

static __thread int counts;
static int allocations;
#ifdef __GLIBC__
extern void *__libc_calloc(size_t, size_t);
void *calloc(size_t count, size_t size) {
    if (counts) __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_calloc(count, size);
}
#endif

static void *calls_first(void *arg) {
    counts = 1;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    counts = 0;
    return arg;
}
static void *(*volatile allocate)(size_t, size_t) = calloc;
static void *allocates(void *arg) {
    counts = 1;
    free(allocate(1, 100));
    counts = 0;
    return arg;
}

static void a_first_callback_allocates_nothing(void) {
    join(thread(calls_first, NULL));
    CHECK_EQ(allocations, 0);
#ifdef __GLIBC__
    join(thread(allocates, NULL));
    CHECK_EQ(allocations, 1); /* they are counted */
#else
    (void)allocates;
#endif
}
static void exiting_threads_return_their_ms(void) {
    for (int i = 0; i < THREADS; i++) join(thread(calls_first, NULL));
    CHECK(stats().ms_total <= (emulated() ? THREADS : 4));
}

int main(void) {
    pthread_key_t key;
    for (int i = 0; i < KEYS; i++) CHECK_EQ(pthread_key_create(&key, NULL), 0);
    start((needm_config){0});
    RUN(a_first_callback_allocates_nothing);
    RUN(exiting_threads_return_their_ms);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
