/* A watchdog ends callbacks that do not end by themselves, wherever they are, and leaves the
 * thread as it was. */
#include "check.h"
#include <sched.h>
#include <sys/syscall.h>

static uint32_t binding;
static uint64_t seed;

/* What a callback and its watchdog say to one another. */
static needm_m *volatile target;
static volatile int ready, asked, returned;
/* The callback may be asked to end from here on, and it goes on for ever. */
static void begins(void) {
    target = needm_self();
    ready = 1;
}

/* Callbacks that do not end. */
static void registers_only(void *arg) {
    begins();
    for (uintptr_t n = (uintptr_t)arg;; n = n * 5 + 1) __asm__ volatile("" : "+r"(n));
}
static void library_calls(void *arg) {
    char text[200], copy[200];
    (void)arg;
    memset(text, 'x', sizeof text);
    begins();
    for (;;) {
        memcpy(copy, text, sizeof copy);
        text[memchr(copy, 'y', sizeof copy) ? 1 : 2] = (char)(strtol("17", NULL, 10) + strnlen(text, 5));
    }
}
static void system_calls(void *arg) {
    (void)arg;
    begins();
    for (;;) pause();
}
static void waits_in_c(void *arg) {
    (void)arg;
    begins();
    while (!asked) usleep(100);
}
static void c_functions(void *arg) {
    CHECK_EQ(needm_ccall(waits_in_c, arg), 0);
    CHECK(!"C has returned to the callback");
}
/* The inner callback is ended, and only that one. */
static void nested_on_the_g(void *arg) {
    needm_panic_info info = {sizeof info};
    CHECK_EQ(needm_callback(registers_only, arg, 0, &info), NEEDM_EINTERRUPTED);
    CHECK(info.value == arg);
    needm_panic(arg);
}
static void nested_in_c(void *arg) {
    CHECK_EQ(needm_ccall(nested_on_the_g, arg), 0);
    CHECK(!"the panic has ended this callback");
}
static void waits(void *arg) {
    (void)arg;
    begins();
    while (!asked) __asm__ volatile("");
    returned = 1; /* no deferred function is ended */
}
static void deferred_functions(void *arg) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, waits, arg), 0);
}
static void deferred_functions_of_a_panic(void *arg) {
    deferred_functions(arg);
    needm_panic(arg);
}
static void calls_of_needm(void *arg) {
    begins();
    for (;;) {
        CHECK_EQ(needm_ccall(nothing, arg), 0);
        needm_safepoint();
        CHECK_EQ(needm_recover(NULL), 0);
        CHECK(needm_stack_left() > 1000);
    }
}
static const struct kind {
    const char *name;
    void (*fn)(void *);
    int result, deferred;
} kinds[] = {
#define KIND(fn, result, deferred) {#fn, fn, result, deferred}
    KIND(registers_only, NEEDM_EINTERRUPTED, 0),
    KIND(library_calls, NEEDM_EINTERRUPTED, 0),
    KIND(system_calls, NEEDM_EINTERRUPTED, 0),
    KIND(c_functions, NEEDM_EINTERRUPTED, 0),
    KIND(nested_on_the_g, NEEDM_EPANIC, 0),
    KIND(nested_in_c, NEEDM_EPANIC, 0),
    KIND(deferred_functions, NEEDM_EINTERRUPTED, 1),
    KIND(deferred_functions_of_a_panic, NEEDM_EINTERRUPTED, 1),
    KIND(calls_of_needm, NEEDM_EINTERRUPTED, 0),
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* The watchdog: asks once for each callback that says it is ready. */
static void *value;
static volatile int over;
static void *watches(void *arg) {
    for (;;) {
        while (!ready && !over) sched_yield();
        if (over) return arg;
        for (uint64_t i = next(&seed) % 3000; i > 0; i--) __asm__ volatile("");
        CHECK_EQ(needm_interrupt(target, value), 0);
        ready = 0;
        asked = 1;
    }
}

struct state {
    uint64_t mask;
    stack_t stack;
    uint32_t control;
};
static struct state state(void) {
    struct state now;
    memset(&now, 0, sizeof now);
    CHECK_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &now.mask, sizeof now.mask), 0);
    CHECK_EQ(sigaltstack(NULL, &now.stack), 0);
    store_fp_control(&now.control);
    return now;
}
static void is_as(const struct state *before) {
    struct state now = state();
    CHECK(now.mask == before->mask);
    CHECK(now.stack.ss_sp == before->stack.ss_sp && now.stack.ss_size == before->stack.ss_size);
    CHECK_EQ(now.stack.ss_flags, before->stack.ss_flags);
    CHECK_EQ(now.control, before->control);
}
static void end_one(const struct kind *kind, size_t framesize) {
    char frame[64] = "as it was";
    needm_panic_info info = {sizeof info};
    needm_stats before = stats();
    void *m = needm_self();
    value = &info;
    asked = returned = 0;
    int result = needm_callback(kind->fn, framesize ? (void *)frame : (void *)&info, framesize, &info);
    if (result != kind->result) fprintf(stderr, "%s\n", kind->name);
    CHECK_EQ(result, kind->result);
    CHECK_EQ(info.kind, result);
    if (result == NEEDM_EINTERRUPTED) {
        CHECK(info.value == &info);
        CHECK_EQ(info.signo, 0);
        CHECK_EQ(info.code, 0);
    }
    while (!asked) __asm__ volatile("");
    CHECK_EQ(returned, kind->deferred);
    CHECK(strcmp(frame, "as it was") == 0);
    CHECK(needm_self() == m);
    CHECK_EQ(stats().interrupts, before.interrupts + 1);
}
static void *runs_callbacks(void *arg) {
    long sum = 0, calls = 0;
    needm_callback(nothing, NULL, 0, NULL);
    struct state before = state();
    for (int i = 0; i < rounds(1000); i++) {
        const struct kind *kind = &kinds[i % KINDS];
        /* With a copied frame, the argument is the copy. */
        size_t framesize = kind->result == NEEDM_EINTERRUPTED && next(&seed) % 4 == 0 ? 64 : 0;
        end_one(kind, framesize);
        is_as(&before);
        calls++;
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(sum, calls);
        if (i % 10 == 0) {
            CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
            CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        }
    }
    return arg;
}
static void a_thousand_endless_callbacks_are_ended(void) {
    start((needm_config){.binding = binding});
    over = 0;
    pthread_t watchdog = thread(watches, NULL);
    join(thread(runs_callbacks, NULL));
    over = 1;
    join(watchdog);
    stop_when_idle();
}
/* The same with floating-point and signals as a host may have them, and another signal. */
static void *runs_with_signals_blocked(void *arg) {
    sigset_t set;
    sigfillset(&set);
    sigdelset(&set, SIGUSR2);
    sigdelset(&set, SIGSEGV);
    sigdelset(&set, SIGBUS);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    return runs_callbacks(arg);
}
static void another_signal_can_be_chosen(void) {
    start((needm_config){.binding = binding, .interrupt_signal = SIGUSR2});
    over = 0;
    pthread_t watchdog = thread(watches, NULL);
    join(thread(runs_with_signals_blocked, NULL));
    over = 1;
    join(watchdog);
    stop_when_idle();
}

/* Many threads at once, each with a watchdog of its own. */
struct pair {
    needm_m *volatile m;
    volatile int go, done;
};
static void spins(void *arg) {
    struct pair *pair = arg;
    pair->m = needm_self();
    pair->go = 1;
    for (;;) __asm__ volatile("");
}
static void *watches_one(void *arg) {
    struct pair *pair = arg;
    while (!pair->done)
        if (pair->go) {
            pair->go = 0;
            CHECK_EQ(needm_interrupt(pair->m, pair), 0);
        } else
            usleep(10);
    return NULL;
}
static void *runs_many(void *arg) {
    struct pair pair = {0};
    pthread_t watchdog = thread(watches_one, &pair);
    for (int i = 0; i < rounds(200); i++) {
        needm_panic_info info = {sizeof info};
        CHECK_EQ(needm_callback(spins, &pair, 0, &info), NEEDM_EINTERRUPTED);
        CHECK(info.value == &pair);
    }
    pair.done = 1;
    join(watchdog);
    return arg;
}
static void eight_threads_are_watched_at_once(void) {
    pthread_t threads[8];
    start((needm_config){.binding = binding});
    for (int i = 0; i < 8; i++) threads[i] = thread(runs_many, NULL);
    for (int i = 0; i < 8; i++) join(threads[i]);
    stop_when_idle();
}

int main(int argc, char **argv) {
    if (handlers_lose_their_thread()) {
        fprintf(stderr, "skipped: a handler has another thread's pointer\n");
        return SUCCESS;
    }
    seed = parse_seed(argc, argv, &binding);
    RUN(a_thousand_endless_callbacks_are_ended);
    RUN(another_signal_can_be_chosen);
    RUN(eight_threads_are_watched_at_once);
    return SUCCESS;
}
