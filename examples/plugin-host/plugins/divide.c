/* Divides by zero: SIGFPE on x86. Other processors answer with a number. */
#include "../plugin.h"
#include "../processor.h"

NOINLINE int average(int sum, int count) {
    if (!DIVISION_BY_ZERO_FAULTS && count == 0) return 0;
    return sum / count;
}

int plugin_run(int input) { return average(input, input - input) + 1; }
