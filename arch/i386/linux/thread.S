/* The first and the last instructions of a thread that needm makes where there is no C library.
   The Rust side is src/os/linux/clone.rs. */
#include "asm.h"

/* linux/arch/x86/entry/syscalls/syscall_32.tbl */
#define NR_clone        120
#define NR_exit         1
#define NR_munmap       91
/* linux/include/uapi/linux/sched.h: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
   PARENT_SETTID, CHILD_CLEARTID. */
#define THREAD_FLAGS    0x3d0f00
/* struct user_desc, linux/arch/x86/include/uapi/asm/ldt.h: all pages; seg_32bit, limit_in_pages,
   useable. */
#define DESCRIPTOR_LIMIT 0xfffff
#define DESCRIPTOR_FLAGS 0x51

/* fn needm_clone(stack (esp+4), tid (+8), tp (+12), fn (+16), arg (+20)) -> isize (eax)

   Starts a thread that runs fn(arg), which never returns, on the stack that ends at `stack`
   (a multiple of 16), with tp as its thread pointer: clone(2). Linux writes the thread's number
   to *tid before either thread goes on. When the thread has exited it writes 0 there, and wakes
   what waits for that (futex(2)). Returns the number, or an error as a negative one. Clobbers
   what a call does.

   The thread pointer is the base of the segment that gs selects. The new thread inherits the
   selector, and has a descriptor table of its own, in which clone fills in the same entry.

        this stack                      the new one
        edi esi ebx                     (to 16 bytes)
        flags                           arg
        limit                           fn      <- ecx, its esp
        tp
        entry  <- esi: struct user_desc */
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
        movl    16(%esp), %ecx
        movl    28(%esp), %eax
        movl    32(%esp), %edx
        movl    %eax, -20(%ecx)
        movl    %edx, -16(%ecx)
        subl    $20, %ecx
        movl    20(%esp), %edx
        movl    %edx, %edi
        movl    24(%esp), %eax
        pushl   $DESCRIPTOR_FLAGS
        .cfi_def_cfa_offset 20
        pushl   $DESCRIPTOR_LIMIT
        .cfi_def_cfa_offset 24
        pushl   %eax
        .cfi_def_cfa_offset 28
        movl    %gs, %eax
        shrl    $3, %eax                        /* a selector's index; thread.rs */
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
        /* The new thread. esp: fn, arg; everything else as in the other thread. There is no frame
           below this one: a backtrace ends here. */
1:
        .cfi_undefined eip
        xorl    %ebp, %ebp
        popl    %eax
        calll   *%eax                           /* esp: arg, 16-aligned */
        ud2
        .cfi_endproc
END(needm_clone)

/* fn needm_unmap_and_exit(start (esp+4), len (esp+8)) -> !

   Unmaps the stack that this thread runs on, and exits the thread. Nothing is on a stack after
   the arguments are loaded, and all signals must be blocked, because a handler would have
   none. */
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
