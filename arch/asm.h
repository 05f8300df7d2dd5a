/* What the assembly files of every architecture share. */
#include "offsets.h"

/* A routine of the kernel's own: no other library in the process sees it, so
   two copies of the kernel cannot call into each other by name. */
#define ROUTINE(name)         \
        .text;                \
        .p2align 4;           \
        .globl name;          \
        .hidden name;         \
        .type name, %function; \
name:

#define END(name) .size name, . - name

/* No routine here needs an executable stack. */
        .section .note.GNU-stack, "", %progbits
