/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The start of a program without a C library (feature freestanding). The Rust side is
   src/os/linux/start.rs (`needm_host_start`). */
#include "asm.h"
#include "../landing.h"

/* _start() -> !

   Gives needm_host_start the stack as Linux leaves it, at a multiple of 16 (create_elf_tables in
   linux/fs/binfmt_elf.c):

        sp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]

   x0, in which a dynamic linker passes a function to run at the exit, is not looked at: the
   program is static. This is the outermost frame: a backtrace ends here. */
PUBLIC_ROUTINE(_start)
        .cfi_startproc
        .cfi_undefined x30
        LANDING_PAD
        mov     x29, #0
        mov     x30, #0
        mov     x0, sp
        bl      needm_host_start
        udf     #0
        .cfi_endproc
END(_start)
