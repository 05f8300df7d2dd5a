/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The two things that the entry code of every thread reads: the thread-local block, and the
   gate. Both are hidden, so code reaches them without a table of the dynamic linker's; only
   the block's offset from the thread pointer is in the GOT, and a static link fills it in. */
#include "asm.h"

/* struct Tls (src/tls.rs), initial-exec, as on x86_64 (RISC-V ELF psABI, "Thread Local Storage",
   "Initial Exec"). */
THREAD_LOCAL(needm_tls)
        .zero   TLS_BYTES
END(needm_tls)

/* struct Gate (arch/mod.rs), alone in its cache line. The value 1 is "closed": needm has not
   been started. */
CACHE_LINE_DATA(needm_gate)
        .word   1, 0
END(needm_gate)
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (a0)

   This thread's block: src/tls.rs. Clobbers nothing else; uses no stack. */
ROUTINE(needm_tls_block)
        .cfi_startproc
        la.tls.ie a0, needm_tls
        add     a0, a0, tp
        ret
        .cfi_endproc
END(needm_tls_block)
