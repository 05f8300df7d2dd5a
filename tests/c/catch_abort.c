/* NEEDM_CATCH_ABORT: abort() in a callback is an error of the callback; anywhere else, and from another
 * thread, SIGABRT ends the process as ever. */
#include "check.h"
#include <sys/resource.h>

static void aborts(void *arg) { abort(), (void)arg; }
static void raises(void *arg) { raise(SIGABRT), (void)arg; }
static int ran;
static void is_deferred(void *arg) { ran++, (void)arg; }
static void defers_and_aborts(void *arg) {
    needm_defer one;
    CHECK_EQ(needm_defer_push(&one, is_deferred, NULL), 0);
    abort();
    (void)arg;
}
static void recovers(void *arg) { CHECK(needm_recover(NULL)); (void)arg; }
static void recovers_from_abort(void *arg) {
    needm_defer one;
    CHECK_EQ(needm_defer_push(&one, recovers, NULL), 0);
    abort();
    (void)arg;
}
static void nests(void *arg) {
    CHECK_EQ(needm_callback(aborts, NULL, 0, NULL), NEEDM_EFAULT);
    (void)arg;
}
static void *aborts_many_times(void *arg) {
    sigset_t before, after;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
    for (int i = 0; i < rounds(1000); i++) {
        needm_panic_info info = {.size = sizeof info};
        CHECK_EQ(needm_callback(i % 2 ? aborts : raises, NULL, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.signo, SIGABRT);
        CHECK_EQ(info.addr, 0);
        CHECK_EQ(info.kind, NEEDM_EFAULT);
        CHECK_EQ(needm_callback(nests, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(recovers_from_abort, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(fault, NULL, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.signo, SIGSEGV);
    }
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    for (int number = 1; number < 32; number++)
        CHECK_EQ(sigismember(&before, number), sigismember(&after, number));
    return arg;
}
static void an_abort_in_a_callback_is_an_error(void) {
    start((needm_config){.flags = NEEDM_CATCH_ABORT});
    aborts_many_times(NULL);
    if (!handlers_lose_their_thread()) {
        pthread_t all[3];
        for (int i = 0; i < 3; i++) all[i] = thread(aborts_many_times, NULL);
        for (int i = 0; i < 3; i++) join(all[i]);
    }
    ran = 0;
    CHECK_EQ(needm_callback(defers_and_aborts, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(ran, 1);
    CHECK_EQ(needm_stop(), 0);
}

/* Then Linux does not say whence a signal comes. */
static void no_room_for_signals(void) {
    CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){0, 0}), 0);
    an_abort_in_a_callback_is_an_error();
}
static void an_abort_needs_no_room_for_signals(void) { CHECK_CHILD(no_room_for_signals); }

static uint32_t flags = NEEDM_CATCH_ABORT;
static void dies_outside(void) {
    start((needm_config){.flags = flags});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    abort();
}
static void dies_in_c(void) {
    start((needm_config){.flags = flags});
    needm_callback(nests, NULL, 0, NULL);
    void calls_c(void *);
    needm_callback(calls_c, NULL, 0, NULL);
}
void calls_c(void *arg) { needm_ccall(aborts, arg); }
static void dies_without_the_flag(void) {
    start((needm_config){0});
    needm_callback(aborts, NULL, 0, NULL);
}
static void dies_unrecovered(void) {
    start((needm_config){.flags = NEEDM_CATCH_ABORT | NEEDM_UNRECOVERED_ABORTS});
    needm_callback(aborts, NULL, 0, NULL);
}
static void dies_unrecovered_with_deferred(void) {
    start((needm_config){.flags = NEEDM_CATCH_ABORT | NEEDM_UNRECOVERED_ABORTS});
    needm_callback(defers_and_aborts, NULL, 0, NULL);
}
/* A watchdog of the host's own sends it to the thread in a callback. */
static volatile int inside;
static pthread_t victim;
static void spins(void *arg) {
    sigset_t none;
    sigemptyset(&none);
    /* Its arguments are in registers afterwards, as those of an abort may be. */
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &none, NULL), 0);
    inside = 1;
    for (;;) (void)*(volatile int *)arg;
}
static void *is_sent_one(void *arg) {
    int zero = 0;
    needm_callback(spins, &zero, 0, NULL);
    return arg;
}
static void dies_of_a_watchdog(void) {
    start((needm_config){.flags = flags});
    victim = thread(is_sent_one, NULL);
    WAIT_UNTIL(inside);
    pthread_kill(victim, SIGABRT);
    join(victim);
}
static void elsewhere_it_ends_the_process(void) {
    CHECK_DIES(dies_outside, SIGABRT);
    CHECK_DIES(dies_in_c, SIGABRT);
    CHECK_DIES(dies_without_the_flag, SIGABRT);
    CHECK_DIES(dies_unrecovered, SIGABRT);
    CHECK_DIES(dies_unrecovered_with_deferred, SIGABRT);
    if (!emulated()) CHECK_DIES(dies_of_a_watchdog, SIGABRT);
}

/* A handler that was there before sees what is not a callback's. */
static volatile int seen;
static void sees(int number) { seen++, (void)number; }
static void a_previous_handler_sees_the_rest(void) {
    handle(SIGABRT, sees);
    start((needm_config){.flags = NEEDM_CATCH_ABORT});
    raise(SIGABRT);
    CHECK_EQ(needm_callback(raises, NULL, 0, NULL), NEEDM_EFAULT);
    raise(SIGABRT);
    CHECK_EQ(needm_stop(), 0);
    raise(SIGABRT);
    CHECK_EQ(seen, 3);
}

int main(void) {
    RUN(an_abort_in_a_callback_is_an_error);
    RUN(an_abort_needs_no_room_for_signals);
    if (!handlers_lose_their_thread()) RUN(a_previous_handler_sees_the_rest);
    signal(SIGABRT, SIG_DFL);
    RUN(elsewhere_it_ends_the_process);
    return SUCCESS;
}
