/* What the system gives at the start it may refuse later, or never give. */
#include "filter.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

/* On all threads, also those that are there. */
static void refuse_membarrier_from_now_on(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter), 0);
}

/* needm's own (arch/<arch>/tls.S), linked from the archive: a fast path is allowed while the gate
 * has the value that the thread has a copy of. */
extern struct { uint32_t value, waiters; } needm_gate;

static volatile long turns, changed;
static volatile int ends;
static void turns_once(void *arg) {
    (void)arg;
    turns++;
}
static void *turns_until_it_ends(void *binding) {
    while (!ends) CHECK_EQ(needm_callback(turns_once, NULL, 0, NULL), 0);
    return binding;
}
static void stops_the_world(int times) {
    for (int i = 0; i < times; i++) {
        CHECK_EQ(needm_stop_the_world(), 0);
        long before = turns;
        for (int j = 0; j < 1000; j++) changed += turns != before;
        CHECK_EQ(needm_start_the_world(), 0);
    }
}
static void stops_the_world_in_a_sandbox(uint32_t binding) {
    start((needm_config){.binding = binding});
    uint32_t at_first = needm_gate.value;
    ends = 0;
    pthread_t caller = thread(turns_until_it_ends, NULL);
    stops_the_world(100);
    CHECK_EQ(needm_gate.value, at_first);
    refuse_membarrier_from_now_on();
    stops_the_world(500);
    CHECK(needm_gate.value != at_first); /* no thread has this one */
    CHECK_EQ(needm_gate.value & 1, 0);
    long before = turns;
    WAIT_UNTIL(turns > before + 1000);
    ends = 1;
    join(caller);
    CHECK_EQ(changed, 0);
    CHECK_EQ(needm_stop(), 0);
    start((needm_config){.binding = binding});
    stops_the_world(10);
    CHECK_EQ(needm_stop(), 0);
}
static void stops_with_bound_ms(void) { stops_the_world_in_a_sandbox(NEEDM_BIND_THREAD); }
static void stops_with_ms_bound_per_call(void) { stops_the_world_in_a_sandbox(NEEDM_BIND_CALL); }
static void the_world_stops_when_membarrier_is_refused_later(void) {
    if (emulated()) return; /* no filters */
    CHECK_CHILD(stops_with_bound_ms);
    CHECK_CHILD(stops_with_ms_bound_per_call);
}

static volatile int inside, over;
static void stays(void *arg) {
    (void)arg;
    inside = 1;
    WAIT_UNTIL(over);
}
static void *calls(void *arg) {
    CHECK_EQ(needm_callback(stays, NULL, 0, NULL), 0);
    return arg;
}

static int futex_is_refused;
/* A wait for an M ends in time although no clock can be read. The C library does not ask the
 * system for the time of this clock, where the system has it in memory. */
static void waits_without_a_clock(void) {
    const int64_t limit = 50000000;
    filter_system_calls(SYS_clock_gettime, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ALLOW);
    start((needm_config){.max_ms = 1, .wait_ns = limit});
    pthread_t holder = thread(calls, NULL);
    WAIT_UNTIL(inside);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), NEEDM_ETIMEDOUT);
    CHECK_EQ(stats().timeouts, 1);
    if (futex_is_refused) _exit(SUCCESS); /* the C library cannot join without it */
    over = 1;
    join(holder);
    CHECK_EQ(needm_stop(), 0);
}
static void a_wait_ends_without_a_clock(void) {
    if (emulated()) return; /* no filters */
    CHECK_CHILD(waits_without_a_clock);
}

#ifdef SYS_futex_time64
/* A 32-bit system may have only the calls that take a time of 64 bits. */
static void waits_without_a_call_for_short_times(void) {
    futex_is_refused = 1;
    filter_system_calls(SYS_futex, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_ALLOW);
    waits_without_a_clock();
}
static void a_wait_ends_where_times_have_64_bits(void) {
    if (emulated()) return;
    CHECK_CHILD(waits_without_a_call_for_short_times);
}
#endif

/* An interrupt is a signal with a value, by which needm knows it. */
static needm_m *volatile interrupted;
static volatile int spinning;
static void spins(void *arg) {
    interrupted = needm_self();
    spinning = 1;
    for (;;) __asm__ volatile("");
    (void)arg;
}
static void *spins_until_it_is_ended(void *arg) {
    CHECK_EQ(needm_callback(spins, NULL, 0, NULL), NEEDM_EINTERRUPTED);
    return arg;
}
static void interrupts_all_the_same(void) {
    for (int i = 0; i < 20; i++) {
        spinning = 0;
        pthread_t busy = thread(spins_until_it_is_ended, NULL);
        WAIT_UNTIL(spinning);
        CHECK_EQ(needm_interrupt(interrupted, NULL), 0);
        join(busy);
    }
    CHECK_EQ(stats().interrupts, 20);
    CHECK_EQ(needm_stop(), 0);
}
static void there_is_no_room_for_values(void) {
    start((needm_config){.seed_ms = 1});
    CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){0, 0}), 0);
    interrupts_all_the_same();
}
static void values_are_refused(void) {
    start((needm_config){.seed_ms = 1});
    filter_system_calls(SYS_rt_tgsigqueueinfo, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ALLOW);
    interrupts_all_the_same();
}
static void an_interrupt_may_come_without_its_value(void) {
    if (handlers_lose_their_thread()) return;
    CHECK_CHILD(there_is_no_room_for_values);
    if (!emulated()) CHECK_CHILD(values_are_refused); /* no filters */
}

/* The thread keeps the signal stack that it has. A handler on that cannot make room for the next one. */
static volatile int answered;
static void calls_back_from_a_handler(int signal) {
    (void)signal;
    answered = needm_callback(fault, NULL, 0, NULL);
}
__attribute__((noinline)) static int faults_from_below(volatile char *above) {
    char here[20000];
    ((volatile char *)here)[0] = above[0];
    int answer = needm_callback(fault, NULL, 0, NULL);
    return answer + ((volatile char *)here)[0];
}
static void the_signal_stack_cannot_be_changed(uint32_t binding) {
    struct sigaction action = {.sa_handler = calls_back_from_a_handler, .sa_flags = SA_ONSTACK};
    volatile char room[1] = {0};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    raise(SIGUSR1);
    CHECK_EQ(answered, NEEDM_EFAULT);
    filter_system_calls(SYS_sigaltstack, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ALLOW);
    raise(SIGUSR1);
    CHECK_EQ(answered, NEEDM_ESYS);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(faults_from_below(room), NEEDM_EFAULT);
    }
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_stop(), 0);
}
static void it_cannot_be_changed(void) { the_signal_stack_cannot_be_changed(NEEDM_BIND_THREAD); }
static void it_cannot_be_changed_per_call(void) { the_signal_stack_cannot_be_changed(NEEDM_BIND_CALL); }
static void callbacks_go_on_where_the_signal_stack_cannot_be_changed(void) {
    if (emulated()) return; /* no filters */
    CHECK_CHILD(it_cannot_be_changed);
    CHECK_CHILD(it_cannot_be_changed_per_call);
}

/* The stack of a fiber that was in a callback is gone, or the fiber comes back. Whether a word of its stack is there, needm
 * asks by a change of the mask in no way; or, where a filter answers that, by another call. */
static int filter_says;
static void answer_changes_in_no_way(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigprocmask, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SIG_SETMASK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, filter_says < 0 ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | (uint32_t)filter_says),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}
static ucontext_t fiber, around;
static void goes_away(void *arg) {
    (void)arg;
    swapcontext(&fiber, &around);
}
static volatile int fiber_ended;
static void is_in_a_callback(void) {
    CHECK_EQ(needm_callback(goes_away, NULL, 0, NULL), 0);
    fiber_ended++;
    setcontext(&around);
}
static void a_fiber_is_in_a_callback(uint32_t flags, int its_stack_goes) {
    enum { BYTES = 1 << 16 };
    void *stack = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    start((needm_config){.flags = flags});
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = BYTES;
    makecontext(&fiber, is_in_a_callback, 0);
    swapcontext(&around, &fiber);
    if (its_stack_goes) munmap(stack, BYTES);
    answer_changes_in_no_way();
    for (int i = 0; i < 20; i++) CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    if (!its_stack_goes) {
        swapcontext(&around, &fiber);
        CHECK_EQ(fiber_ended, 1);
    }
    CHECK_EQ(needm_stop(), 0);
}
static void with_probes(void) {
    a_fiber_is_in_a_callback(0, 0);
    fiber_ended = 0;
    a_fiber_is_in_a_callback(0, 1);
}
static void without_probes(void) {
    a_fiber_is_in_a_callback(NEEDM_NO_PROBES, 0);
    fiber_ended = 0;
    a_fiber_is_in_a_callback(NEEDM_NO_PROBES, 1);
}
static void filters_do_not_say_what_memory_is_there(void) {
    if (emulated()) return; /* no filters */
    const int answers[] = {0, EPERM, EINVAL, ENOSYS};
    for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++) {
        filter_says = answers[i];
        CHECK_CHILD(with_probes);
    }
    filter_says = -1;
    CHECK_CHILD(without_probes);
}
/* Chromium's allows a thread to wait, and hardly more. */
static void only_waits_by_futex(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x7f), /* FUTEX_CMD_MASK, but for the private ones */
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 1, 0, 1), /* FUTEX_WAIT and FUTEX_WAKE are 0 and 1 */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}
static volatile int has_waited;
static void *calls_where_there_is_no_m(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), NEEDM_ETIMEDOUT);
    has_waited = 1;
    return arg;
}
static void the_first_thread_holds_the_only_m(void) {
    start((needm_config){.max_ms = 1, .wait_ns = 20000000, .flags = NEEDM_NO_PROBES});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    only_waits_by_futex();
    thread(calls_where_there_is_no_m, NULL);
    WAIT_UNTIL(has_waited); /* the C library joins by another operation */
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void the_usual_operations_of_futex_suffice(void) {
    if (emulated()) return; /* no filters */
    CHECK_CHILD(the_first_thread_holds_the_only_m);
}

/* The first thread keeps its ID until all others have exited. Without a robust list nothing else says that it has. */
static void *uses_its_m(void *arg) {
    int answer = NEEDM_ETIMEDOUT;
    WAIT_UNTIL((answer = needm_callback(nothing, NULL, 0, NULL)) != NEEDM_ETIMEDOUT);
    CHECK_EQ(answer, 0);
    CHECK_EQ(stats().ms_reclaimed, 1);
    _exit(SUCCESS);
    return arg;
}
static void the_first_thread_exits(void) {
    without_robust_lists();
    start((needm_config){.max_ms = 1, .wait_ns = 10000000});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    thread(uses_its_m, NULL);
    syscall(SYS_exit, 0);
}
static void a_first_thread_that_has_exited_returns_its_m(void) { CHECK_CHILD(the_first_thread_exits); }

int main(void) {
    RUN(the_world_stops_when_membarrier_is_refused_later);
    RUN(a_wait_ends_without_a_clock);
    RUN(an_interrupt_may_come_without_its_value);
    RUN(callbacks_go_on_where_the_signal_stack_cannot_be_changed);
    RUN(filters_do_not_say_what_memory_is_there);
    RUN(the_usual_operations_of_futex_suffice);
    RUN(a_first_thread_that_has_exited_returns_its_m);
#ifdef SYS_futex_time64
    RUN(a_wait_ends_where_times_have_64_bits);
#endif
    return SUCCESS;
}
