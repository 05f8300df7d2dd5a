/* Has a breakpoint that was left in it: SIGTRAP. */
#include "../plugin.h"
#include "../processor.h"

NOINLINE void debug_me(void) { __asm__ volatile(BREAKPOINT); }

int plugin_run(int input) {
    debug_me();
    return input + 1;
}
