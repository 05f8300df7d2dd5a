/* Reads a mapped file past its end, as if another program had shortened it: SIGBUS. */
#include "../plugin.h"
#include <stdio.h>
#include <sys/mman.h>

NOINLINE int first_byte(const volatile char *file) { return file[0]; }

int plugin_run(int input) {
    FILE *empty = tmpfile();
    if (empty == NULL) return -1;
    char *file = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(empty), 0);
    fclose(empty);
    return file == MAP_FAILED ? -1 : first_byte(file) + input;
}
