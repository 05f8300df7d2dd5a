/* Where a program without a C library starts (feature freestanding). The Rust side is
   src/os/linux/start.rs. */
#include "asm.h"
#include "../landing.h"

/* _start: what Linux gives a program is on its stack (linux/fs/binfmt_elf.c,
   create_elf_tables), which is aligned to 16 bytes:

        sp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]

   x0, in which a dynamic linker would find a function for the end, is not looked at: the
   program is static. */
PUBLIC_ROUTINE(_start)
        .cfi_startproc
        .cfi_undefined x30
        LANDING_PAD
        mov     x29, #0
        mov     x30, #0
        mov     x0, sp
        bl      needm_host_start
        brk     #0
        .cfi_endproc
END(_start)
