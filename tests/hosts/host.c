/* A host in C without a C library: foreign threads, made by clone and no library, call in,
 * fault, nest, run out of stack, and exit by the raw system call; the world stops; the
 * process forks. The argument is "native" or "emulated", and the exit status is 200 if all
 * is well. */
#include "../arch/arch.h"
#include <needm_host.h>

/* foreign.S */
long foreign_clone(void *stack, volatile int *tid, void *tp, void (*fn)(void *), void *arg);
long foreign_call(long number, long a, long b, long c, long d);
void foreign_restorer(void);

static void say(const char *text) {
    size_t len = 0;
    while (text[len]) len++;
    needm_host_write(2, text, len);
}

#define TEXT_(line) #line
#define TEXT(line) TEXT_(line)
#define CHECK(what)                                                           \
    do {                                                                      \
        if (!(what)) {                                                        \
            say(__FILE__ ":" TEXT(__LINE__) ": check failed: " #what "\n");     \
            needm_host_exit(1);                                               \
        }                                                                     \
    } while (0)

enum { THREADS = 12, STACK = 64 * 1024 };
static char stacks[THREADS][STACK] __attribute__((aligned(64)));
static volatile int tids[THREADS];
static _Thread_local int own = 41; /* the program's own, beside needm's block */
static volatile long sum, counts[THREADS];
static volatile int over;
static int emulated;

static void fault(void *arg) {
    int *volatile null = arg;
    *(volatile int *)null = 1;
}
static __attribute__((noinline)) int deeper(volatile char *above) {
    volatile char here[512];
    here[0] = above ? above[0] + 1 : 1;
    return deeper(here) + here[0];
}
static void overflow(void *arg) {
    (void)arg;
    deeper(0);
}
static void recover(void *recovered) {
    needm_panic_info info = {.size = sizeof info};
    *(int *)recovered = needm_recover(&info) && info.kind == NEEDM_EFAULT && info.addr == 0;
}
struct call { int recovered; long round; needm_defer defer; };
static void add_and_fault(void *frame) {
    struct call *call = frame;
    __sync_fetch_and_add(&sum, call->round);
    CHECK(needm_defer_push(&call->defer, recover, &call->recovered) == 0);
    fault(0);
}
static void add(void *count) { __sync_fetch_and_add((volatile long *)count, 1); }
static void nest(void *depth);
static void nest_in_c(void *depth) { CHECK(needm_callback(nest, depth, 0, 0) == 0); }
static void nest(void *depth) {
    if (depth) CHECK(needm_ccall(nest_in_c, (char *)depth - 1) == 0);
}

static _Noreturn void exit_raw(void) {
    for (;;) foreign_call(SYS_exit, 0, 0, 0, 0);
}
static void thread(void *number) {
    needm_panic_info info = {.size = sizeof info};
    CHECK(++own == 42);
    for (long round = 0; round < 10; round++) {
        struct call call = {.round = round};
        CHECK(needm_callback(add_and_fault, &call, 0, &info) == 0);
        CHECK(call.recovered);
    }
    CHECK(needm_callback(fault, (void *)16, 0, &info) == NEEDM_EFAULT && info.addr == 16);
    CHECK(needm_callback(overflow, 0, 0, &info) == NEEDM_EOVERFLOW);
    CHECK(needm_callback(nest, (void *)20, 0, &info) == 0);
    while (!over) CHECK(needm_callback(add, (void *)&counts[(long)number], 0, 0) == 0);
    exit_raw();
}
static long total(void) {
    long all = 0;
    for (int i = 0; i < THREADS; i++) all += counts[i];
    return all;
}
static int visit(const needm_m *m, void *sp, void *hi, void *seen) {
    void *lo, *top;
    CHECK(needm_g_bounds(m, &lo, &top) == 0 && sp >= lo && hi <= top);
    ++*(int *)seen;
    return 0;
}
static void make(int number, void (*fn)(void *)) {
    size_t align, size = needm_host_thread_area(&align);
    CHECK(size > 0);
    uintptr_t tls = ((uintptr_t)stacks[number] + STACK - size) & ~(uintptr_t)(align - 1);
    void *tp = needm_host_lay_out((void *)tls);
    CHECK(tp != 0);
    CHECK(foreign_clone((void *)(tls & ~(uintptr_t)15), &tids[number], tp, fn, (void *)(long)number) > 0);
}
static void foreign_threads_do_it_all(void) {
    CHECK(needm_start(0) == 0);
    for (int i = 0; i < THREADS; i++) make(i, thread);
    for (int i = 0; i < THREADS; i++)
        while (!counts[i]) needm_host_sleep(100000);
    for (int round = 0; round < 100; round++) {
        int seen = 0;
        CHECK(needm_stop_the_world() == 0);
        long then = total();
        CHECK(needm_each_m(visit, &seen) == 0);
        for (volatile int spin = 0; spin < 2000; spin++) continue;
        CHECK(total() == then);
        CHECK(needm_start_the_world() == 0);
        while (round % 8 == 0 && total() == then) needm_host_sleep(10000);
    }
    over = 1;
    for (int i = 0; i < THREADS; i++)
        while (tids[i]) needm_host_sleep(100000);
    CHECK(sum == THREADS * 45);
    needm_stats stats = {.size = sizeof stats};
    needm_get_stats(&stats);
    CHECK(stats.overflows == THREADS && stats.faults == THREADS * 11);
    CHECK(needm_stop() == 0);
}

static void once(void *number) {
    (void)number;
    CHECK(needm_callback(add, (void *)&sum, 0, 0) == 0);
    exit_raw();
}
static void ms_of_threads_that_exit_raw_are_reused(void) {
    needm_config few = {.size = sizeof few, .max_ms = 4};
    CHECK(needm_start(&few) == 0);
    sum = 0;
    for (int i = 0; i < 100; i++) {
        make(0, once);
        while (tids[0]) needm_host_sleep(10000);
    }
    CHECK(sum == 100);
    CHECK(needm_stop() == 0);
}

static volatile int met;
static void spawned(void *arg) {
    CHECK(needm_self() != 0 && own == 41);
    CHECK(needm_callback(fault, 0, 0, 0) == NEEDM_EFAULT);
    CHECK(needm_ccall(add, arg) == 0);
    __sync_fetch_and_add(&met, 1);
    while (met < 8) needm_safepoint();
}
static void joined(void *arg) {
    CHECK(needm_callback(add, arg, 0, 0) == 0);
}
static void threads_of_both_kinds_run(void) {
    needm_host_thread *made[4];
    CHECK(needm_start(0) == 0);
    sum = 0;
    for (int i = 0; i < 8; i++) CHECK(needm_spawn(spawned, (void *)&sum) == 0);
    while (met < 8) needm_host_sleep(10000);
    for (int i = 0; i < 4; i++)
        CHECK(needm_host_spawn(&made[i], 16384, joined, (void *)&sum) == 0);
    for (int i = 0; i < 4; i++) needm_host_join(made[i]);
    CHECK(sum == 12);
    for (int tries = 0; needm_stop() != 0; tries++) {
        CHECK(tries < 10000);
        needm_host_sleep(100000);
    }
}

static volatile long handled;
static void handler(int signal) {
    (void)signal;
    CHECK(needm_callback(add, (void *)&handled, 0, 0) == 0);
}
static void calls(void *number) {
    while (!over) CHECK(needm_callback(add, (void *)&counts[(long)number], 0, 0) == 0);
    exit_raw();
}
static void handlers_call_back_while_the_world_stops(void) {
    enum { SIGUSR1 = 10, SA_SIGINFO = 4, SA_RESTORER = 0x04000000 };
    /* Linux's struct, not a C library's; no signal is blocked in the handler. */
    struct { void (*handler)(int); unsigned long flags; uintptr_t rest[3]; }
        action = {handler, SA_SIGINFO | SA_RESTORER, {RESTORER_WORD(foreign_restorer), 0, 0}};
    over = 0;
    CHECK(needm_start(0) == 0);
    CHECK(foreign_call(SYS_rt_sigaction, SIGUSR1, (long)&action, 0, 8) == 0);
    for (int i = 0; i < 4; i++) make(i, calls);
    for (int round = 0; round < (emulated ? 20 : 1000); round++) {
        for (int i = 0; i < 4; i++) CHECK(foreign_call(SYS_tkill, tids[i], SIGUSR1, 0, 0) == 0);
        CHECK(needm_stop_the_world() == 0);
        long then = handled + total();
        for (volatile int spin = 0; spin < 2000; spin++) continue;
        CHECK(handled + total() == then);
        CHECK(needm_start_the_world() == 0);
        needm_host_sleep(50000);
    }
    while (handled < 20) needm_host_sleep(10000);
    over = 1;
    for (int i = 0; i < 4; i++)
        while (tids[i]) needm_host_sleep(10000);
    needm_stats stats = {.size = sizeof stats};
    needm_get_stats(&stats);
    CHECK(stats.ms_total <= 40);
    CHECK(needm_stop() == 0);
}

static volatile int waiting;
static void wait_inside(void *arg) {
    (void)arg;
    __sync_fetch_and_add(&waiting, 1);
    while (!over) needm_safepoint();
}
static void inside(void *number) {
    (void)number;
    CHECK(needm_callback(wait_inside, 0, 0, 0) == 0);
    exit_raw();
}
static volatile int ran;
static void run(void *arg) {
    (void)arg;
    ran = 1;
}
/* Threads of both kinds hold Ms, and do not exist in the child. clone with no flags is fork. */
static void the_child_of_a_fork_calls_back_and_makes_threads(void) {
    enum { SIGCHLD = 17 };
    over = 0;
    CHECK(needm_start(0) == 0);
    CHECK(needm_callback(add, (void *)&sum, 0, 0) == 0);
    for (int i = 0; i < 3; i++) make(i, inside);
    for (int i = 0; i < 3; i++) CHECK(needm_spawn(wait_inside, 0) == 0);
    while (waiting < 6) needm_host_sleep(10000);
    long child = foreign_call(SYS_clone, SIGCHLD, 0, 0, 0);
    CHECK(child >= 0);
    if (child == 0) {
        needm_host_thread *made;
        needm_atfork_child();
        needm_stats stats = {.size = sizeof stats};
        needm_get_stats(&stats);
        CHECK(stats.ms_bound == 1);
        CHECK(needm_callback(add, (void *)&sum, 0, 0) == 0);
        CHECK(needm_stop_the_world() == 0 && needm_start_the_world() == 0);
        /* qemu-user 7.2 aborts where the child of a fork makes a thread. */
        if (emulated) needm_host_exit(200);
        CHECK(needm_spawn(run, 0) == 0);
        while (!ran) needm_host_sleep(10000);
        CHECK(needm_host_spawn(&made, 16384, joined, (void *)&sum) == 0);
        needm_host_join(made);
        needm_host_exit(200);
    }
    int status = 0;
    CHECK(foreign_call(SYS_wait4, child, (long)&status, 0, 0) == child);
    CHECK(status == 200 << 8);
    over = 1;
    for (int i = 0; i < 3; i++)
        while (tids[i]) needm_host_sleep(10000);
    for (int tries = 0; needm_stop() != 0; tries++) {
        CHECK(tries < 10000);
        needm_host_sleep(100000);
    }
}

static int constructed;
__attribute__((constructor)) static void before_main(int argc, char **argv, char **envp) {
    (void)envp;
    constructed = argc == 2 && argv[1] && needm_callback(add, (void *)&sum, 0, 0) == NEEDM_ENOTSTARTED;
}

int needm_main(int argc, char **argv, char **envp) {
    (void)envp;
    CHECK(argc == 2 && !argv[2] && (argv[1][0] == 'n' || argv[1][0] == 'e'));
    emulated = argv[1][0] == 'e';
    CHECK(constructed);
    foreign_threads_do_it_all();
    ms_of_threads_that_exit_raw_are_reused();
    threads_of_both_kinds_run();
    if (!(emulated && QEMU_MIXES_UP_THREADS)) handlers_call_back_while_the_world_stops();
    the_child_of_a_fork_calls_back_and_makes_threads();
    return 200;
}
