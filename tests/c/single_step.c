/* A handler between any two instructions of the kernel's ways, one after the other: the
 * processor's trap flag (Intel SDM volume 1, 3.4.3.3) sends SIGTRAP after each. In the handler
 * the thread calls back, ends, jumps away, or stands still while others go on and fork. */
#include "filter.h"
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <ucontext.h>

#if !ARCH_HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
void steps_on(void);
void steps_off(void);
__asm__(ARCH_STEP_FUNCTIONS);

static uint32_t binding;
static uint64_t seed;
static void (*comes)(void);
static volatile long left; /* instructions until it does */
static volatile int came;
static void on_step(int signal, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    (void)signal, (void)info;
    if (left-- > 0) return;
    came = 1;
    ARCH_STOP_STEPPING(interrupted);
    comes();
}
static int flags_of_handler;
static void handle_steps(void) {
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO | flags_of_handler};
    CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
}

/* What a thread does meanwhile. */
static jmp_buf out;
static volatile long ran;
static void runs(void *arg) {
    __sync_fetch_and_add(&ran, 1);
    if (arg) add(arg);
}
static int overflown; /* a handler may be on what is left of a G */
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
/* A fault's handler runs without the flag. */
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
static void a_world_stopped_and_started(void) {
    call_and_check();
    steps_on();
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
    steps_off();
}
/* Our key is behind the kernel's, whose destructor has run when ours does. */
static pthread_key_t after_ours;
static void is_over(void *times) {
    if ((long)times > 1)
        pthread_setspecific(after_ours, (void *)((long)times - 1));
    else
        steps_off();
}
static void an_end(void) {
    call_and_check();
    pthread_setspecific(after_ours, (void *)3);
    steps_on();
}
struct way {
    const char *name;
    void (*go)(void);
    int may_be_left; /* by a jump: nothing is made, or taken from others */
};
#define WAY(go, may_be_left) {#go, go, may_be_left}
static const struct way ways[] = {
    WAY(a_first_callback, 0), WAY(a_callback, 1), WAY(a_frame_that_is_copied, 1),
    WAY(attach_and_detach, 0), WAY(callbacks_that_nest, 1), WAY(a_panic, 1), WAY(a_fault, 1),
    WAY(an_overflow, 1), WAY(a_jump_out, 1), WAY(a_world_stopped_and_started, 0), WAY(an_end, 0),
};
enum { WAYS = sizeof ways / sizeof *ways };

/* The thread is as good as any afterwards. */
static void is_usable(void) {
    call_and_check();
    int answer = needm_callback(fault, NULL, 0, NULL);
    CHECK(answer == NEEDM_EFAULT || (overflown && answer == NEEDM_EOVERFLOW));
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
}
static void *is_fine(void *arg) {
    is_usable();
    return arg;
}
static char own_stack[65536];
static int brings_its_own;
static void *goes(void *way) {
    stack_t brought = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    if (brings_its_own) CHECK_EQ(sigaltstack(&brought, NULL), 0);
    ((const struct way *)way)->go();
    if (((const struct way *)way)->go == an_end) return NULL;
    stack_t stack;
    is_usable();
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(sigaltstack(NULL, &stack), 0);
    if (brings_its_own)
        CHECK(stack.ss_sp == own_stack && stack.ss_size == sizeof own_stack);
    else
        CHECK(stack.ss_flags & SS_DISABLE || binding == NEEDM_BIND_CALL);
    return NULL;
}
static void begin(void) {
    start((needm_config){.binding = binding, .max_ms = 64, .wait_ns = 2000000000});
    handle_steps();
    CHECK_EQ(pthread_key_create(&after_ours, is_over), 0);
}
/* Who takes an M looks at a few threads, whether they have ended unheard. */
static void ends_are_noticed(void) {
    for (int i = 0; i < 2000 && (i == 0 || stats().ms_bound > 0); i++) join(thread(is_fine, NULL));
    CHECK_EQ(stats().ms_bound, 0);
}
static void end(unsigned most) {
    ends_are_noticed();
    if (stats().ms_total > most) fprintf(stderr, "made %u\n", (unsigned)stats().ms_total);
    CHECK(stats().ms_total <= most);
    CHECK_EQ(pthread_key_delete(after_ours), 0);
    signal(SIGTRAP, SIG_DFL);
    CHECK_EQ(needm_stop(), 0);
}
/* Has `one` happen for each instruction of a way. Long ways are gone in strides, which
 * begin anywhere: a step takes its time where a machine is virtual. */
static void at_each_instruction(const struct way *way, void (*then)(void), void (*one)(const struct way *)) {
    comes = then;
    long at = 0, times = 0;
    for (came = 1; came; times++) {
        came = 0;
        left = at;
        one(way);
        at += at < 100 ? 1 : 1 + (long)(next(&seed) % 96);
    }
    fprintf(stderr, "  %s: %ld times, to instruction %ld\n", way->name, times, at);
    CHECK(times > 40);
}
static void in_a_new_start(const struct way *way) {
    begin();
    join(thread(goes, (void *)way));
    end(8);
}
/* It calls back: on the thread's own stack; on the signal stack; on one that the thread has
 * brought. */
static void calls_back(void) {
    if (next(&seed) & 1)
        call_and_check();
    else
        is_usable();
}
static void a_handlers_callback_at_any_instruction_loses_nothing(void) {
    for (int stack = 0; stack < 3; stack++) {
        flags_of_handler = stack > 0 ? SA_ONSTACK : 0;
        brings_its_own = stack == 2;
        for (int i = 0; i < WAYS; i++) at_each_instruction(ways + i, calls_back, in_a_new_start);
    }
    brings_its_own = flags_of_handler = 0;
}

/* It ends by the raw system call, of which only the kernel hears. Not at its end: what its
 * destructors are just then about to give back is lost. Nor where it stops the world: who ends
 * while it takes the record of the owner before apart leaves that world stopped. */
static void ends(void) { syscall(SYS_exit, 0); }
static void which_ends(const struct way *way) {
    join(thread(goes, (void *)way));
    ends_are_noticed();
}
static void a_thread_may_end_at_any_instruction(void) {
    begin();
    for (int i = 0; i < WAYS; i++)
        if (ways[i].go != an_end && ways[i].go != a_world_stopped_and_started)
            at_each_instruction(ways + i, ends, which_ends);
    end(16);
}

/* It is jumped out of. */
static sigjmp_buf away;
static void jumps(void) { siglongjmp(away, 1); }
static void *goes_and_jumps(void *way) {
    if (sigsetjmp(away, 1) == 0)
        goes(way);
    else {
        is_usable();
        CHECK_EQ(needm_detach(), 0);
    }
    return NULL;
}
static void which_jumps(const struct way *way) {
    overflown = 0;
    begin();
    join(thread(goes_and_jumps, (void *)way));
    end(8);
}
static void a_handler_may_jump_away_from_a_callback_at_any_instruction(void) {
    for (int i = 0; i < WAYS; i++)
        if (ways[i].may_be_left) at_each_instruction(ways + i, jumps, which_jumps);
}

/* It stands still, and others go on. */
static volatile int still, go_on, stopped;
static void stands_still(void) {
    still = 1;
    while (!go_on) sched_yield();
}
static void a_child(void) {
    alarm(20);
    is_usable();
    join(thread(is_fine, NULL));
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
}
static void *stops(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    long then = ran;
    stopped = 1;
    for (int i = 0; i < 100; i++) sched_yield();
    CHECK_EQ(ran, then);
    CHECK_EQ(needm_start_the_world(), 0);
    return arg;
}
static void which_stands_still(const struct way *way) {
    still = go_on = stopped = 0;
    begin();
    pthread_t made = thread(goes, (void *)way);
    while (!still && pthread_kill(made, 0) == 0 && pthread_tryjoin_np(made, NULL) != 0) sched_yield();
    if (still) {
        if (way->go != a_world_stopped_and_started) {
            join(thread(is_fine, NULL));
            is_usable();
            CHECK_EQ(needm_detach(), 0);
            CHECK_CHILD(a_child);
            pthread_t stopper = thread(stops, NULL);
            for (int i = 0; i < 20 && !stopped; i++) usleep(50);
            go_on = 1;
            join(stopper);
        }
        go_on = 1;
        join(made);
    }
    end(16);
}
static void others_go_on_and_fork_wherever_a_thread_stands_still(void) {
    for (int i = 0; i < WAYS; i++) at_each_instruction(ways + i, stands_still, which_stands_still);
}

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    seed = parse_seed(argc, argv, &binding);
    RUN(a_handlers_callback_at_any_instruction_loses_nothing);
    RUN(a_handler_may_jump_away_from_a_callback_at_any_instruction);
    RUN(others_go_on_and_fork_wherever_a_thread_stands_still);
    /* Last: where one has ended inside the kernel, a stop waits for it for a second. */
    RUN(a_thread_may_end_at_any_instruction);
    return SUCCESS;
}
#endif
