/* A handler between any two instructions of needm: single step sends SIGTRAP after each. In the
 * handler the thread calls back, exits, jumps out, or waits while other threads go on and fork. */
#include "filter.h"
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <ucontext.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
void steps_on(void);
void steps_off(void);
__asm__(STEP_FUNCTIONS);

static uint32_t binding;
static uint64_t seed;
static void (*at_instruction)(void);
static volatile long countdown; /* instructions until it runs */
static volatile int reached;
static void on_step(int signal, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    (void)signal, (void)info;
    if (countdown-- > 0) return;
    reached = 1;
    STOP_STEPPING(interrupted);
    at_instruction();
}
static int flags_of_handler;
static void handle_steps(void) {
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO | flags_of_handler};
    CHECK_EQ(sigaction(SIGTRAP, &action, NULL), 0);
}

/* The paths through needm that are stepped. */
static jmp_buf out;
static volatile long ran;
static void runs(void *arg) {
    __sync_fetch_and_add(&ran, 1);
    if (arg) add(arg);
}
static int overflown; /* a handler may run on a G that is almost full */
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
/* The handler of a fault runs without single step. */
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
/* This key is made after needm's, whose destructor therefore runs first. */
static pthread_key_t after_needms;
static void is_over(void *times) {
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
    int may_be_jumped_out_of; /* nothing is made there, or taken from others */
};
#define PATH(go, may_be_jumped_out_of) {#go, go, may_be_jumped_out_of}
static const struct path paths[] = {
    PATH(a_first_callback, 0), PATH(a_callback, 1), PATH(a_frame_that_is_copied, 1),
    PATH(attach_and_detach, 0), PATH(callbacks_that_nest, 1), PATH(a_panic, 1), PATH(a_fault, 1),
    PATH(an_overflow, 1), PATH(a_jump_out, 1), PATH(a_world_stopped_and_started, 0), PATH(a_thread_exit, 0),
};
enum { PATHS = sizeof paths / sizeof *paths };

/* The thread can call back as any other. */
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
static void *goes(void *path) {
    stack_t brought = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    if (brings_its_own) CHECK_EQ(sigaltstack(&brought, NULL), 0);
    ((const struct path *)path)->go();
    if (((const struct path *)path)->go == a_thread_exit) return NULL;
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
/* The same, and the thread stops needm: then nothing of needm's is left on it. */
static void *goes_and_stops(void *path) {
    stack_t stack;
    goes(path);
    CHECK(stats().ms_total <= 8);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(sigaltstack(NULL, &stack), 0);
    if (brings_its_own)
        CHECK(stack.ss_sp == own_stack && stack.ss_size == sizeof own_stack);
    else
        CHECK(stack.ss_flags & SS_DISABLE);
    return NULL;
}
static void begin(void) {
    start((needm_config){.binding = binding, .max_ms = 64});
    handle_steps();
    CHECK_EQ(pthread_key_create(&after_needms, is_over), 0);
}
/* A thread that takes an M checks a few others, whether they have exited. */
static void wait_for_exits_to_be_noticed(void) {
    for (int i = 0; i < 2000 && (i == 0 || stats().ms_bound > 0); i++) join(thread(is_fine, NULL));
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
/* Runs `one` for each instruction of a path. Beyond the first hundred it makes random strides: a
 * step is slow on a virtual machine. */
static void at_each_instruction(const struct path *path, void (*then)(void), void (*one)(const struct path *)) {
    at_instruction = then;
    long at = 0, times = 0;
    for (reached = 1; reached; times++) {
        reached = 0;
        countdown = at;
        one(path);
        at += at < 100 ? 1 : 1 + (long)(next(&seed) % 96);
    }
    fprintf(stderr, "  %s: %ld times, to instruction %ld\n", path->name, times, at);
    CHECK(times > 40);
}
static void in_a_new_start(const struct path *path) {
    begin();
    if (path->go == a_thread_exit) {
        join(thread(goes, (void *)path));
        end(8);
        return;
    }
    join(thread(goes_and_stops, (void *)path));
    CHECK_EQ(pthread_key_delete(after_needms), 0);
    signal(SIGTRAP, SIG_DFL);
}
/* The handler calls back: on the thread's stack, on needm's signal stack, on the thread's own
 * signal stack. */
static void calls_back(void) {
    if (next(&seed) & 1)
        call_and_check();
    else
        is_usable();
}
static int mappings(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file);
    int lines = 0, c;
    while ((c = getc(file)) != EOF) lines += c == '\n';
    fclose(file);
    return lines;
}
static void a_handler_may_call_back_at_any_instruction(void) {
    const struct path *first = paths;
    at_each_instruction(first, calls_back, in_a_new_start);
    int before = mappings();
    for (int stack = 0; stack < 3; stack++) {
        flags_of_handler = stack > 0 ? SA_ONSTACK : 0;
        brings_its_own = stack == 2;
        for (int i = 0; i < PATHS; i++) at_each_instruction(paths + i, calls_back, in_a_new_start);
    }
    /* The C library keeps stacks of threads that have exited. A signal stack that is lost where a
     * handler maps another one stays for each such instruction. */
    int more = mappings() - before;
    fprintf(stderr, "  %d mappings more\n", more);
    CHECK(more <= 4);
    brings_its_own = flags_of_handler = 0;
}

/* The thread exits by the raw system call. Not while its destructors run: what they were about to
 * return is lost. Nor while it stops the world: if it was dismantling the record of the previous
 * owner, that world stays stopped. */
static void exits(void) { syscall(SYS_exit, 0); }
static void which_exits(const struct path *path) {
    join(thread(goes, (void *)path));
    wait_for_exits_to_be_noticed();
}
static void a_thread_may_exit_at_any_instruction(void) {
    begin();
    for (int i = 0; i < PATHS; i++)
        if (paths[i].go != a_thread_exit && paths[i].go != a_world_stopped_and_started)
            at_each_instruction(paths + i, exits, which_exits);
    end(16);
}

/* The handler jumps out. */
static sigjmp_buf away;
static void jumps(void) { siglongjmp(away, 1); }
static void *goes_and_jumps(void *path) {
    if (sigsetjmp(away, 1) == 0)
        goes(path);
    else {
        is_usable();
        CHECK_EQ(needm_detach(), 0);
    }
    return NULL;
}
static void which_jumps(const struct path *path) {
    overflown = 0;
    begin();
    join(thread(goes_and_jumps, (void *)path));
    end(8);
}
static void a_handler_may_jump_out_at_any_instruction(void) {
    for (int i = 0; i < PATHS; i++)
        if (paths[i].may_be_jumped_out_of) at_each_instruction(paths + i, jumps, which_jumps);
}

/* The handler waits, and other threads go on. */
static volatile int still, go_on, stopped;
static void waits(void) {
    still = 1;
    WAIT_UNTIL(go_on); /* asleep: each turn of a spinning thread is long on a loaded machine */
}
static void a_child(void) {
    is_usable();
    join(thread(is_fine, NULL));
    CHECK_EQ(needm_stop_the_world(), 0);
    CHECK_EQ(needm_start_the_world(), 0);
}
static void *stops(void *arg) {
    CHECK_EQ(needm_stop_the_world(), 0);
    long then = ran;
    stopped = 1;
    for (int i = 0; i < 5; i++) usleep(50);
    CHECK_EQ(ran, then);
    CHECK_EQ(needm_start_the_world(), 0);
    return arg;
}
static void which_waits(const struct path *path) {
    still = go_on = stopped = 0;
    begin();
    pthread_t made = thread(goes, (void *)path);
    WAIT_UNTIL(still || pthread_kill(made, 0) != 0 || pthread_tryjoin_np(made, NULL) == 0);
    if (still) {
        if (path->go != a_world_stopped_and_started) {
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
static void other_threads_go_on_and_fork_while_one_waits_at_any_instruction(void) {
    for (int i = 0; i < PATHS; i++) at_each_instruction(paths + i, waits, which_waits);
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
