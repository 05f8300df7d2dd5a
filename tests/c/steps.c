/* A handler between any two instructions of the kernel's ways, one after the other: the
 * processor's trap flag (Intel SDM volume 1, 3.4.3.3) sends SIGTRAP after each. In the handler
 * the thread calls back, ends, jumps away, or stands still while others go on and fork. */
#include "filter.h"
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <ucontext.h>

#if !defined __x86_64__ && !defined __i386__
int main(void) {
    fprintf(stderr, "skipped: the processor has no trap flag\n");
    return SUCCESS;
}
#else
#ifdef __x86_64__
#define SP "%rsp"
#else
#define SP "%esp"
#endif
void steps_on(void);
void steps_off(void);
__asm__(".text\n.globl steps_on\n.type steps_on, @function\nsteps_on:\n"
        " pushf\n orl $0x100, (" SP ")\n popf\n ret\n"
        ".globl steps_off\n.type steps_off, @function\nsteps_off:\n"
        " pushf\n andl $~0x100, (" SP ")\n popf\n ret\n");

static uint32_t binding;
static uint64_t seed;
static void (*comes)(void);
static volatile long left; /* instructions until it does */
static volatile int every, came;
static void on_step(int signal, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    (void)signal, (void)info;
    if (left-- > 0) return;
    came = 1;
    if (!every) interrupted->uc_mcontext.gregs[REG_EFL] &= ~0x100;
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
};
#define WAY(go) {#go, go}
static const struct way ways[] = {
    WAY(a_first_callback), WAY(a_callback), WAY(a_frame_that_is_copied), WAY(attach_and_detach),
    WAY(callbacks_that_nest), WAY(a_panic), WAY(a_fault), WAY(an_overflow), WAY(a_jump_out),
    WAY(a_world_stopped_and_started), WAY(an_end),
};
enum { WAYS = sizeof ways / sizeof *ways };

/* The thread is as good as any afterwards. */
static void is_usable(void) {
    call_and_check();
    int answer = needm_callback(fault, NULL, 0, NULL);
    CHECK(answer == NEEDM_EFAULT || (overflown && answer == NEEDM_EOVERFLOW));
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
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
    start((needm_config){.binding = binding});
    handle_steps();
    CHECK_EQ(pthread_key_create(&after_ours, is_over), 0);
    every = came = 0;
}
static void end(unsigned most) {
    /* Whoever takes one looks for those that ended unheard. */
    call_and_check();
    CHECK_EQ(needm_detach(), 0);
    if (stats().ms_total > most) fprintf(stderr, "made %u\n", (unsigned)stats().ms_total);
    CHECK(stats().ms_total <= most);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(pthread_key_delete(after_ours), 0);
    signal(SIGTRAP, SIG_DFL);
    CHECK_EQ(needm_stop(), 0);
}
/* Goes one way in a new thread of a new start for each of its instructions. */
static void at_each_instruction(const struct way *way, void (*then)(void)) {
    comes = then;
    long at = 0, times = 0;
    for (came = 1; came; times++) {
        begin();
        left = at;
        join(thread(goes, (void *)way));
        end(4);
        /* Long ways are gone in strides: a step takes its time where a machine is virtual. */
        at += at < 150 ? 1 : 1 + (long)(next(&seed) % 8);
    }
    fprintf(stderr, "  %s: %ld times, to instruction %ld\n", way->name, times, at);
    CHECK(times > 40);
}
static void on_each_way(void (*then)(void)) {
    for (int i = 0; i < WAYS; i++) at_each_instruction(ways + i, then);
}

/* On the thread's own stack; on the signal stack; on one that the thread has brought. */
static void on_each_way_and_stack(void (*then)(void)) {
    for (int stack = 0; stack < 3; stack++) {
        flags_of_handler = stack > 0 ? SA_ONSTACK : 0;
        brings_its_own = stack == 2;
        on_each_way(then);
    }
    brings_its_own = flags_of_handler = 0;
}
static void a_handlers_callback_at_any_instruction_loses_nothing(void) { on_each_way_and_stack(call_and_check); }
static void also_one_that_faults_and_overflows(void) { on_each_way_and_stack(is_usable); }

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    seed = seed_asked_for(argc, argv, &binding);
    RUN(a_handlers_callback_at_any_instruction_loses_nothing);
    RUN(also_one_that_faults_and_overflows);
    return SUCCESS;
}
#endif
