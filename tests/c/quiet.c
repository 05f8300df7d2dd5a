/* A thread that has its M makes no system call: a filter kills it if it does. */
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void quiet(needm_config config, int attach) {
    long sum = 0;
    start(config);
    if (attach)
        CHECK_EQ(needm_attach(), 0);
    else
        CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
    for (int i = 0; i < 1000000; i++)
        if (needm_callback(add, &sum, 0, NULL) != 0) _exit(2);
    char frame[100] = {0};
    for (int i = 0; i < 1000; i++)
        if (needm_callback(nothing, frame, sizeof frame, NULL) != 0) _exit(3);
    _exit(sum >= 1000000 ? SUCCESS : 4);
}
static void bound(void) { quiet((needm_config){0}, 0); }
static void per_call(void) { quiet((needm_config){.binding = NEEDM_BIND_CALL}, 0); }
static void attached(void) { quiet((needm_config){0}, 1); }
static void attached_per_call(void) { quiet((needm_config){.binding = NEEDM_BIND_CALL}, 1); }

int main(void) {
    if (emulated()) { /* qemu-user has no filters */
        puts("skipped: no seccomp under an emulator");
        return SUCCESS;
    }
    CHECK_CHILD(bound);
    CHECK_CHILD(per_call);
    CHECK_CHILD(attached);
    CHECK_CHILD(attached_per_call);
    return SUCCESS;
}
