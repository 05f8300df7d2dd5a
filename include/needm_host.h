/* needm without a C library: what a static program needs from its first instruction on.
 * For a libneedm.a that was built with the feature freestanding; linker/README.md says how
 * such a program is built and linked. needm.h is as everywhere.
 *
 * The library brings _start, which lays out the first thread's thread-local storage and
 * calls constructors and needm_main; memcpy, memmove, memset, memcmp and strlen; and what
 * is below. Nothing here allocates or takes a lock. There is no errno: what fails returns
 * a negative error number of the system's (include/uapi/asm-generic/errno.h).
 */
#ifndef NEEDM_HOST_H
#define NEEDM_HOST_H

#include "needm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The program: yours. What it returns is the exit status. */
int needm_main(int argc, char **argv, char **envp);

/* Ends the process with this status, whatever its threads do. */
NEEDM_NORETURN void needm_host_exit(int status);

/* Writes to an open file what it takes of the bytes; how many that were. */
intptr_t needm_host_write(int file, const void *bytes, size_t len);

/* Sleeps for about this long. */
void needm_host_sleep(uint64_t nanoseconds);

/* A thread that can be waited for. */
typedef struct needm_host_thread needm_host_thread;

/* Runs fn(arg) on a new thread with at least stack_size bytes of stack, a guard below and a
 * copy of the thread-local storage; 0. thread NULL: nobody waits for it. It leaves nothing when it
 * returns; the stack of one that ends by the raw system call is the next thread's. To the
 * kernel it is a foreign thread. */
int needm_host_spawn(needm_host_thread **thread, size_t stack_size, void (*fn)(void *arg), void *arg);

/* Waits until it has ended. Once for each that needm_host_spawn was given a place for. */
void needm_host_join(needm_host_thread *thread);

/* For threads that you make yourself, with clone: what thread-local storage takes, in bytes,
 * and what it must be aligned to; 0 if the program headers do not say. Every thread that calls
 * in needs its own. */
size_t needm_host_thread_area(size_t *align);

/* Lays it out there; the thread pointer that goes with it, for clone with CLONE_SETTLS (on
 * i386 the base of its user_desc). The memory stays until that thread has ended. */
void *needm_host_lay_out(void *area);

#ifdef __cplusplus
}
#endif
#endif
