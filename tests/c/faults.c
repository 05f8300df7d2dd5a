/* Faults in callbacks are errors; all others are whose they were. */
#include "check.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

static char *page, *file;
static void read_none(void *arg) { (void)*(volatile char *)arg; }
static void write_none(void *arg) { *(volatile char *)arg = 1; }
static void execute_none(void *arg) {
    void (*volatile code)(void) = (void (*)(void))arg;
    code();
}
static void illegal(void *arg) {
    (void)arg;
#if defined __arm__
    __asm__ volatile("udf #9");
#else
    __asm__ volatile("ud2");
#endif
}
static void trap(void *arg) {
    (void)arg;
#if defined __arm__
    __asm__ volatile("bkpt #0");
#else
    __asm__ volatile("int3");
#endif
}
static void divide(void *arg) {
    volatile int zero = (int)(intptr_t)arg, seven = 7;
    zero = seven / zero;
}
static needm_panic_info info;
static void check(void (*fn)(void *), void *arg, int signo, void *addr) {
    info.size = sizeof info;
    for (int i = 0; i < rounds(100); i++) {
        CHECK_EQ(needm_callback(fn, arg, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.kind, NEEDM_EFAULT);
        CHECK_EQ(info.signo, signo);
        CHECK(info.code > 0);
        if (addr) CHECK_EQ(info.addr, (uintptr_t)addr);
        uintptr_t code = (uintptr_t)fn & ~(uintptr_t)1;
        CHECK(info.pc - code < 64 || info.pc == (uintptr_t)addr);
        CHECK(info.value == NULL);
    }
}
static void kind_signal_code_address_and_pc_are_right_for_each(void) {
    check(read_none, page, SIGSEGV, page);
    check(write_none, page + 5, SIGSEGV, page + 5);
    check(execute_none, page + 64, SIGSEGV, page + 64);
    check(read_none, file, SIGBUS, emulated() ? NULL : file); /* qemu tells another address */
    check(illegal, NULL, SIGILL, NULL);
    check(trap, NULL, SIGTRAP, NULL);
#ifndef __arm__ /* whose division by zero is 0 */
    check(divide, NULL, SIGFPE, NULL);
#endif
    info.size = sizeof info;
    CHECK_EQ(needm_callback(overflow, NULL, 0, &info), NEEDM_EOVERFLOW);
    CHECK_EQ(info.kind, NEEDM_EOVERFLOW);
    CHECK_EQ(info.signo, SIGSEGV);
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    CHECK(info.addr < (uintptr_t)lo && info.addr >= (uintptr_t)lo - 65536);
}

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
static void a_fault_of_c_goes_to_the_handler_that_was_there(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO}, now;
    sigaction(SIGSEGV, &action, NULL);
    start((needm_config){0});
    fault_here();
    for (int i = 0; i < rounds(100); i++) {
        CHECK_EQ(needm_callback(calls_c, NULL, 0, NULL), 0);
        fault_here();
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        fault_here();
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    }
    join(thread(fresh, NULL));
    CHECK_EQ(needm_stop(), 0);
    sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_sigaction == handler);
    fault_here();
    signal(SIGSEGV, SIG_DFL);
}
static sigset_t mask_seen;
static int stack_was_ours;
static void look(int signal) {
    stack_t stack;
    char here;
    sigaltstack(NULL, &stack);
    stack_was_ours = !(stack.ss_flags & SS_DISABLE) && &here >= (char *)stack.ss_sp &&
                     &here < (char *)stack.ss_sp + stack.ss_size;
    pthread_sigmask(SIG_BLOCK, NULL, &mask_seen);
    handled = signal;
}
static void raised(void *arg) { raise((int)(intptr_t)arg); }
static void a_raised_signal_is_not_a_fault_and_keeps_mask_flags_and_stack(void) {
    struct sigaction action = {.sa_handler = look};
    sigaddset(&action.sa_mask, SIGUSR2);
    sigaction(SIGSEGV, &action, NULL);
    start((needm_config){0});
    handled = 0;
    CHECK_EQ(needm_callback(raised, (void *)SIGSEGV, 0, NULL), 0);
    CHECK_EQ(handled, SIGSEGV);
    CHECK(sigismember(&mask_seen, SIGUSR2) && sigismember(&mask_seen, SIGSEGV));
    CHECK(!sigismember(&mask_seen, SIGUSR1));
    CHECK(!stack_was_ours);
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
static void with_the_default_action_the_process_dies_of_the_signal(void) {
    CHECK_DIES(dies_in_c, SIGSEGV);
    CHECK_DIES(dies_in_ccall, SIGSEGV);
    CHECK_DIES(dies_of_raise, SIGFPE);
    CHECK_DIES(dies_without_signals, SIGSEGV);
}

int main(void) {
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *empty = tmpfile();
    CHECK(empty);
    file = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(empty), 0);
    CHECK(page != MAP_FAILED && file != MAP_FAILED);
    start((needm_config){0});
    RUN(kind_signal_code_address_and_pc_are_right_for_each);
    CHECK_EQ(needm_stop(), 0);
    /* It makes a thread, after which qemu-i386 leaves none its own when a handler returns. */
    fprintf(stderr, "a_fault_of_c_goes_to_the_handler_that_was_there\n");
    CHECK_CHILD(a_fault_of_c_goes_to_the_handler_that_was_there);
    RUN(a_raised_signal_is_not_a_fault_and_keeps_mask_flags_and_stack);
    RUN(with_the_default_action_the_process_dies_of_the_signal);
    return SUCCESS;
}
