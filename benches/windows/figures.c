/* What callbacks cost under Windows, as ratios to a plain call through a pointer: the best of a hundred short runs of
 * each. Not a test: nothing is asserted but that the calls succeed.
 *
 *   folder=$(qemu/build x86_64-windows | tail -n 1)
 *   x86_64-w64-mingw32-gcc -O2 -Iinclude benches/windows/figures.c "$folder/libneedm.a" -o figures.exe
 *   qemu/run x86_64-windows figures.exe
 */
#include <needm.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

static double now(void) {
    LARGE_INTEGER count, frequency;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    return (double)count.QuadPart * 1e9 / (double)frequency.QuadPart;
}
static void nothing(void *arg) { __asm__ volatile("" : : "r"(arg)); }
static void (*volatile pointer)(void *) = nothing;
static void want(int got, int wanted) {
    if (got != wanted) {
        fprintf(stderr, "%d, want %d\n", got, wanted);
        exit(1);
    }
}

static void plain(int n) {
    for (int i = 0; i < n; i++) pointer(NULL);
}
static void callbacks(int n) {
    for (int i = 0; i < n; i++) want(needm_callback(nothing, NULL, 0, NULL), 0);
}
static void copies(int n) {
    char frame[64] = {0};
    for (int i = 0; i < n; i++) want(needm_callback(nothing, frame, sizeof frame, NULL), 0);
}
static void calls_c(void *n) {
    for (int i = 0; i < *(int *)n; i++) want(needm_ccall(nothing, NULL), 0);
}
static void ccalls(int n) { want(needm_callback(calls_c, &n, 0, NULL), 0); }
static void panics_itself(void *arg) { needm_panic(arg); }
static void panics(int n) {
    for (int i = 0; i < n; i++) want(needm_callback(panics_itself, NULL, 0, NULL), NEEDM_EPANIC);
}
static void writes_to_null(void *arg) {
    (void)arg;
    *(volatile int *)0 = 1;
}
static void faults(int n) {
    for (int i = 0; i < n; i++) want(needm_callback(writes_to_null, NULL, 0, NULL), NEEDM_EFAULT);
}
static double best(void (*run)(int), int n) {
    double least = 1e18;
    run(n / 10 + 1);
    for (int i = 0; i < 100; i++) {
        double start = now();
        run(n);
        double each = (now() - start) / n;
        if (each < least) least = each;
    }
    return least;
}
static void row(const char *name, uint32_t binding, uint32_t flags, void (*run)(int), int n) {
    needm_config config = NEEDM_CONFIG_INIT;
    config.binding = binding;
    config.flags = flags;
    want(needm_start(&config), 0);
    double one = best(plain, 200000), each = best(run, n);
    printf("%-44s %8.1f ns %8.1f\n", name, each, each / one);
    fflush(stdout);
    want(needm_stop(), 0);
}
int main(void) {
    printf("%-44s %11s %8s\n", "", "time", "plain calls");
    row("a callback", NEEDM_BIND_THREAD, 0, callbacks, 20000);
    row("with NEEDM_LEAVE_FP_CONTROL", NEEDM_BIND_THREAD, NEEDM_LEAVE_FP_CONTROL, callbacks, 20000);
    row("an M bound for each call", NEEDM_BIND_CALL, 0, callbacks, 20000);
    row("with a copied frame of 64 bytes (slow path)", NEEDM_BIND_THREAD, 0, copies, 5000);
    row("needm_ccall", NEEDM_BIND_THREAD, 0, ccalls, 5000);
    row("a panic", NEEDM_BIND_THREAD, 0, panics, 2000);
    row("a fault that is recovered", NEEDM_BIND_THREAD, 0, faults, 100);
    return 0;
}
