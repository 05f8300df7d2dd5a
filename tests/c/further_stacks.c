/* Coroutines inside callbacks: needm_enter_stack and needm_leave_stack. */
#include "coroutine.h"

enum { DEPTH = 6 };

/* With frames of which most are larger than a page, and that are touched at their lowest address first.
 */
__attribute__((noinline)) static int deeper_by_much(int depth) {
    volatile char frame[6000];
    frame[0] = (char)depth;
    return deeper_by_much(depth + 1) + frame[0];
}
static void overflows_by_much(void *arg) {
    (void)arg;
    deeper_by_much(0);
}
static void body_overflows_by_much(struct coroutine *co) { ends(co, overflows_by_much); }
static void runs_with_a_note_on_the_g(void *arg) {
    struct coroutine *co = arg;
    struct note note = {co, 0x5eed};
    needm_defer defer;
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    CHECK((void *)&note >= lo && (void *)&note < hi);
    CHECK_EQ(needm_defer_push(&defer, notes, &note), 0);
    runs(co);
}
static void every_ending(struct coroutine *co) {
    static const struct {
        void (*body)(struct coroutine *);
        int result;
    } kinds[] = {{body_faults, NEEDM_EFAULT}, {body_panics, NEEDM_EPANIC}, {body_overflows, NEEDM_EOVERFLOW}, {body_overflows_by_much, NEEDM_EOVERFLOW}};
    for (int i = 0; i < 4; i++) {
        needm_panic_info info = {.size = sizeof info};
        co->seen = 0;
        make(co, kinds[i].body);
        CHECK_EQ(needm_callback(runs_with_a_note_on_the_g, co, 0, &info), kinds[i].result);
        CHECK_EQ(info.kind, kinds[i].result);
        CHECK_EQ(co->seen, 2);
        if (kinds[i].result == NEEDM_EOVERFLOW) {
            CHECK(info.addr < (uintptr_t)co->lo && info.addr >= (uintptr_t)co->lo - 2 * page_size());
        }
        works_again();
    }
}
static void faults_panics_and_overflows_end_the_callback(void) {
    struct coroutine co = {0};
    map_stack(&co);
    start((needm_config){.binding = binding});
    for (int i = 0; i < rounds(200); i++)
        for (co.declares_itself = 0; co.declares_itself < 2; co.declares_itself++) every_ending(&co);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    unmap_stack(&co);
}

/* A panic that is recovered; then the callback returns 0. */
static void recovers(void *arg) {
    struct coroutine *co = arg;
    needm_panic_info info = {.size = sizeof info};
    CHECK_EQ(needm_recover(&info), 1);
    co->seen = info.kind;
}
static void recovered(struct coroutine *co, void (*end)(void *)) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, recovers, co), 0);
    end(NULL);
}
static void body_recovers_a_fault(struct coroutine *co) { recovered(co, fault); }
static void body_recovers_an_overflow(struct coroutine *co) { recovered(co, overflow); }
static void panics_are_recovered(void) {
    struct coroutine co = {0};
    map_stack(&co);
    start((needm_config){.binding = binding});
    CHECK_EQ(run(&co, body_recovers_a_fault, NULL), 0);
    CHECK_EQ(co.seen, NEEDM_EFAULT);
    CHECK_EQ(run(&co, body_recovers_an_overflow, NULL), 0);
    CHECK_EQ(co.seen, NEEDM_EOVERFLOW);
    works_again();
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    unmap_stack(&co);
}

/* C, callbacks inside, and what needm says of the place. */
static void is_on_the_threads_stack(void *arg) {
    struct coroutine *co = arg;
    char here;
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    CHECK(!is_on(co, &here) && !(&here >= (char *)lo && &here < (char *)hi));
    CHECK_EQ(needm_enter_stack(co->lo, co->hi, &co->old), NEEDM_EINVAL);
    CHECK_EQ(needm_ccall(nothing, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
    co->seen++;
}
static void changes(void *frame) {
    long *words = frame;
    CHECK_EQ((uintptr_t)frame % 16, 0);
    CHECK_EQ(words[0] + words[4], 50);
    words[1] = 99;
}
static void changes_and_faults(void *frame) {
    changes(frame);
    fault(NULL);
}
static void inside(void *arg) {
    struct coroutine *co = arg;
    char here;
    CHECK(is_on(co, &here));
    CHECK_EQ(needm_depth(), 2);
    CHECK_EQ(needm_ccall(is_on_the_threads_stack, co), 0);
    fault(NULL);
}
static void body_nests(struct coroutine *co) {
    needm_m *m = needm_self();
    size_t left = needm_stack_left();
    char here;
    CHECK(left <= (size_t)(&here - co->lo) && left + 4096 > (size_t)(&here - co->lo));
    CHECK_EQ(needm_ccall(is_on_the_threads_stack, co), 0);
    CHECK_EQ(needm_callback(inside, co, 0, NULL), NEEDM_EFAULT);
    CHECK(needm_self() == m);
    CHECK_EQ(needm_depth(), 1);
    long words[5] = {20, 0, 0, 0, 30};
    CHECK_EQ(needm_callback(changes, words, sizeof words, NULL), 0);
    CHECK_EQ(words[1], 99);
    words[1] = 0;
    CHECK_EQ(needm_callback(changes_and_faults, words, sizeof words, NULL), NEEDM_EFAULT);
    CHECK_EQ(words[1], 99);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    static char large[STACK_SIZE];
    CHECK_EQ(needm_callback(nothing, large, sizeof large, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_depth(), 1);
    needm_safepoint();
    CHECK_EQ(co->seen, 2);
}
static void c_and_callbacks_inside_work(void) {
    struct coroutine co = {0};
    map_stack(&co);
    start((needm_config){.binding = binding});
    for (int i = 0; i < rounds(200); i++)
        for (co.declares_itself = 0; co.declares_itself < 2; co.declares_itself++) {
            co.seen = 0;
            CHECK_EQ(run(&co, body_nests, NULL), 0);
            CHECK_EQ(co.result, 1);
            works_again();
        }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    unmap_stack(&co);
}

/* A coroutine in a coroutine, to a depth; faults on the outer stacks while the inner are declared. */
static struct coroutine nest[DEPTH];
static void body_goes_deeper(struct coroutine *co) {
    struct coroutine *inner = co + 1;
    if (inner < nest + DEPTH) {
        make(inner, body_goes_deeper);
        resume(inner);
        CHECK(inner->over);
    } else if (co->arg) {
        ((void (*)(void *))co->arg)(NULL);
    }
}
static void coroutines_run_in_coroutines(void) {
    void (*ends[])(void *) = {NULL, fault, panics, overflow};
    int results[] = {0, NEEDM_EFAULT, NEEDM_EPANIC, NEEDM_EOVERFLOW};
    for (int i = 0; i < DEPTH; i++) map_stack(nest + i);
    start((needm_config){.binding = binding});
    for (int i = 0; i < 4; i++) {
        nest[DEPTH - 1].arg = (void *)ends[i];
        CHECK_EQ(run(nest, body_goes_deeper, NULL), results[i]);
        works_again();
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    for (int i = 0; i < DEPTH; i++) unmap_stack(nest + i);
}

/* A coroutine that yields: the callback goes on on the G, and it faults there, or returns without
 * having left the stack. */
static void body_yields(struct coroutine *co) {
    for (;;) {
        co->seen++;
        yield(co);
    }
}
static void generates(void *arg) {
    struct coroutine *co = arg;
    for (int i = 1; i < 5; i++) {
        resume(co);
        CHECK_EQ(co->seen, i);
    }
}
static void faults_between(void *arg) {
    struct coroutine *co = arg;
    needm_stack old;
    CHECK_EQ(needm_enter_stack(co->lo, co->hi, &old), 0);
    switch_to(co);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_ccall(nothing, NULL), 0);
    fault(NULL);
}
static void returns_without_leaving(void *arg) {
    struct coroutine *co = arg;
    needm_stack old;
    for (int i = 0; i < 3; i++) CHECK_EQ(needm_enter_stack(co->lo, co->hi, &old), 0);
    switch_to(co);
}
static void coroutines_yield(void) {
    struct coroutine co = {0};
    map_stack(&co);
    start((needm_config){.binding = binding});
    for (int i = 0; i < 20; i++) {
        make(&co, body_yields);
        co.seen = 0;
        CHECK_EQ(needm_callback(generates, &co, 0, NULL), 0);
        CHECK_EQ(needm_callback(faults_between, &co, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback(returns_without_leaving, &co, 0, NULL), 0);
        CHECK_EQ(co.seen, 6);
        works_again();
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    unmap_stack(&co);
}

/* All of it at random on several threads, while another one stops the world. */
static volatile int over;
static void body_at_random(struct coroutine *co) {
    uint64_t *random = co->arg;
    for (;;) {
        switch (next(random) % 9) {
        case 0: yield(co); break;
        case 1: CHECK_EQ(needm_ccall(nothing, NULL), 0); break;
        case 2: CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT); break;
        case 3: needm_safepoint(); break;
        case 4: ends(co, fault); break;
        case 5: ends(co, panics); break;
        case 6: ends(co, overflow); break;
        case 7: CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW); break;
        case 8: return;
        }
    }
}
static void resumes_until_over(void *arg) {
    struct coroutine *co = arg;
    while (!co->over) resume(co);
}
static void *at_random(void *number) {
    uint64_t random = seed * 2654435761u + (uintptr_t)number + 1;
    struct coroutine co = {.arg = &random};
    map_stack(&co);
    for (int i = 0; i < rounds(2000); i++) {
        make(&co, body_at_random);
        int result = needm_callback(resumes_until_over, &co, 0, NULL);
        CHECK(result == 0 || result == NEEDM_EFAULT || result == NEEDM_EPANIC || result == NEEDM_EOVERFLOW);
    }
    unmap_stack(&co);
    return NULL;
}
static int reads_all(const needm_m *m, void *sp, void *hi, void *arg) {
    (void)m;
    for (volatile char *at = sp; at < (char *)hi; at += 64) (void)*at;
    ++*(long *)arg;
    return 0;
}
static void *stops_the_world(void *arg) {
    long shown = 0;
    while (!over) {
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_each_m(reads_all, &shown), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        usleep(1000);
    }
    return arg;
}
static void everything_at_random(void) {
    pthread_t threads[4];
    start((needm_config){.binding = binding});
    pthread_t stopper = thread(stops_the_world, NULL);
    for (intptr_t i = 0; i < 4; i++) threads[i] = thread(at_random, (void *)i);
    for (int i = 0; i < 4; i++) join(threads[i]);
    over = 1;
    join(stopper);
    stop_when_idle();
}

int main(int argc, char **argv) {
    seed = parse_seed(argc, argv, &binding);
    RUN(faults_panics_and_overflows_end_the_callback);
    RUN(panics_are_recovered);
    RUN(c_and_callbacks_inside_work);
    RUN(coroutines_run_in_coroutines);
    RUN(coroutines_yield);
    RUN(everything_at_random);
    return SUCCESS;
}
