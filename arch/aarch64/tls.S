/* The thread-local block and the gate: the two things that the entry code of
   every thread reads. Both are defined here, and hidden, so that they are
   reached without a table of the dynamic linker's; only the block's offset from
   the thread pointer stands in the GOT, which a static link fills in. */
#include "asm.h"
#include "landing.h"

/* struct Tls (src/tls.rs), initial-exec.
   ELF Handling For Thread-Local Storage, 4.3 "Initial Exec TLS Model"; ELF for the Arm
   64-bit Architecture, 5.7.13 "Thread-local storage relocations". */
THREAD_LOCAL(needm_tls)
        .zero   TLS_BYTES
END(needm_tls)

/* struct Gate (arch/mod.rs). A value of 1 is "closed": nothing has been started. */
CACHE_LINE_DATA(needm_gate)
        .word   1, 0
END(needm_gate)
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (x0)

   Clobbers x1. */
ROUTINE(needm_tls_block)
        .cfi_startproc
        LANDING_PAD
        adrp    x0, :gottprel:needm_tls
        ldr     x0, [x0, #:gottprel_lo12:needm_tls]
        mrs     x1, tpidr_el0
        add     x0, x0, x1
        ret
        .cfi_endproc
END(needm_tls_block)
