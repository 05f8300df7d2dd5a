/* The thread-local block and the gate: the two things that the entry code of
   every thread reads. Both are defined here, and hidden, so that they are
   reached without a table of the dynamic linker's. */
#include "asm.h"

/* struct Tls (src/tls.rs), initial-exec: two instructions from anywhere.
   ELF Handling For Thread-Local Storage, 4.3 "Initial Exec TLS Model". */
        .section .tbss, "awT", @nobits
        .p2align 3
        .globl needm_tls
        .hidden needm_tls
        .type needm_tls, @object
needm_tls:
        .zero TLS_BYTES
        .size needm_tls, TLS_BYTES

/* struct Gate (arch/mod.rs). A value of 1 is "closed": nothing has been started. */
        .data
        .p2align 6
        .globl needm_gate
        .hidden needm_gate
        .type needm_gate, @object
needm_gate:
        .long 1, 0
        .size needm_gate, GATE_BYTES
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (rax). Clobbers nothing else. */
ROUTINE(needm_tls_block)
        .cfi_startproc
        movq    needm_tls@gottpoff(%rip), %rax
        addq    %fs:0, %rax
        ret
        .cfi_endproc
END(needm_tls_block)
