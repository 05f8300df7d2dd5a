/* Faults of every kind, in a row, nested, in deferred functions and on eight threads at once. */
#include "check.h"
#ifndef _WIN32
#include <sys/mman.h>
/* A number of the system's own. */
#define IS_A_CODE(code) ((code) > 0)
#else
/* An NTSTATUS, of an error or a warning. */
#define IS_A_CODE(code) ((code) < 0)
#define SEGV_ACCERR ((int)STATUS_ACCESS_VIOLATION)
#define FPE_INTDIV ((int)STATUS_INTEGER_DIVIDE_BY_ZERO)
#endif

enum { THREADS = 8 };
static char *page, *file;
static uint64_t seed;

/* Each ends the callback by a signal, at the instruction `name_here`. */
#define AT(name) void name(void *); extern char name##_here[]
AT(reads);
AT(writes);
AT(illegal);
AT(traps);
#if DIVISION_FAULTS
AT(divides);
#endif
#if ALIGNMENT_FAULTS
AT(misaligned);
#endif
__asm__(FAULTING_FUNCTIONS);
static void executes(void *arg) { ((void (*volatile)(void))arg)(); }
struct kind {
    void (*fn)(void *);
    int signo, code, result;
    intptr_t at; /* the address, or 0 */
    char *pc;    /* the instruction, or NULL */
    int address_is_told;
};
static struct kind kinds[10];
static int count;
static void make_kinds(void) {
#define KIND(...) kinds[count++] = (struct kind){__VA_ARGS__}
    KIND(reads, SIGSEGV, SEGV_ACCERR, NEEDM_EFAULT, (intptr_t)(page + 7), reads_here, 1);
    KIND(writes, SIGSEGV, SEGV_ACCERR, NEEDM_EFAULT, (intptr_t)(page + 9), writes_here, 1);
    KIND(executes, SIGSEGV, SEGV_ACCERR, NEEDM_EFAULT, (intptr_t)(page + 64), page + 64, 1);
    KIND(illegal, SIGILL, 0, NEEDM_EFAULT, 0, illegal_here, 0);
    KIND(traps, SIGTRAP, 0, NEEDM_EFAULT, 0, traps_here, 0);
    KIND(overflow, SIGSEGV, 0, NEEDM_EOVERFLOW, 0, NULL, 0);
#ifndef _WIN32
    /* qemu-user tells another address. */
    KIND(reads, SIGBUS, BUS_ADRERR, NEEDM_EFAULT, (intptr_t)(file + 3), reads_here, !emulated());
#endif
#if DIVISION_FAULTS
    KIND(divides, SIGFPE, FPE_INTDIV, NEEDM_EFAULT, 0, divides_here, 0);
#endif
#if ALIGNMENT_FAULTS
    /* Not every processor tells the address. */
    static char words[32] __attribute__((aligned(16)));
    if (!emulated() || QEMU_CHECKS_ALIGNMENT)
        KIND(misaligned, SIGBUS, BUS_ADRALN, NEEDM_EFAULT, (intptr_t)(words + 1), misaligned_here, 0);
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
    CHECK(IS_A_CODE(info->code));
    CHECK(info->value == NULL);
    if (kind->address_is_told) CHECK_EQ(info->addr, (uintptr_t)kind->at);
    if (kind->pc) CHECK_EQ(info->pc, (uintptr_t)kind->pc);
    /* The address of these is the instruction (sigaction(2), si_addr). */
    if (kind->signo == SIGILL || kind->signo == SIGFPE) CHECK_EQ(info->addr, info->pc);
}

/* Fails with `outer`, after a callback that nests inside has failed with `inner`. */
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

static void *faults_in_every_way(void *number) {
    uint64_t random = seed * 2654435761u + (uintptr_t)number + 1;
    for (int i = 0; i < 20; i++) next(&random);
    for (int i = 0; i < rounds(1000); i++) {
        const struct kind *a = kinds + next(&random) % count, *b = kinds + next(&random) % count;
        needm_panic_info info;
        check_info(a, fails(a, &info), &info);
        struct nest nest = {.outer = a, .inner = b, .deferred = b, .depth = next(&random) % 4};
        info = (needm_panic_info){.size = sizeof info};
        check_info(a, needm_callback(nests, &nest, 0, &info), &info);
        /* The fault of a deferred function replaces the first one. */
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
static void every_kind_of_fault_nested_and_deferred_on_eight_threads(void) {
    pthread_t threads[THREADS];
    uint64_t made = stats().ms_total;
    for (long i = 0; i < THREADS; i++) threads[i] = thread(faults_in_every_way, (void *)i);
    for (int i = 0; i < THREADS; i++) join(threads[i]);
    /* One for each thread, and spares that were made while others were taken. */
    CHECK(stats().ms_total <= made + 2 * THREADS + 2);
}

/* The edges of the stack. */
static void reads_at(void *where) { (void)**(volatile char **)where; }
static void only_accesses_below_the_last_byte_of_the_stack_overflow(void) {
    void *lo, *hi;
    CHECK_EQ(needm_attach(), 0);
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    char *at = lo;
    needm_panic_info info = {.size = sizeof info};
    CHECK_EQ(needm_callback(reads_at, &at, 0, &info), 0);
    at--;
    CHECK_EQ(needm_callback(reads_at, &at, 0, &info), NEEDM_EOVERFLOW);
    CHECK_EQ(info.addr, (uintptr_t)at);
    CHECK_EQ(needm_callback(overflow, NULL, 0, &info), NEEDM_EOVERFLOW);
    CHECK(info.addr < (uintptr_t)lo && info.addr >= (uintptr_t)lo - 32768);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void a_call_of_no_code_is_a_fault_at_its_address(void) {
    needm_panic_info info = {.size = sizeof info};
    for (int i = 0; i < rounds(100); i++) {
        CHECK_EQ(needm_callback((void (*)(void *))(uintptr_t)(page + 128), NULL, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.addr, (uintptr_t)(page + 128));
        CHECK_EQ(info.pc, (uintptr_t)(page + 128));
    }
}

int main(int argc, char **argv) {
    uint32_t binding = NEEDM_BIND_THREAD;
    seed = parse_seed(argc, argv, &binding);
#ifdef _WIN32
    page = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_NOACCESS);
    CHECK(page);
#else
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FILE *empty = tmpfile();
    CHECK(empty);
    file = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(empty), 0);
    CHECK(page != MAP_FAILED && file != MAP_FAILED);
#endif
    make_kinds();
    start((needm_config){.binding = binding});
    RUN(only_accesses_below_the_last_byte_of_the_stack_overflow);
    RUN(a_call_of_no_code_is_a_fault_at_its_address);
    RUN(every_kind_of_fault_nested_and_deferred_on_eight_threads);
    CHECK_EQ(needm_detach(), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
