/* Coroutines inside callbacks. A foreign thread calls back; the callback runs generators, each on a stack
 * of its own, and sums what they yield. One of them crashes, and one overflows its stack: the callback
 * ends with an error, the thread goes on. */
#include <needm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

struct generator {
    ucontext_t own, caller;
    char *map, *lo, *hi;
    void (*body)(struct generator *);
    int value, over;
};
static __thread struct generator *starting;

enum { STACK = 64 * 1024 };

static void entry(void) {
    struct generator *self = starting;
    self->body(self);
    self->over = 1;
    swapcontext(&self->own, &self->caller);
}
static struct generator *make(void (*body)(struct generator *)) {
    struct generator *made = calloc(1, sizeof *made);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!made) abort();
    made->map = mmap(NULL, page + STACK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made->map == MAP_FAILED) abort();
    made->lo = made->map + page; /* below it is the guard */
    made->hi = made->lo + STACK;
    made->body = body;
    if (mprotect(made->lo, STACK, PROT_READ | PROT_WRITE) != 0 || getcontext(&made->own) != 0) abort();
    made->own.uc_stack.ss_sp = made->lo;
    made->own.uc_stack.ss_size = STACK;
    makecontext(&made->own, entry, 0);
    return made;
}
static void release(void *arg) {
    struct generator *generator = arg;
    munmap(generator->map, (size_t)(generator->hi - generator->map));
    free(generator);
}
/* Goes on with it until it yields: the callback continues on the generator's stack. */
static int next(struct generator *generator, int *value) {
    needm_stack old;
    if (needm_enter_stack(generator->lo, generator->hi, &old) != 0) abort();
    starting = generator;
    swapcontext(&generator->caller, &generator->own);
    needm_leave_stack(&old);
    *value = generator->value;
    return !generator->over;
}
static void yield(struct generator *self, int value) {
    self->value = value;
    swapcontext(&self->own, &self->caller);
}

static void counts(struct generator *self) {
    for (int i = 1; i <= 10; i++) yield(self, i);
}
static void crashes(struct generator *self) {
    yield(self, 1);
    int *volatile null = NULL;
    *(volatile int *)null = 1;
}
__attribute__((noinline)) static int descend(volatile char *above) {
    volatile char frame[512];
    frame[0] = above ? above[0] : 1;
    if (frame[0] == 0) return 0; /* never: but no compiler sees that */
    return descend(frame) + frame[0];
}
static void overflows(struct generator *self) {
    yield(self, 1);
    yield(self, descend(NULL));
}

struct job {
    void (*body)(struct generator *);
    struct generator *generator;
    int sum;
};
static void sums(void *arg) {
    struct job *job = arg;
    for (int value; next(job->generator, &value);) job->sum += value;
}

static void *foreign(void *arg) {
    static void (*const bodies[])(struct generator *) = {counts, crashes, overflows};
    for (int i = 0; i < 3; i++) {
        struct job job = {bodies[i], make(bodies[i]), 0};
        int result = needm_callback(sums, &job, 0, NULL);
        printf("%s, sum %d\n", result == 0 ? "returned" : needm_strerror(result), job.sum);
        /* After the callback: nothing runs on its stack any more. */
        release(job.generator);
    }
    return arg;
}

int main(void) {
    pthread_t thread;
    if (needm_start(NULL) != 0 || pthread_create(&thread, NULL, foreign, NULL) != 0) return 1;
    pthread_join(thread, NULL);
    return needm_stop() == 0 ? 0 : 1;
}
