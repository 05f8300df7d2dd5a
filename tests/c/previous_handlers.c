/* The handlers of fault signals that were there before needm's, and those installed after it:
 * faults that are not a callback's go to them as Linux would have called them. */
#include "filter.h"
#include <sched.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

static char *page;
static long page_size;

/* What the previous handler saw. */
static struct {
    volatile int calls, signo, code, on_own_stack;
    void *volatile addr;
    volatile uintptr_t pc;
    sigset_t mask;
} seen;

static void note(int signal, siginfo_t *info) {
    stack_t stack;
    char here;
    seen.calls++;
    seen.signo = signal;
    seen.code = info ? info->si_code : 0;
    seen.addr = info ? info->si_addr : NULL;
    /* The emulator that mixes up threads does not align a handler's stack. */
    CHECK(CALL_IS_ALIGNED || handlers_lose_their_thread());
    CHECK_EQ(sigaltstack(NULL, &stack), 0);
    seen.on_own_stack = (stack.ss_flags & SS_ONSTACK) != 0 || (!(stack.ss_flags & SS_DISABLE) &&
                        &here >= (char *)stack.ss_sp && &here < (char *)stack.ss_sp + stack.ss_size);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &seen.mask), 0);
    /* The instruction runs again, and succeeds. */
    CHECK_EQ(mprotect(page, page_size, PROT_READ | PROT_WRITE), 0);
}
static void three(int signal, siginfo_t *info, void *context) {
    CHECK(context != NULL && info->si_signo == signal);
    note(signal, info);
}
static void one(int signal) { note(signal, NULL); }

static void touch(void *arg) {
    (void)arg;
    CHECK_EQ(mprotect(page, page_size, PROT_NONE), 0);
    page[3] = 1;
    CHECK_EQ(page[3], 1);
}
static void touch_from_callback(void *arg) { CHECK_EQ(needm_ccall(touch, arg), 0); }

static int has_signal_stack;

/* C faults without an M, between callbacks, inside one, and after one has faulted. */
static void everywhere(int flags) {
    int forms = 0;
    for (int place = 0; place < 4; place++) {
        seen.calls = 0;
        switch (place) {
            case 0: touch(NULL); break;
            case 1:
                CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
                touch(NULL);
                break;
            case 2: CHECK_EQ(needm_callback(touch_from_callback, NULL, 0, NULL), 0); break;
            case 3:
                CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
                touch(NULL);
        }
        CHECK_EQ(seen.calls, 1);
        CHECK_EQ(seen.signo, SIGSEGV);
        if (flags & SA_SIGINFO) {
            CHECK_EQ(seen.code, SEGV_ACCERR);
            CHECK(seen.addr == page + 3);
        }
        CHECK(sigismember(&seen.mask, SIGUSR2));
        CHECK_EQ(sigismember(&seen.mask, SIGSEGV), !(flags & SA_NODEFER));
        CHECK(!sigismember(&seen.mask, SIGUSR1));
        sigset_t now;
        pthread_sigmask(SIG_BLOCK, NULL, &now);
        CHECK(!sigismember(&now, SIGUSR2) && !sigismember(&now, SIGSEGV));
        /* The thread has no signal stack but the one that needm has installed. */
        if (!(flags & SA_ONSTACK) || !has_signal_stack) CHECK(!seen.on_own_stack);
        if (flags & SA_ONSTACK && has_signal_stack) CHECK(seen.on_own_stack);
        forms++;
    }
    CHECK_EQ(forms, 4);
}
static int flags_of_thread;
static void *a_thread(void *brings_one) {
    static char memory[65536];
    stack_t own = {.ss_sp = memory, .ss_size = sizeof memory};
    has_signal_stack = brings_one != NULL;
    if (brings_one) CHECK_EQ(sigaltstack(&own, NULL), 0);
    everywhere(flags_of_thread);
    return NULL;
}
static void install(int flags) {
    struct sigaction action = {.sa_flags = flags};
    if (flags & SA_SIGINFO)
        action.sa_sigaction = three;
    else
        action.sa_handler = one;
    sigaddset(&action.sa_mask, SIGUSR2);
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
}
static void every_form_of_handler(uint32_t needms) {
    for (int bits = 0; bits < 8; bits++) {
        int flags = (bits & 1 ? SA_SIGINFO : 0) | (bits & 2 ? SA_NODEFER : 0) | (bits & 4 ? SA_ONSTACK : 0);
        install(flags);
        start((needm_config){.flags = needms});
        flags_of_thread = flags;
        join(thread(a_thread, NULL));
        join(thread(a_thread, &flags));
        /* And the first thread, whose stack is not the C library's. */
        if (!handlers_lose_their_thread()) a_thread(NULL);
        CHECK_EQ(needm_detach(), 0);
        CHECK_EQ(needm_stop(), 0);
        struct sigaction now;
        CHECK_EQ(sigaction(SIGSEGV, NULL, &now), 0);
        CHECK(flags & SA_SIGINFO ? now.sa_sigaction == three : now.sa_handler == one);
        CHECK_EQ(now.sa_flags & (SA_SIGINFO | SA_NODEFER | SA_ONSTACK | SA_RESETHAND), flags);
        CHECK(sigismember(&now.sa_mask, SIGUSR2));
        signal(SIGSEGV, SIG_DFL);
    }
}
static void the_previous_handler_gets_its_arguments_mask_and_stack(void) { every_form_of_handler(0); }
static void it_does_where_no_file_may_be_opened(void) { every_form_of_handler(NEEDM_NO_PROBES); }
static void in_a_sandbox(void) {
    filter_system_calls(SYS_openat, SECCOMP_RET_ERRNO | EACCES, SECCOMP_RET_ALLOW);
    every_form_of_handler(0);
}
static void it_does_where_no_file_can_be_opened(void) {
    if (!emulated()) CHECK_CHILD(in_a_sandbox);
}

/* A handler reads and changes the context of the interrupted code. */
void touches(void *);
extern char touches_here[], touches_after[];
__asm__(TOUCHING_FUNCTION);
static void skips_the_instruction(int signal, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    CHECK_EQ(signal, SIGSEGV);
    CHECK(info->si_addr == page + 5);
    CHECK_EQ((uintptr_t)CONTEXT_PC(interrupted), (uintptr_t)touches_here);
    CHECK(!sigismember(&interrupted->uc_sigmask, SIGUSR2));
    sigaddset(&interrupted->uc_sigmask, SIGUSR2);
    CONTEXT_PC(interrupted) = (uintptr_t)touches_after;
    seen.calls++;
}
static void touches_in_c(void *arg) {
    sigset_t now, usr2;
    touches(arg);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR2));
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_UNBLOCK, &usr2, NULL);
}
static void touches_from_callback(void *arg) { CHECK_EQ(needm_ccall(touches_in_c, arg), 0); }
static void what_the_previous_handler_writes_to_the_context_takes_effect(void) {
    for (int onstack = 0; onstack < 2; onstack++) {
        struct sigaction action = {.sa_sigaction = skips_the_instruction,
                                   .sa_flags = SA_SIGINFO | (onstack ? SA_ONSTACK : 0)};
        CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
        CHECK_EQ(mprotect(page, page_size, PROT_NONE), 0);
        start((needm_config){0});
        seen.calls = 0;
        for (int i = 0; i < rounds(100); i++) {
            touches_in_c(page + 5);
            CHECK_EQ(needm_callback(touches_from_callback, page + 5, 0, NULL), 0);
        }
        CHECK_EQ(seen.calls, 2 * rounds(100));
        CHECK_EQ(needm_stop(), 0);
    }
    signal(SIGSEGV, SIG_DFL);
}

static void faults_twice(void) {
    install(SA_SIGINFO | SA_RESETHAND);
    start((needm_config){0});
    seen.calls = 0;
    touch(NULL);
    CHECK_EQ(seen.calls, 1);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    touch(NULL);
    _exit(1);
}
static void a_handler_with_sa_resethand_is_called_once(void) { CHECK_DIES(faults_twice, SIGSEGV); }

/* A handler that is installed after needm's, and forwards every signal. */
static struct sigaction below;
static volatile int forwarded;
static void forwards(int signal, siginfo_t *info, void *context) {
    forwarded++;
    if (below.sa_flags & SA_SIGINFO)
        below.sa_sigaction(signal, info, context);
    else if (below.sa_handler != SIG_DFL && below.sa_handler != SIG_IGN)
        below.sa_handler(signal);
}
static void install_over_needms(int flags) {
    struct sigaction top = {.sa_sigaction = forwards, .sa_flags = SA_SIGINFO | flags};
    CHECK_EQ(sigaction(SIGSEGV, &top, &below), 0);
}
static void *callbacks_fault(void *arg) {
    forwarded = 0;
    for (int i = 0; i < rounds(200); i++) {
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    }
    CHECK_EQ(forwarded, rounds(200));
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    CHECK(!sigismember(&now, SIGSEGV) && !sigismember(&now, SIGUSR2));
    return arg;
}
static void a_handler_installed_after_needms_may_forward_to_it(void) {
    install(SA_SIGINFO);
    start((needm_config){0});
    install_over_needms(SA_ONSTACK | SA_NODEFER);
    join(thread(callbacks_fault, NULL));
    forwarded = seen.calls = 0;
    touch(NULL);
    CHECK_EQ(forwarded, 1);
    CHECK_EQ(seen.calls, 1);
    /* It stays installed, and needm's, to which it forwards, forwards everything. */
    CHECK_EQ(needm_stop(), 0);
    struct sigaction now;
    CHECK_EQ(sigaction(SIGSEGV, NULL, &now), 0);
    CHECK(now.sa_sigaction == forwards);
    forwarded = seen.calls = 0;
    touch(NULL);
    CHECK_EQ(forwarded, 1);
    CHECK_EQ(seen.calls, 1);
    signal(SIGSEGV, SIG_DFL);
}

/* Fault signals that were sent. */
static volatile int in_callback, told;
static void told_of(int signal, siginfo_t *info, void *context) {
    (void)context;
    CHECK(info->si_code <= 0);
    told += signal;
}
static void is_sent(void *arg) {
    pid_t self = getpid();
    int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    (void)arg;
    told = 0;
    for (int i = 0; i < 5; i++) {
        int before = told;
        CHECK_EQ(syscall(SYS_tgkill, self, syscall(SYS_gettid), signals[i]), 0);
        CHECK_EQ(told, before + signals[i]);
        CHECK_EQ(pthread_sigqueue(pthread_self(), signals[i], (union sigval){.sival_int = 1}), 0);
        CHECK_EQ(told, before + 2 * signals[i]);
    }
    in_callback = 1;
    while (in_callback) sched_yield();
}
static void *is_in_a_callback(void *arg) {
    CHECK_EQ(needm_callback(is_sent, arg, 0, NULL), 0);
    return arg;
}
static void signals_that_were_sent_are_no_faults(void) {
    struct sigaction action = {.sa_sigaction = told_of, .sa_flags = SA_SIGINFO};
    int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int i = 0; i < 5; i++) CHECK_EQ(sigaction(signals[i], &action, NULL), 0);
    start((needm_config){0});
    pthread_t one = thread(is_in_a_callback, NULL);
    while (!in_callback) sched_yield();
    int before = told;
    CHECK_EQ(pthread_kill(one, SIGFPE), 0);
    while (told != before + SIGFPE) sched_yield();
    in_callback = 0;
    join(one);
    CHECK_EQ(needm_stop(), 0);
    for (int i = 0; i < 5; i++) signal(signals[i], SIG_DFL);
}

/* Signals of Linux's own that no instruction has raised. They are queued here, which Linux lets a
 * process do to itself with any code. */
#ifndef BUS_MCEERR_AO
#define BUS_MCEERR_AO 5
#endif
#ifndef TRAP_PERF
#define TRAP_PERF 6
#endif
#ifndef SEGV_MTEAERR
#define SEGV_MTEAERR 8
#endif
static const struct { int signo, code; } raised_elsewhere[] = {
    {SIGBUS, BUS_MCEERR_AO}, {SIGTRAP, TRAP_PERF}, {SIGSEGV, SEGV_MTEAERR}};
static volatile int code_told;
static void notes_code(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    code_told = info->si_code;
}
static void queues(int which) {
    siginfo_t info = {.si_signo = raised_elsewhere[which].signo, .si_code = raised_elsewhere[which].code};
    CHECK_EQ(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), info.si_signo, &info), 0);
}
static void is_told_of(void *which) {
    code_told = 0;
    queues((int)(intptr_t)which);
    CHECK_EQ(code_told, raised_elsewhere[(intptr_t)which].code);
}
static int which_dies;
static void dies_by_default(void) {
    start((needm_config){0});
    needm_callback(is_told_of, (void *)(intptr_t)which_dies, 0, NULL);
}
static void signals_of_linux_that_no_instruction_raised_are_no_faults(void) {
    for (intptr_t i = 0; i < 3; i++) {
        int signo = raised_elsewhere[i].signo;
        which_dies = (int)i;
        CHECK_DIES(dies_by_default, signo);
        struct sigaction action = {.sa_sigaction = notes_code, .sa_flags = SA_SIGINFO};
        CHECK_EQ(sigaction(signo, &action, NULL), 0);
        start((needm_config){0});
        CHECK_EQ(needm_callback(is_told_of, (void *)i, 0, NULL), 0);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_stop(), 0);
        signal(signo, SIG_DFL);
    }
}

/* A fault in another signal's handler, which has interrupted a callback. */
static void faults_in_a_handler(int signal) {
    (void)signal;
    touch(NULL);
}
static void raises(void *arg) {
    (void)arg;
    raise(SIGUSR1);
    fault(NULL);
}
static void a_fault_of_a_handler_goes_to_the_previous_handler(void) {
    install(SA_SIGINFO);
    struct sigaction action = {.sa_handler = faults_in_a_handler, .sa_flags = SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    start((needm_config){0});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    for (int i = 0; i < rounds(100); i++) {
        seen.calls = 0;
        CHECK_EQ(needm_callback(raises, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(seen.calls, 1);
    }
    CHECK_EQ(needm_stop(), 0);
    signal(SIGSEGV, SIG_DFL);
}

/* With the default action, and with "ignore", a fault ends the process at its instruction. */
static void ignored(void) {
    signal(SIGSEGV, SIG_IGN);
    start((needm_config){0});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    raise(SIGSEGV); /* a signal that was sent is ignored */
    fault(NULL);
}
static void an_illegal_instruction_in_c(void) {
    start((needm_config){0});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    __asm__ volatile(ILLEGAL_INSTRUCTION);
}
static void after_stop(void) {
    start((needm_config){0});
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_stop(), 0);
    fault(NULL);
}
static void by_default_the_process_dies_at_the_instruction(void) {
    CHECK_DIES(ignored, SIGSEGV);
    CHECK_DIES(an_illegal_instruction_in_c, SIGILL);
    CHECK_DIES(after_stop, SIGSEGV);
}

int main(void) {
    page_size = sysconf(_SC_PAGESIZE);
    page = mmap(NULL, page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    RUN(the_previous_handler_gets_its_arguments_mask_and_stack);
    RUN(it_does_where_no_file_may_be_opened);
    RUN(it_does_where_no_file_can_be_opened);
    if (!handlers_lose_their_thread()) RUN(what_the_previous_handler_writes_to_the_context_takes_effect);
    RUN(a_handler_with_sa_resethand_is_called_once);
    RUN(a_handler_installed_after_needms_may_forward_to_it);
    if (!handlers_lose_their_thread()) RUN(signals_that_were_sent_are_no_faults);
    if (!emulated()) RUN(signals_of_linux_that_no_instruction_raised_are_no_faults);
    RUN(a_fault_of_a_handler_goes_to_the_previous_handler);
    RUN(by_default_the_process_dies_at_the_instruction);
    return SUCCESS;
}
