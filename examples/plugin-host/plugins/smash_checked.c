/* As smash.c, but with the compiler's check, which aborts: SIGABRT. */
#include "../plugin.h"

NOINLINE void fill(volatile unsigned char *bytes, int count) {
    while (count-- > 0) *bytes++ = 0xa5;
}

__attribute__((noinline, optimize("stack-protector-all"))) int copy_name(int input) {
    volatile unsigned char name[16];
    fill(name, 160);
    return name[input % 16];
}

int plugin_run(int input) { return copy_name(input) + 1; }
