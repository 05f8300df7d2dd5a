/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* needm: callbacks on threads that your runtime did not create.
 *
 * Link with libneedm.a or libneedm.so and -pthread. C99 and C++11 can read this file.
 *
 * Every struct starts with its size, which the caller sets to sizeof; the ..._INIT macros do
 * that. A struct of a newer version is accepted if what the library does not know is zero.
 * Every function returns 0 or a negative NEEDM_E... unless its comment says otherwise, and
 * leaves errno alone, except with NEEDM_ESYS.
 *
 * Words
 *   M            the context that a thread needs to run a callback
 *   G            the M's stack, with a guard below it; callbacks run there
 *   bind         give an M to a thread; unbind: put it back on the list of idle Ms
 *   outside      not inside a callback
 *   on the G     in the callback, or in a function that it calls directly
 *   in C         in a function that needm_ccall runs
 *   handler      a signal handler. A callback that a handler makes is a callback like any
 *                other: what may be called inside a callback may be called there.
 *
 * From where each function may be called stands in its comment. Four rules hold for all:
 *   - "Any thread" includes threads that needm has never seen.
 *   - Before needm_start and after needm_stop a function that needs needm started returns
 *     NEEDM_ENOTSTARTED, and nothing else happens.
 *   - In the child of a fork everything works as in the parent; see needm_atfork_child.
 *     The child of a vfork shares its parent's memory and must call nothing here.
 *   - Hooks may use the M that they are given, and must not call needm_callback,
 *     needm_start or needm_stop.
 */
#ifndef NEEDM_H
#define NEEDM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
#define NEEDM_NORETURN [[noreturn]]
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 202311L
#define NEEDM_NORETURN [[noreturn]]
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define NEEDM_NORETURN _Noreturn
#elif defined(__GNUC__)
#define NEEDM_NORETURN __attribute__((__noreturn__))
#else
#define NEEDM_NORETURN
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this file. */
#define NEEDM_VERSION_MAJOR 0
#define NEEDM_VERSION_MINOR 1
#define NEEDM_VERSION_PATCH 0
#define NEEDM_VERSION \
    (NEEDM_VERSION_MAJOR * 1000000 + NEEDM_VERSION_MINOR * 1000 + NEEDM_VERSION_PATCH)

/* Errors. needm_strerror has a text for each. */
#define NEEDM_ENOTSTARTED (-1)  /* not started, or stopped */
#define NEEDM_EALREADY    (-2)  /* started already; or this thread has already stopped the world */
#define NEEDM_EINVAL      (-3)  /* an argument, or the place of the call, makes no sense */
#define NEEDM_ENOMEM      (-4)  /* the system has no memory for it; or too much is deferred */
#define NEEDM_ETIMEDOUT   (-5)  /* no M became free in wait_ns. With NEEDM_BIND_THREAD: max_ms
                                   threads that have called back are alive */
#define NEEDM_EBUSY       (-6)  /* not while a callback runs, or while the world is stopped */
#define NEEDM_EPANIC      (-7)  /* a panic ended the callback */
#define NEEDM_EFAULT      (-8)  /* a hardware fault ended it */
#define NEEDM_EOVERFLOW   (-9)  /* its stack ran out; or a frame does not fit on it */
#define NEEDM_ESYS        (-10) /* the system refused; errno says why */

/* needm_config.binding */
#define NEEDM_BIND_THREAD 0     /* an M stays bound until its thread exits: fastest */
#define NEEDM_BIND_CALL   1     /* it is unbound at the end of each callback: max_ms limits how
                                   many callbacks run at once, not how many threads live */

/* needm_config.flags */
#define NEEDM_NO_SIGNALS         1u /* no signal handlers and no signal stacks: a fault or an
                                       overflow in a callback ends the process */
#define NEEDM_UNRECOVERED_ABORTS 2u /* a panic that no deferred function recovers ends the
                                       process */

/* An M. Valid until needm_stop. */
typedef struct needm_m needm_m;

/* Functions of the host's; any may be NULL. m_new and m_free run where Ms are made and
 * unmapped: m_new on a G, in needm_start, in needm_attach, or where a thread waits for an M;
 * m_free in needm_stop. minit and unminit run on the thread's own stack. If a thread's exit is
 * noticed only afterwards, unminit runs on the thread that notices it. */
typedef struct needm_hooks {
    size_t size;
    void  *user;                                /* the first argument of each hook */
    int  (*m_new)(void *user, needm_m *m);      /* an M was made; non-zero refuses it */
    void (*m_free)(void *user, needm_m *m);     /* an M is about to be unmapped */
    void (*minit)(void *user, needm_m *m);      /* m was bound to this thread */
    void (*unminit)(void *user, needm_m *m);    /* m is about to be unbound */
    int  (*thread_start)(void *user, void *(*fn)(void *), void *arg);
                                                /* makes a thread that runs fn(arg), for
                                                   needm_spawn; 0, or an errno value */
} needm_hooks;
#define NEEDM_HOOKS_INIT {sizeof(needm_hooks), NULL, NULL, NULL, NULL, NULL, NULL}

typedef struct needm_config {
    size_t   size;
    uint32_t seed_ms;            /* Ms that are ready when needm_start returns; 0 means 1 */
    uint32_t max_ms;             /* most Ms ever made; 0 means 10000 */
    size_t   stack_size;         /* usable bytes of a G, rounded up to pages; 0 means 64 KiB */
    size_t   signal_stack_size;  /* 0 means 64 KiB, for other handlers, and four signal frames of
                                    this CPU, for those that nest; less than needm's own handler needs is raised */
    uint32_t binding;            /* NEEDM_BIND_THREAD or NEEDM_BIND_CALL */
    uint32_t flags;              /* NEEDM_NO_SIGNALS, NEEDM_UNRECOVERED_ABORTS */
    int64_t  wait_ns;            /* longest wait, in nanoseconds, when no M is idle and no more
                                    may be made; 0 means for ever */
    const needm_hooks *hooks;    /* NULL means none; copied */
} needm_config;
#define NEEDM_CONFIG_INIT {sizeof(needm_config), 0, 0, 0, 0, 0, 0, 0, NULL}

/* Why a callback ended without returning. */
typedef struct needm_panic_info {
    size_t    size;
    int32_t   kind;              /* NEEDM_EPANIC, NEEDM_EFAULT or NEEDM_EOVERFLOW */
    int32_t   signo, code;       /* of a fault: the signal and its si_code, else 0 */
    uintptr_t addr, pc;          /* of a fault: the address touched (si_addr) and the
                                    instruction, else 0 */
    void     *value;             /* of a panic: the argument of needm_panic, else NULL */
} needm_panic_info;
#define NEEDM_PANIC_INFO_INIT {sizeof(needm_panic_info), 0, 0, 0, 0, 0, NULL}

/* The record of a deferred function. It lives in the callback's own frame. */
typedef struct needm_defer {
    uintptr_t opaque[4];
} needm_defer;

typedef struct needm_stats {
    size_t   size;
    uint64_t ms_total, ms_idle, ms_bound;        /* Ms made; idle; bound to threads */
    uint64_t ms_reclaimed;                       /* unbound because their threads had exited */
    uint64_t waits, timeouts;                    /* waits for an M; waits that gave up */
    uint64_t panics, faults, overflows;          /* in callbacks; an overflow is no fault */
} needm_stats;
#define NEEDM_STATS_INIT {sizeof(needm_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* Starts needm. NULL: all defaults.
 * From any thread, outside. Inside a callback it is started: NEEDM_EALREADY. Not in a handler:
 * it asks the C library for memory, and may deadlock there.
 * NEEDM_EALREADY: it is started, or another thread is just starting it. NEEDM_EINVAL: a size
 * that is too small, max_ms below seed_ms, a negative wait_ns, an unknown binding or flag, sizes
 * that no address space holds. NEEDM_ENOMEM: the Ms could not be made, or m_new refused one. */
int needm_start(const needm_config *config);

/* Stops needm and undoes all that it did: handlers, keys, mappings. Threads may have Ms bound,
 * outside callbacks; the signal stack of such a thread stays mapped until the thread exits. A
 * fault handler that was put on top of needm's stays in place. Copies of needm in one process
 * are stopped in the reverse order of their starts.
 * From any thread, outside; inside a callback: NEEDM_EBUSY. Not in a handler: it may wait for
 * the code that the handler has interrupted, and then returns NEEDM_EBUSY.
 * NEEDM_EBUSY: a callback runs, or the world is stopped. A second stop: NEEDM_ENOTSTARTED. */
int needm_stop(void);

/* Runs fn(frame) on this thread's G. With framesize 0, frame is passed as it is. Otherwise that
 * many bytes are copied to the G, 16-aligned, and copied back at every kind of ending.
 * From any thread; inside a callback, on the G and in C, where it nests; in a handler, at any
 * instruction. In a world that another thread has stopped it waits.
 * 0: fn returned, or its panic was recovered. Otherwise the kind of the panic, and *info is
 * filled in (info may be NULL). NEEDM_EOVERFLOW also: the frame does not fit, or no stack is
 * left to nest on. fn did not run: NEEDM_ENOTSTARTED, NEEDM_ETIMEDOUT, NEEDM_ENOMEM, and
 * NEEDM_EINVAL (fn NULL, frame NULL with a size, the size of info not set). */
int needm_callback(void (*fn)(void *frame), void *frame, size_t framesize, needm_panic_info *info);

/* Runs fn(arg) on the thread's own stack. A stop of the world does not wait for it.
 * On the G only. In C, outside, in a handler: NEEDM_EINVAL. NEEDM_EINVAL also: fn NULL. */
int needm_ccall(void (*fn)(void *arg), void *arg);

/* Binds an M to this thread now, so that the first callback costs no more than later ones. It
 * stays bound until needm_detach or the thread's exit, with either binding. If the thread has an
 * M already, that one stays.
 * From any thread, outside; inside a callback: 0, and nothing happens. Not in a handler: its
 * return takes the signal stack away again, and the thread's next stack overflow kills.
 * NEEDM_ENOTSTARTED, NEEDM_ETIMEDOUT, NEEDM_ENOMEM. */
int needm_attach(void);

/* Touches the uppermost `bytes` of this thread's G, or all of it if it is smaller: a callback
 * that uses no more meets no page fault. For real-time threads, after needm_attach, which touches
 * the uppermost page.
 * From any thread, outside. Inside a callback: NEEDM_EBUSY. Without an M: NEEDM_EINVAL. */
int needm_prefault(size_t bytes);

/* Unbinds this thread's M now, and takes needm's signal stack off. Without an M: 0.
 * From any thread, outside. Inside a callback: NEEDM_EBUSY. Not in a handler: when the handler
 * returns, the system installs again the signal stack that this has taken off. */
int needm_detach(void);

/* Makes a thread that runs fn(arg) as one callback, and returns when it has its M. The thread is
 * made by the hook thread_start, else by pthread_create, else, where there is no C library, by
 * clone. A panic that ends the callback ends the process, with one line on standard error.
 * From any thread, outside or inside a callback. Not in a handler: pthread_create may deadlock.
 * NEEDM_ESYS: no thread could be made, errno says why. NEEDM_EINVAL: fn NULL.
 * NEEDM_ENOTSTARTED, NEEDM_ETIMEDOUT, NEEDM_ENOMEM: the thread found no M. */
int needm_spawn(void (*fn)(void *arg), void *arg);

/* Has fn(arg) run when the innermost callback ends, however it ends; last in, first out. *d must
 * stay valid until then.
 * Inside a callback, on the G or in C. Outside: NEEDM_EINVAL. Not in a handler, except in a
 * callback of its own: NEEDM_EINVAL, or a function that is just being deferred is lost.
 * NEEDM_EINVAL: d or fn NULL. NEEDM_ENOMEM: more than 1000 are pending on this G. */
int needm_defer_push(needm_defer *d, void (*fn)(void *arg), void *arg);

/* Ends the innermost callback with NEEDM_EPANIC, after its deferred functions have run. The
 * frames in between are skipped, as by longjmp.
 * Inside a callback, on the G or in C. Outside, also before needm_start: prints one line and
 * aborts. Not in a handler, except in a callback of its own: it aborts, or ends the callback and
 * leaves the signal blocked. */
NEEDM_NORETURN void needm_panic(void *value);

/* Stops the panic that runs this deferred function, fills in *info (info may be NULL), and
 * returns 1. The callback then returns 0.
 * In a deferred function. Elsewhere, or if the panic is stopped already, or if the size of info
 * is not set: 0. */
int needm_recover(needm_panic_info *info);

/* This thread's M, or NULL. From everywhere, before needm_start and in handlers too. */
needm_m *needm_self(void);

/* Of an M: its number, from 1 on, until needm_stop (0 for NULL); a pointer that the host keeps
 * in it, NULL at first; the bounds [*lo, *hi) of its G (lo and hi may be NULL).
 * From everywhere, in handlers and hooks too, until needm_stop. m NULL: 0, NULL, nothing,
 * NEEDM_EINVAL. After needm_stop an M is not mapped. */
uint64_t needm_m_id(const needm_m *m);
void    *needm_m_local(const needm_m *m);
void     needm_m_set_local(needm_m *m, void *local);
int      needm_g_bounds(const needm_m *m, void **lo, void **hi);

/* Stops the world: when it returns, no callback code runs except this thread's own, until the
 * same thread calls needm_start_the_world. Several threads that stop the world take turns. A
 * running callback stops at needm_safepoint, at needm_ccall, and at its end. If the callback that
 * has stopped the world is ended by a panic or jumped out of, or its thread exits, the world is
 * started; if it returns, the world stays stopped.
 * From any thread, outside or inside a callback, in a handler. Not while it holds a lock that a
 * callback may wait for: that callback never stops, and neither function returns.
 * NEEDM_EALREADY: this thread has stopped it. NEEDM_ENOMEM: there is no room to note the thread. */
int  needm_stop_the_world(void);

/* Starts it again. By the thread that has stopped it, from everywhere; by others: NEEDM_EINVAL. */
int  needm_start_the_world(void);

/* Waits here while another thread has the world stopped. For callbacks that run for long.
 * On the G. Outside, in C, in a handler on another stack, and by the thread that has stopped the
 * world: returns at once. */
void needm_safepoint(void);

/* Calls visit for each M with callbacks under way, with the live range [sp, hi) of its G, which
 * holds all its registers. A visit that returns non-zero ends the round, and its result is
 * returned. A visit must not make callbacks or start the world.
 * By the thread that has stopped the world, from everywhere. By others, or visit NULL:
 * NEEDM_EINVAL. */
int needm_each_m(int (*visit)(const needm_m *m, void *sp, void *hi, void *arg), void *arg);

/* Puts needm in order in the child of a fork. The C library's fork handlers call it. Where there
 * are none, the child calls it before it calls anything else here. Calling it twice is harmless.
 * In the child of a fork only. In a process with other threads it takes their Ms away. */
void needm_atfork_child(void);

/* Fills in as much of *out as its size says. From everywhere, before needm_start and in handlers
 * too; out NULL: nothing happens. */
void needm_get_stats(needm_stats *out);

/* What an error means, in a few words; never NULL. 0 is "no error". From everywhere. */
const char *needm_strerror(int error);

#ifdef __cplusplus
}
#endif
#endif
