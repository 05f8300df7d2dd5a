/* A host that brings everything itself: its own _start, thread-local storage and memory
 * functions, and the ordinary libneedm.a, built without the feature freestanding.
 * needm_spawn reads what it needs from the program headers. The exit status is 200 if all
 * is well. */
#include "../arch/arch.h"
#include <elf.h>
#include <needm.h>

#if __SIZEOF_POINTER__ == 8
typedef Elf64_Ehdr Ehdr;
typedef Elf64_Phdr Phdr;
#else
typedef Elf32_Ehdr Ehdr;
typedef Elf32_Phdr Phdr;
#endif

long foreign_call(long number, long a, long b, long c, long d); /* foreign.S */

__asm__(START_CALLS_START);

/* All that needm asks of such a host. */
void *memcpy(void *restrict to, const void *restrict from, size_t len) {
    for (size_t i = 0; i < len; i++) ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}
void *memset(void *to, int value, size_t len) {
    for (size_t i = 0; i < len; i++) ((volatile char *)to)[i] = (char)value;
    return to;
}

static _Noreturn void exit_with(int status) {
    for (;;) foreign_call(SYS_exit_group, status, 0, 0, 0);
}
#define TEXT_(line) #line
#define TEXT(line) TEXT_(line)
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            static const char said[] = __FILE__ ":" TEXT(__LINE__) ": check failed: " #what "\n";  \
            foreign_call(SYS_write, 2, (long)said, sizeof said - 1, 0);                            \
            exit_with(1);                                                                          \
        }                                                                                          \
    } while (0)

static char storage[4096] __attribute__((aligned(64)));
static _Thread_local int own = 41;

/* Thread-local storage of the first thread, from PT_TLS. */
static void set_up(void) {
    extern const Ehdr __ehdr_start;
    const Phdr *tls = (const Phdr *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    while (tls->p_type != PT_TLS) tls++;
    CHECK(tls->p_memsz <= 1024 && tls->p_align <= 64);
#if TLS_IS_BELOW
    char *pointer = storage + 2048, *block = pointer - ((tls->p_memsz + tls->p_align - 1) & -tls->p_align);
    *(char **)pointer = pointer;
#else
    char *pointer = storage, *block = storage + ((TCB_BYTES + tls->p_align - 1) & -tls->p_align);
#endif
    memcpy(block, (const void *)tls->p_vaddr, tls->p_filesz);
    CHECK(set_thread_pointer(pointer));
}

static void fault(void *arg) {
    int *volatile null = arg;
    *(volatile int *)null = 1;
}
static volatile int met;
static void spawned(void *arg) {
    CHECK(++own == 42 && needm_self() != 0);
    CHECK(needm_callback(fault, arg, 0, 0) == NEEDM_EFAULT);
    __sync_fetch_and_add(&met, 1);
    while (met < 16) needm_safepoint();
}
static int refuse(void *user, void *(*fn)(void *), void *arg) {
    (void)fn, (void)arg;
    ++*(int *)user;
    return 11;
}

__attribute__((used)) _Noreturn void start(const long *stack) {
    needm_panic_info info = {.size = sizeof info};
    (void)stack;
    set_up();
    CHECK(needm_spawn(spawned, 0) == NEEDM_ENOTSTARTED);
    CHECK(needm_start(0) == 0);
    CHECK(needm_callback(fault, (void *)16, 0, &info) == NEEDM_EFAULT && info.addr == 16);
    for (int i = 0; i < 16; i++) CHECK(needm_spawn(spawned, 0) == 0);
    while (met < 16) {
        CHECK(needm_stop_the_world() == 0);
        CHECK(needm_start_the_world() == 0);
        foreign_call(SYS_sched_yield, 0, 0, 0, 0);
    }
    while (needm_stop() != 0) foreign_call(SYS_sched_yield, 0, 0, 0, 0);
    /* With a hook, needm_spawn makes no thread itself. */
    int asked = 0;
    needm_hooks hooks = {.size = sizeof hooks, .user = &asked, .thread_start = refuse};
    needm_config config = {.size = sizeof config, .hooks = &hooks};
    CHECK(needm_start(&config) == 0);
    CHECK(needm_spawn(spawned, 0) == NEEDM_ESYS && asked == 1);
    CHECK(needm_stop() == 0);
    exit_with(own == 41 ? 200 : 1);
}
