/* What belongs to the thread and the process is after callbacks, and after a stop, as it was
 * before: mask, errno, handlers, descriptors, keys, threads, mappings. */
#include "filter.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>

static uint32_t binding;

/* The mask: all 64 bits, and to the end of the thread's destructors if C changes it. */
static uint64_t mask(int how, uint64_t set) {
    uint64_t old = 0;
    CHECK_EQ(syscall(SYS_rt_sigprocmask, how, &set, &old, sizeof set), 0);
    return old;
}
static void *with_all_blocked(void *arg) {
    uint64_t all = ~((UINT64_C(1) << (SIGSEGV - 1)) | (UINT64_C(1) << (SIGBUS - 1))), before;
    mask(SIG_SETMASK, all);
    before = mask(SIG_BLOCK, 0);
    long sum = 0;
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK(mask(SIG_BLOCK, 0) == before);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK(mask(SIG_BLOCK, 0) == before);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK(mask(SIG_BLOCK, 0) == before);
    }
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK(mask(SIG_BLOCK, 0) == before);
    return arg;
}
static void the_mask_is_the_same_after_every_ending(void) {
    start((needm_config){.binding = binding});
    join(thread(with_all_blocked, NULL));
    CHECK_EQ(needm_stop(), 0);
}
/* A callback that ends inside a handler: what the signal has blocked is free again, and nothing else. */
static void (*ending)(void *);
static void ends(int signal) { (void)signal, ending(NULL); }
static void in_a_frame(void *arg) {
    volatile char frame[256];
    frame[0] = arg ? 1 : 2;
    raise(SIGUSR1);
    CHECK(frame[0]);
}
static void calls_c(void *arg) { CHECK_EQ(needm_ccall(in_a_frame, arg), 0); }
static void an_ending_in_a_handler_leaves_the_mask(void) {
    static const uint64_t masks[] = {0, 1ull << (SIGUSR2 - 1), 1ull << (SIGUSR2 - 1) | 1ull << 40};
    start((needm_config){.binding = binding});
    uint64_t first = mask(SIG_BLOCK, 0);
    for (int how = 0; how < 16; how++) {
        int on_signal_stack = how & 1, in_c = how & 2, faults = how & 4, others = how & 8;
        /* A fault of a handler on the signal stack is the handler's. Nor is it the callback's in C. On the
         * G a panic on the signal stack is refused. */
        if (faults && (on_signal_stack || in_c)) continue;
        if (on_signal_stack && !in_c) continue;
        /* i386 has another frame for handlers without SA_SIGINFO, which needm does not know. */
        struct sigaction action = {.sa_handler = ends, .sa_flags = SA_SIGINFO | (on_signal_stack ? SA_ONSTACK : 0)};
        if (others) sigaddset(&action.sa_mask, SIGWINCH);
        CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
        ending = faults ? fault : panic;
        for (unsigned i = 0; i < sizeof masks / sizeof *masks; i++) {
            mask(SIG_SETMASK, first | masks[i]);
            for (int j = 0; j < 20; j++) {
                int answer = needm_callback(in_c ? calls_c : in_a_frame, NULL, 0, NULL);
                CHECK_EQ(answer, faults ? NEEDM_EFAULT : NEEDM_EPANIC);
                CHECK(mask(SIG_BLOCK, 0) == (first | masks[i]));
            }
        }
    }
    mask(SIG_SETMASK, first);
    signal(SIGUSR1, SIG_DFL);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}

static uint64_t expected;
static pthread_key_t after_needms;
static void mask_is_as_expected(void *arg) {
    (void)arg;
    CHECK(mask(SIG_BLOCK, 0) == expected);
}
static void *changes_its_mask(void *blocked_at_first) {
    uint64_t others = ~(1ull << (SIGSEGV - 1)), usr1 = 1ull << (SIGUSR1 - 1), rt = 1ull << 39;
    if (blocked_at_first) mask(SIG_SETMASK, others);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    mask(SIG_SETMASK, usr1 | rt);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_callback(panic, NULL, 0, NULL), NEEDM_EPANIC);
    CHECK(mask(SIG_BLOCK, 0) == (usr1 | rt));
    expected = usr1 | rt;
    pthread_setspecific(after_needms, &expected);
    return NULL;
}
static void a_mask_that_c_changes_stays_changed_to_the_end_of_the_thread(void) {
    start((needm_config){.binding = binding});
    CHECK_EQ(pthread_key_create(&after_needms, mask_is_as_expected), 0);
    for (int i = 0; i < 20; i++) join(thread(changes_its_mask, i % 2 ? &binding : NULL));
    CHECK_EQ(pthread_key_delete(after_needms), 0);
    CHECK_EQ(needm_stop(), 0);
}

/* errno: needm never changes it. */
static void sets_errno(void *then) {
    errno = 1234;
    if (then) ((void (*)(void *))then)(NULL);
}
static void errno_is_what_the_callback_left_at_every_ending(void) {
    void (*endings[])(void *) = {NULL, fault, overflow, panic};
    int results[] = {0, NEEDM_EFAULT, NEEDM_EOVERFLOW, NEEDM_EPANIC};
    errno = 77;
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(errno, 77);
    for (int i = 0; i < 4; i++) {
        errno = 77;
        CHECK_EQ(needm_callback(sets_errno, (void *)endings[i], 0, NULL), results[i]);
        CHECK_EQ(errno, 1234);
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(errno, 1234);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(errno, 1234);
}

/* With NEEDM_NO_SIGNALS needm makes no system call about signals: a filter kills it if it
 * does. */
static pthread_barrier_t turn;
static void *calls_without_signals(void *arg) {
    long sum = 0;
    pthread_barrier_wait(&turn); /* the C library makes such calls at a thread's start */
    pthread_barrier_wait(&turn);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(needm_callback(panic, &sum, 0, NULL), NEEDM_EPANIC);
        CHECK_EQ(needm_attach(), 0);
        CHECK_EQ(needm_detach(), 0);
    }
    pthread_barrier_wait(&turn);
    for (;;) pause(); /* and at its end */
    return arg;
}
static void is_killed_for_system_calls_about_signals(void) {
    pthread_barrier_init(&turn, NULL, 4);
    for (int i = 0; i < 3; i++) thread(calls_without_signals, NULL);
    pthread_barrier_wait(&turn);
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigprocmask, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sigaltstack, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter), 0);
    start((needm_config){.flags = NEEDM_NO_SIGNALS, .binding = binding});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_stop(), 0);
    _exit(SUCCESS);
}
static void with_no_signals_needm_makes_no_system_call_about_them(void) {
    if (!emulated()) CHECK_CHILD(is_killed_for_system_calls_about_signals);
}

static void with_no_signals_handlers_and_signal_stack_stay_as_they_were(void) {
    stack_t stack;
    CHECK_EQ(sigaltstack(NULL, &stack), 0);
    CHECK(stack.ss_flags & SS_DISABLE);
    start((needm_config){.flags = NEEDM_NO_SIGNALS, .binding = binding});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    struct sigaction now;
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_handler == SIG_DFL);
    CHECK_EQ(sigaltstack(NULL, &stack), 0);
    CHECK(stack.ss_flags & SS_DISABLE);
    CHECK_EQ(needm_callback(panic, NULL, 0, NULL), NEEDM_EPANIC);
    CHECK_EQ(needm_stop(), 0);
}
/* A stop leaves nothing of a start. */
static int entries(const char *folder) {
    DIR *files = opendir(folder);
    CHECK(files);
    int count = 0;
    while (readdir(files)) count++;
    closedir(files);
    return count;
}
static int keys(void) {
    pthread_key_t made[PTHREAD_KEYS_MAX];
    int count = 0;
    while (count < PTHREAD_KEYS_MAX && pthread_key_create(&made[count], NULL) == 0) count++;
    for (int i = 0; i < count; i++) pthread_key_delete(made[i]);
    return count;
}
static void *calls(void *arg) {
    CHECK_EQ(needm_callback(fault, arg, 0, NULL), NEEDM_EFAULT);
    return arg;
}
static void two_hundred_starts_and_stops_leave_nothing_behind(void) {
    struct sigaction before[65], now;
    for (int i = 1; i < 65; i++) sigaction(i, NULL, &before[i]);
    int files = entries("/proc/self/fd"), threads = entries("/proc/self/task"), free = keys(), mapped = 0;
    for (int i = 0; i < rounds(200) + 2; i++) {
        start((needm_config){.binding = binding, .seed_ms = 3});
        calls(NULL);
        join(thread(calls, NULL));
        CHECK_EQ(needm_spawn(nothing, NULL), 0);
        stop_when_idle();
        if (i == 1) mapped = mappings();
    }
    /* The spawned threads are on their way out. An emulator has threads of its own. */
    if (!emulated()) WAIT_UNTIL(entries("/proc/self/task") == threads);
    CHECK_EQ(entries("/proc/self/fd"), files);
    /* The C library keeps a stack or two; a mapping of needm's for each start would be 200. */
    if (!emulated()) CHECK(mappings() <= mapped + 8);
    CHECK_EQ(keys(), free);
    for (int i = 1; i < 65; i++)
        if (sigaction(i, NULL, &now) == 0) {
            CHECK(now.sa_handler == before[i].sa_handler);
            CHECK_EQ(now.sa_flags, before[i].sa_flags);
        }
}

static pthread_barrier_t held;
static void *lives_through_a_stop(void *arg) {
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(needm_callback(fault, arg, 0, NULL), NEEDM_EFAULT);
        pthread_barrier_wait(&held);
        pthread_barrier_wait(&held); /* in between needm is stopped and started */
    }
    return arg;
}
static void a_thread_goes_on_after_a_stop_and_a_start(void) {
    pthread_barrier_init(&held, NULL, 2);
    start((needm_config){.binding = binding});
    pthread_t other = thread(lives_through_a_stop, NULL);
    for (int i = 0; i < 3; i++) {
        pthread_barrier_wait(&held);
        CHECK_EQ(needm_stop(), 0);
        start((needm_config){.binding = binding});
        pthread_barrier_wait(&held);
    }
    join(other);
    CHECK_EQ(needm_stop(), 0);
}

int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    RUN(with_no_signals_handlers_and_signal_stack_stay_as_they_were);
    RUN(with_no_signals_needm_makes_no_system_call_about_them);
    RUN(the_mask_is_the_same_after_every_ending);
    RUN(an_ending_in_a_handler_leaves_the_mask);
    RUN(a_mask_that_c_changes_stays_changed_to_the_end_of_the_thread);
    RUN(errno_is_what_the_callback_left_at_every_ending);
    RUN(two_hundred_starts_and_stops_leave_nothing_behind);
    RUN(a_thread_goes_on_after_a_stop_and_a_start);
    return SUCCESS;
}
