/* Each function of needm.h with any amount of stack left, on the G and on a further stack: it does its work, or the
 * stack runs out in its middle, which ends the callback. Nothing of needm's, nor of the C library's, is left half done. */
#include "coroutine.h"
#include <alloca.h>

static size_t left;
static int deferred, pushed;
static void counts(void *arg) { ++*(int *)arg; }
static void calls_back(void *arg) { needm_callback(add, arg, 0, NULL); }
static int shows(const needm_m *m, void *sp, void *hi, void *arg) { return (void)m, (void)sp, (void)hi, (void)arg, 0; }
static int is_inside(const needm_m *m, void *arg) { return (void)m, (void)arg, 0; }
static void handles(int signal) {
    long sum = 0;
    (void)signal;
    needm_callback(add, &sum, 0, NULL);
}

static void does_ccall(void) { needm_ccall(nothing, NULL); }
static void calls_back_from_c(void) {
    long sum = 0;
    needm_ccall(calls_back, &sum);
}
static void nests(void) {
    long frame[8] = {0};
    needm_callback(add, frame, sizeof frame, NULL);
}
static void nests_and_faults(void) { needm_callback(fault, NULL, 0, NULL); }
static void nests_and_panics(void) { needm_callback(panics, NULL, 0, NULL); }
static void defers(void) {
    static needm_defer record;
    pushed += needm_defer_push(&record, counts, &deferred) == 0;
}
static void asks(void) {
    needm_stats stats = NEEDM_STATS_INIT;
    const needm_m *m = needm_self();
    needm_safepoint();
    needm_get_stats(&stats);
    needm_m_stack_used(m);
    needm_m_thread(m);
    needm_depth();
    needm_stack_left();
    needm_each_inside(is_inside, NULL);
}
static void stops_the_world(void) {
    if (needm_stop_the_world() != 0) return;
    needm_each_m(shows, NULL);
    needm_start_the_world();
}
static void leaves_the_world_stopped(void) { needm_stop_the_world(); }
static void is_refused(void) {
    needm_attach();
    needm_detach();
    needm_stop();
    needm_prefault(1);
}
static void spawns(void) { needm_spawn(nothing, NULL); }
static void interrupts_itself(void) { needm_interrupt(needm_self(), NULL); }
static void is_interrupted_by_a_handler(void) { raise(SIGUSR1); }
static void panics_here(void) { needm_panic(NULL); }
static void faults_here(void) { fault(NULL); }
static const struct {
    void (*function)(void);
    int result; /* if the stack suffices; or 0, because the first instruction needs more than there is */
} functions[] = {
    {does_ccall, 0}, {calls_back_from_c, 0}, {nests, 0}, {nests_and_faults, 0}, {nests_and_panics, 0}, {defers, 0},
    {asks, 0}, {stops_the_world, 0}, {leaves_the_world_stopped, 0}, {is_refused, 0}, {spawns, 0},
    {interrupts_itself, NEEDM_EINTERRUPTED}, {is_interrupted_by_a_handler, 0}, {panics_here, NEEDM_EPANIC},
    {faults_here, NEEDM_EFAULT},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions, OWN_FRAMES = 512, STEP = 24 };

static __attribute__((noinline)) void call_with_little(int which) {
    size_t now = needm_stack_left();
    if (now <= left + OWN_FRAMES) return;
    volatile char *used = alloca(now - left - OWN_FRAMES);
    used[0] = 1;
    functions[which].function();
}
static void on_the_g(void *which) {
    needm_defer record;
    pushed += needm_defer_push(&record, counts, &deferred) == 0;
    call_with_little(*(int *)which);
}
static void body(struct coroutine *co) { call_with_little(*(int *)co->arg); }
static void on_a_further_stack(void *arg) {
    needm_defer record;
    pushed += needm_defer_push(&record, counts, &deferred) == 0;
    resume(arg);
}

static void *stops_within_a_second(void *answer) {
    *(int *)answer = needm_stop_the_world_within(1000000000);
    if (*(int *)answer == 0) needm_start_the_world();
    return answer;
}
static void check_that_all_is_well(const sigset_t *before) {
    sigset_t after;
    int answer = 1;
    CHECK_EQ(deferred, pushed);
    CHECK_EQ(needm_depth(), 0);
    CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
    join(thread(stops_within_a_second, &answer));
    CHECK_EQ(answer, 0);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    for (int i = 1; i < 32; i++) CHECK_EQ(sigismember(&after, i), sigismember(before, i));
    works_again();
}
static void nothing_is_left_half_done(void) {
    struct coroutine co = {0};
    sigset_t before;
    map_stack(&co);
    /* i386 has another frame for handlers without SA_SIGINFO, which needm does not know. */
    struct sigaction action = {.sa_handler = handles, .sa_flags = SA_SIGINFO};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &before), 0);
    start((needm_config){.binding = binding, .stack_size = 64 * 1024});
    for (int further = 0; further < 2; further++)
        for (int which = 0; which < FUNCTIONS; which++) {
            /* qemu blocks the signal before it finds that the frame does not fit. */
            if (emulated() && functions[which].function == is_interrupted_by_a_handler) continue;
            for (left = seed % STEP; left < 8192; left += emulated() ? 24 * STEP : STEP) {
                deferred = pushed = 0;
                co.arg = &which;
                if (further) make(&co, body);
                int result = needm_callback(further ? on_a_further_stack : on_the_g, further ? (void *)&co : &which, 0, NULL);
                if (result == 0 && functions[which].function == leaves_the_world_stopped) CHECK_EQ(needm_start_the_world(), 0);
                CHECK(result == NEEDM_EOVERFLOW || result == functions[which].result);
                check_that_all_is_well(&before);
            }
        }
    CHECK_EQ(needm_detach(), 0);
    stop_when_idle();
    unmap_stack(&co);
}

int main(int argc, char **argv) {
    seed = parse_seed(argc, argv, &binding);
    RUN(nothing_is_left_half_done);
    return SUCCESS;
}
