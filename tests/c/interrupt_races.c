/* Requests at any moment, while callbacks begin and return, Ms go from thread to thread, threads
 * exit and the world stops: no callback is ended but one that was asked for, and none twice. */
#include "filter.h"
#include <sched.h>

static uint32_t binding;

/* Short callbacks, numbered. Threads that ask note, before, the number of the outermost that is under
 * way, and after, of the last that has begun: a callback that ends is between the two. */
enum { ASKERS = 2, KINDS = 5 };
struct thread {
    needm_m *volatile m;
    volatile uint64_t number, ended, began;
    volatile int over;
    int kind;
    uint64_t seed;
};
struct request {
    struct thread *of;
    volatile uint64_t before, after; /* `after` is 0 until it is known */
    volatile int endings;
};
enum { REQUESTS = 1 << 16 };
static struct request requests[ASKERS][REQUESTS];
static volatile uint64_t granted;

static void works(void *arg) {
    struct thread *own = arg;
    own->m = needm_self();
    for (uint64_t i = next(&own->seed) % 200; i > 0; i--) __asm__ volatile("");
}
static void in_c(void *arg) {
    struct thread *own = arg;
    for (uint64_t i = next(&own->seed) % 100; i > 0; i--) __asm__ volatile("");
}
static void calls_c(void *arg) {
    works(arg);
    CHECK_EQ(needm_ccall(in_c, arg), 0);
}
static void defers(void *arg) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, in_c, arg), 0);
    works(arg);
}
static int one(struct thread *own, void (*fn)(void *), size_t framesize);
static void nests(void *arg) {
    works(arg);
    one(arg, works, 0);
}
static int one(struct thread *own, void (*fn)(void *), size_t framesize) {
    char frame[32] = {0};
    needm_panic_info info = {sizeof info};
    uint64_t number = ++own->began;
    if (needm_depth() == 0) own->number = number;
    int result = needm_callback(fn, framesize ? (void *)frame : (void *)own, framesize, &info);
    if (result == 0) return 0;
    CHECK_EQ(result, NEEDM_EINTERRUPTED);
    struct request *request = info.value;
    CHECK(request >= &requests[0][0] && request < &requests[0][0] + ASKERS * REQUESTS);
    CHECK_EQ(__sync_fetch_and_add(&request->endings, 1), 0);
    own->ended++;
    /* An M that is bound for one callback may have gone to the other thread. */
    CHECK(request->of == own || binding == NEEDM_BIND_CALL);
    if (request->of != own) return result;
    CHECK(request->before <= number);
    uint64_t after = request->after;
    if (after) CHECK(number <= after);
    return result;
}
static void of_a_frame(void *arg) {
    (void)arg;
    for (volatile int i = 0; i < 50; i++) __asm__ volatile("");
}
static void *calls(void *arg) {
    struct thread *own = arg;
    static void (*const fns[KINDS])(void *) = {works, calls_c, defers, nests, of_a_frame};
    long sum = 0, calls = 0;
    one(own, works, 0);
    while (!own->over) {
        int kind = own->kind < 0 ? (int)(next(&own->seed) % KINDS) : own->kind;
        one(own, fns[kind], kind == 4 ? 32 : 0);
        if (next(&own->seed) % 64 == 0) {
            int result = needm_callback(add, &sum, 0, NULL);
            if (result == 0) calls++;
        }
    }
    CHECK(sum >= calls);
    return NULL;
}
struct asker {
    struct thread *threads;
    struct request *requests;
    int count;
    uint64_t seed;
};
static void *asks(void *arg) {
    struct asker *own = arg;
    uint64_t asked = 0;
    for (int i = 0; i < own->count; i++) {
        struct thread *of = &own->threads[next(&own->seed) % 2];
        struct request *request = &own->requests[i];
        needm_m *m = of->m;
        if (!m) {
            sched_yield();
            continue;
        }
        request->of = of;
        request->before = of->number;
        int answer = needm_interrupt(m, request);
        CHECK(answer == 0 || answer == NEEDM_EINVAL);
        request->after = of->began;
        if (answer == 0)
            asked++;
        else
            CHECK_EQ(request->endings, 0);
        for (uint64_t j = next(&own->seed) % 100; j > 0; j--) __asm__ volatile("");
    }
    __sync_fetch_and_add(&granted, asked);
    return NULL;
}
static void short_callbacks_of(int kind, int count, uint64_t seed) {
    struct thread threads[2] = {{.kind = kind, .seed = seed * 3 | 1}, {.kind = kind, .seed = seed * 5 | 1}};
    struct asker askers[ASKERS];
    pthread_t callers[2], others[ASKERS];
    memset(requests, 0, sizeof requests);
    granted = 0;
    start((needm_config){.binding = binding});
    uint64_t before = stats().interrupts;
    for (int i = 0; i < 2; i++) callers[i] = thread(calls, &threads[i]);
    for (int i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){threads, requests[i], count, (seed + (uint64_t)i) * 7 | 1};
        others[i] = thread(asks, &askers[i]);
    }
    for (int i = 0; i < ASKERS; i++) join(others[i]);
    for (int i = 0; i < 2; i++) threads[i].over = 1, join(callers[i]);
    uint64_t ended = stats().interrupts - before;
    fprintf(stderr, "  kind %d: %llu granted, %llu ended\n", kind, (unsigned long long)granted, (unsigned long long)ended);
    CHECK(ended <= granted);
    stop_when_idle();
}
static uint64_t seed;
static void requests_meet_only_the_callback_that_is_under_way(void) {
    for (int kind = -1; kind < KINDS; kind++) short_callbacks_of(kind, rounds(8000), next(&seed));
}

/* Per call, one M for two threads: it goes from one to the other. */
static volatile int done;
static void *shares(void *arg) {
    struct thread *own = arg;
    while (!done) {
        needm_panic_info info = {sizeof info};
        int result = needm_callback(works, own, 0, &info);
        if (result == NEEDM_EINTERRUPTED) own->ended++;
        CHECK(result == 0 || result == NEEDM_EINTERRUPTED);
    }
    return NULL;
}
static void an_m_may_go_from_thread_to_thread(void) {
    struct thread threads[2] = {{.seed = 3}, {.seed = 5}};
    pthread_t callers[2];
    done = 0;
    start((needm_config){.binding = NEEDM_BIND_CALL, .max_ms = 1});
    for (int i = 0; i < 2; i++) callers[i] = thread(shares, &threads[i]);
    WAIT_UNTIL(threads[0].m || threads[1].m);
    needm_m *m = threads[0].m ? threads[0].m : threads[1].m;
    uint64_t granted = 0, before = stats().interrupts;
    for (int i = 0; i < rounds(20000); i++) {
        granted += needm_interrupt(m, NULL) == 0;
        if (i % 16 == 0) sched_yield();
    }
    done = 1;
    for (int i = 0; i < 2; i++) join(callers[i]);
    fprintf(stderr, "  %llu granted\n", (unsigned long long)granted);
    CHECK(threads[0].ended + threads[1].ended <= granted);
    CHECK_EQ(stats().interrupts - before, threads[0].ended + threads[1].ended);
    stop_when_idle();
}

/* Many ask for the same endless callback: it ends once. */
static needm_m *volatile endless;
static volatile int round_now, answers[4];
static void spins(void *arg) {
    (void)arg;
    endless = needm_self();
    round_now++;
    for (;;) __asm__ volatile("");
}
static void *asks_for_it(void *at) {
    for (int seen = 0; !done;) {
        if (round_now == seen) {
            sched_yield();
            continue;
        }
        seen = round_now;
        int answer = needm_interrupt(endless, at);
        CHECK(answer == 0 || answer == NEEDM_EINVAL); /* it has ended already */
        if (answer == 0) ((volatile int *)answers)[(intptr_t)at]++;
        __sync_fetch_and_add(&granted, 1);
    }
    return NULL;
}
static void *is_ended_over_and_over(void *arg) {
    for (int i = 0; i < rounds(1000); i++) {
        granted = 0;
        CHECK_EQ(needm_callback(spins, NULL, 0, NULL), NEEDM_EINTERRUPTED);
        while (granted < 4) sched_yield();
    }
    return arg;
}
static void many_may_ask_at_once(void) {
    pthread_t others[4];
    done = round_now = 0;
    start((needm_config){.binding = binding});
    uint64_t before = stats().interrupts;
    for (intptr_t i = 0; i < 4; i++) others[i] = thread(asks_for_it, (void *)i);
    join(thread(is_ended_over_and_over, NULL));
    done = 1;
    for (int i = 0; i < 4; i++) join(others[i]);
    CHECK_EQ(stats().interrupts - before, rounds(1000));
    stop_when_idle();
}

/* Threads that exit, worlds that stop. */
static void exits(void *arg) {
    struct thread *own = arg;
    own->m = needm_self();
    own->number = 1;
    for (uint64_t i = next(&own->seed) % 1000; i > 0; i--) __asm__ volatile("");
    syscall(SYS_exit, 0);
}
static void *exits_in_a_callback(void *arg) {
    int result = needm_callback(exits, arg, 0, NULL);
    CHECK_EQ(result, NEEDM_EINTERRUPTED);
    return NULL;
}
static void a_thread_may_exit_meanwhile(void) {
    start((needm_config){.binding = binding, .max_ms = 8});
    uint64_t seed_of_all = next(&seed);
    for (int i = 0; i < rounds(300); i++) {
        struct thread own = {.seed = (seed_of_all + (uint64_t)i) | 1};
        pthread_t made = thread(exits_in_a_callback, &own);
        while (!own.number) sched_yield();
        int answer = needm_interrupt(own.m, NULL);
        CHECK(answer == 0 || answer == NEEDM_EINVAL);
        join(made);
        long sum = 0;
        for (int j = 0; j < 4; j++) CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(sum, 4);
    }
    stop_when_idle();
}
static void *stops_the_world(void *arg) {
    while (!done) {
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        sched_yield();
    }
    return arg;
}
static void waits_at_safepoints(void *arg) {
    struct thread *own = arg;
    own->m = needm_self();
    own->number++;
    for (;;) needm_safepoint();
}
static void *runs_to_safepoints(void *arg) {
    struct thread *own = arg;
    for (int i = 0; i < rounds(500); i++) {
        CHECK_EQ(needm_callback(waits_at_safepoints, own, 0, NULL), NEEDM_EINTERRUPTED);
        own->ended++;
    }
    return arg;
}
static void the_world_may_stop_meanwhile(void) {
    struct thread own = {0};
    done = 0;
    start((needm_config){.binding = binding});
    pthread_t stopper = thread(stops_the_world, NULL), caller = thread(runs_to_safepoints, &own);
    for (uint64_t i = 0; i < (uint64_t)rounds(500); i++) {
        while (own.number == i) sched_yield();
        CHECK_EQ(needm_interrupt(own.m, NULL), 0);
        while (own.ended == i) sched_yield();
    }
    join(caller);
    done = 1;
    join(stopper);
    stop_when_idle();
}
/* A forked child has the request of its parent's callback, but not its signal. */
static volatile int in_child;
static void *asks_once(void *m) {
    CHECK_EQ(needm_interrupt(m, NULL), 0);
    return NULL;
}
static void asked_then_forks(void *arg) {
    struct thread *own = arg;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    join(thread(asks_once, needm_self()));
    if (fork() == 0) {
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        in_child = 1;
        CHECK_EQ(needm_ccall(nothing, NULL), 0);
        own->number = 1;
        return;
    }
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    CHECK(!"the signal has come");
}
static void a_forked_child_goes_on(void) {
    struct thread own = {0};
    start((needm_config){.binding = binding});
    int result = needm_callback(asked_then_forks, &own, 0, NULL);
    if (in_child) {
        CHECK_EQ(result, 0);
        CHECK_EQ(own.number, 1);
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        _exit(SUCCESS);
    }
    CHECK_EQ(result, NEEDM_EINTERRUPTED);
    int status;
    CHECK(wait(&status) > 0);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), SUCCESS);
    stop_when_idle();
}

int main(int argc, char **argv) {
    if (handlers_lose_their_thread()) {
        fprintf(stderr, "skipped: a handler has another thread's pointer\n");
        return SUCCESS;
    }
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "no-membarrier") == 0) without_membarrier();
    seed = parse_seed(argc, argv, &binding);
    RUN(requests_meet_only_the_callback_that_is_under_way);
    RUN(an_m_may_go_from_thread_to_thread);
    RUN(many_may_ask_at_once);
    RUN(a_thread_may_exit_meanwhile);
    RUN(the_world_may_stop_meanwhile);
    RUN(a_forked_child_goes_on);
    return SUCCESS;
}
