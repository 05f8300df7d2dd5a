/* The thread's signal stack: it is there for faults, and then again what it was, whatever the
 * thread, or a handler, does with it meanwhile. */
#include "filter.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

static uint32_t binding;

/* The thread changes it. */
enum { LARGE = 128 * 1024 };
static void *installs(int disable) {
    void *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    stack_t stack = {.ss_sp = memory, .ss_size = LARGE, .ss_flags = disable ? SS_DISABLE : 0};
    CHECK_EQ(sigaltstack(&stack, NULL), 0);
    return memory;
}
static void check_has(void *memory) {
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
        check_has(now);
        if (i % 5 == 4) CHECK_EQ(needm_detach(), 0);
        check_has(now);
        before = now;
    }
    return NULL;
}
static void *unmaps(void *arg) {
    void *own = installs(0);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(munmap(installs(1), LARGE), 0);
    CHECK_EQ(munmap(own, LARGE), 0);
    /* Faults need no signal stack, and the unmapped one is not installed again. */
    for (int i = 0; i < 50; i++) CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_detach(), 0);
    check_has(NULL);
    /* With an M per call the detach found none, and needm does not check the stack again. */
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

static stack_t stack_now(void) {
    stack_t now;
    CHECK_EQ(sigaltstack(NULL, &now), 0);
    return now;
}
static void *brings_its_own(void *size) {
    static char large[65536];
    stack_t own = {.ss_sp = large, .ss_size = (size_t)size};
    /* Linux may refuse what a signal needs, if that is very little. */
    while (sigaltstack(&own, NULL) != 0) own.ss_size += 512;
    CHECK_EQ(needm_attach(), 0); /* else there is nothing to detach per call */
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_detach(), 0);
    CHECK(stack_now().ss_sp == large && stack_now().ss_size == own.ss_size);
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
        /* Not attached: it may have no M now. */
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(needm_detach(), 0);
        CHECK(stack_now().ss_flags & SS_DISABLE);
    }
    return arg;
}
static void a_detach_restores_the_signal_stack(void) {
    start((needm_config){.binding = binding});
    join(thread(brings_none, NULL));
    join(thread(brings_its_own, (void *)65536));
    join(thread(brings_its_own, (void *)(size_t)(emulated() ? 4096 : sysconf(_SC_MINSIGSTKSZ))));
    CHECK_EQ(needm_stop(), 0);
}
/* The thread's own is too small, and needm installs another; then the thread has none, and has
 * unmapped its own. */
static void *disables(void *arg) {
    void *memory = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t own = {.ss_sp = memory, .ss_size = 2048}, none = {.ss_flags = SS_DISABLE};
    while (sigaltstack(&own, NULL) != 0) own.ss_size += 512; /* the least that the system takes */
    CHECK_EQ(needm_attach(), 0);
    CHECK(stack_now().ss_sp != memory);
    CHECK_EQ(sigaltstack(&none, NULL), 0);
    CHECK_EQ(munmap(memory, LARGE), 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK(stack_now().ss_flags & SS_DISABLE);
    return arg;
}
static void a_detach_does_not_restore_what_the_thread_has_disabled(void) {
    start((needm_config){.binding = binding});
    join(thread(disables, NULL));
    CHECK_EQ(needm_stop(), 0);
}

/* A handler that runs on the thread's own stack without needm, and has room there. */
static volatile int finished;
static void needs_40_kib(int signal) {
    volatile char room[40 * 1024];
    for (unsigned i = 0; i < sizeof room; i += 256) room[i] = (char)signal;
    finished++;
}
static void raises_usr1(void *arg) { raise(SIGUSR1), (void)arg; }
static void *is_interrupted_by_it(void *arg) {
    finished = 0;
    raise(SIGUSR1);
    CHECK_EQ(needm_callback(raises_usr1, NULL, 0, NULL), 0);
    raise(SIGUSR1);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(finished, 3);
    return arg;
}
static void the_signal_stack_has_room_for_the_handlers_of_others(void) {
    struct sigaction action = {.sa_handler = needs_40_kib, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    start((needm_config){.binding = binding});
    join(thread(is_interrupted_by_it, NULL));
    CHECK_EQ(needm_stop(), 0);
}

/* Without a signal stack an overflow would kill: so the thread gets no M. */
static int refuses;
static void *has_no_signal_stack(void *arg) {
    struct rlimit least = {1, 1};
    if (refuses)
        filter_system_calls(SYS_sigaltstack, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ALLOW);
    else if (emulated())
        CHECK_EQ(setrlimit(RLIMIT_AS, &least), 0);
    else /* There may be address space for one already. */
        filter_system_calls(SYS_mprotect, SECCOMP_RET_ERRNO | ENOMEM, SECCOMP_RET_ALLOW);
    int want = refuses ? NEEDM_ESYS : NEEDM_ENOMEM;
    CHECK_EQ(needm_attach(), want);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), want);
    CHECK(needm_self() == NULL);
    return arg;
}
static void *brings_a_large_one(void *arg) {
    installs(0);
    struct rlimit least = {1, 1};
    CHECK_EQ(setrlimit(RLIMIT_AS, &least), 0);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    return arg;
}
static void *(*body_of_thread)(void *);
static void with_a_thread(void) {
    start((needm_config){.binding = binding, .seed_ms = 4});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    join(thread(body_of_thread, NULL));
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
}
static void a_thread_that_can_have_no_signal_stack_is_told(void) {
    body_of_thread = has_no_signal_stack;
    for (refuses = 0; refuses < 2; refuses++) CHECK_CHILD(with_a_thread);
    body_of_thread = brings_a_large_one;
    CHECK_CHILD(with_a_thread);
}

static void from_handler(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void *first_in_a_handler(void *arg) {
    raise(SIGUSR1);
    /* Linux has restored, as the handler returned, that there is no signal stack. */
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    return arg;
}
static void an_overflow_works_after_a_first_callback_in_a_handler(void) {
    handle(SIGUSR1, from_handler);
    start((needm_config){.binding = binding});
    for (int i = 0; i < 20; i++) join(thread(first_in_a_handler, NULL));
    CHECK_EQ(needm_stop(), 0);
}
/* Handlers that call back at any moment, while the main thread's signal stack comes and goes. */
static volatile long handled;
static void overflows_in_a_handler(int signal) {
    (void)signal;
    if (handled++ % 2 == 0)
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    else { /* it may run on a G that is almost full */
        int answer = needm_callback(nothing, NULL, 0, NULL);
        CHECK(answer == 0 || answer == NEEDM_EOVERFLOW);
    }
}
static void handlers_may_call_back_while_the_signal_stack_is_changed(void) {
    int us = emulated() ? 5000 : 100;
    struct itimerval every = {{0, us}, {0, us}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = overflows_in_a_handler, .sa_flags = SA_ONSTACK};
    start((needm_config){.binding = binding});
    handled = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    /* Handlers may leave the thread little time: then so many are enough. */
    for (int i = 0; i < rounds(30000) && handled < 20000; i++) {
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
    CHECK(stack_now().ss_flags & SS_DISABLE);
    fprintf(stderr, "%ld handlers\n", handled);
}

/* A handler without SA_ONSTACK needs room on the G. */
static void does_nothing(int signal) { (void)signal; }
__attribute__((noinline)) static long signals_deeper(long step, volatile char *above) {
    char here[step];
    ((volatile char *)here)[0] = above ? above[0] : 1;
    raise(SIGUSR1);
    return signals_deeper(step, here) + here[0];
}
static void signals_all_the_way_down(void *step) { signals_deeper((long)step, NULL); }
static void a_g_without_room_for_a_signal_overflows(void) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    handle(SIGUSR1, does_nothing);
    start((needm_config){.binding = binding});
    for (long step = 16; step < 2000; step += emulated() ? 480 : 48) {
        needm_panic_info info = {sizeof info};
        CHECK_EQ(needm_callback(signals_all_the_way_down, (void *)step, 0, &info), NEEDM_EOVERFLOW);
        CHECK_EQ(info.kind, NEEDM_EOVERFLOW);
        /* The handler itself may have overflowed: it never returned, and its signal is blocked. */
        sigprocmask(SIG_UNBLOCK, &one, NULL);
    }
    CHECK_EQ(needm_stop(), 0);
    CHECK(stack_now().ss_flags & SS_DISABLE);
}
/* Handlers on the thread's signal stack, on needm's, and on the rest of that. */
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
static void a_nested_handler_does_not_overwrite_the_frame_of_the_first(void) {
    struct sigaction action = {.sa_handler = calls_back_with_a_frame, .sa_flags = SA_ONSTACK};
    for (int i = 0; i < 4; i++) sigaction(nested[i], &action, NULL);
    start((needm_config){.signal_stack_size = 262144});
    join(thread(nests_handlers, NULL));
    join(thread(nests_handlers, (void *)1));
    CHECK_EQ(needm_stop(), 0);
}
/* The thread installs another one, by no function of needm's. A handler on it calls back; the next
 * handler, during that callback, must not start over the frame of the first. */
static void calls_back_and_looks(int signal) {
    volatile unsigned char frame[1024];
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = 0x77;
    CHECK_EQ(needm_callback(raises_usr1, NULL, 0, NULL), 0);
    for (unsigned i = 0; i < sizeof frame; i++) CHECK_EQ(frame[i], 0x77);
    handlers_ran += signal == SIGUSR2;
}
static void fills_its_stack(int signal) {
    volatile unsigned char frame[6000];
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = (unsigned char)signal;
}
static void *changes_it_meanwhile(void *brings_one) {
    void *before = brings_one ? installs(0) : NULL;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    for (int i = 0; i < 10; i++) {
        for (int j = 0; j < 2; j++) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        void *now = installs(0);
        handlers_ran = 0;
        raise(SIGUSR2);
        raise(SIGUSR2);
        CHECK_EQ(handlers_ran, 2);
        check_has(now);
        if (before) munmap(before, LARGE);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        before = now;
    }
    return NULL;
}
static void a_handler_on_a_new_signal_stack_may_call_back(void) {
    struct sigaction action = {.sa_handler = calls_back_and_looks, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR2, &action, NULL), 0);
    action.sa_handler = fills_its_stack;
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    start((needm_config){.binding = binding});
    join(thread(changes_it_meanwhile, NULL));
    join(thread(changes_it_meanwhile, &binding));
    CHECK_EQ(needm_stop(), 0);
}

int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    RUN(a_thread_may_change_or_unmap_its_signal_stack);
    RUN(a_detach_restores_the_signal_stack);
    RUN(a_detach_does_not_restore_what_the_thread_has_disabled);
    RUN(the_signal_stack_has_room_for_the_handlers_of_others);
    if (!emulated()) RUN(a_thread_that_can_have_no_signal_stack_is_told);
    RUN(an_overflow_works_after_a_first_callback_in_a_handler);
    if (handlers_lose_their_thread()) return SUCCESS;
    RUN(handlers_may_call_back_while_the_signal_stack_is_changed);
    RUN(handlers_may_call_back_while_the_signal_stack_is_changed);
    RUN(a_g_without_room_for_a_signal_overflows);
    RUN(a_nested_handler_does_not_overwrite_the_frame_of_the_first);
    RUN(a_handler_on_a_new_signal_stack_may_call_back);
    return SUCCESS;
}
