/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The two things that every thread reads: the thread-local block, and the gate. */
#include "asm.h"
#include "teb.h"

/* struct Tls (src/tls.rs), in the image's own thread-local storage: Windows makes a copy for each
   thread, also for those that are older than a DLL of needm's (Microsoft, "PE Format", "The .tls
   Section"). */
THREAD_LOCAL(needm_tls)
        .zero   TLS_BYTES

/* struct Gate (arch/mod.rs), alone in its cache line. The value 1 is "closed": needm has not
   been started. */
CACHE_LINE_DATA(needm_gate)
        .long   1, 0
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (rax)

   This thread's block: src/tls.rs. Clobbers rcx; uses no stack. The C library's start files define
   _tls_index, the image's number, which the loader fills in. */
LEAF_ROUTINE(needm_tls_block)
        movl    _tls_index(%rip), %eax
        movq    %gs:TEB_TLS_POINTER, %rcx
        movq    (%rcx,%rax,8), %rax
        leaq    needm_tls@secrel32(%rax), %rax
        ret
END_LEAF(needm_tls_block)
