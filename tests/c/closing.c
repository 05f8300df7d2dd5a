/* An orderly close: needm_stop_within under load, which Ms are inside when the time is over, and
 * needm_stop_the_world_within. */
#include "filter.h"

#define CALLERS 8
#define SECOND 1000000000LL

static uint32_t binding;
#ifdef _WIN32
/* No handler runs between two instructions. */
enum { HAS_SIGNALS = 0, SIGUSR1 = 0, SA_ONSTACK = 0 };
static uint64_t number(void) { return GetCurrentThreadId(); }
static void take_a_signal_stack(void) {}
static void (*handler_of_usr1)(int);
static void handle_usr1(void (*handler)(int), int flags) { (void)flags, handler_of_usr1 = handler; }
static void raise_usr1(void) { handler_of_usr1(SIGUSR1); }
static int pthread_kill_usr1(pthread_t other) { return other ? -1 : 0; }
#else
enum { HAS_SIGNALS = 1 };
static uint64_t number(void) { return (uint64_t)syscall(SYS_gettid); }
static char signal_stack[128 * 1024];
static void take_a_signal_stack(void) {
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    CHECK_EQ(sigaltstack(&stack, NULL), 0);
}
static void handle_usr1(void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
}
static void raise_usr1(void) { CHECK_EQ(raise(SIGUSR1), 0); }
static int pthread_kill_usr1(pthread_t other) { return pthread_kill(other, SIGUSR1); }
#endif

/* Callbacks without a pause, on the G, in C, and nested, until needm refuses them. */
static volatile long calls, refused;
static void counts(void *arg) {
    (void)arg;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
}
static void nests(void *arg) { CHECK_EQ(needm_callback(counts, arg, 0, NULL), 0); }
static void goes_out_and_nests(void *arg) { CHECK_EQ(needm_ccall(nests, arg), 0); }
static void stops_for_a_moment(void *arg) {
    (void)arg;
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
}
static void *calls_until_refused(void *arg) {
    void (*const kinds[])(void *) = {counts, nests, goes_out_and_nests, stops_for_a_moment};
    int answer = 0;
    for (unsigned i = 0; answer == 0; i++) answer = needm_callback(kinds[i % 4], NULL, 0, NULL);
    CHECK_EQ(answer, NEEDM_ENOTSTARTED);
    __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
    return arg;
}
static void a_stop_succeeds_under_full_load(void) {
    for (int round = 0; round < rounds(40); round++) {
        start((needm_config){.binding = binding});
        calls = refused = 0;
        pthread_t callers[CALLERS];
        for (int i = 0; i < CALLERS; i++) callers[i] = thread(calls_until_refused, NULL);
        WAIT_UNTIL(calls > 100);
        CHECK_EQ(needm_stop_within(600 * SECOND), 0);
        CHECK_EQ(needm_stop(), NEEDM_ENOTSTARTED);
        for (int i = 0; i < CALLERS; i++) join(callers[i]);
        CHECK_EQ(refused, CALLERS);
    }
}

/* A callback that ends when it is told to, and its thread. */
static volatile int over;
static volatile uint64_t insiders[CALLERS];
static void waits_until_over(void *slot) {
    *(volatile uint64_t *)slot = number();
    WAIT_UNTIL(over);
}
static void waits_in_c(void *slot) { CHECK_EQ(needm_ccall(waits_until_over, slot), 0); }
static void *is_inside(void *slot) {
    CHECK_EQ(needm_callback((volatile uint64_t *)slot == insiders ? waits_until_over : waits_in_c, slot, 0, NULL), 0);
    return slot;
}
static int sees(const needm_m *m, void *seen) {
    for (int i = 0; i < CALLERS; i++)
        if (needm_m_thread(m) == insiders[i]) ((int *)seen)[i]++;
    return 0;
}
static int ends_at_once(const needm_m *m, void *count) {
    ++*(int *)count;
    return (int)needm_m_id(m) + 100;
}
/* Calls all the time, and finds needm closing or not. */
static volatile int quit;
static volatile long ran;
static void *calls_until_it_quits(void *arg) {
    while (!quit) {
        int answer = needm_callback(counts, NULL, 0, NULL);
        CHECK(answer == 0 || answer == NEEDM_ENOTSTARTED);
        if (answer == 0) ran++;
    }
    return arg;
}
static void those_inside_are_named_and_needm_is_open_again(void) {
    CHECK_EQ(needm_each_inside(sees, NULL), NEEDM_ENOTSTARTED);
    start((needm_config){.binding = binding});
    over = quit = 0;
    ran = 0;
    memset((void *)insiders, 0, sizeof insiders);
    pthread_t inside[2], other = thread(calls_until_it_quits, NULL);
    for (int i = 0; i < 2; i++) inside[i] = thread(is_inside, (void *)&insiders[i]);
    WAIT_UNTIL(insiders[0] && insiders[1]);
    CHECK_EQ(needm_stop_within(0), NEEDM_EBUSY);
    for (int round = 0; round < 5; round++) {
        CHECK_EQ(needm_stop_within(SECOND / 100), NEEDM_EBUSY);
        int seen[CALLERS] = {0}, count = 0;
        CHECK_EQ(needm_each_inside(sees, seen), 0);
        for (int i = 0; i < 2; i++) CHECK_EQ(seen[i], 1);
        CHECK(needm_each_inside(ends_at_once, &count) > 100);
        CHECK_EQ(count, 1);
        long before = ran;
        WAIT_UNTIL(ran > before + 10);
    }
    over = 1;
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
    quit = 1;
    join(other);
    for (int i = 0; i < 2; i++) join(inside[i]);
}

/* While needm is closing, a callback under way does all that it may need to come to its end. */
static volatile int closing_seen;
static void handler(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(counts, NULL, 0, NULL), 0);
}
static void spawned(void *arg) { counts(arg); }
static void ends_with_others(void *arg) {
    insiders[0] = number();
    WAIT_UNTIL(closing_seen);
    long before = calls;
    nests(arg);
    goes_out_and_nests(arg);
    stops_for_a_moment(arg);
    needm_safepoint();
    raise_usr1();
    CHECK_EQ(calls, before + 3);
    CHECK_EQ(needm_spawn(spawned, NULL), NEEDM_ENOTSTARTED); /* a thread has no callback yet */
}
static void *calls_what_ends_with_others(void *arg) {
    /* A handler on a signal stack gets an M of its own. */
    take_a_signal_stack();
    CHECK_EQ(needm_callback(ends_with_others, NULL, 0, NULL), 0);
    return arg;
}
static void *attaches_and_calls_while_closing(void *arg) {
    WAIT_UNTIL(insiders[0]);
    int answer;
    WAIT_UNTIL((answer = needm_callback(nothing, NULL, 0, NULL)) != 0);
    CHECK_EQ(answer, NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_attach(), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_stop_within(600 * SECOND), NEEDM_EBUSY); /* the other one stops it */
    CHECK_EQ(needm_stop(), NEEDM_EBUSY);
    closing_seen = 1;
    return arg;
}
static void a_callback_under_way_comes_to_its_end(void) {
    for (int on_stack = 0; on_stack < 1 + HAS_SIGNALS; on_stack++) {
        if (on_stack && handlers_lose_their_thread()) continue;
        start((needm_config){.binding = binding});
        handle_usr1(handler, on_stack ? SA_ONSTACK : 0);
        closing_seen = 0;
        insiders[0] = 0;
        pthread_t inside = thread(calls_what_ends_with_others, NULL);
        pthread_t outside = thread(attaches_and_calls_while_closing, NULL);
        WAIT_UNTIL(insiders[0]);
        CHECK_EQ(needm_stop_within(600 * SECOND), 0);
        join(inside);
        join(outside);
    }
}

/* Threads that are spawned while needm closes run or are refused, and never keep it open. */
static void *spawns_until_refused(void *arg) {
    int answer;
    WAIT_UNTIL((answer = needm_spawn(spawned, NULL)) != 0);
    CHECK_EQ(answer, NEEDM_ENOTSTARTED);
    return arg;
}
static void spawned_threads_do_not_keep_it_open(void) {
    for (int round = 0; round < rounds(20); round++) {
        start((needm_config){.binding = binding});
        calls = 0;
        pthread_t spawners[2];
        for (int i = 0; i < 2; i++) spawners[i] = thread(spawns_until_refused, NULL);
        WAIT_UNTIL(calls > 3);
        CHECK_EQ(needm_stop_within(600 * SECOND), 0);
        for (int i = 0; i < 2; i++) join(spawners[i]);
    }
}

/* A thread that waits for an M is refused, and does not begin when one comes back. */
static volatile int waited_answer;
static void *waits_for_an_m(void *arg) {
    waited_answer = needm_callback(nothing, NULL, 0, NULL);
    return arg;
}
static void waiters_for_an_m_are_refused(void) {
    start((needm_config){.binding = binding, .max_ms = 1});
    over = 0;
    insiders[0] = 0;
    waited_answer = 1;
    pthread_t inside = thread(is_inside, (void *)&insiders[0]);
    WAIT_UNTIL(insiders[0]);
    uint64_t before = stats().waits;
    pthread_t waiter = thread(waits_for_an_m, NULL);
    WAIT_UNTIL(stats().waits > before);
    /* Once more if it has not looked meanwhile. */
    while (waited_answer == 1) CHECK_EQ(needm_stop_within(SECOND / 100), NEEDM_EBUSY);
    join(waiter);
    CHECK_EQ(waited_answer, NEEDM_ENOTSTARTED);
    over = 1;
    join(inside);
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
}

static void exits_inside(void *arg) {
    (void)arg;
    insiders[0] = number();
    syscall(SYS_exit, 0);
}
static void *dies_inside(void *arg) {
    CHECK_EQ(needm_callback(exits_inside, NULL, 0, NULL), 0);
    return arg;
}
static void a_thread_that_died_inside_is_not_waited_for(void) {
    if (HAS_SIGNALS && emulated()) return; /* such an exit is noticed late */
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0); /* or the dead one's record is used again */
    insiders[0] = 0;
    pthread_t dead = thread(dies_inside, NULL);
    WAIT_UNTIL(insiders[0]);
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
    join(dead);
}

/* A callback that waits for the world to be started has not begun. */
static void *starts_the_world_while_closing(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    insiders[1] = number();
    int answer; /* this thread's own callbacks do not wait */
    WAIT_UNTIL((answer = needm_callback(nothing, NULL, 0, NULL)) != 0);
    CHECK_EQ(answer, NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_start_the_world(), 0);
    return arg;
}
static void waiters_at_the_gate_are_refused(void) {
    start((needm_config){.binding = binding});
    insiders[1] = 0;
    waited_answer = 1;
    pthread_t owner = thread(starts_the_world_while_closing, NULL);
    WAIT_UNTIL(insiders[1]);
    pthread_t waiter = thread(waits_for_an_m, NULL);
    usleep(10000); /* most often it is at the gate by then; else it is refused before */
    CHECK_EQ(waited_answer, 1);
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
    join(waiter);
    CHECK_EQ(waited_answer, NEEDM_ENOTSTARTED);
    join(owner);
}

static volatile int answer_inside;
static void stops_inside(void *arg) {
    (void)arg;
    answer_inside = needm_stop_within(SECOND);
}
static void misuse_is_refused(void) {
    CHECK_EQ(needm_stop_within(0), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_stop_within(-1), NEEDM_EINVAL);
    CHECK_EQ(needm_stop_the_world_within(0), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_each_inside(NULL, NULL), NEEDM_EINVAL);
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_stop_within(-1), NEEDM_EINVAL);
    CHECK_EQ(needm_stop_the_world_within(-1), NEEDM_EINVAL);
    CHECK_EQ(needm_callback(stops_inside, NULL, 0, NULL), 0);
    CHECK_EQ(answer_inside, NEEDM_EBUSY);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_stop_within(600 * SECOND), NEEDM_EBUSY); /* it does not wait for itself */
    CHECK_EQ(needm_stop_the_world_within(0), NEEDM_EALREADY);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_each_inside(sees, NULL), 0);
    CHECK_EQ(needm_stop_within(0), 0); /* nothing to wait for */
}

#ifndef _WIN32
/* The child of a fork is open, whatever its parent was about to do. */
static void forks_inside(void *arg) {
    (void)arg;
    insiders[0] = number();
    WAIT_UNTIL(closing_seen);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(needm_callback(nothing, NULL, 0, NULL) == 0 ? SUCCESS : 1);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == SUCCESS);
}
static void *forks_outside(void *arg) {
    int answer;
    WAIT_UNTIL((answer = needm_callback(nothing, NULL, 0, NULL)) != 0);
    CHECK_EQ(answer, NEEDM_ENOTSTARTED);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(needm_callback(nothing, NULL, 0, NULL) == 0 ? SUCCESS : 1);
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == SUCCESS);
    closing_seen = 1;
    return arg;
}
static void *calls_what_forks(void *arg) {
    CHECK_EQ(needm_callback(forks_inside, NULL, 0, NULL), 0);
    return arg;
}
static void a_forked_child_is_open(void) {
    if (emulated()) return; /* its child has no threads to rely on */
    start((needm_config){.binding = binding});
    closing_seen = 0;
    insiders[0] = 0;
    pthread_t inside = thread(calls_what_forks, NULL);
    WAIT_UNTIL(insiders[0]);
    pthread_t outside = thread(forks_outside, NULL);
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
    join(inside);
    join(outside);
}
#endif

/* The world. */
static volatile int stop_answer;
static void *stops_the_world_until_over(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    insiders[1] = number();
    WAIT_UNTIL(over);
    CHECK_EQ(needm_start_the_world(), 0);
    return arg;
}
static void stops_within_a_callback(void *arg) {
    insiders[2] = number();
    *(int *)arg = needm_stop_the_world_within(0);
    if (*(int *)arg == 0) CHECK_EQ(needm_start_the_world(), 0);
    else CHECK(over); /* no callback code runs before */
}
static void on_a_signal(int signal) {
    (void)signal;
    insiders[2] = number();
    stop_answer = needm_stop_the_world_within(0);
    if (stop_answer == 0) CHECK_EQ(needm_start_the_world(), 0);
}
static void is_interrupted(void *arg) {
    (void)arg;
    insiders[0] = number();
    WAIT_UNTIL(stop_answer != 1);
    /* Likewise, if a handler on another stack has interrupted it. The other thread may be about to stop the
     * world, and then waits for this callback. */
    if (stop_answer != 0) CHECK(over || !insiders[1]);
}
static void *calls_what_is_interrupted(void *arg) {
    take_a_signal_stack();
    CHECK_EQ(needm_callback(is_interrupted, NULL, 0, NULL), 0);
    return arg;
}
static void the_world_runs_again_if_it_does_not_stop_in_time(void) {
    start((needm_config){.binding = binding});
    over = quit = 0;
    ran = 0;
    insiders[0] = 0;
    pthread_t inside = thread(is_inside, (void *)&insiders[0]);
    pthread_t other = thread(calls_until_it_quits, NULL);
    WAIT_UNTIL(insiders[0]);
    for (int round = 0; round < 5; round++) {
        CHECK_EQ(needm_stop_the_world_within(round * SECOND / 100), NEEDM_ETIMEDOUT);
        CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
        long before = ran;
        WAIT_UNTIL(ran > before + 10);
    }
    over = 1;
    CHECK_EQ(needm_stop_the_world_within(600 * SECOND), 0);
    long before = ran;
    for (int i = 0; i < 100; i++) CHECK_EQ(ran, before);
    CHECK_EQ(needm_start_the_world(), 0);
    quit = 1;
    join(inside);
    join(other);
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
}
static void it_is_not_waited_for_ever_until_another_starts_the_world(void) {
    start((needm_config){.binding = binding});
    over = 0;
    insiders[1] = 0;
    pthread_t owner = thread(stops_the_world_until_over, NULL);
    WAIT_UNTIL(insiders[1]);
    CHECK_EQ(needm_stop_the_world_within(SECOND / 100), NEEDM_ETIMEDOUT);
    CHECK_EQ(needm_stop_within(SECOND / 100), NEEDM_EBUSY);
    over = 1;
    CHECK_EQ(needm_stop_the_world_within(600 * SECOND), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    join(owner);
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
}
static void *calls_what_stops(void *answer) {
    CHECK_EQ(needm_callback(stops_within_a_callback, answer, 0, NULL), 0);
    return answer;
}
static void no_callback_code_runs_after_a_stop_in_vain(void) {
    for (int round = 0; round < rounds(100); round++) {
        start((needm_config){.binding = binding});
        over = 0;
        insiders[0] = insiders[1] = insiders[2] = 0;
        stop_answer = 1;
        int answer = 1;
        int interrupted = HAS_SIGNALS && !handlers_lose_their_thread();
        handle_usr1(on_a_signal, SA_ONSTACK);
        pthread_t running = 0, stopping;
        if (interrupted) {
            running = thread(calls_what_is_interrupted, NULL);
            WAIT_UNTIL(insiders[0]);
        }
        pthread_t owner = thread(stops_the_world_until_over, NULL);
        if (interrupted) { /* it stops only in its handler */
            usleep(100);
            CHECK_EQ(pthread_kill_usr1(running), 0);
        } else {
            WAIT_UNTIL(insiders[1]);
            stopping = thread(calls_what_stops, &answer);
        }
        WAIT_UNTIL(insiders[1] || stop_answer == 0);
        usleep(1000);
        over = 1;
        if (interrupted) join(running);
        else join(stopping);
        join(owner);
        CHECK_EQ(needm_stop_within(600 * SECOND), 0);
    }
}

#ifndef _WIN32
/* Without a clock the sleeps are counted. */
static void ends_without_a_clock(void) {
    filter_system_calls(SYS_clock_gettime, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ALLOW);
    start((needm_config){.binding = binding});
    over = quit = 0;
    ran = 0;
    insiders[0] = 0;
    pthread_t inside = thread(is_inside, (void *)&insiders[0]);
    /* Wakes the stopper at the end of each of its callbacks. */
    pthread_t other = thread(calls_until_it_quits, NULL);
    WAIT_UNTIL(insiders[0] && ran > 10);
    struct timespec before, after;
    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &before), 0); /* from memory */
    CHECK_EQ(needm_stop_within(SECOND / 5), NEEDM_EBUSY);
    CHECK_EQ(needm_stop_the_world_within(SECOND / 5), NEEDM_ETIMEDOUT);
    CHECK_EQ(clock_gettime(CLOCK_MONOTONIC, &after), 0);
    CHECK((after.tv_sec - before.tv_sec) * SECOND + after.tv_nsec - before.tv_nsec >= 2 * SECOND / 5);
    over = quit = 1;
    join(inside);
    join(other);
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
}
static void a_wait_ends_without_a_clock(void) {
    if (emulated() || sizeof(void *) == 4) return; /* no filters; a clock that asks the system */
    CHECK_CHILD(ends_without_a_clock);
}
#endif

int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    RUN(misuse_is_refused);
    RUN(a_stop_succeeds_under_full_load);
    RUN(those_inside_are_named_and_needm_is_open_again);
    RUN(a_callback_under_way_comes_to_its_end);
    RUN(spawned_threads_do_not_keep_it_open);
    RUN(waiters_for_an_m_are_refused);
    RUN(waiters_at_the_gate_are_refused);
    RUN(a_thread_that_died_inside_is_not_waited_for);
    RUN(the_world_runs_again_if_it_does_not_stop_in_time);
    RUN(it_is_not_waited_for_ever_until_another_starts_the_world);
    RUN(no_callback_code_runs_after_a_stop_in_vain);
#ifndef _WIN32
    RUN(a_forked_child_is_open);
    RUN(a_wait_ends_without_a_clock);
#endif
    return SUCCESS;
}
