/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The two things that every thread reads, as arch/x86_64/windows/tls.S. */
#include "asm.h"
#include "teb.h"

/* struct Tls (src/tls.rs). */
THREAD_LOCAL(needm_tls)
        .zero   TLS_BYTES

/* struct Gate (arch/mod.rs), alone in its cache line. The value 1 is "closed". */
CACHE_LINE_DATA(needm_gate)
        .long   1, 0
        .p2align 6

/* fn needm_tls_block() -> *mut Tls (eax)

   Clobbers ecx; uses no stack. */
LEAF_ROUTINE(needm_tls_block)
        movl    __tls_index, %eax
        movl    %fs:TEB_TLS_POINTER, %ecx
        movl    (%ecx,%eax,4), %eax
        leal    _needm_tls@secrel32(%eax), %eax
        ret
END_LEAF(needm_tls_block)
