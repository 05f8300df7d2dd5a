/* A watchdog ends callbacks that do not end by themselves, wherever they are, and leaves their
 * threads as they were; it never ends another callback than the one it was asked for. */
#include "../c/check.h"
#include <sched.h>

static uint32_t binding;
static uint64_t seed;

/* What a callback and its watchdog say to one another. */
static needm_m *volatile target;
static volatile int ready, asked, over;
static void *value;
static void begins(void) {
    target = needm_self();
    ready = 1;
}
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

/* Callbacks that do not end. */
static void registers_only(void *arg) {
    begins();
    for (uintptr_t n = (uintptr_t)arg;; n = n * 5 + 1) __asm__ volatile("" : "+r"(n));
}
static void functions_of_windows(void *arg) {
    begins();
    for (;;) {
        SwitchToThread();
        SetLastError(GetTickCount() + (arg != NULL));
    }
}
static void short_waits(void *arg) {
    (void)arg;
    begins();
    for (;;) Sleep(1);
}
static void waits_in_c(void *arg) {
    (void)arg;
    begins();
    WAIT_UNTIL(asked);
}
static void c_functions(void *arg) {
    CHECK_EQ(needm_ccall(waits_in_c, arg), 0);
    CHECK(!"C has returned to the callback");
}
static void nested(void *arg) {
    needm_panic_info info = {sizeof info};
    CHECK_EQ(needm_callback(registers_only, arg, 0, &info), NEEDM_EINTERRUPTED);
    CHECK(info.value == arg);
    needm_panic(arg);
}
static void nested_in_c(void *arg) {
    CHECK_EQ(needm_ccall(nested, arg), 0);
    CHECK(!"the panic has ended this callback");
}
static void waits(void *arg) {
    (void)arg;
    begins();
    while (!asked) __asm__ volatile("");
}
static void deferred_functions(void *arg) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, waits, arg), 0);
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
static void asks_for_itself(void *arg) {
    CHECK_EQ(needm_interrupt(needm_self(), arg), 0);
    CHECK(!"the callback has ended");
}
static const struct kind {
    const char *name;
    void (*fn)(void *);
    int result;
} kinds[] = {
#define KIND(fn, result) {#fn, fn, result}
    KIND(registers_only, NEEDM_EINTERRUPTED), KIND(functions_of_windows, NEEDM_EINTERRUPTED),
    KIND(short_waits, NEEDM_EINTERRUPTED),    KIND(c_functions, NEEDM_EINTERRUPTED),
    KIND(nested, NEEDM_EPANIC),               KIND(nested_in_c, NEEDM_EPANIC),
    KIND(deferred_functions, NEEDM_EINTERRUPTED), KIND(calls_of_needm, NEEDM_EINTERRUPTED),
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void end_one(const struct kind *kind) {
    needm_panic_info info = {sizeof info};
    uint64_t before = stats().interrupts;
    value = &info;
    asked = 0;
    NT_TIB stack = *(NT_TIB *)NtCurrentTeb();
    int result = needm_callback(kind->fn, &info, 0, &info);
    if (result != kind->result) fprintf(stderr, "%s\n", kind->name);
    CHECK_EQ(result, kind->result);
    CHECK(info.value == &info);
    while (!asked) sched_yield();
    CHECK_EQ(stats().interrupts, before + 1);
    NT_TIB after = *(NT_TIB *)NtCurrentTeb();
    CHECK(stack.StackBase == after.StackBase && stack.StackLimit == after.StackLimit);
}
static void *ends_each_kind(void *arg) {
    long sum = 0, calls = 0;
    for (int i = 0; i < rounds(2000); i++) {
        end_one(&kinds[i % KINDS]);
        calls++;
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(sum, calls);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        if (i % 10 == 0) CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    }
    return arg;
}
static void endless_callbacks_are_ended(void) {
    over = ready = 0;
    pthread_t watchdog = thread(watches, NULL);
    join(thread(ends_each_kind, NULL));
    over = 1;
    join(watchdog);
    needm_panic_info info = {sizeof info};
    CHECK_EQ(needm_callback(asks_for_itself, &info, 0, &info), NEEDM_EINTERRUPTED);
    CHECK(info.value == &info);
}

/* A callback that is not ended goes on with all that it had: it computes with every register that
 * the compiler has, while another thread looks at it without end. */
static volatile int stop_asking;
static volatile long answered; /* requests that were granted */
static uint64_t computed(uint64_t n, int turns) {
    double d[12];
    uint64_t r[12];
    for (int i = 0; i < 12; i++) d[i] = (double)i + 1, r[i] = n + (uint64_t)i;
    for (int turn = 0; turn < turns; turn++)
        for (int i = 0; i < 12; i++) {
            d[i] = d[i] * 1.0000001 + (double)(r[(i + 5) % 12] & 7);
            r[i] = r[i] * 6364136223846793005u + r[(i + 1) % 12];
        }
    uint64_t sum = 0;
    for (int i = 0; i < 12; i++) sum += r[i] + (uint64_t)d[i];
    return sum;
}
static uint64_t want;
/* It has a deferred function under way: requests are made, looked at there, and wait. */
static void computes(void *arg) {
    long before = answered;
    (void)arg;
    begins();
    while (answered < before + 20) CHECK_EQ(computed(17, 2000), want);
}
static void defers_computing(void *arg) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, computes, arg), 0);
}
static void *asks_without_end(void *arg) {
    while (!stop_asking)
        if (ready) {
            int answer = needm_interrupt(target, arg);
            CHECK(answer == 0 || answer == NEEDM_EINVAL);
            answered += answer == 0;
        } else
            sched_yield();
    return arg;
}
static void *computes_while_asked(void *arg) {
    for (int i = 0; i < rounds(100); i++)
        CHECK_EQ(needm_callback(defers_computing, NULL, 0, NULL), NEEDM_EINTERRUPTED);
    return arg;
}
static void what_goes_on_has_its_registers(void) {
    want = computed(17, 2000);
    stop_asking = ready = 0;
    pthread_t asker = thread(asks_without_end, NULL);
    join(thread(computes_while_asked, NULL));
    stop_asking = 1;
    join(asker);
}

/* Short callbacks of two threads, and two that ask: each ending is one that was asked for while that
 * callback was under way, or before it began the number says so. */
struct counted {
    needm_m *volatile m;
    volatile uint64_t began;
    volatile int over;
    uint64_t seed, ended;
};
struct request {
    struct counted *of;
    volatile uint64_t before, after;
    volatile LONG endings;
};
enum { REQUESTS = 4000 };
static struct request requests[2][REQUESTS];
static void works(void *arg) {
    struct counted *own = arg;
    own->m = needm_self();
    for (uint64_t i = next(&own->seed) % 200; i > 0; i--) __asm__ volatile("");
}
static void works_in_c(void *arg) {
    works(arg);
    CHECK_EQ(needm_ccall(works, arg), 0);
}
static void *calls(void *arg) {
    struct counted *own = arg;
    while (!own->over) {
        needm_panic_info info = {sizeof info};
        uint64_t number = ++own->began;
        int result = needm_callback(number % 3 ? works : works_in_c, own, 0, &info);
        if (result == 0) continue;
        CHECK_EQ(result, NEEDM_EINTERRUPTED);
        struct request *request = info.value;
        CHECK_EQ(InterlockedIncrement(&request->endings), 1);
        own->ended++;
        CHECK(request->of == own || binding == NEEDM_BIND_CALL);
        if (request->of != own) continue;
        CHECK(request->before <= number);
        uint64_t after = request->after;
        if (after) CHECK(number <= after);
    }
    return NULL;
}
struct asker {
    struct counted *threads;
    struct request *requests;
    uint64_t seed;
};
static volatile LONG granted;
static void *asks(void *arg) {
    struct asker *own = arg;
    for (int i = 0; i < rounds(REQUESTS); i++) {
        struct counted *of = &own->threads[next(&own->seed) % 2];
        struct request *request = &own->requests[i];
        while (!of->m) sched_yield();
        request->of = of;
        request->before = of->began;
        int answer = needm_interrupt(of->m, request);
        CHECK(answer == 0 || answer == NEEDM_EINVAL);
        request->after = of->began;
        if (answer == 0)
            InterlockedIncrement(&granted);
        else
            CHECK_EQ(request->endings, 0);
    }
    return NULL;
}
static void requests_meet_only_the_callback_that_is_under_way(void) {
    struct counted threads[2] = {{.seed = seed | 1}, {.seed = seed * 5 | 1}};
    struct asker askers[2] = {{threads, requests[0], seed | 1}, {threads, requests[1], seed * 7 | 1}};
    pthread_t callers[2], others[2];
    uint64_t before = stats().interrupts;
    for (int i = 0; i < 2; i++) callers[i] = thread(calls, &threads[i]);
    for (int i = 0; i < 2; i++) others[i] = thread(asks, &askers[i]);
    for (int i = 0; i < 2; i++) join(others[i]);
    for (int i = 0; i < 2; i++) threads[i].over = 1, join(callers[i]);
    uint64_t ended = stats().interrupts - before;
    fprintf(stderr, "  %ld granted, %llu ended\n", granted, (unsigned long long)ended);
    CHECK_EQ(ended, threads[0].ended + threads[1].ended);
    CHECK(ended > 0 && ended <= (uint64_t)granted);
}

/* Two threads whose callbacks end one another. */
static needm_m *volatile pair[2];
static volatile int enough;
static void ends_the_other(void *arg) {
    int own = *(int *)arg;
    pair[own] = needm_self();
    for (;;) {
        if (pair[!own]) {
            int answer = needm_interrupt(pair[!own], arg);
            CHECK(answer == 0 || answer == NEEDM_EINVAL);
        }
        if (enough) return;
    }
}
static void *one_of_two(void *arg) {
    int ended = 0;
    while (!enough) {
        int result = needm_callback(ends_the_other, arg, 0, NULL);
        CHECK(result == 0 || result == NEEDM_EINTERRUPTED);
        if (result && ++ended == rounds(1000)) enough = 1;
    }
    return arg;
}
static void two_callbacks_end_each_other(void) {
    int numbers[2] = {0, 1};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) threads[i] = thread(one_of_two, &numbers[i]);
    for (int i = 0; i < 2; i++) join(threads[i]);
}

static void refused(void) {
    CHECK_EQ(needm_callback((void (*)(void *))begins, NULL, 0, NULL), 0);
    CHECK_EQ(needm_interrupt(target, NULL), NEEDM_EINVAL); /* in no callback */
    CHECK_EQ(needm_interrupt(NULL, NULL), NEEDM_EINVAL);
    needm_config config = {.size = sizeof config, .interrupt_signal = 23};
    stop_when_idle();
    CHECK_EQ(needm_start(&config), NEEDM_EINVAL);
    start((needm_config){.binding = binding});
}

int main(int argc, char **argv) {
    seed = parse_seed(argc, argv, &binding);
    start((needm_config){.binding = binding});
    RUN(refused);
    RUN(endless_callbacks_are_ended);
    RUN(what_goes_on_has_its_registers);
    RUN(requests_meet_only_the_callback_that_is_under_way);
    RUN(two_callbacks_end_each_other);
    stop_when_idle();
    return SUCCESS;
}
