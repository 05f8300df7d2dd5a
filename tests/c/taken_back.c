/* Deferred functions that are taken back (needm_defer_pop). */
#include "check.h"

static char order[64];
static void note(void *letter) { strcat(order, letter); }
static needm_defer d[4];
static void defer(int i) {
    static const char *letters[] = {"0", "1", "2", "3"};
    CHECK_EQ(needm_defer_push(&d[i], note, (void *)letters[i]), 0);
}

static int taken[4], takes;
static void (*ending)(void *);
static void defers_and_takes_back(void *arg) {
    for (int i = 0; i < 4; i++) defer(i);
    for (int i = 0; i < takes; i++) {
        CHECK_EQ(needm_defer_pop(&d[taken[i]]), 0);
        CHECK_EQ(needm_defer_pop(&d[taken[i]]), NEEDM_EINVAL);
    }
    ending(arg);
}
static void one_that_is_taken_back_does_not_run_and_the_others_do(void) {
    static const struct {
        const char *takes, *run;
    } cases[] = {{"", "3210"}, {"3", "210"},   {"1", "320"},   {"0", "321"},
                 {"32", "10"}, {"12", "30"},   {"123", "0"},   {"0123", ""},
                 {"3210", ""}, {"1302", ""},   {"03", "21"},   {"213", "0"}};
    void (*const endings[])(void *) = {nothing, panic, fault, overflow};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int e = 0; e < 4; e++) {
            takes = (int)strlen(cases[c].takes);
            for (int i = 0; i < takes; i++) taken[i] = cases[c].takes[i] - '0';
            order[0] = 0;
            ending = endings[e];
            CHECK_EQ(needm_callback(defers_and_takes_back, NULL, 0, NULL) != 0, e != 0);
            CHECK(strcmp(order, cases[c].run) == 0);
            for (int i = 0; i < 4; i++) CHECK_EQ(needm_defer_pop(&d[i]), NEEDM_EINVAL);
        }
}

/* The record of one that is over does not take back another one in its place. */
static void takes_back_old_ones(void *arg) {
    needm_defer again, never = {{0}}, garbage = {{(uintptr_t)needm_self(), 0, 1, 1}};
    for (int i = 0; i < 4; i++) CHECK_EQ(needm_defer_pop(&d[i]), NEEDM_EINVAL);
    CHECK_EQ(needm_defer_push(&again, note, "0"), 0);
    for (int i = 0; i < 4; i++) CHECK_EQ(needm_defer_pop(&d[i]), NEEDM_EINVAL);
    CHECK_EQ(needm_defer_pop(&never), NEEDM_EINVAL);
    CHECK_EQ(needm_defer_pop(&garbage), NEEDM_EINVAL);
    memset(&garbage, 0xff, sizeof garbage);
    CHECK_EQ(needm_defer_pop(&garbage), NEEDM_EINVAL);
    CHECK_EQ(needm_defer_pop(NULL), NEEDM_EINVAL);
    (void)arg;
}
static void only_what_is_pending_is_taken_back(void) {
    order[0] = 0;
    takes = 0;
    ending = nothing;
    CHECK_EQ(needm_callback(defers_and_takes_back, NULL, 0, NULL), 0);
    CHECK_EQ(needm_callback(takes_back_old_ones, NULL, 0, NULL), 0);
    CHECK(strcmp(order, "32100") == 0);
}

/* A deferred function has begun to run when it takes itself back, and those before it are pending. */
static void takes_back_itself_and_0(void *arg) {
    CHECK_EQ(needm_defer_pop(&d[1]), NEEDM_EINVAL);
    CHECK_EQ(needm_defer_pop(&d[0]), 0);
    defer(2);
    (void)arg;
}
static void defers_what_takes_back(void *arg) {
    defer(3);
    defer(0);
    CHECK_EQ(needm_defer_push(&d[1], takes_back_itself_and_0, NULL), 0);
    (void)arg;
}
static void a_deferred_function_takes_back_others(void) {
    order[0] = 0;
    CHECK_EQ(needm_callback(defers_what_takes_back, NULL, 0, NULL), 0);
    CHECK(strcmp(order, "23") == 0);
}

/* A callback inside takes back those of the one around it, also those that it has deferred behind them. */
static void takes_back_those_around_it(void *in_c) {
    defer(2);
    CHECK_EQ(needm_defer_pop(&d[1]), 0);
    CHECK_EQ(needm_defer_pop(&d[0]), 0);
    defer(3);
    CHECK_EQ(needm_defer_pop(&d[2]), 0);
    CHECK_EQ(needm_defer_pop(&d[1]), NEEDM_EINVAL);
    if (in_c) panic(NULL);
}
static void calls_back(void *arg) {
    CHECK_EQ(needm_callback(takes_back_those_around_it, arg, 0, NULL), arg ? NEEDM_EPANIC : 0);
}
static void around_it(void *in_c) {
    needm_defer last;
    CHECK_EQ(needm_defer_push(&last, note, "l"), 0);
    defer(0);
    defer(1);
    if (in_c) CHECK_EQ(needm_ccall(calls_back, in_c), 0);
    else calls_back(in_c);
    CHECK(strcmp(order, "3") == 0);
    CHECK_EQ(needm_defer_pop(&d[3]), NEEDM_EINVAL);
    defer(2);
    defer(1);
    CHECK_EQ(needm_ccall((void (*)(void *))(void *)needm_defer_pop, &d[2]), 0);
}
static void callbacks_inside_take_back_those_around_them(void) {
    for (int in_c = 0; in_c < 2; in_c++) {
        order[0] = 0;
        CHECK_EQ(needm_callback(around_it, in_c ? order : NULL, 0, NULL), 0);
        CHECK(strcmp(order, "31l") == 0);
    }
}

static void *takes_back_anothers(void *arg) {
    CHECK_EQ(needm_defer_pop(&d[0]), NEEDM_EINVAL);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    CHECK_EQ(needm_defer_pop(&d[0]), NEEDM_EINVAL);
    return arg;
}
static void waits_for_another_thread(void *arg) {
    defer(0);
    join(thread(takes_back_anothers, arg));
}
static void calls_c_that_waits(void *arg) { CHECK_EQ(needm_ccall(waits_for_another_thread, arg), 0); }
static void another_threads_are_not_taken_back(void) {
    order[0] = 0;
    CHECK_EQ(needm_callback(calls_c_that_waits, NULL, 0, NULL), 0);
    CHECK(strcmp(order, "0") == 0);
}

/* More than there is room for at once. */
static void takes_turns(void *arg) {
    defer(0);
    for (int i = 0; i < 10000; i++) {
        defer(1);
        defer(2);
        CHECK_EQ(needm_defer_pop(&d[1 + i % 2]), 0);
        CHECK_EQ(needm_defer_pop(&d[2 - i % 2]), 0);
    }
    (void)arg;
}
static void places_are_free_again(void) {
    order[0] = 0;
    CHECK_EQ(needm_callback(takes_turns, NULL, 0, NULL), 0);
    CHECK(strcmp(order, "0") == 0);
}

#if HAS_SINGLE_STEP && !defined(_WIN32)
#include "step.h"

/* A handler takes them back at any instruction: each either runs or is taken back, once. */
static int ran[3], taken_back[3], round_of, own_ran;
static void runs(void *of) { (*(int *)of)++; }
static void takes_back(int i) {
    int answer = needm_defer_pop(&d[i]);
    CHECK(answer == 0 || answer == NEEDM_EINVAL);
    taken_back[i] += answer == 0;
}
static void in_the_handlers_callback(void *arg) {
    needm_defer own[2];
    CHECK_EQ(needm_defer_push(&own[0], runs, &own_ran), 0);
    CHECK_EQ(needm_defer_push(&own[1], runs, &own_ran), 0);
    takes_back(round_of % 3);
    takes_back(round_of / 3 % 3);
    CHECK_EQ(needm_defer_pop(&own[1]), 0);
    (void)arg;
}
static void call_back(void) { CHECK_EQ(needm_callback(in_the_handlers_callback, NULL, 0, NULL), 0); }
/* As needm::defer does, which needs no callback of the handler's: if it is refused, nothing is deferred. */
static void defer_for_a_while(void) {
    needm_defer own;
    int answer = needm_defer_push(&own, runs, &own_ran);
    CHECK(answer == 0 || answer == NEEDM_EINVAL);
    CHECK_EQ(needm_defer_pop(&own), answer);
    own_ran++;
}
static void are_deferred_and_taken_back(void *arg) {
    for (int i = 0; i < 3; i++) {
        if (i == 2) steps_on();
        CHECK_EQ(needm_defer_push(&d[i], runs, &ran[i]), 0);
    }
    takes_back(1);
    takes_back(2);
    (void)arg;
}
static void a_handler_may_do_so_at_any_instruction(void) {
    void (*const handlers[])(void) = {call_back, defer_for_a_while};
    for (int h = 0; h < 2; h++) {
        flags_of_handler = h ? 0 : SA_ONSTACK;
        handle_steps();
        at_instruction = handlers[h];
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        long steps = 0;
        do {
            memset(d, 0, sizeof d);
            memset(ran, 0, sizeof ran);
            memset(taken_back, 0, sizeof taken_back);
            round_of = (int)(steps * 5 % 9);
            own_ran = reached = 0;
            countdown = steps++;
            CHECK_EQ(needm_callback(are_deferred_and_taken_back, NULL, 0, NULL), 0);
            steps_off();
            for (int i = 0; i < 3; i++) CHECK_EQ(ran[i] + taken_back[i], 1);
            CHECK_EQ(own_ran, reached);
        } while (reached);
        CHECK(steps > 100);
    }
}
#endif

int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    RUN(one_that_is_taken_back_does_not_run_and_the_others_do);
    RUN(only_what_is_pending_is_taken_back);
    RUN(a_deferred_function_takes_back_others);
    RUN(callbacks_inside_take_back_those_around_them);
    RUN(another_threads_are_not_taken_back);
    RUN(places_are_free_again);
#if HAS_SINGLE_STEP && !defined(_WIN32)
    if (!emulated()) RUN(a_handler_may_do_so_at_any_instruction);
#endif
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
