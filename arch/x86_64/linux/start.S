/* Where a program without a C library starts (feature freestanding). The Rust side is
   src/host/start.rs. */
#include "asm.h"

/* _start: what the kernel gives a program is on its stack (System V ABI, AMD64
   supplement, 3.4.1 "Initial Stack and Register State"):

        rsp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]

   rdx, which a dynamic linker would use, is not looked at: the program is static. */
        .text
        .globl  _start
        .type   _start, @function
_start:
        .cfi_startproc
        .cfi_undefined rip
        xorl    %ebp, %ebp
        movq    %rsp, %rdi
        andq    $-16, %rsp
        callq   needm_host_start
        ud2
        .cfi_endproc
        .size   _start, . - _start
