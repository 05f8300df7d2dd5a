/* An interrupt between any two instructions of a callback's way in, of its way out, and of needm's
 * functions that it calls: single step sends SIGTRAP after each, in whose handler another thread
 * asks. The callback ends there, or where needm's function ends; if it has returned by then, it
 * returns. The next callback is never ended. */
#include "check.h"
#include <errno.h>

#if !HAS_SINGLE_STEP
int main(void) {
    fprintf(stderr, "skipped: the processor has no single step\n");
    return SUCCESS;
}
#else
#include "step.h"

static uint32_t binding;
static uint64_t seed;
static volatile int answer, endless;
static needm_m *volatile target;
/* Through pipes, whose functions a handler may call: the question, and that it is answered. */
static int question[2], answered[2];
static int receives(int from) {
    char byte;
    ssize_t size;
    while ((size = read(from, &byte, 1)) < 0) CHECK_EQ(errno, EINTR);
    return size == 1;
}
static void *asks(void *arg) {
    while (receives(question[0])) {
        answer = needm_interrupt(target, arg);
        CHECK_EQ(write(answered[1], "", 1), 1);
    }
    return arg;
}
static void has_it_asked(void) {
    int saved = errno;
    CHECK_EQ(write(question[1], "", 1), 1);
    CHECK(receives(answered[0]));
    errno = saved;
}

/* The callbacks. They go on for ever if they were asked for, and the asker was told that they end. */
static void goes_on(void) {
    while (reached && answer == 0 && endless) __asm__ volatile("");
}
static volatile int ran;
static void plain(void *arg) {
    ran++;
    goes_on();
    (void)arg;
}
static void in_c(void *arg) { add(arg); }
static void calls_c(void *sum) {
    CHECK_EQ(needm_ccall(in_c, sum), 0);
    goes_on();
}
static void defers(void *sum) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, add, sum), 0);
    goes_on();
}
static void nests(void *sum) {
    int result = needm_callback(add, sum, 0, NULL);
    CHECK(result == 0 || result == NEEDM_EINTERRUPTED);
}
static void calls_back(void *sum) {
    int result = needm_callback(add, sum, 0, NULL);
    CHECK(result == 0 || result == NEEDM_EINTERRUPTED);
}
static void nests_in_c(void *sum) { CHECK_EQ(needm_ccall(calls_back, sum), 0); }
static void asks_needm(void *sum) {
    needm_safepoint();
    CHECK(needm_self() == target);
    CHECK(needm_depth() == 1);
    add(sum);
    goes_on();
}
static void panics(void *sum) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, add, sum), 0);
    needm_panic(sum);
}
struct path {
    const char *name;
    void (*fn)(void *);
    size_t framesize;
    int result;
};
#define PATH(fn, framesize, result) {#fn, fn, framesize, result}
static const struct path paths[] = {
    PATH(plain, 0, 0), PATH(plain, 64, 0), PATH(calls_c, 0, 0), PATH(defers, 0, 0),
    PATH(nests, 0, 0), PATH(nests_in_c, 0, 0), PATH(asks_needm, 0, 0), PATH(panics, 0, NEEDM_EPANIC),
};
enum { PATHS = sizeof paths / sizeof *paths };

static uint64_t mask(void) {
    sigset_t set;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
    uint64_t first = 0;
    memcpy(&first, &set, sizeof first < sizeof set ? sizeof first : sizeof set);
    return first;
}
static long refusals, endings, returns;
static void step(const struct path *path) {
    union {
        long sum;
        char bytes[64];
    } frame = {0};
    uint64_t then = mask();
    stack_t before, after;
    CHECK_EQ(sigaltstack(NULL, &before), 0);
    /* Where callbacks nest, the inner one may have returned before it was ended. */
    endless = path->fn != nests && path->fn != nests_in_c;
    answer = 1;
    steps_on();
    int result = needm_callback(path->fn, &frame, path->framesize, NULL);
    steps_off();
    CHECK(result == 0 || result == NEEDM_EINTERRUPTED || result == NEEDM_EPANIC);
    if (!reached || answer != 0) {
        CHECK_EQ(result, path->result);
        refusals++;
    } else if (result == NEEDM_EINTERRUPTED)
        endings++;
    else
        returns++;
    if (path->fn != plain && endless && result == path->result) CHECK_EQ(frame.sum, 1);
    CHECK(mask() == then);
    CHECK_EQ(sigaltstack(NULL, &after), 0);
    CHECK(before.ss_sp == after.ss_sp && before.ss_flags == after.ss_flags);
    /* The next callbacks are not ended, and the thread is as any other. */
    long sum = 0;
    for (int i = 0; i < 3; i++) CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 3);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
}
/* All of needm_entry is looked at, and of the rest an instruction of so many. */
enum { STRIDE = 32 };
static void *goes(void *arg) {
    const struct path *path = arg;
    long times = 0, at = (long)(next(&seed) % STRIDE);
    refusals = endings = returns = 0;
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_attach(), 0);
    if (binding == NEEDM_BIND_CALL) CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    for (reached = 1; reached; times++) {
        reached = 0;
        countdown = at;
        step(path);
        at += STRIDE;
    }
    fprintf(stderr, "  %s: %ld times, to step %ld: %ld refused, %ld ended, %ld returned\n", path->name,
            times, at, refusals, endings, returns);
    CHECK(times > 40);
    CHECK(endings > 0);
    return NULL;
}
static void learns(void *arg) {
    (void)arg;
    target = needm_self();
}
static void a_callback_may_be_interrupted_at_any_instruction(void) {
    for (int stack = 0; stack < 2; stack++) {
        flags_of_handler = stack ? SA_ONSTACK : 0;
        for (int i = 0; i < PATHS; i++) {
            start((needm_config){.binding = binding, .max_ms = 1});
            handle_steps();
            CHECK_EQ(needm_callback(learns, NULL, 0, NULL), 0);
            CHECK_EQ(needm_detach(), 0);
            CHECK(pipe(question) == 0 && pipe(answered) == 0);
            pthread_t other = thread(asks, question);
            join(thread(goes, (void *)&paths[i]));
            close(question[1]);
            join(other);
            close(question[0]), close(answered[0]), close(answered[1]);
            signal(SIGTRAP, SIG_DFL);
            stop_when_idle();
        }
    }
}

int main(int argc, char **argv) {
    if (emulated()) {
        fprintf(stderr, "skipped under an emulator\n");
        return SUCCESS;
    }
    seed = parse_seed(argc, argv, &binding);
    at_instruction = has_it_asked;
    steps_in_entry = STRIDE;
    CHECK((uintptr_t)needm_entry < (uintptr_t)needm_entry_end);
    RUN(a_callback_may_be_interrupted_at_any_instruction);
    return SUCCESS;
}
#endif
