/* C that a callback has called exits its thread, and an interrupt comes while needm asks the loader for the unwinder's
 * functions, on the G. The loader holds a lock meanwhile: it returns before the callback ends. */
#include "check.h"
#include <dlfcn.h>

static void *(*loads)(const char *, int);
static __thread int exiting;
static volatile int lookups, in_loader, asks;
static needm_m *volatile whose;

/* In the place of the C library's, which it calls. */
void *dlopen(const char *name, int flags) {
    if (!exiting) return loads(name, flags);
    lookups++;
    in_loader++;
    asks = 1;
    WAIT_UNTIL(!asks);
    void *library = loads(name, flags);
    in_loader--;
    return library;
}
static void *interrupts(void *arg) {
    for (;;) {
        WAIT_UNTIL(asks);
        needm_interrupt(whose, NULL);
        asks = 0;
    }
    return arg;
}

static void exits(void *arg) {
    exiting = 1;
    pthread_exit(arg);
}
static void exits_in_c(void *arg) {
    whose = needm_self();
    needm_ccall(exits, arg);
}
/* The callback may have been ended by the interrupt. Then the thread has not exited. */
static void *calls(void *arg) {
    CHECK_EQ(needm_callback(exits_in_c, arg, 0, NULL), NEEDM_EINTERRUPTED);
    exiting = 0;
    return arg;
}

int main(int argc, char **argv) {
    uint32_t binding = argc > 1 && strcmp(argv[1], "call") == 0 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    void *symbol = dlsym(RTLD_NEXT, "dlopen");
    CHECK(symbol != NULL);
    memcpy(&loads, &symbol, sizeof loads);
    start((needm_config){.binding = binding});
    thread(interrupts, NULL);
    for (int i = 0; i < 10; i++) {
        join(thread(calls, NULL));
        CHECK_EQ(in_loader, 0);
    }
    /* Where the program has the unwinder, needm does not ask for it. */
    fprintf(stderr, "%d questions to the loader\n", lookups);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
