/* Handlers of others, before needm's and over it, run where and how they would without needm, and
 * a fault that ends a callback leaves the thread as the signal's return would. */
#include "check.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

static volatile char *pages; /* two */
static long page_size;
static void allow(int which) { CHECK_EQ(mprotect((char *)pages + which * page_size, page_size, PROT_READ | PROT_WRITE), 0); }
static void forbid(int which) { CHECK_EQ(mprotect((char *)pages + which * page_size, page_size, PROT_NONE), 0); }

static uint64_t mask_now(void) {
    uint64_t mask = 0;
    CHECK_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask), 0);
    return mask;
}
static uint64_t bit(int signal) { return (uint64_t)1 << (signal - 1); }

/* A handler over needm's, which asks needm's first. */
static struct sigaction below;
static volatile int entered;
static void asks_needm(int signal, siginfo_t *info, void *context) {
    entered++;
    below.sa_sigaction(signal, info, context);
}
static int top_flags, top_blocks;
static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags, int blocks) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    if (blocks) sigfillset(&action.sa_mask);
    CHECK_EQ(sigaction(signal, &action, &below), 0);
}
static void *faults_and_overflows(void *arg) {
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &usr2, NULL), 0);
    uint64_t before = mask_now();
    for (int i = 0; i < rounds(100); i++) {
        needm_panic_info info = {.size = sizeof info};
        int seen = entered;
        CHECK_EQ(needm_callback(fault, NULL, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.signo, SIGSEGV);
        CHECK_EQ(mask_now(), before);
        if (top_flags & SA_ONSTACK) {
            CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
            CHECK_EQ(mask_now(), before);
            CHECK_EQ(entered, seen + 2);
        }
    }
    return arg;
}
static void note_nothing(int signal, siginfo_t *info, void *context) { (void)signal, (void)info, (void)context; }
static void a_handler_over_needms_may_block_any_signal(void) {
    for (int bits = 0; bits < 16; bits++) {
        if (bits & 8) install(SIGSEGV, note_nothing, 0, 1);
        start((needm_config){0});
        top_flags = (bits & 1 ? SA_ONSTACK : 0) | (bits & 2 ? SA_NODEFER : 0);
        top_blocks = bits & 4;
        install(SIGSEGV, asks_needm, top_flags, top_blocks);
        join(thread(faults_and_overflows, NULL));
        CHECK_EQ(sigaction(SIGSEGV, &below, NULL), 0);
        CHECK_EQ(needm_stop(), 0);
        signal(SIGSEGV, SIG_DFL);
    }
}

/* The previous handler blocks SIGUSR2, which comes meanwhile: its handler runs afterwards, on the
 * interrupted stack. */
static char *lo;
enum { SIGNAL_STACK = 64 * 1024 };
static volatile int early, late, told;
static void on_usr2(int signal, siginfo_t *info, void *context) {
    char *sp = (char *)CONTEXT_SP((ucontext_t *)context);
    (void)signal, (void)info;
    if (told || (sp >= lo && sp < lo + SIGNAL_STACK)) early++;
    late++;
}
static void raises_usr2(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    told = 1;
    CHECK(mask_now() & bit(SIGUSR2));
    CHECK_EQ(pthread_kill(pthread_self(), SIGUSR2), 0);
    allow(0);
    told = 0;
}
static void *is_interrupted_by_both(void *arg) {
    stack_t own = {.ss_sp = malloc(SIGNAL_STACK), .ss_size = SIGNAL_STACK};
    lo = own.ss_sp;
    if (arg) CHECK_EQ(sigaltstack(&own, NULL), 0);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    early = late = 0;
    for (int i = 0; i < rounds(100); i++) {
        forbid(0);
        pages[0] = 1;
        CHECK_EQ(late, i + 1);
    }
    CHECK_EQ(early, 0);
    own.ss_flags = SS_DISABLE;
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(sigaltstack(&own, NULL), 0);
    free(lo);
    return NULL;
}
static void a_signal_that_a_previous_handler_blocks_comes_after_it(void) {
    for (int onstack = 0; onstack < 2; onstack++) {
        install(SIGSEGV, raises_usr2, onstack ? SA_ONSTACK : 0, 1);
        install(SIGUSR2, on_usr2, 0, 0);
        start((needm_config){0});
        join(thread(is_interrupted_by_both, NULL));
        join(thread(is_interrupted_by_both, &onstack));
        CHECK_EQ(needm_stop(), 0);
    }
    signal(SIGSEGV, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
}

/* The previous handler faults itself, and handles that. */
static volatile int depth, nested;
static void faults_once_more(int signal, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    siginfo_t info_before = *info;
    uintptr_t pc = CONTEXT_PC(interrupted), sp = CONTEXT_SP(interrupted);
    (void)signal;
    CHECK(info->si_addr == pages + depth * page_size);
    if (depth++ == 0) pages[page_size] = 2;
    nested++;
    CHECK_EQ(info->si_code, info_before.si_code);
    CHECK(info->si_addr == info_before.si_addr);
    CHECK(CONTEXT_PC(interrupted) == pc && CONTEXT_SP(interrupted) == sp);
    allow(--depth);
}
static void *faults_with_a_fault_in_each(void *arg) {
    double values[4] = {1.5, 2.5, 3.5, 4.5};
    if (arg) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    for (int i = 0; i < rounds(100); i++) {
        forbid(0);
        forbid(1);
        /* Held in floating-point registers over the fault. */
        double a = values[0] * i, b = values[1] * i, c = values[2] * i, d = values[3] * i;
        pages[0] = 1;
        CHECK(a == 1.5 * i && b == 2.5 * i && c == 3.5 * i && d == 4.5 * i);
        CHECK(pages[0] == 1 && pages[page_size] == 2);
        CHECK_EQ(nested, 2 * (i + 1));
    }
    nested = 0;
    return arg;
}
static void a_previous_handler_may_fault(void) {
    for (int onstack = 0; onstack < 2; onstack++) {
        install(SIGSEGV, faults_once_more, SA_NODEFER | (onstack ? SA_ONSTACK : 0), 0);
        start((needm_config){0});
        join(thread(faults_with_a_fault_in_each, NULL));
        join(thread(faults_with_a_fault_in_each, &page_size));
        CHECK_EQ(needm_stop(), 0);
    }
    signal(SIGSEGV, SIG_DFL);
}

/* The previous handler's stack, where the interrupted one has no room for it: the process dies, as
 * it does without needm. */
static void overflows_in_c(void) {
    install(SIGSEGV, note_nothing, 0, 0);
    start((needm_config){0});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    overflow(NULL);
}
static void without_room_for_the_previous_handler_the_process_dies(void) { CHECK_DIES(overflows_in_c, SIGSEGV); }

/* A signal stack that Linux disables while a handler runs on it (SS_AUTODISARM, Linux 4.7). */
#define AUTODISARM (1U << 31)
static stack_t stack_now(void) {
    stack_t now;
    CHECK_EQ(syscall(SYS_sigaltstack, NULL, &now), 0);
    return now;
}
static void *brings_one_that_disarms(void *size) {
    stack_t own = {.ss_size = (size_t)size, .ss_flags = (int)AUTODISARM};
    own.ss_sp = mmap(NULL, own.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(own.ss_sp != MAP_FAILED);
    if (syscall(SYS_sigaltstack, &own, NULL) != 0) return NULL;
    CHECK_EQ(needm_attach(), 0);
    stack_t used = stack_now();
    for (int i = 0; i < rounds(100); i++) {
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK(stack_now().ss_sp == used.ss_sp && stack_now().ss_flags == used.ss_flags);
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK(stack_now().ss_sp == own.ss_sp && stack_now().ss_size == own.ss_size);
    CHECK_EQ((unsigned)stack_now().ss_flags, AUTODISARM);
    return NULL;
}
static void a_signal_stack_that_is_disarmed_by_handlers_stays_so(void) {
    start((needm_config){0});
    join(thread(brings_one_that_disarms, (void *)(size_t)sysconf(_SC_MINSIGSTKSZ)));
    join(thread(brings_one_that_disarms, (void *)(size_t)SIGNAL_STACK));
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    page_size = sysconf(_SC_PAGESIZE);
    pages = mmap(NULL, 2 * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    RUN(a_handler_over_needms_may_block_any_signal);
    RUN(without_room_for_the_previous_handler_the_process_dies);
    if (!emulated()) RUN(a_signal_stack_that_is_disarmed_by_handlers_stays_so);
    if (handlers_lose_their_thread()) return SUCCESS;
    RUN(a_signal_that_a_previous_handler_blocks_comes_after_it);
    RUN(a_previous_handler_may_fault);
    return SUCCESS;
}
