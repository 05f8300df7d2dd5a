/* A handler between any two instructions of needm: single step sends SIGTRAP after each. In the
 * handler the thread calls back, exits, jumps out, or waits while other threads go on and fork. */
#include "filter.h"
#include <errno.h>
#include <limits.h>
#include <setjmp.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"

static uint32_t binding;
static uint64_t seed;

/* The paths through needm that are stepped. */
static jmp_buf out;
static volatile long ran;
/* Set where the next callback is to stop the world: its thread does not wait for itself. */
static volatile int stops;
static void runs(void *arg) {
    __sync_fetch_and_add(&ran, 1);
    if (stops) {
        stops = 0;
        CHECK_EQ(needm_stop_the_world_within(600000000000), 0);
        CHECK_EQ(needm_start_the_world(), 0);
    }
    if (arg) add(arg);
}
/* Set while an overflow is stepped. The G is almost full then, so a callback that a handler makes
 * may overflow as well, and NEEDM_EOVERFLOW is a right answer, too. */
static int overflown;
static void call_and_check(void) {
    long sum = 0;
    int answer = needm_callback(runs, &sum, 0, NULL);
    if (overflown && answer == NEEDM_EOVERFLOW) return;
    CHECK_EQ(answer, 0);
    CHECK_EQ(sum, 1);
}
static void a_first_callback(void) {
    steps_on();
    call_and_check();
    steps_off();
}
static void a_callback(void) {
    call_and_check();
    call_and_check();
    a_first_callback();
}
static void a_frame_that_is_copied(void) {
    long frame[9] = {0};
    call_and_check();
    steps_on();
    CHECK_EQ(needm_callback(runs, frame, sizeof frame, NULL), 0);
    steps_off();
    CHECK_EQ(frame[0], 1);
}
static void an_attach_after_a_callback(void) {
    call_and_check();
    steps_on();
    CHECK_EQ(needm_attach(), 0);
    call_and_check();
    steps_off();
    CHECK_EQ(needm_detach(), 0);
}
static void attach_and_detach(void) {
    steps_on();
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_detach(), 0);
    steps_off();
}
static void calls_in_c(void *arg) { CHECK_EQ(needm_callback(runs, arg, 0, NULL), 0); }
static void calls_c(void *arg) { CHECK_EQ(needm_ccall(calls_in_c, arg), 0); }
static void callbacks_that_nest(void) {
    long sum = 0;
    call_and_check();
    steps_on();
    CHECK_EQ(needm_callback(calls_c, &sum, 0, NULL), 0);
    steps_off();
    CHECK_EQ(sum, 1);
}
/* Linux clears the trap flag for the handler of the fault. So the first deferred function turns
 * stepping on again. */
static void turn_on(void *arg) { (void)arg, steps_on(); }
static void (*ending)(void *);
static void recovers(void *sum) {
    CHECK_EQ(needm_recover(NULL), 1);
    add(sum);
}
static void ends_badly(void *sum) {
    needm_defer d[3];
    needm_defer_push(&d[0], recovers, sum);
    needm_defer_push(&d[1], add, sum);
    needm_defer_push(&d[2], turn_on, NULL);
    ending(NULL);
}
static void a_bad_end(void (*how)(void *)) {
    long sum = 0;
    call_and_check();
    ending = how;
    CHECK_EQ(needm_callback(ends_badly, &sum, 0, NULL), 0);
    steps_off();
    CHECK_EQ(sum, 2);
}
static void a_panic(void) { a_bad_end(panic); }
static void a_fault(void) { a_bad_end(fault); }
static void an_overflow(void) {
    overflown = 1;
    a_bad_end(overflow);
    overflown = 0;
}
static void a_jump_out(void) {
    call_and_check();
    steps_on();
    if (setjmp(out) == 0) needm_callback((void (*)(void *))longjmp, out, 0, NULL);
    call_and_check();
    steps_off();
}
/* As long as it is not noticed that C has jumped out of this one, a callback from close below counts as
 * one that this C makes. But a handler finds the frame overwritten that has waited for it. */
static void jumps_out(void *arg) {
    (void)arg;
    longjmp(out, 1);
}
static void defers(void *sum) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, add, sum), 0);
    runs(sum);
}
static void is_jumped_out_of(void *arg) { needm_ccall(jumps_out, arg); }
static __attribute__((noinline)) void overwrite_and_call(void) {
    volatile char overwrites[2048];
    for (size_t i = 0; i < sizeof overwrites; i++) overwrites[i] = 0;
    long sum = 0;
    steps_on();
    CHECK_EQ(needm_callback(defers, &sum, 0, NULL), 0);
    steps_off();
    CHECK_EQ(sum, 2);
}
static void a_callback_after_a_jump(void) {
    CHECK_EQ(needm_attach(), 0);
    call_and_check();
    if (setjmp(out) == 0) needm_callback(is_jumped_out_of, NULL, 0, NULL);
    overwrite_and_call();
}
/* C jumps out of a callback to itself, and returns. */
static jmp_buf back_in_c;
static void jumps_back(void *arg) {
    (void)arg;
    longjmp(back_in_c, 1);
}
static void is_jumped_back_to(void *arg) {
    (void)arg;
    if (setjmp(back_in_c) == 0) needm_callback(jumps_back, NULL, 0, NULL);
}
static void calls_what_is_jumped_back_to(void *sum) {
    CHECK_EQ(needm_ccall(is_jumped_back_to, NULL), 0);
    defers(sum);
}
static void a_jump_back_to_c(void) {
    long sum = 0;
    call_and_check();
    steps_on();
    CHECK_EQ(needm_callback(calls_what_is_jumped_back_to, &sum, 0, NULL), 0);
    steps_off();
    CHECK_EQ(sum, 2);
}
static void a_world_stopped_and_started(void) {
    call_and_check();
    steps_on();
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    steps_off();
}
/* This key is made after needm's, whose destructor therefore runs first. */
static pthread_key_t after_needms;
static void step_until_last_round(void *times) {
    if ((long)times > 1)
        pthread_setspecific(after_needms, (void *)((long)times - 1));
    else
        steps_off();
}
static void a_thread_exit(void) {
    call_and_check();
    pthread_setspecific(after_needms, (void *)3);
    steps_on();
}
struct path {
    const char *name;
    void (*go)(void);
    /* The path allocates nothing, and takes nothing from other threads, that a jump would leak. */
    int may_be_jumped_out_of;
};
#define PATH(go, may_be_jumped_out_of) {#go, go, may_be_jumped_out_of}
static const struct path paths[] = {
    PATH(a_first_callback, 0), PATH(a_callback, 1), PATH(a_frame_that_is_copied, 1),
    PATH(an_attach_after_a_callback, 0), PATH(attach_and_detach, 0), PATH(callbacks_that_nest, 1),
    PATH(a_panic, 1), PATH(a_fault, 1),
    PATH(an_overflow, 1), PATH(a_jump_out, 1), PATH(a_callback_after_a_jump, 1), PATH(a_jump_back_to_c, 1),
    PATH(a_world_stopped_and_started, 0), PATH(a_thread_exit, 0),
};
enum { PATHS = sizeof paths / sizeof *paths };

/* This thread can call back, fault and overflow as any other. */
static void check_usable(void) {
    call_and_check();
    int answer = needm_callback(fault, NULL, 0, NULL);
    CHECK(answer == NEEDM_EFAULT || (overflown && answer == NEEDM_EOVERFLOW));
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
}
static void *check_usable_thread(void *arg) {
    check_usable();
    return arg;
}
static char own_stack[65536];
static int has_own_signal_stack;
/* Runs the path. Afterwards the thread is usable, and needm_detach leaves it the signal stack that
 * it had before. */
static void *run_path(void *path) {
    stack_t brought = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    if (has_own_signal_stack) CHECK_EQ(sigaltstack(&brought, NULL), 0);
    ((const struct path *)path)->go();
    if (((const struct path *)path)->go == a_thread_exit) return NULL;
    stack_t stack;
    check_usable();
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(sigaltstack(NULL, &stack), 0);
    if (has_own_signal_stack)
        CHECK(stack.ss_sp == own_stack && stack.ss_size == sizeof own_stack);
    else
        CHECK(stack.ss_flags & SS_DISABLE || binding == NEEDM_BIND_CALL);
    return NULL;
}
/* Runs the path, then stops needm: afterwards the thread has no signal stack but its own, with
 * either binding. */
static void *run_path_and_stop(void *path) {
    stack_t stack;
    run_path(path);
    CHECK(stats().ms_total <= 8);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(sigaltstack(NULL, &stack), 0);
    if (has_own_signal_stack)
        CHECK(stack.ss_sp == own_stack && stack.ss_size == sizeof own_stack);
    else
        CHECK(stack.ss_flags & SS_DISABLE);
    return NULL;
}
static void begin(void) {
    start((needm_config){.binding = binding, .max_ms = 64});
    handle_steps();
    CHECK_EQ(pthread_key_create(&after_needms, step_until_last_round), 0);
}
/* Each thread that binds an M reaps a few threads that have exited. So this starts threads until
 * no M is bound. */
static void wait_for_exits_to_be_noticed(void) {
    for (int i = 0; i < 2000 && (i == 0 || stats().ms_bound > 0); i++) join(thread(check_usable_thread, NULL));
    CHECK_EQ(stats().ms_bound, 0);
}
static void end(unsigned most) {
    wait_for_exits_to_be_noticed();
    if (stats().ms_total > most) fprintf(stderr, "made %u\n", (unsigned)stats().ms_total);
    CHECK(stats().ms_total <= most);
    CHECK_EQ(pthread_key_delete(after_needms), 0);
    signal(SIGTRAP, SIG_DFL);
    CHECK_EQ(needm_stop(), 0);
}
/* Calls `run` again and again, which runs the path once. Each time a later instruction of the path
 * is interrupted by a handler that calls `in_handler`. Beyond the first ones it makes random strides: a
 * step is slow on a virtual machine. */
static long without_strides = 100;
static void at_each_instruction(const struct path *path, void (*in_handler)(void), void (*run)(const struct path *)) {
    at_instruction = in_handler;
    long at = 0, times = 0;
    for (reached = 1; reached; times++) {
        reached = 0;
        countdown = at;
        run(path);
        at += at < without_strides ? 1 : 1 + (long)(next(&seed) % 384);
    }
    fprintf(stderr, "  %s: %ld times, to instruction %ld\n", path->name, times, at);
    CHECK(times > 40);
}
static void start_run_and_stop(const struct path *path) {
    begin();
    if (path->go == a_thread_exit) {
        join(thread(run_path, (void *)path));
        end(8);
        return;
    }
    join(thread(run_path_and_stop, (void *)path));
    CHECK_EQ(pthread_key_delete(after_needms), 0);
    signal(SIGTRAP, SIG_DFL);
}
/* The handler calls back: that is all, or the callback faults and overflows, or it calls C that calls back,
 * and defers, or C jumps out of it to the handler. The callback that the handler has interrupted on its way
 * in stops the world. */
static void calls_c_and_defers(void *sum) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, calls_c, sum), 0);
    calls_c(sum);
}
static jmp_buf back_in_handler;
static void jumps_to_handler(void *arg) {
    (void)arg;
    longjmp(back_in_handler, 1);
}
static void is_left_for_handler(void *arg) { needm_ccall(jumps_to_handler, arg); }
static enum kind { PLAIN, ENDS_BADLY, NESTS, C_JUMPS, JUMPS, KINDS } only = KINDS;
static void call_back(void) {
    enum kind kind = only != KINDS ? only : next(&seed) % KINDS;
    /* Inside an overflow there may be no room for these. */
    if (overflown && kind > ENDS_BADLY) kind = PLAIN;
    if (kind == ENDS_BADLY) {
        check_usable();
    } else if (kind == NESTS) {
        long sum = 0;
        CHECK_EQ(needm_callback(calls_c_and_defers, &sum, 0, NULL), 0);
        CHECK_EQ(sum, 2);
    } else if (kind >= C_JUMPS && setjmp(back_in_handler) == 0) {
        needm_callback(kind == JUMPS ? jumps_to_handler : is_left_for_handler, NULL, 0, NULL);
    }
    /* What it has left is dropped here, or by the code that it has interrupted, or later. */
    if (kind < C_JUMPS || next(&seed) % 2) call_and_check();
    stops = 1;
}
static void a_handler_may_call_back_at_any_instruction(void) {
    /* Once before the count, so that what is mapped only once in a process does not count. */
    const struct path *first = paths;
    at_each_instruction(first, call_back, start_run_and_stop);
    /* Binding an M, at each instruction: that is short. */
    without_strides = LONG_MAX;
    for (int i = 0; i < PATHS; i++) {
        int binds = paths[i].go == a_callback || paths[i].go == an_attach_after_a_callback;
        for (only = C_JUMPS; binds && only <= KINDS; only++)
            at_each_instruction(paths + i, call_back, start_run_and_stop);
    }
    /* Coming back from C that has jumped, while a handler on needm's signal stack jumps, too. */
    flags_of_handler = SA_ONSTACK;
    only = JUMPS;
    for (int i = 0; i < PATHS; i++)
        if (paths[i].go == a_jump_back_to_c && binding == NEEDM_BIND_CALL) at_each_instruction(paths + i, call_back, start_run_and_stop);
    only = KINDS;
    without_strides = 100;
    int before = mappings();
    /* The handler runs on the thread's stack, on needm's signal stack, on the thread's own signal
     * stack. */
    for (int stack = 0; stack < 3; stack++) {
        flags_of_handler = stack > 0 ? SA_ONSTACK : 0;
        has_own_signal_stack = stack == 2;
        for (int i = 0; i < PATHS; i++) at_each_instruction(paths + i, call_back, start_run_and_stop);
    }
    /* The C library keeps a few stacks of threads that have exited. If needm lost a signal stack
     * where a handler maps another one, there would be one more mapping for each instruction where
     * that happens. */
    int more = mappings() - before;
    fprintf(stderr, "  %d mappings more\n", more);
    CHECK(more <= 4);
    has_own_signal_stack = flags_of_handler = 0;
}

/* The thread exits by the raw system call. Two paths are left out. While a thread's destructors run,
 * what they were about to return is lost. While it stops the world, it may be dismantling the
 * record of the previous owner, whose world then stays stopped. */
static void exit_raw(void) { syscall(SYS_exit, 0); }
static void run_and_exit(const struct path *path) {
    join(thread(run_path, (void *)path));
    wait_for_exits_to_be_noticed();
}
static void a_thread_may_exit_at_any_instruction(void) {
    begin();
    for (int i = 0; i < PATHS; i++)
        if (paths[i].go != a_thread_exit && paths[i].go != a_world_stopped_and_started)
            at_each_instruction(paths + i, exit_raw, run_and_exit);
    end(16);
}

/* The handler jumps out. */
static sigjmp_buf away;
static void jump_out(void) { siglongjmp(away, 1); }
/* C further down jumps out of callbacks, more of them than a G has room for. That the thread was inside
 * needm as the handler jumped does not keep these. */
static __attribute__((noinline)) void jump_out_further_down(void) {
    volatile char deeper[4096];
    for (size_t i = 0; i < sizeof deeper; i++) deeper[i] = 0;
    for (volatile int i = 0; i < 1000; i++) {
        int answer = setjmp(out) ? 0 : needm_callback(is_jumped_out_of, NULL, 0, NULL);
        if (answer) fprintf(stderr, "callback %d of those\n", i);
        CHECK_EQ(answer, 0);
    }
}
static void *run_path_or_jump_out(void *path) {
    if (sigsetjmp(away, 1) == 0)
        run_path(path);
    else {
        jump_out_further_down();
        check_usable();
        CHECK_EQ(needm_detach(), 0);
    }
    return NULL;
}
static void run_and_jump_out(const struct path *path) {
    overflown = 0;
    begin();
    join(thread(run_path_or_jump_out, (void *)path));
    end(8);
}
static void a_handler_may_jump_out_at_any_instruction(void) {
    for (int i = 0; i < PATHS; i++)
        if (paths[i].may_be_jumped_out_of) at_each_instruction(paths + i, jump_out, run_and_jump_out);
}

/* The handler waits, and other threads go on. */
static volatile int in_handler_now, go_on, stopped;
static void wait_in_handler(void) {
    in_handler_now = 1;
    /* Asleep, because a thread that spins uses up whole time slices of a loaded machine. */
    WAIT_UNTIL(go_on);
}
static void use_in_child(void) {
    check_usable();
    join(thread(check_usable_thread, NULL));
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
}
static void *stop_and_start(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    long then = ran;
    stopped = 1;
    for (int i = 0; i < 5; i++) usleep(50);
    CHECK_EQ(ran, then);
    CHECK_EQ(needm_start_the_world(), 0);
    return arg;
}
static void run_while_one_waits(const struct path *path) {
    in_handler_now = go_on = stopped = 0;
    begin();
    pthread_t stepped = thread(run_path, (void *)path);
    /* Either the thread is in the handler, or the path was shorter than the countdown and the thread
     * is joined here. */
    WAIT_UNTIL(in_handler_now || pthread_tryjoin_np(stepped, NULL) == 0);
    if (in_handler_now) {
        if (path->go != a_world_stopped_and_started) {
            join(thread(check_usable_thread, NULL));
            check_usable();
            CHECK_EQ(needm_detach(), 0);
            CHECK_CHILD(use_in_child);
            pthread_t stopper = thread(stop_and_start, NULL);
            for (int i = 0; i < 20 && !stopped; i++) usleep(50);
            go_on = 1;
            join(stopper);
        }
        go_on = 1;
        join(stepped);
    }
    end(16);
}
static void other_threads_go_on_and_fork_while_one_waits_at_any_instruction(void) {
    for (int i = 0; i < PATHS; i++) at_each_instruction(paths + i, wait_in_handler, run_while_one_waits);
}

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    seed = parse_seed(argc, argv, &binding);
    RUN(a_handler_may_call_back_at_any_instruction);
    RUN(a_handler_may_jump_out_at_any_instruction);
    RUN(other_threads_go_on_and_fork_while_one_waits_at_any_instruction);
    /* Last: needm_stop waits a second for a thread that has exited inside needm. */
    RUN(a_thread_may_exit_at_any_instruction);
    return SUCCESS;
}
#endif
