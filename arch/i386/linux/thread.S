/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The first and the last instructions of a thread that needm makes where there is no C library.
   The Rust side is src/os/linux/clone.rs. */
#include "asm.h"
#include "linux/clone.h"

/* linux/arch/x86/entry/syscalls/syscall_32.tbl */
#define NR_clone        120
#define NR_exit         1
#define NR_munmap       91
/* struct user_desc, linux/arch/x86/include/uapi/asm/ldt.h */
#define DESCRIPTOR_LIMIT 0xfffff        /* the last page: the segment has all addresses */
#define DESCRIPTOR_FLAGS 0x51           /* seg_32bit | limit_in_pages | useable */

/* The arguments of needm_clone, once ebx, esi and edi are pushed. */
#define ARG_STACK       16
#define ARG_TID         20
#define ARG_TP          24
#define ARG_FN          28
#define ARG_ARG         32

/* fn needm_clone(stack (esp+4), tid (+8), tp (+12), fn (+16), arg (+20)) -> isize (eax)

   Starts a thread that runs fn(arg), which never returns: clone(2). `stack` is the top (the highest
   address) of its stack, a multiple of 16; tp is its thread pointer. Linux writes the thread ID
   to *tid before either thread goes on. When the thread has exited, Linux writes 0 there, and wakes
   the threads that wait for that (futex(2)). Returns the thread ID, or a negative errno. Clobbers
   the caller-saved registers.

   The thread pointer is the base of the segment that gs selects. The new thread inherits the
   selector, and has a descriptor table of its own, in which clone fills in the same entry.

        This thread's stack, at the system call, down from the return address:
        ebx
        esi
        edi                             <- where esp is when the arguments are read
        flags
        limit
        tp
        entry                           <- esi, esp: struct user_desc

        The new thread's stack, down from `stack`:
        12 bytes of padding, so that esp is a multiple of 16 when it points to arg
        arg
        fn                              <- ecx, the new thread's esp */
ROUTINE(needm_clone)
        .cfi_startproc
        pushl   %ebx
        .cfi_def_cfa_offset 8
        .cfi_offset ebx, -8
        pushl   %esi
        .cfi_def_cfa_offset 12
        .cfi_offset esi, -12
        pushl   %edi
        .cfi_def_cfa_offset 16
        .cfi_offset edi, -16
        movl    ARG_STACK(%esp), %ecx
        movl    ARG_FN(%esp), %eax
        movl    ARG_ARG(%esp), %edx
        movl    %eax, -20(%ecx)
        movl    %edx, -16(%ecx)
        subl    $20, %ecx                       /* ecx: the new thread's esp */
        movl    ARG_TID(%esp), %edx             /* edx: parent_tid of clone */
        movl    %edx, %edi                      /* edi: child_tid, the same word */
        movl    ARG_TP(%esp), %eax
        pushl   $DESCRIPTOR_FLAGS
        .cfi_def_cfa_offset 20
        pushl   $DESCRIPTOR_LIMIT
        .cfi_def_cfa_offset 24
        pushl   %eax
        .cfi_def_cfa_offset 28
        movl    %gs, %eax
        shrl    $3, %eax                        /* the entry: a selector is entry << 3 | table and
                                                   privilege (arch/i386/linux/thread.rs) */
        pushl   %eax
        .cfi_def_cfa_offset 32
        movl    %esp, %esi
        movl    $THREAD_FLAGS, %ebx
        movl    $NR_clone, %eax
        int     $0x80
        testl   %eax, %eax
        je      1f
        addl    $16, %esp
        .cfi_remember_state
        .cfi_def_cfa_offset 16
        popl    %edi
        .cfi_def_cfa_offset 12
        .cfi_restore edi
        popl    %esi
        .cfi_def_cfa_offset 8
        .cfi_restore esi
        popl    %ebx
        .cfi_def_cfa_offset 4
        .cfi_restore ebx
        ret
        .cfi_restore_state
        /* The new thread. esp: fn, arg; eax: 0. This is its outermost frame: a backtrace ends
           here. */
1:
        .cfi_undefined eip
        xorl    %ebp, %ebp
        popl    %eax
        calll   *%eax                           /* esp: arg, 16-aligned */
        ud2
        .cfi_endproc
END(needm_clone)

/* fn needm_unmap_and_exit(start (esp+4), len (esp+8)) -> !

   Unmaps the stack that this thread runs on, and exits the thread. After munmap there is no stack.
   So the arguments are loaded before, and nothing uses a stack after that. The caller has blocked
   all signals, because a handler would need a stack. Linux writes 0 to the thread's *tid after the
   exit, so that word must not be on this stack. */
ROUTINE(needm_unmap_and_exit)
        .cfi_startproc
        .cfi_undefined eip
        movl    4(%esp), %ebx
        movl    8(%esp), %ecx
        movl    $NR_munmap, %eax
        int     $0x80
        xorl    %ebx, %ebx
        movl    $NR_exit, %eax
        int     $0x80
        ud2
        .cfi_endproc
END(needm_unmap_and_exit)
