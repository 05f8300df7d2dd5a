/* The thread-local block and the gate: the two things that the entry code of
   every thread reads. Both are defined here, and hidden, so that they are
   reached without a table of the dynamic linker's; only the block's offset from
   the thread pointer stands in the GOT, which a static link fills in. */
#include "asm.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame

/* struct Tls (src/tls.rs), initial-exec.
   ELF Handling For Thread-Local Storage, 4.3 "Initial Exec TLS Model"; Addenda to,
   and Errata in, the ABI for the Arm Architecture, "Thread Local Storage". */
        .section .tbss, "awT", %nobits
        .p2align 3
        .globl needm_tls
        .hidden needm_tls
        .type needm_tls, %object
needm_tls:
        .zero TLS_BYTES
        .size needm_tls, TLS_BYTES

/* struct Gate (arch/mod.rs). A value of 1 is "closed": nothing has been started. */
        .data
        .p2align 6
        .globl needm_gate
        .hidden needm_gate
        .type needm_gate, %object
needm_gate:
        .word 1, 0
        .size needm_gate, GATE_BYTES
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (r0). Clobbers r1. */
ROUTINE(needm_tls_block)
        .fnstart
        .cfi_startproc
        ldr     r1, .Loffset
.Lpc:
        ldr     r1, [pc, r1]
        mrc     p15, 0, r0, c13, c0, 3          /* TPIDRURO: the thread pointer */
        add     r0, r0, r1
        bx      lr
        .cfi_endproc
        .fnend
        .p2align 2
.Loffset:
        .word   needm_tls(GOTTPOFF) + (. - .Lpc - 8)
END(needm_tls_block)
