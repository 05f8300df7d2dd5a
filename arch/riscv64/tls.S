/* The thread-local block and the gate: the two things that the entry code of every thread
   reads. Both are hidden, so that they are reached without a table of the dynamic linker's;
   only the block's offset from the thread pointer is in the GOT, which a static link fills in. */
#include "asm.h"

/* struct Tls (src/tls.rs), initial-exec: RISC-V ELF psABI, "Initial Exec" of "Thread Local
   Storage". */
THREAD_LOCAL(needm_tls)
        .zero   TLS_BYTES
END(needm_tls)

/* struct Gate (arch/mod.rs). A value of 1 is "closed": nothing has been started. */
CACHE_LINE_DATA(needm_gate)
        .word   1, 0
END(needm_gate)
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (a0). Clobbers nothing else. */
ROUTINE(needm_tls_block)
        .cfi_startproc
        la.tls.ie a0, needm_tls
        add     a0, a0, tp
        ret
        .cfi_endproc
END(needm_tls_block)
