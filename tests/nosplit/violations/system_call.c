/* A system call, one call down. */
#include "../../arch/arch.h"
#include "violation.h"
PLAIN void getpid_(void) { raw_getpid(); }
void root(void *arg) {
    getpid_();
    *(char *)arg = 1;
}
