/* Coroutines inside callbacks, at the edges: jumps, overflows while one is under way, the stopped world,
 * mistakes, and stacks that were not declared. */
#include "coroutine.h"
#include <fcntl.h>
#include <setjmp.h>

/* C jumps out of a callback from a coroutine. */
static jmp_buf outside;
static void jumps(void *arg) {
    (void)arg;
    longjmp(outside, 1);
}
static void body_jumps_from_c(struct coroutine *co) {
    (void)co;
    needm_ccall(jumps, NULL);
}
/* In a frame of its own, so that the jump leaves the place where needm was called: a call that is
 * made as far down as that one might be the C's that the callback has called. */
static __attribute__((noinline)) void is_jumped_out_of(struct coroutine *co) {
    volatile char room[1024];
    room[0] = 0;
    run(co, body_jumps_from_c, NULL);
    CHECK_EQ(room[0], 0);
    CHECK(!"reached");
}
static void a_longjmp_past_coroutines_loses_nothing(void) {
    struct coroutine co = {0};
    map_stack(&co);
    start((needm_config){.binding = binding});
    for (volatile int i = 0; i < rounds(200); i++) {
        if (setjmp(outside) == 0) is_jumped_out_of(&co);
        works_again();
        CHECK(stats().ms_total <= 2);
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    unmap_stack(&co);
}

/* A coroutine that a deferred function runs after an overflow of the G: the deferred function's
 * frames are on the reserve, and stay whole. Where an overflow would need the reserve again, the
 * process ends. */
static void body_faults_inside(struct coroutine *co) {
    struct coroutine *inner = co->arg;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(run(inner, body_faults, NULL), NEEDM_EFAULT);
    }
}
static void runs_on_the_reserve(void *arg) {
    struct coroutine *co = arg;
    volatile long pattern[64];
    for (int i = 0; i < 64; i++) pattern[i] = i * 3;
    make(co, body_faults_inside);
    resume(co);
    for (int i = 0; i < 64; i++) CHECK_EQ(pattern[i], i * 3);
    co->seen++;
}
static void overflows_with_a_coroutine(void *arg) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, runs_on_the_reserve, arg), 0);
    overflow(NULL);
}
static void body_overflows_inside(struct coroutine *co) {
    (void)co;
    needm_callback(overflow, NULL, 0, NULL);
}
static void runs_an_overflow(void *arg) {
    make(arg, body_overflows_inside);
    resume(arg);
}
static void overflows_and_again(void *arg) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, runs_an_overflow, arg), 0);
    overflow(NULL);
}
static void needs_the_reserve_twice(void) {
    struct coroutine co = {0};
    map_stack(&co);
    start((needm_config){.binding = binding});
    needm_callback(overflows_and_again, &co, 0, NULL);
}
/* A coroutine overflows that a deferred function of the same callback runs. */
static void resumes_inner(void *arg) {
    struct coroutine *co = arg;
    make(co, body_overflows);
    resume(co);
}
static void body_overflows_again(struct coroutine *co) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, resumes_inner, co->arg), 0);
    overflow(NULL);
}
static void an_overflow_during_an_overflow(void) {
    struct coroutine co = {0}, inner = {0};
    map_stack(&co);
    map_stack(&inner);
    co.arg = &inner;
    start((needm_config){.binding = binding});
    for (int i = 0; i < 20; i++) {
        co.seen = inner.seen = 0;
        CHECK_EQ(needm_callback(overflows_with_a_coroutine, &co, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(co.seen, 1);
        CHECK_EQ(inner.seen, 3);
        CHECK_EQ(run(&co, body_overflows_again, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(inner.seen, 4);
        works_again();
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    unmap_stack(&co);
    unmap_stack(&inner);
    CHECK_DIES(needs_the_reserve_twice, SIGABRT);
}

/* The world stops while a callback is on a further stack, and is shown each part. */
static volatile int at_safepoint, scanned;
static void body_waits(struct coroutine *co) {
    volatile uintptr_t secret = (uintptr_t)co ^ 0x5ec2e7;
    at_safepoint = 1;
    while (!scanned) needm_safepoint();
    CHECK_EQ(secret, (uintptr_t)co ^ 0x5ec2e7);
}
static void *runs_a_coroutine(void *arg) {
    CHECK_EQ(run(arg, body_waits, NULL), 0);
    return NULL;
}
struct shown {
    struct coroutine *co;
    int gs, parts, secrets;
};
static int visit(const needm_m *m, void *sp, void *hi, void *arg) {
    struct shown *shown = arg;
    void *g_lo, *g_hi;
    CHECK_EQ(needm_g_bounds(m, &g_lo, &g_hi), 0);
    if (hi == g_hi) {
        CHECK_EQ((char *)sp - (char *)g_lo, 0);
        CHECK_EQ(shown->parts, 0);
        shown->gs++;
    } else {
        CHECK(hi == shown->co->hi && sp > (void *)shown->co->lo && sp < hi);
        for (uintptr_t *word = sp; word < (uintptr_t *)hi; word++)
            shown->secrets += *word == ((uintptr_t)shown->co ^ 0x5ec2e7);
        shown->parts++;
    }
    return 0;
}
static void a_stopped_world_shows_each_part(void) {
    struct coroutine co = {0};
    map_stack(&co);
    start((needm_config){.binding = binding});
    pthread_t other = thread(runs_a_coroutine, &co);
    WAIT_UNTIL(at_safepoint);
    struct shown shown = {.co = &co};
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_each_m(visit, &shown), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    scanned = 1;
    CHECK_EQ(shown.gs, 1);
    CHECK_EQ(shown.parts, 1);
    CHECK(shown.secrets >= 1);
    join(other);
    stop_when_idle();
    unmap_stack(&co);
}

/* What is refused. */
static void refused_on_the_g(void *arg) {
    struct coroutine *co = arg;
    needm_stack a, b, stale;
    void *g_lo, *g_hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &g_lo, &g_hi), 0);
    CHECK_EQ(needm_leave_stack(&co->old), NEEDM_EINVAL);
    CHECK_EQ(needm_leave_stack(NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack(co->lo, co->hi, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack(NULL, co->hi, &a), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack(co->hi, co->lo, &a), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack(co->lo, co->lo, &a), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack(g_lo, g_hi, &a), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack((char *)g_hi - 4096, (char *)g_hi + 4096, &a), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack((char *)co->arg - 65536, (char *)co->arg + 64, &a), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack(co->lo, co->hi, &a), 0);
    CHECK_EQ(needm_enter_stack(co->lo + 64, co->hi, &b), NEEDM_EINVAL);
    CHECK_EQ(needm_enter_stack(co->lo, co->hi, &b), 0);
    CHECK_EQ(needm_leave_stack(&a), NEEDM_EINVAL);
    CHECK_EQ(needm_callback((void (*)(void *))needm_leave_stack, &b, 0, NULL), 0);
    CHECK_EQ(needm_leave_stack(&b), 0);
    CHECK_EQ(needm_leave_stack(&b), NEEDM_EINVAL);
    CHECK_EQ(needm_leave_stack(&a), 0);
    stale = a;
    CHECK_EQ(needm_enter_stack(co->lo, co->hi, &a), 0);
    CHECK_EQ(needm_leave_stack(&stale), NEEDM_EINVAL);
    CHECK_EQ(needm_leave_stack(&a), 0);
    int entered = 0;
    static needm_stack many[100000];
    while (needm_enter_stack(co->lo, co->hi, many + entered) == 0) entered++;
    CHECK(entered > 300 && entered < 100000);
    CHECK_EQ(needm_enter_stack(co->lo, co->hi, many + entered), NEEDM_ENOMEM);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), NEEDM_EOVERFLOW);
    while (entered > 0) CHECK_EQ(needm_leave_stack(many + --entered), 0);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void mistakes_are_refused(void) {
    struct coroutine co = {0};
    char here;
    map_stack(&co);
    co.arg = &here;
    CHECK_EQ(needm_enter_stack(co.lo, co.hi, &co.old), NEEDM_EINVAL);
    CHECK_EQ(needm_leave_stack(&co.old), NEEDM_EINVAL);
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_enter_stack(co.lo, co.hi, &co.old), NEEDM_EINVAL);
    CHECK_EQ(needm_leave_stack(&co.old), NEEDM_EINVAL);
    CHECK_EQ(needm_callback(refused_on_the_g, &co, 0, NULL), 0);
    works_again();
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    unmap_stack(&co);
}

/* A stack that was not declared counts only if it can be no other's. */
static void body_undeclared(struct coroutine *co) {
    CHECK_EQ(needm_ccall(nothing, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    ends(co, co->arg ? fault : panics);
}
static void runs_undeclared(void *arg) { switch_to(arg); }
static jmp_buf on_own_stack;
static void goes_to_the_own_stack(void *arg) {
    (void)arg;
    longjmp(on_own_stack, 1);
}
static void faults_on_the_own_stack(void) {
    start((needm_config){.binding = binding});
    if (setjmp(on_own_stack)) fault(NULL);
    needm_callback(goes_to_the_own_stack, NULL, 0, NULL);
}
static void body_calls_back(struct coroutine *co) {
    needm_callback(co->arg, co, 0, NULL);
    CHECK(!"reached");
}
static void body_is_not_the_callbacks(struct coroutine *co) {
    CHECK_EQ(needm_ccall(nothing, NULL), NEEDM_EINVAL);
    (void)co;
    fault(NULL);
}
static void goes_to_the_callers_mapping(void *arg) {
    struct coroutine *co = arg, other = {.lo = co->lo, .hi = co->hi};
    make(&other, body_is_not_the_callbacks);
    other.own.uc_stack.ss_size = STACK_SIZE / 2;
    makecontext(&other.own, coroutine_main, 0);
    switch_to(&other);
}
static void faults_in_the_mapping_of_the_caller(void) {
    struct coroutine co = {0};
    map_stack(&co);
    start((needm_config){.binding = binding});
    make(&co, body_calls_back);
    co.arg = (void *)goes_to_the_callers_mapping;
    switch_to(&co);
}
static void are_the_callbacks_on(struct coroutine co) {
    start((needm_config){.binding = binding});
    for (int i = 0; i < 20; i++) {
        make(&co, body_undeclared);
        co.arg = &co;
        co.seen = 0;
        CHECK_EQ(needm_callback(runs_undeclared, &co, 0, NULL), NEEDM_EFAULT);
        make(&co, body_undeclared);
        co.arg = NULL;
        CHECK_EQ(needm_callback(runs_undeclared, &co, 0, NULL), NEEDM_EPANIC);
        CHECK_EQ(co.seen, 2);
        works_again();
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}
static void are_the_callbacks(void) {
    struct coroutine co = {0};
    map_stack(&co);
    are_the_callbacks_on(co);
    unmap_stack(&co);
}
#ifndef _WIN32
/* In one mapping with the thread-local storage of the first thread, which is on no stack. */
static void beside_thread_local_storage(void) {
    struct coroutine co = {0};
    uintptr_t lo, hi, own = (uintptr_t)&starting;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    while (fscanf(maps, "%zx-%zx%*[^\n]", (size_t *)&lo, (size_t *)&hi) == 2 && hi <= own) continue;
    fclose(maps);
    if (own < lo) return; /* an emulator's list */
    co.lo = mmap((void *)(lo - STACK_SIZE), STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(co.lo != MAP_FAILED);
    co.hi = co.lo + STACK_SIZE;
    are_the_callbacks_on(co);
}
static void *goes_on_alone(void *arg) {
    char path[32], byte;
    /* Linux has no maps to show for a first thread that has exited. */
    sprintf(path, "/proc/%d/maps", getpid());
    if (!emulated())
        for (ssize_t n = 1; n > 0;) {
            int file = open(path, O_RDONLY);
            n = read(file, &byte, 1);
            close(file);
        }
    are_the_callbacks();
    _exit(SUCCESS);
    return arg;
}
static void after_the_first_thread_has_exited(void) {
    thread(goes_on_alone, NULL);
    pthread_exit(NULL);
}
#endif
static void stacks_that_were_not_declared(void) {
    are_the_callbacks();
#ifndef _WIN32
    CHECK_CHILD(after_the_first_thread_has_exited);
    CHECK_CHILD(beside_thread_local_storage);
#endif
    CHECK_DIES(faults_on_the_own_stack, SIGSEGV);
    CHECK_DIES(faults_in_the_mapping_of_the_caller, SIGSEGV);
}

#ifndef _WIN32 /* no signals */
/* A handler over the coroutine's code ends the callback: what its signal has blocked is free again. */
static void (*ending)(void *);
static void ends_in_a_handler(int signal) { (void)signal, ending(NULL); }
static void body_is_interrupted(struct coroutine *co) {
    volatile char frame[256];
    frame[0] = co ? 1 : 2;
    raise(SIGUSR1);
    CHECK(frame[0]);
}
static void an_ending_in_a_handler_leaves_the_mask(void) {
    static const struct {
        void (*ending)(void *);
        int result;
    } kinds[] = {{fault, NEEDM_EFAULT}, {panics, NEEDM_EPANIC}, {overflow, NEEDM_EOVERFLOW}};
    struct sigaction action = {.sa_handler = ends_in_a_handler, .sa_flags = SA_SIGINFO};
    struct coroutine co = {0};
    sigset_t before, after;
    sigaddset(&action.sa_mask, SIGUSR2);
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    map_stack(&co);
    start((needm_config){.binding = binding});
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
    for (int i = 0; i < rounds(60); i++) {
        ending = kinds[i % 3].ending;
        co.declares_itself = i & 1;
        CHECK_EQ(run(&co, body_is_interrupted, NULL), kinds[i % 3].result);
        CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
        for (int j = 1; j < 32; j++) CHECK_EQ(sigismember(&after, j), sigismember(&before, j));
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    unmap_stack(&co);
}
#endif

int main(int argc, char **argv) {
    seed = parse_seed(argc, argv, &binding);
    RUN(a_longjmp_past_coroutines_loses_nothing);
    RUN(an_overflow_during_an_overflow);
    RUN(a_stopped_world_shows_each_part);
    RUN(mistakes_are_refused);
#ifndef _WIN32
    RUN(an_ending_in_a_handler_leaves_the_mask);
#endif
    RUN(stacks_that_were_not_declared);
    return SUCCESS;
}
