/* Where a program without a C library starts (feature freestanding). The Rust side is
   src/host/start.rs. */
#include "asm.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame

/* _start: what the kernel gives a program is on its stack (linux/fs/binfmt_elf.c,
   create_elf_tables):

        sp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]  */
        .text
        .p2align 2
        .globl  _start
        .type   _start, %function
_start:
        .fnstart
        .cfi_startproc
        .cfi_undefined lr
        mov     r11, #0
        mov     lr, #0
        mov     r0, sp
        bic     sp, sp, #15
        bl      needm_host_start
        udf     #0
        .cfi_endproc
        .cantunwind
        .fnend
        .size   _start, . - _start

/* __aeabi_read_tp() -> the thread pointer (r0), clobbers nothing else but ip and lr: what
   compilers call where they do not read the register themselves (Run-time ABI for the
   Arm Architecture, 5.3.5 "Thread-local storage").

   Code that is built for processors older than the register asks the kernel's helper
   page (Documentation/arch/arm/kernel_user_helpers.rst, kuser_get_tls), which is not
   there on every newer one. */
        .p2align 2
        .weak   __aeabi_read_tp
        .type   __aeabi_read_tp, %function
__aeabi_read_tp:
#if __ARM_ARCH >= 7
        mrc     p15, 0, r0, c13, c0, 3          /* TPIDRURO */
        bx      lr
#else
        ldr     r0, 1f
        bx      r0
1:      .word   0xffff0fe0
#endif
        .size   __aeabi_read_tp, . - __aeabi_read_tp
