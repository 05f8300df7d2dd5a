/* Fibers of one thread that leave their callbacks in the middle of callback code, not in C (needm_ccall), and go
 * on in any order. Each checks that nothing of its stack on the G was touched meanwhile. */
#include "check.h"
#include <ucontext.h>

enum { MOST = 12, SIZE = 64 * 1024 };
static uint32_t binding;
static uint64_t seed;

struct strand {
    ucontext_t own;
    uint64_t random;
    volatile int over, deferred;
    int depth, ended;
};
static __thread struct strand *strand;
static __thread ucontext_t scheduler;
static void yields(void *arg) {
    struct strand *self = arg;
    CHECK_EQ(swapcontext(&self->own, &scheduler), 0);
}
static void counts(void *arg) { ++*(volatile int *)arg; }
static void panics(void *arg) { needm_panic(arg); }
static void on_the_g(void *arg);
static void calls_back(void *arg) {
    struct strand *self = arg;
    if (self->depth < 3) {
        int result = needm_callback(on_the_g, self, 0, NULL);
        CHECK(result == 0 || result == NEEDM_EFAULT || result == NEEDM_EPANIC || result == NEEDM_EOVERFLOW);
    }
}
static void on_the_g(void *arg) {
    struct strand *self = arg;
    volatile unsigned char frame[512];
    unsigned char pattern = (unsigned char)next(&self->random);
    needm_defer defer;
    const needm_m *m = needm_self();
    self->depth++;
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = pattern;
    for (uint64_t i = next(&self->random) % 4; i--;) {
        yields(self);
        for (unsigned j = 0; j < sizeof frame; j++) CHECK_EQ(frame[j], pattern);
        switch (next(&self->random) % 4) {
            case 0: CHECK_EQ(needm_ccall(yields, self), 0); break;
            case 1: CHECK_EQ(needm_ccall(calls_back, self), 0); break;
            case 2: CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT); break;
        }
        for (unsigned j = 0; j < sizeof frame; j++) CHECK_EQ(frame[j], pattern);
        CHECK(needm_self() == m);
    }
    CHECK_EQ(self->deferred, self->ended);
    self->ended++;
    self->depth--;
    CHECK_EQ(needm_defer_push(&defer, counts, (void *)&self->deferred), 0);
    if (next(&self->random) % 2) yields(self);
    switch (next(&self->random) % 4) {
        case 0: fault(NULL); break;
        case 1: panics(NULL); break;
        case 2: overflow(NULL); break;
    }
}
static void strand_main(void) {
    struct strand *self = strand;
    for (int i = 0; i < 5; i++) {
        self->deferred = self->depth = self->ended = 0;
        calls_back(self);
        CHECK_EQ(self->deferred, self->ended);
        if (next(&self->random) % 2) yields(self);
    }
    self->over = 1;
    yields(self);
}
static void *has_strands(void *arg) {
    uint64_t random = seed + (uintptr_t)arg * 104729;
    for (int i = 0; i < rounds(100); i++) {
        struct strand *strands = calloc(MOST, sizeof *strands);
        char *stacks = malloc((size_t)MOST * SIZE);
        unsigned many = 1 + (unsigned)(next(&random) % MOST), over = 0;
        CHECK(strands && stacks);
        for (unsigned j = 0; j < many; j++) {
            CHECK_EQ(getcontext(&strands[j].own), 0);
            strands[j].own.uc_stack.ss_sp = stacks + (size_t)j * SIZE;
            strands[j].own.uc_stack.ss_size = SIZE;
            strands[j].random = next(&random);
            makecontext(&strands[j].own, strand_main, 0);
        }
        while (over < many) {
            strand = strands + next(&random) % many;
            if (strand->over) continue;
            CHECK_EQ(swapcontext(&scheduler, &strand->own), 0);
            over += (unsigned)strand->over;
            long own = 0;
            if (next(&random) % 4 == 0) CHECK_EQ(needm_callback(add, &own, 0, NULL), 0);
        }
        CHECK_EQ(needm_depth(), 0);
        CHECK_EQ(needm_detach(), 0);
        free(stacks);
        free(strands);
    }
    return arg;
}
static void callbacks_that_are_left_in_their_middle_end_in_any_order(void) {
    start((needm_config){.binding = binding});
    pthread_t others[2];
    for (long i = 0; i < 2; i++) others[i] = thread(has_strands, (void *)(i + 1));
    has_strands(NULL);
    for (int i = 0; i < 2; i++) join(others[i]);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(needm_stop(), 0);
}

/* One is left for good, after it was the last to go on. Another one, which was left in C or not, is inside its
 * callback as before. */
static int in_c;
static void leaves(struct strand *self) {
    if (in_c) CHECK_EQ(needm_ccall(yields, self), 0);
    else yields(self);
}
static void in_c_of_its_callback(void *arg) {
    struct strand *self = arg;
    needm_defer defer;
    yields(self);
    CHECK_EQ(needm_defer_push(&defer, counts, (void *)&self->deferred), 0);
    needm_panic(NULL);
}
static void goes_on(void *arg) {
    struct strand *self = arg;
    const needm_m *m = needm_self();
    needm_defer defer;
    if (self->depth) CHECK_EQ(needm_ccall(in_c_of_its_callback, self), 0);
    yields(self);
    CHECK_EQ(needm_defer_push(&defer, counts, (void *)&self->deferred), 0);
    CHECK(needm_self() == m);
    CHECK_EQ(needm_ccall(nothing, NULL), 0);
    needm_panic(NULL);
}
static void goes_on_in_a_callback(void) {
    struct strand *self = strand;
    CHECK_EQ(needm_callback(goes_on, self, 0, NULL), NEEDM_EPANIC);
    self->over = 1;
    yields(self);
}
static void is_left_for_good(void *arg) {
    leaves(arg);
    needm_safepoint();
    leaves(arg);
}
static void is_left_in_a_callback(void) { needm_callback(is_left_for_good, strand, 0, NULL); }
static void begin_strand(struct strand *one, char *stack, void (*body)(void)) {
    CHECK_EQ(getcontext(&one->own), 0);
    one->own.uc_stack.ss_sp = stack;
    one->own.uc_stack.ss_size = SIZE;
    makecontext(&one->own, body, 0);
    strand = one;
    CHECK_EQ(swapcontext(&scheduler, &one->own), 0);
}
static void one_that_is_gone_leaves_the_others_inside(void) {
    char *stacks = malloc(2 * SIZE);
    CHECK(stacks);
    start((needm_config){.binding = binding});
    for (int i = 0; i < 4; i++) {
        struct strand gone = {.depth = 0}, other = {.depth = i & 1};
        in_c = i / 2;
        CHECK_EQ(needm_attach(), 0);
        begin_strand(&gone, stacks, is_left_in_a_callback);
        begin_strand(&other, stacks + SIZE, goes_on_in_a_callback);
        CHECK_EQ(swapcontext(&scheduler, &gone.own), 0);
        memset(stacks, 0, SIZE);
        CHECK_EQ(swapcontext(&scheduler, &other.own), 0);
        CHECK(other.over);
        CHECK_EQ(other.deferred, 1);
        CHECK_EQ(needm_detach(), 0);
        CHECK_EQ(stats().ms_bound, 0);
    }
    CHECK_EQ(needm_stop(), 0);
    free(stacks);
}

/* Two are left for good in C, and their stacks are overwritten. A world that the thread has stopped since, outside all
 * callbacks, is not theirs: its next callback, which drops theirs, does not start it. */
static void is_left_in_c(void *arg) {
    yields(arg);
    needm_callback(nothing, NULL, 0, NULL);
    yields(arg);
}
static void calls_what_is_left(void *arg) { needm_ccall(is_left_in_c, arg); }
static void is_left_in_c_of_a_callback(void) { needm_callback(calls_what_is_left, strand, 0, NULL); }
static void a_world_is_not_that_of_fibers_that_are_gone(void) {
    enum { FIBERS = 3 };
    char *stacks = malloc(FIBERS * SIZE);
    struct strand gone[FIBERS] = {{.depth = 0}};
    needm_defer defer;
    CHECK(stacks);
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_attach(), 0);
    for (int i = 0; i < FIBERS; i++) begin_strand(gone + i, stacks + i * SIZE, is_left_in_c_of_a_callback);
    /* Its M, the thread's first, lies above the others' again. */
    CHECK_EQ(swapcontext(&scheduler, &gone[0].own), 0);
    memset(stacks, 0, FIBERS * SIZE);
    needm_self();
    CHECK_EQ(needm_defer_push(&defer, counts, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    for (int i = 0; i < FIBERS; i++) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    free(stacks);
}

int main(int argc, char **argv) {
    seed = parse_seed(argc, argv, &binding);
    RUN(callbacks_that_are_left_in_their_middle_end_in_any_order);
    RUN(one_that_is_gone_leaves_the_others_inside);
    RUN(a_world_is_not_that_of_fibers_that_are_gone);
    return SUCCESS;
}
