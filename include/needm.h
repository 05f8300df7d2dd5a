/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* needm: callbacks on threads that your runtime did not create.
 *
 * Link with libneedm.a or libneedm.so and -pthread. C99 and C++11 can read this file.
 *
 * Every struct starts with its size, which the caller sets to sizeof; the ..._INIT macros do
 * that. A struct of a newer version is accepted if what the library does not know is zero, and
 * one of an older version: what it lacks is zero.
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
 * From where each function may be called stands in its comment. Five rules hold for all:
 *   - "Any thread" includes threads that needm has never seen.
 *   - Before needm_start and after needm_stop a function that needs needm started returns
 *     NEEDM_ENOTSTARTED, and nothing else happens.
 *   - In the child of a fork everything works as in the parent; see needm_atfork_child.
 *     The child of a vfork shares its parent's memory and must call nothing here.
 *   - A handler that has interrupted a function of needm's does not switch to another fiber.
 *   - Hooks may use the M that they are given, and must not call needm_callback; what else
 *     they may call: needm_hooks.
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
#define NEEDM_ENOTSTARTED (-1)  /* not started, or stopped, or about to be: needm_stop_within */
#define NEEDM_EALREADY    (-2)  /* started already; or this thread has already stopped the world */
#define NEEDM_EINVAL      (-3)  /* an argument, or the place of the call, makes no sense */
#define NEEDM_ENOMEM      (-4)  /* the system has no memory for it; or too much is deferred */
#define NEEDM_ETIMEDOUT   (-5)  /* no M became free in wait_ns. With NEEDM_BIND_THREAD: max_ms
                                   threads that have called back are alive. Or the world did not
                                   stop in time */
#define NEEDM_EBUSY       (-6)  /* not while a callback or a hook runs, or the world is stopped */
#define NEEDM_EPANIC      (-7)  /* a panic ended the callback */
#define NEEDM_EFAULT      (-8)  /* a hardware fault ended it */
#define NEEDM_EOVERFLOW   (-9)  /* its stack ran out; or a frame does not fit on it */
#define NEEDM_ESYS        (-10) /* the system refused; errno says why, on Windows GetLastError */
#define NEEDM_EINTERRUPTED (-11) /* needm_interrupt ended the callback */

/* needm_config.binding */
#define NEEDM_BIND_THREAD 0     /* an M stays bound until its thread exits: fastest */
#define NEEDM_BIND_CALL   1     /* it is unbound at the end of each callback: max_ms limits how
                                   many callbacks run at once, not how many threads live */

/* needm_config.flags */
#define NEEDM_NO_SIGNALS         1u /* no signal handlers and no signal stacks: a fault or an
                                       overflow in a callback ends the process */
#define NEEDM_UNRECOVERED_ABORTS 2u /* a panic that no deferred function recovers ends the
                                       process. A fault then goes to the handler that was there
                                       before needm, with the registers and the stack that it
                                       had, but for a stack that has run out where functions
                                       were deferred */
#define NEEDM_LEAVE_FP_CONTROL   4u /* a callback does not save floating-point control (x86: MXCSR
                                       and the x87 control word; ARM: FPSCR; AArch64: FPCR;
                                       RISC-V: fcsr), which takes as long as all the rest on some
                                       x86 processors. After an ending that is no return it is as
                                       the callback left it, as after longjmp */
#define NEEDM_UNBLOCK_FAULTS     8u /* the fault signals (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP) that a
                                       thread has blocked when it gets its first M are unblocked while
                                       its callbacks run, also in C that they call, and blocked again
                                       afterwards; else a fault there ends the process. Threads of
                                       SIGEV_THREAD have all signals blocked. Its callbacks take the
                                       slow path and two system calls. A thread without
                                       blocked fault signals pays nothing; one that changes them
                                       later calls needm_detach. No effect with NEEDM_NO_SIGNALS */
#define NEEDM_NO_PROBES         16u /* no system call that needm can do without, and that a sandbox may
                                       end the process for: membarrier, get_robust_list,
                                       set_robust_list, mincore, clock_gettime, rt_tgsigqueueinfo,
                                       openat, and advice to madvise but MADV_DONTNEED. Each callback then
                                       has a fence; a thread that waits for an M looks every half
                                       millisecond; a thread's exit by the raw system call is
                                       noticed later, the first thread's not at all;
                                       needm_m_stack_used is 0. needm_interrupt calls
                                       rt_tgsigqueueinfo all the same */
#define NEEDM_CATCH_ABORT       32u /* SIGABRT that a callback's own thread raises on its G (abort)
                                       ends the callback with NEEDM_EFAULT; info.signo is SIGABRT
                                       (6, on Windows too, where src/guide/windows.md says more).
                                       What the C library holds at an abort stays held. From
                                       another thread, or outside callbacks, it ends the process */
#define NEEDM_SCRUB_STACKS      64u /* what one thread's callbacks left on a G is zero before another
                                       thread gets it. With NEEDM_BIND_CALL each callback then takes
                                       the slow path */

/* An M. Valid until needm_stop. */
typedef struct needm_m needm_m;

/* Functions of the host's; any may be NULL. m_new and m_free run where Ms are made and
 * unmapped: m_new on a G, in needm_start, in needm_attach, or where a thread waits for an M;
 * m_free in needm_stop. A fault or a panic of m_new on a G ends the callback before which it ran, as
 * if it were the callback's, and the M is not made. minit, unminit and thread_start run on the thread's own
 * stack.
 * If a thread's exit is noticed only afterwards, unminit runs on the thread that notices it. needm_stop calls
 * it for the M of its own thread, and not for those that other threads hold: of them only m_free is called.
 * m_new, minit and unminit run when callback code may run: while another thread has the world
 * stopped they wait, so that needm_attach, needm_detach and the exit of a thread wait, too; and a
 * thread that stops the world waits for a hook under way. Like a callback, a hook must not wait
 * for a lock that is held around a stop of the world. The hooks of the thread that has stopped it
 * run. m_free runs when no callback code runs.
 * In m_new outside callbacks, minit and unminit, needm_attach, needm_detach and the stops of needm are
 * NEEDM_EBUSY: their thread is just binding or unbinding an M. What else may be called outside
 * callbacks may be called there, but for needm_callback; in minit and unminit needm_spawn, too. In
 * m_new of needm_start and in m_free needm is not started. thread_start may call what the caller of
 * needm_spawn may.
 * Neither m_new, minit nor unminit is jumped out of (longjmp), by itself or by a handler: until its
 * thread calls needm from further up its stack, or exits, it counts as running, and a stop of the
 * world waits for it. */
struct needm_panic_info;
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
    int  (*fault)(void *user, needm_m *m, const struct needm_panic_info *info, void *context);
                                                /* a callback on m has faulted: NEEDM_FAULT_END,
                                                   NEEDM_FAULT_RESUME, NEEDM_FAULT_FORWARD */
} needm_hooks;
#define NEEDM_HOOKS_INIT {sizeof(needm_hooks), NULL, NULL, NULL, NULL, NULL, NULL, NULL}

/* What the hook `fault` answers. It is asked about each fault and overflow of a callback's own
 * code before anything else is done, in the signal handler, on the signal stack (on Windows on the
 * callback's); info is what the caller of the callback would get, and context the ucontext_t (on
 * Windows the CONTEXT) of the code that faulted. The hook may change both memory and context. It
 * may call what a signal handler may call, and of needm the functions of an M; not call back. A
 * signal stack that the thread has brought may leave it no more than 2 KiB. A fault in the hook
 * itself is not the callback's. It may jump to the callback (siglongjmp), but not on Windows, where
 * it is not asked about that callback's later faults then. */
#define NEEDM_FAULT_END     0   /* it ends the callback, as without the hook */
#define NEEDM_FAULT_RESUME  1   /* the callback goes on, as the context says */
#define NEEDM_FAULT_FORWARD 2   /* it goes to the handler that was there before needm */

typedef struct needm_config {
    size_t   size;
    uint32_t seed_ms;            /* Ms that are ready when needm_start returns; 0 means 1 */
    uint32_t max_ms;             /* most Ms ever made; 0 means 10000 */
    size_t   stack_size;         /* usable bytes of a G, rounded up to pages; 0 means 256 KiB,
                                    on 32 bits 64 KiB */
    size_t   signal_stack_size;  /* 0 means 64 KiB, for other handlers, and four signal frames of
                                    this CPU, for those that nest; less than needm's own handler
                                    needs is raised */
    uint32_t binding;            /* NEEDM_BIND_THREAD or NEEDM_BIND_CALL */
    uint32_t flags;              /* NEEDM_NO_SIGNALS and the others above */
    int64_t  wait_ns;            /* longest wait, in nanoseconds, when no M is idle and no more
                                    may be made; 0 means for ever */
    const needm_hooks *hooks;    /* NULL means none; copied */
    size_t   guard_size;         /* inaccessible bytes below a G, rounded up to pages; 0 means
                                    1 MiB, on 32 bits 64 KiB. A frame that is not larger cannot
                                    step over them. They take no memory */
    int32_t  interrupt_signal;   /* what needm_interrupt sends; 0 means SIGURG, on Windows it
                                    must be 0. Not a signal of
                                    faults, nor SIGABRT, SIGKILL, SIGCHLD, the C library's own
                                    (from 32 on, below SIGRTMIN), or one that stops the process or
                                    lets it go on */
} needm_config;
#define NEEDM_CONFIG_INIT {sizeof(needm_config), 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0}

/* Why a callback ended without returning. */
typedef struct needm_panic_info {
    size_t    size;
    int32_t   kind;              /* NEEDM_EPANIC, NEEDM_EFAULT, NEEDM_EOVERFLOW or
                                    NEEDM_EINTERRUPTED */
    int32_t   signo, code;       /* of a fault: the signal and its si_code (on Windows
                                    the NTSTATUS), else 0 */
    uintptr_t addr, pc;          /* of a fault: the address touched (si_addr) and the
                                    instruction, else 0 */
    void     *value;             /* the argument of needm_panic or needm_interrupt, else NULL */
} needm_panic_info;
#define NEEDM_PANIC_INFO_INIT {sizeof(needm_panic_info), 0, 0, 0, 0, 0, NULL}

/* The record of a deferred function, by which needm_defer_pop finds it. */
typedef struct needm_defer {
    uintptr_t opaque[4];
} needm_defer;

/* What needm_enter_stack keeps for needm_leave_stack. */
typedef struct needm_stack {
    uintptr_t opaque[4];
} needm_stack;

typedef struct needm_stats {
    size_t   size;
    uint64_t ms_total, ms_idle, ms_bound;        /* Ms made; idle; bound to threads */
    uint64_t ms_reclaimed;                       /* unbound because their threads had exited */
    uint64_t waits, timeouts;                    /* waits for an M; waits that gave up */
    uint64_t panics, faults, overflows;          /* in callbacks; an overflow is no fault */
    uint64_t interrupts;                         /* callbacks that needm_interrupt has ended */
} needm_stats;
#define NEEDM_STATS_INIT {sizeof(needm_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* Starts needm. NULL: all defaults.
 * From any thread, outside. Inside a callback it is started: NEEDM_EALREADY. Not in a handler:
 * it asks the C library for memory, and may deadlock there.
 * NEEDM_EALREADY: it is started, or another thread is just starting or stopping it. NEEDM_EINVAL: a
 * size that is too small, max_ms below seed_ms, a negative wait_ns, an unknown binding or flag, sizes
 * that no address space holds, an interrupt_signal that is none for this. NEEDM_ENOMEM: the Ms could not be made, or m_new refused one.
 * NEEDM_ESYS with ENOTSUP: this thread has a shadow stack (x86 SHSTK, arm64 GCS, Zicfiss), which
 * needm cannot unwind. */
int needm_start(const needm_config *config);

/* Stops needm and undoes all that it did: handlers, keys, mappings. Threads may have Ms bound,
 * outside callbacks. While a thread other than this one lives that has called back, its signal stack
 * and the tables of records and Ms stay mapped, also if it has detached: for the next start, or until
 * a stop after its exit. If the library is unloaded meanwhile they stay mapped. A fault handler that
 * was put on top of needm's stays in place. Copies of needm in one process are stopped in the reverse
 * order of their starts.
 * From any thread, outside; inside a callback: NEEDM_EBUSY. Not in a handler: it may wait for
 * the code that the handler has interrupted, and then returns NEEDM_EBUSY.
 * NEEDM_EBUSY: a callback or a hook runs, needm_spawn is making a thread, the world is stopped, or
 * another thread is just starting or stopping needm. NEEDM_ENOMEM: there is no room to note this
 * thread. A second stop: NEEDM_ENOTSTARTED. */
int needm_stop(void);

/* As needm_stop, but waits for the callbacks under way, for at most wait_ns nanoseconds; 0 does
 * not wait. Meanwhile no other callback begins: needm_callback, and needm_attach on a
 * thread without an M, return NEEDM_ENOTSTARTED. Callbacks inside one that is under way still run
 * (of C that it has called, of a handler, on a fiber), because it may need them to come to its
 * end; so does that of a thread which needm_spawn has made. A callback that waits for one of
 * another thread, outside, waits until that thread gives up.
 * From any thread, outside; inside a callback: NEEDM_EBUSY. Not in a handler, as needm_stop.
 * NEEDM_EBUSY, and needm is open again as if nothing had happened: the callbacks took longer
 * (needm_each_inside shows them), another thread has the world stopped, or is just starting or
 * stopping needm, or this thread has the world stopped. NEEDM_ENOMEM: as needm_stop. NEEDM_EINVAL:
 * wait_ns is negative.
 * If a handler jumps out of it, or out of needm_start or needm_stop, callbacks may be refused, and so are
 * further starts and stops, until the thread calls needm from further up its stack, or the frame of the
 * call is overwritten. If a handler ends the thread there: until another one starts or stops needm. */
int needm_stop_within(int64_t wait_ns);

/* Runs fn(frame) on this thread's G. With framesize 0, frame is passed as it is. Otherwise that
 * many bytes are copied to the G, 16-aligned, and copied back at every kind of ending.
 * From any thread; inside a callback, on the G and in C, where it nests; in a handler, at any
 * instruction. In a world that another thread has stopped it waits.
 * Fibers of one thread that are left in needm_ccall may each be in a callback, each on another M,
 * and go on in any order. On parts of the thread's own stack, less than 4 KiB below a needm_ccall
 * that waits, and once no M is left, callbacks nest, and have to end in the reverse order.
 * A C++ exception that leaves fn goes on in the caller, when the callback has ended.
 * From another stack than the thread's last callback, or more than 16 KiB below or 4 KiB above all
 * places on its own that it has called back from, it makes one system call: is that a signal stack?
 * (Where needm does not know the thread's own stack, as with another C library than glibc: from any new depth.) A
 * handler on a signal stack that the thread has installed since, within its own stack near such places,
 * must not call back: see README.md.
 * 0: fn returned, or its panic was recovered. Otherwise the kind of the panic, and *info is
 * filled in (info may be NULL). NEEDM_EOVERFLOW also: the frame does not fit, or no stack is
 * left to nest on. fn did not run: NEEDM_ENOTSTARTED, NEEDM_ETIMEDOUT, NEEDM_ENOMEM, NEEDM_ESYS (the
 * thread can have no signal stack, or, in a handler on it, not change it; errno stays), and NEEDM_EINVAL (fn NULL, frame NULL with a
 * size, the size of info not set). */
int needm_callback(void (*fn)(void *frame), void *frame, size_t framesize, needm_panic_info *info);

/* Runs fn(arg) on the thread's own stack. A stop of the world does not wait for it. A C++ exception
 * that leaves fn goes on in the callback. Of the fibers of a thread others may go on meanwhile; this one goes on
 * on the same thread.
 * Code on a further stack, or on one that was not declared, does not leave that in fn, to have the
 * callback go on: its next needm_ccall would overwrite what fn has on the thread's own stack.
 * On the G only, or on a further stack of the callback (needm_enter_stack). In C, outside, in a
 * handler: NEEDM_EINVAL. NEEDM_EINVAL also: fn NULL. */
int needm_ccall(void (*fn)(void *arg), void *arg);

/* Says that the running callback continues on [lo, hi), a stack of the host's: a coroutine's, a
 * fiber's, a JIT's. Called before the switch to it, on the G or on a further stack, or after the
 * switch, on the new one. *old is filled in, for needm_leave_stack.
 * Until it is left, code on it is the callback's as on the G: faults, needm_panic,
 * needm_defer_push, needm_ccall (which runs on the thread's own stack, as ever), callbacks inside,
 * needm_safepoint. Code on the stacks that were left for it is still the callback's, too. The
 * callback's end leaves all of its further stacks; the frames on them are skipped, as by longjmp.
 * Only exact bounds decide. A stack pointer in [lo, hi] is on that stack. lo is the lowest usable
 * address; the page below it, and all of the inaccessible mapping that ends at lo (in
 * /proc/self/maps), is the guard: a memory fault at an address there, or with the stack pointer
 * there, is an overflow. After an overflow the deferred functions run on the G.
 * A stack that was not declared: what code there does counts as the callback's if the callback is
 * running (not in needm_ccall), and the stack is neither the thread's own, nor a signal stack, nor
 * in one mapping with a stack from which a callback was made. That is slow, overflows are
 * faults there, and needm_each_m does not show the stack. Where /proc/self/maps cannot be read, and
 * with NEEDM_NO_PROBES, it never counts.
 * An array in a callback's own frame on a G cannot be such a stack, nor a signal stack whose handlers
 * call back: calls of needm from there drop callbacks further down on that G, or overwrite them.
 * On the G and on further stacks; lo and hi may be those of one that was entered before. Outside,
 * in C, in a handler on another stack: NEEDM_EINVAL. NEEDM_EINVAL also: old NULL, an empty range,
 * a part of a G, of the stack of a waiting caller, or of a further stack. NEEDM_ENOMEM: too many. */
int needm_enter_stack(void *lo, void *hi, needm_stack *old);

/* Says that the running callback is back from the stack that was entered last.
 * On the G and on further stacks. NEEDM_EINVAL: old is NULL, or not what the last needm_enter_stack
 * of this callback has filled in, or that stack is left already; outside, in C. */
int needm_leave_stack(const needm_stack *old);

/* Binds an M to this thread now, so that the first callback costs no more than later ones. It
 * stays bound until needm_detach or the thread's exit, with either binding. If the thread has an
 * M already, that one stays. If a handler has jumped out of it, or out of needm_detach or
 * needm_callback, an M may be left bound: a later call unbinds it, as src/guide/safety.md says.
 * From any thread, outside; inside a callback: 0, and nothing happens. In a hook (needm_hooks):
 * NEEDM_EBUSY. Not in a handler: its return takes the signal stack away again, and the thread's next
 * stack overflow kills.
 * NEEDM_ENOTSTARTED, NEEDM_ETIMEDOUT, NEEDM_ENOMEM, NEEDM_ESYS (as needm_callback). */
int needm_attach(void);

/* Touches the uppermost `bytes` of this thread's G, or all of it if it is smaller: a callback
 * that uses no more meets no page fault. For real-time threads, after needm_attach, which touches
 * the uppermost page.
 * From any thread, outside. Inside a callback: NEEDM_EBUSY. Without an M: NEEDM_EINVAL. */
int needm_prefault(size_t bytes);

/* Unbinds this thread's M now, if it has one, and takes needm's signal stack off, which stays on also
 * with NEEDM_BIND_CALL.
 * From any thread, outside. Inside a callback, and in a hook (needm_hooks): NEEDM_EBUSY. Not in a
 * handler: when the handler returns, the system installs again the signal stack that this has taken off. */
int needm_detach(void);

/* Makes a thread that runs fn(arg) as one callback, and returns when it has its M. The thread is
 * made by the hook thread_start, else by pthread_create, else, where there is no C library, by
 * clone. A panic that ends the callback ends the process, with one line on standard error.
 * From any thread, outside or inside a callback. Not in a handler, nor in a callback of one: NEEDM_EBUSY,
 * because pthread_create might wait for a lock of the code that was interrupted. A handler on the stack of
 * that code is known by what it blocks: with SA_NODEFER and an empty sa_mask, or if it changes its mask or
 * its action itself, or on i386 without SA_SIGINFO, it is not told from other code. Code that blocks exactly
 * what a handler has blocked that ran there before may be taken for it.
 * NEEDM_ESYS: no thread could be made, errno says why. NEEDM_EINVAL: fn NULL. NEEDM_EBUSY: also if this
 * thread has the world stopped, and m_new, minit or unminit would wait for it on the new one.
 * NEEDM_ENOTSTARTED, NEEDM_ETIMEDOUT, NEEDM_ENOMEM: the thread found no M. NEEDM_ESYS also, and errno
 * stays: it can have no signal stack, or this is the child of a fork in the middle of the call, in
 * which the thread does not exist.
 * If the hook or a handler jumps out of it, a thread that was made runs fn all the same, unless needm
 * has been told otherwise: by a later needm_spawn or needm_stop of the thread that has jumped, or by
 * its exit. If none was made, needm_stop is NEEDM_EBUSY until then. */
int needm_spawn(void (*fn)(void *arg), void *arg);

/* Has fn(arg) run when the innermost callback ends, however it ends: also if a C++ exception,
 * pthread_exit or a cancellation leaves it (the latter two not with musl, which does not unwind). Last in, first out. *d, which is filled in, must stay valid
 * until then, or until needm_defer_pop. fn must not let an exception out. While another thread has the world stopped, these ends wait for its
 * start, as a return does: do not join a thread that is inside before needm_start_the_world.
 * After an overflow they have 16 KiB of stack, on which no further callback fits (NEEDM_EOVERFLOW).
 * Inside a callback, on the G or in C. Outside: NEEDM_EINVAL. Not in a handler, except in a
 * callback of its own: NEEDM_EINVAL, or a function that is just being deferred is lost.
 * NEEDM_EINVAL: d or fn NULL. NEEDM_ENOMEM: more than 1024 (on 32 bits 2048) are
 * pending on this G. */
int needm_defer_push(needm_defer *d, void (*fn)(void *arg), void *arg);

/* Takes back what this thread has deferred with d: it does not run. In any order; the place of one that
 * is not the last is free again when all that were deferred after it have run or are taken back.
 * Inside a callback, on the G or in C, also in one that was made inside the one which has deferred it;
 * and in the C of another fiber. Not in a handler, except in a callback of its own.
 * NEEDM_EINVAL: d is NULL; or it is not pending: it was never deferred, has begun to run, is taken back
 * already, its callback is over, or another thread has deferred it. */
int needm_defer_pop(needm_defer *d);

/* Ends the innermost callback with NEEDM_EPANIC, after its deferred functions have run. The
 * frames in between are skipped, as by longjmp. Deferred functions may use what is in them; but if C panics on
 * another stack than that on which needm_ccall has run it, a coroutine's, none of them calls needm_ccall, which may
 * overwrite them. If one of them panics, those that are left run below its frame: some 500 bytes of the stack each time.
 * Inside a callback, on the G or in C. Outside, also before needm_start: prints one line and
 * aborts. Not in a handler, except in a callback of its own: over callback code, on a signal stack,
 * it aborts. Elsewhere it ends the callback, with the signal mask of before; but the code that the
 * handler has interrupted may have been in needm or in the C library. needm_interrupt knows. */
NEEDM_NORETURN void needm_panic(void *value);

/* Stops the panic that runs this deferred function, fills in *info (info may be NULL), and
 * returns 1. The callback then returns 0.
 * In a deferred function. Elsewhere, or if the panic is stopped already, or if the size of info
 * is not set: 0. */
int needm_recover(needm_panic_info *info);

/* Ends the innermost callback of m with NEEDM_EINTERRUPTED: like a fault, but at any of its
 * instructions. Its deferred functions run, and may call needm_recover; info.value is value. If
 * the callback's thread is in C, it ends when C returns to the G; if it is inside needm or in a
 * deferred function, at the end of that; if a handler has interrupted it, when the handler
 * returns. A handler on the stack of that code is known by what it blocks: with SA_NODEFER and an empty
 * sa_mask, or if it changes its mask or its action itself, or on i386 without SA_SIGINFO, it is not told
 * from other code, and is ended with the callback. Only the callback that is innermost now is ever ended, and once, however many have
 * asked. If it returns first, the request is forgotten. Does not wait for any of that.
 *
 * The frames of the callback on the G are skipped wherever they are, as after pthread_cancel with
 * asynchronous cancellation: what may be interrupted must not be in malloc, stdio, or under a
 * lock. Call these by needm_ccall. A callback that has the signal blocked is ended when it
 * unblocks it, or at the end of a function of needm's that it calls. One that pthread_exit or a cancellation
 * just unwinds is ended, too: then its thread has not exited. Waits of its thread in C may end early (EINTR), as with any signal. On Windows
 * there is no signal, and a wait of the callback's own ends first.
 * From any thread, with or without an M, and in handlers. In a handler of the callback's own
 * thread, too. m must be valid.
 * NEEDM_EINVAL: m is in no callback, or NULL, or needm was started with NEEDM_NO_SIGNALS, or the system
 * takes no more signals (RLIMIT_SIGPENDING, if interrupt_signal is a real-time signal);
 * nothing happens. */
int needm_interrupt(const needm_m *m, void *value);

/* This thread's M, or NULL. From everywhere, before needm_start and in handlers too.
 * C that has jumped past a callback (longjmp) calls it before it does anything else that may fault or be interrupted, on the
 * thread's own stack: until then a fault or an interrupt further down, or on a stack that C switches to, ends that callback,
 * whose needm_callback returns a second time. */
needm_m *needm_self(void);

/* Of an M: its number, from 1 on, until needm_stop (0 for NULL); a pointer that the host keeps
 * in it, NULL at first; the bounds [*lo, *hi) of its G (lo and hi may be NULL).
 * From everywhere, in handlers and hooks too, until needm_stop. m NULL: 0, NULL, nothing,
 * NEEDM_EINVAL. After needm_stop an M is not mapped. */
uint64_t needm_m_id(const needm_m *m);
void    *needm_m_local(const needm_m *m);
void     needm_m_set_local(needm_m *m, void *local);
int      needm_g_bounds(const needm_m *m, void **lo, void **hi);

/* The ID that the system has for the thread which m is bound to, as gettid() returns it
 * there; 0 if m is idle or NULL. A thread that has exited counts until its exit is noticed.
 * From everywhere, in handlers and hooks too, until needm_stop. */
uint64_t needm_m_thread(const needm_m *m);

/* The bytes of m's G that callbacks have used at most, in whole pages: from the lowest page that
 * was ever touched to the top. For a choice of stack_size. needm_prefault touches, too. A page
 * that the system has swapped out may not count. 0: m is NULL, its G is untouched, or the system
 * does not say. One system call (mincore, on Windows QueryWorkingSetEx).
 * From everywhere, in handlers and hooks too, until needm_stop. */
size_t needm_m_stack_used(const needm_m *m);

/* Where m's outermost callback has left the stack that it was made from, the thread's own or a
 * handler's or fiber's: what is in use there begins at *sp, and holds what the caller of
 * needm_callback had in registers (sp may be NULL). For a conservative collector: the thread's own
 * frames are from *sp up, those of its callbacks are what needm_each_m shows. C that needm_ccall
 * runs is below *sp.
 * From everywhere, in handlers and hooks too, until needm_stop. It stays the same until the
 * callback ends: rely on it for this thread's own M, and for others in a stopped world.
 * NEEDM_EINVAL: m is NULL, or in no callback. */
int needm_g0_sp(const needm_m *m, void **sp);

/* Calls visit for each M with callbacks under way, also in C that they have called, while the
 * world runs: a snapshot. A callback that begins meanwhile may be missing, and one may be shown
 * that is over by now. A visit that returns non-zero ends the round, and its result is returned.
 * From everywhere, in handlers too; what a visit may call is what may be called at that place.
 * NEEDM_EINVAL: visit NULL. NEEDM_ENOTSTARTED. */
int needm_each_inside(int (*visit)(const needm_m *m, void *arg), void *arg);

/* Stops the world: when it returns, no callback code and no hook runs except this thread's own, until
 * the same thread calls needm_start_the_world. Several threads that stop the world take turns. A
 * running callback stops at needm_safepoint, at needm_ccall, and at its end. If the callback that
 * has stopped the world is ended by a panic or jumped out of, or its thread exits, the world is
 * started; if it returns, the world stays stopped.
 * From any thread, outside or inside a callback, in a handler. Not while it holds a lock that a
 * callback or a hook may wait for: that callback never stops, and neither function returns.
 * NEEDM_EALREADY: this thread has stopped it. NEEDM_ENOMEM: there is no room to note the thread. */
int  needm_stop_the_world(void);

/* As needm_stop_the_world, for at most wait_ns nanoseconds; 0 does not wait. If other threads
 * take longer to come to a stop, or another thread has the world stopped for longer,
 * NEEDM_ETIMEDOUT, and the world runs. In a callback, while another thread has the world stopped,
 * it returns only when that thread has started the world.
 * From where needm_stop_the_world may be called, and while a lock is held that a callback may wait
 * for. NEEDM_EINVAL: wait_ns is negative. */
int  needm_stop_the_world_within(int64_t wait_ns);

/* Starts it again. By the thread that has stopped it, from everywhere; by others: NEEDM_EINVAL. */
int  needm_start_the_world(void);

/* Waits here while another thread has the world stopped. For callbacks that run for long.
 * On the G. Outside, in C, in a handler on another stack, and by the thread that has stopped the
 * world: returns at once. */
void needm_safepoint(void);

/* Calls visit for each M with callbacks under way, with the live range [sp, hi) of its G, and then
 * once for each further stack of its callbacks (needm_enter_stack), and if a handler on a signal
 * stack has interrupted a callback, once for what the handler has in use there. All registers are in
 * these ranges. A stack on which the callback is not, because it has gone on on another, is shown
 * from its lowest address. A visit that returns non-zero ends the round, and its result is
 * returned. A visit must not make callbacks or start the world. It runs on the thread's own stack: a
 * fault in it is a fault of C's.
 * By the thread that has stopped the world, from everywhere. By others, or visit NULL:
 * NEEDM_EINVAL. */
int needm_each_m(int (*visit)(const needm_m *m, void *sp, void *hi, void *arg), void *arg);

/* Puts needm in order in the child of a fork. The C library's fork handlers call it. Where there
 * are none, the child calls it before it calls anything else here. So does a child handler of
 * pthread_atfork that calls back, if it was registered before needm_start: it runs before needm's.
 * Calling it twice is harmless.
 * In the child of a fork only. In a process with other threads it takes their Ms away. */
void needm_atfork_child(void);

/* Fills in as much of *out as its size says. From everywhere, before needm_start and in handlers
 * too; out NULL: nothing happens. */
void needm_get_stats(needm_stats *out);

/* What an error means, in a few words; never NULL. 0 is "no error". From everywhere. */
const char *needm_strerror(int error);

/* The name of an error: "NEEDM_EBUSY"; never NULL. 0 is "0". From everywhere. */
const char *needm_error_name(int error);

/* The callbacks that this thread is inside; 0 outside. From everywhere. */
unsigned needm_depth(void);

/* The bytes that are left for the innermost callback on its G, or on the further stack that it has
 * continued on; 0 outside, and on a stack that was not declared.
 * On the G and in C, where it is what the callback has when C returns. */
size_t needm_stack_left(void);

/* NEEDM_VERSION of the library. From everywhere. */
uint32_t needm_version(void);

#ifdef __cplusplus
}
#endif
#endif
