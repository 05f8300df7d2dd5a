/* What only C can do to callbacks: threads that exit in several ways, jumps over callbacks,
 * signals whose handlers call back, forks. */
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
void soak_signal(void) { raise(SIGUSR1); }

/* Forks a child that exits with call(): its status, or 0 if there is no child. */
int soak_fork(int (*call)(void)) {
    pid_t child = fork();
    if (child == 0) _exit(call());
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0) continue; /* a signal came */
    return child < 0 ? 0 : status;
}
