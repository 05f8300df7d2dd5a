/* The program does not link the unwinder: glibc loads it when a thread exits. The callbacks that the
 * thread leaves end as ever. */
#include "check.h"

static int deferred;
static void counts(void *arg) {
    (void)arg;
    deferred++;
}
static void exits(void *arg) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, counts, NULL), 0);
    if (arg) needm_ccall((void (*)(void *))pthread_exit, arg);
    pthread_exit(arg);
}
static void nests(void *arg) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, counts, NULL), 0);
    needm_callback(exits, arg, 0, NULL);
}
static void *calls_back(void *arg) {
    needm_callback(nests, arg, 0, NULL);
    CHECK(!"reached");
    return NULL;
}

int main(void) {
    start((needm_config){0});
    for (int i = 0; i < rounds(50); i++) {
        deferred = 0;
        join(thread(calls_back, i % 2 ? &deferred : NULL));
        CHECK_EQ(deferred, 2);
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
    }
    CHECK(stats().ms_total <= 2);
    stop_when_idle();
    return SUCCESS;
}
