/* The hook `fault` is asked about each fault of a callback: it ends the callback, resumes it, or
 * has the fault go to the handler of before. */
#include "check.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

void touches(void *);
extern char touches_here[], touches_after[];
__asm__(TOUCHING_FUNCTION);

/* A heap with a write barrier: its pages are closed to writes, and each write opens one and notes
 * it. */
enum { PAGES = 16 };
static char *heap;
static size_t page_size;
static volatile long noted, asked, skipped;
static volatile int answer;
static int user;
static needm_panic_info told;
static void *told_context;

static int fault_hook(void *given, needm_m *m, const needm_panic_info *info, void *context) {
    CHECK(given == &user && m == needm_self());
    CHECK_EQ(info->size, sizeof *info);
    __atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED);
    uintptr_t offset = info->addr - (uintptr_t)heap;
    if (offset < PAGES * page_size) {
        CHECK_EQ(mprotect(heap + offset / page_size * page_size, page_size, PROT_READ | PROT_WRITE), 0);
        __atomic_fetch_add(&noted, 1, __ATOMIC_RELAXED);
        return NEEDM_FAULT_RESUME;
    }
    if (info->pc == (uintptr_t)touches_here && answer == NEEDM_FAULT_RESUME) {
        CONTEXT_PC((ucontext_t *)context) = (uintptr_t)touches_after;
        __atomic_fetch_add(&skipped, 1, __ATOMIC_RELAXED);
        return NEEDM_FAULT_RESUME;
    }
    told = *info;
    told_context = context;
    return answer;
}
static needm_hooks hooks = {.size = sizeof hooks, .user = &user, .fault = fault_hook};
static void start_with_hook(uint32_t flags) {
    answer = NEEDM_FAULT_END;
    asked = noted = skipped = 0;
    start((needm_config){.hooks = &hooks, .flags = flags});
}

/* Other threads fault for real meanwhile. */
static volatile int over;
static volatile long ended;
static void *faults_for_real(void *arg) {
    while (!over) {
        needm_panic_info info = {.size = sizeof info};
        CHECK_EQ(needm_callback(fault, NULL, 0, &info), NEEDM_EFAULT);
        CHECK(info.addr < 4096);
        __atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
    }
    return arg;
}
/* Values in registers live across the barrier, in integer and floating-point ones. */
static void writes_over_barriers(void *arg) {
    long rounds_left = *(long *)arg, writes = 0;
    double sum = 0.5;
    while (rounds_left-- > 0) {
        CHECK_EQ(mprotect(heap, PAGES * page_size, PROT_READ), 0);
        for (int page = 0; page < PAGES; page++) {
            volatile char *at = heap + (size_t)page * page_size + 5;
            *at = (char)page;
            CHECK_EQ(*at, page);
            sum += 1.5;
            writes++;
        }
    }
    /* The emulator that mixes up threads does not keep the x87 stack over a handler either. */
    CHECK(sum == 0.5 + 1.5 * (double)writes || handlers_lose_their_thread());
    *(long *)arg = writes;
}
static void a_write_barrier_resumes_while_others_fault(void) {
    heap = mmap(NULL, PAGES * page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(heap != MAP_FAILED);
    start_with_hook(0);
    over = 0;
    pthread_t others[2];
    /* Under qemu-i386 a thread that returns from a handler has another's pointer. */
    int count = handlers_lose_their_thread() ? 0 : 2;
    for (int i = 0; i < count; i++) others[i] = thread(faults_for_real, NULL);
    long writes = rounds(100000) / PAGES;
    long want = writes * PAGES;
    CHECK_EQ(needm_callback(writes_over_barriers, &writes, 0, NULL), 0);
    if (count) WAIT_UNTIL(ended > 100);
    over = 1;
    for (int i = 0; i < count; i++) join(others[i]);
    CHECK_EQ(writes, want);
    CHECK_EQ(noted, want);
    CHECK_EQ(asked, want + ended);
    needm_stats stats = {.size = sizeof stats};
    needm_get_stats(&stats);
    CHECK_EQ(stats.faults, ended); /* those that were resumed are none */
    CHECK_EQ(needm_stop(), 0);
}

/* Memory that has no pages before it is touched. */
static void touches_all(void *arg) {
    for (int page = 0; page < PAGES; page++) CHECK_EQ(((volatile char *)arg)[(size_t)page * page_size], 0);
}
static void memory_may_be_mapped_when_it_is_touched(void) {
    CHECK_EQ(mprotect(heap, PAGES * page_size, PROT_NONE), 0);
    memset(mmap(heap, PAGES * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), 0, PAGES * page_size);
    CHECK_EQ(mprotect(heap, PAGES * page_size, PROT_NONE), 0);
    start_with_hook(0);
    CHECK_EQ(needm_callback(touches_all, heap, 0, NULL), 0);
    CHECK_EQ(noted, PAGES);
    CHECK_EQ(needm_stop(), 0);
}

/* The hook moves the callback on. */
static void the_hook_may_change_the_context(void) {
    start_with_hook(0);
    answer = NEEDM_FAULT_RESUME;
    for (int i = 0; i < rounds(100); i++) CHECK_EQ(needm_callback(touches, NULL, 0, NULL), 0);
    CHECK_EQ(skipped, rounds(100));
    CHECK_EQ(needm_stop(), 0);
}

static void the_hook_is_told_what_the_caller_gets(void) {
    needm_panic_info info = {.size = sizeof info};
    start_with_hook(0);
    CHECK_EQ(needm_callback(touches, (void *)16, 0, &info), NEEDM_EFAULT);
    CHECK_EQ(told.kind, info.kind);
    CHECK_EQ(told.signo, info.signo);
    CHECK_EQ(told.code, info.code);
    CHECK(told.addr == info.addr && told.pc == info.pc && told.value == info.value);
    CHECK_EQ(told.pc, (uintptr_t)touches_here);
    CHECK_EQ(told.addr, 16);
    CHECK_EQ(needm_callback(overflow, NULL, 0, &info), NEEDM_EOVERFLOW);
    CHECK_EQ(told.kind, NEEDM_EOVERFLOW);
    CHECK_EQ(told.addr, info.addr);
    CHECK_EQ(asked, 2);
    CHECK_EQ(needm_stop(), 0);
}

/* What is forwarded reaches the handler of before, with the same context. */
static volatile int forwarded;
static void moves_on(uintptr_t address, void *context) {
    CHECK_EQ(address, 16);
    CHECK_EQ((uintptr_t)CONTEXT_PC((ucontext_t *)context), (uintptr_t)touches_here);
    CONTEXT_PC((ucontext_t *)context) = (uintptr_t)touches_after;
    forwarded++;
}
static void the_hook_may_forward_a_fault(void) {
    handle_faults(moves_on);
    start_with_hook(0);
    answer = NEEDM_FAULT_FORWARD;
    for (int i = 0; i < rounds(100); i++) CHECK_EQ(needm_callback(touches, (void *)16, 0, NULL), 0);
    CHECK_EQ(forwarded, rounds(100));
    CHECK_EQ(needm_stop(), 0);
    handle_faults(NULL);
}

/* Faults of C, and of the hook, are none of a callback's. */
static void faults_in_c(void *arg) { CHECK_EQ(needm_ccall(touches, arg), 0); }
static void the_hook_is_not_asked_about_faults_of_c(void) {
    handle_faults(moves_on);
    start_with_hook(0);
    CHECK_EQ(needm_callback(faults_in_c, (void *)16, 0, NULL), 0);
    touches((void *)16);
    CHECK_EQ(asked, 0);
    CHECK_EQ(needm_stop(), 0);
    handle_faults(NULL);
}

#ifndef _WIN32 /* where the hook runs on the callback's own stack */
/* The hook goes back to the callback by itself. */
static sigjmp_buf place;
static int jumping_hook(void *given, needm_m *m, const needm_panic_info *info, void *context) {
    (void)given, (void)m, (void)info, (void)context;
    asked++;
    if (answer == NEEDM_FAULT_RESUME) siglongjmp(place, 1);
    return answer;
}
static void survives_two_faults(void *arg) {
    for (int i = 0; i < 2; i++)
        if (sigsetjmp(place, 1) == 0) fault(arg);
}
static void a_hook_that_was_jumped_out_of_is_asked_again(void) {
    hooks.fault = jumping_hook;
    start_with_hook(0);
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0); /* the next ones take the fast path */
    for (int i = 1; i <= rounds(100); i++) {
        answer = NEEDM_FAULT_RESUME;
        CHECK_EQ(needm_callback(survives_two_faults, NULL, 0, NULL), 0);
        answer = NEEDM_FAULT_END;
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(asked, 3 * i);
    }
    CHECK_EQ(needm_stop(), 0);
    hooks.fault = fault_hook;
}
#endif

static int faulting_hook(void *given, needm_m *m, const needm_panic_info *info, void *context) {
    (void)given, (void)m, (void)info, (void)context;
    fault(NULL);
    return NEEDM_FAULT_END;
}
static void hook_faults(void) {
    hooks.fault = faulting_hook;
    start_with_hook(0);
    needm_callback(fault, NULL, 0, NULL);
}
static void a_fault_of_the_hook_ends_the_process(void) {
    CHECK_DIES(hook_faults, SIGSEGV);
}

/* Programs compiled with an older header have no such hook. */
static void an_older_struct_of_hooks_is_accepted(void) {
    hooks.size = offsetof(needm_hooks, fault);
    start_with_hook(0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(asked, 0);
    CHECK_EQ(needm_stop(), 0);
    hooks.size = sizeof hooks;
}

int main(void) {
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    RUN(a_write_barrier_resumes_while_others_fault);
    RUN(memory_may_be_mapped_when_it_is_touched);
    RUN(the_hook_may_change_the_context);
    RUN(the_hook_is_told_what_the_caller_gets);
    RUN(the_hook_may_forward_a_fault);
    RUN(the_hook_is_not_asked_about_faults_of_c);
#ifndef _WIN32
    RUN(a_hook_that_was_jumped_out_of_is_asked_again);
#endif
    RUN(an_older_struct_of_hooks_is_accepted);
    RUN(a_fault_of_the_hook_ends_the_process);
    return SUCCESS;
}
