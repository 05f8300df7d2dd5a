/* Executes what is no instruction, as code for a newer processor does: SIGILL. */
#include "../plugin.h"
#include "../processor.h"

NOINLINE void newest_instruction(void) { __asm__ volatile(NO_INSTRUCTION); }

int plugin_run(int input) {
    newest_instruction();
    return input + 1;
}
