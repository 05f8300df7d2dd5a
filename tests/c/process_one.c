/* Process 1 of a PID namespace ignores the signals that it sends itself and does not handle: needm
 * ends it all the same, and keeps its own handlers. */
#include "check.h"
#include <sched.h>

enum { REFUSED = 77, ABORTED = 128 + SIGABRT, FAULTED = 128 + SIGSEGV };

/* Runs body() as process 1; its exit status, as a shell would tell it. */
static int as_process_one(void (*body)(void)) {
    int status;
    pid_t helper = fork();
    CHECK(helper >= 0);
    if (helper == 0) {
        if (unshare(CLONE_NEWPID) != 0) _exit(REFUSED);
        pid_t first = fork();
        CHECK(first >= 0);
        if (first == 0) {
            CHECK_EQ(getpid(), 1);
            body();
            _exit(SUCCESS);
        }
        CHECK_EQ(waitpid(first, &status, 0), first);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    CHECK_EQ(waitpid(helper, &status, 0), helper);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void panics_outside_a_callback(void) {
    start((needm_config){0});
    needm_panic(NULL);
}
static void faults_unrecovered(void) {
    start((needm_config){.flags = NEEDM_UNRECOVERED_ABORTS});
    needm_callback(fault, NULL, 0, NULL);
}
static void is_sent_signals(void) {
    int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    start((needm_config){0});
    for (int i = 0; i < 5; i++) {
        raise(signals[i]);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    }
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    if (as_process_one(is_sent_signals) == REFUSED) {
        fprintf(stderr, "no PID namespace may be made here\n");
        return SUCCESS;
    }
    CHECK_EQ(as_process_one(is_sent_signals), SUCCESS);
    if (emulated()) return SUCCESS; /* the emulator itself does not end there */
    CHECK_EQ(as_process_one(panics_outside_a_callback), ABORTED);
    CHECK_EQ(as_process_one(faults_unrecovered), FAULTED);
    return SUCCESS;
}
