/* Frames that handlers have left: they have returned, and nothing has used their memory since. They are
 * not taken for handlers that run. */
#include "filter.h"

static uint32_t binding;
static volatile int handled, asked;
static needm_m *volatile target;
static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    handled++;
}
static __attribute__((noinline)) void leaves_a_frame(void) {
    volatile char deeper[6000];
    deeper[0] = 1;
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(deeper[0], 1);
}
static sigset_t others(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGTERM);
    return set;
}
static void block_others(void) {
    sigset_t set = others();
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
}
static void others_are_blocked(void) {
    sigset_t now, set = others();
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, &now), 0);
    CHECK_EQ(sigismember(&now, SIGUSR1), 0);
    CHECK_EQ(sigismember(&now, SIGURG), 0);
    CHECK_EQ(sigismember(&now, SIGUSR2), 1);
    CHECK_EQ(sigismember(&now, SIGTERM), 1);
}
/* Ends the callback, with what a handler has left above. */
static void (*ending)(void *);
static int blocks_first;
static __attribute__((noinline)) void ends(void *arg) {
    volatile char unused[24000];
    unused[0] = 1;
    if (blocks_first) block_others();
    ending(arg);
    CHECK_EQ(unused[0], 2);
}
static void spins(void *arg) {
    (void)arg;
    target = needm_self();
    asked = 1;
    for (;;) __asm__ volatile("");
}
static void *interrupts(void *arg) {
    while (!asked) usleep(10);
    asked = 0;
    CHECK_EQ(needm_interrupt(target, NULL), 0);
    return arg;
}
static const struct { void (*how)(void *); int answer; } endings[] = {
    {fault, NEEDM_EFAULT}, {panic, NEEDM_EPANIC}, {overflow, NEEDM_EOVERFLOW}, {spins, NEEDM_EINTERRUPTED}};

static void only_a_handler(void *arg) { (void)arg, leaves_a_frame(); }
static void a_handler_and_an_ending(void *arg) {
    leaves_a_frame();
    ends(arg);
}
static void ends_with(int i, void (*callback)(void *)) {
    pthread_t other = 0;
    ending = endings[i].how;
    if (ending == spins) other = thread(interrupts, NULL);
    CHECK_EQ(needm_callback(callback, NULL, 0, NULL), endings[i].answer);
    if (ending == spins) join(other);
    others_are_blocked();
}
static void of_an_earlier_callback(void) {
    for (int i = 0; i < 4; i++) {
        blocks_first = 0;
        CHECK_EQ(needm_callback(only_a_handler, NULL, 0, NULL), 0);
        block_others();
        ends_with(i, ends);
    }
}
static void *leaves_a_frame_on_the_g(void *arg) {
    CHECK_EQ(needm_callback(only_a_handler, arg, 0, NULL), 0);
    return arg;
}
static void of_another_threads_callback(void) {
    CHECK_EQ(needm_detach(), 0);
    for (int i = 0; i < 4; i++) {
        blocks_first = 0;
        join(thread(leaves_a_frame_on_the_g, NULL));
        block_others();
        ends_with(i, ends);
        CHECK_EQ(needm_detach(), 0);
    }
}
static void of_the_same_callback(void) {
    for (int i = 0; i < 4; i++) {
        blocks_first = 1;
        ends_with(i, a_handler_and_an_ending);
    }
}
static void calls_c(void *arg) { CHECK_EQ(needm_ccall(ends, arg), 0); }
static void in_c_on_the_threads_own_stack(void) {
    ending = panic;
    for (blocks_first = 0; blocks_first < 2; blocks_first++) {
        leaves_a_frame();
        if (!blocks_first) block_others();
        CHECK_EQ(needm_callback(calls_c, NULL, 0, NULL), NEEDM_EPANIC);
        others_are_blocked();
    }
}
/* A handler that does not return, and whose action Linux has taken back. */
static void ends_in_it(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    fault(NULL);
}
static void raises(void *arg) {
    (void)arg;
    CHECK_EQ(raise(SIGUSR1), 0);
}
static void the_frame_of_a_handler_with_resethand_is_known(void) {
    for (int i = 0; i < 8; i++) {
        struct sigaction action = {.sa_sigaction = ends_in_it, .sa_flags = SA_SIGINFO | (int)SA_RESETHAND}, before;
        if (i & 1) sigaddset(&action.sa_mask, SIGWINCH);
        CHECK_EQ(sigaction(SIGUSR1, &action, &before), 0);
        block_others();
        CHECK_EQ(needm_callback(raises, NULL, 0, NULL), NEEDM_EFAULT);
        others_are_blocked();
        CHECK_EQ(sigaction(SIGUSR1, &before, NULL), 0);
    }
}
int main(int argc, char **argv) {
    binding = parse_binding(argc, argv);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    start((needm_config){.binding = binding});
    alarm(60);
    RUN(of_an_earlier_callback);
    RUN(of_the_same_callback);
    RUN(of_another_threads_callback);
    RUN(in_c_on_the_threads_own_stack);
    RUN(the_frame_of_a_handler_with_resethand_is_known);
    CHECK_EQ(handled, 4 + 4 + 4 + 2);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
