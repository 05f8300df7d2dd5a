/* Calls itself without an end: its stack runs out. */
#include "../plugin.h"

NOINLINE int descend(int depth) {
    volatile char page[1000];
    page[depth % 1000] = (char)depth;
    return descend(depth + 1) + page[0];
}

int plugin_run(int input) { return descend(input); }
