/* The owner of a stopped world faults, unwinds, exits, forks and jumps: the world runs again, and
 * nothing is lost. */
#include "filter.h"
#include <sched.h>
#ifndef _WIN32
#include <setjmp.h>
#endif

static volatile long done;
static volatile int ready;
static void count_one(void *arg) { __sync_fetch_and_add(&done, 1), (void)arg; }
static void *calls_once(void *arg) {
    CHECK_EQ(needm_callback(count_one, arg, 0, NULL), 0);
    return NULL;
}
/* The world runs: a callback of another thread gets through. */
static void world_runs(void) {
    long before = done;
    join(thread(calls_once, NULL));
    CHECK_EQ(done, before + 1);
}
static void stop_it(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    if (arg) ((void (*)(void *))arg)(NULL);
}
static void long_sleep(void) { usleep(emulated() ? 100000 : 20000); }

static void the_owner_of_a_stopped_world_runs_callbacks_and_faults(void) {
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_callback(panic, NULL, 0, NULL), NEEDM_EPANIC);
    CHECK_EQ(needm_stop_the_world(), NEEDM_EALREADY);
    CHECK_EQ(needm_start_the_world(), 0);
    world_runs();
}
static void an_unwound_callback_starts_the_world_that_it_stopped(void) {
    void (*ends[])(void *) = {fault, overflow, panic};
    int results[] = {NEEDM_EFAULT, NEEDM_EOVERFLOW, NEEDM_EPANIC};
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(needm_callback(stop_it, (void *)ends[i], 0, NULL), results[i]);
        CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
        world_runs();
    }
}
static jmp_buf out;
static void jump(void *arg) { (void)arg, longjmp(out, 1); }
static void a_longjmp_past_a_callback_starts_the_world_that_it_stopped(void) {
    if (setjmp(out) == 0) needm_callback(stop_it, (void *)jump, 0, NULL);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
    world_runs();
}
static void after_a_return_the_world_stays_stopped(void) {
    CHECK_EQ(needm_callback(stop_it, NULL, 0, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_stop_the_world(), NEEDM_EALREADY);
    CHECK_EQ(needm_stop(), NEEDM_EBUSY);
    CHECK_EQ(needm_start_the_world(), 0);
    world_runs();
}
static void *exits_by_return(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    return arg;
}
static void *exits_in_a_callback(void *arg) {
    (void)arg;
#ifdef _WIN32
    needm_callback(stop_it, (void *)ExitThread, 0, NULL);
#else
    needm_callback(stop_it, (void *)pthread_exit, 0, NULL);
#endif
    return NULL;
}
static void *exits_raw(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    ready = 1;
    syscall(SYS_exit, 0);
    return arg;
}
static void the_world_runs_again_when_its_owner_exits(void) {
    for (int i = 0; i < rounds(40); i++) {
        join(thread(exits_by_return, NULL));
        world_runs();
        join(thread(exits_in_a_callback, NULL));
        world_runs();
        /* Nothing tells at once that it has exited. */
        ready = 0;
        thread(exits_raw, NULL);
        while (!ready) sched_yield();
        world_runs();
    }
}
static void needm_stops_after_an_owner_has_exited(void) {
    start((needm_config){0});
    ready = 0;
    pthread_t made = thread(exits_raw, NULL);
    while (!ready) sched_yield();
    /* Linux wakes the join a moment before the thread is gone, also on a raw exit. */
    join(made);
    stop_when_idle();
}
static int raw_too;
static void jump_to(void *to) { longjmp(*(jmp_buf *)to, 1); }
static void *jumps_out_and_exits_raw(void *arg) {
    jmp_buf out_of_it;
    if (setjmp(out_of_it) == 0) needm_callback(jump_to, &out_of_it, 0, NULL);
    ready = 1;
    if (arg) syscall(SYS_exit, 0);
    while (ready == 1) sched_yield();
    needm_self();
    while (ready == 2) sched_yield();
    return NULL;
}
static void a_longjmped_past_callback_does_not_block_a_stop_for_ever(void) {
    for (int i = 0; i < rounds(40); i++) {
        ready = 0;
        thread(jumps_out_and_exits_raw, &raw_too);
        while (!ready) sched_yield();
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        ready = 0;
        pthread_t lives = thread(jumps_out_and_exits_raw, NULL);
        while (!ready) sched_yield();
        ready = 2;
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        ready = 3;
        join(lives);
    }
}
/* From C that a nested callback called, to the callback around it, on the same G. */
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
static void a_callback_that_c_jumps_back_to_counts_as_running(void) {
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
#ifndef _WIN32
static void in_the_child(void) {
    world_runs();
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
}
static void owners_child(void) {
    CHECK_EQ(needm_stop_the_world(), NEEDM_EALREADY);
    CHECK_EQ(needm_start_the_world(), 0);
    in_the_child();
}
static void a_child_of_the_owner_has_its_own_world(void) {
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_CHILD(owners_child);
    CHECK_EQ(needm_start_the_world(), 0);
    world_runs();
}
#endif

int main(int argc, char **argv) {
    uint32_t binding = parse_binding(argc, argv);
    start((needm_config){.binding = binding});
    RUN(the_owner_of_a_stopped_world_runs_callbacks_and_faults);
    RUN(an_unwound_callback_starts_the_world_that_it_stopped);
    RUN(a_longjmp_past_a_callback_starts_the_world_that_it_stopped);
    RUN(after_a_return_the_world_stays_stopped);
    RUN(the_world_runs_again_when_its_owner_exits);
    RUN(a_longjmped_past_callback_does_not_block_a_stop_for_ever);
    RUN(a_callback_that_c_jumps_back_to_counts_as_running);
#ifndef _WIN32
    RUN(a_child_of_the_owner_has_its_own_world);
#endif
    stop_when_idle();
    if (handlers_lose_their_thread()) return SUCCESS;
    RUN(needm_stops_after_an_owner_has_exited);
    return SUCCESS;
}
