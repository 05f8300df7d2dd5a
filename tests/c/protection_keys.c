/* Memory-protection keys: whatever ends a callback, its thread has the keys that it had. Linux gives a
 * handler others. */
#include "check.h"
#include <sys/mman.h>

static int key;
static volatile int seen;
static void sees_its_keys(void *rights) { seen = pkey_get(key) == (int)(intptr_t)rights; }
static void faults(void *rights) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, sees_its_keys, rights), 0);
    fault(NULL);
}
static void overflows(void *rights) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, sees_its_keys, rights), 0);
    overflow(NULL);
}
static void interrupts_itself(void *rights) {
    needm_defer defer;
    CHECK_EQ(needm_defer_push(&defer, sees_its_keys, rights), 0);
    CHECK_EQ(needm_interrupt(needm_self(), NULL), 0);
    for (;;) needm_safepoint();
}
static void ends(void (*callback)(void *), int rights, int how) {
    CHECK_EQ(pkey_set(key, (unsigned)rights), 0);
    seen = 0;
    CHECK_EQ(needm_callback(callback, (void *)(intptr_t)rights, 0, NULL), how);
    CHECK_EQ(pkey_get(key), rights);
    CHECK(seen);
}
static void *all_ends(void *arg) {
    static const int rights[] = {0, PKEY_DISABLE_WRITE, PKEY_DISABLE_ACCESS};
    for (int i = 0; i < rounds(300); i++) {
        ends(faults, rights[i % 3], NEEDM_EFAULT);
        ends(overflows, rights[i % 3], NEEDM_EOVERFLOW);
        ends(interrupts_itself, rights[i % 3], NEEDM_EINTERRUPTED);
    }
    return arg;
}
static void the_thread_has_its_keys_after_each_end(void) {
    all_ends(NULL);
    join(thread(all_ends, NULL));
}
/* A handler over needm's, which calls it: the fault then ends by the return of the signal. */
static struct sigaction needms;
static void over_needms(int signal, siginfo_t *info, void *context) { needms.sa_sigaction(signal, info, context); }
static void also_where_another_handler_calls_needms(void) {
    struct sigaction action = {.sa_sigaction = over_needms, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK_EQ(sigaction(SIGSEGV, &action, &needms), 0);
    all_ends(NULL);
    join(thread(all_ends, NULL));
    CHECK_EQ(sigaction(SIGSEGV, &needms, NULL), 0);
}
static volatile char *page;
static void writes(void *arg) { (void)arg, page[7] = 1; }
static void what_a_key_forbids_is_a_fault(void) {
    needm_panic_info info = NEEDM_PANIC_INFO_INIT;
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    CHECK_EQ(pkey_mprotect((void *)page, 4096, PROT_READ | PROT_WRITE, key), 0);
    CHECK_EQ(pkey_set(key, PKEY_DISABLE_WRITE), 0);
    CHECK_EQ(needm_callback(writes, NULL, 0, &info), NEEDM_EFAULT);
    CHECK_EQ(info.code, SEGV_PKUERR);
    CHECK(info.addr == (uintptr_t)page + 7);
    CHECK_EQ(page[7], 0); /* reading is allowed still */
    CHECK_EQ(pkey_set(key, 0), 0);
    CHECK_EQ(needm_callback(writes, NULL, 0, NULL), 0);
}

int main(int argc, char **argv) {
    (void)argv;
    key = pkey_alloc(0, 0);
    if (key < 0) {
        fprintf(stderr, "skipped: no protection keys\n");
        return SUCCESS;
    }
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    RUN(the_thread_has_its_keys_after_each_end);
    RUN(also_where_another_handler_calls_needms);
    RUN(what_a_key_forbids_is_a_fault);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
