/* What lies beside a G: a guard that one large frame does not step over, and nothing that a
 * callback reaches which writes past the top of its stack. */
#include "check.h"
#include <alloca.h>

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

/* Lines of the map; those of the flag are of ordinary pages only. */
static void count_mappings(int *all, int *small) {
    char line[512];
    FILE *map = fopen("/proc/self/smaps", "r");
    CHECK(map != NULL);
    *all = *small = 0;
    while (fgets(line, sizeof line, map)) {
        *all += strstr(line, "Size:") == line;
        *small += strstr(line, "VmFlags:") == line && strstr(line, " nh") != NULL;
    }
    fclose(map);
}
static void mappings_are_few_and_of_ordinary_pages(void) {
    enum { MS = 64, ROOM = 8 };
    int all, small, more, smaller;
    count_mappings(&all, &small);
    start((needm_config){.seed_ms = MS});
    count_mappings(&more, &smaller);
    CHECK(more - all <= 4 * MS + ROOM);
    /* A machine without huge pages knows no such flag. */
    if (access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0) CHECK(smaller - small >= MS);
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    if (!emulated()) RUN(mappings_are_few_and_of_ordinary_pages);
    RUN(a_large_frame_ends_in_the_guard);
    RUN(the_host_chooses_the_size_of_the_guard);
    RUN(a_write_past_the_top_reaches_no_deferred_function);
    return SUCCESS;
}
