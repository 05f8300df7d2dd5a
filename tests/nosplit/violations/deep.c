/* Uses 4000 bytes of stack, two calls down. */
#include "violation.h"
PLAIN void use(volatile char *bytes, long count) { bytes[count - 1] = 1; }
PLAIN void inner(void) {
    char bytes[4000];
    use(bytes, sizeof bytes);
}
void root(void *arg) {
    inner();
    *(char *)arg = 1;
}
