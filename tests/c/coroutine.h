/* Coroutines inside callbacks: what the tests of further stacks share. */
#ifndef COROUTINE_H
#define COROUTINE_H
#include "check.h"
#include <sys/mman.h>
#include <ucontext.h>

#ifndef PAGES_BELOW
#define PAGES_BELOW 2
#endif
enum { STACK_SIZE = 128 * 1024 };
static uint32_t binding;
static uint64_t seed;

/* A coroutine on a stack of its own, with a guard below it. */
struct coroutine {
    ucontext_t own, from;
    char *map, *lo, *hi;
    void (*body)(struct coroutine *);
    volatile int result, seen;
    int over, declares_itself;
    needm_stack old;
    void *arg;
};
static __thread struct coroutine *starting;

static inline size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }
static inline void map_stack(struct coroutine *co) {
    size_t page = page_size();
    co->map = mmap(NULL, STACK_SIZE + (PAGES_BELOW + 1) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(co->map != MAP_FAILED);
    /* A page above it, too: no other mapping becomes one with it. */
    co->lo = co->map + PAGES_BELOW * page;
    CHECK_EQ(mprotect(co->lo, STACK_SIZE, PROT_READ | PROT_WRITE), 0);
    co->hi = co->lo + STACK_SIZE;
}
static inline void unmap_stack(struct coroutine *co) { munmap(co->map, STACK_SIZE + (PAGES_BELOW + 1) * page_size()); }
static inline void yield(struct coroutine *co) { CHECK_EQ(swapcontext(&co->own, &co->from), 0); }
static inline void coroutine_main(void) {
    struct coroutine *co = starting;
    if (co->declares_itself) CHECK_EQ(needm_enter_stack(co->lo, co->hi, &co->old), 0);
    co->body(co);
    if (co->declares_itself) CHECK_EQ(needm_leave_stack(&co->old), 0);
    co->over = 1;
    yield(co);
}
static inline void make(struct coroutine *co, void (*body)(struct coroutine *)) {
    co->over = 0;
    co->body = body;
    CHECK_EQ(getcontext(&co->own), 0);
    co->own.uc_stack.ss_sp = co->lo;
    co->own.uc_stack.ss_size = STACK_SIZE;
    makecontext(&co->own, coroutine_main, 0);
}
static inline void switch_to(struct coroutine *co) {
    starting = co;
    CHECK_EQ(swapcontext(&co->from, &co->own), 0);
}
static inline void resume(struct coroutine *co) {
    needm_stack old;
    if (!co->declares_itself) CHECK_EQ(needm_enter_stack(co->lo, co->hi, &old), 0);
    switch_to(co);
    if (!co->declares_itself) CHECK_EQ(needm_leave_stack(&old), 0);
}
static inline void runs(void *arg) {
    struct coroutine *co = arg;
    resume(co);
    co->result = 1;
}
static inline int is_on(const struct coroutine *co, const void *address) {
    return (const char *)address >= co->lo && (const char *)address < co->hi;
}
/* Runs the body on a coroutine inside a callback. */
static inline int run(struct coroutine *co, void (*body)(struct coroutine *), needm_panic_info *info) {
    make(co, body);
    co->result = 0;
    return needm_callback(runs, co, 0, info);
}
static inline void works_again(void) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_depth(), 0);
}

/* Each kind of ending, with a deferred function whose argument is on the further stack, and one
 * whose argument is on the G. */
struct note {
    struct coroutine *co;
    long value;
};
static inline void notes(void *arg) {
    struct note *note = arg;
    CHECK_EQ(note->value, 0x5eed);
    note->co->seen++;
}
static inline void ends(struct coroutine *co, void (*end)(void *)) {
    struct note note = {co, 0x5eed};
    needm_defer defer;
    CHECK(is_on(co, &note));
    CHECK_EQ(needm_defer_push(&defer, notes, &note), 0);
    end(NULL);
    if (end == nothing) return;
    CHECK(!"reached");
}
static inline void panics(void *arg) { needm_panic(arg ? arg : (void *)7); }
static inline void body_faults(struct coroutine *co) { ends(co, fault); }
static inline void body_panics(struct coroutine *co) { ends(co, panics); }
static inline void body_overflows(struct coroutine *co) { ends(co, overflow); }
#endif
