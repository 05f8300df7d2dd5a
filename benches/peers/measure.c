/* Measures a runtime: C threads that call back. */
#define _GNU_SOURCE
#include "measure.h"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}
static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

static void nothing(void) {}

/* How many of `count`: a tenth where PEERS_QUICK is set, to see that all works. */
static int rounds(int count) { return getenv("PEERS_QUICK") ? count / 10 : count; }

/* One call of `work`, on a thread that has called before. */
struct repeated {
    void (*work)(void);
    int calls;
    double median;
};
static void *repeated(void *arg) {
    struct repeated *all = arg;
    double took[15];
    for (int i = 0; i < all->calls; i++) all->work();
    for (int round = 0; round < 15; round++) {
        double start = now();
        for (int i = 0; i < all->calls; i++) all->work();
        took[round] = (now() - start) / all->calls;
    }
    all->median = median(took, 15);
    return NULL;
}
static double on_a_thread(void (*work)(void), int calls) {
    struct repeated all = {work, rounds(calls), 0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, repeated, &all) != 0) abort();
    pthread_join(thread, NULL);
    return all.median;
}

/* The first call on a new thread, in addition to making and joining the thread. */
static void (*volatile first_work)(void);
static void *first(void *arg) {
    first_work();
    return arg;
}
static double threads(void (*work)(void), int count) {
    first_work = work;
    double start = now();
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, first, NULL) != 0) abort();
        pthread_join(thread, NULL);
    }
    return (now() - start) / count;
}
static double first_over_create_and_join(void (*work)(void)) {
    enum { GROUPS = 401, THREADS = 10 };
    static double differences[GROUPS];
    int groups = rounds(GROUPS);
    threads(work, THREADS);
    for (int i = 0; i < groups; i++) {
        double before = threads(nothing, THREADS), with = threads(work, THREADS);
        differences[i] = with - (before + threads(nothing, THREADS)) / 2;
    }
    return median(differences, groups);
}

/* Memory of threads that have called back and still exist. */
static pthread_barrier_t here, go;
static void *stays(void *arg) {
    first_work();
    pthread_barrier_wait(&here);
    pthread_barrier_wait(&go);
    return arg;
}
static double rss(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1) abort();
    fclose(file);
    return (double)(pages * sysconf(_SC_PAGESIZE));
}
static double crowd(void (*work)(void)) {
    enum { THREADS = 300 };
    static pthread_t made[THREADS];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * 1024);
    pthread_barrier_init(&here, NULL, THREADS + 1);
    pthread_barrier_init(&go, NULL, THREADS + 1);
    first_work = work;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(made + i, &small, stays, NULL) != 0) abort();
    pthread_barrier_wait(&here);
    double used = rss() / THREADS;
    pthread_barrier_wait(&go);
    for (int i = 0; i < THREADS; i++) pthread_join(made[i], NULL);
    return used;
}

void measure(void (*call)(void), void (*fault)(void)) {
    printf("repeated %.2f\n", on_a_thread(call, 100000));
    printf("first %.0f\n", first_over_create_and_join(call));
    crowd(nothing);
    double without = crowd(nothing);
    printf("memory %.0f\n", crowd(call) - without);
    if (fault != NULL) printf("fault %.0f\n", on_a_thread(fault, 20000));
    fflush(stdout);
}

void measure_calls(void (*call)(void)) {
    printf("repeated %.2f\n", on_a_thread(call != NULL ? call : nothing, 100000));
    fflush(stdout);
}
