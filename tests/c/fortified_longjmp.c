/* The longjmp of programs that are compiled with _FORTIFY_SOURCE ends the process if it goes to a
 * lower address, as to a frame that is gone. One from a G to the thread's own stack goes up,
 * also on a thread that is younger than its M. */
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 2
#include "check.h"
#include <setjmp.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

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
static size_t stack_size;
static void stacks_are_below_those_of_threads(void) {
    start((needm_config){.seed_ms = THREADS, .stack_size = stack_size});
    pthread_t made[THREADS];
    for (int i = 0; i < THREADS; i++) made[i] = thread(own, NULL);
    for (int i = 0; i < THREADS; i++) join(made[i]);
    own(NULL);
    CHECK_EQ(needm_stop(), 0);
}

/* Where needm maps Gs, others have mapped most of the room. */
static void gs_find_what_is_left_of_their_room(void) {
    const uintptr_t piece = (uintptr_t)1 << 30; /* on 32 bits this is not called */
    int mapped = 0;
    for (uintptr_t at = 96; at < 144; at++)
        mapped += mmap((void *)(at * piece), piece, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != MAP_FAILED;
    CHECK(mapped > 40);
    stacks_are_below_those_of_threads();
}

static void large_gs_are_below_too(void) {
    stack_size = (size_t)1 << (sizeof(void *) < 8 ? 20 : 30);
    stacks_are_below_those_of_threads();
}

int main(void) {
    if (sizeof(void *) < 8) {
        fprintf(stderr, "skipped: 32 bits have no room for it\n");
        return SUCCESS;
    }
    /* First: of threads that have exited the C library keeps stacks, which lie above. */
    if (!emulated()) { /* an emulator notes each page */
        CHECK_CHILD(gs_find_what_is_left_of_their_room);
        CHECK_CHILD(large_gs_are_below_too);
    }
    CHECK_CHILD(younger_threads_jump_out_of_callbacks);
    /* Again and again: addresses are used anew. */
    for (int i = 0; i < 3; i++) stacks_are_below_those_of_threads();
    return SUCCESS;
}
