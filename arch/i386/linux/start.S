/* Where a program without a C library starts (feature freestanding). The Rust side is
   src/host/start.rs. */
#include "asm.h"

/* _start: what the kernel gives a program is on its stack (System V ABI, Intel386
   supplement, 2.3.1 "Initial Stack and Register State"):

        esp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]  */
        .text
        .globl  _start
        .type   _start, @function
_start:
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
        .size   _start, . - _start
