/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The two things that the entry code of every thread reads: the thread-local block, and the
   gate. Both symbols are hidden, so code reaches them relative to the program counter. Only the
   block's offset from the thread pointer is in the GOT: the dynamic loader writes it there, in a
   static program the linker. */
#include "asm.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame

/* struct Tls (src/tls.rs), initial-exec, as on x86_64 (Addenda to, and Errata in, the ABI for
   the Arm Architecture, 3 "Linux for Arm static (initial exec) TLS model"). */
THREAD_LOCAL(needm_tls)
        .zero   TLS_BYTES
END(needm_tls)

/* struct Gate (arch/mod.rs), alone in its cache line. The value 1 is "closed": needm has not
   been started. */
CACHE_LINE_DATA(needm_gate)
        .word   1, 0
END(needm_gate)
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (r0)

   This thread's block: src/tls.rs. Clobbers r1; uses no stack. */
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
