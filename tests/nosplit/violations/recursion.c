/* Two functions that call each other. */
#include "violation.h"
PLAIN long odd(long n);
PLAIN long even(long n) { return n ? odd(n - 1) + 1 : 1; }
PLAIN long odd(long n) { return n ? even(n - 1) + 2 : 0; }
void root(void *arg) { *(long *)arg = even(*(long *)arg); }
