/* Switches between stacks for the programs of tests/c, as coroutine libraries do it under Windows: the
 * thread's environment block says afterwards where the new stack is. Below the stack that a program
 * gives are pages for handlers of its overflow, which are made guards here. `registers` is what a
 * handler of an exception gets. */
#ifndef POSIX_UCONTEXT_H
#define POSIX_UCONTEXT_H
#include <sys/mman.h>

enum { FOR_HANDLERS = 8 * 4096, LAST_PAGE = 4096 };
#define PAGES_BELOW 10 /* of a stack: these, and one that is not part of it */

typedef struct {
    CONTEXT registers;
    void *sp;
    struct {
        void *ss_sp;
        size_t ss_size;
    } uc_stack;
} ucontext_t;

__asm__(SWITCH_FUNCTIONS);
/* Leaves the stack pointer at *from, above what is to be kept, and goes on at `to`. */
void switch_stacks(void **from, void *to);

static inline int swapcontext(ucontext_t *from, ucontext_t *to) {
    switch_stacks(&from->sp, to->sp);
    return 0;
}
static inline int getcontext(ucontext_t *at) {
    (void)at;
    return 0;
}
static inline void makecontext(ucontext_t *at, void (*body)(void), int arguments) {
    (void)arguments;
    char *lo = at->uc_stack.ss_sp, *hi = lo + at->uc_stack.ss_size;
    CHECK_EQ(protect(lo - FOR_HANDLERS, FOR_HANDLERS, PAGE_READWRITE | PAGE_GUARD), 0);
    void **top = (void **)hi - SWITCH_TOP;
    memset(top, 0, SWITCH_TOP * sizeof *top);
    *--top = (void *)body;
    /* As switch_stacks leaves them: registers, and the stack's bounds. */
    top -= SWITCH_REGISTERS;
    memset(top, 0, SWITCH_REGISTERS * sizeof *top);
    *--top = hi;
    *--top = lo;
    *--top = lo - FOR_HANDLERS - LAST_PAGE;
    *--top = (void *)(uintptr_t)FOR_HANDLERS;
    *--top = (void *)-1; /* no frames with handlers */
    at->sp = top;
}
#endif
