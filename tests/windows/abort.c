/* NEEDM_CATCH_ABORT: abort() in a callback is an error of the callback; anywhere else it ends the
 * process as ever. */
#include "../c/check.h"

enum { SIGNO = 6 }; /* POSIX's number, on every system */
static void aborts(void *arg) { abort(), (void)arg; }
static void raises(void *arg) { raise(SIGABRT), (void)arg; }
static volatile int ran;
static void is_deferred(void *arg) { ran++, (void)arg; }
static void defers_and_aborts(void *arg) {
    needm_defer one;
    CHECK_EQ(needm_defer_push(&one, is_deferred, arg), 0);
    abort();
}
static void recovers(void *arg) { CHECK(needm_recover(arg)); }
static void recovers_from_abort(void *arg) {
    needm_defer one;
    CHECK_EQ(needm_defer_push(&one, recovers, arg), 0);
    abort();
}
static void nests(void *arg) { CHECK_EQ(needm_callback(aborts, arg, 0, NULL), NEEDM_EFAULT); }
static void *aborts_many_times(void *arg) {
    for (int i = 0; i < rounds(400); i++) {
        needm_panic_info info = {.size = sizeof info};
        CHECK_EQ(needm_callback(i % 2 ? aborts : raises, arg, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.signo, SIGNO);
        CHECK_EQ(info.addr, 0);
        CHECK_EQ((DWORD)info.code, 0x40000015);
        CHECK_EQ(info.kind, NEEDM_EFAULT);
        CHECK_EQ(needm_callback(nests, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(recovers_from_abort, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(fault, NULL, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.signo, SIGSEGV);
    }
    return arg;
}
static void an_abort_in_a_callback_is_an_error(void) {
    start((needm_config){.flags = NEEDM_CATCH_ABORT});
    aborts_many_times(NULL);
    join(thread(aborts_many_times, NULL));
    CHECK_EQ(needm_callback(defers_and_aborts, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(ran, 1);
    CHECK_EQ(needm_stop(), 0);
}

/* A handler that was there before sees what is not a callback's, and has its place again afterwards. */
static volatile int seen;
static void sees(int number) {
    CHECK_EQ(number, SIGABRT);
    seen++;
}
static void a_previous_handler_sees_the_rest(void) {
    CHECK(signal(SIGABRT, sees) != SIG_ERR);
    start((needm_config){.flags = NEEDM_CATCH_ABORT});
    for (int i = 1; i < 4; i++) {
        raise(SIGABRT);
        CHECK_EQ(seen, i);
        CHECK_EQ(needm_callback(raises, NULL, 0, NULL), NEEDM_EFAULT);
    }
    CHECK_EQ(needm_stop(), 0);
    CHECK(signal(SIGABRT, SIG_DFL) == sees);
    start((needm_config){.flags = NEEDM_CATCH_ABORT});
    CHECK(signal(SIGABRT, sees) != sees); /* the program's own, later: it stays */
    CHECK_EQ(needm_stop(), 0);
    CHECK(signal(SIGABRT, SIG_DFL) == sees);
}

static void dies_outside(void) {
    start((needm_config){.flags = NEEDM_CATCH_ABORT});
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    abort();
}
static void calls_c(void *arg) { needm_ccall(aborts, arg); }
static void dies_in_c(void) {
    start((needm_config){.flags = NEEDM_CATCH_ABORT});
    CHECK_EQ(needm_callback(nests, NULL, 0, NULL), 0);
    needm_callback(calls_c, NULL, 0, NULL);
}
static void dies_without_the_flag(void) {
    start((needm_config){0});
    needm_callback(aborts, NULL, 0, NULL);
}
static void dies_without_handlers(void) {
    start((needm_config){.flags = NEEDM_CATCH_ABORT | NEEDM_NO_SIGNALS});
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
static void elsewhere_it_ends_the_process(void) {
    CHECK_DIES(dies_outside, SIGABRT);
    CHECK_DIES(dies_in_c, SIGABRT);
    CHECK_DIES(dies_without_the_flag, SIGABRT);
    CHECK_DIES(dies_without_handlers, SIGABRT);
    CHECK_DIES(dies_unrecovered, SIGABRT);
    CHECK_DIES(dies_unrecovered_with_deferred, SIGABRT);
}

int main(void) {
    RUN(an_abort_in_a_callback_is_an_error);
    RUN(a_previous_handler_sees_the_rest);
    RUN(elsewhere_it_ends_the_process);
    return SUCCESS;
}
