/* Callbacks from stacks that C made, and switches between (ucontext). */
#include "check.h"
#include <ucontext.h>

enum { FIBERS = 64, SIZE = 64 * 1024 };
static uint32_t binding;
static uint64_t seed;

/* A fiber, on its own stack. It calls back, and switches to its thread in between, also from C
 * that a callback called. */
struct fiber {
    ucontext_t own, *from;
    char *stack;
    volatile long sum;
    long rounds;
    int over;
};
static __thread struct fiber *current;
static __thread ucontext_t main_context;

static void back_to_the_thread(void *arg) {
    struct fiber *fiber = arg;
    CHECK_EQ(swapcontext(&fiber->own, fiber->from), 0);
}
static void works(void *arg) {
    struct fiber *fiber = arg;
    fiber->sum++;
}
static void faults(void *arg) {
    works(arg);
    fault(NULL);
}
static void nests(void *arg) {
    struct fiber *fiber = arg;
    if (fiber->sum % 3 == 0) fault(NULL);
    works(arg);
}
static void nested(void *arg) {
    int result = needm_callback(nests, arg, 0, NULL);
    CHECK(result == 0 || result == NEEDM_EFAULT);
}
static void calls_c(void *arg) { CHECK_EQ(needm_ccall(nested, arg), 0); }
static void fiber_main(void) {
    struct fiber *fiber = current;
    for (long i = 0; i < fiber->rounds; i++) {
        CHECK_EQ(needm_callback(works, fiber, 0, NULL), 0);
        CHECK_EQ(needm_callback(faults, fiber, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback(calls_c, fiber, 0, NULL), 0);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        back_to_the_thread(fiber);
    }
    fiber->over = 1;
    back_to_the_thread(fiber);
}
static void make(struct fiber *fiber, long rounds) {
    fiber->stack = malloc(SIZE);
    CHECK(fiber->stack);
    CHECK_EQ(getcontext(&fiber->own), 0);
    fiber->own.uc_stack.ss_sp = fiber->stack;
    fiber->own.uc_stack.ss_size = SIZE;
    fiber->rounds = rounds;
    makecontext(&fiber->own, fiber_main, 0);
}
static void resume(struct fiber *fiber) {
    current = fiber;
    fiber->from = &main_context;
    CHECK_EQ(swapcontext(&main_context, &fiber->own), 0);
}
static void *has_fibers(void *number) {
    uint64_t random = seed + (uintptr_t)number * 7919;
    struct fiber *fibers = calloc(FIBERS, sizeof *fibers);
    long over = 0;
    CHECK(fibers);
    for (int i = 0; i < FIBERS; i++) make(fibers + i, 1 + (long)(next(&random) % 8));
    while (over < FIBERS) {
        struct fiber *fiber = fibers + next(&random) % FIBERS;
        if (fiber->over) continue;
        resume(fiber);
        long own = 0;
        CHECK_EQ(needm_callback(add, &own, 0, NULL), 0);
        CHECK_EQ(own, 1);
        if (fiber->over) {
            over++;
            CHECK(fiber->sum >= 2 * fiber->rounds);
            free(fiber->stack);
        }
    }
    free(fibers);
    return NULL;
}
static void fibers_call_back_fault_and_nest(void) {
    pthread_t threads[4];
    start((needm_config){.binding = binding});
    for (long i = 0; i < 4; i++) threads[i] = thread(has_fibers, (void *)i);
    for (int i = 0; i < 4; i++) join(threads[i]);
    CHECK(stats().ms_total <= 12);
    CHECK_EQ(needm_stop(), 0);
}

/* A stack that overlaps an earlier one: the same memory, another depth. */
static char at_depth(struct fiber *fiber, int depth) {
    volatile char frame[1024];
    frame[0] = 1;
    if (depth > 0) return frame[0] + at_depth(fiber, depth - 1);
    CHECK_EQ(needm_callback(works, fiber, 0, NULL), 0);
    CHECK_EQ(needm_callback(faults, fiber, 0, NULL), NEEDM_EFAULT);
    return frame[0];
}
static void deep_main(void) {
    struct fiber *fiber = current;
    at_depth(fiber, (int)fiber->rounds);
    fiber->over = 1;
    back_to_the_thread(fiber);
}
static void a_stack_may_overlap_an_earlier_one(void) {
    static char memory[SIZE + 4096] __attribute__((aligned(64)));
    start((needm_config){.binding = binding});
    for (int i = 0; i < rounds(500); i++) {
        struct fiber fiber = {.rounds = i % 20};
        CHECK_EQ(getcontext(&fiber.own), 0);
        fiber.own.uc_stack.ss_sp = memory + i % 32 * 128;
        fiber.own.uc_stack.ss_size = SIZE;
        makecontext(&fiber.own, deep_main, 0);
        resume(&fiber);
        CHECK_EQ(fiber.sum, 2);
        CHECK_EQ(needm_callback(works, &fiber, 0, NULL), 0);
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}

/* A fiber calls back while another one of its thread is in C that a callback has called. Nothing
 * tells needm where their stacks are: of a few pages, close together, one in the thread's own. */
struct pair {
    ucontext_t inside, other;
    size_t size, gap, depth;
    int deferred;
};
static __thread struct pair *pair;
static void counts(void *arg) { ++*(int *)arg; }
static void overwrites(void *arg) {
    volatile unsigned char frame[2048];
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = 0x5a;
    counts(arg);
}
__attribute__((noinline)) static void calls_back_at(size_t depth) {
    volatile char frame[depth + 16];
    int called = 0;
    frame[0] = 1;
    CHECK_EQ(needm_callback(overwrites, &called, 0, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(called, frame[0]);
}
static void the_other_fiber(void) { calls_back_at(pair->depth); }
static void to_the_other_fiber(void *arg) {
    (void)arg;
    CHECK_EQ(swapcontext(&pair->inside, &pair->other), 0);
}
static void goes_on(void *arg) {
    volatile unsigned char frame[1024];
    needm_defer defer;
    (void)arg;
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = 0x77;
    CHECK_EQ(needm_defer_push(&defer, counts, &pair->deferred), 0);
    CHECK_EQ(needm_ccall(to_the_other_fiber, NULL), 0);
    CHECK_EQ(pair->deferred, 0);
    for (unsigned i = 0; i < sizeof frame; i++) CHECK_EQ(frame[i], 0x77);
    CHECK_EQ(needm_depth(), 1);
}
static void the_fiber_inside(void) {
    CHECK_EQ(needm_callback(goes_on, NULL, 0, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
}
static void run_pair(struct pair *these, char *inside, char *other) {
    ucontext_t home;
    pair = these;
    these->deferred = 0;
    CHECK_EQ(getcontext(&these->inside), 0);
    these->inside.uc_stack.ss_sp = inside, these->inside.uc_stack.ss_size = these->size;
    these->inside.uc_link = &home;
    makecontext(&these->inside, the_fiber_inside, 0);
    CHECK_EQ(getcontext(&these->other), 0);
    these->other.uc_stack.ss_sp = other, these->other.uc_stack.ss_size = these->size;
    these->other.uc_link = &these->inside;
    makecontext(&these->other, the_other_fiber, 0);
    CHECK_EQ(swapcontext(&home, &these->inside), 0);
    CHECK_EQ(these->deferred, 1);
}
enum { LARGEST = 96 * 1024 };
static void *has_two_fibers(void *arg) {
    static const size_t pairs[][3] = {{16384, 0, 0}, {16384, 4096, 6144}, {32768, 4096, 24000}, {40960, 4096, 30000}};
    char local[LARGEST] __attribute__((aligned(64)));
    for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct pair these = {.size = pairs[i][0], .gap = pairs[i][1], .depth = pairs[i][2]};
        size_t apart = these.size + these.gap;
        char *elsewhere = malloc(apart + these.size);
        CHECK(elsewhere);
        run_pair(&these, elsewhere, elsewhere + apart);
        run_pair(&these, elsewhere + apart, elsewhere);
        run_pair(&these, local, local + apart);
        run_pair(&these, local + apart, local);
        run_pair(&these, local, elsewhere);
        run_pair(&these, elsewhere, local);
        free(elsewhere);
    }
    CHECK_EQ(needm_detach(), 0);
    return arg;
}
static void a_fiber_may_call_back_while_another_is_inside(void) {
    /* With one M only they nest, and have to end in the reverse order, as these do. */
    for (uint32_t ms = 0; ms < 2; ms++) {
        start((needm_config){.binding = binding, .max_ms = ms});
        join(thread(has_two_fibers, NULL));
        has_two_fibers(NULL);
        CHECK_EQ(needm_stop(), 0);
    }
}

/* Many fibers of one thread, each inside callbacks, which begin and end in any order. Each checks
 * that nothing of its stack on the G was touched meanwhile. */
enum { MANY = 24 };
struct strand {
    ucontext_t own;
    uint64_t random;
    volatile int over;
    int deferred, depth, ends_by_fault, ended;
};
static __thread struct strand *strand;
static __thread ucontext_t scheduler;
static void yields(void *arg) {
    struct strand *self = arg;
    CHECK_EQ(swapcontext(&self->own, &scheduler), 0);
}
static void in_a_strand(void *arg);
static void nests_in_a_strand(void *arg) {
    struct strand *self = arg;
    yields(self);
    if (self->depth < 3 && next(&self->random) % 2) {
        int result = needm_callback(in_a_strand, self, 0, NULL);
        CHECK(result == 0 || result == NEEDM_EFAULT);
    }
    yields(self);
}
static void in_a_strand(void *arg) {
    struct strand *self = arg;
    volatile unsigned char frame[512];
    unsigned char pattern = (unsigned char)next(&self->random);
    needm_defer defer;
    int before = self->deferred, ended_before = self->ended;
    const needm_m *m = needm_self();
    self->depth++;
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = pattern;
    CHECK_EQ(needm_defer_push(&defer, counts, &self->deferred), 0);
    for (uint64_t i = next(&self->random) % 4; i--;) {
        CHECK_EQ(needm_ccall(nests_in_a_strand, self), 0);
        for (unsigned j = 0; j < sizeof frame; j++) CHECK_EQ(frame[j], pattern);
        CHECK(needm_self() == m);
        CHECK(needm_stack_left() > 0);
    }
    CHECK_EQ(self->deferred - before, self->ended - ended_before);
    self->ended++;
    self->depth--;
    if (next(&self->random) % 3 == 0) fault(NULL);
}
static void strand_main(void) {
    struct strand *self = strand;
    for (int i = 0; i < 6; i++) {
        self->deferred = self->ended = 0;
        int result = needm_callback(in_a_strand, self, 0, NULL);
        CHECK(result == 0 || result == NEEDM_EFAULT);
        CHECK_EQ(self->deferred, self->ended);
        yields(self);
    }
    self->over = 1;
    yields(self);
}
static void run_strands(char *stacks, size_t apart, size_t size, uint64_t random) {
    struct strand *strands = calloc(MANY, sizeof *strands);
    int over = 0;
    CHECK(strands);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(getcontext(&strands[i].own), 0);
        strands[i].own.uc_stack.ss_sp = stacks + (size_t)i * apart;
        strands[i].own.uc_stack.ss_size = size;
        strands[i].random = next(&random);
        makecontext(&strands[i].own, strand_main, 0);
    }
    while (over < MANY) {
        struct strand *one = strands + next(&random) % MANY;
        if (one->over) continue;
        strand = one;
        CHECK_EQ(swapcontext(&scheduler, &one->own), 0);
        over += one->over;
        if (next(&random) % 4 == 0) {
            long own = 0;
            CHECK_EQ(needm_callback(add, &own, 0, NULL), 0);
            CHECK_EQ(own, 1);
        }
    }
    free(strands);
    CHECK_EQ(needm_depth(), 0);
}
static void *has_strands(void *arg) {
    uint64_t random = seed + (uintptr_t)arg * 104729;
    for (int i = 0; i < rounds(20); i++) {
        size_t size = i % 2 ? 16 * 1024 : 64 * 1024, apart = size + (i % 3) * 4096;
        char *stacks = malloc(MANY * apart);
        CHECK(stacks);
        run_strands(stacks, apart, size, next(&random));
        free(stacks);
        CHECK_EQ(needm_detach(), 0);
    }
    return arg;
}
static void callbacks_of_fibers_end_in_any_order(void) {
    start((needm_config){.binding = binding});
    pthread_t others[2];
    for (long i = 0; i < 2; i++) others[i] = thread(has_strands, (void *)(i + 1));
    has_strands(NULL);
    for (int i = 0; i < 2; i++) join(others[i]);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK(stats().ms_total <= 3 * (MANY + 2));
    CHECK_EQ(needm_stop(), 0);
}

/* Fibers that are left in the middle of a callback, and whose stacks are used for other things. */
static void left_in_the_middle(void *arg) { CHECK_EQ(needm_ccall(yields, arg), 0); }
static void left_main(void) { needm_callback(left_in_the_middle, strand, 0, NULL); }
static void fibers_that_are_left_keep_no_m(void) {
    enum { EACH = 32 * 1024, LEFT = 6 };
    char *stacks = malloc(LEFT * EACH);
    CHECK(stacks);
    start((needm_config){.binding = binding});
    for (int i = 0; i < rounds(200); i++) {
        struct strand left[LEFT] = {0};
        long own = 0;
        for (int j = 0; j < LEFT; j++) {
            strand = left + j;
            CHECK_EQ(getcontext(&strand->own), 0);
            strand->own.uc_stack.ss_sp = stacks + (size_t)j * EACH;
            strand->own.uc_stack.ss_size = EACH;
            makecontext(&strand->own, left_main, 0);
            CHECK_EQ(swapcontext(&scheduler, &strand->own), 0);
            if (i % 2) CHECK_EQ(needm_callback(add, &own, 0, NULL), 0);
        }
        memset(stacks, 0, LEFT * EACH);
        for (int j = 0; j < LEFT; j++) CHECK_EQ(needm_callback(add, &own, 0, NULL), 0);
        CHECK_EQ(own, LEFT * (1 + i % 2));
        CHECK_EQ(needm_depth(), 0);
    }
    CHECK(stats().ms_total <= LEFT + 3);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(needm_stop(), 0);
    free(stacks);
}

/* The cost of a callback on a fiber, and on the thread's own stack: printed, not checked. */
static double nanoseconds;
static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}
static void measure(void) {
    long sum = 0;
    double best = 1e9;
    int count = rounds(100000);
    for (int i = 0; i < 20; i++) {
        double start = now();
        for (int j = 0; j < count; j++) needm_callback(add, &sum, 0, NULL);
        double took = (now() - start) / count;
        if (took < best) best = took;
    }
    nanoseconds = best;
}
static void measure_on_a_fiber(void) {
    measure();
    current->over = 1;
    back_to_the_thread(current);
}
static void the_cost_of_a_callback_from_a_fiber(void) {
    start((needm_config){.binding = binding});
    measure();
    double own = nanoseconds;
    struct fiber fiber = {0};
    make(&fiber, 0);
    makecontext(&fiber.own, measure_on_a_fiber, 0);
    resume(&fiber);
    free(fiber.stack);
    fprintf(stderr, "%.1f ns on the thread's stack, %.1f on a fiber's\n", own, nanoseconds);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}

int main(int argc, char **argv) {
    seed = parse_seed(argc, argv, &binding);
    RUN(fibers_call_back_fault_and_nest);
    RUN(a_stack_may_overlap_an_earlier_one);
    RUN(a_fiber_may_call_back_while_another_is_inside);
    RUN(callbacks_of_fibers_end_in_any_order);
    RUN(fibers_that_are_left_keep_no_m);
    RUN(the_cost_of_a_callback_from_a_fiber);
    return SUCCESS;
}
