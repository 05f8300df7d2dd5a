/* Threads and a stopped world: what they may do in C, while they wait at the gate, and in handlers;
 * how they take turns to stop the world; and a jump from C back into a callback. */
#include "filter.h"
#include <sched.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

static volatile long done; /* callbacks that have run */
static void count_one(void *arg) { __sync_fetch_and_add(&done, 1), (void)arg; }
static void *call_once(void *arg) {
    CHECK_EQ(needm_callback(count_one, arg, 0, NULL), 0);
    return NULL;
}
/* The world runs: a callback of another thread gets through. */
static void check_world_runs(void) {
    long before = done;
    join(thread(call_once, NULL));
    CHECK_EQ(done, before + 1);
}
/* After a thread has said that it is about to call back, it takes some time until it sleeps at the
 * gate, and no state shows when it does. If this is too short, the test shows less, and is still
 * right. */
static void long_sleep(void) { usleep(emulated() ? 100000 : 20000); }

static void use_in_child(void) {
    check_world_runs();
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
}
/* Other threads, in C, while the world is stopped. */
static void *do_fork(void *arg) {
    CHECK_CHILD(use_in_child);
    return arg;
}
static void a_child_of_another_thread_has_a_running_world(void) {
    CHECK_EQ(needm_stop_the_world(), 0);
    join(thread(do_fork, NULL));
    CHECK_EQ(needm_start_the_world(), 0);
    check_world_runs();
}
static void *fault_in_c(void *arg) {
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
    join(thread(fault_in_c, page));
    CHECK_EQ(*page, 1);
    CHECK_EQ(needm_start_the_world(), 0);
    munmap(page, 1);
}

/* Threads that wait at the gate. */
static volatile long arrived;
static int is_cancellable = 1;
static void *wait_at_gate(void *cancellable) {
    if (cancellable) pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    CHECK_EQ(needm_attach(), 0);
    __sync_fetch_and_add(&arrived, 1);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
    return NULL;
}
/* Only in a stopped world, so that the waiter's callback cannot run before the stop. */
static pthread_t start_waiter(void *(*body)(void *), void *arg) {
    long before = arrived;
    pthread_t waiter = thread(body, arg);
    WAIT_UNTIL(arrived > before);
    long_sleep();
    return waiter;
}
/* What the handler of SIGUSR1 does on a waiter. It sets `action` back to NOTHING when it is done. */
enum { NOTHING, EXIT, FORK, CALL_BACK, JUMP };
static volatile int action;
static jmp_buf away;
static void act(int signal) {
    (void)signal;
    switch (action) {
        case EXIT: syscall(SYS_exit, 0); break;
        case FORK: CHECK_CHILD(use_in_child); break;
        case CALL_BACK: CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0); break;
        case JUMP: longjmp(away, 1);
    }
    action = NOTHING;
}
static void send_action(pthread_t waiter, int what) {
    action = what;
    CHECK_EQ(pthread_kill(waiter, SIGUSR1), 0);
}
static void a_waiting_thread_may_be_cancelled(void) {
    CHECK_EQ(needm_attach(), 0);
    uint64_t bound = stats().ms_bound;
    for (int i = 0; i < 5; i++) {
        long before = done;
        CHECK_EQ(needm_stop_the_world(), 0);
        pthread_t waiter = start_waiter(wait_at_gate, &is_cancellable);
        CHECK_EQ(pthread_cancel(waiter), 0);
        join(waiter);
        CHECK_EQ(done, before);
        CHECK_EQ(needm_start_the_world(), 0);
        CHECK_EQ(stats().ms_bound, bound);
        check_world_runs();
    }
}
/* Whether Linux itself marks that a thread has exited. qemu-user does not, and neither does Linux
 * where a filter forbids robust lists ("no-robust-list"). */
static int exits_are_marked(void) {
    void *head;
    size_t size;
    return syscall(SYS_get_robust_list, 0, &head, &size) == 0;
}
static void a_waiting_thread_may_exit_by_the_raw_system_call(void) {
    uint64_t bound = stats().ms_bound, made = stats().ms_total;
    enum { WAITERS = 5 };
    for (int i = 0; i < WAITERS; i++) {
        CHECK_EQ(needm_stop_the_world(), 0);
        send_action(start_waiter(wait_at_gate, NULL), EXIT);
        long_sleep();
        CHECK_EQ(needm_start_the_world(), 0);
        check_world_runs();
    }
    /* Each of these threads reaps a few that have exited, if their exits are marked. The others are
     * noticed only when no M is free: until then each waiter keeps its M, and there is one spare. */
    for (int i = 0; i < 200; i++) check_world_runs();
    if (exits_are_marked()) CHECK(stats().ms_bound <= bound);
    CHECK(stats().ms_total <= made + WAITERS + 1);
}
static void a_handler_of_a_waiting_thread_may_fork_and_call_back(void) {
    for (int what = FORK; what <= CALL_BACK; what++) {
        long before = done;
        CHECK_EQ(needm_stop_the_world(), 0);
        pthread_t waiter = start_waiter(wait_at_gate, NULL);
        send_action(waiter, what);
        /* The handler that calls back is not done before the world starts: it waits, too. */
        if (what == FORK)
            WAIT_UNTIL(action == NOTHING);
        else
            long_sleep();
        CHECK_EQ(done, before);
        CHECK_EQ(needm_start_the_world(), 0);
        join(waiter);
        int callbacks = what == CALL_BACK ? 2 : 1;
        CHECK_EQ(done, before + callbacks);
        check_world_runs();
    }
}
static void *wait_and_be_jumped_away(void *arg) {
    if (setjmp(away) == 0) wait_at_gate(NULL);
    CHECK_EQ(action, JUMP);
    action = NOTHING;
    /* longjmp leaves SIGUSR1 blocked, as it was in the handler. */
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0);
    return arg;
}
static void a_handler_of_a_waiting_thread_may_jump_out(void) {
    for (int i = 0; i < 5; i++) {
        long before = done;
        CHECK_EQ(needm_stop_the_world(), 0);
        pthread_t waiter = start_waiter(wait_and_be_jumped_away, NULL);
        send_action(waiter, JUMP);
        WAIT_UNTIL(action == NOTHING);
        long_sleep();
        CHECK_EQ(done, before);
        CHECK_EQ(needm_start_the_world(), 0);
        join(waiter);
        CHECK_EQ(done, before + 1);
        check_world_runs();
    }
}

/* Spawned threads and foreign ones stop the world. */
static volatile long stops;
static void stop_often(void *arg) {
    for (int i = 0; i < rounds(200); i++) {
        CHECK_EQ(needm_stop_the_world(), 0);
        long then = __sync_add_and_fetch(&stops, 1);
        CHECK_EQ(needm_ccall(nothing, arg), 0);
        CHECK_EQ(stops, then);
        CHECK_EQ(needm_start_the_world(), 0);
    }
    count_one(arg);
}
static void *stop_often_from_c(void *arg) {
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
static void spawned_and_foreign_threads_take_turns_to_stop_the_world(void) {
    long before = done;
    pthread_t threads[3];
    stops = 0;
    for (int i = 0; i < 3; i++) CHECK_EQ(needm_spawn(stop_often, NULL), 0);
    for (int i = 0; i < 3; i++) threads[i] = thread(stop_often_from_c, NULL);
    for (int i = 0; i < 3; i++) join(threads[i]);
    WAIT_UNTIL(done == before + 3);
    CHECK_EQ(stops, 6L * rounds(200));
}

/* Two handlers on the signal stack stop the world at the same time, each over a running callback. */
static volatile int spinning, handlers_in, handlers_out, over;
static void stop_with_another(int signal) {
    (void)signal;
    __sync_fetch_and_add(&handlers_in, 1);
    while (handlers_in < 2) {}
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    __sync_fetch_and_add(&handlers_out, 1);
}
static void spin_until_over(void *arg) {
    (void)arg;
    __sync_fetch_and_add(&spinning, 1);
    while (!over) needm_safepoint();
}
static void *spin_in_a_callback(void *arg) {
    CHECK_EQ(needm_callback(spin_until_over, NULL, 0, NULL), 0);
    return arg;
}
static void handlers_over_running_callbacks_take_turns_to_stop_the_world(void) {
    struct sigaction usr2 = {.sa_handler = stop_with_another, .sa_flags = SA_ONSTACK | SA_RESTART};
    CHECK_EQ(sigaction(SIGUSR2, &usr2, NULL), 0);
    for (int i = 0; i < rounds(20); i++) {
        pthread_t threads[2];
        spinning = handlers_in = handlers_out = over = 0;
        for (int j = 0; j < 2; j++) threads[j] = thread(spin_in_a_callback, NULL);
        WAIT_UNTIL(spinning == 2);
        for (int j = 0; j < 2; j++) CHECK_EQ(pthread_kill(threads[j], SIGUSR2), 0);
        WAIT_UNTIL(handlers_out == 2);
        over = 1;
        for (int j = 0; j < 2; j++) join(threads[j]);
    }
}

/* A callback calls C, and C jumps back into the callback. From its next safepoint on, the callback
 * counts as running. */
static jmp_buf back;
static volatile int is_back, may_reach_safepoint;
static void jump_back(void *arg) {
    (void)arg;
    longjmp(back, 1);
}
static void go_on_after_the_jump(void *arg) {
    (void)arg;
    if (!setjmp(back)) needm_ccall(jump_back, NULL);
    needm_safepoint();
    is_back = 1;
    WAIT_UNTIL(may_reach_safepoint);
    needm_safepoint();
}
static void *call_back_and_jump(void *arg) {
    CHECK_EQ(needm_callback(go_on_after_the_jump, NULL, 0, NULL), 0);
    return arg;
}
static void *let_it_reach_safepoint(void *arg) {
    usleep(20000);
    may_reach_safepoint = 1;
    return arg;
}
static void a_callback_that_c_jumped_back_to_is_stopped(void) {
    is_back = may_reach_safepoint = 0;
    pthread_t jumper = thread(call_back_and_jump, NULL);
    WAIT_UNTIL(is_back);
    pthread_t releaser = thread(let_it_reach_safepoint, NULL);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK(may_reach_safepoint); /* until then the callback ran, and the stop waited for it */
    CHECK_EQ(needm_start_the_world(), 0);
    join(releaser);
    join(jumper);
}

/* A callback that C has jumped out of counts as running until that is noticed: not yet by a callback of
 * a fiber. One of the next fiber waits at the gate, and the thread that stops the world does not
 * wait for either. */
static ucontext_t scheduler, fibers[2];
static jmp_buf to_the_thread;
static void jumps_out(void *arg) {
    (void)arg;
    longjmp(to_the_thread, 1);
}
static void calls_to_jump(void *arg) { needm_callback(jumps_out, arg, 0, NULL); }
static void is_jumped_out_of(void *arg) { needm_ccall(calls_to_jump, arg); }
static __attribute__((noinline)) void call_far_down(void) {
    volatile char between[32768]; /* what the thread does next overwrites nothing further down */
    needm_callback(is_jumped_out_of, NULL, 0, NULL);
    (void)between[0]; /* else the call is a tail call, and this frame is gone */
}
static void switches(void *arg) {
    (void)arg;
    CHECK_EQ(swapcontext(&fibers[0], &scheduler), 0);
}
static void waits_in_c(void *arg) { CHECK_EQ(needm_ccall(switches, arg), 0); }
static void first_fiber(void) { CHECK_EQ(needm_callback(waits_in_c, NULL, 0, NULL), 0); }
static void second_fiber(void) { CHECK_EQ(needm_callback(count_one, NULL, 0, NULL), 0); }
static volatile int enough;
static void *stops_again_and_again(void *arg) {
    while (!enough) {
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
    }
    return arg;
}
static void a_stop_does_not_wait_for_a_callback_below_those_of_fibers(void) {
    enum { SIZE = 64 * 1024 };
    char *stacks = malloc(2 * SIZE);
    CHECK(stacks);
    enough = 0;
    pthread_t stopper = thread(stops_again_and_again, NULL);
    for (int i = 0; i < rounds(50); i++) {
        for (int j = 0; j < 2; j++) {
            CHECK_EQ(getcontext(&fibers[j]), 0);
            fibers[j].uc_stack = (stack_t){.ss_sp = stacks + j * SIZE, .ss_size = SIZE};
            fibers[j].uc_link = &scheduler;
            makecontext(&fibers[j], j ? second_fiber : first_fiber, 0);
        }
        if (setjmp(to_the_thread) == 0) call_far_down();
        CHECK_EQ(swapcontext(&scheduler, &fibers[0]), 0);
        usleep(1000); /* most often the other thread waits by then */
        CHECK_EQ(swapcontext(&scheduler, &fibers[1]), 0);
        CHECK_EQ(swapcontext(&scheduler, &fibers[0]), 0);
        CHECK_EQ(needm_detach(), 0);
    }
    enough = 1;
    join(stopper);
    free(stacks);
}

int main(int argc, char **argv) {
    uint32_t binding = parse_binding(argc, argv);
    struct sigaction segv = {.sa_sigaction = make_it_writable, .sa_flags = SA_SIGINFO};
    CHECK_EQ(sigaction(SIGSEGV, &segv, NULL), 0);
    start((needm_config){.binding = binding});
    struct sigaction usr1 = {.sa_handler = act, .sa_flags = SA_RESTART};
    CHECK_EQ(sigaction(SIGUSR1, &usr1, NULL), 0);
    RUN(a_child_of_another_thread_has_a_running_world);
    RUN(c_faults_reach_their_handler_in_a_stopped_world);
    RUN(a_waiting_thread_may_be_cancelled);
    RUN(spawned_and_foreign_threads_take_turns_to_stop_the_world);
    RUN(a_callback_that_c_jumped_back_to_is_stopped);
    RUN(a_stop_does_not_wait_for_a_callback_below_those_of_fibers);
    if (handlers_lose_their_thread()) return SUCCESS;
    RUN(handlers_over_running_callbacks_take_turns_to_stop_the_world);
    RUN(a_handler_of_a_waiting_thread_may_fork_and_call_back);
    RUN(a_handler_of_a_waiting_thread_may_jump_out);
    RUN(a_waiting_thread_may_exit_by_the_raw_system_call);
    stop_when_idle();
    return SUCCESS;
}
