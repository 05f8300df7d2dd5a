/* A thread that has called back before takes a short path: single step counts the instructions. Each
 * of them is followed by an exception, whose handlers find the stack that the thread is on. */
#include "../c/check.h"
#include <x86intrin.h>

enum { TRAP_FLAG = 0x100 };
static volatile int stepping;
static volatile long steps;
static LONG CALLBACK on_step(EXCEPTION_POINTERS *pointers) {
    if (pointers->ExceptionRecord->ExceptionCode != STATUS_SINGLE_STEP) return EXCEPTION_CONTINUE_SEARCH;
    if (stepping) {
        steps++;
        pointers->ContextRecord->EFlags |= TRAP_FLAG;
    }
    return EXCEPTION_CONTINUE_EXECUTION;
}
static long sum;
static long steps_of(void (*fn)(void *), size_t framesize) {
    char frame[16] = {0};
    void *arg = framesize ? (void *)frame : (void *)&sum;
    needm_panic_info info = {sizeof info};
    steps = 0;
    stepping = 1;
    __writeeflags(__readeflags() | TRAP_FLAG);
    int result = needm_callback(fn, arg, framesize, &info);
    stepping = 0;
    CHECK_EQ(result, 0);
    return steps;
}
static void looks_at_the_stack(void *arg) {
    char here;
    NT_TIB *tib = (NT_TIB *)NtCurrentTeb();
    CHECK(&here >= (char *)tib->StackLimit && &here < (char *)tib->StackBase);
    (void)arg;
}
/* Linux's is 47 instructions; here are the stack fields, and xmm6 to xmm15 on x86_64. */
enum { FEW = 150, MANY = 200 };
static void *counts(void *arg) {
    NT_TIB before = *(NT_TIB *)NtCurrentTeb();
    CHECK_EQ(needm_callback(nothing, NULL, 0, NULL), 0);
    for (int i = 0; i < rounds(100); i++) {
        long now = sum, short_path = steps_of(add, 0);
        CHECK_EQ(sum, now + 1);
        long slow_path = steps_of(nothing, 16);
        if (i == 0) fprintf(stderr, "  %ld instructions; with a copied frame %ld\n", short_path, slow_path);
        if (!(short_path > 20 && short_path < FEW)) fprintf(stderr, "  callback %d: %ld\n", i, short_path);
        CHECK(short_path > 20 && short_path < FEW);
        CHECK(slow_path > MANY);
        steps_of(looks_at_the_stack, 0);
    }
    NT_TIB after = *(NT_TIB *)NtCurrentTeb();
    CHECK(after.StackBase == before.StackBase && after.StackLimit == before.StackLimit);
    return arg;
}
int main(int argc, char **argv) {
    (void)argv;
    start((needm_config){.binding = argc > 1 ? NEEDM_BIND_CALL : NEEDM_BIND_THREAD});
    CHECK(AddVectoredExceptionHandler(1, on_step));
    counts(NULL);
    join(thread(counts, NULL));
    stop_when_idle();
    return SUCCESS;
}
