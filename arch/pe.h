/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* How assembly names sections and symbols in PE/COFF, and how it tells Windows of frames; pe.rs
   is the same for assembly in Rust. GNU as: Using as, 7 "Assembler Directives"; 9.16.2
   "i386-Options" of the COFF targets for the .seh_ directives. Microsoft, "x64 exception handling".

   COFF has no hidden symbols: two static copies of needm in one program clash, two DLLs do not. */

#ifdef __i386__
/* C's names begin with an underscore there, and Windows finds handlers in a list: no records. */
#define C_NAME(name)            _##name
#define RECORD(name)
#define RECORD_END
#else
#define C_NAME(name)            name
#define RECORD(name)            .seh_proc name
#define RECORD_END              .seh_endproc
#endif

/* A routine that has a frame, to its END: between are .seh_ directives up to .seh_endprologue. */
#define ROUTINE(name)           .text; .p2align 4; INNER_ROUTINE(name) RECORD(name)
/* A routine that uses no stack and keeps all callee-saved registers, to its END_LEAF: Windows
   asks for no record of those. */
#define LEAF_ROUTINE(name)      .text; .p2align 4; INNER_ROUTINE(name)
/* A second way into the routine around it. */
#define INNER_ROUTINE(name)     .globl C_NAME(name); .def C_NAME(name); .scl 2; .type 32; .endef; C_NAME(name):
/* A place in a routine, for Rust to know. */
#define PLACE(name)             .globl C_NAME(name); C_NAME(name):
#define END(name)               RECORD_END
#define END_LEAF(name)

/* Zeros that each thread has a copy of: between the linker's .tls and .tls$ZZZ, which it sorts by
   name. And data that all threads share. */
#define THREAD_LOCAL(name)      .section .tls$M, "w"; .p2align 3; .globl C_NAME(name); C_NAME(name):
#define CACHE_LINE_DATA(name)   .data; .p2align 6; .globl C_NAME(name); C_NAME(name):
