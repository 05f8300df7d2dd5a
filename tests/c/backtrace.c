/* An unwinder that is started in a callback, in C that the callback called, or in a deferred
 * function that a fault runs, sees callback, needm and the C caller in one backtrace. */
#include "check.h"
#include <execinfo.h>
#ifdef WITH_LIBUNWIND
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#endif

static const char *where;
/* A debugger stops here. */
__attribute__((noinline)) void shown(void) { __asm__ volatile(""); }

/* Checks that names[0..n] has the callback, the caller and main, in this order. */
static void look_through(char **names, int n) {
    const char *const wanted[] = {"needm_callee", "needm_caller", "main"};
    int found = 0;
    for (int i = 0; i < n && found < 3; i++)
        if (strstr(names[i], wanted[found])) found++;
    if (found != 3) {
        fprintf(stderr, "%s: only %d of callback, caller, main in:\n", where, found);
        for (int i = 0; i < n; i++) fprintf(stderr, "%s\n", names[i]);
        CHECK(0);
    }
}
#ifdef WITH_LIBUNWIND
/* Not libunwind's backtrace(), which takes each signal frame for Linux's. */
static void check_backtrace(void) {
    char name[64][64], *names[64];
    unw_context_t context;
    unw_cursor_t cursor;
    unw_word_t offset;
    int n = 0;
    CHECK_EQ(unw_getcontext(&context), 0);
    CHECK_EQ(unw_init_local(&cursor, &context), 0);
    do {
        name[n][0] = 0;
        unw_get_proc_name(&cursor, name[n], sizeof name[n], &offset);
        names[n] = name[n];
        n++;
    } while (n < 64 && unw_step(&cursor) > 0);
    look_through(names, n);
    shown();
}
#else
static void check_backtrace(void) {
    void *frames[64];
    int n = backtrace(frames, 64);
    char **names = backtrace_symbols(frames, n);
    CHECK(names);
    look_through(names, n);
    free(names);
    shown();
}
#endif
__attribute__((noinline)) void in_c(void *arg) {
    where = "in C";
    check_backtrace();
    (void)arg;
}
__attribute__((noinline)) void deferred(void *arg) {
    where = "in a deferred function";
    check_backtrace();
    CHECK_EQ(needm_recover(arg), 1);
}
__attribute__((noinline)) void needm_callee(void *arg) {
    needm_defer d;
    where = "in a callback";
    check_backtrace();
    CHECK_EQ(needm_ccall(in_c, arg), 0);
    CHECK_EQ(needm_defer_push(&d, deferred, NULL), 0);
    *(volatile int *volatile)arg = 1;
    *(volatile int *volatile)NULL = 1;
}
__attribute__((noinline)) int needm_caller(size_t size) {
    int frame = 0;
    int result = needm_callback(needm_callee, &frame, size, NULL);
    CHECK_EQ(frame, 1);
    return result;
}
int main(void) {
    start((needm_config){0});
    CHECK_EQ(needm_caller(0), 0);
    CHECK_EQ(needm_caller(0), 0);
    CHECK_EQ(needm_caller(sizeof(int)), 0);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
