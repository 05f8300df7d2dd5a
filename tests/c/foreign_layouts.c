/* A thread that the C library did not make, whose thread-local storage is laid out in another way:
 * what the C library keeps beside it for its own threads is not mapped here. */
#include "check.h"
#include <sched.h>
#include <sys/mman.h>

#if !HAS_MOVABLE_TLS || !defined __GLIBC__
int main(void) {
    fprintf(stderr, "skipped: thread-local storage is where the C library's record is\n");
    return SUCCESS;
}
#else
enum { PAGE = 4096, TCB = 64, STACK = 256 * 1024 };

static volatile long ran;
static volatile int tid = 1; /* Linux clears it when the thread has exited */
static char record[2 * PAGE]; /* in the place of the C library's */
static void count(void *arg) { (void)arg, ran++; }
static int call_back(void *arg) {
    (void)arg;
    return needm_callback(count, NULL, 0, NULL);
}
static void *call_back_thread(void *arg) {
    CHECK_EQ(needm_callback(count, NULL, 0, NULL), 0);
    return arg;
}
/* On a thread whose storage is at the top of its stack, so that a page below it can be read. */
static void *make_it(void *arg) {
    char *map = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED);
    CHECK_EQ(mprotect(map + 2 * PAGE, PAGE, PROT_NONE), 0);
    char *own = THREAD_POINTER, *pointer = map + 2 * PAGE - TCB;
    memcpy(pointer - PAGE, own - PAGE, PAGE + TCB);
    SET_SELF(pointer, record);
    char *stack = malloc(STACK);
    CHECK(stack);
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                CLONE_SETTLS | CLONE_CHILD_CLEARTID;
    CHECK(clone(call_back, stack + STACK, flags, NULL, NULL, pointer, (int *)&tid) > 0);
    WAIT_UNTIL(tid == 0);
    return arg;
}
static void a_thread_whose_storage_is_laid_out_otherwise_calls_back(void) {
    /* So many keys that needm has none: glibc cannot set a value on that thread. */
    pthread_key_t key;
    for (int i = 0; i < 32; i++) CHECK_EQ(pthread_key_create(&key, NULL), 0);
    start((needm_config){.size = 0});
    /* From these needm learns where the C library keeps what it asks for. */
    for (int i = 0; i < 3; i++) join(thread(call_back_thread, NULL));
    ran = 0;
    join(thread(make_it, NULL));
    CHECK_EQ(ran, 1);
    CHECK_EQ(needm_stop(), 0);
}

int main(void) {
    RUN(a_thread_whose_storage_is_laid_out_otherwise_calls_back);
    return SUCCESS;
}
#endif
