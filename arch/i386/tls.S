/* The thread-local block and the gate: the two things that the entry code of
   every thread reads. Both are defined here, and hidden, so that they are
   reached without a table of the dynamic linker's; only the block's offset from
   the thread pointer stands in the GOT, which a static link turns into a number. */
#include "asm.h"

/* struct Tls (src/tls.rs), initial-exec.
   ELF Handling For Thread-Local Storage, 4.3.2 "IA-32 Specific". */
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

/* needm_pc: the instruction after the call, in ecx. Clobbers nothing else. i386 has
   no other way to ask where it is; a return in its pair keeps the processor's
   prediction of returns right. With `addl $_GLOBAL_OFFSET_TABLE_, %ecx` right behind
   the call ecx is where this program or library has its GOT. */
ROUTINE(needm_pc)
        .cfi_startproc
        movl    (%esp), %ecx
        ret
        .cfi_endproc
END(needm_pc)

/* fn needm_tls_block() -> *mut Tls (eax). Clobbers ecx. */
ROUTINE(needm_tls_block)
        .cfi_startproc
        calll   needm_pc
        addl    $_GLOBAL_OFFSET_TABLE_, %ecx
        movl    needm_tls@gotntpoff(%ecx), %eax
        addl    %gs:0, %eax
        ret
        .cfi_endproc
END(needm_tls_block)
