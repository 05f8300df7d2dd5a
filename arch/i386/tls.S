/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The two things that the entry code of every thread reads: the thread-local block, and the
   gate. Both are hidden, so code reaches them without a table of the dynamic linker's; only
   the block's offset from the thread pointer is in the GOT, and a static link makes it a
   number. */
#include "asm.h"

/* struct Tls (src/tls.rs), initial-exec, as on x86_64
   (ELF Handling For Thread-Local Storage, 4.3.2 "IA-32 Specific"). */
THREAD_LOCAL(needm_tls)
        .zero   TLS_BYTES
END(needm_tls)

/* struct Gate (arch/mod.rs), alone in its cache line. The value 1 is "closed": needm has not
   been started. */
CACHE_LINE_DATA(needm_gate)
        .long   1, 0
END(needm_gate)
        .p2align 6

/* needm_pc() -> the address of the instruction after the call (ecx)

   For assembly of this room. Clobbers nothing else. i386 can ask for its own address by a call
   only, and the return in the pair keeps the processor's prediction of returns right. After
   `addl $_GLOBAL_OFFSET_TABLE_, %ecx` right behind the call, ecx is the address of this
   program's or library's GOT. */
ROUTINE(needm_pc)
        .cfi_startproc
        movl    (%esp), %ecx
        ret
        .cfi_endproc
END(needm_pc)

/* fn needm_tls_block() -> *mut Tls (eax)

   This thread's block: src/tls.rs. Clobbers ecx. */
ROUTINE(needm_tls_block)
        .cfi_startproc
        calll   needm_pc
        addl    $_GLOBAL_OFFSET_TABLE_, %ecx
        movl    needm_tls@gotntpoff(%ecx), %eax
        addl    %gs:0, %eax                     /* the thread pointer, which points to itself */
        ret
        .cfi_endproc
END(needm_tls_block)
