/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The start of a program without a C library (feature freestanding). The Rust side is
   src/os/linux/start.rs (`needm_host_start`). */
#include "asm.h"

/* _start() -> !

   Gives needm_host_start the stack as Linux leaves it (create_elf_tables in
   linux/fs/binfmt_elf.c):

        sp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]

   The linker shortens the addresses of data to offsets from gp, which is the address that its
   script defines as __global_pointer$ (RISC-V ELF psABI, "Global Pointer Relaxation"). Nothing
   has set it before.

   This is the outermost frame: a backtrace ends here. */
PUBLIC_ROUTINE(_start)
        .cfi_startproc
        .cfi_undefined ra
        .option push
        .option norelax
        lla     gp, __global_pointer$
        .option pop
        li      s0, 0
        li      ra, 0
        mv      a0, sp
        andi    sp, sp, -16
        call    needm_host_start
        unimp
        .cfi_endproc
END(_start)
