/* The same work for two builds of needm, which `cargo bench -p needm-benches -- --compare` links to
 * this file: `driver CASE` prints the nanoseconds of one repetition, `driver CASE N` does N of them
 * and times nothing, so that a tool can count. It exits with 3 if the build does not know the case. */
#define _GNU_SOURCE
#include <needm.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { UNKNOWN = 3, LEAVE_FP_CONTROL = 4, TIMES = 7 };

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}
static void must(int answer) {
    if (answer != 0) abort();
}
static void add(void *sum) { ++*(volatile long *)sum; }

/* All loops call through a pointer, as the first one does. */
static void calls(long n) {
    void (*volatile call)(void *) = add;
    long sum = 0;
    for (long i = 0; i < n; i++) call(&sum);
}
static void callbacks(long n) {
    long sum = 0;
    for (long i = 0; i < n; i++) needm_callback(add, &sum, 0, NULL);
    if (sum != n) abort();
}
static void framed(long n) {
    long frame[8] = {0};
    for (long i = 0; i < n; i++) needm_callback(add, frame, sizeof frame, NULL);
    if (frame[0] != n) abort();
}
static void again(void *sum) { must(needm_callback(add, sum, 0, NULL)); }
static void nest(void *arg) {
    long sum = 0;
    for (long i = 0; i < *(long *)arg; i++) must(needm_ccall(again, &sum));
}
static void nested(long n) { must(needm_callback(nest, &n, 0, NULL)); }

static void recovers(void *arg) {
    (void)arg;
    needm_recover(NULL);
}
static void deferring(void *arg) {
    needm_defer deferred;
    must(needm_defer_push(&deferred, recovers, arg));
}
static void deferred(long n) {
    for (long i = 0; i < n; i++) must(needm_callback(deferring, NULL, 0, NULL));
}
static void panicking(void *arg) {
    deferring(arg);
    needm_panic(NULL);
}
static void panics(long n) {
    for (long i = 0; i < n; i++) must(needm_callback(panicking, NULL, 0, NULL));
}
static volatile int *volatile nowhere;
static void faulting(void *arg) {
    deferring(arg);
    *nowhere = 1;
}
static void faults(long n) {
    for (long i = 0; i < n; i++) must(needm_callback(faulting, NULL, 0, NULL));
}
static void pairs(long n) {
    for (long i = 0; i < n; i++) {
        must(needm_attach());
        must(needm_detach());
    }
}
static void stops(long n) {
    for (long i = 0; i < n; i++) {
        must(needm_stop_the_world());
        must(needm_start_the_world());
    }
}

/* Threads, one after the other. */
static void *exits(void *arg) { return arg; }
static void *calls_back(void *arg) {
    long sum = 0;
    must(needm_callback(add, &sum, 0, NULL));
    return arg;
}
static void one_after_another(void *(*body)(void *), long n) {
    for (long i = 0; i < n; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, body, NULL));
        must(pthread_join(thread, NULL));
    }
}
static void threads(long n) { one_after_another(exits, n); }
static void threads_with_one(long n) { one_after_another(calls_back, n); }

/* Threads that exist at once. */
static pthread_barrier_t here, go;
static void *stays(void *arg) {
    calls_back(arg);
    pthread_barrier_wait(&here);
    pthread_barrier_wait(&go);
    return arg;
}
static void crowd(long n) {
    enum { MOST = 1000 };
    static pthread_t made[MOST];
    pthread_attr_t small;
    if (n > MOST) n = MOST;
    must(pthread_attr_init(&small));
    must(pthread_attr_setstacksize(&small, 32 * 1024));
    must(pthread_barrier_init(&here, NULL, (unsigned)n + 1));
    must(pthread_barrier_init(&go, NULL, (unsigned)n + 1));
    for (long i = 0; i < n; i++) must(pthread_create(made + i, &small, stays, NULL));
    pthread_barrier_wait(&here);
    pthread_barrier_wait(&go);
    for (long i = 0; i < n; i++) must(pthread_join(made[i], NULL));
}

static const struct row {
    const char *name;
    uint32_t binding, flags;
    void (*work)(long n);
    long n; /* repetitions that take some milliseconds, TIMES times */
} rows[] = {
    {"plain", 0, 0, calls, 300000},
    {"bound", 0, 0, callbacks, 300000},
    {"bound-without-fp-control", 0, LEAVE_FP_CONTROL, callbacks, 300000},
    {"per-call", NEEDM_BIND_CALL, 0, callbacks, 150000},
    {"per-call-without-fp-control", NEEDM_BIND_CALL, LEAVE_FP_CONTROL, callbacks, 150000},
    {"frame", 0, 0, framed, 50000},
    {"nested", 0, 0, nested, 50000},
    {"deferred", 0, 0, deferred, 50000},
    {"panic", 0, 0, panics, 10000},
    {"fault", 0, 0, faults, 1000},
    {"attach-detach", 0, 0, pairs, 5000},
    {"stop-the-world", 0, 0, stops, 1000},
    {"threads", 0, 0, threads, 100},
    {"thread-with-one", 0, 0, threads_with_one, 100},
    {"thread-with-one-per-call", NEEDM_BIND_CALL, 0, threads_with_one, 100},
    {"crowd", 0, 0, crowd, 300},
};

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    const struct row *row = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof rows / sizeof *rows; i++)
        if (strcmp(argv[1], rows[i].name) == 0) row = rows + i;
    if (row == NULL) return UNKNOWN;
    needm_config config;
    memset(&config, 0, sizeof config);
    config.size = sizeof config;
    config.binding = row->binding;
    config.flags = row->flags;
    if (needm_start(&config) != 0) return UNKNOWN;
    if (argc > 2) {
        /* What happens once has happened before the repetitions that are counted. */
        row->work(10);
        row->work(atol(argv[2]));
    } else {
        double took[TIMES];
        row->work(row->n / 10 + 1);
        for (int i = 0; i < TIMES; i++) {
            uint64_t start = now();
            row->work(row->n);
            took[i] = (double)(now() - start) / (double)row->n;
        }
        qsort(took, TIMES, sizeof *took, ascending);
        printf("%.3f\n", took[TIMES / 2]);
    }
    return needm_stop() != 0;
}
