/* The loops that are measured. They are C, as the callers of callbacks are. Each repeats
   something `n` times and returns the nanoseconds that took. needm's functions are passed
   as pointers. */
#define _GNU_SOURCE
#include "../../tests/arch/arch.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

typedef void function(void *);
typedef int callback(function *, void *, size_t, void *);

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void count(void *sum) { ++*(volatile uint64_t *)sum; }

uint64_t loop_calls(uint64_t n) {
    function *volatile call = count;
    uint64_t sum = 0, start = now();
    for (uint64_t i = 0; i < n; i++) call(&sum);
    return now() - start;
}

static void store(void *word) { store_fp_control(word); }
uint64_t loop_calls_that_store_fp_control(uint64_t n) {
    function *volatile call = store;
    uint32_t word = 0;
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) call(&word);
    return now() - start;
}

uint64_t loop_callbacks(callback *call, uint64_t n) {
    uint64_t sum = 0, start = now();
    for (uint64_t i = 0; i < n; i++) call(count, &sum, 0, NULL);
    return now() - start;
}

uint64_t loop_framed_callbacks(callback *call, uint64_t n) {
    uint64_t frame[8] = {0}, start = now();
    for (uint64_t i = 0; i < n; i++) call(count, frame, sizeof frame, NULL);
    return now() - start;
}

/* From inside a callback: out to C, and from there to a nested callback. */
static callback *nested_call;
static void call_again(void *sum) { nested_call(count, sum, 0, NULL); }
struct nested {
    int (*ccall)(function *, void *);
    uint64_t n, took;
};
static void nest(void *arg) {
    struct nested *nested = arg;
    uint64_t sum = 0, start = now();
    for (uint64_t i = 0; i < nested->n; i++) nested->ccall(call_again, &sum);
    nested->took = now() - start;
}
uint64_t loop_nested_callbacks(callback *call, int (*ccall)(function *, void *), uint64_t n) {
    struct nested nested = {ccall, n, 0};
    nested_call = call;
    call(nest, &nested, 0, NULL);
    return nested.took;
}

uint64_t loop_pairs(int (*first)(void), int (*second)(void), uint64_t n) {
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        first();
        second();
    }
    return now() - start;
}

static char other_stack[65536];
uint64_t loop_sigaltstacks(uint64_t n) {
    stack_t before, ours = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        syscall(SYS_sigaltstack, &ours, &before);
        syscall(SYS_sigaltstack, &before, NULL);
    }
    return now() - start;
}

/* Faults: two ways to handle one without needm, and needm's. */
static volatile int *volatile nowhere;
static sigjmp_buf escape;
static void jump(int signal) {
    (void)signal;
    siglongjmp(escape, 1);
}
static struct sigaction handle(void (*how)(int)) {
    struct sigaction before, ours = {.sa_handler = how, .sa_flags = SA_NODEFER};
    sigemptyset(&ours.sa_mask);
    sigaction(SIGSEGV, &ours, &before);
    return before;
}
uint64_t loop_faults_left_by_jump(uint64_t n) {
    struct sigaction before = handle(jump);
    volatile uint64_t left = n;
    uint64_t start = now();
    /* The mask is not saved: SA_NODEFER leaves it as it is in the handler. */
    sigsetjmp(escape, 0);
    if (left > 0) {
        left--;
        *nowhere = 1;
    }
    uint64_t took = now() - start;
    sigaction(SIGSEGV, &before, NULL);
    return took;
}
void fault_here(void);
extern char fault_resume[];
__asm__(FAULT_HERE);
static void skip(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    CONTEXT_PC((ucontext_t *)context) = (uintptr_t)fault_resume;
}
uint64_t loop_faults_returned_from(uint64_t n) {
    struct sigaction before, ours = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
    sigemptyset(&ours.sa_mask);
    sigaction(SIGSEGV, &ours, &before);
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) fault_here();
    uint64_t took = now() - start;
    sigaction(SIGSEGV, &before, NULL);
    return took;
}

static int (*defer_push)(void *, function *, void *);
static int (*recover)(void *);
static void recovers(void *arg) {
    (void)arg;
    recover(NULL);
}
static void faults(void *arg) {
    uintptr_t deferred[4];
    defer_push(deferred, recovers, arg);
    *nowhere = 1;
}
uint64_t loop_recovered_faults(callback *call, int (*push)(void *, function *, void *),
                               int (*recovers_)(void *), uint64_t n) {
    defer_push = push;
    recover = recovers_;
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++)
        if (call(faults, NULL, 0, NULL) != 0) abort();
    return now() - start;
}

/* Makes and joins threads, one after the other, that run `work(arg)`. */
struct thread {
    function *work;
    void *arg;
};
static void *thread_main(void *arg) {
    struct thread *thread = arg;
    thread->work(thread->arg);
    return NULL;
}
uint64_t loop_threads(function *work, void *arg, uint64_t n) {
    struct thread thread = {work, arg};
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        pthread_t made;
        if (pthread_create(&made, NULL, thread_main, &thread) != 0) abort();
        pthread_join(made, NULL);
    }
    return now() - start;
}

/* Runs `work(arg)` on a thread without a signal stack, which Rust's own threads have. */
void on_a_plain_thread(function *work, void *arg) { loop_threads(work, arg, 1); }

/* `n` threads that have run `work(arg)` and stay while `meanwhile(with)` runs; returns the
   nanoseconds for starting and joining them. */
struct crowd {
    struct thread thread;
    pthread_barrier_t here, go;
};
static void *crowd_main(void *arg) {
    struct crowd *crowd = arg;
    crowd->thread.work(crowd->thread.arg);
    pthread_barrier_wait(&crowd->here);
    pthread_barrier_wait(&crowd->go);
    return NULL;
}
uint64_t loop_crowd(function *work, void *arg, uint64_t n, function *meanwhile, void *with) {
    struct crowd crowd = {.thread = {work, arg}};
    pthread_t *threads = malloc(n * sizeof *threads);
    pthread_attr_t small;
    if (threads == NULL) abort();
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 32 * 1024);
    pthread_barrier_init(&crowd.here, NULL, (unsigned)n + 1);
    pthread_barrier_init(&crowd.go, NULL, (unsigned)n + 1);
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++)
        if (pthread_create(threads + i, &small, crowd_main, &crowd) != 0) abort();
    pthread_barrier_wait(&crowd.here);
    uint64_t made = now() - start;
    meanwhile(with);
    start = now();
    pthread_barrier_wait(&crowd.go);
    for (uint64_t i = 0; i < n; i++) pthread_join(threads[i], NULL);
    made += now() - start;
    free(threads);
    return made;
}
