/* Faults of every kind, in a row, nested, in deferred functions and on eight threads at once. */
#include "check.h"
#include <sys/mman.h>

enum { THREADS = 8 };
static char *page, *file;
static uint64_t seed;

/* Each ends the callback by a signal, at the instruction of its name with _here. */
#define AT(name) void name(void *); extern char name##_here[]
AT(reads);
AT(writes);
AT(illegal);
AT(traps);
AT(divides);
AT(misaligned);
#define FUNCTION(name) ".globl " #name ", " #name "_here\n.type " #name ", %function\n" #name ": "
#define HERE(name) #name "_here: "
#if defined __arm__
__asm__(".text\n.syntax unified\n.arm\n"
        FUNCTION(reads) "nop\n" HERE(reads) "ldrb r0, [r0]\n bx lr\n"
        FUNCTION(writes) "mov r1, #1\n" HERE(writes) "strb r1, [r0]\n bx lr\n"
        FUNCTION(illegal) "\n" HERE(illegal) "udf #9\n"
        FUNCTION(traps) "\n" HERE(traps) "bkpt #0\n");
#else
#ifdef __x86_64__
#define ARGUMENT "nop\n"
#define WHERE "(%rdi)"
#define FLAGS "pushfq\n orl $0x40000, (%rsp)\n popfq\n"
#else
#define ARGUMENT "movl 4(%esp), %ecx\n"
#define WHERE "(%ecx)"
#define FLAGS "pushfl\n orl $0x40000, (%esp)\n popfl\n"
#endif
__asm__(".text\n"
        FUNCTION(reads) ARGUMENT HERE(reads) "movb " WHERE ", %al\n ret\n"
        FUNCTION(writes) ARGUMENT HERE(writes) "movb $1, " WHERE "\n ret\n"
        FUNCTION(illegal) "\n" HERE(illegal) "ud2\n"
        /* What a trap interrupts is the next instruction. */
        FUNCTION(traps) "int3\n" HERE(traps) "ret\n"
        FUNCTION(divides) "xorl %ecx, %ecx\n movl $1, %eax\n cltd\n" HERE(divides) "idivl %ecx\n"
        /* With the flag set by which alignment is checked (Intel SDM volume 3, 2.3, "AC"). */
        FUNCTION(misaligned) ARGUMENT FLAGS HERE(misaligned) "movl " WHERE ", %eax\n");
#endif
static void executes(void *arg) { ((void (*volatile)(void))arg)(); }
struct kind {
    void (*fn)(void *);
    int signo, code, result;
    intptr_t at; /* the address, or 0 */
    char *pc;    /* the instruction, or NULL */
};
static struct kind kinds[10];
static int count;
#ifdef __arm__
static void (*const misaligned_fn)(void *) = NULL;
#else
static char words[16] __attribute__((aligned(16)));
static void (*const misaligned_fn)(void *) = misaligned;
#endif
static void make_kinds(void) {
#define KIND(fn, signo, code, result, at, pc) \
    kinds[count++] = (struct kind){fn, signo, code, result, (intptr_t)(at), pc}
    KIND(reads, SIGSEGV, SEGV_ACCERR, NEEDM_EFAULT, page + 7, reads_here);
    KIND(writes, SIGSEGV, SEGV_ACCERR, NEEDM_EFAULT, page + 9, writes_here);
    KIND(executes, SIGSEGV, SEGV_ACCERR, NEEDM_EFAULT, page + 64, page + 64);
    KIND(illegal, SIGILL, 0, NEEDM_EFAULT, 0, illegal_here);
    KIND(traps, SIGTRAP, 0, NEEDM_EFAULT, 0, traps_here);
    KIND(overflow, SIGSEGV, 0, NEEDM_EOVERFLOW, 0, NULL);
    /* qemu tells another address, and checks no alignment. */
    KIND(reads, SIGBUS, BUS_ADRERR, NEEDM_EFAULT, file + 3, reads_here);
#ifndef __arm__
    KIND(divides, SIGFPE, FPE_INTDIV, NEEDM_EFAULT, 0, divides_here);
    /* The processor tells no address. */
    if (!emulated()) KIND(misaligned, SIGBUS, BUS_ADRALN, NEEDM_EFAULT, words + 1, misaligned_here);
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
    CHECK(info->code > 0);
    CHECK(info->value == NULL);
    int tells = kind->at && kind->fn != misaligned_fn && !(emulated() && kind->signo == SIGBUS);
    if (tells) CHECK_EQ(info->addr, (uintptr_t)kind->at);
    if (kind->pc) CHECK_EQ(info->pc, (uintptr_t)kind->pc);
    /* The address of these is the instruction (sigaction(2), si_addr). */
    if (kind->signo == SIGILL || kind->signo == SIGFPE) CHECK_EQ(info->addr, info->pc);
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
