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
static stack_t stack_now(void) {
    stack_t now;
    CHECK_EQ(syscall(SYS_sigaltstack, NULL, &now), 0);
    return now;
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

/* A handler over needm's asks needm's, and stays as needm is stopped. needm is started again: over
 * it, or once it has gone and has put back what it found. The first handler of all is asked once. */
static volatile int asked_last;
static void is_asked_last(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    asked_last++;
    allow(0);
}
static void reaches(int others, int last) {
    entered = asked_last = 0;
    forbid(0);
    pages[0] = 1;
    CHECK_EQ(entered, others);
    CHECK_EQ(asked_last, last);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(entered, others);
}
static void *faults_over_it(void *arg) {
    for (int i = 0; i < 10; i++) reaches(1, 1);
    return arg;
}
static void *faults_without_it(void *arg) {
    for (int i = 0; i < 10; i++) reaches(0, 1);
    return arg;
}
static void a_handler_over_needms_may_stay_over_a_restart(void) {
    for (int bits = 0; bits < 8; bits++) {
        int flags = (bits & 1 ? SA_ONSTACK : 0) | (bits & 2 ? SA_NODEFER : 0);
        install(SIGSEGV, is_asked_last, SA_ONSTACK, 0);
        start((needm_config){0});
        install(SIGSEGV, asks_needm, flags, bits & 4);
        CHECK_EQ(needm_stop(), 0);
        for (int times = 0; times < 3; times++) {
            start((needm_config){0});
            join(thread(faults_over_it, NULL));
            CHECK_EQ(needm_stop(), 0);
        }
        CHECK_EQ(sigaction(SIGSEGV, &below, NULL), 0);
        for (int times = 0; times < 3; times++) {
            start((needm_config){0});
            join(thread(faults_without_it, NULL));
            CHECK_EQ(needm_stop(), 0);
        }
        struct sigaction now;
        CHECK_EQ(sigaction(SIGSEGV, NULL, &now), 0);
        CHECK(now.sa_sigaction == is_asked_last);
    }
    signal(SIGSEGV, SIG_DFL);
}

/* A previous handler with SA_ONSTACK runs on the thread's own stack if needm alone has given the
 * thread a signal stack; on one that the thread has brought since; and never on the small stack of
 * other code, which may rely on the signal stack that there is: Go takes it for its own. */
enum { SMALL = 4096, BELOW_SMALL = 64 * 1024 };
static volatile uintptr_t handler_ran_at;
static void notes_where_it_runs(int signal, siginfo_t *info, void *context) {
    char here;
    (void)signal, (void)info, (void)context;
    handler_ran_at = (uintptr_t)&here;
    allow(0);
}
static ucontext_t the_thread, the_small_one;
static void faults_on_a_small_stack(void) {
    pages[0] = 1;
    CHECK_EQ(swapcontext(&the_small_one, &the_thread), 0);
}
static void is_handled_on(void *from, size_t size, void (*faults)(void)) {
    forbid(0);
    handler_ran_at = 0;
    faults();
    CHECK(handler_ran_at - (uintptr_t)from < size);
}
static void faults_here(void) { pages[0] = 1; }
static void switches_to_a_small_stack(void) { CHECK_EQ(swapcontext(&the_thread, &the_small_one), 0); }
static void *faults_on_three_stacks(void *arg) {
    char *others = calloc(1, BELOW_SMALL + SMALL), *own = malloc(SIGNAL_STACK), here;
    CHECK(others && own);
    CHECK_EQ(needm_attach(), 0);
    stack_t lent = stack_now();
    CHECK(!(lent.ss_flags & SS_DISABLE));
    uintptr_t top = (uintptr_t)&here;
    is_handled_on((void *)(top - SIGNAL_STACK), SIGNAL_STACK, faults_here);

    CHECK_EQ(getcontext(&the_small_one), 0);
    the_small_one.uc_stack.ss_sp = others + BELOW_SMALL;
    the_small_one.uc_stack.ss_size = SMALL;
    makecontext(&the_small_one, faults_on_a_small_stack, 0);
    is_handled_on(lent.ss_sp, lent.ss_size, switches_to_a_small_stack);
    for (int i = 0; i < BELOW_SMALL; i++) CHECK_EQ(others[i], 0);

    stack_t brought = {.ss_sp = own, .ss_size = SIGNAL_STACK};
    CHECK_EQ(sigaltstack(&brought, NULL), 0);
    is_handled_on(own, SIGNAL_STACK, faults_here);
    CHECK_EQ(needm_detach(), 0);
    CHECK(stack_now().ss_sp == own);
    brought.ss_flags = SS_DISABLE;
    CHECK_EQ(sigaltstack(&brought, NULL), 0);
    free(own);
    free(others);
    return arg;
}
static void a_previous_handler_runs_on_the_stack_that_is_meant_for_it(void) {
    install(SIGSEGV, notes_where_it_runs, SA_ONSTACK, 0);
    start((needm_config){0});
    faults_on_three_stacks(NULL);
    join(thread(faults_on_three_stacks, NULL));
    CHECK_EQ(needm_stop(), 0);
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
/* While a handler runs there is none, also after a callback of the handler's. It asks for the
 * signal's information, because on i386 the frame of one that does not has no signal stack in it
 * that Linux could put back. */
static void calls_back(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    CHECK(stack_now().ss_flags & SS_DISABLE);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK(stack_now().ss_flags & SS_DISABLE);
}
static void *calls_back_from_a_handler(void *arg) {
    stack_t own = {.ss_sp = malloc(SIGNAL_STACK), .ss_size = SIGNAL_STACK, .ss_flags = (int)AUTODISARM};
    if (syscall(SYS_sigaltstack, &own, NULL) != 0) return arg;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    struct sigaction action = {.sa_sigaction = calls_back, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    for (int i = 0; i < rounds(100); i++) {
        raise(SIGUSR1);
        CHECK(stack_now().ss_sp == own.ss_sp && (unsigned)stack_now().ss_flags == AUTODISARM);
    }
    return arg;
}
static void a_signal_stack_that_is_disarmed_by_handlers_stays_so(void) {
    start((needm_config){0});
    join(thread(calls_back_from_a_handler, NULL));
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
    RUN(a_previous_handler_runs_on_the_stack_that_is_meant_for_it);
    RUN(a_handler_over_needms_may_stay_over_a_restart);
    return SUCCESS;
}
