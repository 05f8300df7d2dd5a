/* Jumps to one of many places, by a table. */
#include "violation.h"
void root(void *arg) {
    static void *const places[] = {&&nothing, &&one, &&two};
    long *word = arg;
    goto *places[*word & 1];
two:
    *word += 5;
one:
    *word += 3;
nothing:
    *word += 1;
}
