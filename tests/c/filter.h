/* Filters of system calls, for what a program must do without. qemu-user has none. */
#ifndef FILTER_H
#define FILTER_H
#include "check.h"
#ifdef _WIN32
/* Windows has none: a program runs as it is. */
static inline uint32_t parse_binding(int argc, char **argv) {
    return argc > 1 && strcmp(argv[1], "call") == 0 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
}
#else
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* From here on system call `one` gets the answer `then`, and all others `otherwise`, both
 * SECCOMP_RET_...: on this thread and on those that it makes. */
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

/* Takes membarrier away, so that needm uses fences. Under qemu-user nothing is taken away. */
static inline void without_membarrier(void) {
    if (emulated()) return;
    filter_system_calls(SYS_membarrier, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_ALLOW);
    CHECK_EQ(syscall(SYS_membarrier, 0, 0, 0), -1);
}

/* Takes robust lists away, which qemu-user has none of. Before needm's first start. */
static inline void without_robust_lists(void) {
    if (emulated()) return;
    filter_system_calls(SYS_get_robust_list, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_ALLOW);
}

/* Reads a command line: "call" sets NEEDM_BIND_CALL, "no-membarrier" and "no-robust-list"
 * take those away. */
static inline uint32_t parse_binding(int argc, char **argv) {
    uint32_t binding = NEEDM_BIND_THREAD;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "call") == 0) binding = NEEDM_BIND_CALL;
        if (strcmp(argv[i], "no-membarrier") == 0) without_membarrier();
        if (strcmp(argv[i], "no-robust-list") == 0) without_robust_lists();
    }
    return binding;
}
#endif
#endif
