/* Writes past the end of an array on its stack, over the address to return to. It is compiled
 * without the compiler's check for that, as old binaries are. */
#include "../plugin.h"

NOINLINE void fill(volatile unsigned char *bytes, int count) {
    while (count-- > 0) *bytes++ = 0xa5;
}

__attribute__((noinline, optimize("no-stack-protector"))) int copy_name(int input) {
    volatile unsigned char name[16];
    fill(name, 160);
    return name[input % 16];
}

int plugin_run(int input) { return copy_name(input) + 1; }
