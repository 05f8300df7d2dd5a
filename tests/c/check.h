/* What the test programs share. Each runs in a process of its own. It exits with SUCCESS,
 * which an accident cannot give. */
#ifndef CHECK_H
#define CHECK_H
#ifndef _GNU_SOURCE /* g++ defines it */
#define _GNU_SOURCE
#endif
#include "../arch/arch.h"
#include <needm.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#ifndef _WIN32
#include <sys/wait.h>
#endif
#include <time.h>
#include <unistd.h>

#define SUCCESS 200

#define CHECK(what)                                                         \
    do {                                                                    \
        if (!(what)) {                                                      \
            fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #what); \
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

/* Prints the name of a test and runs it. */
#define RUN(test)                      \
    do {                               \
        fprintf(stderr, "%s\n", #test); \
        test();                        \
    } while (0)

static inline int emulated(void) {
    const char *runner = getenv("NEEDM_RUNNER");
    return runner && *runner;
}
/* Whether a thread that returns from a handler then has another thread's pointer. What needs
 * a right one is tested natively. */
static inline int handlers_lose_their_thread(void) { return QEMU_MIXES_UP_THREADS && emulated(); }
/* How often a test repeats: under an emulator, or with ThreadSanitizer, everything takes some
 * twenty times as long. */
static inline int rounds(int natively) {
#ifdef __SANITIZE_THREAD__
    return (natively + 19) / 20;
#else
    return emulated() ? (natively + 19) / 20 : natively;
#endif
}

static inline needm_stats stats(void) {
    needm_stats s = {.size = sizeof s};
    needm_get_stats(&s);
    return s;
}

/* Flags beside those that a program asks for: the tests run many programs with other ones. */
static inline uint32_t more_flags(void) {
    const char *flags = getenv("NEEDM_FLAGS");
    return flags ? (uint32_t)strtoul(flags, NULL, 0) : 0;
}
static inline void start(needm_config config) {
    config.size = sizeof config;
    config.flags |= more_flags();
    CHECK_EQ(needm_start(&config), 0);
}

static inline pthread_t thread(void *(*fn)(void *), void *arg) {
    pthread_t made;
    pthread_attr_t small; /* hundreds of stacks fit in 32 bits */
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    CHECK_EQ(pthread_create(&made, &small, fn, arg), 0);
    pthread_attr_destroy(&small);
    return made;
}

static inline void join(pthread_t made) { CHECK_EQ(pthread_join(made, NULL), 0); }

#ifdef _WIN32
#include "windows.h"
#else
/* As signal(), which leaves all but the first word of the mask as it was on the stack:
 * qemu-riscv64 7.2 takes the second one for the mask. */
static inline void handle(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    CHECK_EQ(sigaction(number, &action, NULL), 0);
}

/* Runs body() in a child process; its status, as waitpid gives it. */
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
/* handler(address, context) is what handled faults before needm, or the system does. */
static void (*handles_fault)(uintptr_t address, void *context);
static inline void handle_fault(int number, siginfo_t *info, void *context) {
    (void)number;
    handles_fault((uintptr_t)info->si_addr, context);
}
static inline void handle_faults(void (*handler)(uintptr_t address, void *context)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    handles_fault = handler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    if (handler) action.sa_sigaction = handle_fault;
    else action.sa_handler = SIG_DFL;
    CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
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

/* How many mappings the process has. */
static inline int mappings(void) {
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file);
    int lines = 0, c;
    while ((c = getc(file)) != EOF) lines += c == '\n';
    fclose(file);
    return lines;
}
#endif

/* xorshift64 (Marsaglia, "Xorshift RNGs"). */
static inline uint64_t next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}
/* Reads a command line: "call" sets NEEDM_BIND_CALL, a number is the seed. Prints the seed:
 * given again, it makes the same random choices. */
static inline uint64_t parse_seed(int argc, char **argv, uint32_t *binding) {
    uint64_t seed = (uint64_t)time(NULL) | 1;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "call") == 0)
            *binding = NEEDM_BIND_CALL;
        else
            seed = strtoull(argv[i], NULL, 10) | 1;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    return seed;
}

/* Waits until `condition` holds, without a limit: the harness has one. */
#define WAIT_UNTIL(condition) \
    while (!(condition)) usleep(100)
/* Stops needm. A thread that has returned from its callback, or a spawned one, may still be
 * on its way out of needm: until then the answer is NEEDM_EBUSY. */
static inline void stop_when_idle(void) {
    int answer;
    WAIT_UNTIL((answer = needm_stop()) != NEEDM_EBUSY);
    CHECK_EQ(answer, 0);
}

static inline void nothing(void *arg) { (void)arg; }
static inline void add(void *sum) { *(volatile long *)sum = *(volatile long *)sum + 1; }
/* Faults at address 0. Neither the compiler nor a sanitizer may see that it does. */
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

/* For a function whose local variables lie on its stack, although AddressSanitizer may put those of others
 * elsewhere. */
#define ON_ITS_STACK __attribute__((noinline, no_sanitize("address")))

/* Writes over the frames below the caller's, as other functions would: callbacks that were jumped out of
 * are over for certain then. */
ON_ITS_STACK __attribute__((unused)) static void overwrite(void) {
    volatile unsigned char frame[8192];
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = 0xa5;
}
#endif
