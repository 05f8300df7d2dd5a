/* What other threads may do while the world is stopped, and while they wait for it. */
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
/* The world runs: a callback of another thread gets through. */
static void world_runs(void) {
    long before = done;
    join(thread(calls_once, NULL));
    CHECK_EQ(done, before + 1);
}
static void long_sleep(void) { usleep(emulated() ? 100000 : 20000); }

static void in_the_child(void) {
    world_runs();
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
}
/* Other threads, while it is stopped. */
static void *forks(void *arg) {
    CHECK_CHILD(in_the_child);
    return arg;
}
static void a_child_of_another_thread_has_a_running_world(void) {
    CHECK_EQ(needm_stop_the_world(), 0);
    join(thread(forks, NULL));
    CHECK_EQ(needm_start_the_world(), 0);
    world_runs();
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
static void c_faults_reach_their_handler_in_a_stopped_world(void) {
    char *page = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    CHECK_EQ(needm_stop_the_world(), 0);
    join(thread(faults_in_c, page));
    CHECK_EQ(*page, 1);
    CHECK_EQ(needm_start_the_world(), 0);
    munmap(page, 1);
}

/* Threads that wait for it. */
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
static void a_waiting_thread_may_be_cancelled(void) {
    CHECK_EQ(needm_attach(), 0);
    uint64_t bound = stats().ms_bound;
    for (int i = 0; i < 5; i++) {
        long before = done;
        CHECK_EQ(needm_stop_the_world(), 0);
        /* It must have no M before the world is stopped. */
        pthread_t made = a_waiter((void *)1);
        CHECK_EQ(pthread_cancel(made), 0);
        join(made);
        CHECK_EQ(done, before);
        CHECK_EQ(needm_start_the_world(), 0);
        CHECK_EQ(stats().ms_bound, bound);
        world_runs();
    }
}
static void a_waiting_thread_may_exit_by_the_raw_system_call(void) {
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(needm_stop_the_world(), 0);
        pthread_t made = a_waiter(NULL);
        ready = 1;
        CHECK_EQ(pthread_kill(made, SIGUSR1), 0);
        long_sleep();
        CHECK_EQ(needm_start_the_world(), 0);
        world_runs();
    }
    /* The Ms that they held are used again. */
    for (int i = 0; i < 200; i++) world_runs();
    CHECK(stats().ms_total <= 24);
}
static void a_handler_of_a_waiting_thread_may_fork_and_call_back(void) {
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
        world_runs();
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
static void a_handler_of_a_waiting_thread_may_jump_out(void) {
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
        world_runs();
    }
}

/* Spawned threads and foreign ones stop it. */
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
static void spawned_and_foreign_threads_take_turns_to_stop_it(void) {
    long before = done;
    pthread_t threads[3];
    stops = 0;
    for (int i = 0; i < 3; i++) CHECK_EQ(needm_spawn(stops_often, NULL), 0);
    for (int i = 0; i < 3; i++) threads[i] = thread(stops_from_c, NULL);
    for (int i = 0; i < 3; i++) join(threads[i]);
    until(&done, before + 3);
    CHECK_EQ(stops, 6L * rounds(200));
}

/* Two handlers on the signal stack stop it at the same time, each over a running callback. */
static volatile int turning, handlers_in, came_back, over;
static void stops_with_another(int signal) {
    (void)signal;
    __sync_fetch_and_add(&handlers_in, 1);
    while (handlers_in < 2) {}
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    __sync_fetch_and_add(&came_back, 1);
}
static void turns_until_over(void *arg) {
    (void)arg;
    __sync_fetch_and_add(&turning, 1);
    while (!over) needm_safepoint();
}
static void *turns_in_a_callback(void *arg) {
    CHECK_EQ(needm_callback(turns_until_over, NULL, 0, NULL), 0);
    return arg;
}
static void handlers_over_running_callbacks_take_turns_to_stop_it(void) {
    struct sigaction usr2 = {.sa_handler = stops_with_another, .sa_flags = SA_ONSTACK | SA_RESTART};
    CHECK_EQ(sigaction(SIGUSR2, &usr2, NULL), 0);
    for (int i = 0; i < rounds(20); i++) {
        pthread_t threads[2];
        turning = handlers_in = came_back = over = 0;
        for (int j = 0; j < 2; j++) threads[j] = thread(turns_in_a_callback, NULL);
        WAIT_UNTIL(turning == 2);
        for (int j = 0; j < 2; j++) CHECK_EQ(pthread_kill(threads[j], SIGUSR2), 0);
        WAIT_UNTIL(came_back == 2);
        over = 1;
        for (int j = 0; j < 2; j++) join(threads[j]);
    }
}

/* C that a callback has called jumps back to it. From its next safepoint on it counts as running. */
static jmp_buf back;
static volatile int is_back, parks;
static void jumps_back(void *arg) {
    (void)arg;
    longjmp(back, 1);
}
static void goes_on_after_the_jump(void *arg) {
    (void)arg;
    if (!setjmp(back)) needm_ccall(jumps_back, NULL);
    needm_safepoint();
    is_back = 1;
    WAIT_UNTIL(parks);
    needm_safepoint();
}
static void *goes_on(void *arg) {
    CHECK_EQ(needm_callback(goes_on_after_the_jump, NULL, 0, NULL), 0);
    return arg;
}
static void *lets_it_park(void *arg) {
    usleep(20000);
    parks = 1;
    return arg;
}
static void a_callback_that_c_jumped_back_to_is_stopped(void) {
    is_back = parks = 0;
    pthread_t made = thread(goes_on, NULL);
    WAIT_UNTIL(is_back);
    pthread_t parker = thread(lets_it_park, NULL);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK(parks); /* until then it ran, and the stop waited */
    CHECK_EQ(needm_start_the_world(), 0);
    join(parker);
    join(made);
}

int main(int argc, char **argv) {
    uint32_t binding = parse_binding(argc, argv);
    struct sigaction action = {.sa_sigaction = make_it_writable, .sa_flags = SA_SIGINFO};
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
    start((needm_config){.binding = binding});
    struct sigaction usr1 = {.sa_handler = in_a_waiter, .sa_flags = SA_RESTART};
    CHECK_EQ(sigaction(SIGUSR1, &usr1, NULL), 0);
    RUN(a_child_of_another_thread_has_a_running_world);
    RUN(c_faults_reach_their_handler_in_a_stopped_world);
    RUN(a_waiting_thread_may_be_cancelled);
    RUN(spawned_and_foreign_threads_take_turns_to_stop_it);
    RUN(a_callback_that_c_jumped_back_to_is_stopped);
    if (handlers_lose_their_thread()) return SUCCESS;
    RUN(handlers_over_running_callbacks_take_turns_to_stop_it);
    RUN(a_handler_of_a_waiting_thread_may_fork_and_call_back);
    RUN(a_handler_of_a_waiting_thread_may_jump_out);
    RUN(a_waiting_thread_may_exit_by_the_raw_system_call);
    stop_when_idle();
    return SUCCESS;
}
