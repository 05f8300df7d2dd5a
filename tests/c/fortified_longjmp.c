/* The longjmp of programs that are compiled with _FORTIFY_SOURCE ends the process if it goes to a
 * lower address, as to a frame that is gone. One from a G to the thread's own stack goes up,
 * also on a thread that is younger than its M. */
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 2
#include "check.h"
#include <setjmp.h>

enum { THREADS = 20 };

static __thread jmp_buf back;

static void jumps(void *arg) {
    ++*(int *)arg;
    longjmp(back, 1);
}
static void *foreign(void *arg) {
    for (volatile int i = 0; i < 3; i++) {
        if (setjmp(back) == 0) needm_callback(jumps, arg, 0, NULL);
    }
    return arg;
}
/* In a child: a `longjmp` that is refused aborts. */
static void younger_threads_jump_out_of_callbacks(void) {
    /* All Ms are there before any thread. */
    start((needm_config){.seed_ms = THREADS});
    int jumped[THREADS] = {0};
    for (int round = 0; round < 2; round++) {
        pthread_t made[THREADS];
        for (int i = 0; i < THREADS; i++) made[i] = thread(foreign, &jumped[i]);
        for (int i = 0; i < THREADS; i++) join(made[i]);
    }
    for (int i = 0; i < THREADS; i++) CHECK_EQ(jumped[i], 6);
    CHECK_EQ(needm_stop(), 0);
}

/* All Gs are below the stacks of threads, on 64 bits. */
static void *own(void *arg) {
    void *lo, *hi;
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    CHECK((uintptr_t)hi < (uintptr_t)&lo);
    return arg;
}
static void stacks_are_below_those_of_threads(void) {
    start((needm_config){.seed_ms = THREADS});
    pthread_t made[THREADS];
    for (int i = 0; i < THREADS; i++) made[i] = thread(own, NULL);
    for (int i = 0; i < THREADS; i++) join(made[i]);
    own(NULL);
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    if (sizeof(void *) < 8) {
        fprintf(stderr, "skipped: 32 bits have no room for it\n");
        return SUCCESS;
    }
    CHECK_CHILD(younger_threads_jump_out_of_callbacks);
    /* Again and again: addresses are used anew. */
    for (int i = 0; i < 3; i++) stacks_are_below_those_of_threads();
    return SUCCESS;
}
