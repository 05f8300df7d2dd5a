/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The fields of the thread's environment block (TEB) that say where its stack is. Windows, C
   libraries and compilers' stack probes read them wherever they run, so they change with the
   stack. gs: points to the block (winternl.h, struct _TEB; the last two are not in Microsoft's
   header, but in its debug symbols). */
#define TEB_EXCEPTION_LIST      0x0     /* frames with handlers, on i386; wine has some here, too */
#define TEB_STACK_BASE          0x8     /* one past the highest address */
#define TEB_STACK_LIMIT         0x10    /* the lowest address in use so far */
#define TEB_DEALLOCATION_STACK  0x1478  /* the start of the reservation */
#define TEB_GUARANTEED_BYTES    0x1748  /* for handlers of an overflow; 32 bits */
#define TEB_TLS_POINTER         0x58    /* the blocks of each module's thread-local storage */

/* The end of the list. A frame of it at a lower address than the G would be taken for a part of
   the callback. */
#define NO_FRAMES       -1

#define BLOCK   %gs
#define MOVE    movq
#define WORD    8
#define FROM    %rax
#define FROM_32 %eax
#define TO      %r11
#define TO_32   %r11d
#include "windows/stack_fields.h"
