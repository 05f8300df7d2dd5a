/* Every misuse is refused with an error. */
#include "check.h"
#include <limits.h>

static needm_defer d;
static void visit_never(void) {}
static int visit(const needm_m *m, void *sp, void *hi, void *arg) {
    (void)m, (void)sp, (void)hi, (void)arg;
    visit_never();
    return 0;
}
static int started_with(needm_config config, size_t size) {
    config.size = size;
    int result = needm_start(&config);
    if (result == 0) CHECK_EQ(needm_stop(), 0);
    return result;
}
#define START(...) started_with((needm_config){__VA_ARGS__}, sizeof(needm_config))

static void before_the_start_and_after_the_stop_everything_is_refused(void) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_attach(), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_detach(), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_spawn(nothing, NULL), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_stop(), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_stop_the_world(), NEEDM_ENOTSTARTED);
    CHECK_EQ(needm_defer_push(&d, nothing, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_defer_pop(&d), NEEDM_EINVAL);
    CHECK_EQ(needm_ccall(nothing, NULL), NEEDM_EINVAL);
    CHECK(needm_self() == NULL);
    CHECK_EQ(sum, 0);
}
static void bad_configurations_are_refused(void) {
    CHECK_EQ(started_with((needm_config){0}, 0), NEEDM_EINVAL);
    CHECK_EQ(started_with((needm_config){0}, offsetof(needm_config, guard_size) - 1), NEEDM_EINVAL);
    CHECK_EQ(START(.seed_ms = 5, .max_ms = 4), NEEDM_EINVAL);
    CHECK_EQ(START(.seed_ms = 10001), NEEDM_EINVAL);
    CHECK_EQ(START(.binding = 2), NEEDM_EINVAL);
    CHECK_EQ(START(.flags = 0x80), NEEDM_EINVAL);
    CHECK_EQ(START(.stack_size = SIZE_MAX), NEEDM_EINVAL);
    CHECK_EQ(START(.stack_size = SIZE_MAX / 2), NEEDM_EINVAL);
    CHECK_EQ(START(.signal_stack_size = SIZE_MAX), NEEDM_EINVAL);
    CHECK_EQ(START(.wait_ns = -1), NEEDM_EINVAL);
    CHECK_EQ(START(.interrupt_signal = SIGSEGV), NEEDM_EINVAL);
    needm_hooks hooks = {.size = offsetof(needm_hooks, fault) - 1};
    CHECK_EQ(START(.hooks = &hooks), NEEDM_EINVAL);
    hooks.size = 0;
    CHECK_EQ(START(.hooks = &hooks), NEEDM_EINVAL);
    CHECK_EQ(START(.seed_ms = 0), 0);
    CHECK_EQ(START(.stack_size = 1), 0);
}
static void a_larger_struct_is_accepted_if_the_rest_is_zero(void) {
    struct { needm_config config; uintptr_t more[3]; } larger = {{.size = sizeof larger}, {0}};
    CHECK_EQ(needm_start(&larger.config), 0);
    CHECK_EQ(needm_stop(), 0);
    larger.more[2] = 1;
    CHECK_EQ(needm_start(&larger.config), NEEDM_EINVAL);
}
static void a_second_start_and_a_second_stop_are_refused(void) {
    CHECK_EQ(needm_start(NULL), 0);
    CHECK_EQ(needm_start(NULL), NEEDM_EALREADY);
    CHECK_EQ(needm_stop(), 0);
    CHECK_EQ(needm_stop(), NEEDM_ENOTSTARTED);
}
static void busy_inside(void *arg) {
    (void)arg;
    CHECK_EQ(needm_stop(), NEEDM_EBUSY);
    CHECK_EQ(needm_detach(), NEEDM_EBUSY);
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_ccall(NULL, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_defer_push(NULL, nothing, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_defer_push(&d, NULL, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_each_m(visit, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
    CHECK_EQ(needm_recover(NULL), 0);
}
static void in_c(void *arg) {
    (void)arg;
    CHECK_EQ(needm_ccall(nothing, NULL), NEEDM_EINVAL);
    CHECK_EQ(needm_stop(), NEEDM_EBUSY);
    CHECK_EQ(needm_detach(), NEEDM_EBUSY);
}
static void calls_in_c(void *arg) { CHECK_EQ(needm_ccall(in_c, arg), 0); }
static pthread_barrier_t both;
static void stay(void *arg) {
    (void)arg;
    pthread_barrier_wait(&both);
    pthread_barrier_wait(&both);
}
static void *stays(void *arg) {
    CHECK_EQ(needm_callback(stay, NULL, 0, NULL), 0);
    return arg;
}
static void wrong_places_and_arguments_are_refused(void) {
    long sum = 0;
    needm_panic_info info = {0};
    CHECK_EQ(needm_start(NULL), 0);
    for (int held = 0; held < 2; held++) {
        CHECK_EQ(needm_callback(NULL, NULL, 0, NULL), NEEDM_EINVAL);
        CHECK_EQ(needm_callback(add, NULL, 1, NULL), NEEDM_EINVAL);
        info.size = 0;
        CHECK_EQ(needm_callback(add, &sum, 0, &info), NEEDM_EINVAL);
        info.size = sizeof info - 1;
        CHECK_EQ(needm_callback(add, &sum, 0, &info), NEEDM_EINVAL);
        CHECK_EQ(needm_callback(add, &sum, (sizeof(void *) > 4 ? 262144 : 65536) + 1, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(needm_callback(add, &sum, SIZE_MAX, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(needm_callback(add, &sum, SIZE_MAX - 16, NULL), NEEDM_EOVERFLOW);
        CHECK_EQ(sum, 0);
        CHECK_EQ(needm_ccall(nothing, NULL), NEEDM_EINVAL);
        CHECK_EQ(needm_spawn(NULL, NULL), NEEDM_EINVAL);
        CHECK_EQ(needm_defer_push(&d, nothing, NULL), NEEDM_EINVAL);
        CHECK_EQ(needm_start_the_world(), NEEDM_EINVAL);
        CHECK_EQ(needm_each_m(visit, NULL), NEEDM_EINVAL);
        CHECK_EQ(needm_g_bounds(NULL, NULL, NULL), NEEDM_EINVAL);
        CHECK_EQ(needm_recover(NULL), 0);
        CHECK_EQ(needm_callback(busy_inside, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(calls_in_c, NULL, 0, NULL), 0);
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_detach(), 0);
    pthread_barrier_init(&both, NULL, 2);
    pthread_t other = thread(stays, NULL);
    pthread_barrier_wait(&both);
    CHECK_EQ(needm_stop(), NEEDM_EBUSY);
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    pthread_barrier_wait(&both);
    join(other);
    CHECK_EQ(needm_stop(), 0);
}
static void every_error_has_a_name(void) {
    for (int error = 0; error >= -10; error--) {
        CHECK(needm_strerror(error)[0]);
        for (int other = 0; other > error; other--)
            CHECK(strcmp(needm_strerror(error), needm_strerror(other)) != 0);
    }
    CHECK(needm_strerror(1) && needm_strerror(INT_MIN));
}
static void nothing_is_written_beyond_a_callers_size(void) {
    struct { needm_stats stats; } out;
    memset(&out, 0xa5, sizeof out);
    out.stats.size = offsetof(needm_stats, ms_idle);
    needm_get_stats(&out.stats);
    CHECK_EQ(out.stats.ms_idle, 0xa5a5a5a5a5a5a5a5);
    CHECK_EQ(out.stats.size, offsetof(needm_stats, ms_idle));
}
static void panics_outside(void) { needm_panic(NULL); }
static void needm_panic_outside_a_callback_aborts(void) { CHECK_DIES(panics_outside, SIGABRT); }
static void unrecovered_fault(void) {
    CHECK_EQ(needm_start(&(needm_config){.size = sizeof(needm_config),
                                         .flags = NEEDM_UNRECOVERED_ABORTS}), 0);
    needm_callback(fault, NULL, 0, NULL);
}
static void unrecovered_panic(void) {
    CHECK_EQ(needm_start(&(needm_config){.size = sizeof(needm_config),
                                         .flags = NEEDM_UNRECOVERED_ABORTS}), 0);
    needm_callback(panic, NULL, 0, NULL);
}
static void unrecovered_endings_end_the_process_if_configured(void) {
    CHECK_DIES(unrecovered_fault, SIGSEGV);
    CHECK_DIES(unrecovered_panic, SIGABRT);
}
#ifndef _WIN32
/* What a child writes to standard error. */
static void (*ends)(void);
static int said[2];
static void says(void) {
    dup2(said[1], 2);
    close(said[0]);
    ends();
}
static void when_needm_ends_the_process_it_prints_one_line(void) {
    void (*all[])(void) = {panics_outside, unrecovered_fault, unrecovered_panic};
    for (int i = 0; i < 3; i++) {
        char line[1000];
        ends = all[i];
        CHECK_EQ(pipe(said), 0);
        CHECK(WIFSIGNALED(in_a_child(says)));
        close(said[1]);
        ssize_t length = read(said[0], line, sizeof line);
        close(said[0]);
        CHECK(length > 7 && memcmp(line, "needm: ", 7) == 0);
        /* An emulator adds a line. */
        if (!emulated()) CHECK(memchr(line, '\n', length) == line + length - 1);
    }
}
#endif

int main(void) {
    RUN(before_the_start_and_after_the_stop_everything_is_refused);
    RUN(bad_configurations_are_refused);
    RUN(a_larger_struct_is_accepted_if_the_rest_is_zero);
    RUN(a_second_start_and_a_second_stop_are_refused);
    RUN(wrong_places_and_arguments_are_refused);
    RUN(before_the_start_and_after_the_stop_everything_is_refused);
    RUN(every_error_has_a_name);
    RUN(nothing_is_written_beyond_a_callers_size);
    RUN(needm_panic_outside_a_callback_aborts);
    RUN(unrecovered_endings_end_the_process_if_configured);
#ifndef _WIN32
    RUN(when_needm_ends_the_process_it_prints_one_line);
#endif
    return SUCCESS;
}
