/* Breaks no rule. */
#include "violation.h"
PLAIN long inner(long n) { return n * 3; }
void root(void *arg) { *(long *)arg = inner(*(long *)arg) + inner(2); }
