/* Calls through a pointer. */
#include "violation.h"
void root(void *arg) {
    (*(void (**)(void))arg)();
    *(char *)arg = 1;
}
