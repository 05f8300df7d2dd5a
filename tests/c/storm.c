/* Faults of every kind, in a row, nested, in deferred functions and on eight threads at once. */
#include "check.h"
#include <sys/mman.h>

enum { THREADS = 8 };
static char *page, *file;
static uint64_t seed;

/* Each ends the callback by a signal, at a known instruction. */
void illegal_first(void *);
void divides_first(void *);
#if defined __arm__
__asm__(".text\n.globl illegal_first\n.type illegal_first, %function\nillegal_first: udf #9\n");
#else
__asm__(".text\n.globl illegal_first\n.type illegal_first, @function\nillegal_first: ud2\n"
        ".globl divides_first\n.type divides_first, @function\n"
        "divides_first: xorl %ecx, %ecx\n movl $1, %eax\n cltd\n idivl %ecx\n");
#endif
static void reads(void *arg) { (void)*(volatile char *)arg; }
static void writes(void *arg) { *(volatile char *)arg = 1; }
static void executes(void *arg) { ((void (*volatile)(void))arg)(); }
#if defined __i386__ || defined __x86_64__
/* With the flag set by which alignment is checked (Intel SDM volume 3, 2.3, "AC"). */
static void misaligned(void *arg) {
    static int words[4];
    (void)arg;
#ifdef __x86_64__
    __asm__ volatile("pushfq; orl $0x40000, (%%rsp); popfq; movl (%0), %%eax" : : "r"((char *)words + 1) : "eax", "memory");
#else
    __asm__ volatile("pushfl; orl $0x40000, (%%esp); popfl; movl (%0), %%eax" : : "r"((char *)words + 1) : "eax", "memory");
#endif
}
#endif
struct kind {
    void (*fn)(void *);
    int signo, code, result;
    intptr_t at; /* the address, or 0 */
};
static struct kind kinds[10];
static int count;
static void make_kinds(void) {
#define KIND(fn, signo, code, result, at) kinds[count++] = (struct kind){fn, signo, code, result, (intptr_t)(at)}
    KIND(reads, SIGSEGV, SEGV_ACCERR, NEEDM_EFAULT, page + 7);
    KIND(writes, SIGSEGV, SEGV_ACCERR, NEEDM_EFAULT, page + 9);
    KIND(executes, SIGSEGV, SEGV_ACCERR, NEEDM_EFAULT, page + 64);
    KIND(illegal_first, SIGILL, 0, NEEDM_EFAULT, 0);
    KIND(overflow, SIGSEGV, 0, NEEDM_EOVERFLOW, 0);
#ifndef __arm__
    KIND(divides_first, SIGFPE, FPE_INTDIV, NEEDM_EFAULT, 0);
#endif
    /* qemu tells another address, and checks no alignment. */
    KIND(reads, SIGBUS, BUS_ADRERR, NEEDM_EFAULT, file + 3);
#if defined __i386__ || defined __x86_64__
    if (!emulated()) KIND(misaligned, SIGBUS, BUS_ADRALN, NEEDM_EFAULT, 0);
#endif
}

static int fails(const struct kind *kind, needm_panic_info *info) {
    *info = (needm_panic_info){.size = sizeof *info};
    return needm_callback(kind->fn, (void *)kind->at, 0, info);
}
static void check_info(const struct kind *kind, int result, const needm_panic_info *info) {
    CHECK_EQ(result, kind->result);
    CHECK_EQ(info->kind, kind->result);
    CHECK_EQ(info->signo, kind->signo);
    if (kind->code) CHECK_EQ(info->code, kind->code);
    if (kind->at && !(emulated() && kind->signo == SIGBUS)) CHECK_EQ(info->addr, (uintptr_t)kind->at);
    if (kind->fn == illegal_first) CHECK_EQ(info->pc, (uintptr_t)illegal_first);
    if (kind->fn == executes) CHECK_EQ(info->pc, (uintptr_t)kind->at);
}

/* Fails with `outer`, having failed with `inner` in a callback of C's inside. */
struct nest {
    const struct kind *outer, *inner, *deferred;
    needm_panic_info info;
    int depth;
};
static void from_c(void *arg) {
    struct nest *nest = arg;
    check_info(nest->inner, fails(nest->inner, &nest->info), &nest->info);
}
static void nests(void *arg) {
    struct nest *nest = arg;
    if (nest->depth-- > 0) {
        needm_panic_info info = {.size = sizeof info};
        CHECK_EQ(needm_callback(nests, nest, 0, &info), nest->outer->result);
    } else
        CHECK_EQ(needm_ccall(from_c, nest), 0);
    nest->outer->fn((void *)nest->outer->at);
}
static void fails_when_deferred(void *arg) {
    const struct kind *kind = arg;
    kind->fn((void *)kind->at);
}
static void recovers(void *recovered) {
    needm_panic_info info = {.size = sizeof info};
    if (needm_recover(&info) == 1) *(int *)recovered = info.kind;
}
static void defers(void *arg) {
    struct nest *nest = arg;
    needm_defer one;
    CHECK_EQ(needm_defer_push(&one, fails_when_deferred, (void *)nest->deferred), 0);
    nest->outer->fn((void *)nest->outer->at);
}
static void defers_and_recovers(void *arg) {
    struct nest *nest = arg;
    needm_defer one, two;
    CHECK_EQ(needm_defer_push(&one, recovers, &nest->depth), 0);
    CHECK_EQ(needm_defer_push(&two, fails_when_deferred, (void *)nest->deferred), 0);
    nest->outer->fn((void *)nest->outer->at);
}

static void *storms(void *number) {
    uint64_t random = seed * 2654435761u + (uintptr_t)number + 1;
    for (int i = 0; i < 20; i++) next(&random);
    for (int i = 0; i < rounds(1000); i++) {
        const struct kind *a = kinds + next(&random) % count, *b = kinds + next(&random) % count;
        needm_panic_info info;
        check_info(a, fails(a, &info), &info);
        struct nest nest = {.outer = a, .inner = b, .deferred = b, .depth = next(&random) % 4};
        info = (needm_panic_info){.size = sizeof info};
        check_info(a, needm_callback(nests, &nest, 0, &info), &info);
        /* What a deferred function raises replaces what it ran for. */
        info = (needm_panic_info){.size = sizeof info};
        check_info(b, needm_callback(defers, &nest, 0, &info), &info);
        nest.depth = 0;
        CHECK_EQ(needm_callback(defers_and_recovers, &nest, 0, NULL), 0);
        CHECK_EQ(nest.depth, b->result);
        long sum = 0;
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
        CHECK_EQ(sum, 1);
    }
    return NULL;
}
static void faults_of_all_kinds_storm_on_eight_threads(void) {
    pthread_t threads[THREADS];
    uint64_t made = stats().ms_total;
    for (long i = 0; i < THREADS; i++) threads[i] = thread(storms, (void *)i);
    for (int i = 0; i < THREADS; i++) join(threads[i]);
    /* Each has one, and some were made before they were there. */
    CHECK(stats().ms_total <= made + 2 * THREADS + 2);
}

/* The edges of the stack. */
static void reads_at(void *where) { (void)**(volatile char **)where; }
static void the_last_byte_of_the_stack_is_the_callbacks_and_the_next_is_not(void) {
    void *lo, *hi;
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    char *at = lo;
    needm_panic_info info = {.size = sizeof info};
    CHECK_EQ(needm_callback(reads_at, &at, 0, &info), 0);
    at--;
    CHECK_EQ(needm_callback(reads_at, &at, 0, &info), NEEDM_EOVERFLOW);
    CHECK_EQ(info.addr, (uintptr_t)at);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void a_function_that_is_not_there_is_a_fault_at_its_address(void) {
    needm_panic_info info = {.size = sizeof info};
    for (int i = 0; i < rounds(100); i++) {
        CHECK_EQ(needm_callback((void (*)(void *))(uintptr_t)(page + 128), NULL, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.addr, (uintptr_t)(page + 128));
        CHECK_EQ(info.pc, (uintptr_t)(page + 128));
    }
}

int main(int argc, char **argv) {
    uint32_t binding = NEEDM_BIND_THREAD;
    seed = seed_asked_for(argc, argv, &binding);
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *empty = tmpfile();
    CHECK(empty);
    file = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(empty), 0);
    CHECK(page != MAP_FAILED && file != MAP_FAILED);
    make_kinds();
    start((needm_config){.binding = binding});
    RUN(the_last_byte_of_the_stack_is_the_callbacks_and_the_next_is_not);
    RUN(a_function_that_is_not_there_is_a_fault_at_its_address);
    RUN(faults_of_all_kinds_storm_on_eight_threads);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
