/* Processes for the test programs under Windows, which has no fork: a child is this program
 * once more, and starts with the function that it is to run. So it has nothing of what its
 * parent has done before; a program whose children need that does not run here.
 *
 * Threads are those of winpthreads. */
#ifndef CHECK_WINDOWS_H
#define CHECK_WINDOWS_H
#define WIN32_LEAN_AND_MEAN
#include_next <windows.h>

/* In the environment of a child: the distance of its function from `in_a_child_here`, which is
 * the same in both, wherever the program is loaded. */
#define CHILD_RUNS "NEEDM_CHILD_RUNS"
static void in_a_child_here(void) {}

__attribute__((constructor)) static void run_if_a_child(void) {
    const char *distance = getenv(CHILD_RUNS);
    if (!distance)
        return;
    void (*body)(void) = (void (*)(void))((char *)in_a_child_here + strtoll(distance, NULL, 10));
    _putenv(CHILD_RUNS "=");
    /* A fault that nothing handles ends it at once. */
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
    body();
    fflush(NULL);
    _exit(SUCCESS);
}

/* Starts body() in a child process, with CreateProcess's flags. */
static inline PROCESS_INFORMATION start_child(void (*body)(void), DWORD flags) {
    char program[MAX_PATH], distance[32];
    STARTUPINFOA start = {.cb = sizeof start};
    PROCESS_INFORMATION child;
    fflush(NULL);
    CHECK(GetModuleFileNameA(NULL, program, sizeof program) < sizeof program);
    snprintf(distance, sizeof distance, "%lld", (long long)((char *)body - (char *)in_a_child_here));
    CHECK(SetEnvironmentVariableA(CHILD_RUNS, distance));
    CHECK(CreateProcessA(program, NULL, NULL, NULL, TRUE, flags, NULL, NULL, &start, &child));
    CHECK(SetEnvironmentVariableA(CHILD_RUNS, NULL));
    return child;
}
/* Runs it; its exit code. */
static inline DWORD in_a_child(void (*body)(void)) {
    PROCESS_INFORMATION child = start_child(body, 0);
    DWORD code;
    CHECK_EQ(WaitForSingleObject(child.hProcess, INFINITE), WAIT_OBJECT_0);
    CHECK(GetExitCodeProcess(child.hProcess, &code));
    CloseHandle(child.hThread);
    CloseHandle(child.hProcess);
    return code;
}
/* handler(address, context) is the last that Windows asks about a fault. */
static void (*handles_fault)(uintptr_t address, void *context);
static inline LONG WINAPI handle_fault(EXCEPTION_POINTERS *fault) {
    handles_fault(fault->ExceptionRecord->ExceptionInformation[1], fault->ContextRecord);
    return EXCEPTION_CONTINUE_EXECUTION;
}
static inline void handle_faults(void (*handler)(uintptr_t address, void *context)) {
    handles_fault = handler;
    SetUnhandledExceptionFilter(handler ? handle_fault : NULL);
}
#define CHECK_CHILD(body) CHECK_EQ(in_a_child(body), SUCCESS)
/* The exit code of a process that nothing saves from this fault. Some faults have several. */
static inline int is_death_by(DWORD code, int number) {
    switch (number) {
    case SIGSEGV: return code == STATUS_ACCESS_VIOLATION || code == STATUS_STACK_OVERFLOW;
    case SIGFPE: return code == STATUS_INTEGER_DIVIDE_BY_ZERO;
    case SIGILL: return code == STATUS_ILLEGAL_INSTRUCTION;
    case SIGABRT: return code == 3;
    }
    return 0;
}
#define CHECK_DIES(body, signal)                            \
    do {                                                    \
        DWORD code_ = in_a_child(body);                     \
        if (!is_death_by(code_, signal))                    \
            fprintf(stderr, "exit code %lx\n", code_);      \
        CHECK(is_death_by(code_, signal));                  \
    } while (0)

/* needm's numbers of faults, where the C library has no name. */
#define SIGTRAP 5
#define SIGBUS 7

/* Plain jumps. An unwinding one needs the stacks in an order that nothing promises. */
#include <setjmp.h>
#undef setjmp
#define setjmp(buffer) PLAIN_SETJMP(buffer)
#define longjmp(buffer, value) PLAIN_LONGJMP(buffer, value)

/* The end of a thread that tells nothing that has not asked. */
enum { SYS_exit };
static inline long syscall(long number, ...) {
    CHECK_EQ(number, SYS_exit);
    TerminateThread(GetCurrentThread(), 0);
    return -1;
}
static inline void pause(void) { Sleep(INFINITE); }
#endif
