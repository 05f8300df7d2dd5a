/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The start of a program without a C library (feature freestanding). The Rust side is
   src/os/linux/start.rs (`needm_host_start`). */
#include "asm.h"

/* _start() -> !

   Gives needm_host_start the stack as Linux leaves it (System V ABI, AMD64
   supplement, 3.4.1 "Initial Stack and Register State"):

        rsp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]

   rdx, a function that a dynamic linker wants called at exit, is ignored: the program is static.

   This is the outermost frame: a backtrace ends here. */
PUBLIC_ROUTINE(_start)
        .cfi_startproc
        .cfi_undefined rip
        xorl    %ebp, %ebp
        movq    %rsp, %rdi
        andq    $-16, %rsp
        callq   needm_host_start
        ud2
        .cfi_endproc
END(_start)
