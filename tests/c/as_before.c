/* What a thread and the process have of their own is as it was, also where they change it
 * while an M is bound; and an M that comes back is as new. */
#include "filter.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/mman.h>

static uint32_t binding;

/* A signal stack that the thread changes. */
enum { LARGE = 128 * 1024 };
static void *installs(int disable) {
    void *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    stack_t stack = {.ss_sp = memory, .ss_size = LARGE, .ss_flags = disable ? SS_DISABLE : 0};
    CHECK_EQ(sigaltstack(&stack, NULL), 0);
    return memory;
}
static void has(void *memory) {
    stack_t now;
    CHECK_EQ(sigaltstack(NULL, &now), 0);
    if (memory)
        CHECK(now.ss_sp == memory && now.ss_size == LARGE && !(now.ss_flags & SS_DISABLE));
    else
        CHECK(now.ss_flags & SS_DISABLE);
}
static void *alternates(void *brings_one) {
    void *before = brings_one ? installs(0) : NULL;
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    for (int i = 0; i < 20; i++) {
        void *now = installs(0);
        if (before) CHECK_EQ(munmap(before, LARGE), 0);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        has(now);
        if (i % 5 == 4) CHECK_EQ(needm_detach(), 0);
        has(now);
        before = now;
    }
    return NULL;
}
static void *unmaps(void *arg) {
    void *own = installs(0);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(munmap(installs(1), LARGE), 0);
    CHECK_EQ(munmap(own, LARGE), 0);
    /* Faults need no other stack, and what is gone is not put back. */
    for (int i = 0; i < 50; i++) CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_detach(), 0);
    has(NULL);
    /* With an M per call there is none to be given back, and the kernel does not look again. */
    if (binding == NEEDM_BIND_THREAD) CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    return arg;
}
static void a_thread_may_change_or_unmap_its_signal_stack(void) {
    start((needm_config){.binding = binding});
    for (int i = 0; i < 10; i++) {
        join(thread(alternates, NULL));
        join(thread(alternates, &binding));
        join(thread(unmaps, NULL));
    }
    CHECK_EQ(needm_stop(), 0);
}

/* A mask that the thread changes, to the end of its destructors. */
static uint64_t mask(int how, uint64_t set) {
    uint64_t old = 0;
    CHECK_EQ(syscall(SYS_rt_sigprocmask, how, &set, &old, sizeof set), 0);
    return old;
}
static uint64_t expected;
static pthread_key_t after_ours;
static void is_still_so(void *arg) {
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
    pthread_setspecific(after_ours, &expected);
    return NULL;
}
static void a_mask_that_c_changes_meanwhile_stays_changed_to_its_end(void) {
    start((needm_config){.binding = binding});
    CHECK_EQ(pthread_key_create(&after_ours, is_still_so), 0);
    for (int i = 0; i < 20; i++) join(thread(changes_its_mask, i % 2 ? &binding : NULL));
    CHECK_EQ(pthread_key_delete(after_ours), 0);
    CHECK_EQ(needm_stop(), 0);
}

/* errno is the callback's. */
static void sets_errno(void *then) {
    errno = 1234;
    if (then) ((void (*)(void *))then)(NULL);
}
static void errno_is_what_the_callback_left_at_every_ending(void) {
    void (*endings[])(void *) = {NULL, fault, overflow, panic};
    int results[] = {0, NEEDM_EFAULT, NEEDM_EOVERFLOW, NEEDM_EPANIC};
    start((needm_config){.binding = binding});
    for (int i = 0; i < 4; i++) {
        errno = 77;
        CHECK_EQ(needm_callback(sets_errno, (void *)endings[i], 0, NULL), results[i]);
        CHECK_EQ(errno, 1234);
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(errno, 1234);
    CHECK_EQ(needm_stop(), 0);
}

/* With NEEDM_NO_SIGNALS a filter kills whoever asks about signals. */
static pthread_barrier_t turn;
static void *calls_without_signals(void *arg) {
    long sum = 0;
    pthread_barrier_wait(&turn); /* the C library's beginnings ask, too */
    pthread_barrier_wait(&turn);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(needm_callback(panic, &sum, 0, NULL), NEEDM_EPANIC);
        CHECK_EQ(needm_attach(), 0);
        CHECK_EQ(needm_detach(), 0);
    }
    pthread_barrier_wait(&turn);
    for (;;) pause(); /* the C library's ends ask */
    return arg;
}
static void asks_for_no_signals(void) {
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
static void no_signals_asks_for_none(void) {
    if (!emulated()) CHECK_CHILD(asks_for_no_signals);
}

/* What a start takes of the process, its stop gives back. */
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
static void descriptors_keys_threads_and_handlers_are_as_before(void) {
    struct sigaction before[65], now;
    for (int i = 1; i < 65; i++) sigaction(i, NULL, &before[i]);
    int files = entries("/proc/self/fd"), threads = entries("/proc/self/task"), free = keys();
    for (int i = 0; i < rounds(200); i++) {
        start((needm_config){.binding = binding, .seed_ms = 3});
        calls(NULL);
        join(thread(calls, NULL));
        CHECK_EQ(needm_spawn(nothing, NULL), 0);
        stop_when_idle();
    }
    for (int wait = 0; wait < 5000 && entries("/proc/self/task") > threads; wait++) usleep(100);
    CHECK_EQ(entries("/proc/self/fd"), files);
    if (!emulated()) CHECK_EQ(entries("/proc/self/task"), threads); /* it may have its own */
    CHECK_EQ(keys(), free);
    for (int i = 1; i < 65; i++)
        if (sigaction(i, NULL, &now) == 0) {
            CHECK(now.sa_handler == before[i].sa_handler);
            CHECK_EQ(now.sa_flags, before[i].sa_flags);
        }
}

/* Of several starts at once one wins. */
static volatile int won, lost;
static void *starts(void *arg) {
    pthread_barrier_wait(&turn);
    int answer = needm_start(NULL);
    CHECK(answer == 0 || answer == NEEDM_EALREADY);
    __sync_fetch_and_add(answer == 0 ? &won : &lost, 1);
    return arg;
}
static void of_several_starts_at_once_one_wins(void) {
    pthread_t threads[4];
    pthread_barrier_init(&turn, NULL, 4);
    for (int round = 0; round < rounds(200); round++) {
        won = lost = 0;
        for (int i = 0; i < 4; i++) threads[i] = thread(starts, NULL);
        for (int i = 0; i < 4; i++) join(threads[i]);
        CHECK_EQ(won, 1);
        CHECK_EQ(lost, 3);
        CHECK_EQ(needm_stop(), 0);
    }
}

/* Whatever was under way when its thread left, an M is as new for the next one. */
static uint64_t id;
static void never(void *arg) {
    (void)arg;
    CHECK(!"a deferred function of a thread that is gone");
}
static void leaves(void *arg) { pthread_exit(arg); }
static void leaves_from_c(void *arg) { needm_ccall(leaves, arg); }
static void (*leaving)(void *);
static void defers_and_leaves(void *depth) {
    needm_defer d[2];
    id = needm_m_id(needm_self());
    CHECK_EQ(needm_defer_push(&d[0], never, NULL), 0);
    CHECK_EQ(needm_defer_push(&d[1], never, NULL), 0);
    if (depth) needm_callback(defers_and_leaves, (char *)depth - 1, 0, NULL);
    leaving(NULL);
}
static void *defers_and_leaves_its_thread(void *arg) {
    needm_callback(defers_and_leaves, (void *)3, 0, NULL);
    CHECK(!arg && !"it is gone");
    return arg;
}
static volatile int in_c;
static char *page;
static void is_cs(int signal) {
    (void)signal;
    in_c++;
    CHECK_EQ(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
}
static void touches(void) {
    int before = in_c;
    CHECK_EQ(mprotect(page, 4096, PROT_NONE), 0);
    errno = 99;
    *(volatile char *)page = 1;
    CHECK_EQ(errno, 99);
    CHECK_EQ(in_c, before + 1);
}
static void looks_around(void *arg) {
    void *lo, *hi;
    char here;
    CHECK_EQ(needm_m_id(needm_self()), id);
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    CHECK((char *)hi - &here < 4096); /* from the top of the stack again */
    CHECK_EQ(needm_recover(NULL), 0);
    (void)arg;
}
static void *comes_next(void *arg) {
    touches();
    CHECK_EQ(needm_callback(looks_around, NULL, 0, NULL), 0);
    touches();
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    touches();
    return arg;
}
static void an_m_that_comes_back_is_as_new(void) {
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    signal(SIGSEGV, is_cs);
    start((needm_config){.binding = binding});
    for (int i = 0; i < rounds(200); i++) {
        leaving = i % 2 ? leaves : leaves_from_c;
        join(thread(defers_and_leaves_its_thread, NULL));
        join(thread(comes_next, NULL));
    }
    CHECK(stats().ms_total <= 3);
    CHECK_EQ(needm_stop(), 0);
    signal(SIGSEGV, SIG_DFL);
}

int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    RUN(a_thread_may_change_or_unmap_its_signal_stack);
    RUN(a_mask_that_c_changes_meanwhile_stays_changed_to_its_end);
    RUN(errno_is_what_the_callback_left_at_every_ending);
    RUN(no_signals_asks_for_none);
    RUN(descriptors_keys_threads_and_handlers_are_as_before);
    RUN(of_several_starts_at_once_one_wins);
    RUN(an_m_that_comes_back_is_as_new);
    return SUCCESS;
}
