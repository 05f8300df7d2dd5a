/* Faults of C, in and between callbacks, and signals that were raised: they go to the handler
 * that was there before, or end the process. */
#include "check.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

static char *page;
static void write_none(void *arg) { *(volatile char *)arg = 1; }

static sigjmp_buf back;
static volatile int handled, code_seen;
static void *addr_seen;
static void handler(int signal, siginfo_t *what, void *context) {
    (void)context;
    handled = signal;
    code_seen = what->si_code;
    addr_seen = what->si_addr;
    siglongjmp(back, 1);
}
static void fault_here(void) {
    handled = 0;
    if (sigsetjmp(back, 1) == 0) write_none(page + 9);
    CHECK_EQ(handled, SIGSEGV);
    CHECK(addr_seen == page + 9);
}
static void in_c(void *arg) {
    (void)arg;
    for (int i = 0; i < 10; i++) fault_here();
}
static void calls_c(void *arg) { CHECK_EQ(needm_ccall(in_c, arg), 0); }
static void *fresh(void *arg) {
    fault_here();
    CHECK_EQ(needm_callback(calls_c, NULL, 0, NULL), 0);
    fault_here();
    return arg;
}
/* A frame that is not there, of a callback that a handler on the signal stack makes. */
static void calls_back_with_no_frame(int signal) {
    (void)signal;
    handled = 0;
    if (sigsetjmp(back, 1) == 0) needm_callback(nothing, page + 9, 16, NULL);
    CHECK_EQ(handled, SIGSEGV);
}
static void a_fault_of_c_goes_to_the_previous_handler(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO}, now;
    sigaction(SIGSEGV, &action, NULL);
    struct sigaction calls = {.sa_handler = calls_back_with_no_frame, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &calls, NULL);
    start((needm_config){0});
    fault_here();
    for (int i = 0; i < rounds(100); i++) {
        CHECK_EQ(needm_callback(calls_c, NULL, 0, NULL), 0);
        fault_here();
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        fault_here();
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        raise(SIGUSR1);
    }
    join(thread(fresh, NULL));
    CHECK_EQ(needm_stop(), 0);
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_sigaction == handler);
    fault_here();
    signal(SIGSEGV, SIG_DFL);
}
static sigset_t mask_seen;
static int was_on_signal_stack;
static void look(int signal) {
    stack_t stack;
    char here;
    sigaltstack(NULL, &stack);
    was_on_signal_stack = !(stack.ss_flags & SS_DISABLE) && &here >= (char *)stack.ss_sp &&
                     &here < (char *)stack.ss_sp + stack.ss_size;
    pthread_sigmask(SIG_BLOCK, NULL, &mask_seen);
    handled = signal;
}
static void raised(void *arg) { raise((int)(intptr_t)arg); }
static void a_raised_signal_is_no_fault_and_its_handler_has_its_mask_and_stack(void) {
    struct sigaction action = {.sa_handler = look};
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaction(SIGSEGV, &action, NULL);
    start((needm_config){0});
    handled = 0;
    CHECK_EQ(needm_callback(raised, (void *)SIGSEGV, 0, NULL), 0);
    CHECK_EQ(handled, SIGSEGV);
    CHECK(sigismember(&mask_seen, SIGUSR2) && sigismember(&mask_seen, SIGSEGV));
    CHECK(!sigismember(&mask_seen, SIGUSR1));
    CHECK(!was_on_signal_stack);
    pthread_sigmask(SIG_BLOCK, NULL, &mask_seen);
    CHECK(!sigismember(&mask_seen, SIGUSR2) && !sigismember(&mask_seen, SIGSEGV));
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_stop(), 0);
    signal(SIGSEGV, SIG_DFL);
}
static void dies_in_c(void) {
    start((needm_config){0});
    needm_callback(nothing, NULL, 0, NULL);
    fault(NULL);
}
static void faults_in_c(void *arg) { needm_ccall(fault, arg); }
static void dies_in_ccall(void) {
    start((needm_config){0});
    needm_callback(faults_in_c, NULL, 0, NULL);
}
static void dies_of_raise(void) {
    start((needm_config){0});
    needm_callback(raised, (void *)SIGFPE, 0, NULL);
}
static void dies_without_signals(void) {
    start((needm_config){.flags = NEEDM_NO_SIGNALS});
    needm_callback(fault, NULL, 0, NULL);
}
static void by_default_the_process_dies_of_the_signal(void) {
    CHECK_DIES(dies_in_c, SIGSEGV);
    CHECK_DIES(dies_in_ccall, SIGSEGV);
    CHECK_DIES(dies_of_raise, SIGFPE);
    CHECK_DIES(dies_without_signals, SIGSEGV);
}

int main(void) {
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    /* In a child: it makes a thread, after which no handler returns right under qemu-i386. */
    fprintf(stderr, "a_fault_of_c_goes_to_the_previous_handler\n");
    CHECK_CHILD(a_fault_of_c_goes_to_the_previous_handler);
    RUN(a_raised_signal_is_no_fault_and_its_handler_has_its_mask_and_stack);
    RUN(by_default_the_process_dies_of_the_signal);
    return SUCCESS;
}
