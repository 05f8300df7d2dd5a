/* Who gets which M, how many are made, and that each comes back. */
#include "filter.h"
#include <errno.h>
#include <limits.h>
#include <time.h>

static uint32_t binding;
static uint64_t id;
static void take_id(void *out) { *(uint64_t *)out = needm_m_id(needm_self()); }
static void *call_once(void *out) {
    CHECK_EQ(needm_callback(take_id, out, 0, NULL), 0);
    return out;
}
static void two_threads_one_after_the_other_get_the_same_m(void) {
    start((needm_config){.binding = binding});
    for (int i = 0; i < rounds(200); i++) {
        uint64_t first = 0, second = 0;
        join(thread(call_once, &first));
        join(thread(call_once, &second));
        CHECK(first != 0);
        CHECK_EQ(first, second);
    }
    CHECK(stats().ms_total <= 2);
    CHECK_EQ(needm_stop(), 0);
}
static pthread_barrier_t gate;
static void *call_twice_among_others(void *arg) {
    uint64_t first = 0, second = 0;
    CHECK_EQ(needm_callback(take_id, &first, 0, NULL), 0);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    CHECK_EQ(needm_callback(take_id, &second, 0, NULL), 0);
    CHECK_EQ(first, second);
    return arg;
}
static void a_bound_thread_keeps_its_own_m(void) {
    pthread_t threads[8];
    start((needm_config){0});
    pthread_barrier_init(&gate, NULL, 9);
    for (int i = 0; i < 8; i++) threads[i] = thread(call_twice_among_others, NULL);
    pthread_barrier_wait(&gate);
    CHECK_EQ(stats().ms_bound, 8);
    CHECK(stats().ms_idle >= 1);
    pthread_barrier_wait(&gate);
    for (int i = 0; i < 8; i++) join(threads[i]);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(needm_stop(), 0);
}
static void the_seed_is_ready_and_the_taker_of_the_last_makes_a_spare(void) {
    start((needm_config){.seed_ms = 3, .binding = binding});
    CHECK_EQ(stats().ms_total, 3);
    CHECK_EQ(stats().ms_idle, 3);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(stats().ms_total, 3);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(stats().ms_total, 0);
    start((needm_config){.binding = binding});
    CHECK_EQ(stats().ms_total, 1);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(stats().ms_total, 2);
    CHECK_EQ(needm_stop(), 0);
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(stats().ms_total, 2);
    CHECK_EQ(needm_stop(), 0);
}

static void *calls_in_two_starts(void *arg) {
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        CHECK_EQ(stats().ms_total, i + 1);
        pthread_barrier_wait(&gate);
        pthread_barrier_wait(&gate);
    }
    return arg;
}
static void the_taker_of_the_last_makes_a_spare_after_a_new_start_too(void) {
    pthread_barrier_init(&gate, NULL, 2);
    start((needm_config){.binding = binding, .max_ms = 1});
    pthread_t made = thread(calls_in_two_starts, NULL);
    pthread_barrier_wait(&gate);
    CHECK_EQ(needm_stop(), 0);
    start((needm_config){.binding = binding});
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    join(made);
    CHECK_EQ(needm_stop(), 0);
}

static void leave(void *arg) { pthread_exit(arg); }
static void leave_from_c(void *arg) { needm_ccall(leave, arg); }
static void cancelled(void *arg) {
    (void)arg;
    pthread_cancel(pthread_self());
    pthread_testcancel();
}
static volatile pid_t ending_thread;
static void raw_exit(void *arg) {
    (void)arg;
    ending_thread = (pid_t)syscall(SYS_gettid);
    syscall(SYS_exit, 0);
}
/* The C library does not learn of such an end, and cannot join. */
static void wait_for_raw_exit(pthread_t made) {
    const struct timespec nap = {0, 100000};
    pthread_detach(made);
    while (ending_thread == 0 || syscall(SYS_tgkill, getpid(), ending_thread, 0) == 0)
        nanosleep(&nap, NULL);
}
static pthread_key_t late;
static void call_back_late(void *value) { /* our destructor may have run already */
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    if ((long)value > 1) pthread_setspecific(late, (void *)((long)value - 1));
}
static void (*how)(void *);
static int unheard; /* no robust lists */
static void *ends(void *arg) {
    if (how == call_back_late)
        pthread_setspecific(late, (void *)3);
    else if (arg) { /* inside a callback */
        needm_callback(how, NULL, 0, NULL);
        CHECK(0);
    }
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    if (how != call_back_late) how(NULL);
    return NULL;
}
static void count_after(int threads, void (*ending)(void *), int inside) {
    start((needm_config){.binding = binding});
    how = ending;
    for (int i = 0; i < threads; i++) {
        ending_thread = 0;
        pthread_t made = thread(ends, inside ? &how : NULL);
        if (ending == raw_exit)
            wait_for_raw_exit(made);
        else
            join(made);
    }
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    if (stats().ms_total > 4) fprintf(stderr, "made %d\n", (int)stats().ms_total);
    /* Without robust lists, ends that nobody hears of are only noticed when Ms are short. */
    CHECK(stats().ms_total <= (unheard && ending == raw_exit ? 64 : 4));
    CHECK_EQ(needm_stop(), 0);
}
static void however_a_thread_ends_its_m_is_used_again(void) {
    int many = rounds(2000);
    count_after(many, leave, 0);
    count_after(many, leave, 1);
    count_after(many, leave_from_c, 1);
    count_after(many, cancelled, 0);
    count_after(many, cancelled, 1);
    count_after(many, call_back_late, 0);
    count_after(rounds(400), raw_exit, 0);
    count_after(rounds(400), raw_exit, 1);
}

static void unheard_of(void) {
    without_robust_lists();
    unheard = 1;
    however_a_thread_ends_its_m_is_used_again();
}
static void also_where_the_system_has_no_robust_lists(void) {
    if (emulated()) return; /* the emulator has none: shown above */
    CHECK_CHILD(unheard_of);
}

#ifdef __GLIBC__
/* The C library gives a thread that is made the memory of one that was joined, and with it what
 * a raw exit has left there: the value of our key. */
static void *waits_and_calls(void *arg) {
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    CHECK_EQ(needm_callback(take_id, &id, 0, NULL), 0);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    uint64_t now = 0;
    CHECK_EQ(needm_callback(take_id, &now, 0, NULL), 0);
    CHECK_EQ(now, id);
    return arg;
}
static void *calls_and_exits(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    raw_exit(arg);
    return arg;
}
static void *does_nothing(void *arg) { return arg; }
static void what_a_raw_exit_leaves_ends_nobody_else(void) {
    pthread_barrier_init(&gate, NULL, 2);
    start((needm_config){0});
    pthread_t other = thread(waits_and_calls, NULL);
    pthread_barrier_wait(&gate);
    join(thread(calls_and_exits, NULL));
    pthread_barrier_wait(&gate); /* the other takes over the record of the one that has ended */
    pthread_barrier_wait(&gate);
    CHECK_EQ(stats().ms_bound, 1);
    join(thread(does_nothing, NULL));
    CHECK_EQ(stats().ms_bound, 1);
    pthread_barrier_wait(&gate);
    join(other);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(needm_stop(), 0);
}
#endif

static void wait_inside(void *arg) {
    (void)arg;
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
}
static void *occupies(void *arg) {
    CHECK_EQ(needm_callback(wait_inside, NULL, 0, NULL), 0);
    return arg;
}
static void waiting_ends_after_wait_ns_and_is_counted(void) {
    start((needm_config){.max_ms = 1, .binding = binding, .wait_ns = 50000000});
    pthread_barrier_init(&gate, NULL, 2);
    pthread_t other = thread(occupies, NULL);
    pthread_barrier_wait(&gate);
    needm_stats before = stats();
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), NEEDM_ETIMEDOUT);
    CHECK_EQ(needm_attach(), NEEDM_ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &to);
    long took = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
    CHECK(took >= 99 && took < 5000);
    CHECK_EQ(stats().timeouts - before.timeouts, 2);
    CHECK_EQ(stats().waits - before.waits, 2);
    pthread_barrier_wait(&gate);
    join(other);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(stats().ms_total, 1);
    CHECK_EQ(needm_stop(), 0);
}
static long done[16];
static volatile int over;
static long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
static void *hurry(void *own) {
    while (!over) {
        long from = milliseconds();
        CHECK_EQ(needm_callback(add, own, 0, NULL), 0);
        CHECK(milliseconds() - from < (emulated() ? 4000 : 1000));
    }
    return own;
}
static void sixteen_threads_share_two_ms_and_none_starves(void) {
    pthread_t threads[16];
    start((needm_config){.max_ms = 2, .seed_ms = 2, .binding = NEEDM_BIND_CALL});
    over = 0;
    memset(done, 0, sizeof done);
    for (int i = 0; i < 16; i++) threads[i] = thread(hurry, &done[i]);
    for (int second = 0; second < 2; second++) {
        long before[16];
        memcpy(before, done, sizeof done);
        sleep(emulated() ? 4 : 1);
        for (int i = 0; i < 16; i++) CHECK(*(volatile long *)&done[i] > before[i]);
    }
    over = 1;
    for (int i = 0; i < 16; i++) join(threads[i]);
    CHECK_EQ(stats().ms_total, 2);
    CHECK_EQ(needm_stop(), 0);
}
static void an_attached_m_stays_until_it_is_detached_in_both_bindings(void) {
    start((needm_config){.binding = binding});
    CHECK(needm_self() == NULL);
    CHECK_EQ(needm_attach(), 0);
    uint64_t own = needm_m_id(needm_self());
    CHECK(own != 0);
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_callback(take_id, &id, 0, NULL), 0);
    CHECK_EQ(id, own);
    CHECK_EQ(needm_m_id(needm_self()), own);
    CHECK_EQ(stats().ms_bound, 1);
    needm_m_set_local(needm_self(), &id);
    CHECK(needm_m_local(needm_self()) == &id);
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    CHECK((char *)hi - (char *)lo >= 65536);
    CHECK_EQ(needm_detach(), 0);
    CHECK(needm_self() == NULL);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK(!!needm_self() == (binding == NEEDM_BIND_THREAD));
    CHECK_EQ(needm_stop(), 0);
}

int main(int argc, char **argv) {
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    pthread_key_create(&late, call_back_late);
    /* First: once it has met a robust list, the kernel knows where they are. */
    RUN(also_where_the_system_has_no_robust_lists);
    RUN(two_threads_one_after_the_other_get_the_same_m);
    RUN(a_bound_thread_keeps_its_own_m);
    RUN(the_seed_is_ready_and_the_taker_of_the_last_makes_a_spare);
    RUN(the_taker_of_the_last_makes_a_spare_after_a_new_start_too);
#ifdef __GLIBC__ /* musl waits for ever for a thread that has ended so */
    if (!emulated()) RUN(what_a_raw_exit_leaves_ends_nobody_else); /* it is noticed late there */
#endif
    unheard = emulated();
    RUN(however_a_thread_ends_its_m_is_used_again);
    RUN(waiting_ends_after_wait_ns_and_is_counted);
    RUN(sixteen_threads_share_two_ms_and_none_starves);
    RUN(an_attached_m_stays_until_it_is_detached_in_both_bindings);
    return SUCCESS;
}
