/* Linux refuses memory: needm answers with an error or waits, never crashes, and works again
 * when memory is there. */
#include "filter.h"
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static uint32_t binding;
static volatile long over, refused, ran;

static size_t mapped(void) {
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%zu", &pages) == 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}
static void limit_to(size_t more) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = more ? mapped() + more : limit.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

/* Threads that exist before memory is refused, and call back at a barrier. */
enum { THREADS = 12 };
static pthread_barrier_t turn;
static void stays_a_while(void *arg) {
    __sync_fetch_and_add(&ran, 1);
    while (!over) sched_yield();
    (void)arg;
}
static void *calls_when_told(void *arg) {
    pthread_barrier_wait(&turn);
    int result = needm_callback(stays_a_while, NULL, 0, NULL);
    if (result == 0) {
        /* it did not wait for another thread */
    } else {
        CHECK_EQ(result, NEEDM_ENOMEM);
        __sync_fetch_and_add(&refused, 1);
    }
    pthread_barrier_wait(&turn);
    /* Memory is there again. */
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(sum, 1);
    return arg;
}
static void call_back_without_memory(void (*take)(void), void (*give)(void)) {
    pthread_t threads[THREADS];
    start((needm_config){.binding = binding, .stack_size = 1 << 20});
    CHECK_EQ(pthread_barrier_init(&turn, NULL, THREADS + 1), 0);
    over = refused = ran = 0;
    for (int i = 0; i < THREADS; i++) threads[i] = thread(calls_when_told, NULL);
    take();
    pthread_barrier_wait(&turn);
    while (ran + refused < THREADS) sched_yield();
    fprintf(stderr, "%ld ran, %ld were refused\n", ran, refused);
    CHECK(ran >= 1 && refused >= 1);
    give();
    over = 1;
    pthread_barrier_wait(&turn);
    for (int i = 0; i < THREADS; i++) join(threads[i]);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(needm_stop(), 0);
}
static void limit_the_address_space(void) { limit_to(3 << 20); }
static void lift_the_limit(void) { limit_to(0); }
static void callbacks_without_address_space_are_refused_and_work_again(void) {
    call_back_without_memory(limit_the_address_space, lift_the_limit);
}
static void a_start_without_memory_is_refused_and_works_again(void) {
    needm_config config = {.size = sizeof config, .seed_ms = 64, .stack_size = 1 << 20};
    for (int i = 0; i < 3; i++) {
        size_t before = mapped();
        limit_to(8 << 20);
        CHECK_EQ(needm_start(&config), NEEDM_ENOMEM);
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), NEEDM_ENOTSTARTED);
        limit_to(0);
        if (i > 0) CHECK(mapped() <= before);
        before = mapped();
        start((needm_config){.binding = binding});
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_detach(), 0);
        CHECK_EQ(needm_stop(), 0);
        CHECK(mapped() <= before + 65536);
    }
}
static void a_spawn_without_memory_is_refused(void) {
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    limit_to(64 * 1024);
    int result = needm_spawn(nothing, NULL);
    CHECK(result == NEEDM_ENOMEM || (result == NEEDM_ESYS && errno == EAGAIN));
    limit_to(0);
    CHECK_EQ(needm_spawn(nothing, NULL), 0);
    CHECK_EQ(needm_detach(), 0);
    stop_when_idle();
}

/* In a child: the filter that refuses every mapping cannot be removed again. */
static void *calls_to_the_end(void *arg) {
    pthread_barrier_wait(&turn);
    int result = needm_callback(nothing, NULL, 0, NULL);
    CHECK(result == 0 || result == NEEDM_ENOMEM);
    if (result != 0) __sync_fetch_and_add(&refused, 1);
    pthread_barrier_wait(&turn);
    return arg;
}
static void is_refused_every_map(void) {
    pthread_t threads[THREADS];
    start((needm_config){.binding = binding, .max_ms = 64});
    CHECK_EQ(pthread_barrier_init(&turn, NULL, THREADS + 1), 0);
    refused = 0;
    CHECK_EQ(needm_attach(), 0);
    /* The filter is for all threads that exist. */
    for (int i = 0; i < THREADS; i++) threads[i] = thread(calls_to_the_end, NULL);
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_MAP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter), 0);
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    for (int i = 0; i < THREADS; i++) join(threads[i]);
    CHECK(refused >= 1 || binding == NEEDM_BIND_CALL);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}
static void with_mappings_refused_a_thread_that_has_an_m_goes_on(void) { CHECK_CHILD(is_refused_every_map); }

/* In a child, whose memory all ends with it; first, because needm then does not know yet what kind of guards there are. */
static void run_deferred(void *count) { ++*(int *)count; }
static void defers_and_overflows(void *count) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, run_deferred, count), 0);
    overflow(NULL);
}
static void overflows_without_mappings(void) {
    enum { MOST = 200000 }; /* vm.max_map_count is 65530, if nobody has set another */
    int count = 0, taken = 0;
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    while (taken < MOST && mmap(NULL, 4096, taken % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        taken++;
    if (taken == MOST) fprintf(stderr, "this system has room for all mappings\n");
    for (int i = 1; i < 4; i++) {
        CHECK_EQ(needm_callback(defers_and_overflows, &count, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(count, i);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    }
}
static void an_overflow_is_an_error_where_no_mapping_can_be_made(void) { CHECK_CHILD(overflows_without_mappings); }

int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    if (emulated()) { /* the limit would be the emulator's */
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    RUN(an_overflow_is_an_error_where_no_mapping_can_be_made);
    RUN(a_start_without_memory_is_refused_and_works_again);
    RUN(callbacks_without_address_space_are_refused_and_work_again);
    RUN(a_spawn_without_memory_is_refused);
    RUN(with_mappings_refused_a_thread_that_has_an_m_goes_on);
    return SUCCESS;
}
