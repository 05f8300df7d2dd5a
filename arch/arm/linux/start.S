/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The start of a program without a C library (feature freestanding). The Rust side is
   src/os/linux/start.rs (`needm_host_start`). */
#include "asm.h"
        .syntax unified
        .arm
        .cfi_sections .debug_frame

/* _start() -> !

   Gives needm_host_start the stack as Linux leaves it (create_elf_tables in
   linux/fs/binfmt_elf.c):

        sp -> argc, argv[0..argc], 0, envp[..], 0, auxv[..]

   This is the outermost frame: a backtrace ends here. */
PUBLIC_ROUTINE(_start)
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
END(_start)

/* __aeabi_read_tp() -> the thread pointer (r0)

   What compilers call unless they read the register themselves; clobbers nothing but ip, lr and
   the flags (Run-time ABI for the Arm Architecture, 5.3.5 "Thread-local storage"). Weak, because
   the program may have one.

   Code for processors older than the register asks Linux's helper page, which is not there on
   every newer one (linux/Documentation/arch/arm/kernel_user_helpers.rst, kuser_get_tls). */
WEAK_ROUTINE(__aeabi_read_tp)
#if __ARM_ARCH >= 7
        mrc     p15, 0, r0, c13, c0, 3          /* TPIDRURO */
        bx      lr
#else
        ldr     r0, 1f
        bx      r0
1:      .word   0xffff0fe0
#endif
END(__aeabi_read_tp)
