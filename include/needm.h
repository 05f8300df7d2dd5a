/* needm: callbacks on threads that your runtime did not create.
 *
 * Link with libneedm.a or libneedm.so and -pthread. Every struct that crosses the
 * interface starts with its size, set by the caller to sizeof of it; a struct of a
 * newer version is accepted if what the library does not know of it is zero. Every function
 * returns 0 or a negative NEEDM_E... unless said otherwise, and leaves errno alone
 * but for NEEDM_ESYS.
 *
 * "Outside": not inside a callback. "On a G": in the callback itself, or what it calls
 * directly. "In C": in a function run by needm_ccall.
 */
#ifndef NEEDM_H
#define NEEDM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define NEEDM_NORETURN [[noreturn]]
#else
#define NEEDM_NORETURN _Noreturn
#endif

/* Errors. needm_strerror names them all. */
#define NEEDM_ENOTSTARTED (-1)  /* not started, or stopped                                          */
#define NEEDM_EALREADY    (-2)  /* started already; or this thread has the world stopped already     */
#define NEEDM_EINVAL      (-3)  /* an argument, or the place of the call, makes no sense             */
#define NEEDM_ENOMEM      (-4)  /* the system has no memory for it; or too much is deferred          */
#define NEEDM_ETIMEDOUT   (-5)  /* no M became free in wait_ns. With bound Ms: max_ms threads that
                                   have called back are alive                                        */
#define NEEDM_EBUSY       (-6)  /* a callback is running where none may                              */
#define NEEDM_EPANIC      (-7)  /* a panic ended the callback                                        */
#define NEEDM_EFAULT      (-8)  /* a hardware fault ended it                                         */
#define NEEDM_EOVERFLOW   (-9)  /* its stack ran out, or a frame does not fit it                     */
#define NEEDM_ESYS        (-10) /* the system refused; errno is left as it set it                    */

/* needm_config.binding */
#define NEEDM_BIND_THREAD 0     /* an M stays with its thread until that ends: fastest               */
#define NEEDM_BIND_CALL   1     /* given back at the end of each callback: max_ms limits how many
                                   callbacks run at once, not how many threads live                  */

/* needm_config.flags */
#define NEEDM_NO_SIGNALS         1u /* no handler, no signal stack: a fault is the process's         */
#define NEEDM_UNRECOVERED_ABORTS 2u /* a panic that nobody recovers ends the process                 */

/* The context that the kernel lends to a thread. Opaque; valid until needm_stop. */
typedef struct needm_m needm_m;

/* The host's functions; any may be NULL. They may use the M given, but make no
 * callbacks. m_new and m_free run where Ms are made and unmapped: m_new on a G, in
 * needm_start, in needm_attach, or where a thread finds no M for long; minit and
 * unminit on the thread's own stack (unminit on another thread if this one died). */
typedef struct needm_hooks {
    size_t size;
    void  *user;                                /* passed back as the first argument of each hook            */
    int  (*m_new)(void *user, needm_m *m);      /* a new M exists; off the hot path; non-zero refuses it     */
    void (*m_free)(void *user, needm_m *m);     /* the M is about to be unmapped (needm_stop)                */
    void (*minit)(void *user, needm_m *m);      /* this thread has just taken m                              */
    void (*unminit)(void *user, needm_m *m);    /* this thread is about to give m back (or has died with it) */
    int  (*thread_start)(void *user, void *(*fn)(void *), void *arg);
                                                /* how needm_spawn makes a thread that runs fn(arg): 0, or
                                                   an errno value                                            */
} needm_hooks;

typedef struct needm_config {
    size_t   size;
    uint32_t seed_ms;            /* Ms ready when needm_start returns; 0 means 1                              */
    uint32_t max_ms;             /* most Ms ever made; 0 means 10000                                          */
    size_t   stack_size;         /* usable bytes of a G's stack, rounded up to pages; 0 means 64 KiB          */
    size_t   signal_stack_size;  /* bytes; 0 means what this CPU's signal frame needs (four of them, for
                                    handlers that nest) and 8 KiB; less than the kernel's own handler needs
                                    is raised to that                                                         */
    uint32_t binding;            /* NEEDM_BIND_THREAD or NEEDM_BIND_CALL                                      */
    uint32_t flags;              /* NEEDM_NO_SIGNALS, NEEDM_UNRECOVERED_ABORTS                                */
    int64_t  wait_ns;            /* longest wait, in nanoseconds, when no M is free and none can be made;
                                    0 means for ever; negative is NEEDM_EINVAL                                */
    const needm_hooks *hooks;    /* NULL means none; copied                                                   */
} needm_config;

/* How a callback ended that did not return. */
typedef struct needm_panic_info {
    size_t    size;
    int32_t   kind;              /* NEEDM_EPANIC, NEEDM_EFAULT or NEEDM_EOVERFLOW                             */
    int32_t   signo, code;       /* of a fault: the signal and its si_code, else 0                            */
    uintptr_t addr, pc;          /* of a fault: the address touched (si_addr) and the instruction, else 0     */
    void     *value;             /* of a panic: what needm_panic was given, else NULL                         */
} needm_panic_info;

/* A deferred function's record. It lives in the callback's own frame. */
typedef struct needm_defer {
    uintptr_t opaque[4];
} needm_defer;

typedef struct needm_stats {
    size_t   size;
    uint64_t ms_total, ms_idle, ms_bound;        /* made; on the extra list; held by threads                  */
    uint64_t ms_reclaimed;                       /* taken back from threads that died without giving back     */
    uint64_t waits, timeouts;                    /* had to wait for an M; gave up                             */
    uint64_t panics, faults, overflows;          /* raised in callbacks; an overflow is not a fault           */
} needm_stats;

/* Starts the kernel. NULL: all defaults. From any thread, outside.
 * NEEDM_EALREADY: it is started, or somebody else is just starting it. NEEDM_EINVAL: a size
 * that is too small, max_ms below seed_ms, an unknown binding or flag, sizes that no address
 * space holds. NEEDM_ENOMEM: the seed could not be made, or m_new refused it. */
int needm_start(const needm_config *config);

/* Stops it and undoes all: handlers, keys, mappings. Threads may hold Ms outside callbacks; a
 * signal stack that another live thread still has stays mapped until that thread ends.
 * A fault handler that somebody put over ours stays in place. Copies of the kernel in one
 * process are stopped in the reverse order of their starts.
 * NEEDM_ENOTSTARTED; NEEDM_EBUSY: a callback runs, or the world is stopped. */
int needm_stop(void);

/* Runs fn(frame) on this thread's G. framesize 0 passes frame as it is; otherwise that many
 * bytes are copied to the G's stack, 16-aligned, and copied back at every kind of ending.
 * From any thread, a signal handler too; it nests.
 * Returns 0 if fn returned or its panic was recovered; else the panic's kind, and fills info
 * (NULL is allowed; its size must be set). NEEDM_EINVAL: fn NULL, frame NULL with a size, a
 * wrong info. NEEDM_EOVERFLOW also: the frame does not fit, or no stack is left to nest on.
 * NEEDM_ENOTSTARTED, NEEDM_ETIMEDOUT, NEEDM_ENOMEM: fn did not run. */
int needm_callback(void (*fn)(void *frame), void *frame, size_t framesize, needm_panic_info *info);

/* On a G: runs fn(arg) on the thread's own (system) stack. NEEDM_EINVAL: elsewhere, or fn NULL. */
int needm_ccall(void (*fn)(void *arg), void *arg);

/* Takes an M for this thread now, so that the first callback costs nothing; it stays until
 * needm_detach or the thread's end, in both bindings. With an M held, or inside a callback,
 * only that. Not from a signal handler. Errors as for needm_callback. */
int needm_attach(void);

/* Touches the uppermost `bytes` of the stack of this thread's G (all of it, if it has no more),
 * so that a callback which uses no more meets no page fault: for real-time threads, after
 * needm_attach, which touches the uppermost page. NEEDM_EINVAL without an M; NEEDM_EBUSY
 * inside a callback. */
int needm_prefault(size_t bytes);

/* Gives it back now, with the signal stack. Without one: 0. NEEDM_EBUSY: inside a callback. */
int needm_detach(void);

/* Makes a thread (by the hook thread_start, else pthread_create, else, where there is no C
 * library, the system's clone) that runs fn(arg) as one callback from birth. A panic that ends it ends the process, with one line on standard error.
 * NEEDM_ESYS: no thread could be made; errno says why. */
int needm_spawn(void (*fn)(void *arg), void *arg);

/* Inside a callback (on its G or in its C): has fn(arg) run when the callback ends, however it
 * does, last in first out. d is the caller's until then. NEEDM_EINVAL: outside; d or fn NULL.
 * NEEDM_ENOMEM: too many are pending on this G (more than 1000). */
int needm_defer_push(needm_defer *d, void (*fn)(void *arg), void *arg);

/* Ends the innermost callback with NEEDM_EPANIC, running what is deferred. From a G or its C.
 * Outside a callback it prints one line and aborts. */
NEEDM_NORETURN void needm_panic(void *value);

/* In a deferred function: stops the panic that runs it, fills info (may be NULL), returns 1.
 * 0: there is none, or it is stopped already. */
int needm_recover(needm_panic_info *info);

/* This thread's M, or NULL. */
needm_m *needm_self(void);

/* Of an M: a number, from 1 on, the same until needm_stop (0 for NULL); what the host keeps in
 * it, NULL to start with; the bounds of its G's stack [*lo, *hi) (NEEDM_EINVAL for NULL). */
uint64_t needm_m_id(const needm_m *m);
void    *needm_m_local(const needm_m *m);
void     needm_m_set_local(needm_m *m, void *local);
int      needm_g_bounds(const needm_m *m, void **lo, void **hi);

/* Stops the world: when it returns, no callback code runs but this thread's own, until
 * needm_start_the_world by the same thread. Stops by several threads take turns. A running
 * callback stops at needm_safepoint, at needm_ccall, or at its end. From anywhere. A callback
 * that has stopped the world and is unwound, or jumped out of, has it started; so has a thread
 * that ends. One that returns leaves it stopped.
 * NEEDM_EALREADY: this thread has it stopped. start: NEEDM_EINVAL: this thread has not. */
int  needm_stop_the_world(void);
int  needm_start_the_world(void);
void needm_safepoint(void);

/* In a world that this thread has stopped: calls visit for each M that has callbacks under way,
 * with the live range [sp, hi) of its G's stack; all its registers are in it. A visit that
 * returns non-zero ends the round and is returned. NEEDM_EINVAL: the world is not stopped. */
int needm_each_m(int (*visit)(const needm_m *m, void *sp, void *hi, void *arg), void *arg);

/* In the child of a fork, before anything else of the kernel's, where the C library has no fork
 * handlers. Where it has, this has been called already; calling it again does no harm. */
void needm_atfork_child(void);

/* Fills in as much of *out as its size says. */
void needm_get_stats(needm_stats *out);

/* What an error means, in a few words; never NULL. 0 is "no error". */
const char *needm_strerror(int error);

#ifdef __cplusplus
}
#endif
#endif
