/* Callbacks for a conservative collector that stops threads by signals and knows one stack for each:
 * Boehm's (libgc), and what is built on it. The page "collector" of the guide explains it.
 *
 * The collector must not see a stack pointer on a G, and take all from there to the end of the thread's
 * own stack for one stack. So both changes of stacks are made while the thread counts as blocked
 * (GC_do_blocking): the collector then goes by the stack pointer that it noted before. On the other
 * side GC_call_with_gc_active begins a new section, and the collector scans that one and what it
 * has noted. It needs no bounds, and no signal ever finds the thread between two stacks. */
#ifndef GC_CALLBACK_H
#define GC_CALLBACK_H
#define GC_THREADS
#include <gc/gc.h>
#include <needm.h>

struct gc_call {
    void (*fn)(void *arg);
    void *arg;
    needm_panic_info *info;
    int ended, result;
};

static void *gc_seen(void *arg) { /* on the G, seen by the collector */
    struct gc_call *call = arg;
    /* No ending may skip GC_call_with_gc_active, which undoes what it did. So this is another
     * callback, which nests on the same G. */
    call->result = needm_callback(call->fn, call->arg, 0, call->info);
    return NULL;
}
static void gc_on_the_g(void *arg) { GC_call_with_gc_active(gc_seen, arg); }
static void *gc_enter(void *arg) { /* on the own stack, blocked */
    struct gc_call *call = arg;
    call->ended = needm_callback(gc_on_the_g, call, 0, NULL);
    return NULL;
}
/* As needm_callback(fn, arg, 0, info), on a thread that the collector knows. A panic may end fn.
 * A fault, an overflow or an interrupt may not: the collector's signal can come while their handler
 * runs, on the signal stack, whose address it would take for one of the G. */
static inline int gc_callback(void (*fn)(void *arg), void *arg, needm_panic_info *info) {
    struct gc_call call = {fn, arg, info, 0, 0};
    GC_do_blocking(gc_enter, &call);
    return call.ended != 0 ? call.ended : call.result;
}

static void *gc_unseen(void *arg) {
    struct gc_call *call = arg;
    call->ended = needm_callback(call->fn, call->arg, 0, call->info);
    return NULL;
}
/* The same for fn that may crash, outside a callback or in one: fn must not touch the collector's
 * objects, as C that waits must not. The collector sends it no signal. */
static inline int gc_callback_that_may_crash(void (*fn)(void *arg), void *arg, needm_panic_info *info) {
    struct gc_call call = {fn, arg, info, 0, 0};
    GC_do_blocking(gc_unseen, &call);
    return call.ended;
}

static void *gc_fn(void *arg) {
    struct gc_call *call = arg;
    call->fn(call->arg);
    return NULL;
}
static void gc_in_c(void *arg) { GC_call_with_gc_active(gc_fn, arg); }
static void *gc_leave(void *arg) { /* on the G, blocked */
    struct gc_call *call = arg;
    call->ended = needm_ccall(gc_in_c, call);
    return NULL;
}
/* As needm_ccall(fn, arg). What fn refers to, on the thread's own stack, is found, too. fn must not
 * leave by needm_panic. */
static inline int gc_ccall(void (*fn)(void *arg), void *arg) {
    struct gc_call call = {fn, arg, NULL, 0, 0};
    GC_do_blocking(gc_leave, &call);
    return call.ended;
}

/* The hooks minit and unminit: the collector knows a thread for as long as it has an M. They run on
 * the thread's own stack, except for unminit of a thread that has exited already. */
static inline void gc_minit(void *user, needm_m *m) {
    struct GC_stack_base base;
    (void)user, (void)m;
    if (GC_get_stack_base(&base) == GC_SUCCESS) GC_register_my_thread(&base);
}
static inline void gc_unminit(void *user, needm_m *m) {
    (void)user;
    if (needm_m_thread(m) == (uint64_t)gettid()) GC_unregister_my_thread();
}
#endif
