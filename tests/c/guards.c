/* What lies beside a G: a guard that one large frame does not step over, and nothing that a
 * callback reaches which writes past the top of its stack. */
#include "filter.h"
#include <alloca.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define GUARD ((size_t)(sizeof(void *) > 4 ? 1 << 20 : 64 << 10))

/* Many compilers do not probe the pages of a large frame. */
#if defined(__GNUC__) && !defined(__clang__)
#define UNPROBED __attribute__((noinline, optimize("no-stack-clash-protection")))
#else
#define UNPROBED __attribute__((noinline))
#endif
UNPROBED static void touches_the_end_of_a_frame(void *size) {
    char *frame = alloca(*(size_t *)size);
    __asm__ volatile("" : "+r"(frame));
    memset(frame, 0x11, 64);
}
static size_t g_size(void) {
    void *lo, *hi;
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    return (size_t)((char *)hi - (char *)lo);
}
static volatile int waiting, over;
static void waits(void *arg) {
    volatile unsigned char live[16 * 1024];
    memset((void *)live, 0x77, sizeof live);
    waiting++;
    WAIT_UNTIL(over);
    for (size_t i = 0; i < sizeof live; i++) CHECK_EQ(live[i], 0x77);
    (void)arg;
}
static void *calls(void *arg) {
    CHECK_EQ(needm_callback(waits, NULL, 0, NULL), 0);
    return arg;
}
/* Frames from the size of the stack up to that of the guard below it. */
static void frames_end_in_the_guard(size_t guard) {
    size_t size = g_size();
    for (size_t frame = size; frame < size + guard; frame += 12 * 1024) {
        needm_panic_info info = {.size = sizeof info};
        CHECK_EQ(needm_callback(touches_the_end_of_a_frame, &frame, 0, &info), NEEDM_EOVERFLOW);
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    }
}
static void a_large_frame_ends_in_the_guard(void) {
    enum { OTHERS = 4 };
    start((needm_config){.seed_ms = OTHERS + 1});
    pthread_t others[OTHERS];
    for (int i = 0; i < OTHERS; i++) {
        others[i] = thread(calls, NULL);
        WAIT_UNTIL(waiting == i + 1);
    }
    frames_end_in_the_guard(GUARD);
    over = 1;
    for (int i = 0; i < OTHERS; i++) join(others[i]);
    stop_when_idle();
}
static void the_host_chooses_the_size_of_the_guard(void) {
    start((needm_config){.seed_ms = 2, .guard_size = 4 * GUARD + 1});
    frames_end_in_the_guard(4 * GUARD);
    stop_when_idle();
    needm_config config = {.size = sizeof config, .guard_size = SIZE_MAX};
    CHECK_EQ(needm_start(&config), NEEDM_EINVAL);
    config.guard_size = SIZE_MAX / 2;
    CHECK_EQ(needm_start(&config), NEEDM_EINVAL);
}

static int deferred;
static void was_deferred(void *arg) {
    (void)arg;
    deferred++;
}
static void writes_past_its_stack(void *arg) {
    (void)arg;
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, was_deferred, NULL), 0);
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    *(volatile uintptr_t *)hi = 0x1234;
}
static void a_write_past_the_top_reaches_no_deferred_function(void) {
    start((needm_config){0});
    needm_panic_info info = {.size = sizeof info};
    CHECK_EQ(needm_callback(writes_past_its_stack, NULL, 0, &info), NEEDM_EFAULT);
    CHECK_EQ(deferred, 1);
    stop_when_idle();
}

/* `syscall` reads as many arguments as a system call may have, also where its caller has none
 * above it: a callback that ends in a jump to it. */
static void reads_above_its_frame(void *arg) {
    volatile uintptr_t *above = (uintptr_t *)__builtin_frame_address(0);
    (void)arg;
    for (int i = 0; i < 12; i++) (void)above[i];
}
static void what_a_jump_to_a_function_reads_above_the_first_frame_is_there(void) {
    start((needm_config){0});
    CHECK_EQ(needm_callback(reads_above_its_frame, NULL, 0, NULL), 0);
    stop_when_idle();
}

/* Lines of the map, and the bytes of those with the flag of ordinary pages only. */
static void count_mappings(int *all, size_t *small) {
    char line[512];
    size_t size = 0;
    FILE *map = fopen("/proc/self/smaps", "r");
    CHECK(map != NULL);
    *all = 0;
    *small = 0;
    while (fgets(line, sizeof line, map)) {
        if (sscanf(line, "Size: %zu", &size) == 1) ++*all;
        if (strstr(line, "VmFlags:") == line && strstr(line, " nh") != NULL) *small += size * 1024;
    }
    fclose(map);
}
/* Whether Linux makes guards that take no mapping of their own (MADV_GUARD_INSTALL). */
static int guards_split_no_mapping(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *there = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(there != MAP_FAILED);
    int made = madvise(there, page, 102) == 0;
    munmap(there, page);
    return made;
}
static void mappings_are_few_and_of_ordinary_pages(void) {
    enum { MS = 300, ROOM = 40 };
    int all, more;
    size_t small, smaller;
    count_mappings(&all, &small);
    start((needm_config){.seed_ms = MS});
    count_mappings(&more, &smaller);
    CHECK(more - all <= (guards_split_no_mapping() ? ROOM : 4 * MS + ROOM));
    /* A machine without huge pages knows no such flag. */
    if (access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0) CHECK(smaller - small >= MS * g_size());
    CHECK_EQ(needm_stop(), 0);
    count_mappings(&more, &smaller);
    CHECK(more - all <= ROOM && smaller == small);
}

/* A process may have only so many mappings (vm.max_map_count). */
static pthread_barrier_t here;
static void *stays(void *arg) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    pthread_barrier_wait(&here);
    pthread_barrier_wait(&here);
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 2);
    return arg;
}
static void a_thread_takes_no_mapping(void) {
    enum { THREADS = 600, ROOM = 300 };
    static pthread_t made[THREADS];
    int without, with;
    size_t small;
    pthread_attr_t attr;
    CHECK_EQ(pthread_attr_init(&attr), 0);
    CHECK_EQ(pthread_attr_setstacksize(&attr, 64 * 1024), 0);
    CHECK_EQ(pthread_barrier_init(&here, NULL, THREADS + 1), 0);
    start((needm_config){0});
    count_mappings(&without, &small);
    for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_create(made + i, &attr, stays, NULL), 0);
    pthread_barrier_wait(&here);
    count_mappings(&with, &small);
    pthread_barrier_wait(&here);
    for (int i = 0; i < THREADS; i++) join(made[i]);
    stop_when_idle();
    /* The C library's stack, and its guard. */
    CHECK(with - without <= (guards_split_no_mapping() ? 2 : 6) * THREADS + ROOM);
}

/* Functions that are deferred run below a stack that has run out, in what was a guard before: also if
 * a sandbox refuses to remove guards by now. */
static void needs_stack(void *arg) {
    volatile char frame[6000];
    memset((void *)frame, 1, sizeof frame);
    *(int *)arg += frame[0];
}
static void defers_and_overflows(void *sum) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, needs_stack, sum), 0);
    overflow(NULL);
}
static void runs_deferred_functions_where_a_guard_was(void) {
    start((needm_config){.seed_ms = 2});
    filter_system_calls(SYS_madvise, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ALLOW);
    for (int i = 1; i <= 3; i++) {
        int sum = 0;
        CHECK_EQ(needm_callback(defers_and_overflows, &sum, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(sum, 1);
        /* It is closed again. */
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    }
    stop_when_idle();
}
static void deferred_functions_run_where_a_guard_was(void) { CHECK_CHILD(runs_deferred_functions_where_a_guard_was); }

/* A guard as large as those of WebAssembly: address space only, and closed all the same, at both ends. */
static long page_tables(void) {
    char line[200];
    long size = -1;
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status))
        if (sscanf(line, "VmPTE: %ld kB", &size) == 1) break;
    fclose(status);
    return size;
}
static volatile size_t below;
static void writes_into_the_guard(void *arg) {
    void *lo, *hi;
    (void)arg;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    *((volatile char *)lo - below) = 1;
}
static void a_large_guard_takes_no_memory(void) {
    const size_t size = (size_t)1 << (sizeof(void *) > 4 ? 32 : 24);
    const size_t places[] = {1, 100000, (2 << 20) - 1, (2 << 20) + 1, size / 2, size - 4096};
    long before = page_tables();
    start((needm_config){.seed_ms = 8, .guard_size = size});
    CHECK(page_tables() - before < 400);
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        below = places[i];
        int ended = needm_callback(writes_into_the_guard, NULL, 0, NULL);
        CHECK(ended == NEEDM_EOVERFLOW || ended == NEEDM_EFAULT);
    }
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    stop_when_idle();
}

int main(void) {
    if (!emulated()) RUN(deferred_functions_run_where_a_guard_was);
    if (!emulated()) RUN(mappings_are_few_and_of_ordinary_pages);
    if (!emulated()) RUN(a_thread_takes_no_mapping);
    if (!emulated()) RUN(a_large_guard_takes_no_memory);
    RUN(a_large_frame_ends_in_the_guard);
    RUN(the_host_chooses_the_size_of_the_guard);
    RUN(a_write_past_the_top_reaches_no_deferred_function);
    RUN(what_a_jump_to_a_function_reads_above_the_first_frame_is_there);
    return SUCCESS;
}
