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

/* Around those of a routine's calls that are on another stack. Where that stack is
   further up, gdb takes the caller's frame for a broken one and ends its backtrace,
   but not in a routine of this name, which GCC's split stacks have brought it. The
   symbol is this file's own, so one pair is all a file can have; it is without a type
   and hidden, so that other tools go on to name the routine around it. */
#define OTHER_STACK      .hidden __morestack; __morestack:
#define OTHER_STACK_END  .size __morestack, . - __morestack

/* No routine here needs an executable stack. */
        .section .note.GNU-stack, "", %progbits
