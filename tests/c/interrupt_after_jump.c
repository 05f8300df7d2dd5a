/* C that a callback has called jumps back to it (longjmp), and the callback goes on without calling needm:
 * further up than where it called C, at the same depth, or further down. An interrupt ends it. */
#include "filter.h"
#include <setjmp.h>

static volatile int ready;
static needm_m *volatile target;
static jmp_buf back;
static volatile int handled;
static void jumps_back(void *arg) {
    if (arg)
        CHECK_EQ(raise(SIGUSR1), 0);
    else
        longjmp(back, 1);
}
static void handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    handled++;
    siglongjmp(back, 1);
}
static __attribute__((noinline)) void loops(int frames) {
    volatile char unused[512];
    unused[0] = 1;
    if (frames) loops(frames - 1);
    ready = 1;
    for (;;) unused[1]++;
}
static __attribute__((noinline)) void calls_c(int frames, void *arg) {
    volatile char unused[512];
    unused[0] = 1;
    if (frames) calls_c(frames - 1, arg);
    CHECK_EQ(needm_ccall(jumps_back, arg), 0);
    CHECK_EQ(unused[0], 2);
}
static int depth;
static void callback(void *arg) {
    target = needm_self();
    if (sigsetjmp(back, 1) == 0) calls_c(8, arg);
    loops(depth);
}
static void *interrupts(void *arg) {
    while (!ready) usleep(10);
    ready = 0;
    CHECK_EQ(needm_interrupt(target, &depth), 0);
    return arg;
}
static void ends_at_each_depth(void *arg) {
    for (depth = 0; depth < 24; depth++) {
        needm_panic_info info = NEEDM_PANIC_INFO_INIT;
        pthread_t other = thread(interrupts, NULL);
        CHECK_EQ(needm_callback(callback, arg, 0, &info), NEEDM_EINTERRUPTED);
        join(other);
        CHECK(info.value == &depth);
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    }
}
static void c_jumps(void) { ends_at_each_depth(NULL); }
static void a_handler_over_c_jumps(void) {
    ends_at_each_depth(&depth);
    CHECK_EQ(handled, 24);
}
/* Inside a callback of the same thread's, which goes on. */
static void a_callback_around(void *arg) { ends_at_each_depth(arg); }
static void calls_around(void *arg) { CHECK_EQ(needm_ccall(a_callback_around, arg), 0); }
static void nested(void) {
    CHECK_EQ(needm_callback(a_callback_around, NULL, 0, NULL), 0);
    CHECK_EQ(needm_callback(calls_around, NULL, 0, NULL), 0);
}
/* C that an inner callback has called jumps to the callback around it. A handler interrupts that before it calls needm, on
 * the same stack, further down than the inner callback was, and the interrupt comes there. The handler comes to its end
 * first; the inner callback does not come back. */
static volatile int handler_ends, inner_ends, calls_needm;
static __attribute__((noinline)) void is_interrupted_down_here(int frames) {
    volatile char unused[256];
    unused[0] = 1;
    if (frames > 0) {
        is_interrupted_down_here(frames - 1);
        unused[1]++;
        return;
    }
    for (int i = 0; i <= calls_needm; i++) {
        ready = 1;
        WAIT_UNTIL(!ready);
    }
    if (calls_needm) CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void is_interrupted(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    is_interrupted_down_here(4);
    handler_ends++;
}
static void jumps_out(void *arg) {
    (void)arg;
    _longjmp(back, 1);
}
static void inner(void *arg) { CHECK_EQ(needm_ccall(jumps_out, arg), 0); }
static void calls_inner(void *arg) {
    needm_callback(inner, arg, 0, NULL);
    inner_ends++;
}
static void goes_on_after_a_handler(void *arg) {
    target = needm_self();
    if (_setjmp(back) == 0) {
        if (arg)
            needm_ccall(calls_inner, NULL);
        else
            calls_inner(NULL);
    }
    raise(SIGUSR2);
    for (;;) needm_safepoint();
}
static volatile int over;
static void *interrupts_again_and_again(void *arg) {
    while (!over) {
        if (!ready) continue;
        CHECK_EQ(needm_interrupt(target, arg), 0);
        ready = 0;
    }
    return arg;
}
static void a_handler_after_a_jump_comes_to_its_end(void) {
    struct sigaction action = {.sa_sigaction = is_interrupted, .sa_flags = SA_SIGINFO};
    CHECK_EQ(sigaction(SIGUSR2, &action, NULL), 0);
    pthread_t other = thread(interrupts_again_and_again, NULL);
    for (int i = 0; i < 4; i++) {
        calls_needm = i / 2;
        handler_ends = inner_ends = 0;
        CHECK_EQ(needm_callback(goes_on_after_a_handler, i % 2 ? &depth : NULL, 0, NULL), NEEDM_EINTERRUPTED);
        CHECK_EQ(handler_ends, 1);
        CHECK_EQ(inner_ends, 0);
        CHECK_EQ(needm_depth(), 0);
    }
    over = 1;
    join(other);
}

int main(int argc, char **argv) {
    uint32_t binding = parse_binding(argc, argv);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    start((needm_config){.binding = binding});
    alarm(60);
    RUN(c_jumps);
    RUN(a_handler_over_c_jumps);
    RUN(nested);
    RUN(a_handler_after_a_jump_comes_to_its_end);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
