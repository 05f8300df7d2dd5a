/* Calls whatever it is given. */
#include "violation.h"
void root(void *arg) {
    (*(void (**)(void))arg)();
    *(char *)arg = 1;
}
