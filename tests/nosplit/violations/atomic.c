/* An atomic read-modify-write, one call down. */
#include "violation.h"
PLAIN long count(long *word) { return __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST); }
void root(void *arg) { *(long *)arg = count(arg) + 1; }
