/* Endings of callbacks: deferred functions, panics, recovery, copied frames, nesting. */
#include "check.h"

static char order[64];
static void note(void *letter) { strcat(order, letter); }
static needm_panic_info seen;
static int recovered;
static void recover(void *arg) {
    (void)arg;
    seen = (needm_panic_info){.size = sizeof seen};
    recovered = needm_recover(&seen);
}
static void (*ending)(void *);
static void defers_abc(void *arg) {
    needm_defer d[3];
    CHECK_EQ(needm_defer_push(&d[0], note, "a"), 0);
    CHECK_EQ(needm_defer_push(&d[1], note, "b"), 0);
    CHECK_EQ(needm_defer_push(&d[2], note, "c"), 0);
    ending(arg);
}
static int run_abc(void (*how)(void *), needm_panic_info *info) {
    order[0] = 0;
    ending = how;
    return needm_callback(defers_abc, NULL, 0, info);
}
static void deferred_functions_run_last_in_first_out_at_every_ending(void) {
    CHECK_EQ(run_abc(nothing, NULL), 0);
    CHECK(strcmp(order, "cba") == 0);
    CHECK_EQ(run_abc(panic, NULL), NEEDM_EPANIC);
    CHECK(strcmp(order, "cba") == 0);
    CHECK_EQ(run_abc(fault, NULL), NEEDM_EFAULT);
    CHECK(strcmp(order, "cba") == 0);
    CHECK_EQ(run_abc(overflow, NULL), NEEDM_EOVERFLOW);
    CHECK(strcmp(order, "cba") == 0);
}

static void panics_then_recovers(void *arg) {
    needm_defer d[2];
    needm_defer_push(&d[0], note, "a");
    needm_defer_push(&d[1], recover, NULL);
    needm_panic(arg);
}
static void a_recovered_callback_returns_0_and_runs_the_other_deferred_functions(void) {
    order[0] = 0;
    CHECK_EQ(needm_callback(panics_then_recovers, &seen, 0, NULL), 0);
    CHECK_EQ(recovered, 1);
    CHECK_EQ(seen.kind, NEEDM_EPANIC);
    CHECK(seen.value == &seen);
    CHECK(strcmp(order, "a") == 0);
}

static void replaced_by(void *arg) {
    needm_defer d[2];
    needm_defer_push(&d[0], note, "a");
    needm_defer_push(&d[1], (void (*)(void *))ending, (void *)2);
    needm_panic((void *)1);
    (void)arg;
}
static void a_panic_fault_or_overflow_of_a_deferred_function_replaces_the_first(void) {
    needm_panic_info info = {sizeof info};
    order[0] = 0;
    ending = panic;
    CHECK_EQ(needm_callback(replaced_by, NULL, 0, &info), NEEDM_EPANIC);
    CHECK(info.value == (void *)2);
    ending = fault;
    CHECK_EQ(needm_callback(replaced_by, NULL, 0, &info), NEEDM_EFAULT);
    CHECK_EQ(info.signo, SIGSEGV);
    ending = overflow;
    CHECK_EQ(needm_callback(replaced_by, NULL, 0, &info), NEEDM_EOVERFLOW);
    CHECK(strcmp(order, "aaa") == 0);
}
static void overflows_with_deferred_overflows(void *arg) {
    needm_defer d[3];
    needm_defer_push(&d[0], note, "a");
    needm_defer_push(&d[1], overflow, NULL);
    needm_defer_push(&d[2], overflow, NULL);
    overflow(arg);
}
static void an_overflow_in_a_function_deferred_by_an_overflow_ends_too(void) {
    for (int i = 0; i < rounds(200); i++) {
        order[0] = 0;
        CHECK_EQ(needm_callback(overflows_with_deferred_overflows, NULL, 0, NULL), NEEDM_EOVERFLOW);
        CHECK(strcmp(order, "a") == 0);
    }
}

static size_t size;
static void check_and_change(void *frame) {
    unsigned char *bytes = frame;
    CHECK_EQ((uintptr_t)frame % 16, 0);
    for (size_t i = 0; i < size; i++) {
        CHECK_EQ(bytes[i], (unsigned char)(7 * i + 1));
        bytes[i] ^= 0xff;
    }
    ending(NULL);
}
static void frames_are_copied_aligned_and_copied_back_at_every_ending(void) {
    const size_t sizes[] = {1, 7, 8, 15, 16, 17, 4096, 30000};
    void (*const how[])(void *) = {nothing, panic, fault, overflow};
    const int results[] = {0, NEEDM_EPANIC, NEEDM_EFAULT, NEEDM_EOVERFLOW};
    static unsigned char frame[30100];
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int h = 0; h < 4; h++)
            for (int shift = 0; shift < 3; shift++) {
                size = sizes[s];
                ending = how[h];
                for (size_t i = 0; i < size; i++) frame[shift + i] = (unsigned char)(7 * i + 1);
                frame[shift + size] = 0x5a;
                CHECK_EQ(needm_callback(check_and_change, frame + shift, size, NULL), results[h]);
                for (size_t i = 0; i < size; i++)
                    CHECK_EQ(frame[shift + i], (unsigned char)(7 * i + 1) ^ 0xff);
                CHECK_EQ(frame[shift + size], 0x5a);
            }
}

static long depth, want_depth;
static void nested(void *level);
static void from_c(void *level) {
    needm_panic_info info = {sizeof info};
    int ended = needm_callback(nested, level, 0, &info);
    CHECK_EQ(ended, (long)level == want_depth ? NEEDM_EFAULT : 0);
}
static void nested(void *level) {
    depth = (long)level;
    if (depth == want_depth) fault(NULL);
    CHECK_EQ(needm_ccall(from_c, (void *)((long)level + 1)), 0);
}
static void nesting_holds_to_depth_200_with_a_fault_at_the_bottom(void) {
    want_depth = 200;
    for (int i = 0; i < rounds(1000); i++) {
        depth = 0;
        CHECK_EQ(needm_callback(nested, (void *)1, 0, NULL), 0);
        CHECK_EQ(depth, 200);
    }
}

static void panics_in_c(void *arg) {
    needm_defer d;
    CHECK_EQ(needm_defer_push(&d, note, "c"), 0);
    needm_panic(arg);
}
static void calls_c_that_panics(void *arg) {
    needm_defer d;
    needm_defer_push(&d, note, "g");
    needm_ccall(panics_in_c, arg);
    CHECK(0);
}
static void panics_and_defers_in_c_belong_to_the_callback_around_it(void) {
    needm_panic_info info = {sizeof info};
    order[0] = 0;
    CHECK_EQ(needm_callback(calls_c_that_panics, order, 0, &info), NEEDM_EPANIC);
    CHECK(info.value == order);
    CHECK(strcmp(order, "cg") == 0);
}

/* C that a deferred function calls leaves the frames alone in which C has deferred, and panicked. */
static void looks_at_its_frame(void *arg) {
    const unsigned char *bytes = arg;
    for (int i = 0; i < 4096; i++) CHECK_EQ(bytes[i], 0x5e);
    note("f");
}
static void fills_the_stack(void *arg) {
    volatile unsigned char bytes[32768];
    memset((void *)bytes, 0xaa, sizeof bytes);
    (void)arg;
}
static void calls_back_from_c(void *arg) {
    fills_the_stack(arg);
    CHECK_EQ(needm_callback(note, "n", 0, NULL), 0);
}
static void calls_c(void *arg) {
    (void)arg;
    CHECK_EQ(needm_ccall(calls_back_from_c, NULL), 0);
}
/* Which is the first one's C, below that: this one is made on the G. */
static void calls_c_in_a_callback(void *arg) { CHECK_EQ(needm_callback(calls_c, arg, 0, NULL), 0); }
static void calls_c_and_panics_there(void *arg) {
    calls_c(arg);
    CHECK_EQ(needm_ccall((void (*)(void *))needm_panic, arg), 0);
}
static void defers_in_c_and_panics(void *last) {
    unsigned char bytes[4096];
    needm_defer d[2];
    memset(bytes, 0x5e, sizeof bytes);
    CHECK_EQ(needm_defer_push(&d[0], looks_at_its_frame, bytes), 0);
    CHECK_EQ(needm_defer_push(&d[1], *(void (**)(void *))last, NULL), 0);
    needm_panic(NULL);
}
static void calls_c_that_defers(void *last) { needm_ccall(defers_in_c_and_panics, last); }
static void *find_its_frames(void *arg) {
    void (*lasts[])(void *) = {calls_c, calls_c_in_a_callback, calls_c_and_panics_there, calls_c};
    for (int i = 0; i < 4; i++) {
        order[0] = 0;
        CHECK_EQ(needm_callback(calls_c_that_defers, &lasts[i], 0, NULL), NEEDM_EPANIC);
        CHECK(strcmp(order, "nf") == 0);
    }
    return arg;
}
/* Under valgrind nothing says where the first thread's stack is, and C that is far down may be a fiber's. */
static void deferred_functions_of_c_find_its_frames(void) {
    if (!getenv("NEEDM_WATCHED")) find_its_frames(NULL);
    join(thread(find_its_frames, NULL));
}
#ifndef _WIN32 /* no signals */
static void *handled_on_its_stack;
static void panics_in_a_handler(int signal) {
    (void)signal;
    CHECK_EQ(needm_callback(calls_c_that_defers, handled_on_its_stack, 0, NULL), NEEDM_EPANIC);
}
static void deferred_functions_of_a_handlers_c_find_its_frames(void) {
    static void (*last)(void *) = calls_c;
    struct sigaction action = {.sa_handler = panics_in_a_handler, .sa_flags = SA_ONSTACK};
    stack_t own = {.ss_size = 512 * 1024}, before;
    own.ss_sp = malloc(own.ss_size);
    CHECK(own.ss_sp);
    handled_on_its_stack = &last;
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_EQ(sigaltstack(&own, &before), 0);
    for (int i = 0; i < 10; i++) {
        order[0] = 0;
        CHECK_EQ(raise(SIGUSR1), 0);
        CHECK(strcmp(order, "nf") == 0);
    }
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(sigaltstack(&before, NULL), 0);
    free(own.ss_sp);
}
#endif

static void directly(void *arg) {
    char frame[64] = "xyz";
    CHECK_EQ(needm_callback(note, frame, sizeof frame, NULL), 0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_ccall(from_c, (void *)190), 0);
    (void)arg;
}
static void a_callback_made_on_a_g_nests_there(void) {
    for (int i = 0; i < rounds(1000); i++) {
        order[0] = 0;
        CHECK_EQ(needm_callback(directly, NULL, 0, NULL), 0);
        CHECK(strcmp(order, "xyz") == 0);
    }
}

static int ran;
static void count(void *arg) { ran++, (void)arg; }
static void defers_too_much(void *arg) {
    needm_defer d;
    int refused = 0, kept = 0;
    while (kept < 100000 && (refused = needm_defer_push(&d, count, NULL)) == 0) kept++;
    CHECK_EQ(refused, NEEDM_ENOMEM);
    CHECK(kept > 1000);
    *(int *)arg = kept;
}
static void deferred_functions_for_which_a_g_has_no_room_are_refused_and_none_is_lost(void) {
    int kept = 0;
    ran = 0;
    CHECK_EQ(needm_callback(defers_too_much, &kept, 0, NULL), 0);
    CHECK_EQ(ran, kept);
}

#ifdef _WIN32
enum { STACK_SIZE = 256 * 1024 }; /* a level of nesting keeps more registers */
#else
enum { STACK_SIZE = 128 * 1024 };
#endif

int main(int argc, char **argv) {
    (void)argv;
    /* 200 nested callbacks leave as many frames on one G. needm_ccall spills all registers that a
     * call keeps, for a collector to find: on aarch64 and riscv64 a level takes 350 bytes and more. */
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD, .stack_size = STACK_SIZE});
    RUN(deferred_functions_run_last_in_first_out_at_every_ending);
    RUN(a_recovered_callback_returns_0_and_runs_the_other_deferred_functions);
    RUN(a_panic_fault_or_overflow_of_a_deferred_function_replaces_the_first);
    RUN(an_overflow_in_a_function_deferred_by_an_overflow_ends_too);
    RUN(frames_are_copied_aligned_and_copied_back_at_every_ending);
    RUN(nesting_holds_to_depth_200_with_a_fault_at_the_bottom);
    RUN(panics_and_defers_in_c_belong_to_the_callback_around_it);
    RUN(deferred_functions_of_c_find_its_frames);
#ifndef _WIN32
    RUN(deferred_functions_of_a_handlers_c_find_its_frames);
#endif
    RUN(a_callback_made_on_a_g_nests_there);
    RUN(deferred_functions_for_which_a_g_has_no_room_are_refused_and_none_is_lost);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
