/* Faults of every kind, in callbacks and in C; the handlers that were there before needm's;
 * and what needm is started with. */
#include "worker.h"
#include "../tests/arch/arch.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Pages that only faults touch: no permission; read only; read only until a fault of C's
 * mends it; and one beyond the end of its file. */
static char *none, *fixed, *mended, *past;
static volatile int mends;

static char *page(int protection) {
    char *made = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) abort();
    return made;
}

__attribute__((noinline)) static void writes(volatile char *at) { *at = 1; }
__attribute__((noinline)) static void reads(volatile char *at) { (void)*at; }
__attribute__((noinline)) static void runs(void (*at)(void)) { at(); }
__attribute__((noinline)) static void divides(void) { divide_by_zero(); }
__attribute__((noinline)) static void undefined(void) { __asm__ volatile(ILLEGAL_INSTRUCTION); }

/* The kinds of faults: by memory 0 to 5, by the instruction 6 and 7. */
enum { BY_INSTRUCTION = 6 };
static int is_division(int kind) { return kind == BY_INSTRUCTION && DIVISION_FAULTS; }

/* The signal of a kind, and its si_code. */
void fuzz_fault_kind(int kind, int *signo, int *code) {
    static const struct { int signo, code; } by_memory[BY_INSTRUCTION] = {
        {SIGSEGV, SEGV_MAPERR}, {SIGSEGV, SEGV_MAPERR}, {SIGSEGV, SEGV_ACCERR},
        {SIGSEGV, SEGV_ACCERR}, {SIGSEGV, SEGV_ACCERR}, {SIGBUS, BUS_ADRERR},
    };
    if (kind < BY_INSTRUCTION)
        *signo = by_memory[kind].signo, *code = by_memory[kind].code;
    else if (is_division(kind))
        *signo = SIGFPE, *code = FPE_INTDIV;
    else
        *signo = SIGILL, *code = ILLEGAL_CODE;
}

/* Faults. What needm must find out about it is left in the worker. */
void fault_at(struct worker *w, int kind) {
    void (*const instruction)(void) = is_division(kind) ? divides : undefined;
    char *volatile at[] = {NULL, (char *)16, fixed + 5, fixed, none + 4095, past};
    void (*const how[])(volatile char *) = {writes, reads, writes, NULL, reads, writes};
    struct { uintptr_t addr, pc, len; } found = {0};
    if (kind < BY_INSTRUCTION)
        found.addr = (uintptr_t)at[kind], found.pc = kind == 3 ? (uintptr_t)fixed : (uintptr_t)how[kind], found.len = 64;
    else
        found.addr = IS_PC, found.pc = (uintptr_t)instruction, found.len = 64;
    if (w) w->fault_addr = found.addr, w->fault_pc = found.pc & ~(uintptr_t)1, w->fault_len = found.len;
    if (kind == 3) runs((void (*)(void))(uintptr_t)fixed);
    if (kind >= BY_INSTRUCTION) instruction();
    how[kind](at[kind]);
}

__attribute__((noinline)) static int deeper(long step, volatile char *above) {
    if (step == 0) return 0; /* never: it keeps the compiler from seeing endless recursion */
    volatile char here[step];
    here[0] = above ? above[0] + 1 : 1;
    return deeper(step, here) + here[0];
}
void overflows(void *step) { deeper((long)step, NULL); }

void fault_in_c(struct worker *w) {
    mends = 0;
    writes(mended);
    if (mends != 1 && w->report.wrong == NULL) w->report.wrong = "C's handler did not get C's fault, once";
    mprotect(mended, 4096, PROT_READ);
}

/* The handler that was there before needm: makes the page for C's faults writable; any other
 * fault is a crash. */
static void mend(int signal, siginfo_t *info, void *context) {
    (void)context;
    if (signal == SIGSEGV && info->si_addr == mended) {
        mprotect(mended, 4096, PROT_READ | PROT_WRITE);
        mends++;
        return;
    }
    static const char text[] = "needm-fuzz: a fault that nothing was to cause\n";
    (void)!write(2, text, sizeof text - 1);
    abort();
}

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
static struct sigaction before[5];
void fuzz_guard(int installed) {
    if (!mended) {
        char name[] = "/tmp/needm-fuzz-XXXXXX";
        int file = mkstemp(name);
        if (file < 0) abort();
        unlink(name);
        past = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (past == MAP_FAILED) abort();
        none = page(PROT_NONE);
        fixed = page(PROT_READ);
        mended = page(PROT_READ);
    }
    struct sigaction action = {.sa_sigaction = mend, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (int i = 0; i < 5; i++) {
        struct sigaction now;
        if (installed)
            sigaction(signals[i], &action, &before[i]);
        else {
            sigaction(signals[i], &before[i], &now);
            if (now.sa_sigaction != mend) abort(); /* needm_stop has not restored it */
        }
    }
}

/* What needm is started with. */
static needm_config config;
static needm_hooks hooks;
static struct { uint64_t made, bound; } counts;
static int m_new(void *user, needm_m *m) {
    (void)user, (void)m;
    __atomic_add_fetch(&counts.made, 1, __ATOMIC_SEQ_CST);
    return 0;
}
static void m_free(void *user, needm_m *m) {
    (void)user, (void)m;
    __atomic_sub_fetch(&counts.made, 1, __ATOMIC_SEQ_CST);
}
static void minit(void *user, needm_m *m) {
    (void)user, (void)m;
    __atomic_add_fetch(&counts.bound, 1, __ATOMIC_SEQ_CST);
}
static void unminit(void *user, needm_m *m) {
    (void)user, (void)m;
    __atomic_sub_fetch(&counts.bound, 1, __ATOMIC_SEQ_CST);
}
void fuzz_configure(int binding, int seed_ms, int max_ms, int with_hooks) {
    hooks = (needm_hooks){.size = sizeof hooks, .m_new = m_new, .m_free = m_free, .thread_start = fuzz_thread_start};
    if (with_hooks) {
        hooks.minit = minit;
        hooks.unminit = unminit;
    }
    config = (needm_config){.size = sizeof config, .binding = (uint32_t)binding, .seed_ms = (uint32_t)seed_ms,
                            .max_ms = (uint32_t)max_ms, .signal_stack_size = 128 * 1024,
                            .wait_ns = 3000000, .hooks = &hooks};
    counts.made = counts.bound = 0;
}
void fuzz_counts(uint64_t *made, uint64_t *bound) {
    *made = __atomic_load_n(&counts.made, __ATOMIC_SEQ_CST);
    *bound = __atomic_load_n(&counts.bound, __ATOMIC_SEQ_CST);
}
int fuzz_start(void) { return needm_start(&config); }
