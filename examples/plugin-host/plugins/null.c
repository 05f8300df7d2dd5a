/* Writes through a null pointer: SIGSEGV. */
#include "../plugin.h"
#include <stddef.h>

NOINLINE void save(volatile int *settings, int input) { *settings = input; }

int plugin_run(int input) {
    save(NULL, input);
    return input + 1;
}
