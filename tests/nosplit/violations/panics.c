/* Reaches the function that Rust calls if an index is out of bounds. */
#include "violation.h"
PLAIN void panics(long index) __asm__("_ZN4core9panicking18panic_bounds_check17h0123456789abcdefE");
PLAIN void panics(long index) {
    for (volatile long i = index;; i++) {}
}
void root(void *arg) {
    if (*(long *)arg > 3) panics(*(long *)arg);
    *(char *)arg = 1;
}
