/* What only C can do to callbacks: threads of its own that end in several ways, jumps over
 * callbacks, signals whose handlers call back. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

typedef void soak_call(uint64_t);

/* A thread that runs work(number), and ends by returning, by pthread_exit, or by the raw
 * system call. */
struct life {
    soak_call *work;
    uint64_t number;
    int ending;
    volatile int *left;
};
static void *live(void *arg) {
    struct life life = *(struct life *)arg;
    free(arg);
    life.work(life.number);
    __atomic_sub_fetch(life.left, 1, __ATOMIC_SEQ_CST);
    if (life.ending == 1) pthread_exit(NULL);
    if (life.ending == 2) syscall(SYS_exit, 0);
    return NULL;
}
int soak_thread(soak_call *work, uint64_t number, int ending, volatile int *left) {
    struct life *life = malloc(sizeof *life);
    pthread_attr_t detached;
    pthread_t thread;
    if (life == NULL) return -1;
    *life = (struct life){work, number, ending, left};
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 256 * 1024);
    __atomic_add_fetch(left, 1, __ATOMIC_SEQ_CST);
    int refused = pthread_create(&thread, &detached, live, life);
    pthread_attr_destroy(&detached);
    if (refused != 0) {
        __atomic_sub_fetch(left, 1, __ATOMIC_SEQ_CST);
        free(life);
    }
    return refused;
}

/* Runs call(arg), which may end in soak_jump; 1 if it did. */
static __thread jmp_buf out;
int soak_catch(void (*call)(void *), void *arg) {
    if (setjmp(out) != 0) return 1;
    call(arg);
    return 0;
}
void soak_jump(void) { longjmp(out, 1); }

/* Has a handler run that calls back: when asked for, and a thousand times a second on any
 * thread. */
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
void soak_signal(void) { raise(SIGUSR1); }

/* A child in which call() returns 0: 0 then. */
int soak_fork(int (*call)(void)) {
    pid_t child = fork();
    if (child == 0) _exit(call());
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0) continue; /* a signal came */
    return child < 0 ? 0 : status;
}
