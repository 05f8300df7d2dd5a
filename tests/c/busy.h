/* Threads that call back while something else goes on. */
#ifndef BUSY_H
#define BUSY_H
#include "check.h"

/* A callback that sleeps in C for a moment. */
static inline void short_sleep(void *arg) {
    struct timespec nap = {0, 1000};
    (void)arg;
    nanosleep(&nap, NULL);
}
static inline void sleeps_in_c(void *arg) { needm_ccall(short_sleep, arg); }

/* Until it is set: calls back in three ways; makes threads that call back once. */
static volatile int over;
static inline void *calls_all_the_time(void *arg) {
    long sum = 0;
    while (!over) {
        CHECK_EQ(needm_callback(sleeps_in_c, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    }
    return arg;
}
static inline void *calls_once(void *arg) {
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    return arg;
}
static inline void *others_come_and_go(void *arg) {
    while (!over) join(thread(calls_once, NULL));
    return arg;
}
#endif
