/* How assembly names sections and symbols in ELF; elf.rs is the same for assembly in Rust.
   A system with another object format adds a file beside these two, and nothing else of
   arch/ changes. GNU as: Using as, 7 "Assembler Directives".

   needm's symbols are hidden: two copies of needm may be in one process (a library's and
   the program's), and one must never reach the other's by name. `%` instead of `@` before a
   type, since `@` starts a comment on ARM. */

/* A symbol of this kind, needm's own, at this place. */
#define SYMBOL(name, kind) .globl name; .hidden name; .type name, %kind; name:

/* A routine, to its END. */
#define ROUTINE(name)           .text; .p2align 4; SYMBOL(name, function)
/* A second way into the routine around it. */
#define INNER_ROUTINE(name)     SYMBOL(name, function)
/* A place inside a routine, which tools go on to name by the routine. */
#define PLACE(name)             .globl name; .hidden name; name:
/* A routine that code from outside needm calls. */
#define PUBLIC_ROUTINE(name)    .text; .p2align 4; .globl name; .type name, %function; name:
/* The same, unless that code brings its own. */
#define WEAK_ROUTINE(name)      .text; .p2align 4; .weak name; .type name, %function; name:
#define END(name)               .size name, . - name

/* Zeros that each thread has a copy of, and data that all share; each to its END. */
#define THREAD_LOCAL(name)      .section .tbss, "awT", %nobits; .p2align 3; SYMBOL(name, object)
#define CACHE_LINE_DATA(name)   .data; .p2align 6; SYMBOL(name, object)

/* Around the calls of a routine that are on another stack. If that stack is at higher
   addresses, gdb takes the caller's frame for a broken one and ends its backtrace, except in
   a routine of this name, which GCC's split stacks use (gdb/frame.c). A
   symbol stands in a file once, so a file can have one pair; it has no type and is hidden,
   so that other tools go on to name the routine around it. */
#define OTHER_STACK             .hidden __morestack; __morestack:
#define OTHER_STACK_END         .size __morestack, . - __morestack

/* No routine here needs an executable stack; without this section the linker gives the
   program one (ld(1), -z execstack). */
        .section .note.GNU-stack, "", %progbits
