/* Children of vfork share the memory, and the thread-local storage of the thread that made them. */
#include "check.h"

static volatile int inside, over, wrong;
static uint64_t own_id;
static void takes_an_m(void *arg) {
    (void)arg;
    wrong += needm_m_id(needm_self()) == own_id;
    __sync_fetch_and_add(&inside, 1);
    WAIT_UNTIL(over);
}
static void *takes_an_m_beside_it(void *arg) {
    CHECK_EQ(needm_callback(takes_an_m, NULL, 0, NULL), 0);
    return arg;
}
static void stays_while_others_come(void *arg) {
    pthread_t threads[8];
    (void)arg;
    own_id = needm_m_id(needm_self());
    for (int i = 0; i < 8; i++) {
        threads[i] = thread(takes_an_m_beside_it, NULL);
        WAIT_UNTIL(inside > i);
    }
    over = 1;
    for (int i = 0; i < 8; i++) join(threads[i]);
}
static void calls_back_in_a_vfork_child_first(void) {
    start((needm_config){0});
    int status;
    pid_t child = vfork();
    if (child == 0) _exit(needm_callback(nothing, NULL, 0, NULL) == 0 ? 7 : 1);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK_EQ(needm_callback(stays_while_others_come, NULL, 0, NULL), 0);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_stop(), 0);
}
static void a_thread_keeps_its_m_after_a_vfork_child_that_called_back_first(void) {
    CHECK_CHILD(calls_back_in_a_vfork_child_first);
}
static pid_t deferred_in;
static void notes_where(void *arg) { (void)arg, deferred_in = getpid(); }
static void has_a_vfork_child_that_faults(void *status) {
    volatile int own = 42;
    needm_defer deferred;
    CHECK_EQ(needm_defer_push(&deferred, notes_where, NULL), 0);
    pid_t child = vfork();
    if (child == 0) {
        fault(NULL);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, status, 0), child);
    CHECK_EQ(own, 42);
}
static void a_fault_of_a_vfork_child_is_its_own(void) {
    int status = 0;
    pid_t here = getpid();
    start((needm_config){0});
    int result = needm_callback(has_a_vfork_child_that_faults, &status, 0, NULL);
    if (getpid() != here) _exit(1);
    CHECK_EQ(result, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK_EQ(deferred_in, here);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    if (emulated()) return SUCCESS; /* it makes a child of fork */
    RUN(a_thread_keeps_its_m_after_a_vfork_child_that_called_back_first);
    RUN(a_fault_of_a_vfork_child_is_its_own);
    return SUCCESS;
}
