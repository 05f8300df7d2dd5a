/* The library that programs in other languages load. It starts needm, and makes callbacks that
 * end in every way on the threads of their runtimes. After each one, the thread's signal mask and
 * signal stack must be what the runtime had set.
 *
 * The environment, as tests/clients.rs sets it. GUEST_ORDER: runtime-first, needm-first (needm is
 * started as this library is loaded, which LD_PRELOAD makes earlier than the runtime) or
 * restarted (the same, and once more when the runtime runs). GUEST_SPARES: endings that are not
 * asked for: fault, overflow, interrupt. GUEST_CRASHES: guest_finish faults outside any callback. */
#define _GNU_SOURCE
#include "guest.h"
#include <needm.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int started;

static int is(const char *variable, const char *value) {
    const char *found = getenv(variable);
    return found && strcmp(found, value) == 0;
}
static int spares(const char *ending) {
    const char *spared = getenv("GUEST_SPARES");
    return spared && strstr(spared, ending);
}

static void count(void *arg) { ++*(int *)arg; }

static void write_to_null(void *arg) { *(volatile int *)arg = 1; }

static int deeper(int depth) {
    volatile char frame[512];
    frame[depth % 512] = (char)depth;
    return depth == 0 ? 0 : deeper(depth + 1) + frame[depth % 512];
}
static void overflow(void *arg) { *(int *)arg = deeper(1); }

static void panic(void *arg) { needm_panic(arg); }

static void interrupt(void *arg) {
    for (;;) needm_interrupt(needm_self(), arg);
}

/* A callback that must end as expected, and change nothing. */
static int ends(void (*fn)(void *), void *arg, int expected) {
    sigset_t mask, after;
    /* All of both, because they are compared as bytes. */
    memset(&mask, 0, sizeof mask);
    memset(&after, 0, sizeof after);
    stack_t stack, stack_after;
    if (pthread_sigmask(SIG_BLOCK, NULL, &mask) || sigaltstack(NULL, &stack)) return 1;
    needm_panic_info info = NEEDM_PANIC_INFO_INIT;
    int result = needm_callback(fn, arg, 0, &info);
    if (pthread_sigmask(SIG_BLOCK, NULL, &after) || sigaltstack(NULL, &stack_after)) return 2;
    if (result != expected) {
        fprintf(stderr, "guest: the callback ended with %s, want %s\n", needm_error_name(result),
                needm_error_name(expected));
        return 3;
    }
    if (memcmp(&mask, &after, sizeof mask)) {
        fprintf(stderr, "guest: the signal mask has changed\n");
        return 4;
    }
    /* A thread without a signal stack keeps needm's. */
    if (stack.ss_flags == SS_DISABLE) return 0;
    if (stack.ss_sp != stack_after.ss_sp || stack.ss_size != stack_after.ss_size ||
        stack.ss_flags != stack_after.ss_flags) {
        fprintf(stderr, "guest: the signal stack has changed\n");
        return 5;
    }
    return 0;
}

static int start(void) {
    needm_config config = NEEDM_CONFIG_INIT;
    config.binding = NEEDM_BIND_CALL; /* between callbacks the signal stack is the runtime's */
    int result = needm_start(&config);
    if (result) fprintf(stderr, "guest: needm does not start: %s\n", needm_error_name(result));
    started = !result;
    return result;
}

/* Once the runtime runs. */
int guest_start(void) {
    if (is("GUEST_ORDER", "needm-first")) return !started;
    if (is("GUEST_ORDER", "restarted") && (!started || needm_stop())) return 1;
    return start();
}

/* What is due in a round: a plain callback in each, others now and then. */
int guest_mix(int round) {
    int calls = 0, sum, result = ends(count, &calls, 0);
    if (!result && calls != 1) result = 6;
    if (!result && round % 10 == 0 && !spares("fault")) result = ends(write_to_null, NULL, NEEDM_EFAULT);
    if (!result && round % 100 == 0) result = ends(panic, &calls, NEEDM_EPANIC);
    if (!result && round % 1000 == 0 && !spares("interrupt")) result = ends(interrupt, &calls, NEEDM_EINTERRUPTED);
    if (!result && round % 1000 == 0 && !spares("overflow")) result = ends(overflow, &sum, NEEDM_EOVERFLOW);
    return result;
}

struct call {
    void (*fn)(void *), *arg;
    int on_g, returned;
};
static void call_out(void *arg) {
    struct call *call = arg;
    if (call->on_g) call->fn(call->arg);
    else if (needm_ccall(call->fn, call->arg)) return;
    call->returned = 1;
}
int guest_call_out(void (*fn)(void *), void *arg, int on_g) {
    struct call call = {fn, arg, on_g, 0};
    int result = needm_callback(call_out, &call, 0, NULL);
    return result ? result : call.returned ? 0 : 7;
}

void guest_wait(void *flag) {
    __atomic_store_n((int *)flag, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n((int *)flag, __ATOMIC_ACQUIRE) != 2) sched_yield();
}

/* When all else has been done. */
int guest_finish(void) {
    if (getenv("GUEST_CRASHES")) *(volatile int *)NULL = 1;
    return 0;
}

/* Java's names for them. */
int Java_Main_start(void *env, void *class) { (void)env, (void)class; return guest_start(); }
int Java_Main_mix(void *env, void *class, int round) { (void)env, (void)class; return guest_mix(round); }
int Java_Main_finish(void *env, void *class) { (void)env, (void)class; return guest_finish(); }

__attribute__((constructor)) static void load(void) {
    if (!is("GUEST_ORDER", "runtime-first") && start()) _Exit(1);
}
