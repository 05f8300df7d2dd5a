/* What a test in C or assembly needs of the architecture it is built for. This is the only
 * file of the tests that asks which one that is; each architecture has one header beside it,
 * and every header defines the same names. */
#ifndef ARCH_H
#define ARCH_H

#if defined __x86_64__ && defined _WIN32
#include "x86_64_windows.h"
#elif defined __x86_64__
#include "x86_64.h"
#elif defined __i386__ && defined _WIN32
#include "i386_windows.h"
#elif defined __i386__
#include "i386.h"
#elif defined __arm__
#include "arm.h"
#elif defined __aarch64__
#include "aarch64.h"
#elif defined __riscv && __riscv_xlen == 64
#include "riscv64.h"
#else
#error "no header in tests/arch for this architecture"
#endif

#endif
