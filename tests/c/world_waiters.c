/* What threads may do while the world is stopped, and while they wait for it: it goes on
 * all the same, and nothing is lost. */
#include "filter.h"
#include <sched.h>
#include <setjmp.h>
#include <sys/mman.h>

static volatile long done;
static volatile int ready;
static void count_one(void *arg) { __sync_fetch_and_add(&done, 1), (void)arg; }
static void *calls_once(void *arg) {
    CHECK_EQ(needm_callback(count_one, arg, 0, NULL), 0);
    return NULL;
}
static void until(volatile long *word, long want) {
    while (__sync_fetch_and_add(word, 0) < want) sched_yield();
}
/* A callback gets through: the world is not stopped. */
static void is_on(void) {
    long before = done;
    join(thread(calls_once, NULL));
    CHECK_EQ(done, before + 1);
}
static void stop_it(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    if (arg) ((void (*)(void *))arg)(NULL);
}
static void long_sleep(void) { usleep(emulated() ? 100000 : 20000); }

/* The owner of the stopped world. */
static void a_stopped_worlds_owner_runs_callbacks_and_faults(void) {
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_callback(panic, NULL, 0, NULL), NEEDM_EPANIC);
    CHECK_EQ(needm_stop_the_world(), NEEDM_EALREADY);
    CHECK_EQ(needm_start_the_world(), 0);
    is_on();
}
static void a_callback_that_is_unwound_starts_what_it_has_stopped(void) {
    void (*ends[])(void *) = {fault, overflow, panic};
    int results[] = {NEEDM_EFAULT, NEEDM_EOVERFLOW, NEEDM_EPANIC};
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(needm_callback(stop_it, (void *)ends[i], 0, NULL), results[i]);
        CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
        is_on();
    }
}
static jmp_buf out;
static void jump(void *arg) { (void)arg, longjmp(out, 1); }
static void a_callback_that_c_jumps_out_of_starts_what_it_has_stopped(void) {
    if (setjmp(out) == 0) needm_callback(stop_it, (void *)jump, 0, NULL);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
    is_on();
}
static void a_callback_that_returns_leaves_its_world_stopped_to_c(void) {
    CHECK_EQ(needm_callback(stop_it, NULL, 0, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_stop_the_world(), NEEDM_EALREADY);
    CHECK_EQ(needm_stop(), NEEDM_EBUSY);
    CHECK_EQ(needm_start_the_world(), 0);
    is_on();
}
static void *ends_by_return(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    return arg;
}
static void *ends_in_a_callback(void *arg) {
    (void)arg;
    needm_callback(stop_it, (void *)pthread_exit, 0, NULL);
    return NULL;
}
static void *ends_raw(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    ready = 1;
    syscall(SYS_exit, 0);
    return arg;
}
static void an_owner_that_ends_leaves_the_world_started(void) {
    for (int i = 0; i < rounds(40); i++) {
        join(thread(ends_by_return, NULL));
        is_on();
        join(thread(ends_in_a_callback, NULL));
        is_on();
        /* Of its end nobody hears at once. */
        ready = 0;
        thread(ends_raw, NULL);
        while (!ready) sched_yield();
        is_on();
    }
}
static void an_owner_that_has_ended_keeps_nobody_from_stopping_the_kernel(void) {
    start((needm_config){0});
    ready = 0;
    pthread_t made = thread(ends_raw, NULL);
    while (!ready) sched_yield();
    /* The system clears the number that is joined, on a raw exit too; a moment before the
     * thread of that number is no more. */
    join(made);
    int answer = needm_stop();
    for (int i = 0; i < 1000 && answer == NEEDM_EBUSY; i++) usleep(1000), answer = needm_stop();
    CHECK_EQ(answer, 0);
}
static int raw_too;
static void jump_to(void *to) { longjmp(*(jmp_buf *)to, 1); }
static void *jumps_out_and_ends_raw(void *arg) {
    jmp_buf out_of_it;
    if (setjmp(out_of_it) == 0) needm_callback(jump_to, &out_of_it, 0, NULL);
    ready = 1;
    if (arg) syscall(SYS_exit, 0);
    while (ready == 1) sched_yield();
    needm_self();
    while (ready == 2) sched_yield();
    return NULL;
}
static void who_was_jumped_out_of_runs_until_its_threads_next_call_or_end(void) {
    for (int i = 0; i < rounds(40); i++) {
        ready = 0;
        thread(jumps_out_and_ends_raw, &raw_too);
        while (!ready) sched_yield();
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        ready = 0;
        pthread_t lives = thread(jumps_out_and_ends_raw, NULL);
        while (!ready) sched_yield();
        ready = 2;
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        ready = 3;
        join(lives);
    }
}
/* Out of C that a nested callback called, to the callback around it, on the same G. */
static volatile int returns;
static jmp_buf on_the_g;
static void jump_to_the_g(void *arg) { (void)arg, longjmp(on_the_g, 1); }
static void calls_c(void *arg) { needm_ccall(jump_to_the_g, arg); }
__attribute__((noinline)) static void calls_back_deeper(void *arg) {
    volatile char frame[4096];
    frame[0] = 0;
    needm_callback(calls_c, arg, 0, NULL);
    frame[1] = frame[0];
}
static void jumps_to_its_g_and_stays(void *arg) {
    if (setjmp(on_the_g) == 0) calls_back_deeper(arg);
    needm_self();
    ready = 1;
    while (ready == 1) sched_yield();
    long_sleep();
    returns = 1;
}
static void *stays(void *arg) {
    CHECK_EQ(needm_callback(jumps_to_its_g_and_stays, arg, 0, NULL), 0);
    return NULL;
}
static void who_jumps_back_to_an_outer_callback_runs(void) {
    for (int i = 0; i < 5; i++) {
        ready = returns = 0;
        pthread_t made = thread(stays, NULL);
        while (!ready) sched_yield();
        ready = 2;
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(returns, 1);
        CHECK_EQ(needm_start_the_world(), 0);
        join(made);
    }
}
static void in_the_child(void) {
    is_on();
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
}
static void owners_child(void) {
    CHECK_EQ(needm_stop_the_world(), NEEDM_EALREADY);
    CHECK_EQ(needm_start_the_world(), 0);
    in_the_child();
}
static void a_fork_of_the_owner_has_a_world_of_its_own(void) {
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_CHILD(owners_child);
    CHECK_EQ(needm_start_the_world(), 0);
    is_on();
}

/* Others, while it is stopped. */
static void *forks(void *arg) {
    CHECK_CHILD(in_the_child);
    return arg;
}
static void a_fork_while_another_thread_stops_the_world_has_it_started(void) {
    CHECK_EQ(needm_stop_the_world(), 0);
    join(thread(forks, NULL));
    CHECK_EQ(needm_start_the_world(), 0);
    is_on();
}
static void *faults_in_c(void *arg) {
    volatile char *page = arg;
    *page = 1;
    return NULL;
}
static void make_it_writable(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    CHECK_EQ(mprotect(info->si_addr, 1, PROT_READ | PROT_WRITE), 0);
}
static void c_faults_and_ends_as_ever_in_a_stopped_world(void) {
    char *page = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    CHECK_EQ(needm_stop_the_world(), 0);
    join(thread(faults_in_c, page));
    CHECK_EQ(*page, 1);
    CHECK_EQ(needm_start_the_world(), 0);
    munmap(page, 1);
}

/* Waiting at the gate. */
static volatile long arrived;
static void *waits(void *end) {
    if (end == (void *)1) pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    CHECK_EQ(needm_attach(), 0);
    __sync_fetch_and_add(&arrived, 1);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
    return NULL;
}
static jmp_buf away;
static void in_a_waiter(int signal) {
    (void)signal;
    switch (ready) {
        case 1: syscall(SYS_exit, 0); break;
        case 2: CHECK_CHILD(in_the_child); break;
        case 3: CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0); break;
        case 4: longjmp(away, 1);
    }
    ready = 0;
}
static pthread_t a_waiter(void *end) {
    long before = arrived;
    pthread_t made = thread(waits, end);
    until(&arrived, before + 1);
    long_sleep();
    return made;
}
static void a_waiter_may_be_cancelled(void) {
    CHECK_EQ(needm_attach(), 0);
    uint64_t bound = stats().ms_bound;
    for (int i = 0; i < 5; i++) {
        long before = done;
        CHECK_EQ(needm_stop_the_world(), 0);
        /* It may not have its M before the world is stopped. */
        pthread_t made = a_waiter((void *)1);
        CHECK_EQ(pthread_cancel(made), 0);
        join(made);
        CHECK_EQ(done, before);
        CHECK_EQ(needm_start_the_world(), 0);
        CHECK_EQ(stats().ms_bound, bound);
        is_on();
    }
}
static void a_waiter_may_end_by_the_raw_system_call(void) {
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(needm_stop_the_world(), 0);
        pthread_t made = a_waiter(NULL);
        ready = 1;
        CHECK_EQ(pthread_kill(made, SIGUSR1), 0);
        long_sleep();
        CHECK_EQ(needm_start_the_world(), 0);
        is_on();
    }
    /* Whatever they held is used again. */
    for (int i = 0; i < 200; i++) is_on();
    CHECK(stats().ms_total <= 24);
}
static void a_waiters_handler_may_fork_and_call_back(void) {
    for (int what = 2; what <= 3; what++) {
        long before = done;
        CHECK_EQ(needm_stop_the_world(), 0);
        pthread_t made = a_waiter(NULL);
        ready = what;
        CHECK_EQ(pthread_kill(made, SIGUSR1), 0);
        if (what == 2)
            while (ready) sched_yield();
        else
            long_sleep();
        CHECK_EQ(done, before);
        CHECK_EQ(needm_start_the_world(), 0);
        join(made);
        CHECK_EQ(done, before + what - 1);
        is_on();
    }
}
static void *is_jumped_away(void *arg) {
    if (setjmp(away) == 0) waits(NULL);
    CHECK_EQ(ready, 4);
    ready = 0;
    sigset_t unblocked;
    sigemptyset(&unblocked);
    pthread_sigmask(SIG_SETMASK, &unblocked, NULL);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
    return arg;
}
static void a_waiters_handler_may_jump_away(void) {
    for (int i = 0; i < 5; i++) {
        long before = done, there = arrived;
        CHECK_EQ(needm_stop_the_world(), 0);
        pthread_t made = thread(is_jumped_away, NULL);
        until(&arrived, there + 1);
        long_sleep();
        ready = 4;
        CHECK_EQ(pthread_kill(made, SIGUSR1), 0);
        while (ready) sched_yield();
        long_sleep();
        CHECK_EQ(done, before);
        CHECK_EQ(needm_start_the_world(), 0);
        join(made);
        CHECK_EQ(done, before + 1);
        is_on();
    }
}

/* Threads of our own stop it, too. */
static volatile long stops;
static void stops_often(void *arg) {
    for (int i = 0; i < rounds(200); i++) {
        CHECK_EQ(needm_stop_the_world(), 0);
        long then = __sync_add_and_fetch(&stops, 1);
        CHECK_EQ(needm_ccall(nothing, arg), 0);
        CHECK_EQ(stops, then);
        CHECK_EQ(needm_start_the_world(), 0);
    }
    count_one(arg);
}
static void *stops_from_c(void *arg) {
    for (int i = 0; i < rounds(200); i++) {
        CHECK_EQ(needm_stop_the_world(), 0);
        long then = __sync_add_and_fetch(&stops, 1);
        sched_yield();
        CHECK_EQ(stops, then);
        CHECK_EQ(needm_start_the_world(), 0);
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    }
    return arg;
}
static void spawned_threads_and_cs_take_turns_to_stop_it(void) {
    long before = done;
    pthread_t threads[3];
    stops = 0;
    for (int i = 0; i < 3; i++) CHECK_EQ(needm_spawn(stops_often, NULL), 0);
    for (int i = 0; i < 3; i++) threads[i] = thread(stops_from_c, NULL);
    for (int i = 0; i < 3; i++) join(threads[i]);
    until(&done, before + 3);
    CHECK_EQ(stops, 6L * rounds(200));
}

int main(int argc, char **argv) {
    uint32_t binding = parse_binding(argc, argv);
    struct sigaction action = {.sa_sigaction = make_it_writable, .sa_flags = SA_SIGINFO};
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
    start((needm_config){.binding = binding});
    struct sigaction usr1 = {.sa_handler = in_a_waiter, .sa_flags = SA_RESTART};
    CHECK_EQ(sigaction(SIGUSR1, &usr1, NULL), 0);
    RUN(a_stopped_worlds_owner_runs_callbacks_and_faults);
    RUN(a_callback_that_is_unwound_starts_what_it_has_stopped);
    RUN(a_callback_that_c_jumps_out_of_starts_what_it_has_stopped);
    RUN(a_callback_that_returns_leaves_its_world_stopped_to_c);
    RUN(an_owner_that_ends_leaves_the_world_started);
    RUN(who_was_jumped_out_of_runs_until_its_threads_next_call_or_end);
    RUN(who_jumps_back_to_an_outer_callback_runs);
    RUN(a_fork_of_the_owner_has_a_world_of_its_own);
    RUN(a_fork_while_another_thread_stops_the_world_has_it_started);
    RUN(c_faults_and_ends_as_ever_in_a_stopped_world);
    RUN(a_waiter_may_be_cancelled);
    RUN(spawned_threads_and_cs_take_turns_to_stop_it);
    if (handlers_lose_their_thread()) return SUCCESS;
    RUN(a_waiters_handler_may_fork_and_call_back);
    RUN(a_waiters_handler_may_jump_away);
    RUN(a_waiter_may_end_by_the_raw_system_call);
    stop_when_idle();
    RUN(an_owner_that_has_ended_keeps_nobody_from_stopping_the_kernel);
    return SUCCESS;
}
