/* Threads that run one operation at a time, on command, and report what they saw: what only
 * C can do (jumps, exits of threads) and what C would notice (errno, the mask, its frames).
 *
 * A thread is in `level` once for each callback, each function that a callback called in C,
 * and each handler. A frame that may be jumped over or ended holds nothing: all that lasts is
 * in `struct worker`. */
#include "worker.h"
#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static __thread struct worker *me;
static int emulated;

static void wrong(struct worker *w, const char *what) {
    if (w->report.wrong == NULL) w->report.wrong = what;
}

static long futex(int *word, int op, int value, const struct timespec *limit) {
    return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, limit, NULL, 0);
}
static void give_turn(struct worker *w, int to) {
    __atomic_store_n(&w->turn, to, __ATOMIC_SEQ_CST);
    futex(&w->turn, FUTEX_WAKE, 1, NULL);
}
static void await_turn(struct worker *w) {
    while (__atomic_load_n(&w->turn, __ATOMIC_SEQ_CST) != WORKER)
        futex(&w->turn, FUTEX_WAIT, CONTROLLER, NULL);
}

static uint64_t mask_now(void) {
    uint64_t mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask);
    return mask;
}
static void mark_errno(struct worker *w) { errno = w->mark = 1000 + (w->mark + 1) % 1000; }
static void check_errno(struct worker *w, int found, const char *what) {
    if (found != w->mark) wrong(w, what);
}

/* Callbacks of a handler on the signal stack may run with signals blocked. */
static int may_hold_signals(struct worker *w) {
    for (int i = 0; i < w->depth; i++)
        if (w->kinds[i] == HANDLER && w->on_signal_stack[i]) return 1;
    return 0;
}
/* The handlers' signals. Each is blocked while its handler runs. */
static const int signals[HANDLERS] = {SIGUSR1, SIGUSR2, SIGURG};
static int handlers_below(struct worker *w) {
    int handlers = 0;
    for (int i = 0; i < w->depth; i++) handlers += w->kinds[i] == HANDLER;
    return handlers;
}
static uint64_t mask_of(struct worker *w) {
    uint64_t mask = w->mask;
    for (int i = handlers_below(w); i > 0; i--) mask |= UINT64_C(1) << (signals[i - 1] - 1);
    return mask;
}
static void set_mask(uint64_t mask) { syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask); }
static void set_own_mask(struct worker *w, uint64_t mask) {
    set_mask(mask);
    w->mask = mask_now(); /* an emulator keeps some signals unblocked */
}

static int signal_stack_now(struct worker *w) {
    stack_t now;
    sigaltstack(NULL, &now);
    if (now.ss_flags & SS_DISABLE) return 0;
    return now.ss_sp == (void *)w->own_signal_stack && now.ss_size == sizeof w->own_signal_stack ? 1 : 2;
}

/* Reports what happened and the state now, and waits for the next command. A quiet report
 * does not call needm, which would notice a jump. */
static void answer(struct worker *w, int event, int code, int quiet) {
    struct report *r = &w->report;
    r->event = event;
    r->code = code;
    r->quiet = quiet;
    if (!quiet) {
        r->m = needm_m_id(needm_self());
        if (!may_hold_signals(w) && mask_now() != mask_of(w)) wrong(w, "the signal mask changed");
        r->signal_stack = signal_stack_now(w);
    }
    w->begun = 0;
    give_turn(w, CONTROLLER);
    await_turn(w);
}

/* Deferred functions log that they ran, and what they found. */
static void count(void *number) { ++*(int *)number; }
static void deferred(void *arg) {
    struct worker *w = me;
    int kind = (int)((uintptr_t)arg & 15), code = 0, number = 0;
    uintptr_t value = (uintptr_t)arg >> 4;
    if (kind == RECOVERS) {
        needm_panic_info info = {.size = sizeof info};
        if (needm_recover(&info) == 1) code = info.kind;
        value = (uintptr_t)info.value;
    } else if (kind == CALLS) {
        code = needm_callback(count, &number, sizeof number, NULL);
        value = (uintptr_t)number;
    } else if (kind == DEFERS) {
        code = needm_defer_push(&w->deferred[0], deferred, (void *)(value << 4 | NOTES));
    }
    struct report *r = &w->report;
    if (r->logged < LOG) r->log[r->logged++] = (struct entry){kind, code, value};
    if (kind == PANICS) needm_panic((void *)value);
    if (kind == FAULTS) fault_at(w, 0);
}

static void level(struct worker *w, int kind);

static void check_place(struct worker *w, const char *frame) {
    void *lo, *hi;
    if (needm_g_bounds(needm_self(), &lo, &hi) != 0 || frame < (char *)lo || frame >= (char *)hi)
        wrong(w, "the callback is not on its G");
}
static void body(void *frame) {
    int found = errno;
    struct worker *w = me;
    char here;
    int at = w->depth;
    unsigned char *bytes = frame;
    check_errno(w, found, "errno changed on the way into the callback");
    check_place(w, &here);
    if (w->sizes[at] == 0) {
        if (frame != w) wrong(w, "the frame is not the one that was passed");
    } else if (bytes == w->frames[at] || (uintptr_t)bytes % 16 != 0) {
        wrong(w, "the frame is not an aligned copy");
    }
    for (int i = 0; i < w->sizes[at]; i++) {
        if (bytes[i] != (unsigned char)(7 * i + at)) wrong(w, "the copied frame differs");
        bytes[i] ^= 0xff;
    }
    w->entered[at] = 1;
    level(w, CALLBACK);
    mark_errno(me);
}

static void check_fault(struct worker *w, const needm_panic_info *info) {
    uintptr_t addr = w->fault_addr == IS_PC ? info->pc : w->fault_addr;
    int told = !(emulated && info->signo == SIGBUS); /* qemu-user gives another address there */
    if (told && info->addr != addr) wrong(w, "the fault's address is wrong");
    if (info->pc - w->fault_pc >= w->fault_len) wrong(w, "the fault's pc is wrong");
}

/* Makes a frame deeper than any other call of needm from the same place: needm tells by depth
 * alone what was jumped out of. */
#define DEEPER volatile char deeper[DEPTH]; deeper[0] = 0

__attribute__((noinline)) static int calls(struct worker *w, int own, int size, int with_info) {
    DEEPER;
    int at = own + 1;
    needm_panic_info *info = &w->infos[at];
    *info = (needm_panic_info){.size = sizeof *info, .kind = 1};
    for (int i = 0; i < size; i++) w->frames[at][i] = (unsigned char)(7 * i + at);
    w->sizes[at] = size;
    w->entered[at] = 0;
    mark_errno(w);
    int code = needm_callback(body, size ? (void *)w->frames[at] : w, (size_t)size, with_info ? info : NULL);
    int found = errno;
    deeper[1] = deeper[0];
    w = me;
    check_errno(w, found, "errno changed in the callback");
    unsigned char flip = w->entered[at] ? 0xff : 0;
    for (int i = 0; i < size; i++)
        if (w->frames[at][i] != (unsigned char)((7 * i + at) ^ flip)) wrong(w, "the frame was copied back wrong");
    w->report.info = *info;
    if (code == NEEDM_EFAULT && with_info) check_fault(w, info);
    return code;
}
static void body_in_c(void *w) { level(w, IN_C); }
__attribute__((noinline)) static int calls_c(struct worker *w) {
    DEEPER;
    mark_errno(w);
    int code = needm_ccall(body_in_c, w);
    deeper[1] = deeper[0];
    return code;
}

static void handler(int signal) {
    (void)signal;
    struct worker *w = me;
    char here;
    stack_t now;
    sigaltstack(NULL, &now);
    w->on_signal_stack[w->depth] = (now.ss_flags & SS_ONSTACK) != 0;
    w->report.on_signal_stack = w->on_signal_stack[w->depth];
    w->report.frame = (uintptr_t)&here;
    level(w, HANDLER);
}

/* The hook that makes needm's own threads, so that they can be joined. */
static pthread_t spawned_thread;
int fuzz_thread_start(void *user, void *(*fn)(void *), void *arg) {
    (void)user;
    return pthread_create(&spawned_thread, NULL, fn, arg);
}
static void faults_at_null(void *arg) {
    (void)arg;
    fault_at(NULL, 0);
}
static void lives(void *answers) {
    int *codes = answers;
    int number = 0;
    codes[0] = needm_ccall(count, &number);
    codes[1] = number == 1 ? needm_callback(faults_at_null, NULL, 0, NULL) : 0;
}
static int spawns(struct worker *w) {
    int codes[2] = {1, 1};
    int code = needm_spawn(lives, codes);
    /* A thread that is refused an M exits as well. */
    if (code != NEEDM_ENOTSTARTED) pthread_join(spawned_thread, NULL);
    if (code == 0 && (codes[0] != 0 || codes[1] != NEEDM_EFAULT)) wrong(w, "a spawned thread's callback went wrong");
    return code;
}

/* In a child: a callback must return `want`. If that is 0, faults and overflows must end their
 * callbacks, and a callback on another thread must return `others`. */
static void *calls_once(void *code) {
    int number = 0;
    *(int *)code = needm_callback(count, &number, 0, NULL);
    return NULL;
}
static int in_child(int want, int others) {
    int number = 0;
    signal(SIGALRM, SIG_DFL);
    alarm(20);
    if (needm_callback(count, &number, 0, NULL) != want) return 10;
    number = 0;
    if (needm_callback(count, &number, sizeof number, NULL) != want || number != (want == 0)) return 11;
    if (want != 0 || emulated) return 0;
    if (needm_callback(faults_at_null, NULL, 0, NULL) != NEEDM_EFAULT) return 12;
    if (needm_callback(overflows, (void *)256, 0, NULL) != NEEDM_EOVERFLOW) return 13;
    if (others != 1) {
        pthread_t made;
        int code = 1;
        if (pthread_create(&made, NULL, calls_once, &code) != 0) return 14;
        pthread_join(made, NULL);
        if (code != others) return 15;
    }
    return 0;
}
static void forks(struct worker *w, int want, int others) {
    pid_t child = fork();
    if (child == 0) _exit(in_child(want, others));
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0) continue;
    if (status == 0) return;
    w->report.child = status;
    wrong(w, "a forked child went wrong");
}

static int ignore(const needm_m *m, void *sp, void *hi, void *visited) {
    if (sp > hi) return 1;
    *(uint64_t *)visited |= UINT64_C(1) << needm_m_id(m) % 64;
    return 0;
}
static int misuses(int how, struct worker *w) {
    needm_panic_info info = {0};
    needm_config unknown = {.size = sizeof unknown, .flags = 1u << 31};
    needm_defer defer;
    uint64_t visited = 0;
    switch (how) {
        case 0: return needm_callback(NULL, w, 0, NULL);
        case 1: return needm_callback(count, w, 0, &info);
        case 2: return needm_callback(count, NULL, 8, NULL);
        case 3: return needm_callback(count, w, 1 << 24, NULL);
        case 4: return needm_defer_push(NULL, deferred, NULL);
        case 5: return needm_ccall(NULL, w);
        case 6: return needm_each_m(ignore, &visited);
        case 7: return needm_start(NULL);
        case 8: return needm_start(&unknown);
        case 9: return needm_spawn(NULL, w);
        case 10: return needm_g_bounds(NULL, NULL, NULL);
        case 11: return needm_defer_push(&defer, NULL, NULL);
        default: return needm_prefault(8192);
    }
}

static void set_signal_stack(struct worker *w) {
    stack_t own = {.ss_sp = w->own_signal_stack, .ss_size = sizeof w->own_signal_stack};
    if (sigaltstack(&own, NULL) != 0) wrong(w, "sigaltstack is refused");
}

/* Runs the operation: 1 if that ends the level, else its result in `*event` and `*code`. */
static int step(struct worker *w, int own, int *event, int *code) {
    int arg = w->arg;
    *event = DONE;
    *code = 0;
    w->begun = 1;
    switch (w->operation) {
        case CALL: *code = calls(w, own, arg >> 1, arg & 1); *event = CAME_BACK; break;
        case RETURN: return 1;
        case CCALL: *code = calls_c(w); *event = CAME_BACK; break;
        case PANIC: mark_errno(w); needm_panic((void *)(uintptr_t)arg);
        case FAULT: mark_errno(w); fault_at(w, arg); break;
        case OVERFLOW: mark_errno(w); overflows((void *)(uintptr_t)arg); break;
        case JUMP: w->quiet = w->arg2; _longjmp(w->jumps[arg], 1);
        case ATTACH: mark_errno(w); *code = needm_attach(); check_errno(w, errno, "needm_attach changed errno"); break;
        case DETACH: mark_errno(w); *code = needm_detach(); check_errno(w, errno, "needm_detach changed errno"); break;
        case DEFER: *code = needm_defer_push(&w->deferred[1], deferred, (void *)(uintptr_t)arg); break;
        case SIGNAL:
            if (w->arg2) needm_self(); /* has needm drop what was jumped out of */
            syscall(SYS_tgkill, getpid(), w->tid, signals[handlers_below(w)]);
            *event = CAME_BACK;
            break;
        case STOP_WORLD: *code = needm_stop_the_world(); break;
        case START_WORLD: *code = needm_start_the_world(); break;
        case SAFEPOINT: needm_safepoint(); break;
        case EACH_M: *code = needm_each_m(ignore, &w->report.visited); break;
        case SPAWN: *code = spawns(w); break;
        case FORK: forks(w, arg, w->arg2); break;
        case STOP: mark_errno(w); *code = needm_stop(); check_errno(w, errno, "needm_stop changed errno"); break;
        case START: *code = fuzz_start(); break;
        case EXIT: pthread_exit(NULL);
        case RAW_EXIT: syscall(SYS_exit, 0); break;
        case MASK: set_own_mask(w, w->asked); break;
        case SIGNAL_STACK: set_signal_stack(w); break;
        case C_FAULT: fault_in_c(w); break;
        case MISUSE: *code = misuses(arg, w); break;
    }
    return 0;
}

/* Overwrites the frames that were jumped over, down to the first in which needm waits: below a handler
 * the frame of a signal may have 11 KiB (Intel's AMX). */
__attribute__((noinline)) static void overwrite(void) {
    volatile unsigned char there[16 * 1024];
    for (unsigned i = 0; i < sizeof there; i++) there[i] = 0xa5;
}

__attribute__((noinline)) static void level(struct worker *w, int kind) {
    volatile int own = w->depth;
    volatile int quiet = 0;
    int event, code;
    w->kinds[own] = kind;
    w->depth = own + 1;
    if (_setjmp(w->jumps[own]) == 0) {
        event = ENTERED;
    } else {
        event = JUMPED;
        quiet = me->quiet;
        me->depth = own + 1;
        overwrite();
        set_mask(mask_of(me)); /* as siglongjmp does */
    }
    code = 0;
    do {
        w = me;
        w->depth = own + 1;
        answer(w, event, code, quiet);
        quiet = 0;
    } while (!step(w, own, &event, &code));
    me->depth = own;
}

static void *live(void *worker) {
    struct worker *w = me = worker;
    w->tid = (pid_t)syscall(SYS_gettid);
    set_own_mask(w, 0);
    level(w, OUT);
    return NULL;
}

/* What the controller calls (src/worker.rs). */
struct worker fuzz_workers[WORKERS];
void fuzz_make(int which) {
    struct worker *w = &fuzz_workers[which];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    w->turn = WORKER;
    w->depth = w->operation = 0;
    memset(&w->report, 0, sizeof w->report);
    if (pthread_create(&w->thread, &attributes, live, w) != 0) abort();
    pthread_attr_destroy(&attributes);
    fuzz_wait(which, -1);
}
void fuzz_command(int which, int operation, int arg, int arg2, uint64_t mask) {
    struct worker *w = &fuzz_workers[which];
    memset(&w->report, 0, offsetof(struct report, log));
    w->operation = operation;
    w->arg = arg;
    w->arg2 = arg2;
    w->asked = mask;
    w->begun = 0;
    give_turn(w, WORKER);
}
const struct report *fuzz_wait(int which, int ms) {
    struct worker *w = &fuzz_workers[which];
    struct timespec limit = {ms / 1000, ms % 1000 * 1000000L};
    while (__atomic_load_n(&w->turn, __ATOMIC_SEQ_CST) == WORKER)
        if (futex(&w->turn, FUTEX_WAIT, WORKER, ms < 0 ? NULL : &limit) != 0 && errno == ETIMEDOUT) return NULL;
    return &w->report;
}
int fuzz_begun(int which) {
    struct worker *w = &fuzz_workers[which];
    return __atomic_load_n(&w->begun, __ATOMIC_SEQ_CST) ? w->tid : 0;
}
void fuzz_join(int which) { pthread_join(fuzz_workers[which].thread, NULL); }
void fuzz_handle(int on_signal_stack) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = on_signal_stack ? SA_ONSTACK : 0};
    for (int i = 0; i < HANDLERS; i++) sigaction(signals[i], &action, NULL);
}
void fuzz_emulated(int yes) { emulated = yes; }
