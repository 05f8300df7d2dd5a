/* Children of vfork share the memory, and the thread-local storage of the thread that made them. */
#include "check.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

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
static void (*of_the_child)(void *);
static void has_a_vfork_child_that_faults(void *status) {
    volatile int own = 42;
    needm_defer deferred;
    CHECK_EQ(needm_defer_push(&deferred, notes_where, NULL), 0);
    pid_t child = vfork();
    if (child == 0) {
        of_the_child(NULL);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, status, 0), child);
    CHECK_EQ(own, 42);
}
static void a_fault_of_a_vfork_child_is_its_own(void (*way)(void *)) {
    int status = 0;
    of_the_child = way;
    pid_t here = getpid();
    start((needm_config){0});
    int result = needm_callback(has_a_vfork_child_that_faults, &status, 0, NULL);
    if (getpid() != here) _exit(1);
    CHECK_EQ(result, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK_EQ(deferred_in, here);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_stop(), 0);
}
static void a_fault_or_an_overflow_of_a_vfork_child_is_its_own(void) {
    a_fault_of_a_vfork_child_is_its_own(fault);
    a_fault_of_a_vfork_child_is_its_own(overflow);
}

/* A child whose own callback faults or overflows dies of it. Its parent goes on as before, in a callback
 * and outside. */
static void calls_back_in_a_child(void *arg) {
    int status;
    pid_t child = vfork();
    (void)arg;
    if (child == 0) {
        needm_callback(of_the_child, NULL, 0, NULL);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
static void *makes_children(void *arg) {
    for (int i = 0; i < 8; i++) {
        long sum = 0;
        of_the_child = i & 1 ? overflow : fault;
        if (i & 2)
            calls_back_in_a_child(NULL);
        else
            CHECK_EQ(needm_callback(calls_back_in_a_child, NULL, 0, NULL), 0);
        if (i & 4) CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(sum, i & 4 ? 2 : 1);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(needm_depth(), 0);
    }
    CHECK_EQ(needm_detach(), 0);
    return arg;
}
static void callbacks_of_vfork_children_fault_and_overflow(void) {
    for (uint32_t binding = 0; binding < 2; binding++) {
        start((needm_config){.binding = binding});
        join(thread(makes_children, NULL));
        makes_children(NULL);
        CHECK_EQ(stats().ms_bound, 0);
        CHECK(stats().ms_total <= 4);
        CHECK_EQ(needm_stop(), 0);
    }
}

#if HAS_MOVABLE_TLS && defined __GLIBC__
/* A task of another process that shares the memory, and has thread-local storage of its own. Linux finds
 * no such thread in this process, but the task lives: its M stays its own. */
enum { PAGE = 4096, TCB = 64, TASK_STACK = 256 * 1024 };
static volatile int in_task, may_end, task_failed;
static uint64_t of_the_task;
static void stays_in_the_task(void *arg) {
    (void)arg;
    of_the_task = needm_m_id(needm_self());
    in_task = 1;
    WAIT_UNTIL(may_end);
    task_failed += needm_m_id(needm_self()) != of_the_task;
}
static int task(void *arg) {
    (void)arg;
    for (int i = 0; i < 2; i++) task_failed += needm_callback(stays_in_the_task, NULL, 0, NULL) != 0;
    syscall(SYS_exit_group, 7);
    return 0;
}
static void a_task_that_shares_the_memory_is_not_dead(void) {
    static char record[2 * PAGE];
    char *map = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *stack = malloc(TASK_STACK), *own = THREAD_POINTER, *pointer = map + 2 * PAGE - TCB;
    pthread_key_t key;
    int status;
    CHECK(map != MAP_FAILED && stack);
    /* So many keys that needm has none: glibc cannot set a value on that task. */
    for (int i = 0; i < 32; i++) CHECK_EQ(pthread_key_create(&key, NULL), 0);
    start((needm_config){.size = 0});
    /* Of what is below, as much as there is: a new mapping may begin in the same page. */
    unsigned char there;
    size_t in_page = (uintptr_t)own % PAGE, below = mincore(own - in_page - PAGE, PAGE, &there) == 0 ? PAGE : in_page;
    memcpy(pointer - below, own - below, below + TCB);
    SET_SELF(pointer, record);
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SETTLS | SIGCHLD;
    pid_t pid = clone(task, stack + TASK_STACK, flags, NULL, NULL, pointer, NULL);
    CHECK(pid > 0);
    WAIT_UNTIL(in_task);
    /* All that look for Ms of dead threads leave this one alone. */
    inside = over = wrong = 0;
    own_id = of_the_task;
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        threads[i] = thread(takes_an_m_beside_it, NULL);
        WAIT_UNTIL(inside > i);
    }
    over = 1;
    for (int i = 0; i < 8; i++) join(threads[i]);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(stats().ms_reclaimed, 0);
    may_end = 1;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK_EQ(task_failed, 0);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
}
#else
static void a_task_that_shares_the_memory_is_not_dead(void) {}
#endif

int main(void) {
    if (emulated()) return SUCCESS; /* it makes a child of fork */
    RUN(a_thread_keeps_its_m_after_a_vfork_child_that_called_back_first);
    RUN(a_fault_or_an_overflow_of_a_vfork_child_is_its_own);
    RUN(callbacks_of_vfork_children_fault_and_overflow);
    RUN(a_task_that_shares_the_memory_is_not_dead);
    return SUCCESS;
}
