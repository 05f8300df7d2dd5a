/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The two things that the entry code of every thread reads: the thread-local block, and the
   gate. Both are hidden, so code reaches them without a table of the dynamic linker's; only
   the block's offset from the thread pointer is in the GOT, and a static link fills it in. */
#include "asm.h"
#include "landing.h"

/* struct Tls (src/tls.rs), initial-exec, as on x86_64 (ELF for the Arm 64-bit Architecture,
   "Initial Exec thread-local storage model"). */
THREAD_LOCAL(needm_tls)
        .zero   TLS_BYTES
END(needm_tls)

/* struct Gate (arch/mod.rs), alone in its cache line. The value 1 is "closed": needm has not
   been started. */
CACHE_LINE_DATA(needm_gate)
        .word   1, 0
END(needm_gate)
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (x0)

   This thread's block: src/tls.rs. Clobbers x1; uses no stack. */
ROUTINE(needm_tls_block)
        .cfi_startproc
        LANDING_PAD
        adrp    x0, :gottprel:needm_tls
        ldr     x0, [x0, #:gottprel_lo12:needm_tls]
        mrs     x1, tpidr_el0                   /* the thread pointer */
        add     x0, x0, x1
        ret
        .cfi_endproc
END(needm_tls_block)
