/* A debugger comes first: it takes a breakpoint, after which the callback goes on. What it leaves alone is
 * needm's, as without it. */
#include <ucontext.h>

static volatile int went_on;
static void breaks(void *arg) {
    __asm__ volatile("int3");
    went_on++;
    (void)arg;
}
static void is_debugged(void) {
    CHECK(IsDebuggerPresent());
    start((needm_config){0});
    for (int i = 1; i < 4; i++) {
        CHECK_EQ(needm_callback(breaks, NULL, 0, NULL), 0);
        CHECK_EQ(went_on, i);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    }
    CHECK_EQ(needm_stop(), 0);
}

static int breakpoints, faults, overflows;
static DWORD take(const DEBUG_EVENT *event) {
    const EXCEPTION_RECORD *raised = &event->u.Exception.ExceptionRecord;
    CHECK(event->u.Exception.dwFirstChance);
    faults += raised->ExceptionCode == STATUS_ACCESS_VIOLATION;
    overflows += raised->ExceptionCode == STATUS_STACK_OVERFLOW;
    if (raised->ExceptionCode != (DWORD)STATUS_BREAKPOINT) return DBG_EXCEPTION_NOT_HANDLED;
    breakpoints++;
    HANDLE thread = OpenThread(THREAD_GET_CONTEXT | THREAD_SET_CONTEXT, FALSE, event->dwThreadId);
    ucontext_t at = {.registers = {.ContextFlags = CONTEXT_CONTROL}};
    CHECK(thread && GetThreadContext(thread, &at.registers));
    CONTEXT_PC(&at) = (uintptr_t)raised->ExceptionAddress + 1;
    CHECK(SetThreadContext(thread, &at.registers));
    CloseHandle(thread);
    return DBG_CONTINUE;
}

int main(void) {
    start_child(is_debugged, DEBUG_ONLY_THIS_PROCESS);
    DEBUG_EVENT event;
    do {
        CHECK(WaitForDebugEvent(&event, INFINITE));
        DWORD answer = event.dwDebugEventCode == EXCEPTION_DEBUG_EVENT ? take(&event) : DBG_CONTINUE;
        CHECK(ContinueDebugEvent(event.dwProcessId, event.dwThreadId, answer));
    } while (event.dwDebugEventCode != EXIT_PROCESS_DEBUG_EVENT);
    CHECK_EQ(event.u.ExitProcess.dwExitCode, SUCCESS);
    CHECK_EQ(breakpoints, 1 + 3); /* Windows has one at the start */
    CHECK_EQ(faults, 3);
    CHECK_EQ(overflows, 3);
    return SUCCESS;
}
