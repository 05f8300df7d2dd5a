/* Exceptions under Windows: what a callback takes itself, what is a fault of it, and what is
 * none. And what the thread's environment block says of the stack, on which Windows relies. */
#include "../c/check.h"

/* ---- the stack fields */

static void check_limits_hold(const void *at) {
    ULONG_PTR lo = 0, hi = 0;
    GetCurrentThreadStackLimits(&lo, &hi);
    CHECK((ULONG_PTR)at > lo && (ULONG_PTR)at < hi);
    NT_TIB *tib = (NT_TIB *)NtCurrentTeb();
    CHECK((char *)at >= (char *)tib->StackLimit && (char *)at < (char *)tib->StackBase);
}
static NT_TIB of_the_caller;
static void in_c(void *arg) {
    char here;
    check_limits_hold(&here);
    CHECK_EQ((intptr_t)((NT_TIB *)NtCurrentTeb())->StackBase, (intptr_t)of_the_caller.StackBase);
    OutputDebugStringA("in C");
    if (arg) CHECK_EQ(needm_callback(arg, NULL, 0, NULL), 0);
    check_limits_hold(&here);
}
static void on_the_g(void *nested) {
    char here;
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    check_limits_hold(&here);
    NT_TIB *tib = (NT_TIB *)NtCurrentTeb();
    CHECK_EQ((intptr_t)tib->StackBase, (intptr_t)hi);
    CHECK_EQ((intptr_t)tib->StackLimit, (intptr_t)lo);
    CHECK_EQ(needm_ccall(in_c, nested), 0);
    CHECK_EQ((intptr_t)tib->StackBase, (intptr_t)hi);
    /* Without the right fields this ends the process. */
    OutputDebugStringA("on the G");
}
static void panics_in_c(void *arg) { (void)arg, needm_panic(NULL); }
static void panics_from_c(void *arg) { needm_ccall(panics_in_c, arg); }
static void the_stack_fields_are_right_wherever_code_runs(void) {
    NT_TIB *tib = (NT_TIB *)NtCurrentTeb();
    void (*const ends[])(void *) = {nothing, fault, overflow, panic, panics_from_c};
    const int results[] = {0, NEEDM_EFAULT, NEEDM_EOVERFLOW, NEEDM_EPANIC, NEEDM_EPANIC};
    of_the_caller = *tib;
    for (int i = 0; i < rounds(400); i++) {
        CHECK_EQ(needm_callback(on_the_g, NULL, 0, NULL), 0);
        CHECK_EQ(needm_callback(on_the_g, (void *)on_the_g, 0, NULL), 0);
        CHECK_EQ(needm_callback(ends[i % 5], NULL, 0, NULL), results[i % 5]);
        CHECK_EQ((intptr_t)tib->StackBase, (intptr_t)of_the_caller.StackBase);
        CHECK_EQ((intptr_t)tib->StackLimit, (intptr_t)of_the_caller.StackLimit);
        CHECK_EQ((intptr_t)tib->ExceptionList, (intptr_t)of_the_caller.ExceptionList);
    }
}
/* A large frame touches its pages from the limit in the environment block downwards, as
 * Microsoft's compilers have it (__chkstk). */
static volatile char probed;
static void probes(void *bytes) {
    NT_TIB *tib = (NT_TIB *)NtCurrentTeb();
    char *to = (char *)&bytes - (size_t)bytes;
    for (char *at = tib->StackLimit; at > to; at -= 4096) probed = *(volatile char *)(at - 4096);
}
static void a_probe_from_the_limit_downwards_stays_on_the_g(void) {
    CHECK_EQ(needm_callback(probes, (void *)20000, 0, NULL), 0);
}

/* ---- what a callback takes itself */

static volatile int went_on;
static void asks(void *arg) {
    (void)arg;
    went_on = IsBadReadPtr((void *)8, 4) ? 1 : 2;
}
static void a_callbacks_own_handler_comes_first(void) {
    for (int i = 0; i < rounds(200); i++) {
        went_on = 0;
        CHECK_EQ(needm_callback(asks, NULL, 0, NULL), 0);
        CHECK_EQ(went_on, 1);
        CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    }
}

/* ---- faults */

static void halts(void *arg) {
    (void)arg;
    __asm__ volatile("hlt");
}
static void a_privileged_instruction_is_a_fault(void) {
    needm_panic_info info = {.size = sizeof info};
    CHECK_EQ(needm_callback(halts, NULL, 0, &info), NEEDM_EFAULT);
    CHECK_EQ(info.signo, SIGILL);
    CHECK_EQ((DWORD)info.code, STATUS_PRIVILEGED_INSTRUCTION);
}
/* What Windows raises if the file behind a mapping cannot be read. */
static void cannot_read_a_page(void *at) {
    ULONG_PTR information[] = {0, (ULONG_PTR)at, 0xc0000185};
    RaiseException(EXCEPTION_IN_PAGE_ERROR, 0, 3, information);
}
static void an_in_page_error_is_a_fault(void) {
    needm_panic_info info = {.size = sizeof info};
    CHECK_EQ(needm_callback(cannot_read_a_page, (void *)0x1234, 0, &info), NEEDM_EFAULT);
    CHECK_EQ(info.signo, SIGBUS);
    CHECK_EQ((DWORD)info.code, EXCEPTION_IN_PAGE_ERROR);
    CHECK_EQ(info.addr, 0x1234);
}
/* A guard of the host's own raises what the last page of a stack raises. */
static char *guarded;
static void touches_a_guard(void *arg) { guarded[8] = 1, (void)arg; }
static void a_guard_page_of_the_hosts_is_a_fault(void) {
    DWORD old;
    guarded = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    CHECK(guarded);
    for (int i = 0; i < rounds(100); i++) {
        needm_panic_info info = {.size = sizeof info};
        CHECK(VirtualProtect(guarded, 4096, PAGE_READWRITE | PAGE_GUARD, &old));
        CHECK_EQ(needm_callback(touches_a_guard, NULL, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.addr, (uintptr_t)guarded + 8);
        CHECK_EQ((DWORD)info.code, STATUS_GUARD_PAGE_VIOLATION);
        CHECK_EQ(needm_callback(overflow, NULL, 0, NULL), NEEDM_EOVERFLOW);
    }
}
static const unsigned char faults_itself[] = CODE_THAT_WRITES_TO_8, calls_argument[] = CODE_THAT_CALLS_ITS_ARGUMENT;
static void *code(const unsigned char *bytes, size_t length) {
    void *at = VirtualAlloc(NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_EXECUTE_READWRITE);
    CHECK(at);
    return memcpy(at, bytes, length);
}
static void a_fault_of_code_without_unwind_records_is_an_error(void) {
    void (*itself)(void *) = code(faults_itself, sizeof faults_itself);
    void (*caller)(void *) = code(calls_argument, sizeof calls_argument);
    for (int i = 0; i < rounds(200); i++) {
        needm_panic_info info = {.size = sizeof info};
        CHECK_EQ(needm_callback(itself, NULL, 0, &info), NEEDM_EFAULT);
        CHECK_EQ(info.addr, 8);
        CHECK_EQ(needm_callback(caller, (void *)fault, 0, NULL), NEEDM_EFAULT);
    }
}
static void faults_with_so_much_left(void *left) {
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    char *here = __builtin_frame_address(0);
    volatile char *taken = __builtin_alloca(here - (char *)lo - (size_t)left - 256);
    taken[0] = 1;
    fault(NULL);
}
static void near_its_end_a_stacks_fault_is_an_overflow(void) {
    for (size_t left = 300; left < 12000; left += 300) {
        int ended = needm_callback(faults_with_so_much_left, (void *)left, 0, NULL);
        CHECK(ended == NEEDM_EFAULT || ended == NEEDM_EOVERFLOW);
        if (left < 1000) CHECK_EQ(ended, NEEDM_EOVERFLOW);
        if (left > 10000) CHECK_EQ(ended, NEEDM_EFAULT);
    }
}
__attribute__((noinline)) static void large_frames(int more) {
    volatile char frame[20000];
    frame[0] = frame[19999] = (char)more;
    if (more) large_frames(more - 1);
    frame[1] = 0;
}
static void overflows_by_large_frames(void *arg) { (void)arg, large_frames(1000); }
static void an_overflow_by_large_frames_is_an_error(void) {
    for (int i = 0; i < rounds(400); i++)
        CHECK_EQ(needm_callback(overflows_by_large_frames, NULL, 0, NULL), NEEDM_EOVERFLOW);
}
static void no_ending_changes_the_last_error(void) {
    void (*const ends[])(void *) = {nothing, fault, overflow, panic, panics_from_c};
    for (int i = 0; i < 5; i++) {
        SetLastError(1234 + i);
        needm_callback(ends[i], NULL, 0, NULL);
        CHECK_EQ(GetLastError(), 1234 + i);
    }
}

/* ---- what is no fault of a callback's; each in a process of its own */

/* Software's own; C++ of MSVC, of GCC; .NET; the name of a thread; a line for the debugger. */
enum { SOFTWARE = (int)0xe0001234 };
static const DWORD codes[] = {(DWORD)SOFTWARE, 0xe06d7363, 0x20474343, 0xe0434352, 0x406d1388, 0x40010006};
static DWORD raised = (DWORD)SOFTWARE;
static void raises(void *arg) { RaiseException(raised, 0, 0, NULL), (void)arg; }
static LONG CALLBACK goes_on(EXCEPTION_POINTERS *e) {
    if (e->ExceptionRecord->ExceptionCode != raised) return EXCEPTION_CONTINUE_SEARCH;
    went_on++;
    return EXCEPTION_CONTINUE_EXECUTION;
}
static void a_vectored_handler_gets_what_is_no_fault(void) {
    void *handler = AddVectoredExceptionHandler(0, goes_on);
    for (int i = 0; i < 6; i++) {
        went_on = 0;
        raised = codes[i];
        CHECK_EQ(needm_callback(raises, NULL, 0, NULL), 0);
        CHECK(went_on == 1 || raised == 0x406d1388); /* winpthreads has a handler for that */
    }
    raised = (DWORD)SOFTWARE;
    RemoveVectoredExceptionHandler(handler);
}
static LONG WINAPI last_filter(EXCEPTION_POINTERS *e) {
    fflush(NULL);
    TerminateProcess(GetCurrentProcess(), e->ExceptionRecord->ExceptionCode == (DWORD)SOFTWARE       ? 81
                                          : e->ExceptionRecord->ExceptionCode == STATUS_ACCESS_VIOLATION ? 82
                                                                                                   : 83);
    return EXCEPTION_EXECUTE_HANDLER;
}
static void a_filter(uint32_t flags) {
    SetUnhandledExceptionFilter(last_filter);
    start((needm_config){.flags = flags});
}
static void nobody_takes_it(void) {
    a_filter(0);
    needm_callback(raises, NULL, 0, NULL);
}
static void calls_faulting_c(void *arg) { needm_ccall(fault, arg); }
static void a_fault_in_c_that_a_callback_called(void) {
    a_filter(0);
    needm_callback(calls_faulting_c, NULL, 0, NULL);
}
static void a_fault_outside(void) {
    a_filter(0);
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    fault(NULL);
}
static void a_fault_without_handlers(void) {
    a_filter(NEEDM_NO_SIGNALS);
    needm_callback(fault, NULL, 0, NULL);
}
static void a_fault_after_the_stop(void) {
    a_filter(0);
    CHECK_EQ(needm_callback(fault, NULL, 0, NULL), NEEDM_EFAULT);
    CHECK_EQ(needm_stop(), 0);
    fault(NULL);
}
static void an_unrecovered_fault(void) {
    a_filter(NEEDM_UNRECOVERED_ABORTS);
    needm_callback(fault, NULL, 0, NULL);
}
static void plain_fault_in_c(void) {
    start((needm_config){0});
    needm_callback(calls_faulting_c, NULL, 0, NULL);
}
static void the_last_filter_gets_what_is_no_fault_of_a_callback(void) {
    CHECK_EQ(in_a_child(nobody_takes_it), 81);
    CHECK_EQ(in_a_child(a_fault_in_c_that_a_callback_called), 82);
    CHECK_EQ(in_a_child(a_fault_outside), 82);
    CHECK_EQ(in_a_child(a_fault_without_handlers), 82);
    CHECK_EQ(in_a_child(a_fault_after_the_stop), 82);
    CHECK_EQ(in_a_child(an_unrecovered_fault), 82);
    CHECK_DIES(plain_fault_in_c, SIGSEGV);
}

static void *all(void *arg) {
    RUN(the_stack_fields_are_right_wherever_code_runs);
    RUN(a_probe_from_the_limit_downwards_stays_on_the_g);
    RUN(a_callbacks_own_handler_comes_first);
    RUN(a_privileged_instruction_is_a_fault);
    RUN(an_in_page_error_is_a_fault);
    RUN(a_guard_page_of_the_hosts_is_a_fault);
    RUN(a_fault_of_code_without_unwind_records_is_an_error);
    RUN(near_its_end_a_stacks_fault_is_an_overflow);
    RUN(an_overflow_by_large_frames_is_an_error);
    RUN(no_ending_changes_the_last_error);
    RUN(a_vectored_handler_gets_what_is_no_fault);
    return arg;
}

int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    all(NULL);
    /* Its stack is elsewhere: above the Gs or below them. */
    join(thread(all, NULL));
    CHECK_EQ(needm_stop(), 0);
    RUN(the_last_filter_gets_what_is_no_fault_of_a_callback);
    return SUCCESS;
}
