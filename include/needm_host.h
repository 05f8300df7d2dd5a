/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* needm for a static program without a C library. It needs a libneedm.a that was built with the
 * feature freestanding; linker/README.md says how to build and link. needm.h is the same with
 * and without a C library.
 *
 * The library has _start, which sets up the first thread's thread-local storage and calls the
 * constructors and needm_main; memcpy, memmove, memset, memcmp and strlen; and the functions
 * below. None of them allocates or takes a lock. There is no errno: a function that fails
 * returns a negative error number of Linux (include/uapi/asm-generic/errno.h).
 *
 * All of them may be called from any thread, before needm_start and after needm_stop, inside
 * callbacks and after a fork. In a handler: all except needm_host_spawn and needm_host_join,
 * which may wait for the code that the handler has interrupted.
 */
#ifndef NEEDM_HOST_H
#define NEEDM_HOST_H

#include "needm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* You write this function. It is the program; what it returns is the exit status. */
int needm_main(int argc, char **argv, char **envp);

/* Ends the process, with all its threads. */
NEEDM_NORETURN void needm_host_exit(int status);

/* Writes bytes to an open file; returns how many were written, which may be fewer. */
intptr_t needm_host_write(int file, const void *bytes, size_t len);

/* Sleeps for about this long; a signal may end it early. */
void needm_host_sleep(uint64_t nanoseconds);

/* A thread that can be waited for. */
typedef struct needm_host_thread needm_host_thread;

/* Runs fn(arg) on a new thread with at least stack_size bytes of stack, a guard page below it,
 * and thread-local storage of its own. 0, or a negative error number. thread NULL: the thread is
 * not joined. Its memory is used again after it has exited; if it exits by the raw system call,
 * by the next thread that is made. To needm it is a foreign thread. */
int needm_host_spawn(needm_host_thread **thread, size_t stack_size, void (*fn)(void *arg), void *arg);

/* Waits until the thread has exited. Once for each thread that needm_host_spawn has returned in
 * *thread; a thread must not join itself. */
void needm_host_join(needm_host_thread *thread);

/* For threads that you make with clone: the size of thread-local storage in bytes, and its
 * alignment; 0 if the program headers do not say. Each thread that makes callbacks needs its
 * own. */
size_t needm_host_thread_area(size_t *align);

/* Sets up thread-local storage in area. Returns the thread pointer, for clone with CLONE_SETTLS
 * (on i386 the base of its user_desc). area must stay valid until the thread has exited. */
void *needm_host_lay_out(void *area);

#ifdef __cplusplus
}
#endif
#endif
