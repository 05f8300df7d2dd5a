/* Calls an allocator. */
#include "violation.h"
#include <stdlib.h>
void root(void *arg) { *(void **)arg = malloc(100); }
