/* What a program may ask: the version, names of errors, how deep in callbacks it is, and how much
 * stack is left. */
#include "check.h"
#include <sys/mman.h>
#ifndef _WIN32
#include <sys/syscall.h>
#endif

static unsigned depths[4];
static size_t left[4];
static void innermost(void *arg) {
    (void)arg;
    depths[2] = needm_depth();
    left[2] = needm_stack_left();
}
static void in_c(void *arg) {
    (void)arg;
    depths[1] = needm_depth();
    left[1] = needm_stack_left();
    CHECK_EQ(needm_callback(innermost, NULL, 0, NULL), 0);
    CHECK_EQ(needm_depth(), 1);
}
static void outermost(void *arg) {
    (void)arg;
    depths[0] = needm_depth();
    left[0] = needm_stack_left();
    CHECK_EQ(needm_ccall(in_c, NULL), 0);
    CHECK_EQ(needm_depth(), 1);
}
static void depth_and_stack(void) {
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_stack_left(), 0);
    start((needm_config){0});
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_stack_left(), 0);
    void *lo, *hi;
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    size_t size = (size_t)((char *)hi - (char *)lo);
    CHECK_EQ(needm_callback(outermost, NULL, 0, NULL), 0);
    CHECK_EQ(depths[0], 1);
    CHECK_EQ(depths[1], 1);
    CHECK_EQ(depths[2], 2);
    CHECK(left[0] < size && left[0] > size - 4096);
    CHECK(left[1] < left[0] && left[1] > size - 8192);
    CHECK(left[2] < left[1] && left[2] > size - 16384);
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_stack_left(), 0);
    CHECK_EQ(needm_stop(), 0);
}
static void versions_and_names(void) {
    CHECK_EQ(needm_version(), NEEDM_VERSION);
    CHECK(strcmp(needm_error_name(NEEDM_EBUSY), "NEEDM_EBUSY") == 0);
    CHECK(strcmp(needm_error_name(NEEDM_ESYS), "NEEDM_ESYS") == 0);
    CHECK(strcmp(needm_error_name(NEEDM_EINTERRUPTED), "NEEDM_EINTERRUPTED") == 0);
    CHECK(strcmp(needm_error_name(NEEDM_ENOTSTARTED), "NEEDM_ENOTSTARTED") == 0);
    CHECK(strcmp(needm_error_name(0), "0") == 0);
    CHECK(strcmp(needm_error_name(1), "unknown error") == 0);
}
#ifdef _WIN32
static uint64_t own_number(void) { return GetCurrentThreadId(); }
#else
static uint64_t own_number(void) { return (uint64_t)syscall(SYS_gettid); }
#endif
static needm_m *held;
static void *holds_an_m(void *number) {
    CHECK_EQ(needm_attach(), 0);
    held = needm_self();
    *(uint64_t *)number = own_number();
    CHECK_EQ(needm_m_thread(held), own_number());
    return number;
}
static void asks_for_its_thread(void *m) {
    *(needm_m **)m = needm_self();
    CHECK_EQ(needm_m_thread(needm_self()), own_number());
}
static void thread_of_an_m(void) {
    CHECK_EQ(needm_m_thread(NULL), 0);
    start((needm_config){.binding = NEEDM_BIND_CALL});
    needm_m *m;
    CHECK_EQ(needm_callback(asks_for_its_thread, &m, 0, NULL), 0);
    CHECK_EQ(needm_m_thread(m), 0);
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_m_thread(needm_self()), own_number());
    uint64_t other;
    join(thread(holds_an_m, &other));
    CHECK_EQ(needm_m_thread(held), 0);
    CHECK_EQ(needm_stop(), 0);
}
/* The high-water mark of a stack. */
static size_t page;
__attribute__((noinline)) static void uses(void *bytes) {
    size_t size = *(size_t *)bytes;
    volatile char room[size + 1];
    room[0] = 1; /* the pages between stay as they are */
    CHECK_EQ(room[0], 1);
}
static size_t used_here(void) { return needm_m_stack_used(needm_self()); }
static void asks_in_a_callback(void *used) { *(size_t *)used = used_here(); }
static void high_water_mark(void) {
    page = (size_t)sysconf(_SC_PAGESIZE);
    CHECK_EQ(needm_m_stack_used(NULL), 0);
    start((needm_config){0});
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(used_here(), page); /* attaching touches one */
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    const size_t largest = (size_t)((char *)hi - (char *)lo) - 4096;
    size_t sizes[] = {100, 3 * page, 30000, 1000, largest}, most = page;
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(needm_callback(uses, &sizes[i], 0, NULL), 0);
        size_t used = used_here();
        CHECK_EQ(used % page, 0);
        CHECK(used >= sizes[i] && used >= most);
        CHECK(used <= most || used <= sizes[i] + 2 * page);
        most = used;
    }
    size_t inside = 0;
    CHECK_EQ(needm_callback(asks_in_a_callback, &inside, 0, NULL), 0);
    CHECK_EQ(inside, most);
    CHECK_EQ(needm_stop(), 0);
}
static needm_m *deep;
static void *uses_much_and_exits(void *bytes) {
    CHECK_EQ(needm_callback(uses, bytes, 0, NULL), 0);
    deep = needm_self();
    return NULL;
}
static pthread_barrier_t together;
static void *is_one_of_many(void *arg) {
    CHECK_EQ(needm_attach(), 0);
    pthread_barrier_wait(&together);
    pthread_barrier_wait(&together); /* each has exited with an M of its own */
    return arg;
}
static void *stays_attached(void *state) {
    CHECK_EQ(needm_attach(), 0);
    *(volatile int *)state = 1;
    WAIT_UNTIL(*(volatile int *)state == 2);
    return NULL;
}
static int fresh;
static int is_fresh(void *count, needm_m *m) {
    CHECK_EQ(needm_m_stack_used(m), 0);
    ++*(int *)count;
    return 0;
}
/* What the system has been given back still counts. */
static void the_mark_outlives_the_memory(void) {
    enum { MANY = 100 };
    start((needm_config){0});
    size_t bytes = 40000;
    join(thread(uses_much_and_exits, &bytes));
    size_t before = needm_m_stack_used(deep);
    CHECK(before >= bytes);
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(deep, &lo, &hi), 0);
    unsigned char present = 1;
    while (present & 1) { /* unless it is among the last that return their Ms */
        CHECK_EQ(pthread_barrier_init(&together, NULL, MANY), 0);
        pthread_t threads[MANY];
        for (int i = 0; i < MANY; i++) threads[i] = thread(is_one_of_many, NULL);
        for (int i = 0; i < MANY; i++) join(threads[i]);
        CHECK_EQ(mincore((char *)hi - before, 1, &present), 0);
        CHECK_EQ(needm_m_stack_used(deep), before);
    }
    /* The next start makes new Ms in the same rows, because this thread's record leads to one. */
    volatile int state = 0;
    pthread_t attached = thread(stays_attached, (void *)&state);
    WAIT_UNTIL(state == 1);
    CHECK_EQ(needm_stop(), 0);
    needm_hooks hooks = {.size = sizeof hooks, .user = &fresh, .m_new = is_fresh};
    start((needm_config){.seed_ms = MANY, .hooks = &hooks});
    CHECK_EQ(fresh, MANY);
    state = 2;
    join(attached);
    CHECK_EQ(needm_stop(), 0);
}

static void no_callback_no_address(void) {
    void *sp = NULL;
    CHECK_EQ(needm_g0_sp(NULL, &sp), NEEDM_EINVAL);
    start((needm_config){0});
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_g0_sp(needm_self(), &sp), NEEDM_EINVAL);
    CHECK(sp == NULL);
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    RUN(high_water_mark);
    RUN(the_mark_outlives_the_memory);
    RUN(no_callback_no_address);
    RUN(thread_of_an_m);
    RUN(versions_and_names);
    RUN(depth_and_stack);
    return SUCCESS;
}
