/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The two things that the entry code of every thread reads: the thread-local block, and the
   gate. Both are hidden, so code reaches them without a table of the dynamic linker's. */
#include "asm.h"

/* struct Tls (src/tls.rs). Initial-exec: its offset from the thread pointer is fixed at the
   program's start, two instructions find it, and no call may allocate it
   (ELF Handling For Thread-Local Storage, 4.3 "Initial Exec TLS Model"). */
THREAD_LOCAL(needm_tls)
        .zero   TLS_BYTES
END(needm_tls)

/* struct Gate (arch/mod.rs), alone in its cache line. The value 1 is "closed": needm has not
   been started. */
CACHE_LINE_DATA(needm_gate)
        .long   1, 0
END(needm_gate)
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (rax)

   This thread's block: src/tls.rs. Clobbers nothing else; uses no stack. */
ROUTINE(needm_tls_block)
        .cfi_startproc
        movq    needm_tls@gottpoff(%rip), %rax
        addq    %fs:0, %rax                     /* the thread pointer, which points to itself */
        ret
        .cfi_endproc
END(needm_tls_block)
