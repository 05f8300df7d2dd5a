/* What worker.c and faults.c share, and what src/worker.rs declares again in Rust. */
#ifndef WORKER_H
#define WORKER_H
#define _GNU_SOURCE
#include <needm.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>

/* As in src/operation.rs. */
enum operation {
    CALL, RETURN, CCALL, PANIC, FAULT, OVERFLOW, JUMP, ATTACH, DETACH, DEFER, SIGNAL, STOP_WORLD,
    START_WORLD, SAFEPOINT, EACH_M, SPAWN, FORK, STOP, START, EXIT, RAW_EXIT, MASK, SIGNAL_STACK,
    C_FAULT, MISUSE
};
enum deferred { NOTES, RECOVERS, PANICS, FAULTS, CALLS, DEFERS };
enum event { ENTERED, CAME_BACK, DONE, JUMPED };
enum kind { OUT, CALLBACK, IN_C, HANDLER };
enum turn { CONTROLLER, WORKER };

#define WORKERS 3
#define LEVELS 12   /* as in src/model/mod.rs */
#define HANDLERS 3  /* likewise */
#define FRAME 1024
#define LOG 64
#define DEPTH 1536
#define IS_PC ((uintptr_t)1)     /* the fault's address is that of the instruction */

struct entry {
    int kind, code;
    uintptr_t value;
};
/* What a thread saw; as in src/worker.rs. */
struct report {
    int event, code, quiet, on_signal_stack, signal_stack, child, logged;
    const char *wrong;          /* the first mistake that C found */
    uintptr_t frame;
    uint64_t m, visited;
    needm_panic_info info;
    struct entry log[LOG];
};
struct worker {
    int turn;                   /* a futex */
    int operation, arg, arg2, quiet;
    int begun;                  /* it is about to run the operation */
    pid_t tid;
    pthread_t thread;
    uint64_t asked, mask;
    int depth, mark;
    int kinds[LEVELS], sizes[LEVELS], entered[LEVELS], on_signal_stack[LEVELS];
    jmp_buf jumps[LEVELS];
    needm_panic_info infos[LEVELS];
    unsigned char frames[LEVELS][FRAME];
    needm_defer deferred[2];
    uintptr_t fault_addr, fault_pc, fault_len;
    struct report report;
    char own_signal_stack[128 * 1024] __attribute__((aligned(16)));
};
/* faults.c */
void fault_at(struct worker *w, int kind);
void overflows(void *step);
void fault_in_c(struct worker *w);
int fuzz_start(void);
int fuzz_thread_start(void *user, void *(*fn)(void *), void *arg);

/* For src/worker.rs. */
void fuzz_make(int which);
void fuzz_command(int which, int operation, int arg, int arg2, uint64_t mask);
const struct report *fuzz_wait(int which, int ms);
int fuzz_begun(int which);
void fuzz_join(int which);
void fuzz_handle(int on_signal_stack);
void fuzz_emulated(int yes);
void fuzz_counts(uint64_t *made, uint64_t *bound);
void fuzz_guard(int installed);
void fuzz_fault_kind(int kind, int *signo, int *code);
void fuzz_configure(int binding, int seed_ms, int max_ms, int hooks);
#endif
