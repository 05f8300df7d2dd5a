/* What these plug-ins need of the processor. */
#if defined(__x86_64__) || defined(__i386__)
#define BREAKPOINT "int3"
#define NO_INSTRUCTION "ud2"
#define DIVISION_BY_ZERO_FAULTS 1
#elif defined(__aarch64__)
#define BREAKPOINT "brk #0"
#define NO_INSTRUCTION ".inst 0"
#define DIVISION_BY_ZERO_FAULTS 0
#elif defined(__arm__)
#define BREAKPOINT "bkpt #0"
#define NO_INSTRUCTION "udf #0"
#define DIVISION_BY_ZERO_FAULTS 0
#else /* RISC-V */
#define BREAKPOINT "ebreak"
#define NO_INSTRUCTION "unimp"
#define DIVISION_BY_ZERO_FAULTS 0
#endif
