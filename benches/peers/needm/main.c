/* Measures C threads that call back through needm; with the argument "call", an M for each
 * callback; with "plain", no runtime at all. */
#include "../measure.h"
#include <needm.h>
#include <stdlib.h>
#include <string.h>

static void nothing(void *arg) { (void)arg; }
static void call(void) { needm_callback(nothing, NULL, 0, NULL); }

static void recovers(void *arg) {
    (void)arg;
    needm_recover(NULL);
}
static volatile int *volatile nowhere;
static void faults(void *arg) {
    needm_defer deferred;
    needm_defer_push(&deferred, recovers, arg);
    *nowhere = 1;
}
static void fault(void) {
    if (needm_callback(faults, NULL, 0, NULL) != 0) abort();
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    if (strcmp(how, "plain") == 0) {
        measure_calls(NULL);
        return 0;
    }
    needm_config config = {.size = sizeof config};
    config.binding = strcmp(how, "call") == 0 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    if (needm_start(&config) != 0) return 1;
    measure(call, fault);
    return needm_stop() != 0;
}
