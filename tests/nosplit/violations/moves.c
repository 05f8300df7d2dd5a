/* Moves the stack pointer by an amount that is not known when it is compiled. */
#include "violation.h"
PLAIN void use(volatile char *bytes, long count) { bytes[count - 1] = 1; }
void root(void *arg) {
    long count = *(long *)arg;
    use(__builtin_alloca(count), count);
    *(char *)arg = 1;
}
