/* Boehm's collector, with objects that only one place refers to: a frame on a G, a frame of the C
 * that has called back, one of C that a callback has called, and one of a callback inside that.
 * Threads collect and fill freed memory all the while. What was freed wrongly is then overwritten. */
#define GC_NO_THREAD_REDIRECTS /* a foreign thread's code does not know of the collector */
#include "../c/check.h"
#include "gc_callback.h"
#include <stdatomic.h>

enum { THREADS = 4, ROUNDS = 60, LENGTH = 20 };

struct cell {
    struct cell *next;
    uintptr_t word;
};

/* A list that nothing but the answer refers to. The last is made first. */
__attribute__((noinline)) static struct cell *make(uintptr_t word) {
    struct cell *list = NULL;
    for (int i = 0; i < LENGTH; i++) {
        struct cell *cell = GC_MALLOC(sizeof *cell);
        CHECK(cell);
        *cell = (struct cell){list, word};
        list = cell;
    }
    return list;
}
__attribute__((noinline)) static void verify(struct cell *list, uintptr_t word) {
    int length = 0;
    for (; list; list = list->next, length++) CHECK_EQ(list->word, word);
    CHECK_EQ(length, LENGTH);
}
/* Collects, and takes what was freed. */
__attribute__((noinline)) static void collect(void) {
    GC_gcollect();
    for (int i = 0; i < 20; i++) make(0xdead);
}

static atomic_int finalized;
static void note(void *object, void *data) {
    (void)object, (void)data;
    atomic_fetch_add(&finalized, 1);
}

/* The names say which stack refers to what. */
static void innermost(void *arg) {
    struct cell *volatile on_the_g_again = make(4);
    (void)arg;
    collect();
    verify(on_the_g_again, 4);
}
static void in_c(void *arg) {
    struct cell *volatile on_the_own_stack_again = make(3);
    (void)arg;
    collect();
    CHECK_EQ(gc_callback(innermost, NULL, NULL), 0);
    verify(on_the_own_stack_again, 3);
}
static void panics(void *arg) {
    struct cell *volatile on_the_g = make(5);
    collect();
    verify(on_the_g, 5);
    needm_panic(arg);
}
static void crashes(void *arg) { *(volatile int *)arg = 1; }
static void callback(void *arg) {
    struct cell *volatile on_the_g = make(2);
    (void)arg;
    CHECK_EQ(gc_ccall(in_c, NULL), 0);
    verify(on_the_g, 2);
    /* These end callbacks inside this one. */
    CHECK_EQ(gc_callback(panics, NULL, NULL), NEEDM_EPANIC);
    CHECK_EQ(gc_callback_that_may_crash(crashes, NULL, NULL), NEEDM_EFAULT);
    collect();
    verify(on_the_g, 2);
}

/* A foreign thread: the collector learns of it from the hook. */
static void *foreign(void *arg) {
    CHECK_EQ(needm_attach(), 0);
    for (int i = 0; i < rounds(ROUNDS); i++) {
        struct cell *volatile on_the_own_stack = make(1);
        void *garbage = GC_MALLOC(16);
        GC_REGISTER_FINALIZER(garbage, note, NULL, NULL, NULL);
        garbage = NULL;
        CHECK_EQ(gc_callback(callback, NULL, NULL), 0);
        verify(on_the_own_stack, 1);
        /* These end the outermost one. */
        needm_panic_info info = NEEDM_PANIC_INFO_INIT;
        CHECK_EQ(gc_callback(panics, &info, &info), NEEDM_EPANIC);
        CHECK(info.value == &info);
        CHECK_EQ(gc_callback_that_may_crash(crashes, NULL, &info), NEEDM_EFAULT);
        CHECK_EQ(info.signo, SIGSEGV);
        verify(on_the_own_stack, 1);
    }
    return arg;
}

int main(void) {
    GC_INIT();
    GC_allow_register_threads();
    needm_hooks hooks = NEEDM_HOOKS_INIT;
    hooks.minit = gc_minit;
    hooks.unminit = gc_unminit;
    start((needm_config){.hooks = &hooks});
    pthread_t made[THREADS];
    for (int i = 0; i < THREADS; i++) made[i] = thread(foreign, NULL);
    for (int i = 0; i < THREADS; i++) join(made[i]);
    CHECK_EQ(stats().faults, 2 * THREADS * rounds(ROUNDS));
    /* It does collect: of the objects that nothing refers to, most are gone. */
    GC_gcollect();
    GC_invoke_finalizers();
    CHECK(atomic_load(&finalized) > THREADS * rounds(ROUNDS) / 2);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
