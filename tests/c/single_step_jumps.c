/* A handler between any two instructions calls back, and C jumps out of that callback to the handler, which
 * returns. The code that it has interrupted drops the callback and unbinds its M, or the thread's next call of
 * needm does.
 *
 * What is stepped: a thread that binds the M it had last, while others are above that one on the extra list, so
 * that the handler's callback gets one of those; and a callback that finds that C has jumped out of an inner one,
 * so that the handler runs on the G. */
#include "check.h"
#include <setjmp.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"

static uint32_t binding;
static void call_and_check(void) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
}

/* The handler: its callback jumps, or C does that it has called. The callback may stop the world before that, and
 * the handler may call back again. */
static int through_c, stops, calls_again;
static jmp_buf in_handler;
static void jumps_to_handler(void *arg) {
    (void)arg;
    if (stops) CHECK_EQ(needm_stop_the_world(), 0);
    longjmp(in_handler, 1);
}
static void calls_c_that_jumps(void *arg) { needm_ccall(jumps_to_handler, arg); }
static void leave_a_callback(void) {
    if (setjmp(in_handler) == 0) needm_callback(through_c ? calls_c_that_jumps : jumps_to_handler, NULL, 0, NULL);
    if (calls_again) call_and_check();
}

/* Or its callback panics, and a deferred function of it jumps. */
static void defers_a_jump_and_panics(void *arg) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, jumps_to_handler, arg), 0);
    needm_panic(arg);
}
static void leave_a_panic(void) {
    if (setjmp(in_handler) == 0) needm_callback(defers_a_jump_and_panics, NULL, 0, NULL);
}

/* The paths. */
enum { ABOVE = 2 };
static volatile long attached;
static volatile int may_detach;
static void *holds_an_m(void *arg) {
    CHECK_EQ(needm_attach(), 0);
    __sync_fetch_and_add(&attached, 1);
    WAIT_UNTIL(may_detach);
    CHECK_EQ(needm_detach(), 0);
    return arg;
}
/* An M that is unbound goes on top of the list. So the others are unbound after this thread's. */
static void rebinds_below_others(void) {
    pthread_t holders[ABOVE];
    attached = may_detach = 0;
    for (int i = 0; i < ABOVE; i++) holders[i] = thread(holds_an_m, NULL);
    WAIT_UNTIL(attached == ABOVE);
    call_and_check();
    may_detach = 1;
    for (int i = 0; i < ABOVE; i++) join(holders[i]);
    steps_on();
    call_and_check();
    steps_off();
}
static jmp_buf in_callback;
static void jumps_to_callback(void *arg) {
    (void)arg;
    longjmp(in_callback, 1);
}
/* From there the handler's stack pointer is above the inner callback, which a call in the handler drops. */
static __attribute__((noinline)) void call_from_far_down(void) {
    volatile char between[32768];
    needm_callback(jumps_to_callback, NULL, 0, NULL);
    (void)between[0]; /* else the call is a tail call, and this frame is gone */
}
static needm_m *self;
static void finds_an_inner_one_left(void *far_down) {
    self = needm_self();
    if (setjmp(in_callback) == 0) {
        if (*(int *)far_down) call_from_far_down();
        needm_callback(jumps_to_callback, NULL, 0, NULL);
    }
    steps_on();
    CHECK(needm_self() == self);
    steps_off();
    CHECK_EQ(needm_depth(), 1);
}
static void is_left_close_by(void) {
    int far_down = 0;
    CHECK_EQ(needm_callback(finds_an_inner_one_left, &far_down, 0, NULL), 0);
}
static void is_left_far_down(void) {
    int far_down = 1;
    CHECK_EQ(needm_callback(finds_an_inner_one_left, &far_down, 0, NULL), 0);
}

static ON_ITS_STACK void overwrite_far_down(void) {
    volatile unsigned char frame[65536];
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = 0xa5;
}
static void overwrite_the_g(void *arg) { (void)arg, overwrite_far_down(); }

/* Nothing of the left callback's is this one's: it may defer, and panic. */
static long ran_deferred;
static void run_deferred(void *arg) { add(&ran_deferred), (void)arg; }
static void defers_and_panics(void *arg) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, run_deferred, arg), 0);
    needm_panic(&ran_deferred);
}
static void panics_on_the_fast_path(void) {
    needm_panic_info info = NEEDM_PANIC_INFO_INIT;
    call_and_check();
    ran_deferred = 0;
    steps_on();
    int result = needm_callback(defers_and_panics, NULL, 0, &info);
    steps_off();
    CHECK_EQ(result, NEEDM_EPANIC);
    CHECK(info.value == &ran_deferred);
    CHECK_EQ(ran_deferred, 1);
    /* Wherever the handler was. Until then its callback could go on, as a fiber's. */
    overwrite_far_down();
    CHECK_EQ(needm_callback(overwrite_the_g, NULL, 0, NULL), 0);
    call_and_check();
}

static int count(const needm_m *m, void *inside) {
    (void)m;
    add(inside);
    return 0;
}
/* Outside callbacks: nothing is left of any, and no M is bound but with NEEDM_BIND_THREAD this thread's. */
static void check_nothing_is_left(void) {
    long inside = 0;
    uint64_t bound = binding == NEEDM_BIND_THREAD;
    overwrite_far_down();
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_self() != NULL, bound);
    CHECK_EQ(stats().ms_bound, bound);
    CHECK_EQ(needm_each_inside(count, &inside), 0);
    CHECK_EQ(inside, 0);
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    call_and_check();
    CHECK_EQ(stats().ms_bound, bound);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(stats().ms_bound, 0);
}
static void (*path)(void);
static void *run_path(void *arg) {
    path();
    check_nothing_is_left();
    return arg;
}
static void at_every(int stride) {
    long at = 0;
    for (reached = 1; reached; at += stride) {
        reached = 0;
        countdown = at;
        join(thread(run_path, NULL));
    }
    fprintf(stderr, "  to instruction %ld\n", at);
    CHECK(at > 40);
}
/* The handler's callback jumps, and no more; or it has stopped the world, which stays stopped if the callback is
 * forgotten instead of dropped; or the handler calls back again. */
enum { JUMPS = 1, STOPS = 2, CALLS_AGAIN = 4 };
static void step(void (*over)(void), int kinds, int stride) {
    path = over;
    for (int kind = JUMPS; kind <= CALLS_AGAIN; kind *= 2) {
        stops = kind == STOPS;
        calls_again = kind == CALLS_AGAIN;
        if (kinds & kind) at_every(stride);
    }
}
static void callbacks_below_others_on_the_list(void) {
    for (through_c = 0; through_c < 2; through_c++) step(rebinds_below_others, JUMPS | STOPS | CALLS_AGAIN, 1);
    through_c = 0;
}
static void callbacks_that_find_one_left_close_by(void) { step(is_left_close_by, STOPS, 1); }
/* Not at every instruction, because steps are slow on a virtual machine: from where the inner callback is found to
 * where it is taken off is far more than a stride. */
static void callbacks_that_find_one_left_far_down(void) { step(is_left_far_down, STOPS | CALLS_AGAIN, 5); }
static void callbacks_over_which_one_is_left_that_panics(void) {
    at_instruction = leave_a_panic;
    step(panics_on_the_fast_path, JUMPS, 3);
    at_instruction = leave_a_callback;
}

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    start((needm_config){.binding = binding, .stack_size = 256 * 1024});
    at_instruction = leave_a_callback;
    handle_steps();
    RUN(callbacks_below_others_on_the_list);
    RUN(callbacks_over_which_one_is_left_that_panics);
    RUN(callbacks_that_find_one_left_close_by);
    RUN(callbacks_that_find_one_left_far_down);
    CHECK(stats().ms_total <= 16);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
#endif
