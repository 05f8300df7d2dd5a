/* Filters of system calls, for what a program must do without. Not under an emulator. */
#ifndef FILTER_H
#define FILTER_H
#include "check.h"
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
#endif
