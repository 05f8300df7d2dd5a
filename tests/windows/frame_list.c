/* i386: the list of frames with handlers, which begins at fs:0, is the thread's own in C, however its
 * callbacks ended; on a G it begins with frames of the G. */
#include "../c/check.h"

#if HAS_UNWIND_RECORDS
int main(void) {
    fprintf(stderr, "skipped: there is no such list on this architecture\n");
    return SUCCESS;
}
#else
static EXCEPTION_REGISTRATION_RECORD *list(void) { return ((NT_TIB *)NtCurrentTeb())->ExceptionList; }
static void set_list(EXCEPTION_REGISTRATION_RECORD *first) { ((NT_TIB *)NtCurrentTeb())->ExceptionList = first; }

static volatile int handled;
static EXCEPTION_DISPOSITION skips(EXCEPTION_RECORD *record, void *frame, CONTEXT *at, void *dispatcher) {
    (void)frame, (void)dispatcher;
    if (record->ExceptionFlags & (EXCEPTION_UNWINDING | EXCEPTION_EXIT_UNWIND)) return ExceptionContinueSearch;
    CHECK_EQ(record->ExceptionCode, STATUS_BREAKPOINT);
    handled++;
    at->Eip = record->ExceptionAddress ? (DWORD)record->ExceptionAddress + 1 : 0;
    return ExceptionContinueExecution;
}
static EXCEPTION_REGISTRATION_RECORD entry(void) {
    return (EXCEPTION_REGISTRATION_RECORD){.Next = list(), .Handler = (PEXCEPTION_ROUTINE)skips};
}
__attribute__((noinline)) static void breaks(void) { __asm__ volatile("int3"); }

static jmp_buf out;
static void jumps_away(void *arg) {
    (void)arg;
    longjmp(out, 1);
}
static void jumps_away_in_c(void *arg) { CHECK_EQ(needm_ccall(jumps_away, arg), 0); }
static void nests_and_jumps(void *arg) { needm_callback(jumps_away_in_c, arg, 0, NULL); }
static void nests_in_c(void *arg) { CHECK_EQ(needm_ccall(nests_and_jumps, arg), 0); }
/* A frame with a handler on the G: it comes before needm's. */
static void handles_itself(void *arg) {
    void *lo, *hi;
    CHECK_EQ(needm_g_bounds(needm_self(), &lo, &hi), 0);
    CHECK((void *)list() >= lo && (void *)list() < hi);
    EXCEPTION_REGISTRATION_RECORD own = entry();
    set_list(&own);
    breaks();
    set_list(own.Next);
    (void)arg;
}
static void leaves_a_frame(void *arg) {
    EXCEPTION_REGISTRATION_RECORD own = entry();
    set_list(&own);
    needm_panic(arg);
}
static const struct {
    void (*fn)(void *);
    int result;
} endings[] = {
    {nothing, 0}, {fault, NEEDM_EFAULT}, {overflow, NEEDM_EOVERFLOW}, {panic, NEEDM_EPANIC},
    {handles_itself, 0}, {leaves_a_frame, NEEDM_EPANIC},
};
static void the_list_is_the_callers_after_every_ending(void) {
    EXCEPTION_REGISTRATION_RECORD own = entry();
    set_list(&own);
    for (int i = 0; i < rounds(2000); i++) {
        int kind = i % (int)(sizeof endings / sizeof *endings);
        handled = 0;
        CHECK_EQ(needm_callback(endings[kind].fn, NULL, 0, NULL), endings[kind].result);
        CHECK(list() == &own);
        CHECK_EQ(handled, endings[kind].fn == handles_itself);
        breaks();
        CHECK_EQ(handled, 1 + (endings[kind].fn == handles_itself));
    }
    set_list(own.Next);
}
static void after_a_jump_the_next_callback_puts_it_right(void) {
    static void (*const jumps[])(void *) = {jumps_away, jumps_away_in_c, nests_and_jumps, nests_in_c};
    for (int i = 0; i < rounds(400); i++) {
        EXCEPTION_REGISTRATION_RECORD own = entry();
        set_list(&own);
        handled = 0;
        if (setjmp(out) == 0) {
            needm_callback(jumps[i % 4], NULL, 0, NULL);
            CHECK(0);
        }
        CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
        CHECK(list() == &own);
        breaks();
        CHECK_EQ(handled, 1);
        set_list(own.Next);
    }
}
int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    RUN(the_list_is_the_callers_after_every_ending);
    RUN(after_a_jump_the_next_callback_puts_it_right);
    stop_when_idle();
    return SUCCESS;
}
#endif
