/* With NEEDM_UNRECOVERED_ABORTS a crash reporter that was there before needm is told of a fault that
 * nothing recovers from as if needm were not there: the instruction, the registers, the stack. */
#include "check.h"
#include <sys/mman.h>
#include <ucontext.h>

void touches(void *);
extern char touches_here[], touches_after[];
__asm__(TOUCHING_FUNCTION);

static volatile uintptr_t lo, hi, inside;
static volatile int deferred_ran;
static int wants_deferred;
static void reports(int number, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    uintptr_t sp = (uintptr_t)CONTEXT_SP(interrupted);
    CHECK_EQ(number, SIGSEGV);
    CHECK(info->si_code > 0);
    CHECK_EQ((uintptr_t)info->si_addr, 16);
    CHECK_EQ((uintptr_t)CONTEXT_PC(interrupted), (uintptr_t)touches_here);
    CHECK(sp >= lo && sp < inside && inside < hi);
    CHECK(!sigismember(&interrupted->uc_sigmask, SIGSEGV) && !sigismember(&interrupted->uc_sigmask, SIGUSR1));
    CHECK_EQ(deferred_ran, wants_deferred);
    _exit(SUCCESS);
}
static void install(int number, void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK_EQ(sigaction(number, &action, NULL), 0);
}
static void notes_bounds(void) {
    void *from, *to;
    CHECK_EQ(needm_g_bounds(needm_self(), &from, &to), 0);
    lo = (uintptr_t)from, hi = (uintptr_t)to;
}
static void faults(void *arg) {
    char here;
    inside = (uintptr_t)&here;
    notes_bounds();
    touches((void *)16);
    (void)arg;
}
static void is_deferred(void *arg) { deferred_ran++, (void)arg; }
static void defers_and_faults(void *arg) {
    needm_defer first, second;
    CHECK_EQ(needm_defer_push(&first, is_deferred, NULL), 0);
    CHECK_EQ(needm_defer_push(&second, is_deferred, NULL), 0);
    faults(arg);
}
static void recovers(void *arg) { needm_recover(NULL), (void)arg; }
static void defers_a_recovery_and_faults(void *arg) {
    needm_defer one;
    CHECK_EQ(needm_defer_push(&one, recovers, NULL), 0);
    faults(arg);
}

static void (*body)(void *);
static void *calls_back(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    int code = needm_callback(body, NULL, 0, NULL);
    fprintf(stderr, "the callback has ended with %d\n", code);
    return arg;
}
static void reports_a_fault(void) {
    install(SIGSEGV, reports);
    start((needm_config){.flags = NEEDM_UNRECOVERED_ABORTS});
    if (handlers_lose_their_thread()) calls_back(NULL);
    else join(thread(calls_back, NULL));
}
static void a_crash_reporter_sees_the_fault_as_it_was(void) {
    body = faults;
    CHECK_CHILD(reports_a_fault);
}
static void also_after_deferred_functions_have_run(void) {
    body = defers_and_faults;
    wants_deferred = 2;
    CHECK_CHILD(reports_a_fault);
}
static void what_is_recovered_is_not_reported(void) {
    install(SIGSEGV, reports);
    start((needm_config){.flags = NEEDM_UNRECOVERED_ABORTS});
    for (int i = 0; i < rounds(100); i++)
        CHECK_EQ(needm_callback(defers_a_recovery_and_faults, NULL, 0, NULL), 0);
    CHECK_EQ(needm_stop(), 0);
    signal(SIGSEGV, SIG_DFL);
}

/* Without a reporter the process dies of the signal, whatever was deferred. */
static void dies(void) {
    start((needm_config){.flags = NEEDM_UNRECOVERED_ABORTS});
    needm_callback(body, NULL, 0, NULL);
}
static void overflows(void *arg) {
    needm_defer one;
    CHECK_EQ(needm_defer_push(&one, is_deferred, NULL), 0);
    overflow(arg);
}
static void traps(void *arg) {
    needm_defer one;
    CHECK_EQ(needm_defer_push(&one, is_deferred, NULL), 0);
    __asm__ volatile(TRAP_INSTRUCTION);
    (void)arg;
}
static void without_one_the_process_dies_of_the_signal(void) {
    void (*all[])(void *) = {faults, defers_and_faults, overflow, overflows};
    for (int i = 0; i < 4; i++) {
        body = all[i];
        CHECK_DIES(dies, SIGSEGV);
    }
    if (emulated()) return; /* the emulator does not let it be sent */
    body = traps;
    CHECK_DIES(dies, SIGTRAP);
}

/* A reporter that returns after it has put back the default: the instruction is run again. */
static void returns(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    signal(number, SIG_DFL);
}
static void reports_and_returns(void) {
    install(SIGSEGV, returns);
    dies();
}
static void a_reporter_may_return(void) {
    body = faults;
    CHECK_DIES(reports_and_returns, SIGSEGV);
    body = defers_and_faults;
    CHECK_DIES(reports_and_returns, SIGSEGV);
}

int main(void) {
    RUN(what_is_recovered_is_not_reported);
    RUN(a_crash_reporter_sees_the_fault_as_it_was);
    RUN(also_after_deferred_functions_have_run);
    RUN(without_one_the_process_dies_of_the_signal);
    RUN(a_reporter_may_return);
    return SUCCESS;
}
