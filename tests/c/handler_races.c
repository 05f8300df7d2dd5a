/* The host installs a handler just as needm, which starts or stops, is about to change that signal's: none
 * is lost, and the one that was installed last is called. */
#include "filter.h"

#if !defined __x86_64__
int main(void) {
    fprintf(stderr, "skipped: where the arguments of a system call are is written here for x86_64\n");
    return SUCCESS;
}
#else
#include <setjmp.h>
#include <ucontext.h>

/* A filter stops each of needm's calls that change an action: those from this program's code. Its handler
 * makes the call for needm, by the C library's code. */
extern char __executable_start[], etext[];
static int calls, host_comes_at;
static long signal_of_the_call;
static volatile int called;
static sigjmp_buf after_the_fault;

static void before(int signal) {
    (void)signal;
    called = 1;
    siglongjmp(after_the_fault, 1);
}
static void latest(int signal) {
    (void)signal;
    called = 2;
    siglongjmp(after_the_fault, 1);
}
static void makes_the_call(int signal, siginfo_t *info, void *context) {
    greg_t *of = ((ucontext_t *)context)->uc_mcontext.gregs;
    CHECK_EQ(signal, SIGSYS);
    CHECK_EQ(info->si_syscall, SYS_rt_sigaction);
    if (++calls == host_comes_at) {
        struct sigaction action = {.sa_handler = latest};
        signal_of_the_call = of[REG_RDI];
        CHECK_EQ(sigaction((int)of[REG_RDI], &action, NULL), 0);
    }
    of[REG_RAX] = syscall(SYS_rt_sigaction, of[REG_RDI], of[REG_RSI], of[REG_RDX], of[REG_R10]) ? -errno : 0;
}
static void stop_at_changes(void) {
    uint64_t from = (uint64_t)(uintptr_t)__executable_start, to = (uint64_t)(uintptr_t)etext;
    enum { IP = offsetof(struct seccomp_data, instruction_pointer), NEW = offsetof(struct seccomp_data, args[1]) };
    CHECK_EQ(from >> 32, to >> 32);
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 0, 9),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, IP + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(from >> 32), 0, 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, IP),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)from, 0, 5),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)to, 4, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NEW + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NEW),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    struct sigaction action = {.sa_sigaction = makes_the_call, .sa_flags = SA_SIGINFO | SA_NODEFER};
    CHECK_EQ(sigaction(SIGSYS, &action, NULL), 0);
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}
static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
enum { SIGNALS = sizeof signals / sizeof *signals };

static void is_called(int signal, int number) {
    called = 0;
    if (sigsetjmp(after_the_fault, 1) == 0) raise(signal);
    CHECK_EQ(called, number);
}
static void each_calls_its_own(void) {
    for (int i = 0; i < SIGNALS; i++) is_called(signals[i], signals[i] == signal_of_the_call ? 2 : 1);
}
/* Whether there was such a change. */
static int the_host_comes_at(int change, int in_stop) {
    for (int i = 0; i < SIGNALS; i++) CHECK(signal(signals[i], before) != SIG_ERR);
    signal_of_the_call = 0;
    calls = 0;
    host_comes_at = in_stop ? 0 : change;
    start((needm_config){0});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    each_calls_its_own();
    CHECK_EQ(needm_detach(), 0);
    int came = signal_of_the_call != 0;
    calls = 0;
    host_comes_at = in_stop ? change : 0;
    CHECK_EQ(needm_stop(), 0);
    each_calls_its_own();
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction now;
        CHECK_EQ(sigaction(signals[i], NULL, &now), 0);
        CHECK(now.sa_handler == (signals[i] == signal_of_the_call ? latest : before));
    }
    return came || signal_of_the_call != 0;
}
static void no_handler_is_lost(void) {
    stop_at_changes();
    for (int in_stop = 0; in_stop < 2; in_stop++) {
        int changes = 0;
        while (the_host_comes_at(changes + 1, in_stop)) changes++;
        CHECK(changes >= SIGNALS);
    }
}

int main(void) {
    if (!emulated()) RUN(no_handler_is_lost);
    return SUCCESS;
}
#endif
