/* What the test programs share. Each is a process of its own; success is an exit
 * status that an accident cannot give. */
#ifndef CHECK_H
#define CHECK_H
#define _GNU_SOURCE
#include <needm.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SUCCESS 200

#define CHECK(what)                                                         \
    do {                                                                    \
        if (!(what)) {                                                      \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            _exit(1);                                                       \
        }                                                                   \
    } while (0)

#define CHECK_EQ(got, want)                                                 \
    do {                                                                    \
        long long got_ = (long long)(got), want_ = (long long)(want);       \
        if (got_ != want_) {                                                \
            fprintf(stderr, "%s:%d: %s is %lld, want %lld\n", __FILE__, __LINE__, \
                    #got, got_, want_);                                     \
            _exit(1);                                                       \
        }                                                                   \
    } while (0)

/* Runs a test, and says so. */
#define RUN(test)                      \
    do {                               \
        fprintf(stderr, "%s\n", #test); \
        test();                        \
    } while (0)

/* Under an emulator everything takes some twenty times as long. */
static inline int emulated(void) {
    const char *runner = getenv("NEEDM_RUNNER");
    return runner && *runner;
}
/* qemu-i386 7.2 has one table of segments for all threads: what returns from a handler has
 * the thread pointer of the last thread made. What needs more is run natively, too. */
static inline int handlers_lose_their_thread(void) {
#ifdef __i386__
    return emulated();
#else
    return 0;
#endif
}
static inline int rounds(int natively) {
    return emulated() ? (natively + 19) / 20 : natively;
}

static inline needm_stats stats(void) {
    needm_stats s = {.size = sizeof s};
    needm_get_stats(&s);
    return s;
}

static inline void start(needm_config config) {
    config.size = sizeof config;
    CHECK_EQ(needm_start(&config), 0);
}

static inline pthread_t thread(void *(*fn)(void *), void *arg) {
    pthread_t made;
    pthread_attr_t small; /* for hundreds at once in 32 bits */
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    CHECK_EQ(pthread_create(&made, &small, fn, arg), 0);
    pthread_attr_destroy(&small);
    return made;
}

static inline void join(pthread_t made) { CHECK_EQ(pthread_join(made, NULL), 0); }

/* How a child process that runs body() ends: its status, as waitpid gives it. */
static inline int in_a_child(void (*body)(void)) {
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body();
        _exit(SUCCESS);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}
#define CHECK_CHILD(body)                            \
    do {                                             \
        int status_ = in_a_child(body);              \
        CHECK(WIFEXITED(status_));                   \
        CHECK_EQ(WEXITSTATUS(status_), SUCCESS);     \
    } while (0)
#define CHECK_DIES(body, signal)                     \
    do {                                             \
        int status_ = in_a_child(body);              \
        CHECK(WIFSIGNALED(status_));                 \
        CHECK_EQ(WTERMSIG(status_), signal);         \
    } while (0)

/* xorshift64 (Marsaglia, "Xorshift RNGs"). */
static inline uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}
/* The words of a command line: "call" for that binding, a number for the seed, which is
 * printed. */
static inline uint64_t seed_asked_for(int argc, char **argv, uint32_t *binding) {
    uint64_t seed = (uint64_t)time(NULL) | 1;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "call") == 0)
            *binding = NEEDM_BIND_CALL;
        else
            seed = strtoull(argv[i], NULL, 10) | 1;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    return seed;
}

static inline void nothing(void *arg) { (void)arg; }
static inline void add(void *sum) { ++*(volatile long *)sum; }
/* Faults at address 0; the compiler must not see that it does, nor a sanitizer. */
__attribute__((noinline, unused, no_sanitize("address", "thread", "undefined"))) static void fault(void *arg) {
    (void)arg;
    int *volatile null = NULL;
    *(volatile int *)null = 1;
}
static inline void panic(void *value) { needm_panic(value); }
__attribute__((noinline)) static int deeper(volatile char *above) {
    volatile char here[512];
    here[0] = above ? above[0] + 1 : 1;
    return deeper(here) + here[0];
}
static inline void overflow(void *arg) {
    (void)arg;
    deeper(NULL);
}
#endif
