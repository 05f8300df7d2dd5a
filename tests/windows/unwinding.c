/* Windows's own unwinder walks from a callback through needm to its caller and the thread's
 * start: in a callback, in C that it called, and after a fault. */
#include "../c/check.h"

#if !HAS_UNWIND_RECORDS
int main(void) {
    fprintf(stderr, "skipped: Windows has no unwinder for this architecture\n");
    return SUCCESS;
}
#else
/* The functions of a walk, by the start that Windows knows of them. */
static uintptr_t start_of(uintptr_t pc) {
    DWORD64 base;
    RUNTIME_FUNCTION *function = RtlLookupFunctionEntry(pc, &base, NULL);
    return function ? base + function->BeginAddress : 0;
}
enum { MOST = 64 };
static uintptr_t walk[MOST];
static int frames;
static void walk_from_here(void) {
    CONTEXT at;
    RtlCaptureContext(&at);
    for (frames = 0; frames < MOST && at.Rip; frames++) {
        DWORD64 base, frame;
        void *data;
        walk[frames] = start_of(at.Rip);
        RUNTIME_FUNCTION *function = RtlLookupFunctionEntry(at.Rip, &base, NULL);
        if (function)
            RtlVirtualUnwind(UNW_FLAG_NHANDLER, base, at.Rip, function, &at, &data, &frame, NULL);
        else {
            at.Rip = *(DWORD64 *)at.Rsp;
            at.Rsp += 8;
        }
    }
}
extern void needm_entry(void), needm_base(void), needm_on_g0(void), needm_landing(void);
/* The place in the walk of a function that C names, from a place on. */
static int place(int from, uintptr_t function) {
    for (int i = from; i < frames; i++)
        if (walk[i] == start_of(function)) return i;
    fprintf(stderr, "not in the walk of %d frames\n", frames);
    CHECK(0);
    return 0;
}
#define PLACE(from, function) place(from, (uintptr_t)(function))

static volatile int kept;
__attribute__((noinline)) static void walks(void *arg) {
    (void)arg;
    walk_from_here();
    kept++;
}
__attribute__((noinline)) static void calls_c(void *arg) {
    needm_ccall(walks, arg);
    kept++;
}
__attribute__((noinline)) static void faults(void *arg) {
    needm_defer one;
    CHECK_EQ(needm_defer_push(&one, walks, arg), 0);
    fault(NULL);
    kept++;
}
__attribute__((noinline)) static void caller(void (*fn)(void *), int want) {
    frames = 0;
    CHECK_EQ(needm_callback(fn, NULL, 0, NULL), want);
    kept++;
}
__attribute__((noinline)) static void *root(void *arg) {
    caller(walks, 0);
    int at = PLACE(PLACE(PLACE(PLACE(0, walks), needm_base), needm_entry), caller);
    PLACE(at, root);
    CHECK(frames > at + 2 && frames < MOST); /* to the thread's start, where it ends */

    caller(calls_c, 0);
    at = PLACE(PLACE(PLACE(PLACE(PLACE(0, walks), needm_on_g0), calls_c), needm_entry), caller);
    PLACE(at, root);

    caller(faults, NEEDM_EFAULT);
    at = PLACE(PLACE(PLACE(PLACE(PLACE(PLACE(0, walks), needm_landing), fault), faults), needm_entry), caller);
    PLACE(at, root);
    return arg;
}

int main(void) {
    start((needm_config){0});
    root(NULL);
    join(thread(root, NULL));
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
#endif
