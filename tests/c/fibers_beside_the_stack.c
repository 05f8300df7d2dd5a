/* Fibers whose stacks are in one mapping with their thread's own stack, which has no guard: their callbacks
 * end in any order all the same, and those that the thread jumps out of are over. */
#include "check.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { FIBERS = 2, SIZE = 128 * 1024 };
static uint32_t binding;

struct fiber {
    ucontext_t own;
    char *stack;
    const needm_m *m;
    int over;
};
static struct fiber fibers[FIBERS];
static ucontext_t thread_context;

static void yields(void *arg) {
    struct fiber *self = arg;
    CHECK_EQ(swapcontext(&self->own, &thread_context), 0);
}
static void waits_twice(void *arg) {
    struct fiber *self = arg;
    volatile unsigned char frame[512];
    unsigned char pattern = (unsigned char)(1 + (self - fibers));
    for (unsigned i = 0; i < sizeof frame; i++) frame[i] = pattern;
    self->m = needm_self();
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(needm_ccall(yields, self), 0);
        for (unsigned j = 0; j < sizeof frame; j++) CHECK_EQ(frame[j], pattern);
    }
}
static void fiber_main(int number) {
    CHECK_EQ(needm_callback(waits_twice, fibers + number, 0, NULL), 0);
    fibers[number].over = 1;
    yields(fibers + number);
}
static void resume(int number) { CHECK_EQ(swapcontext(&thread_context, &fibers[number].own), 0); }
static void make(int number) {
    struct fiber *fiber = fibers + number;
    fiber->over = 0;
    CHECK_EQ(getcontext(&fiber->own), 0);
    fiber->own.uc_stack.ss_sp = fiber->stack;
    fiber->own.uc_stack.ss_size = SIZE;
    makecontext(&fiber->own, (void (*)(void))fiber_main, 1, number);
}
/* The one whose callback began first, and is the outer one if they are taken for one stack, ends first. */
static void runs_fibers(int first) {
    for (int i = 0; i < FIBERS; i++) make(i);
    resume(first);
    resume(!first);
    CHECK(fibers[0].m != fibers[1].m);
    for (int i = 0; i < FIBERS; i++) {
        int next = i ? !first : first;
        resume(next);
        CHECK(!fibers[next].over);
        resume(next);
        CHECK(fibers[next].over);
    }
    CHECK_EQ(needm_depth(), 0);
}
static jmp_buf out;
static void jumps(void *arg) {
    (void)arg;
    longjmp(out, 1);
}
static void jumps_from_c(void *arg) { needm_ccall(jumps, arg); }
__attribute__((noinline)) static void jumps_from_deeper(int frames) {
    volatile char frame[4096];
    frame[0] = 1;
    if (frames > 0)
        jumps_from_deeper(frames - 1);
    else if (setjmp(out) == 0)
        needm_callback(jumps_from_c, NULL, 0, NULL);
    frame[1] = frame[0];
}
static void *works(void *arg) {
    long sum = 0;
    if (arg) {
        /* Linux makes one mapping of neighbours that are alike. */
        for (int i = 0; i < FIBERS; i++) {
            fibers[i].stack = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
            CHECK(fibers[i].stack != MAP_FAILED);
        }
    }
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    for (int i = 0; i < FIBERS; i++) runs_fibers(i);
    for (int i = 0; i < 20; i++) {
        jumps_from_deeper(i % 8);
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    }
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(sum, 21);
    if (arg)
        for (int i = 0; i < FIBERS; i++) CHECK_EQ(munmap(fibers[i].stack, SIZE), 0);
    return NULL;
}
static void run(const pthread_attr_t *attributes, void *maps_its_own) {
    pthread_t one;
    start((needm_config){.binding = binding});
    CHECK_EQ(pthread_create(&one, attributes, works, maps_its_own), 0);
    join(one);
    CHECK_EQ(stats().ms_bound, 0);
    CHECK_EQ(needm_stop(), 0);
}
/* The guard of the lowest fiber, or none, is no guard of the thread's stack. */
static void below_a_stack_that_the_host_has_given(void) {
    /* Emulators have no robust lists, by which needm finds what glibc notes of the stack. */
    for (int guard = 0; guard < (emulated() ? 1 : 2); guard++) {
        pthread_attr_t attributes;
        size_t page = (size_t)sysconf(_SC_PAGESIZE), len = page + (FIBERS + 1) * SIZE;
        char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(memory != MAP_FAILED);
        if (guard) CHECK_EQ(mprotect(memory, page, PROT_NONE), 0);
        for (int i = 0; i < FIBERS; i++) fibers[i].stack = memory + page + i * SIZE;
        pthread_attr_init(&attributes);
        CHECK_EQ(pthread_attr_setstack(&attributes, memory + page + FIBERS * SIZE, SIZE), 0);
        run(&attributes, NULL);
        pthread_attr_destroy(&attributes);
        CHECK_EQ(munmap(memory, len), 0);
    }
}
static void below_a_stack_without_a_guard(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK_EQ(pthread_attr_setguardsize(&attributes, 0), 0);
    CHECK_EQ(pthread_attr_setstacksize(&attributes, SIZE), 0);
    run(&attributes, &attributes);
    pthread_attr_destroy(&attributes);
}

int main(int argc, char **argv) {
    parse_seed(argc, argv, &binding);
    RUN(below_a_stack_that_the_host_has_given);
    RUN(below_a_stack_without_a_guard);
    return SUCCESS;
}
