/* The pool: which M a thread gets, how many are made, and waiting for one. */
#include "check.h"
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
static void the_thread_that_takes_the_last_m_makes_a_spare(void) {
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
static void a_spare_is_made_after_a_new_start_too(void) {
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
    CHECK(took >= 99);
    CHECK_EQ(stats().timeouts - before.timeouts, 2);
    CHECK_EQ(stats().waits - before.waits, 2);
    pthread_barrier_wait(&gate);
    join(other);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(stats().ms_total, 1);
    CHECK_EQ(needm_stop(), 0);
}
static volatile long done[16];
static volatile int over;
static void *calls_until_over(void *own) {
    while (!over) CHECK_EQ(needm_callback(add, own, 0, NULL), 0);
    return own;
}
/* Each gets its turn again and again: one that starves hangs the test. */
static void sixteen_threads_share_two_ms_and_none_starves(void) {
    pthread_t threads[16];
    start((needm_config){.max_ms = 2, .seed_ms = 2, .binding = NEEDM_BIND_CALL});
    over = 0;
    for (int i = 0; i < 16; i++) threads[i] = thread(calls_until_over, (void *)&done[i]);
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < 16; i++) {
            long before = done[i];
            WAIT_UNTIL(done[i] >= before + rounds(20));
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

/* A thread that looks for an M may pop one whose holder is in a callback. It must go back on
 * the list. */
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


int main(int argc, char **argv) {
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    RUN(two_threads_one_after_the_other_get_the_same_m);
    RUN(a_bound_thread_keeps_its_own_m);
    RUN(the_thread_that_takes_the_last_m_makes_a_spare);
    RUN(a_spare_is_made_after_a_new_start_too);
    RUN(waiting_ends_after_wait_ns_and_is_counted);
    RUN(sixteen_threads_share_two_ms_and_none_starves);
    RUN(an_attached_m_stays_until_it_is_detached_in_both_bindings);
    RUN(an_m_that_was_popped_while_in_use_goes_back_on_the_list);
    return SUCCESS;
}
