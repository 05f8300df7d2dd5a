/* What tests need of arm: registers and how to reach them, instructions that fault, the
 * stack pointer, the context that a signal handler gets, numbers of system calls. The names
 * are the same in each header of this folder. Assembly includes this file too, so what is
 * C stands between #ifndef __ASSEMBLER__ and #endif. */
#ifndef ARCH_ARM_H
#define ARCH_ARM_H

#ifndef __ASSEMBLER__
#endif

#endif
