/* What were further stacks of callbacks that are over, or of fibers that are gone, become the stacks of new fibers. Their
 * callbacks are made on Gs, and their faults in C are C's own. */
#define PAGES_BELOW 2
#include "coroutine.h"
#include <setjmp.h>

static ucontext_t here, fresh;
static void is_on_a_g(void *arg) {
    void *lo, *hi;
    char on_it;
    (void)arg;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    CHECK((char *)lo <= &on_it && &on_it < (char *)hi);
}
static void calls_back_from_there(void) {
    CHECK_EQ(needm_callback(is_on_a_g, NULL, 0, NULL), 0);
    CHECK_EQ(swapcontext(&fresh, &here), 0);
}
static void faults_there(void) { fault(NULL); }
/* The memory is as new, too. */
static void begin_fiber_on(struct coroutine *co, void (*body)(void)) {
    memset(co->lo, 0, STACK_SIZE);
    CHECK_EQ(getcontext(&fresh), 0);
    fresh.uc_stack.ss_sp = co->lo;
    fresh.uc_stack.ss_size = STACK_SIZE;
    makecontext(&fresh, body, 0);
    CHECK_EQ(swapcontext(&here, &fresh), 0);
}

/* A callback whose coroutine waits calls C, which jumps out of it. */
static jmp_buf out;
static void jumps_out(void *arg) {
    (void)arg;
    longjmp(out, 1);
}
static void body_waits(struct coroutine *co) { yield(co); }
static void has_a_coroutine(void *arg) {
    struct coroutine *co = arg;
    make(co, body_waits);
    co->declares_itself = 1;
    resume(co);
    needm_ccall(jumps_out, NULL);
}
static __attribute__((noinline)) void calls_back_deep_down(struct coroutine *co) {
    volatile char unused[6000];
    unused[0] = 1;
    needm_callback(has_a_coroutine, co, 0, NULL);
    unused[1] = 1;
}
static void a_stack_of_a_callback_that_was_jumped_out_of(void) {
    struct coroutine co = {0};
    map_stack(&co);
    if (setjmp(out) == 0) calls_back_deep_down(&co);
    needm_self();
    begin_fiber_on(&co, calls_back_from_there);
    CHECK_EQ(needm_depth(), 0);
    unmap_stack(&co);
}

/* Fibers are left for good in callbacks that have entered further stacks. */
enum { FIBERS = 3 };
static struct coroutine fibers[FIBERS], further[FIBERS];
static ucontext_t contexts[FIBERS];
static int number;
static void is_left(void *arg) {
    ucontext_t *own = arg;
    CHECK_EQ(swapcontext(own, &here), 0);
    needm_callback(nothing, NULL, 0, NULL);
    CHECK_EQ(swapcontext(own, &here), 0);
}
static void enters_a_further_stack(void *arg) {
    struct coroutine *co = further + ((ucontext_t *)arg - contexts);
    needm_stack old;
    CHECK_EQ(needm_enter_stack(co->lo, co->hi, &old), 0);
    needm_ccall(is_left, arg);
}
static void fiber(void) { needm_callback(enters_a_further_stack, contexts + number, 0, NULL); }
static void leave_fibers(void) {
    CHECK_EQ(needm_attach(), 0);
    for (number = 0; number < FIBERS; number++) {
        map_stack(fibers + number);
        map_stack(further + number);
        CHECK_EQ(getcontext(contexts + number), 0);
        contexts[number].uc_stack.ss_sp = fibers[number].lo;
        contexts[number].uc_stack.ss_size = STACK_SIZE;
        makecontext(contexts + number, fiber, 0);
        CHECK_EQ(swapcontext(&here, contexts + number), 0);
    }
    /* Its M, the thread's first, lies above the others' again. */
    CHECK_EQ(swapcontext(&here, contexts), 0);
    for (int i = 0; i < FIBERS; i++) memset(fibers[i].lo, 0, STACK_SIZE);
    needm_self();
}
static void a_stack_of_a_fiber_that_is_gone(void) {
    leave_fibers();
    for (int i = FIBERS; i--;) begin_fiber_on(further + i, calls_back_from_there);
    for (int i = 0; i < FIBERS; i++) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_detach(), 0);
}
/* The host's handler sees C's own fault, and nothing that its thread was sent to instead. */
static void sees_the_fault(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    _exit(CONTEXT_PC((ucontext_t *)context) ? SUCCESS : 1);
}
static void faults_on_a_stack_of_a_fiber_that_is_gone(void) {
    struct sigaction action = {.sa_sigaction = sees_the_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
    start((needm_config){.binding = binding});
    leave_fibers();
    begin_fiber_on(further + FIBERS - 1, faults_there);
}

int main(int argc, char **argv) {
    seed = parse_seed(argc, argv, &binding);
    CHECK_CHILD(faults_on_a_stack_of_a_fiber_that_is_gone);
    start((needm_config){.binding = binding});
    RUN(a_stack_of_a_callback_that_was_jumped_out_of);
    needm_detach();
    RUN(a_stack_of_a_fiber_that_is_gone);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
