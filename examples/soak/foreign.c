/* What only C can do to callbacks: threads that exit in several ways, jumps over callbacks, fibers,
 * signals whose handlers call back, a crash reporter, forks, a sandbox. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

typedef void soak_call(uint64_t);

/* Makes a thread that runs work(number), and exits by returning (ending 0), by pthread_exit (1),
 * or by the raw system call (2). *running is the number of such threads. Returns 0 or an error. */
struct life {
    soak_call *work;
    uint64_t number;
    int ending;
    volatile int *running;
};
static void *live(void *arg) {
    struct life life = *(struct life *)arg;
    free(arg);
    life.work(life.number);
    __atomic_sub_fetch(life.running, 1, __ATOMIC_SEQ_CST);
    if (life.ending == 1) pthread_exit(NULL);
    if (life.ending == 2) syscall(SYS_exit, 0);
    return NULL;
}
int soak_thread(soak_call *work, uint64_t number, int ending, volatile int *running) {
    struct life *life = malloc(sizeof *life);
    pthread_attr_t detached;
    pthread_t thread;
    if (life == NULL) return -1;
    *life = (struct life){work, number, ending, running};
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 256 * 1024);
    __atomic_add_fetch(running, 1, __ATOMIC_SEQ_CST);
    int refused = pthread_create(&thread, &detached, live, life);
    pthread_attr_destroy(&detached);
    if (refused != 0) {
        __atomic_sub_fetch(running, 1, __ATOMIC_SEQ_CST);
        free(life);
    }
    return refused;
}

/* Runs call(arg): 1 if that left by soak_jump, else 0. */
static __thread jmp_buf out;
int soak_catch(void (*call)(void *), void *arg) {
    if (setjmp(out) != 0) return 1;
    call(arg);
    return 0;
}
void soak_jump(void) { longjmp(out, 1); }

/* Installs a handler that calls back. It runs for soak_signal, and a thousand times a second on
 * any thread. */
static void (*called)(void);
static void handler(int signal) {
    (void)signal;
    called();
}
void soak_handle(void (*call)(void)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART | SA_ONSTACK};
    called = call;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &every, NULL);
}
void soak_handle_no_more(void) {
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
}
void soak_signal(void) { raise(SIGUSR1); }

/* Runs body on each of FIBERS fibers. The body may call soak_wait once, inside a callback: the fiber then
 * waits until all others wait or are over. Those that wait go on in an order that `order` gives. */
enum { FIBERS = 3, FIBER_STACK = 256 * 1024 };
static __thread struct fibers {
    void (*body)(void);
    ucontext_t back, fibers[FIBERS];
    int current, waits[FIBERS];
} *fibers;
static void go(void) { fibers->body(); }
static void resume(struct fibers *all, int number) {
    all->current = number;
    all->waits[number] = 0;
    fibers = all;
    swapcontext(&all->back, &all->fibers[number]);
}
void soak_fibers(void (*body)(void), uint64_t order) {
    struct fibers *all = calloc(1, sizeof *all), *around = fibers;
    char *stacks = malloc(FIBERS * FIBER_STACK);
    if (all != NULL && stacks != NULL) {
        all->body = body;
        for (int i = 0; i < FIBERS; i++) {
            ucontext_t *fiber = &all->fibers[i];
            getcontext(fiber);
            fiber->uc_stack.ss_sp = stacks + i * FIBER_STACK;
            fiber->uc_stack.ss_size = FIBER_STACK;
            fiber->uc_link = &all->back;
            makecontext(fiber, go, 0);
            resume(all, i);
        }
        for (uint64_t i = order; i < order + FIBERS; i++)
            if (all->waits[i % FIBERS]) resume(all, (int)(i % FIBERS));
        for (int i = FIBERS - 1; i >= 0; i--)
            if (all->waits[i]) resume(all, i);
    }
    fibers = around;
    free(stacks);
    free(all);
}
void soak_wait(void) {
    struct fibers *all = fibers;
    int own = all->current;
    all->waits[own] = 1;
    swapcontext(&all->fibers[own], &all->back);
}

/* A crash reporter, which is installed over needm's handlers, and forwards what it sees. */
static struct sigaction before[2];
static void report(int signal, siginfo_t *info, void *context) {
    struct sigaction *below = &before[signal == SIGBUS];
    if (below->sa_flags & SA_SIGINFO) {
        below->sa_sigaction(signal, info, context);
    } else {
        sigaction(signal, below, NULL); /* the instruction faults once more */
    }
}
void soak_report(void) {
    struct sigaction action = {.sa_sigaction = report, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, &before[0]);
    sigaction(SIGBUS, &action, &before[1]);
}

/* From here on the process is in a sandbox: what needm had, and can do without, is refused on all threads.
 * Returns 0, or the error with which Linux has refused. */
int soak_sandbox(void) {
#define REFUSE(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        REFUSE(SYS_membarrier),
        REFUSE(SYS_process_vm_readv),
        REFUSE(SYS_madvise),
        REFUSE(SYS_get_robust_list),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    long refused = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
    return refused > 0 ? EBUSY : refused < 0 ? errno : 0;
}

/* Forks a child that exits with call(): its status, or 0 if there is no child. */
int soak_fork(int (*call)(void)) {
    pid_t child = fork();
    if (child == 0) _exit(call());
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0) continue; /* a signal came */
    return child < 0 ? 0 : status;
}
