/* For tools: a callback and C that it calls, both busy, called from a thread as often as the argument
 * says. Each function has a frame, so that tools which follow frame pointers see it. */
#include "check.h"

static volatile unsigned sink;
#define WORK \
    for (unsigned i = 0; i < 3000; i++) sink += i

__attribute__((noinline)) void busy_in_c(void *arg) {
    WORK;
    __asm__ volatile("" : : "r"(arg));
}
__attribute__((noinline)) void busy_callback(void *arg) {
    WORK;
    needm_ccall(busy_in_c, arg);
    __asm__ volatile(""); /* no tail call */
}
__attribute__((noinline)) void calls_back(int times) {
    for (int i = 0; i < times; i++) CHECK_EQ(needm_callback(busy_callback, NULL, 0, NULL), 0);
    __asm__ volatile("");
}
static void *foreign(void *arg) {
    calls_back(*(int *)arg);
    __asm__ volatile("");
    return NULL;
}

int main(int argc, char **argv) {
    int times = argc > 1 ? atoi(argv[1]) : 1;
    start((needm_config){0});
    join(thread(foreign, &times));
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
