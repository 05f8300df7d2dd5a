/* Handlers over handlers, on the stack of the code that they have interrupted, and interrupts of the callbacks that are
 * there. Each handler comes to its end before the callback does that it has interrupted. */
#include "check.h"

static needm_m *volatile target;
static volatile int asks, over;
static void *interrupts(void *arg) {
    while (!over) {
        if (!asks) continue;
        CHECK_EQ(needm_interrupt(target, arg), 0);
        asks = 0;
    }
    return arg;
}
static void is_asked_to_end(void) {
    asks = 1;
    WAIT_UNTIL(!asks);
}

static volatile int first_ends, second_ends, third_ends;
/* Over the innermost callback, which is asked to end, and ends when this has returned. With that needm's signal is
 * unblocked, which the first handler's frame shows as blocked. */
static void third(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    is_asked_to_end();
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    third_ends++;
}
static void is_ended(void *arg) {
    (void)arg;
    raise(SIGWINCH);
    for (;;) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void calls_what_is_ended(void *arg) { CHECK_EQ(needm_callback(is_ended, arg, 0, NULL), NEEDM_EINTERRUPTED); }
static void second(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    CHECK_EQ(needm_callback(calls_what_is_ended, NULL, 0, NULL), 0);
    second_ends++;
}
static void first(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    is_asked_to_end();
    raise(SIGUSR2);
    first_ends++;
}
static void outermost(void *arg) {
    (void)arg;
    target = needm_self();
    raise(SIGUSR1);
    for (;;) __asm__ volatile("");
}
static void installs(int signal, void (*handler)(int, siginfo_t *, void *)) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    CHECK_EQ(sigaction(signal, &action, NULL), 0);
}

int main(int argc, char **argv) {
    uint32_t binding = argc > 1 && strcmp(argv[1], "call") == 0 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    sigset_t before, after;
    if (handlers_lose_their_thread()) return SUCCESS;
    start((needm_config){.binding = binding});
    installs(SIGUSR1, first);
    installs(SIGUSR2, second);
    installs(SIGWINCH, third);
    pthread_t other = thread(interrupts, NULL);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
    for (int i = 1; i <= 10; i++) {
        CHECK_EQ(needm_callback(outermost, NULL, 0, NULL), NEEDM_EINTERRUPTED);
        CHECK_EQ(first_ends, i);
        CHECK_EQ(second_ends, i);
        CHECK_EQ(third_ends, i);
        CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
        for (int number = 1; number < 32; number++) CHECK_EQ(sigismember(&after, number), sigismember(&before, number));
    }
    over = 1;
    join(other);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
