/* A good guest: what is the thread's and the process's is as it was. */
#include "check.h"
#include <errno.h>
#include <sys/time.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static void clobber(void *arg) {
    errno = 1234;
    *(long *)arg += 1;
}
static void set_errno_and_fault(void *arg) {
    clobber(arg);
    fault(NULL);
}
static uint64_t mask(void) {
    uint64_t set = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &set, sizeof set);
    return set;
}
static void *with_all_blocked(void *arg) {
    uint64_t all = ~((UINT64_C(1) << (SIGSEGV - 1)) | (UINT64_C(1) << (SIGBUS - 1))), before;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
    before = mask();
    long sum = 0;
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK(mask() == before);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK(mask() == before);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK(mask() == before);
    }
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK(mask() == before);
    return arg;
}
static void the_mask_is_the_same_after_every_ending(void) {
    start((needm_config){0});
    join(thread(with_all_blocked, NULL));
    CHECK_EQ(needm_stop(), 0);
}
static void the_kernel_leaves_errno_alone(void) {
    long sum = 0;
    errno = 77;
    start((needm_config){0});
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(errno, 77);
    (void)set_errno_and_fault;
}
static stack_t stack_now(void) {
    stack_t now;
    CHECK_EQ(sigaltstack(NULL, &now), 0);
    return now;
}
static void *brings_its_own(void *size) {
    static char large[65536];
    stack_t own = {.ss_sp = large, .ss_size = (size_t)size};
    CHECK_EQ(sigaltstack(&own, NULL), 0);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_detach(), 0);
    CHECK(stack_now().ss_sp == large && stack_now().ss_size == (size_t)size);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    own.ss_flags = SS_DISABLE;
    sigaltstack(&own, NULL);
    return NULL;
}
static void *brings_none(void *arg) {
    CHECK(stack_now().ss_flags & SS_DISABLE);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(needm_attach(), 0);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(needm_detach(), 0);
        CHECK(stack_now().ss_flags & SS_DISABLE);
    }
    return arg;
}
static void a_signal_stack_is_put_back_as_it_was(void) {
    start((needm_config){0});
    join(thread(brings_none, NULL));
    join(thread(brings_its_own, (void *)65536));
    join(thread(brings_its_own, (void *)(size_t)(emulated() ? 4096 : sysconf(_SC_MINSIGSTKSZ))));
    CHECK_EQ(needm_stop(), 0);
}
static void from_handler(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void *first_in_a_handler(void *arg) {
    raise(SIGUSR1);
    /* The handler's return has put back that there is no signal stack. */
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    return arg;
}
static void a_first_callback_in_a_handler_does_not_spoil_the_next(void) {
    signal(SIGUSR1, from_handler);
    start((needm_config){0});
    for (int i = 0; i < 20; i++) join(thread(first_in_a_handler, NULL));
    CHECK_EQ(needm_stop(), 0);
}
static volatile long handled;
static void overflows_in_a_handler(int signal) {
    (void)signal;
    if (handled++ % 2 == 0)
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    else { /* it may be on what is left of a G */
        int answer = needm_callback(nothing, NULL, 0, NULL);
        CHECK(answer == 0 || answer == NEEDM_EOVERFLOW);
    }
}
static void handlers_come_while_the_signal_stack_comes_and_goes(uint32_t binding, int flags) {
    int us = emulated() ? 5000 : 100;
    struct itimerval every = {{0, us}, {0, us}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = overflows_in_a_handler, .sa_flags = flags};
    start((needm_config){.binding = binding});
    handled = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    /* Where handlers leave the thread little time, that many of them are enough. */
    for (int i = 0; i < rounds(30000) && handled < 50000; i++) {
        if (i % 3 != 0) CHECK_EQ(needm_attach(), 0);
        if (i % 3 != 1) CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(needm_detach(), 0);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_IGN);
    CHECK_EQ(needm_detach(), 0);
    if (binding == NEEDM_BIND_THREAD) CHECK(stack_now().ss_flags & SS_DISABLE);
    CHECK_EQ(needm_stop(), 0);
    fprintf(stderr, "%ld handlers\n", handled);
}
static void a_signal_stack_that_comes_or_goes_is_not_lost_to_a_handler(void) {
    uint32_t bindings[] = {NEEDM_BIND_THREAD, NEEDM_BIND_CALL};
    for (int i = 0; i < 4; i++)
        handlers_come_while_the_signal_stack_comes_and_goes(bindings[i / 2], SA_ONSTACK);
}
/* A handler without a stack of its own, as deep as the callback's stack goes. */
static void does_nothing(int signal) { (void)signal; }
__attribute__((noinline)) static long signals_deeper(long step, volatile char *above) {
    char here[step];
    ((volatile char *)here)[0] = above ? above[0] : 1;
    raise(SIGUSR1);
    return signals_deeper(step, here) + here[0];
}
static void signals_all_the_way_down(void *step) { signals_deeper((long)step, NULL); }
static void a_stack_without_room_for_a_signal_has_run_out(void) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    signal(SIGUSR1, does_nothing);
    start((needm_config){0});
    for (long step = 16; step < 2000; step += emulated() ? 480 : 48) {
        needm_panic_info info = {sizeof info};
        CHECK_EQ(needm_callback(signals_all_the_way_down, (void *)step, 0, &info), NEEDM_EOVERFLOW);
        CHECK_EQ(info.kind, NEEDM_EOVERFLOW);
        /* It may have been the handler that ran out, and was left. */
        sigprocmask(SIG_UNBLOCK, &one, NULL);
    }
    CHECK_EQ(needm_stop(), 0);
}
/* Handlers on a stack of the thread's own, on ours, and on what is left of that. */
static const int nested[] = {SIGUSR1, SIGUSR2, SIGURG, SIGWINCH};
static volatile int handlers_ran;
static void raise_the_next(void *level) {
    if ((long)level < 3) raise(nested[(long)level + 1]);
}
static void calls_back_with_a_frame(int signal) {
    volatile unsigned char frame[1024];
    long level = signal == SIGUSR1 ? 0 : signal == SIGUSR2 ? 1 : signal == SIGURG ? 2 : 3;
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = (unsigned char)(level + 1);
    CHECK_EQ(needm_callback(raise_the_next, (void *)level, 0, NULL), 0);
    for (unsigned i = 0; i < sizeof frame; i++) CHECK_EQ(frame[i], level + 1);
    handlers_ran++;
}
static void *nests_handlers(void *arg) {
    static char large[262144];
    stack_t own = {.ss_sp = large, .ss_size = sizeof large};
    if (arg) CHECK_EQ(sigaltstack(&own, NULL), 0);
    handlers_ran = 0;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    raise(SIGUSR1);
    CHECK_EQ(handlers_ran, 4);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    return NULL;
}
static void no_handlers_frame_is_run_over_by_the_next(void) {
    struct sigaction action = {.sa_handler = calls_back_with_a_frame, .sa_flags = SA_ONSTACK};
    for (int i = 0; i < 4; i++) sigaction(nested[i], &action, NULL);
    start((needm_config){.signal_stack_size = 262144});
    join(thread(nests_handlers, NULL));
    join(thread(nests_handlers, (void *)1));
    CHECK_EQ(needm_stop(), 0);
}
static void no_signals_touches_no_signal_state(void) {
    start((needm_config){.flags = NEEDM_NO_SIGNALS});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    struct sigaction now;
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_handler == SIG_DFL);
    CHECK(stack_now().ss_flags & SS_DISABLE);
    CHECK_EQ(needm_callback(panic, NULL, 0, NULL), NEEDM_EPANIC);
    CHECK_EQ(needm_stop(), 0);
}
static int news, frees, ins, outs, refuse;
static int m_new(void *user, needm_m *m) {
    CHECK(user == &news);
    if (refuse) return 1;
    needm_m_set_local(m, &outs);
    news++;
    return 0;
}
static void m_free(void *user, needm_m *m) {
    frees++;
    CHECK(user == &news && m);
}
static void minit(void *user, needm_m *m) {
    CHECK(user == &news && needm_m_local(m) == &outs);
    ins++;
}
static void unminit(void *user, needm_m *m) {
    outs++;
    CHECK(user == &news && m);
}
static void hooks_run_in_order_and_as_often_as_they_must(void) {
    needm_hooks hooks = {.size = sizeof hooks, .user = &news, .m_new = m_new, .m_free = m_free,
                         .minit = minit, .unminit = unminit};
    needm_config config = {.size = sizeof config, .seed_ms = 2, .hooks = &hooks};
    refuse = 1;
    CHECK_EQ(needm_start(&config), NEEDM_ENOMEM);
    refuse = 0;
    for (int binding = 0; binding < 2; binding++) {
        news = frees = ins = outs = 0;
        config.binding = (uint32_t)binding;
        CHECK_EQ(needm_start(&config), 0);
        CHECK_EQ(news, 2);
        for (int i = 0; i < 5; i++) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        CHECK_EQ(ins, binding ? 5 : 1);
        CHECK_EQ(outs, binding ? 5 : 0);
        CHECK_EQ(needm_detach(), 0);
        CHECK_EQ(ins, outs);
        CHECK_EQ(needm_stop(), 0);
        CHECK_EQ(frees, news);
    }
}
static int maps(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file);
    int lines = 0, c;
    while ((c = getc(file)) != EOF) lines += c == '\n';
    fclose(file);
    return lines;
}
static void *calls(void *arg) {
    CHECK_EQ(needm_callback(fault, arg, 0, NULL), NEEDM_EFAULT);
    return arg;
}
static pthread_barrier_t held;
static void *lives_through_a_stop(void *arg) {
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(needm_callback(fault, arg, 0, NULL), NEEDM_EFAULT);
        pthread_barrier_wait(&held);
        pthread_barrier_wait(&held); /* stopped and started again meanwhile */
    }
    return arg;
}
static void two_hundred_starts_and_stops_leave_nothing_behind(void) {
    int before = 0;
    for (int i = 0; i < rounds(200) + 2; i++) {
        start((needm_config){.binding = (uint32_t)i & 1, .seed_ms = 4});
        calls(NULL);
        join(thread(calls, NULL));
        CHECK_EQ(needm_stop(), 0);
        if (i == 1) before = maps();
    }
    if (!emulated()) CHECK(maps() <= before + 2); /* the C library keeps a stack or two */
    pthread_barrier_init(&held, NULL, 2);
    start((needm_config){0});
    pthread_t other = thread(lives_through_a_stop, NULL);
    for (int i = 0; i < 3; i++) {
        pthread_barrier_wait(&held);
        CHECK_EQ(needm_stop(), 0);
        start((needm_config){0});
        pthread_barrier_wait(&held);
    }
    join(other);
    CHECK_EQ(needm_stop(), 0);
    struct sigaction now;
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_handler == SIG_DFL);
}
static pthread_barrier_t inside;
static void stay(void *arg) {
    (void)arg;
    pthread_barrier_wait(&inside);
    pthread_barrier_wait(&inside);
}
static void *stays(void *arg) {
    CHECK_EQ(needm_callback(stay, NULL, 0, NULL), 0);
    return arg;
}
static void child(void) {
    if (emulated()) { /* qemu-user fails on a fault in a child of a process with threads */
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        CHECK(stats().ms_reclaimed >= 4);
        return;
    }
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    for (int i = 0; i < 10; i++) join(thread(calls, NULL));
    CHECK(stats().ms_reclaimed >= 4);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}
static void forks(void *arg) {
    int status = in_a_child(arg);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == SUCCESS);
}
static void child_of_callback(void) {
    if (emulated()) {
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        return;
    }
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    join(thread(calls, NULL));
}
static void a_forked_child_calls_back_and_takes_back_what_others_held(void) {
    start((needm_config){.max_ms = 8});
    pthread_t threads[4];
    pthread_barrier_init(&inside, NULL, 5);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    for (int i = 0; i < 4; i++) threads[i] = thread(stays, NULL);
    pthread_barrier_wait(&inside);
    CHECK_CHILD(child);
    CHECK_EQ(needm_callback(forks, (void *)child_of_callback, 0, NULL), 0);
    pthread_barrier_wait(&inside);
    for (int i = 0; i < 4; i++) join(threads[i]);
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    RUN(the_mask_is_the_same_after_every_ending);
    RUN(the_kernel_leaves_errno_alone);
    RUN(a_signal_stack_is_put_back_as_it_was);
    RUN(a_first_callback_in_a_handler_does_not_spoil_the_next);
    if (!handlers_lose_their_thread()) {
        RUN(a_signal_stack_that_comes_or_goes_is_not_lost_to_a_handler);
        RUN(a_stack_without_room_for_a_signal_has_run_out);
        RUN(no_handlers_frame_is_run_over_by_the_next);
    }
    RUN(no_signals_touches_no_signal_state);
    RUN(hooks_run_in_order_and_as_often_as_they_must);
    RUN(two_hundred_starts_and_stops_leave_nothing_behind);
    RUN(a_forked_child_calls_back_and_takes_back_what_others_held);
    return SUCCESS;
}
