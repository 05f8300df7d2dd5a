/* A system call, one call down. */
#include "violation.h"
PLAIN void getpid_(void) {
#if defined __x86_64__
    __asm__ volatile("syscall" : : "a"(39) : "rcx", "r11", "memory");
#elif defined __i386__
    __asm__ volatile("int $0x80" : : "a"(20) : "memory");
#elif defined __arm__
    register long number __asm__("r7") = 20;
    __asm__ volatile("svc #0" : : "r"(number) : "r0", "memory");
#endif
}
void root(void *arg) {
    getpid_();
    *(char *)arg = 1;
}
