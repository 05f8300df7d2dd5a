/* How long an endless callback goes on after needm_interrupt: for each kind of loop, the distribution
 * of the time from the request to the return of needm_callback. Where a callback can only end at the
 * end of something else (C that it has called, a deferred function), the time is from there.
 *
 * interrupts [TIMES] prints a row for each kind. */
#define _GNU_SOURCE
#include <needm.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MUST(what)                                                    \
    do {                                                              \
        if (!(what)) {                                                \
            fprintf(stderr, "interrupts: failed: %s\n", #what); \
            exit(1);                                                  \
        }                                                             \
    } while (0)

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static needm_m *_Atomic ready; /* an M whose callback may be interrupted */
static _Atomic int64_t asked, place;
static atomic_int again, ended;
static void begins(void) {
    atomic_store(&asked, 0);
    atomic_store(&ready, needm_self());
}

static void registers(void *arg) {
    begins();
    for (uintptr_t n = (uintptr_t)arg;; n = n * 5 + 1) __asm__ volatile("" : "+r"(n));
}
static void library_calls(void *arg) {
    char text[200], copy[200];
    (void)arg;
    memset(text, 'x', sizeof text);
    begins();
    for (;;) {
        memcpy(copy, text, sizeof copy);
        text[memchr(copy, 'y', sizeof copy) ? 1 : 2] = (char)(strtol("17", NULL, 10) + strnlen(text, 5));
    }
}
static void system_calls(void *arg) {
    (void)arg;
    begins();
    for (;;) pause();
}
static void until_asked(void *arg) {
    (void)arg;
    begins();
    while (!atomic_load(&asked)) sched_yield();
    atomic_store(&place, now());
}
static void ccalls(void *arg) {
    for (;;) needm_ccall(until_asked, arg);
}
static void nested(void *arg) {
    if (needm_callback(registers, arg, 0, NULL) == NEEDM_EINTERRUPTED) needm_panic(arg);
}
static void deferred_functions(void *arg) {
    needm_defer d;
    needm_defer_push(&d, until_asked, arg);
}
static void nothing(void *arg) { (void)arg; }
static void calls_of_needm(void *arg) {
    begins();
    for (;;) {
        needm_ccall(nothing, arg);
        needm_safepoint();
    }
}
static void ways_in_and_out(void *arg) {
    begins();
    while (needm_callback(nothing, arg, 0, NULL) == 0) continue;
}

static const struct kind {
    const char *name;
    void (*fn)(void *);
    int again; /* a request that comes while a callback inside returns is forgotten: ask again */
} kinds[] = {
    {"a loop in registers", registers, 0},
    {"calls of the C library", library_calls, 0},
    {"a system call", system_calls, 0},
    {"C that it has called", ccalls, 0},
    {"a callback inside", nested, 0},
    {"a deferred function", deferred_functions, 0},
    {"ccalls and safepoints", calls_of_needm, 0},
    {"callbacks inside, in and out", ways_in_and_out, 1},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Each on a processor of its own, where there are two: else the time is the scheduler's. */
static void run_on(int number) {
    cpu_set_t all, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && number-- == 0) CPU_SET(cpu, &one);
    if (CPU_COUNT(&one) == 1) sched_setaffinity(0, sizeof one, &one);
}

/* Asks for each callback that is ready: once, or until it has ended. */
static atomic_int over;
static void *watches(void *arg) {
    run_on(0);
    while (!atomic_load(&over)) {
        needm_m *m = atomic_exchange(&ready, NULL);
        if (!m) {
            sched_yield();
            continue;
        }
        /* At any of its instructions, and once it sleeps in a system call. */
        for (int i = rand() % 3000; i > 0; i--) __asm__ volatile("");
        usleep(50);
        int64_t at = now();
        int result = needm_interrupt(m, NULL);
        while (atomic_load(&again) && !atomic_load(&ended)) needm_interrupt(m, NULL);
        MUST(result == 0 || atomic_load(&again));
        atomic_store(&asked, at);
    }
    return arg;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}
static int times;
static void *measures(void *arg) {
    int64_t *each = malloc((size_t)times * sizeof *each);
    run_on(1);
    MUST(each && needm_attach() == 0);
    printf("%-30s %9s %9s %9s %9s  us, of %d\n", "interrupted in", "least", "median", "99 %", "most", times);
    for (int kind = 0; kind < KINDS; kind++) {
        atomic_store(&again, kinds[kind].again);
        for (int i = 0; i < times; i++) {
            atomic_store(&place, 0);
            atomic_store(&ended, 0);
            int result = needm_callback(kinds[kind].fn, &over, 0, NULL);
            int64_t end = now(), from;
            atomic_store(&ended, 1);
            /* Of a callback inside it is the inner one that an interrupt ends. */
            MUST(result == NEEDM_EINTERRUPTED || result == NEEDM_EPANIC || result == 0);
            while (!(from = atomic_load(&asked))) sched_yield(); /* it may end before the request returns */
            each[i] = end - (atomic_load(&place) > from ? atomic_load(&place) : from);
        }
        qsort(each, (size_t)times, sizeof *each, compare);
        printf("%-30s %9.1f %9.1f %9.1f %9.1f\n", kinds[kind].name, (double)each[0] / 1e3, (double)each[times / 2] / 1e3,
            (double)each[times - 1 - times / 100] / 1e3, (double)each[times - 1] / 1e3);
        fflush(stdout);
    }
    free(each);
    return arg;
}

int main(int argc, char **argv) {
    pthread_t watchdog, thread;
    times = argc > 1 ? atoi(argv[1]) : 1000;
    MUST(times > 0 && needm_start(NULL) == 0);
    MUST(pthread_create(&watchdog, NULL, watches, NULL) == 0);
    MUST(pthread_create(&thread, NULL, measures, NULL) == 0);
    pthread_join(thread, NULL);
    atomic_store(&over, 1);
    pthread_join(watchdog, NULL);
    needm_stats stats = NEEDM_STATS_INIT;
    needm_get_stats(&stats);
    MUST(stats.interrupts >= (uint64_t)times * KINDS);
    MUST(needm_stop() == 0);
    return 0;
}
