/* The registers that a fault's frame had are loaded before the signal stack is left: a signal
 * between the two steps, whose handler overwrites that stack, changes none of them. The parent
 * steps the child through the end of its fault. */
#include "check.h"
#include <sys/mman.h>
#include <sys/ptrace.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include <sys/user.h>

static volatile struct shared {
    uintptr_t lo, hi;
    int handled;
} *shared;

static void overwrites_the_signal_stack(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    char own[2048];
    memset(own, 0x5a, sizeof own);
    __asm__ volatile("" : : "r"(own) : "memory");
    shared->handled++;
}
static void faults(void *arg) {
    (void)arg;
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    shared->lo = (uintptr_t)lo, shared->hi = (uintptr_t)hi;
    FAULT_WITH_KNOWN_REGISTERS;
}
static void child(void) {
    struct sigaction action = {.sa_sigaction = overwrites_the_signal_stack,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(needm_start(NULL), 0);
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(ptrace(PTRACE_TRACEME, 0, NULL, NULL), 0);
    CHECK_EQ(needm_callback(faults, NULL, 0, NULL), NEEDM_EFAULT);
    _exit(SUCCESS);
}
static pid_t traced;
static int stopped_by(void) {
    int status;
    CHECK_EQ(waitpid(traced, &status, 0), traced);
    CHECK(WIFSTOPPED(status));
    return WSTOPSIG(status);
}
/* One instruction, or into the handler of `signal`; the registers after it. */
static struct user_regs_struct step(int signal) {
    struct user_regs_struct now;
    CHECK_EQ(ptrace(PTRACE_SINGLESTEP, traced, NULL, (void *)(intptr_t)signal), 0);
    CHECK_EQ(stopped_by(), SIGTRAP);
    CHECK_EQ(ptrace(PTRACE_GETREGS, traced, NULL, &now), 0);
    return now;
}
static int on_the_g(uintptr_t sp) { return sp >= shared->lo && sp <= shared->hi; }

int main(void) {
    if (emulated()) {
        fprintf(stderr, "skipped: the emulator traces no programs\n");
        return SUCCESS;
    }
    void *page = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    shared = page;
    traced = fork();
    CHECK(traced >= 0);
    if (traced == 0) child();
    CHECK_EQ(stopped_by(), SIGSEGV);
    struct user_regs_struct now = step(SIGSEGV);
    CHECK(!on_the_g(STEPPED_SP(now)));
    while (!on_the_g(STEPPED_SP(now))) now = step(0);
    uintptr_t first = STEPPED_SP(now);
    now = step(SIGUSR1);
    CHECK(STEPPED_SP(now) != first);
    while (STEPPED_SP(now) != first) now = step(0);
    CHECK_EQ(shared->handled, 1);
    while (STEPPED_SP(now) == first) now = step(0); /* the call of what runs on the G */
    CHECK(HAS_KNOWN_REGISTERS(now));
    CHECK_EQ(ptrace(PTRACE_CONT, traced, NULL, NULL), 0);
    int status;
    CHECK_EQ(waitpid(traced, &status, 0), traced);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == SUCCESS);
    return SUCCESS;
}
#endif
