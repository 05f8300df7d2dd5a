/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The start of a program without a C library (feature freestanding). The Rust side is
   src/os/linux/start.rs (`needm_host_start`). */
#include "asm.h"

/* _start() -> !

   Gives needm_host_start the stack as Linux leaves it (System V ABI, Intel386
   supplement, 2.3.1 "Initial Stack and Register State"):

        esp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]

   This is the outermost frame: a backtrace ends here. */
PUBLIC_ROUTINE(_start)
        .cfi_startproc
        .cfi_undefined eip
        xorl    %ebp, %ebp
        movl    %esp, %eax
        andl    $-16, %esp
        subl    $12, %esp
        pushl   %eax
        calll   needm_host_start
        ud2
        .cfi_endproc
END(_start)
