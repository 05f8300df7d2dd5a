/* Filters of system calls, for what a program must do without. Not under an emulator. */
#ifndef FILTER_H
#define FILTER_H
#include "check.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* From here on system call `one` gets answer `then`, and all others `otherwise`: both
 * SECCOMP_RET_…. For this thread and those that it makes. */
static inline void filter_system_calls(long one, uint32_t then, uint32_t otherwise) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, one, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, then),
        BPF_STMT(BPF_RET | BPF_K, otherwise),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

/* The kernel does without the barrier that it would have on all threads. qemu-user has no
 * filters; whether it has the barrier is its own affair. */
static inline void without_membarrier(void) {
    if (emulated()) return;
    filter_system_calls(SYS_membarrier, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_ALLOW);
    CHECK_EQ(syscall(SYS_membarrier, 0, 0, 0), -1);
}

/* The kernel does without robust lists, as it must under qemu-user; before its first start. */
static inline void without_robust_lists(void) {
    if (emulated()) return;
    filter_system_calls(SYS_get_robust_list, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_ALLOW);
}

/* The binding that the words of a command line ask for, "call" or none; with "fence" among
 * them the barrier is taken away, with "unheard" robust lists are. */
static inline uint32_t asked_for(int argc, char **argv) {
    uint32_t binding = NEEDM_BIND_THREAD;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "call") == 0) binding = NEEDM_BIND_CALL;
        if (strcmp(argv[i], "fence") == 0) without_membarrier();
        if (strcmp(argv[i], "unheard") == 0) without_robust_lists();
    }
    return binding;
}
#endif
