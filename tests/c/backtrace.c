/* Started in a callback, in C that it called, and in a function deferred by a fault,
 * an unwinder goes through the kernel's frames to the C caller. */
#include "check.h"
#include <execinfo.h>

static const char *where;
static void check_backtrace(const char *callback) {
    void *frames[64];
    int n = backtrace(frames, 64), found = 0;
    char **names = backtrace_symbols(frames, n);
    CHECK(names);
    const char *const wanted[] = {callback, "needm_caller", "main"};
    for (int i = 0; i < n && found < 3; i++)
        if (strstr(names[i], wanted[found])) found++;
    if (found != 3) {
        fprintf(stderr, "%s: only %d of callback, caller, main in:\n", where, found);
        for (int i = 0; i < n; i++) fprintf(stderr, "%s\n", names[i]);
        CHECK(0);
    }
    free(names);
}
__attribute__((noinline)) void in_c(void *arg) {
    where = "in C";
    check_backtrace("needm_callee");
    (void)arg;
}
__attribute__((noinline)) void deferred(void *arg) {
    where = "in a deferred function";
    check_backtrace("needm_callee");
    CHECK_EQ(needm_recover(arg), 1);
}
__attribute__((noinline)) void needm_callee(void *arg) {
    needm_defer d;
    where = "in a callback";
    check_backtrace("needm_callee");
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
