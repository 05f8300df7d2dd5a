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
    RUN(the_cost_of_a_callback_from_a_fiber);
    return SUCCESS;
}
