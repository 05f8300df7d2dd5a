/* C jumps from one stack of a callback's to another: past callbacks that were made on further stacks, and back out of a
 * deferred function. And C of several fibers' callbacks acts on its own one, whichever fiber has called needm last; so does an
 * interrupt. */
#include "coroutine.h"
#include <setjmp.h>

/* A callback, inside it one that continues on a further stack, there another one, whose C jumps to the first one. */
static struct coroutine further;
static jmp_buf in_first;
static void jumps(void *arg) {
    (void)arg;
    longjmp(in_first, 1);
}
static void calls_c_that_jumps(void *arg) { needm_ccall(jumps, arg); }
static void body_calls_back(struct coroutine *co) { needm_callback(calls_c_that_jumps, co, 0, NULL); }
static void continues_elsewhere(void *arg) {
    (void)arg;
    make(&further, body_calls_back);
    resume(&further);
}
static __attribute__((noinline)) void calls_back(void *arg) { needm_callback(continues_elsewhere, arg, 0, NULL); }
static int through_c, kind;
static void count(void *counted) { ++*(int *)counted; }
enum { RETURNS, PANICS, FAULTS, DEFERS };
static void is_jumped_to(void *ran) {
    static needm_defer d;
    if (setjmp(in_first) == 0) {
        if (through_c) needm_ccall(calls_back, NULL);
        else calls_back(NULL);
    }
    needm_safepoint();
    CHECK_EQ(needm_depth(), 1);
    if (kind == PANICS) needm_panic(NULL);
    if (kind == FAULTS) fault(NULL);
    if (kind == DEFERS) CHECK_EQ(needm_defer_push(&d, count, ran), 0);
}
static void a_jump_past_a_further_stack_is_noticed(void) {
    static const int results[] = {0, NEEDM_EPANIC, NEEDM_EFAULT, 0};
    map_stack(&further);
    for (int i = 0; i < rounds(100); i++) {
        int ran = 0;
        kind = i % 4;
        through_c = i / 4 % 2;
        CHECK_EQ(needm_callback(is_jumped_to, &ran, 0, NULL), results[kind]);
        CHECK_EQ(ran, kind == DEFERS);
        works_again();
    }
    unmap_stack(&further);
}

/* C that a coroutine of the callback's has called jumps out of the callback, and the coroutine's stack goes. A callback from
 * further down the thread's own stack is not made there. */
static jmp_buf out_of_it;
static void jumps_out(void *arg) {
    (void)arg;
    longjmp(out_of_it, 1);
}
static int nested_around, nested_inside;
static void jumps_out_in_c(void *arg) { needm_ccall(jumps_out, arg); }
static void calls_back_directly(void *arg) { needm_callback(jumps_out_in_c, arg, 0, NULL); }
static void calls_back_in_c(void *arg) { needm_callback(calls_back_directly, arg, 0, NULL); }
static void body_jumps_out(struct coroutine *co) { needm_ccall(nested_inside ? calls_back_in_c : jumps_out, co); }
static void runs_on_a_further_stack(void *arg) {
    make(arg, body_jumps_out);
    resume(arg);
}
static int on_a_fiber; /* then what was jumped out of may go on, as far as needm knows */
static void is_elsewhere(void *arg) {
    char here;
    CHECK(!is_on(*(struct coroutine **)arg, &here));
    if (!on_a_fiber) CHECK_EQ(needm_depth(), 1);
}
static __attribute__((noinline)) void at_some_depth(int bytes, void (*calls)(void *), void *arg) {
    volatile char *unused = __builtin_alloca(bytes);
    unused[0] = 1;
    calls(arg);
    unused[bytes - 1] = 1;
}
static void calls_back_around_it(void *arg) { needm_callback(runs_on_a_further_stack, arg, 0, NULL); }
static void calls_back_once(void *arg) {
    needm_callback(nested_around ? calls_back_around_it : runs_on_a_further_stack, arg, 0, NULL);
}
static void calls_back_anew(void *arg) { CHECK_EQ(needm_callback(is_elsewhere, &arg, 0, NULL), 0); }
static void is_not_used(int above, int below) {
    for (volatile int i = 0; i < 8; i++) {
        struct coroutine co = {0};
        volatile int unmapped = i % 2;
        nested_around = i / 2 % 2;
        nested_inside = i / 4;
        map_stack(&co);
        if (setjmp(out_of_it) == 0) at_some_depth(above, calls_back_once, &co);
        needm_self();
        if (unmapped) unmap_stack(&co);
        at_some_depth(below, calls_back_anew, &co);
        if (!unmapped) unmap_stack(&co);
        if (!on_a_fiber) works_again();
    }
}

/* From the thread's own stack, and from a fiber's. */
static ucontext_t in_fiber, around_fiber;
static void fiber(void) {
    on_a_fiber = 1;
    is_not_used(1000, 2048);
    CHECK_EQ(swapcontext(&in_fiber, &around_fiber), 0);
}
static void a_stack_that_was_jumped_off_is_not_used(void) {
    struct coroutine on = {0};
    is_not_used(6000, 16000);
    map_stack(&on);
    CHECK_EQ(getcontext(&in_fiber), 0);
    in_fiber.uc_stack.ss_sp = on.lo;
    in_fiber.uc_stack.ss_size = STACK_SIZE;
    makecontext(&in_fiber, fiber, 0);
    CHECK_EQ(swapcontext(&around_fiber, &in_fiber), 0);
    unmap_stack(&on);
    works_again();
}

/* A deferred function jumps back to its callback, whose panic is over then. */
static jmp_buf in_callback;
static volatile int recovered;
static void recovers(void *arg) {
    (void)arg;
    recovered = needm_recover(NULL);
}
static void jumps_back(void *arg) {
    (void)arg;
    longjmp(in_callback, 1);
}
static void panics_and_goes_on(void *ends) {
    needm_defer d[2];
    CHECK_EQ(needm_defer_push(&d[0], recovers, NULL), 0);
    CHECK_EQ(needm_defer_push(&d[1], jumps_back, NULL), 0);
    if (setjmp(in_callback) == 0) ((void (*)(void *))ends)(NULL);
}
static void a_panic_is_over_once_a_deferred_function_has_jumped_back(void) {
    for (int i = 0; i < rounds(100); i++) {
        recovered = 2;
        CHECK_EQ(needm_callback(panics_and_goes_on, i % 2 ? (void *)fault : (void *)panics, 0, NULL), 0);
        CHECK_EQ(recovered, 0);
        works_again();
    }
}

/* Two fibers wait in C, each in a callback. The first one goes on, while the other has called last. */
enum { FIBERS = 2 };
static struct fiber {
    ucontext_t own, back;
    needm_m *m;
    needm_defer d;
    char stack[128 * 1024];
    volatile int ran, result;
} fibers[FIBERS];
static void waits_in_c(void *arg) {
    struct fiber *fiber = arg;
    CHECK_EQ(swapcontext(&fiber->own, &fiber->back), 0);
    CHECK(needm_self() == fiber->m);
    CHECK_EQ(needm_defer_push(&fiber->d, count, (void *)&fiber->ran), 0);
    CHECK_EQ(swapcontext(&fiber->own, &fiber->back), 0);
    if (fiber == &fibers[0]) needm_panic(NULL);
}
static void calls_c(void *arg) {
    struct fiber *fiber = arg;
    fiber->m = needm_self();
    CHECK_EQ(needm_ccall(waits_in_c, arg), 0);
    CHECK(needm_self() == fiber->m);
}
static int beginning;
static void fiber_main(void) {
    struct fiber *fiber = &fibers[beginning];
    fiber->result = needm_callback(calls_c, fiber, 0, NULL);
    CHECK_EQ(fiber->ran, 1);
    CHECK_EQ(swapcontext(&fiber->own, &fiber->back), 0);
}
static void go_on(int number) { CHECK_EQ(swapcontext(&fibers[number].back, &fibers[number].own), 0); }
static void c_acts_on_the_callback_that_has_called_it(void) {
    for (volatile int i = 0; i < rounds(100); i++) {
        for (volatile int n = 0; n < FIBERS; n++) {
            fibers[n].ran = 0;
            CHECK_EQ(getcontext(&fibers[n].own), 0);
            fibers[n].own.uc_stack.ss_sp = fibers[n].stack;
            fibers[n].own.uc_stack.ss_size = sizeof fibers[n].stack;
            makecontext(&fibers[n].own, fiber_main, 0);
            beginning = n;
            go_on(n);
        }
        static const int order[] = {0, 1, 0, 1};
        for (volatile int n = 0; n < 4; n++) go_on(i % 2 ? order[n] : order[3 - n]);
        CHECK_EQ(fibers[0].result, NEEDM_EPANIC);
        CHECK_EQ(fibers[1].result, 0);
        works_again();
    }
}

/* The stack of a coroutine runs out in a callback of C's, whose deferred function runs on the G's reserve, and is asked to
 * end there. The callback around it is in C. */
static needm_m *volatile running;
static volatile int asked, came_to_its_end;
static void *asks(void *arg) {
    WAIT_UNTIL(running != NULL);
    CHECK_EQ(needm_interrupt(running, NULL), 0);
    asked = 1;
    return arg;
}
static void is_asked(void *arg) {
    (void)arg;
    running = needm_self();
    WAIT_UNTIL(asked);
    came_to_its_end = getppid() > 0; /* the signal is here by then */
}
static void defers_and_overflows(void *arg) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, is_asked, arg), 0);
    overflow(NULL);
}
static void calls_back_from_c(void *arg) {
    needm_defer d;
    int result = needm_callback(defers_and_overflows, arg, 0, NULL);
    CHECK(result == NEEDM_EOVERFLOW || result == NEEDM_EINTERRUPTED);
    CHECK(came_to_its_end);
    CHECK_EQ(needm_depth(), 1);
    CHECK_EQ(needm_defer_push(&d, nothing, NULL), 0);
}
static void body_calls_c(struct coroutine *co) { CHECK_EQ(needm_ccall(calls_back_from_c, co), 0); }
static void an_interrupt_on_the_reserve_leaves_the_callback_around_it(void) {
    struct coroutine co = {0};
    map_stack(&co);
    for (int i = 0; i < rounds(100); i++) {
        running = NULL;
        asked = came_to_its_end = 0;
        pthread_t asking = thread(asks, NULL);
        CHECK_EQ(run(&co, body_calls_c, NULL), 0);
        join(asking);
        works_again();
    }
    unmap_stack(&co);
}

int main(int argc, char **argv) {
    seed = parse_seed(argc, argv, &binding);
    start((needm_config){.binding = binding});
    RUN(a_jump_past_a_further_stack_is_noticed);
    RUN(a_stack_that_was_jumped_off_is_not_used);
    RUN(a_panic_is_over_once_a_deferred_function_has_jumped_back);
    RUN(c_acts_on_the_callback_that_has_called_it);
    RUN(an_interrupt_on_the_reserve_leaves_the_callback_around_it);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
