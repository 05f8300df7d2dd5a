/* Flags of needm_config: a sandbox that kills, and stacks that say nothing of the thread before. */
#include "filter.h"
#include <ucontext.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define SECOND 1000000000LL
static uint32_t binding;

/* A pattern all over the stack, and what the next thread finds of it. */
enum { WORDS = 3000 };
static const uintptr_t secret = (uintptr_t)0x5ec4e75ec4e75ec4;
__attribute__((noinline)) static void leaves_secrets(void *arg) {
    (void)arg;
    volatile uintptr_t words[WORDS];
    for (int i = 0; i < WORDS; i++) words[i] = secret;
    CHECK_EQ(words[7], secret);
}
static long found;
__attribute__((noinline, no_sanitize("address"))) static void reads_the_stack(void *arg) {
    (void)arg;
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    for (volatile uintptr_t *at = lo; at < (volatile uintptr_t *)hi; at++) found += *at == secret;
}
static needm_m *left;
static int locked;
static void *leaves(void *arg) {
    CHECK_EQ(needm_attach(), 0);
    left = needm_self();
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(left, &lo, &hi), 0);
    if (locked && mlock(lo, (size_t)((char *)hi - (char *)lo)) != 0) locked = 0;
    CHECK_EQ(needm_callback(leaves_secrets, NULL, 0, NULL), 0);
    /* The same thread may find its own. */
    if (arg) CHECK_EQ(needm_callback(leaves_secrets, NULL, 0, NULL), 0);
    CHECK_EQ(needm_detach(), 0);
    return arg;
}
static void *reads(void *arg) {
    CHECK_EQ(needm_callback(reads_the_stack, NULL, 0, NULL), 0);
    CHECK_EQ(needm_m_thread(left), binding == NEEDM_BIND_CALL ? 0 : (uint64_t)syscall(SYS_gettid));
    return arg;
}
static void reads_in_a_handler(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(reads_the_stack, NULL, 0, NULL), 0);
}
static void handles_signals(void *arg) {
    (void)arg;
    CHECK_EQ(raise(SIGUSR1), 0);
}
static long secrets_that_are_found(uint32_t flags) {
    start((needm_config){.binding = binding, .flags = flags, .max_ms = 1});
    found = 0;
    join(thread(leaves, NULL));
    join(thread(reads, NULL));
    CHECK_EQ(needm_stop(), 0);
    return found;
}
static void no_thread_reads_what_another_left(void) {
    CHECK(secrets_that_are_found(0) > 1000); /* so it is looked for in the right place */
    CHECK_EQ(secrets_that_are_found(NEEDM_SCRUB_STACKS), 0);
    CHECK_EQ(secrets_that_are_found(NEEDM_SCRUB_STACKS | NEEDM_NO_PROBES), 0);
    locked = 1; /* pages that cannot be taken away */
    CHECK_EQ(secrets_that_are_found(NEEDM_SCRUB_STACKS), 0);
    CHECK_EQ(secrets_that_are_found(NEEDM_SCRUB_STACKS | NEEDM_NO_PROBES), 0);
    if (!locked) fprintf(stderr, "skipped: memory cannot be locked\n");
    locked = 0;
}
/* Nor a thread that gets its last M again, which another has had meanwhile. */
static void *leaves_and_stays(void *arg) {
    CHECK_EQ(needm_callback(leaves_secrets, NULL, 0, NULL), 0);
    *(volatile int *)arg = 1;
    WAIT_UNTIL(*(volatile int *)arg == 2);
    return NULL;
}
static void none_is_read_in_the_last_m(void) {
    if (binding != NEEDM_BIND_CALL) return; /* no other thread uses a bound M */
    start((needm_config){.binding = binding, .flags = NEEDM_SCRUB_STACKS, .max_ms = 1});
    for (int i = 0; i < 3; i++) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    volatile int state = 0;
    pthread_t other = thread(leaves_and_stays, (void *)&state);
    WAIT_UNTIL(state == 1);
    found = 0;
    CHECK_EQ(needm_callback(reads_the_stack, NULL, 0, NULL), 0);
    CHECK_EQ(found, 0);
    state = 2;
    join(other);
    CHECK_EQ(needm_stop(), 0);
}
static void a_handler_reads_none_either(void) {
    static char memory[128 * 1024];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory}, before;
    CHECK_EQ(sigaltstack(&stack, &before), 0);
    struct sigaction action = {.sa_handler = reads_in_a_handler, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    start((needm_config){.binding = binding, .flags = NEEDM_SCRUB_STACKS, .seed_ms = 2, .max_ms = 2});
    CHECK_EQ(needm_attach(), 0);
    join(thread(leaves, NULL));
    found = 0;
    CHECK_EQ(needm_callback(handles_signals, NULL, 0, NULL), 0); /* its handler gets the other M */
    CHECK_EQ(found, 0);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(sigaltstack(&before, NULL), 0);
}

/* A sandbox that ends the process at any system call that needm can do without. The threads are
 * there before, because the C library registers a robust list for a new one. */
static void kill_on_optional_calls(void) {
    const long calls[] = {SYS_membarrier, SYS_get_robust_list, SYS_set_robust_list, SYS_mincore,
                          SYS_clock_gettime, SYS_rt_tgsigqueueinfo, SYS_openat};
    enum { CALLS = sizeof calls / sizeof *calls };
    struct sock_filter rules[2 * CALLS + 7];
    int n = 0;
    rules[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < CALLS; i++) {
        rules[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
        rules[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    rules[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3);
    rules[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]));
    rules[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED, 1, 0);
    rules[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    rules[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog filter = {(unsigned short)n, rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter), 0);
}
static volatile int up, go, inside, over;
static volatile long sum;
static void adds(void *arg) {
    (void)arg;
    __atomic_add_fetch(&sum, 1, __ATOMIC_RELAXED);
}
static void goes_out(void *arg) { CHECK_EQ(needm_ccall(adds, arg), 0); }
static void stays(void *arg) {
    (void)arg;
    inside = 1;
    WAIT_UNTIL(over);
}
static _Thread_local jmp_buf back;
static void jumps(void *arg) {
    (void)arg;
    longjmp(back, 1);
}
static void jumps_from_c(void *arg) { CHECK_EQ(needm_ccall(jumps, arg), 0); }
__attribute__((noinline)) static void jumps_past_a_callback(void) {
    if (setjmp(back) == 0) CHECK_EQ(needm_callback(jumps_from_c, NULL, 0, NULL), 0);
    overwrite();
}
/* A callback that goes on on a stack which needm has not been told of. */
static _Thread_local ucontext_t in_a_callback, elsewhere;
static void asks_from_there(void) { CHECK_EQ(needm_stack_left(), 0); }
static void goes_elsewhere(void *arg) {
    static _Thread_local char stack[64 * 1024];
    (void)arg;
    CHECK_EQ(getcontext(&elsewhere), 0);
    elsewhere.uc_stack.ss_sp = stack;
    elsewhere.uc_stack.ss_size = sizeof stack;
    elsewhere.uc_link = &in_a_callback;
    makecontext(&elsewhere, asks_from_there, 0);
    CHECK_EQ(swapcontext(&in_a_callback, &elsewhere), 0);
}
static void *calls_of_all_kinds(void *arg) {
    __atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
    WAIT_UNTIL(go);
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(needm_callback(adds, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(goes_out, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(needm_callback(panic, NULL, 0, NULL), NEEDM_EPANIC);
        jumps_past_a_callback();
        CHECK_EQ(needm_callback(goes_elsewhere, NULL, 0, NULL), 0);
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        CHECK_EQ(needm_attach(), 0);
        CHECK_EQ(needm_detach(), 0);
    }
    return arg;
}
static void *stays_inside(void *arg) {
    __atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
    WAIT_UNTIL(go == 2);
    CHECK_EQ(needm_callback(stays, NULL, 0, NULL), 0);
    return arg;
}
static void lives_in_a_sandbox(void) {
    up = go = inside = over = 0;
    pthread_t threads[4], insider = thread(stays_inside, NULL);
    for (int i = 0; i < 4; i++) threads[i] = thread(calls_of_all_kinds, NULL);
    WAIT_UNTIL(up == 5);
    kill_on_optional_calls();
    uint32_t flags = NEEDM_NO_PROBES | NEEDM_SCRUB_STACKS;
    start((needm_config){.binding = binding, .flags = flags});
    go = 1;
    for (int i = 0; i < 4; i++) join(threads[i]);
    CHECK_EQ(sum, 4 * 50 * 2);
    CHECK_EQ(needm_m_stack_used(needm_self()), 0);
    stop_when_idle();
    start((needm_config){.binding = binding, .flags = flags, .max_ms = 1, .wait_ns = SECOND / 10});
    go = 2;
    WAIT_UNTIL(inside);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), NEEDM_ETIMEDOUT);
    CHECK_EQ(needm_stop_the_world_within(SECOND / 100), NEEDM_ETIMEDOUT);
    CHECK_EQ(needm_stop_within(SECOND / 100), NEEDM_EBUSY);
    over = 1;
    CHECK_EQ(needm_stop_within(600 * SECOND), 0);
    join(insider);
}
static void starts_without_the_flag(void) {
    kill_on_optional_calls();
    start((needm_config){.binding = binding});
}
static void a_sandbox_that_kills_is_no_harm(void) {
    if (emulated()) return; /* no filters */
    CHECK_CHILD(lives_in_a_sandbox);
    CHECK_DIES(starts_without_the_flag, SIGSYS); /* so the filter works */
}

/* Threads that have blocked all signals. */
static sigset_t everything, of_the_thread;
static int is_fault_signal(int signal) {
    const int all[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int i = 0; i < 5; i++)
        if (all[i] == signal) return 1;
    return 0;
}
static void check_mask(int in_a_callback) {
    sigset_t now;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
    for (int signal = 1; signal < 65; signal++) {
        int unblocked = in_a_callback && is_fault_signal(signal);
        int want = sigismember(&of_the_thread, signal) == 1 && !unblocked;
        CHECK_EQ(sigismember(&now, signal) == 1, want);
    }
}
static void checks_the_mask(void *arg) {
    (void)arg;
    check_mask(1);
}
static void in_c_with_the_mask(void *arg) {
    check_mask(1);
    CHECK_EQ(needm_callback(checks_the_mask, arg, 0, NULL), 0);
    CHECK_EQ(needm_callback(fault, arg, 0, NULL), NEEDM_EFAULT);
    check_mask(1);
}
static void nests_with_the_mask(void *arg) {
    check_mask(1);
    CHECK_EQ(needm_callback(checks_the_mask, arg, 0, NULL), 0);
    CHECK_EQ(needm_ccall(in_c_with_the_mask, arg), 0);
    check_mask(1);
}
static void calls_with_the_mask(void) {
    void (*const kinds[])(void *) = {checks_the_mask, nests_with_the_mask, fault, overflow, panic};
    const int answers[] = {0, 0, NEEDM_EFAULT, NEEDM_EOVERFLOW, NEEDM_EPANIC};
    check_mask(0);
    for (int i = 0; i < 3 * 5; i++) {
        CHECK_EQ(needm_callback(kinds[i % 5], NULL, 0, NULL), answers[i % 5]);
        check_mask(0);
    }
    jumps_past_a_callback();
    CHECK_EQ(needm_callback(checks_the_mask, NULL, 0, NULL), 0);
    check_mask(0);
    char frame[64] = "";
    CHECK_EQ(needm_callback(checks_the_mask, frame, sizeof frame, NULL), 0);
    check_mask(0);
}
static volatile int restarts;
static void *blocks_all(void *was_here_before) {
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &everything, NULL), 0);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &of_the_thread), 0);
    if (was_here_before) { /* when nothing was to be unblocked */
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        restarts = 1;
        WAIT_UNTIL(restarts == 2);
    }
    calls_with_the_mask();
    CHECK_EQ(needm_attach(), 0);
    calls_with_the_mask();
    CHECK_EQ(needm_detach(), 0);
    check_mask(0);
    /* What it does to its mask itself is seen after it has detached. */
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &everything, NULL), 0);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &of_the_thread), 0);
    calls_with_the_mask();
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &everything, NULL), 0);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &of_the_thread), 0);
    CHECK_EQ(needm_detach(), 0);
    calls_with_the_mask();
    return NULL;
}
static void blocked_faults_are_errors(void) {
    sigfillset(&everything);
    start((needm_config){.binding = binding, .flags = NEEDM_UNBLOCK_FAULTS});
    join(thread(blocks_all, NULL));
    CHECK_EQ(needm_stop(), 0);
    start((needm_config){.binding = binding});
    restarts = 0;
    pthread_t old = thread(blocks_all, &everything);
    WAIT_UNTIL(restarts == 1);
    stop_when_idle();
    start((needm_config){.binding = binding, .flags = NEEDM_UNBLOCK_FAULTS});
    restarts = 2;
    join(old);
    CHECK_EQ(needm_stop(), 0);
}
static void faults_blocked(void) {
    sigfillset(&everything);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &everything, NULL), 0);
    start((needm_config){.binding = binding});
    needm_callback(fault, NULL, 0, NULL);
}
static void without_the_flag_they_end_the_process(void) {
    if (emulated()) return; /* which delivers them nevertheless */
    CHECK_DIES(faults_blocked, SIGSEGV);
}
static void calls_without_changes_of_the_mask(void) {
    start((needm_config){.binding = binding, .flags = NEEDM_UNBLOCK_FAULTS});
    for (int i = 0; i < 3; i++) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    filter_system_calls(SYS_rt_sigprocmask, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW);
    for (int i = 0; i < 100; i++) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void other_threads_pay_nothing(void) {
    if (emulated()) return; /* no filters */
    CHECK_CHILD(calls_without_changes_of_the_mask);
}

int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    CHECK_EQ(needm_start(&(needm_config){.size = sizeof(needm_config), .flags = 1u << 30}), NEEDM_EINVAL);
    RUN(a_sandbox_that_kills_is_no_harm); /* first: nothing is known of the system yet */
    RUN(blocked_faults_are_errors);
    RUN(without_the_flag_they_end_the_process);
    RUN(other_threads_pay_nothing);
    RUN(no_thread_reads_what_another_left);
    RUN(none_is_read_in_the_last_m);
    RUN(a_handler_reads_none_either);
    return SUCCESS;
}
