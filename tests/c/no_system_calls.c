/* Callbacks of a thread that has its M make no system call: a filter kills it if they do. After
 * needm_attach and needm_prefault the first one makes none either, and no page fault. */
#include "filter.h"
#include <sys/resource.h>

static void forbid_system_calls(void) {
    filter_system_calls(SYS_exit_group, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
}
static void makes_no_system_call(needm_config config, int attach) {
    long sum = 0;
    start(config);
    if (attach)
        CHECK_EQ(needm_attach(), 0);
    else
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    forbid_system_calls();
    for (int i = 0; i < 1000000; i++)
        if (needm_callback(add, &sum, 0, NULL) != 0) _exit(2);
    char frame[100] = {0};
    for (int i = 0; i < 1000; i++)
        if (needm_callback(nothing, frame, sizeof frame, NULL) != 0) _exit(3);
    _exit(sum >= 1000000 ? SUCCESS : 4);
}
static void bound(void) { makes_no_system_call((needm_config){0}, 0); }
static void per_call(void) { makes_no_system_call((needm_config){.binding = NEEDM_BIND_CALL}, 0); }
static void attached(void) { makes_no_system_call((needm_config){0}, 1); }
static void attached_per_call(void) { makes_no_system_call((needm_config){.binding = NEEDM_BIND_CALL}, 1); }

/* From two places of its stack that are far apart, in turn: not for long is any asked about. */
__attribute__((noinline)) static void calls_from_below(long *sum, volatile char *room, size_t size) {
    char here[size];
    ((volatile char *)here)[0] = room[0];
    if (needm_callback(add, sum, 0, NULL) != 0) _exit(2);
}
static void from_two_places(needm_config config) {
    long sum = 0;
    volatile char room[1] = {0};
    start(config);
    for (int i = 0; i < 10032; i++) {
        if (i == 32) forbid_system_calls();
        if (needm_callback(add, &sum, 0, NULL) != 0) _exit(2);
        calls_from_below(&sum, room, 20000);
    }
    _exit(sum == 20064 ? SUCCESS : 3);
}
static void bound_from_two_places(void) { from_two_places((needm_config){0}); }
static void per_call_from_two_places(void) { from_two_places((needm_config){.binding = NEEDM_BIND_CALL}); }

/* From depths of its own stack that none came from before, up to some KiB off the first. */
#ifdef __GLIBC__
static needm_config at_depths;
enum { SHALLOWER = 8, DEEPER = 24 };
__attribute__((noinline)) static void calls_from_depths(long *sum, int level) {
    volatile char room[256];
    room[0] = 0;
    if (level == SHALLOWER) {
        if (needm_callback(add, sum, 0, NULL) != 0) _exit(2);
        forbid_system_calls();
    }
    if (level < SHALLOWER + DEEPER) calls_from_depths(sum, level + 1);
    if (needm_callback(add, sum, 0, NULL) != 0 || room[0]) _exit(2);
}
static void *from_depths(void *arg) {
    long sum = 0;
    start(at_depths);
    calls_from_depths(&sum, 0);
    _exit(sum == SHALLOWER + DEEPER + 2 ? SUCCESS : 3);
    return arg;
}
static void bound_from_depths(void) { from_depths(NULL); }
static void per_call_from_depths(void) {
    at_depths.binding = NEEDM_BIND_CALL;
    from_depths(NULL);
}
static void thread_from_depths(void) { join(thread(from_depths, NULL)); }
static void thread_per_call_from_depths(void) {
    at_depths.binding = NEEDM_BIND_CALL;
    join(thread(from_depths, NULL));
}
#endif

/* The first callback of a thread that is attached: no system call, no page fault. */
enum { DEEP = 40000 };
static void deep(void *arg) {
    volatile char frame[DEEP];
    for (int i = 0; i < DEEP; i += 1024) frame[i] = 1;
    *(long *)arg += frame[0];
}
static void *in_real_time(void *arg) {
    needm_config *config = arg;
    long sum = 0;
    struct rusage before, after;
    CHECK_EQ(needm_prefault(1), NEEDM_EINVAL);
    CHECK_EQ(needm_attach(), 0);
    void (*work)(void *) = config->flags & 0x100 ? deep : add;
    if (work == deep) CHECK_EQ(needm_prefault(DEEP + 8192), 0);
    CHECK_EQ(getrusage(RUSAGE_THREAD, &after), 0); /* the call itself has no page fault the second time */
    CHECK_EQ(getrusage(RUSAGE_THREAD, &before), 0);
    int answer = needm_callback(work, &sum, 0, NULL);
    CHECK_EQ(getrusage(RUSAGE_THREAD, &after), 0);
    CHECK_EQ(answer, 0);
    CHECK_EQ(sum, 1);
    CHECK_EQ(after.ru_minflt - before.ru_minflt, 0);
    CHECK_EQ(after.ru_majflt - before.ru_majflt, 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_attach(), 0);
    forbid_system_calls();
    _exit(needm_callback(work, &sum, 0, NULL) == 0 && sum == 2 ? SUCCESS : 5);
}
static void real_time(needm_config config, uint32_t how) {
    start(config);
    /* The code has run once in this process; the thread is new. */
    long sum = 0;
    CHECK_EQ(needm_callback(deep, &sum, 0, NULL), 0);
    config.flags = how;
    join(thread(in_real_time, &config));
}
static void real_time_bound(void) { real_time((needm_config){0}, 0); }
static void real_time_deep(void) { real_time((needm_config){0}, 0x100); }
static void real_time_per_call(void) {
    real_time((needm_config){.binding = NEEDM_BIND_CALL, .seed_ms = 3}, 0);
}

int main(void) {
    if (emulated()) { /* qemu-user has no filters */
        puts("skipped: no seccomp under an emulator");
        return SUCCESS;
    }
    CHECK_CHILD(bound);
    CHECK_CHILD(per_call);
    CHECK_CHILD(attached);
    CHECK_CHILD(attached_per_call);
    CHECK_CHILD(bound_from_two_places);
    CHECK_CHILD(per_call_from_two_places);
#ifdef __GLIBC__ /* else needm does not know where the thread's own stack is */
    CHECK_CHILD(bound_from_depths);
    CHECK_CHILD(per_call_from_depths);
    CHECK_CHILD(thread_from_depths);
    CHECK_CHILD(thread_per_call_from_depths);
#endif
    CHECK_CHILD(real_time_bound);
    CHECK_CHILD(real_time_deep);
    CHECK_CHILD(real_time_per_call);
    return SUCCESS;
}
