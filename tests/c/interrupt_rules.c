/* Which callback an interrupt ends, what is refused, and what others find of the signal. */
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static uint32_t binding;
static uint64_t seed;
static needm_m *volatile target;
static volatile int ready, asked;
static void spins(void *arg) {
    (void)arg;
    target = needm_self();
    ready = 1;
    for (;;) __asm__ volatile("");
}
/* A thread that asks once, when the callback is ready. */
static void *asks_once(void *value) {
    while (!ready) usleep(10);
    ready = 0;
    CHECK_EQ(needm_interrupt(target, value), 0);
    asked = 1;
    return NULL;
}
static int run_and_ask(void (*fn)(void *), void *arg, needm_panic_info *info) {
    asked = 0;
    pthread_t watchdog = thread(asks_once, (void *)&ready);
    int result = needm_callback(fn, arg, 0, info);
    join(watchdog);
    return result;
}
static uint64_t mask(void) {
    uint64_t now = 0;
    CHECK_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &now, sizeof now), 0);
    return now;
}

static void refused(void) {
    long sum = 0;
    CHECK_EQ(needm_interrupt((needm_m *)&sum, NULL), NEEDM_ENOTSTARTED);
    start((needm_config){.binding = binding});
    CHECK_EQ(needm_interrupt(NULL, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_attach(), 0);
    needm_m *m = needm_self();
    CHECK(m);
    for (int i = 0; i < 100; i++) {
        /* In no callback; and the next one is not ended. */
        CHECK_EQ(needm_interrupt(m, NULL), NEEDM_EINVAL);
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    }
    CHECK_EQ(sum, 100);
    CHECK_EQ(stats().interrupts, 0);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_interrupt(m, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(needm_interrupt(m, NULL), NEEDM_ENOTSTARTED);
    static const int others[] = {SIGSEGV, SIGTRAP, SIGABRT, SIGKILL, SIGSTOP, SIGTSTP, SIGCONT, SIGCHLD, 32, 33, 65, -1};
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
        needm_config config = {.size = sizeof config, .interrupt_signal = others[i]};
        CHECK_EQ(needm_start(&config), NEEDM_EINVAL);
    }
}
static int answer;
static void asks_for_itself(void *value) {
    answer = needm_interrupt(needm_self(), value);
    if (answer == 0)
        for (;;) __asm__ volatile("");
}
static void no_signals(void) {
    start((needm_config){.binding = binding, .flags = NEEDM_NO_SIGNALS});
    CHECK_EQ(needm_callback(asks_for_itself, &answer, 0, NULL), 0);
    CHECK_EQ(answer, NEEDM_EINVAL);
    CHECK_EQ(needm_stop(), 0);
}
static void a_callback_may_ask_for_itself(void) {
    needm_panic_info info = {sizeof info};
    CHECK_EQ(needm_callback(asks_for_itself, &info, 0, &info), NEEDM_EINTERRUPTED);
    CHECK(info.value == &info);
}

static int recovered;
static void recovers(void *arg) {
    needm_panic_info info = {sizeof info};
    (void)arg;
    CHECK_EQ(needm_recover(&info), 1);
    CHECK_EQ(info.kind, NEEDM_EINTERRUPTED);
    CHECK(info.value == &ready);
    recovered++;
}
static void spins_and_recovers(void *arg) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, recovers, arg), 0);
    spins(arg);
}
static void an_interrupt_can_be_recovered(void) {
    CHECK_EQ(run_and_ask(spins_and_recovers, NULL, NULL), 0);
    CHECK_EQ(recovered, 1);
}

/* Handlers of the callback's own thread. */
static int of_handler, blocked_in_handler;
static volatile int handled;
static void asks(int number) {
    (void)number;
    CHECK_EQ(needm_interrupt(needm_self(), (void *)&handled), 0);
    for (volatile int i = 0; i < 1000; i++) handled = i;
    handled = -1; /* no handler is ended */
}
static void *signals(void *thread) {
    while (!ready) usleep(10);
    usleep(200);
    ready = 0;
    pthread_kill(*(pthread_t *)thread, SIGUSR1);
    return NULL;
}
static void in_c(void *arg) {
    (void)arg;
    target = needm_self();
    ready = 1;
    while (!handled) usleep(10);
}
static void calls_c(void *arg) {
    CHECK_EQ(needm_ccall(in_c, arg), 0);
    CHECK(!"C has returned");
}
static void *handlers_ask(void *arg) {
    pthread_t self = pthread_self();
    struct sigaction action = {.sa_handler = asks, .sa_flags = of_handler}, before;
    if (blocked_in_handler) sigaddset(&action.sa_mask, SIGURG);
    CHECK_EQ(sigaction(SIGUSR1, &action, &before), 0);
    needm_callback(nothing, NULL, 0, NULL);
    uint64_t then = mask();
    for (int i = 0; i < rounds(40); i++) {
        needm_panic_info info = {sizeof info};
        pthread_t signaller = thread(signals, &self);
        handled = 0;
        CHECK_EQ(needm_callback(i % 4 == 3 ? calls_c : spins, NULL, 0, &info), NEEDM_EINTERRUPTED);
        join(signaller);
        CHECK(info.value == &handled);
        CHECK_EQ(handled, -1);
        CHECK(mask() == then);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    }
    CHECK_EQ(sigaction(SIGUSR1, &before, NULL), 0);
    return arg;
}
static void a_handler_may_ask_and_is_not_ended(void) {
    for (int i = 0; i < 16; i++) {
        of_handler = (i & 1 ? SA_ONSTACK : 0) | (i & 2 || !ALL_FRAMES_HAVE_CONTEXTS ? SA_SIGINFO : 0) | (i & 4 ? SA_RESTART : 0);
        blocked_in_handler = i & 8;
        join(thread(handlers_ask, NULL));
    }
}
/* A handler that takes long, on either stack, while another thread asks. */
static void takes_long(int number) {
    (void)number;
    handled = 1;
    while (!asked) __asm__ volatile("");
    usleep(300);
    handled = 2;
}
static void *asks_during_a_handler(void *thread) {
    while (!ready) usleep(10);
    ready = 0;
    pthread_kill(*(pthread_t *)thread, SIGUSR1);
    while (!handled) usleep(10);
    CHECK_EQ(needm_interrupt(target, NULL), 0);
    asked = 1;
    return NULL;
}
static void *a_handler_takes_long(void *arg) {
    pthread_t self = pthread_self();
    struct sigaction action = {.sa_handler = takes_long, .sa_flags = of_handler}, before;
    CHECK_EQ(sigaction(SIGUSR1, &action, &before), 0);
    uint64_t then = mask();
    for (int i = 0; i < rounds(20); i++) {
        pthread_t other = thread(asks_during_a_handler, &self);
        handled = asked = 0;
        CHECK_EQ(needm_callback(spins, NULL, 0, NULL), NEEDM_EINTERRUPTED);
        CHECK_EQ(handled, 2);
        CHECK(mask() == then);
        join(other);
    }
    CHECK_EQ(sigaction(SIGUSR1, &before, NULL), 0);
    return arg;
}
static void a_handler_that_has_interrupted_the_callback_runs_to_its_end(void) {
    for (int i = 0; i < 2; i++) {
        of_handler = SA_SIGINFO | (i ? SA_ONSTACK : 0);
        join(thread(a_handler_takes_long, NULL));
    }
}

/* The signal blocked. */
static void blocks_and_unblocks(void *sum) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    target = needm_self();
    ready = 1;
    while (!asked) usleep(10);
    usleep(100);
    add(sum);
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    CHECK(!"the signal has come");
}
static void a_blocked_signal_comes_when_it_is_unblocked(void) {
    long sum = 0;
    CHECK_EQ(run_and_ask(blocks_and_unblocks, &sum, NULL), NEEDM_EINTERRUPTED);
    CHECK_EQ(sum, 1);
}
/* Returns with the signal pending: the request is over with the callback. */
static volatile long later;
static void returns_with_it_pending(void *arg) {
    sigset_t set;
    (void)arg;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    target = needm_self();
    ready = 1;
    while (!asked) usleep(10);
}
static void unblocks_it(void *arg) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    add(arg);
}
static void a_request_does_not_outlive_its_callback(void) {
    for (int i = 0; i < 20; i++) {
        int result = run_and_ask(returns_with_it_pending, NULL, NULL);
        CHECK(result == 0 || result == NEEDM_EINTERRUPTED);
        CHECK_EQ(needm_callback(unblocks_it, (void *)&later, 0, NULL), 0);
        CHECK_EQ(later, i + 1);
    }
}

/* Others' SIGURG. */
static volatile int others, flags_seen;
static void counts(int number, siginfo_t *info, void *context) {
    CHECK_EQ(number, SIGURG);
    CHECK(info && context);
    CHECK(info->si_code == SI_TKILL || info->si_code == SI_USER);
    others++;
}
static void raises(void *arg) {
    (void)arg;
    raise(SIGURG);
    CHECK_EQ(others, flags_seen + 1);
}
static void the_handler_of_before_gets_the_signals_of_others(void) {
    struct sigaction action = {.sa_sigaction = counts, .sa_flags = SA_SIGINFO}, after;
    CHECK_EQ(sigaction(SIGURG, &action, NULL), 0);
    start((needm_config){.binding = binding});
    for (int i = 0; i < rounds(100); i++) {
        flags_seen = others;
        CHECK_EQ(needm_callback(raises, NULL, 0, NULL), 0);
        flags_seen = others;
        raises(NULL);
        flags_seen = others;
        CHECK_EQ(run_and_ask(spins, NULL, NULL), NEEDM_EINTERRUPTED);
        CHECK_EQ(others, flags_seen); /* needm's own is not forwarded */
    }
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(sigaction(SIGURG, NULL, &after), 0);
    CHECK(after.sa_sigaction == counts);
    handle(SIGURG, SIG_DFL);
}
static void raises_urg(void) {
    raise(SIGURG);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    raise(SIGURG);
}
/* Linux sends the signal itself, with a code like a fault's: data came out of band. */
static void gets_urgent_data(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof here;
    int all = socket(AF_INET, SOCK_STREAM, 0), to = socket(AF_INET, SOCK_STREAM, 0);
    if (all < 0 || bind(all, (struct sockaddr *)&here, size) != 0) return; /* no network */
    CHECK_EQ(listen(all, 1), 0);
    CHECK_EQ(getsockname(all, (struct sockaddr *)&here, &size), 0);
    CHECK_EQ(connect(to, (struct sockaddr *)&here, size), 0);
    int from = accept(all, NULL, NULL);
    CHECK_EQ(fcntl(from, F_SETOWN, getpid()), 0);
    CHECK_EQ(send(to, "", 1, MSG_OOB), 1);
    usleep(50000);
    struct sigaction now;
    CHECK_EQ(sigaction(SIGURG, NULL, &now), 0);
    CHECK(now.sa_handler != SIG_DFL);
    CHECK_EQ(run_and_ask(spins, NULL, NULL), NEEDM_EINTERRUPTED);
}
static void chooses_usr2(void) {
    CHECK_EQ(needm_stop(), 0);
    start((needm_config){.interrupt_signal = SIGUSR2});
    CHECK_EQ(run_and_ask(spins, NULL, NULL), NEEDM_EINTERRUPTED);
    raise(SIGUSR2);
}
static void ignores_usr2(void) {
    CHECK_EQ(needm_stop(), 0);
    handle(SIGUSR2, SIG_IGN);
    start((needm_config){.interrupt_signal = SIGUSR2});
    raise(SIGUSR2);
    CHECK_EQ(run_and_ask(spins, NULL, NULL), NEEDM_EINTERRUPTED);
    raise(SIGUSR2);
}
static void what_happened_by_default_still_happens(void) {
    CHECK_CHILD(raises_urg);
    if (!emulated()) CHECK_CHILD(gets_urgent_data);
    CHECK_DIES(chooses_usr2, SIGUSR2);
    CHECK_CHILD(ignores_usr2);
}

/* A handler over needm's passes on a signal that needm used in an earlier start. */
static volatile int first, second;
static void counts_first(int number) { first += number == SIGURG; }
static struct sigaction below;
static void passes_on(int number, siginfo_t *info, void *context) {
    second++;
    below.sa_sigaction(number, info, context);
}
static void chooses_others(void) {
    CHECK_EQ(needm_stop(), 0);
    handle(SIGURG, counts_first);
    start((needm_config){0});
    struct sigaction over;
    memset(&over, 0, sizeof over);
    over.sa_sigaction = passes_on;
    over.sa_flags = SA_SIGINFO;
    CHECK_EQ(sigaction(SIGURG, &over, &below), 0);
    for (int i = 0; i < 7; i++) {
        raise(SIGURG);
        CHECK_EQ(first, i + 1);
        CHECK_EQ(second, i + 1);
        CHECK_EQ(needm_stop(), 0);
        start((needm_config){.interrupt_signal = i % 2 ? SIGUSR1 : SIGUSR2});
        CHECK_EQ(run_and_ask(spins, NULL, NULL), NEEDM_EINTERRUPTED);
    }
}
static void what_is_passed_on_is_forwarded_after_another_choice(void) { CHECK_CHILD(chooses_others); }

/* Unrecovered. */
static void dies(void) {
    CHECK_EQ(needm_stop(), 0);
    start((needm_config){.flags = NEEDM_UNRECOVERED_ABORTS});
    run_and_ask(spins, NULL, NULL);
}
static void an_interrupt_that_nothing_recovers_may_abort(void) { CHECK_DIES(dies, SIGABRT); }

int main(int argc, char **argv) {
    if (handlers_lose_their_thread()) {
        fprintf(stderr, "skipped: a handler has another thread's pointer\n");
        return SUCCESS;
    }
    seed = parse_seed(argc, argv, &binding);
    RUN(refused);
    RUN(no_signals);
    RUN(the_handler_of_before_gets_the_signals_of_others);
    start((needm_config){.binding = binding});
    RUN(a_callback_may_ask_for_itself);
    RUN(an_interrupt_can_be_recovered);
    RUN(a_blocked_signal_comes_when_it_is_unblocked);
    RUN(a_request_does_not_outlive_its_callback);
    RUN(a_handler_may_ask_and_is_not_ended);
    RUN(a_handler_that_has_interrupted_the_callback_runs_to_its_end);
    RUN(what_happened_by_default_still_happens);
    RUN(what_is_passed_on_is_forwarded_after_another_choice);
    RUN(an_interrupt_that_nothing_recovers_may_abort);
    stop_when_idle();
    return SUCCESS;
}
