/* Measures the two system calls that a runtime makes if it gives a thread a signal stack at each
 * call, and takes it off again. */
#include "../measure.h"
#include <signal.h>
#include <stddef.h>

static __thread char memory[16384];
static void call(void) {
    stack_t on = {.ss_sp = memory, .ss_size = sizeof memory}, off = {.ss_flags = SS_DISABLE};
    sigaltstack(&on, NULL);
    sigaltstack(&off, NULL);
}

int main(void) {
    measure_calls(call);
    return 0;
}
