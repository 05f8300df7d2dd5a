/* C that callbacks have called jumps past them, on the first thread, and its Ms come back. Under valgrind another stack has
 * the name of that thread's. */
#include "check.h"
#include <setjmp.h>

static jmp_buf back;
static void jumps(void *arg) {
    (void)arg;
    longjmp(back, 1);
}
static void calls_back(void *arg) { needm_callback(jumps, arg, 0, NULL); }
static void calls_c(void *arg) { needm_ccall(calls_back, arg); }
/* Further down than the callback that was jumped past, or not. */
static __attribute__((noinline)) void calls_from_below(int frames) {
    volatile char unused[1000];
    unused[0] = 1;
    if (frames)
        calls_from_below(frames - 1);
    else
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    unused[1] = 1;
}

int main(void) {
    start((needm_config){.seed_ms = 1});
    for (volatile int i = 0; i < 200; i++) {
        if (setjmp(back) == 0) needm_callback(i % 3 ? calls_c : jumps, NULL, 0, NULL);
        calls_from_below(i % 20);
    }
    CHECK(stats().ms_total <= 4);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
