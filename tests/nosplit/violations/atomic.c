/* Two atomic read-modify-writes, one call down. */
#include "violation.h"
PLAIN long count(long *word) {
    return __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST) + __atomic_exchange_n(word + 1, 1, __ATOMIC_SEQ_CST);
}
void root(void *arg) { *(long *)arg = count(arg) + 1; }
