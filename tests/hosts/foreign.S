/* Threads that needm knows nothing of, and system calls, for the hosts of this folder. The
   instructions are in tests/arch/<arch>.h; nothing here is needm's own.

   long foreign_clone(void *stack, int *tid, void *tp, void (*fn)(void *), void *arg):
   a thread that runs fn(arg), which never returns. Linux writes the thread ID to *tid,
   and 0 when the thread has exited.

   long foreign_call(long number, long a, long b, long c, long d): a system call.

   foreign_restorer: where a handler with SA_SIGINFO returns to.

   const int foreign_numbers[4]: the system calls of foreign.rs, in its order. */

/* include/uapi/linux/sched.h: CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS,
   PARENT_SETTID, CHILD_CLEARTID */
#define THREAD_FLAGS 0x3d0f00
#include "../arch/arch.h"

        .section .note.GNU-stack, "", %progbits
        .text
        .globl  foreign_clone, foreign_call, foreign_restorer, foreign_numbers
        .type   foreign_clone, %function
        .type   foreign_call, %function
        .type   foreign_restorer, %function
        .type   foreign_numbers, %object

        .balign 4
        FOREIGN_CLONE
        .balign 4
        FOREIGN_CALL
        .balign 4
        FOREIGN_RESTORER

        .section .rodata.foreign_numbers, "a", %progbits
        .balign 4
foreign_numbers:
        .long   SYS_exit, SYS_openat, SYS_read, SYS_close
