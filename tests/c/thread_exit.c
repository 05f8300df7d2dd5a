/* However a thread exits, its M is used again, and is as new. */
#include "busy.h"
#include "filter.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>

static uint32_t binding;
static uint64_t id, seed;
static pthread_barrier_t gate;
static void take_id(void *out) { *(uint64_t *)out = needm_m_id(needm_self()); }

static void leave(void *arg) { pthread_exit(arg); }
static void leave_from_c(void *arg) { needm_ccall(leave, arg); }
static void cancelled(void *arg) {
    (void)arg;
    pthread_cancel(pthread_self());
    pthread_testcancel();
}
static volatile pid_t exiting_thread;
static void raw_exit(void *arg) {
    (void)arg;
    exiting_thread = (pid_t)syscall(SYS_gettid);
    syscall(SYS_exit, 0);
}
/* The C library does not notice such an exit, and cannot join the thread. */
static void wait_for_raw_exit(pthread_t made) {
    const struct timespec nap = {0, 100000};
    pthread_detach(made);
    while (exiting_thread == 0 || syscall(SYS_tgkill, getpid(), exiting_thread, 0) == 0)
        nanosleep(&nap, NULL);
}
static pthread_key_t late;
static void call_back_late(void *value) { /* needm's destructor may have run already */
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    if ((long)value > 1) pthread_setspecific(late, (void *)((long)value - 1));
}
static void (*how)(void *);
static int no_robust_lists;
static void *exits(void *arg) {
    if (how == call_back_late)
        pthread_setspecific(late, (void *)3);
    else if (arg) { /* inside a callback */
        needm_callback(how, NULL, 0, NULL);
        CHECK(0);
    }
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    if (how != call_back_late) how(NULL);
    return NULL;
}
static void count_after(int threads, void (*exit_by)(void *), int inside) {
    start((needm_config){.binding = binding});
    how = exit_by;
    for (int i = 0; i < threads; i++) {
        exiting_thread = 0;
        pthread_t made = thread(exits, inside ? &how : NULL);
        if (exit_by == raw_exit)
            wait_for_raw_exit(made);
        else
            join(made);
    }
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    if (stats().ms_total > 4) fprintf(stderr, "made %d\n", (int)stats().ms_total);
    /* Without robust lists, raw exits are only noticed when Ms are short. */
    CHECK(stats().ms_total <= (no_robust_lists && exit_by == raw_exit ? 64 : 4));
    CHECK_EQ(needm_stop(), 0);
}
static void however_a_thread_exits_its_m_is_used_again(void) {
    int many = rounds(2000);
    count_after(many, leave, 0);
    count_after(many, leave, 1);
    count_after(many, leave_from_c, 1);
    count_after(many, cancelled, 0);
    count_after(many, cancelled, 1);
    count_after(many, call_back_late, 0);
    count_after(rounds(400), raw_exit, 0);
    count_after(rounds(400), raw_exit, 1);
}

static void exits_without_robust_lists(void) {
    without_robust_lists();
    no_robust_lists = 1;
    however_a_thread_exits_its_m_is_used_again();
}
static void the_same_without_robust_lists(void) {
    if (emulated()) return; /* it has none: the other test shows the same */
    CHECK_CHILD(exits_without_robust_lists);
}

#ifdef __GLIBC__
/* glibc gives a new thread the memory of a joined one. After a raw exit the value of needm's
 * key is still there. */
static void *waits_and_calls(void *arg) {
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    CHECK_EQ(needm_callback(take_id, &id, 0, NULL), 0);
    pthread_barrier_wait(&gate);
    pthread_barrier_wait(&gate);
    uint64_t now = 0;
    CHECK_EQ(needm_callback(take_id, &now, 0, NULL), 0);
    CHECK_EQ(now, id);
    return arg;
}
static void *calls_and_exits(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    raw_exit(arg);
    return arg;
}
static void *does_nothing(void *arg) { return arg; }
static void a_key_that_a_raw_exit_left_unbinds_no_other_thread(void) {
    pthread_barrier_init(&gate, NULL, 2);
    start((needm_config){0});
    pthread_t other = thread(waits_and_calls, NULL);
    pthread_barrier_wait(&gate);
    join(thread(calls_and_exits, NULL));
    pthread_barrier_wait(&gate); /* the other thread takes the record of the one that has exited */
    pthread_barrier_wait(&gate);
    CHECK_EQ(stats().ms_bound, 1);
    join(thread(does_nothing, NULL));
    CHECK_EQ(stats().ms_bound, 1);
    pthread_barrier_wait(&gate);
    join(other);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(needm_stop(), 0);
}
#endif


#ifdef __GLIBC__
/* The first callback is made in a handler that has interrupted the C library while it changes
 * its list of robust locks: it then overwrites what needm has linked there. */
static struct robust_list_head *robust_head(void) {
    struct robust_list_head *head;
    size_t size;
    CHECK_EQ(syscall(SYS_get_robust_list, 0, &head, &size), 0);
    return head;
}
static void first_callback_in_a_change(void) {
    struct robust_list_head *head = robust_head();
    struct robust_list *first = head->list.next, entry;
    head->list_op_pending = &entry;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    head->list.next = first;
    head->list_op_pending = NULL;
}
static void *calls_in_a_change_and_exits(void *arg) {
    first_callback_in_a_change();
    raw_exit(arg);
    return arg;
}
static void *calls_in_a_change_and_again(void *arg) {
    struct robust_list_head *head = robust_head();
    struct robust_list *first = head->list.next;
    first_callback_in_a_change();
    CHECK(head->list.next == first);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK(head->list.next != first);
    return arg;
}
static void an_exit_is_noticed_after_a_first_callback_in_a_change_of_robust_locks(void) {
    if (emulated()) return; /* no robust lists */
    start((needm_config){0});
    for (int i = 0; i < 20; i++) {
        exiting_thread = 0;
        wait_for_raw_exit(thread(calls_in_a_change_and_exits, NULL));
        for (int j = 0; stats().ms_bound != 0; j++) {
            CHECK(j < 300);
            CHECK_EQ(needm_attach(), 0);
            CHECK_EQ(needm_detach(), 0);
        }
        join(thread(calls_in_a_change_and_again, NULL));
        CHECK_EQ(stats().ms_bound, 0);
    }
    CHECK_EQ(needm_stop(), 0);
}
#endif

/* Whatever a thread was doing when it exited, its M is as new for the next thread. What was deferred
 * has run, where the C library unwinds the stack of a thread that exits. */
static int deferred;
static void counts(void *arg) {
    (void)arg;
    deferred++;
}
static void defers_and_exits(void *depth) {
    needm_defer d[2];
    id = needm_m_id(needm_self());
    CHECK_EQ(needm_defer_push(&d[0], counts, NULL), 0);
    CHECK_EQ(needm_defer_push(&d[1], counts, NULL), 0);
    if (depth) needm_callback(defers_and_exits, (char *)depth - 1, 0, NULL);
    how(NULL);
}
static void *defers_and_exits_thread(void *arg) {
    needm_callback(defers_and_exits, (void *)3, 0, NULL);
    CHECK(!arg && !"it has exited");
    return arg;
}
static volatile int faults_of_c;
static char *page;
static void makes_it_writable(int signal) {
    (void)signal;
    faults_of_c++;
    CHECK_EQ(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
}
static void touches(void) {
    int before = faults_of_c;
    CHECK_EQ(mprotect(page, 4096, PROT_NONE), 0);
    errno = 99;
    *(volatile char *)page = 1;
    CHECK_EQ(errno, 99);
    CHECK_EQ(faults_of_c, before + 1);
}
static void looks_around(void *arg) {
    void *lo, *hi;
    char here;
    CHECK_EQ(needm_m_id(needm_self()), id);
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    CHECK((char *)hi - &here < 4096); /* from the top of the stack again */
    CHECK_EQ(needm_recover(NULL), 0);
    (void)arg;
}
static void *uses_it_next(void *arg) {
    touches();
    CHECK_EQ(needm_callback(looks_around, NULL, 0, NULL), 0);
    touches();
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    touches();
    return arg;
}
static void a_returned_m_is_as_new(void) {
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    handle(SIGSEGV, makes_it_writable);
    start((needm_config){.binding = binding});
    for (int i = 0; i < rounds(200); i++) {
        how = i % 2 ? leave : leave_from_c;
        deferred = 0;
        join(thread(defers_and_exits_thread, NULL));
#ifdef __GLIBC__
        CHECK_EQ(deferred, 8);
#else
        CHECK_EQ(deferred, 0);
#endif
        join(thread(uses_it_next, NULL));
    }
    CHECK(stats().ms_total <= 3);
    CHECK_EQ(needm_stop(), 0);
    signal(SIGSEGV, SIG_DFL);
}

/* Cancelled by another thread, anywhere. */
static void *sleeps_for_ever(void *asynchronously) {
    if (asynchronously) pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;) {
        needm_callback(sleeps_in_c, NULL, 0, NULL);
        needm_callback(nothing, NULL, 0, NULL);
        if (!asynchronously) pthread_testcancel();
    }
    return NULL;
}
#ifdef __GLIBC__
enum { CANCEL_TYPES = 2 };
#else
enum { CANCEL_TYPES = 1 }; /* musl runs a cancelled thread's destructors on an unaligned stack */
#endif
static void a_thread_may_be_cancelled_anywhere(void) {
    uint64_t random = seed;
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_attach(), 0);
    for (int asynchronously = 0; asynchronously < CANCEL_TYPES; asynchronously++)
        for (int i = 0; i < rounds(300); i++) {
            pthread_t made = thread(sleeps_for_ever, asynchronously ? &binding : NULL);
            usleep(next(&random) % 300);
            CHECK_EQ(pthread_cancel(made), 0);
            join(made);
            CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        }
    CHECK(stats().ms_total <= 8);
    CHECK_EQ(stats().ms_bound, 1);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
}


int main(int argc, char **argv) {
    seed = parse_seed(argc, argv, &binding);
    pthread_key_create(&late, call_back_late);
    /* First: needm finds out once for the process where robust lists are. */
    RUN(the_same_without_robust_lists);
#ifdef __GLIBC__ /* musl waits for ever for a thread that has exited so */
    if (!emulated()) RUN(a_key_that_a_raw_exit_left_unbinds_no_other_thread); /* it is noticed late */
    RUN(an_exit_is_noticed_after_a_first_callback_in_a_change_of_robust_locks);
#endif
    no_robust_lists = emulated();
    RUN(however_a_thread_exits_its_m_is_used_again);
    RUN(a_returned_m_is_as_new);
    RUN(a_thread_may_be_cancelled_anywhere);
    return SUCCESS;
}
