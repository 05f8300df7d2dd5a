/* SPDX-License-Identifier: MIT OR Apache-2.0 */
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
/* A routine that other copies of needm in the process know by the 16 bytes before it: is_of_a_copy in
   src/os/linux/shared.rs. */
#define HANDLER_ROUTINE(name)   .text; .p2align 4; .ascii "needm's handler1"; SYMBOL(name, function)

/* What a routine does if C++ code, or the end of a thread, unwinds it: the table at `sites` says
   where its landing pad is, and the returns of which calls it is for (arch/dwarf.rs). Both
   directives follow .cfi_startproc. 0x1b: a 32-bit distance from here (LSB, "DWARF Extensions",
   DW_EH_PE_pcrel and DW_EH_PE_sdata4). */
#define LANDS_BY(sites)         .cfi_personality 0x1b, needm_personality; .cfi_lsda 0x1b, sites
/* That table, to its SITES_END: the pad, then a SITE for each place after a call. */
#define SITES(name, pad)        .section .rodata; .p2align 2; name: .long pad - .
#define SITE(place)             .long place - .
#define SITES_END               .long 0; .text

/* The same for the Exception Handling ABI for the Arm Architecture, where the table ends the
   routine's own entry ("The generic model"), between .fnstart and LANDINGS_END. */
#define LANDS_BY_EHABI          .personality needm_personality; .handlerdata
#define LANDING(pad)            .long pad - .
#define LANDINGS_END            .long 0; .fnend

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
