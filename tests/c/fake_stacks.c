/* With its detection of uses after a return on, AddressSanitizer keeps the variables of functions
 * on a fake stack for each stack. That of a G is gone when its callback is over, however it ends. */
#include "check.h"
#include <setjmp.h>

const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_stack_use_after_return=1"; }

static volatile char *seen;
__attribute__((noinline)) static void has_a_variable(int value) {
    char variable[64];
    seen = variable;
    variable[0] = (char)value;
}
static jmp_buf past;
static void jumps(void *arg) {
    (void)arg;
    longjmp(past, 1);
}
static void panics(void *arg) {
    has_a_variable(1);
    needm_panic(arg);
}
static void nests(void *how) {
    has_a_variable(2);
    needm_callback((void (*)(void *))how, NULL, 0, NULL);
    has_a_variable(3);
}
static void in_c(void *how) {
    has_a_variable(4);
    needm_callback(nests, how, 0, NULL);
    needm_callback((void (*)(void *))how, NULL, 0, NULL);
}
static void returns(void *arg) {
    (void)arg;
    has_a_variable(5);
}
static void calls_c(void *how) {
    has_a_variable(6);
    needm_ccall(in_c, how);
    needm_ccall((void (*)(void *))how, NULL);
    has_a_variable(7);
}
static void nests_and_calls_c(void *how) {
    has_a_variable(8);
    needm_callback(calls_c, how, 0, NULL);
    has_a_variable(9);
}
static void each_ending(void) {
    needm_callback(returns, NULL, 0, NULL);
    needm_callback(panics, NULL, 0, NULL);
    needm_callback(fault, NULL, 0, NULL);
    needm_callback(calls_c, returns, 0, NULL);
    needm_callback(calls_c, panics, 0, NULL);
    needm_callback(nests_and_calls_c, returns, 0, NULL);
    needm_callback(nests_and_calls_c, panics, 0, NULL);
    if (!setjmp(past)) needm_callback(calls_c, jumps, 0, NULL);
    if (!setjmp(past)) needm_callback(nests_and_calls_c, jumps, 0, NULL);
}
static long pages(void) {
    long all;
    FILE *map = fopen("/proc/self/statm", "r");
    CHECK(map != NULL && fscanf(map, "%ld", &all) == 1);
    fclose(map);
    return all;
}
int main(void) {
    CHECK_EQ(needm_start(NULL), 0);
    char variable[64];
    seen = variable;
    for (int i = 0; i < 100; i++) each_ending();
    long before = pages();
    for (int i = 0; i < 500; i++) each_ending();
    CHECK(pages() - before < 4096);
    has_a_variable(variable[0] = 10);
    CHECK_EQ(needm_stop(), 0);
    return SUCCESS;
}
