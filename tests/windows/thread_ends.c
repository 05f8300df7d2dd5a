/* In every way in which a thread ends, its M comes back. */
#include "../c/check.h"
#include <process.h>

static volatile int here;
static HANDLE go; /* an event */
__attribute__((constructor)) static void make_go(void) { go = CreateEventA(NULL, TRUE, FALSE, NULL); }
static void calls_back(void) {
    long sum = 0;
    CHECK_EQ(needm_callback(add, &sum, 0, NULL), 0);
    CHECK_EQ(sum, 1);
    here = 1;
}
static void waits(void *arg) {
    here = 1;
    WaitForSingleObject(go, INFINITE);
    (void)arg;
}
static unsigned WINAPI by_return(void *arg) {
    (void)arg;
    calls_back();
    return 3;
}
static unsigned WINAPI by_exit(void *arg) {
    (void)arg;
    calls_back();
    ExitThread(4);
}
static unsigned WINAPI by_endthreadex(void *arg) {
    (void)arg;
    calls_back();
    _endthreadex(5);
    return 0;
}
static unsigned WINAPI by_termination(void *arg) {
    calls_back();
    waits(arg);
    return 0;
}
static unsigned WINAPI by_termination_in_a_callback(void *arg) {
    needm_callback(waits, arg, 0, NULL);
    return 0;
}
static unsigned WINAPI by_termination_in_c(void *arg);
static void waits_in_c(void *arg) { needm_ccall(waits, arg); }
static unsigned WINAPI by_termination_in_c(void *arg) {
    needm_callback(waits_in_c, arg, 0, NULL);
    return 0;
}
static void exits(void *arg) {
    (void)arg;
    here = 1;
    ExitThread(6);
}
static unsigned WINAPI by_exit_in_a_callback(void *arg) {
    needm_callback(exits, arg, 0, NULL);
    return 0;
}
static void exits_in_c(void *arg) { needm_ccall(exits, arg); }
static void exits_by_pthreads(void *arg) {
    here = 1;
    pthread_exit(arg);
}
static unsigned WINAPI by_pthread_exit_in_a_callback(void *arg) {
    needm_callback(exits_by_pthreads, arg, 0, NULL);
    return 0;
}
static unsigned WINAPI by_exit_in_c(void *arg) {
    needm_callback(exits_in_c, arg, 0, NULL);
    return 0;
}
static void WINAPI on_a_fiber(void *arg) {
    (void)arg;
    calls_back();
    ExitThread(7);
}
static unsigned WINAPI by_exit_on_a_fiber(void *arg) {
    ConvertThreadToFiber(arg);
    SwitchToFiber(CreateFiber(0, on_a_fiber, NULL));
    return 0;
}
static const struct {
    const char *name;
    unsigned (WINAPI *main)(void *);
    int is_terminated, is_told;
} ways[] = {
    {"return", by_return, 0, 1},
    {"ExitThread", by_exit, 0, 1},
    {"_endthreadex", by_endthreadex, 0, 1},
    {"ExitThread on a fiber", by_exit_on_a_fiber, 0, 1},
    {"ExitThread in C that a callback called", by_exit_in_c, 0, 1},
    {"ExitThread in a callback", by_exit_in_a_callback, 0, 0},
    {"pthread_exit in a callback", by_pthread_exit_in_a_callback, 0, 0},
    {"TerminateThread", by_termination, 1, 0},
    {"TerminateThread in a callback", by_termination_in_a_callback, 1, 0},
    {"TerminateThread in C that a callback called", by_termination_in_c, 1, 0},
};
static void one_ends(int way) {
    here = 0;
    HANDLE made = (HANDLE)_beginthreadex(NULL, 0, ways[way].main, NULL, 0, NULL);
    CHECK(made);
    WAIT_UNTIL(here);
    if (ways[way].is_terminated) {
        Sleep(1);
        CHECK(TerminateThread(made, 8));
    }
    CHECK_EQ(WaitForSingleObject(made, INFINITE), WAIT_OBJECT_0);
    CloseHandle(made);
}
static uint32_t binding;
static void an_m_comes_back_in_every_way(void) {
    for (int way = 0; way < (int)(sizeof ways / sizeof *ways); way++) {
        fprintf(stderr, "  %s\n", ways[way].name);
        /* There are no more Ms than these, so a thread that needs one finds that of the dead. */
        start((needm_config){.binding = binding, .max_ms = 2});
        for (int i = 0; i < 10; i++) {
            one_ends(way);
            if (ways[way].is_told && binding == NEEDM_BIND_THREAD) CHECK_EQ(stats().ms_bound, 0);
        }
        calls_back();
        CHECK(stats().ms_total <= 2);
        CHECK_EQ(needm_detach(), 0);
        stop_when_idle();
    }
}
/* The stack of each goes with it: a thousand of a megabyte each are more than is left. */
static void no_stack_stays_of_threads_that_exit_in_a_callback(void) {
    start((needm_config){.binding = binding, .max_ms = 2, .guard_size = 1});
    for (int i = 0; i < rounds(1000); i++) {
        here = 0;
        HANDLE made = (HANDLE)_beginthreadex(NULL, 0, by_exit_in_a_callback, NULL, 0, NULL);
        CHECK(made);
        CHECK_EQ(WaitForSingleObject(made, INFINITE), WAIT_OBJECT_0);
        CloseHandle(made);
    }
    calls_back();
    CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    CHECK_EQ(needm_detach(), 0);
    stop_when_idle();
}
static void *lives_on(void *arg) {
    calls_back();
    WaitForSingleObject(go, INFINITE);
    calls_back();
    return arg;
}
static void a_thread_outlives_a_stop(void) {
    start((needm_config){.binding = binding});
    here = 0;
    pthread_t made = thread(lives_on, NULL);
    WAIT_UNTIL(here);
    stop_when_idle();
    start((needm_config){.binding = binding});
    SetEvent(go);
    join(made);
    CHECK_EQ(stats().ms_bound, 0);
    stop_when_idle();
    ResetEvent(go);
}
/* Nothing waits for the loader, whose lock another thread may hold. */
static LONG(NTAPI *LdrLockLoaderLock)(ULONG flags, ULONG *state, ULONG_PTR *cookie);
static LONG(NTAPI *LdrUnlockLoaderLock)(ULONG flags, ULONG_PTR cookie);
static volatile int locked;
static void goes_to_c(void *sum) { CHECK_EQ(needm_ccall(add, sum), 0); }
static void *calls_back_meanwhile(void *arg) {
    here = 1;
    WAIT_UNTIL(locked);
    for (int i = 0; i < 3; i++) {
        long sum = 0;
        CHECK_EQ(needm_callback(goes_to_c, &sum, 0, NULL), 0);
        CHECK_EQ(sum, 1);
        CHECK_EQ(needm_callback(panic, NULL, 0, NULL), NEEDM_EPANIC);
        CHECK_EQ(needm_stop_the_world(), 0);
        CHECK_EQ(needm_start_the_world(), 0);
        CHECK_EQ(needm_detach(), 0);
    }
    locked = 0;
    return arg;
}
static void callbacks_do_without_the_loaders_lock(void) {
    ULONG_PTR cookie;
    HMODULE ntdll = GetModuleHandleA("ntdll.dll");
    CHECK((LdrLockLoaderLock = (void *)GetProcAddress(ntdll, "LdrLockLoaderLock")));
    CHECK((LdrUnlockLoaderLock = (void *)GetProcAddress(ntdll, "LdrUnlockLoaderLock")));
    start((needm_config){.binding = binding});
    here = 0;
    pthread_t other = thread(calls_back_meanwhile, NULL);
    WAIT_UNTIL(here);
    CHECK_EQ(LdrLockLoaderLock(0, NULL, &cookie), 0);
    locked = 1;
    WAIT_UNTIL(!locked);
    CHECK_EQ(LdrUnlockLoaderLock(0, cookie), 0);
    join(other);
    stop_when_idle();
}
static void ends_with_a_callback_under_way(void) {
    start((needm_config){0});
    here = 0;
    thread((void *(*)(void *))by_termination_in_a_callback, NULL);
    WAIT_UNTIL(here);
    calls_back();
    exit(77); /* the process ends with the thread in its callback */
}
static void a_process_ends_while_callbacks_run(void) {
    for (int i = 0; i < 5; i++) CHECK_EQ(in_a_child(ends_with_a_callback_under_way), 77);
}

int main(int argc, char **argv) {
    (void)argv;
    binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD;
    RUN(an_m_comes_back_in_every_way);
    RUN(no_stack_stays_of_threads_that_exit_in_a_callback);
    RUN(a_thread_outlives_a_stop);
    RUN(callbacks_do_without_the_loaders_lock);
    RUN(a_process_ends_while_callbacks_run);
    return SUCCESS;
}
