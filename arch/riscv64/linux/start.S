/* Where a program without a C library starts (feature freestanding). The Rust side is
   src/host/start.rs. */
#include "asm.h"

/* _start: what the system gives a program is on its stack (linux/fs/binfmt_elf.c,
   create_elf_tables):

        sp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]

   The linker shortens accesses to data by gp, which holds the address that its script defines
   as __global_pointer$ (RISC-V ELF psABI, "Global Pointer"); nothing before has set it. */
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
